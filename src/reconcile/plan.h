/* SPDX-License-Identifier: MIT */
/*
 * Which UTC days of an account's list are walked, in which order. Newest first, so that what was lost lately is found first; a walk that was cut goes on where
 * it was: first the days since, then the older ones that were still to do. Pure.
 */
#ifndef REELD_RECONCILE_PLAN_H
#define REELD_RECONCILE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define RECONCILE_DAY_MS INT64_C(86400000)
/*
 * A cut walk looks at the last day that it knows, and this much before it, again: a recording may have been made but not have been complete. Twilio's longest
 * call takes a day.
 */
#define RECONCILE_OVERLAP_MS RECONCILE_DAY_MS

struct reconcile_plan {
	int64_t from_ms;
	int64_t to_ms;
	int64_t day_ms; /* start of the day to walk now */
	/* What was walked, from the start of a day; -1: nothing. */
	int64_t walked_from_ms;
	int64_t walked_to_ms;
	bool gap; /* the days since walked_to are being walked: nothing to save yet */
};

/* The start of the UTC day. */
int64_t reconcile_day(int64_t ms);

/*
 * From from_ms to to_ms (0 <= from_ms <= to_ms). walked_*: what a former walk has done, -1: nothing; of no use when it reaches beyond to_ms or ends before from_ms.
 */
void reconcile_plan_begin(struct reconcile_plan *plan, int64_t from_ms, int64_t to_ms, int64_t walked_from_ms,
			  int64_t walked_to_ms);
/* `day_ms` was walked: the next one. False when it was the last. walked_* are worth saving unless `gap`. */
bool reconcile_plan_next(struct reconcile_plan *plan);
/* Days that are left, with the one being walked. */
int64_t reconcile_plan_left(const struct reconcile_plan *plan);

#endif
