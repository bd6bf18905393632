/* SPDX-License-Identifier: MIT */
/* What reconcile.c (a run: lease, accounts, end) and walk.c (an account: days, pages, events) share. */
#ifndef REELD_RECONCILE_RECONCILE_INTERNAL_H
#define REELD_RECONCILE_RECONCILE_INTERNAL_H

#include "reconcile/plan.h"
#include "reconcile/reconcile.h"

/* Events of one request to the ledger. */
#define RECONCILE_BATCH 100

enum reconcile_step {
	RECONCILE_STEP_BEGIN,
	RECONCILE_STEP_LOAD,
	RECONCILE_STEP_FETCH,
	RECONCILE_STEP_COMPARE,
	RECONCILE_STEP_FORWARD,
	RECONCILE_STEP_SAVE,
	RECONCILE_STEP_END,
};

struct reconcile {
	uv_loop_t *loop;
	struct reconcile_options options;
	struct reconcile_run *run; /* NULL: idle */
	enum reconcile_step step;
	int result;    /* of the run */
	bool stopping; /* nothing new is started but END */
	bool leased;
	bool fetching;   /* a request to Twilio is under way */
	bool completing; /* only the heartbeat's answer is waited for */
	bool more;       /* behind the day that was walked there is another */
	uv_timer_t timer;
	uv_timer_t beat_timer;
	unsigned open_handles;

	/* one account */
	struct reconcile_plan plan;
	char next_page[TWILIO_NEXT_PAGE_SIZE];
	unsigned pages;    /* of this day */
	unsigned restarts; /* of this day */
	struct twilio_request twilio;
	struct ledger_request ledger;
	unsigned failures;         /* of this step, in a row */
	uint64_t pause_ms;         /* between requests now */
	uint64_t unattended_since; /* loop time; 0: somebody works */
	struct sid sids[TWILIO_LIST_MAX];
	unsigned char verdicts[TWILIO_LIST_MAX]; /* enum reconcile_verdict */
	size_t at;                               /* recordings of the page before this one have their event */
	struct event events[RECONCILE_BATCH];
	size_t event_count;
	struct buffer payloads;

	struct ledger_request beat;
	bool beating;
	struct metric *metric_seen;
	struct metric *metric_healed;
	struct metric *metric_verdicts[RECONCILE_VERDICT_COUNT];

	bool closing;
	bool handles_closing;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- reconcile.c ---- */

/* Does `step` now. Never inside a callback that the step's own request may still use. */
void reconcile_go(struct reconcile *reconcile, enum reconcile_step step);
/* Does it after so long. */
void reconcile_later(struct reconcile *reconcile, enum reconcile_step step, uint64_t delay_ms);
/* The step failed: tried again later, or `give_up` when that is of no use any more. */
void reconcile_retry(struct reconcile *reconcile, int status, int64_t retry_after_ms, const struct error *error,
		     void (*give_up)(struct reconcile *reconcile, int status, const struct error *error));
void reconcile_submit(struct reconcile *reconcile, ledger_cb *done);
/* This account was walked to its end; or could not be. */
void reconcile_next_account(struct reconcile *reconcile);
void reconcile_account_failed(struct reconcile *reconcile, int status, const struct error *error);
void reconcile_run_failed(struct reconcile *reconcile, int status, const struct error *error);

/* ---- walk.c ---- */

void reconcile_step_load(struct reconcile *reconcile);
void reconcile_step_fetch(struct reconcile *reconcile);
void reconcile_step_compare(struct reconcile *reconcile);
void reconcile_step_forward(struct reconcile *reconcile);
void reconcile_step_save(struct reconcile *reconcile);
/* Forgets the page. */
void reconcile_drop_page(struct reconcile *reconcile);

#endif
