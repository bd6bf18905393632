/* SPDX-License-Identifier: MIT */
/*
 * A ledger in memory, on the loop, that fails on demand and checks what the pipeline may never do: finish twice, write with an
 * old epoch, record what was not stored. Answers come in the next turn of the loop.
 */
#ifndef REELD_TESTS_LOOP_SUPPORT_FAKE_LEDGER_H
#define REELD_TESTS_LOOP_SUPPORT_FAKE_LEDGER_H

#include "ledger/ledger.h"
#include "base/soon.h"

struct fake_row {
	struct ledger_job job;
	enum ledger_status status;
	int64_t due_ms; /* of the loop's clock */
	bool call_known;
	bool deleted_at_twilio;
	char md5[33];
	char content_type[32];
	char last_error[384];
	enum ledger_outcome last_outcome;
	int64_t last_delay_ms;
	char waits_for[LEDGER_WAITS_FOR_SIZE];
	unsigned outcomes[LEDGER_OUTCOME_DEAD + 1];
	unsigned recorded; /* how often STORED_OBJECT took effect */
	unsigned leases;
};

struct fake_ledger {
	struct ledger ledger;
	uv_loop_t *loop;
	struct soon soon;
	struct soon_item answer;
	struct list requests;
	struct fake_row *rows;
	size_t count;
	unsigned submitted[LEDGER_PING + 1];
	unsigned calls_created;
	/* 0, or how the operation fails: before anything changed, or (after) with the reply lost after everything changed. NULL:
	 * never. */
	int (*fault)(struct fake_ledger *fake, const struct ledger_request *request, bool *after);
	void *data;
	/* Called when a request changed something, for checks between rooms. */
	void (*changed)(struct fake_ledger *fake, struct fake_row *row, const struct ledger_request *request);
	bool locked; /* somebody has every row locked: CLAIM skips them, and says that they are due */
	bool hold;   /* answers nothing until it is false again and fake_ledger_go was called */
};

/* With `count` pending recordings of sid fake_recording_sid(0…). */
void fake_ledger_init(struct fake_ledger *fake, uv_loop_t *loop, size_t count);
/* Outstanding requests must have been answered. */
void fake_ledger_close(struct fake_ledger *fake, uv_close_cb closed);
void fake_ledger_go(struct fake_ledger *fake);

/* Somebody else takes the recording over: the epoch rises, and it is pending again. */
void fake_ledger_steal(struct fake_ledger *fake, size_t n);
struct fake_row *fake_ledger_row(struct fake_ledger *fake, const struct sid *recording_sid);
/* Recordings in this status. */
size_t fake_ledger_in(const struct fake_ledger *fake, enum ledger_status status);

struct sid fake_sid(const char *prefix, size_t n);

#endif
