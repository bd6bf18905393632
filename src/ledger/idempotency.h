/* SPDX-License-Identifier: MIT */
/*
 * The idempotency filter: what was already seen or stored, so that duplicates are answered and dropped early. A filter, never the authority
 * (promise P7): it may forget anything at any time. In-process table, or Redis with REDIS_URL.
 *
 * Entries are set only after the fact is durable: SEEN once the event is committed to the ledger, ARCHIVED once the recording is recorded as stored.
 */
#ifndef REELD_LEDGER_IDEMPOTENCY_H
#define REELD_LEDGER_IDEMPOTENCY_H

#include "base/sid.h"
#include "twilio/event.h"

#include <stdbool.h>
#include <uv.h>

#define IDEMPOTENCY_URL_SIZE 768

enum idempotency_answer {
	IDEMPOTENCY_UNKNOWN,  /* not known, or not answered yet */
	IDEMPOTENCY_SEEN,     /* this status of this recording is in the ledger */
	IDEMPOTENCY_ARCHIVED, /* the recording is stored; url is set */
};

struct idempotency;

/*
 * Asking never makes anybody wait: start the question, do the durable work, then look at `answer`. A local filter has filled it when
 * idempotency_ask returns; Redis may fill it later, on the loop. No callback. End every question with idempotency_forget before freeing it.
 */
struct idempotency_question {
	enum idempotency_answer answer;
	char url[IDEMPOTENCY_URL_SIZE];
	struct idempotency_pending *pending; /* private; NULL once answered */
};
/* A question that is under way; an implementation embeds this first. */
struct idempotency_pending {
	struct idempotency *filter;
};

void idempotency_ask(struct idempotency *filter, struct idempotency_question *question, const struct sid *recording_sid,
		     enum recording_status status);
void idempotency_forget(struct idempotency_question *question);

void idempotency_set_seen(struct idempotency *filter, const struct sid *recording_sid, enum recording_status status);
void idempotency_set_archived(struct idempotency *filter, const struct sid *recording_sid, const char *url);
/* The recording was deleted from storage or put back to work. */
void idempotency_clear(struct idempotency *filter, const struct sid *recording_sid);

const char *idempotency_kind(const struct idempotency *filter); /* "local" or "redis" */
bool idempotency_up(const struct idempotency *filter);
void idempotency_close(struct idempotency *filter, void (*closed)(void *data), void *data);

struct idempotency_ops {
	const char *kind;
	void (*ask)(struct idempotency *, struct idempotency_question *, const struct sid *, enum recording_status);
	void (*forget)(struct idempotency_question *);
	void (*set_seen)(struct idempotency *, const struct sid *, enum recording_status);
	void (*set_archived)(struct idempotency *, const struct sid *, const char *url);
	void (*clear)(struct idempotency *, const struct sid *);
	bool (*up)(const struct idempotency *);
	void (*close)(struct idempotency *, void (*closed)(void *data), void *data);
};
struct idempotency {
	const struct idempotency_ops *ops;
};

/*
 * A fixed-size table of `entries` (rounded up to a power of two, at least 4) and 192 bytes of room for URLs for each, 14.7 MB in all for 65536; memory is
 * touched only as it fills. When full, old ones make room. Answers are there when idempotency_ask returns. NULL when out of memory.
 */
struct idempotency *idempotency_local_new(uv_loop_t *loop, size_t entries);

#endif
