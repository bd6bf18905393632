/* SPDX-License-Identifier: MIT */
/*
 * Reconciling by the clock, in the daemon: soon after the start, then every `every_ms` (give or take a tenth). Replicas share the ledger's lease and the time of
 * the last walk, so each of them may ask, and one walks. Loop thread only.
 */
#ifndef REELD_RECONCILE_SCHEDULE_H
#define REELD_RECONCILE_SCHEDULE_H

#include "reconcile/reconcile.h"
#include "twilio/accounts.h"

struct reconcile_schedule;

struct reconcile_schedule_options {
	struct reconcile_options reconcile;
	int64_t every_ms;
	int64_t window_ms;
	/* The accounts of this moment; asked before each walk. */
	const struct twilio_accounts *(*accounts)(void *data);
	void *data;
};

/* NULL when out of memory. */
struct reconcile_schedule *reconcile_schedule_new(uv_loop_t *loop, const struct reconcile_schedule_options *options);
/* Ends a walk that is under way, gives its lease back, frees, then `closed`. Before the ledger and Twilio's client are closed. */
void reconcile_schedule_close(struct reconcile_schedule *schedule, void (*closed)(void *data), void *data);

/* Until the next one, after a walk that ended with `status` and must not be followed before `wait_ms`. `failures`: in a row, with this one. Pure but for chance. */
uint64_t reconcile_schedule_delay(int64_t every_ms, int status, int64_t wait_ms, unsigned failures);

#endif
