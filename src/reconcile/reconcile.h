/* SPDX-License-Identifier: MIT */
/*
 * Reconciling: walks Twilio's list of recordings, asks the ledger which of them it lacks, and gives it for each the event that a webhook would have been. What
 * callbacks missed is archived like everything else. docs/reconcile.md has what a user sees, docs/architecture.md why it is built so.
 *
 * One walk at a time: in a process, by this object; among processes, by the ledger's lease. At most one request to Twilio and one to the ledger (and a heartbeat)
 * are under way, and one page is in memory. The walk waits while many recordings wait for their turn already, and asks Twilio less often after a 429.
 *
 * Loop thread only. `run` belongs to the walk from reconcile_start to `done`, which comes exactly once, never inside a call.
 */
#ifndef REELD_RECONCILE_RECONCILE_H
#define REELD_RECONCILE_RECONCILE_H

#include "base/metrics.h"
#include "ledger/ledger.h"
#include "reconcile/compare.h"
#include "twilio/client.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct reconcile;

struct reconcile_options {
	struct ledger *ledger;
	struct twilio_client *twilio;
	struct metrics *metrics; /* NULL: none */
	size_t page_size;        /* 0: 200; parsing a page blocks the loop for about 10 µs a recording */
	uint64_t pause_ms;       /* between two requests to Twilio; 0: 200 */
	int64_t young_ms;        /* a recording that was complete later than so long ago is left to its callback; 0: 5 min */
	size_t backlog;          /* wait while so many recordings wait for their turn; 0: 1000, at most 1000 */
	/* Go on all the same when nobody has taken any of them for so long: there is no daemon. 0: wait. */
	uint64_t unattended_ms;
	uint64_t retry_ms; /* first pause after a failure, doubled with each up to 1 min; 0: 1 s */
	/* RETRY_MAX: the longest that Twilio's Retry-After is obeyed; 0: 1 h. An account that has to be left alone for more than 3 min is not walked further. */
	int64_t retry_after_max_ms;
	/* Events were put into the ledger, so there is work. May be NULL. */
	void (*put)(void *data);
	void *data;
};

struct reconcile_run {
	/* in */
	enum ledger_reconcile_kind kind;
	bool dry_run;    /* only look: no lease, no progress, no event */
	bool restart;    /* do not continue a walk that was cut */
	int64_t from_ms; /* from the start of its UTC day */
	int64_t to_ms;
	int64_t apart_ms;           /* a scheduled one: not before so long after the end of the last */
	const struct sid *accounts; /* must live until `done` */
	size_t account_count;
	/* A recording that lacks something, before it gets its event. May be NULL. */
	void (*found)(struct reconcile_run *run, const struct twilio_listed *listed, enum reconcile_verdict verdict);
	/* A page was done, or a pause begins. May be NULL. */
	void (*progress)(struct reconcile_run *run);
	/*
	 * 0; ERR_LOCKED: not now, somebody else walks or it is too early (holder, wait_ms); ERR_LEASE_LOST; ERR_CANCELLED (reconcile_stop, close); else what
	 * failed first (error), of which failed_accounts accounts were not walked to their end.
	 */
	void (*done)(struct reconcile_run *run, int status);
	void *data;

	/* out */
	uint64_t seen; /* recordings of the list */
	uint64_t verdicts[RECONCILE_VERDICT_COUNT];
	uint64_t healed; /* events that changed something in the ledger */
	uint64_t requests;
	size_t account;    /* the one being walked */
	int64_t day_ms;    /* the day being walked */
	int64_t days_done; /* of this account */
	int64_t days_left;
	int64_t continued_ms; /* this account's former walk had come down to here; -1: none */
	bool waiting;         /* for recordings that wait already */
	int64_t throttled_ms; /* how long Twilio wants to be left alone; 0: not */
	size_t failed_accounts;
	char holder[LEDGER_OWNER_SIZE];
	int64_t wait_ms;        /* not before: another's walk, or Twilio's Retry-After; 0 */
	int64_t finished_at_ms; /* when the last scheduled walk came to its end; -1 */
	struct error error;
};

/* NULL when out of memory. */
struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_options *options);
/* One run at a time. */
void reconcile_start(struct reconcile *reconcile, struct reconcile_run *run);
bool reconcile_running(const struct reconcile *reconcile);
/* Ends the run soon (ERR_CANCELLED); its progress stays. Harmless when there is none. */
void reconcile_stop(struct reconcile *reconcile);
/* Ends the run, then frees, then `closed`. Before the ledger and Twilio's client are closed. */
void reconcile_close(struct reconcile *reconcile, void (*closed)(void *data), void *data);

#endif
