/* SPDX-License-Identifier: MIT */
#include "reconcile/plan.h"

#include "base/check.h"

int64_t reconcile_day(int64_t ms)
{
	return ms - ms % RECONCILE_DAY_MS;
}

static int64_t gap_end(const struct reconcile_plan *plan)
{
	int64_t day = reconcile_day(plan->walked_to_ms) - RECONCILE_OVERLAP_MS;
	int64_t first = reconcile_day(plan->from_ms);
	return day > first ? day : first;
}

/* The day behind the gap. */
static int64_t gap_next(const struct reconcile_plan *plan)
{
	int64_t end = gap_end(plan);
	return (end < plan->walked_from_ms ? end : plan->walked_from_ms) - RECONCILE_DAY_MS;
}

void reconcile_plan_begin(struct reconcile_plan *plan, int64_t from_ms, int64_t to_ms, int64_t walked_from_ms,
			  int64_t walked_to_ms)
{
	REQUIRE(from_ms >= 0 && from_ms <= to_ms);
	bool resume = walked_from_ms >= 0 && walked_from_ms <= walked_to_ms && walked_to_ms <= to_ms && walked_to_ms >= from_ms;
	*plan = (struct reconcile_plan){
		.from_ms = from_ms,
		.to_ms = to_ms,
		.day_ms = reconcile_day(to_ms),
		.walked_from_ms = resume ? reconcile_day(walked_from_ms) : -1,
		.walked_to_ms = resume ? walked_to_ms : -1,
		.gap = resume,
	};
}

bool reconcile_plan_next(struct reconcile_plan *plan)
{
	if (plan->gap && plan->day_ms > gap_end(plan)) {
		plan->day_ms -= RECONCILE_DAY_MS;
		return true;
	}
	if (plan->gap) {
		plan->day_ms = gap_next(plan);
		plan->gap = false;
		if (plan->day_ms + RECONCILE_DAY_MS < plan->walked_from_ms)
			plan->walked_from_ms = plan->day_ms + RECONCILE_DAY_MS;
	} else {
		plan->walked_from_ms = plan->day_ms;
		plan->day_ms -= RECONCILE_DAY_MS;
	}
	plan->walked_to_ms = plan->to_ms;
	return plan->day_ms >= reconcile_day(plan->from_ms);
}

int64_t reconcile_plan_left(const struct reconcile_plan *plan)
{
	int64_t first = reconcile_day(plan->from_ms);
	int64_t days = 0;
	int64_t day = plan->day_ms;
	if (plan->gap) {
		days = (day - gap_end(plan)) / RECONCILE_DAY_MS + 1;
		day = gap_next(plan);
	}
	return day < first ? days : days + (day - first) / RECONCILE_DAY_MS + 1;
}
