/* SPDX-License-Identifier: MIT */
#include "reconcile/plan.h"

#include <criterion/criterion.h>

#define DAY RECONCILE_DAY_MS
#define HOUR (DAY / 24)
#define NOW (20000 * DAY + 9 * HOUR)

/* Walks the plan; the days as numbers before today, in order. Checks days_left on the way. */
static int walk(struct reconcile_plan *plan, int *days, int max)
{
	int count = 0;
	int64_t left = reconcile_plan_left(plan);
	do {
		cr_assert_lt(count, max);
		cr_assert_eq(reconcile_plan_left(plan), left - count, "%d: %lld", count, (long long)reconcile_plan_left(plan));
		days[count++] = (int)((reconcile_day(NOW) - plan->day_ms) / DAY);
	} while (reconcile_plan_next(plan));
	cr_assert_eq(count, left);
	return count;
}

static void check(const int *days, int count, const int *expected, int expected_count)
{
	cr_assert_eq(count, expected_count, "%d days", count);
	for (int i = 0; i < count; i++)
		cr_assert_eq(days[i], expected[i], "day %d is %d", i, days[i]);
}

Test(reconcile_plan, newest_first_down_to_the_day_it_begins_in)
{
	struct reconcile_plan plan;
	int days[16];
	reconcile_plan_begin(&plan, NOW - 2 * DAY, NOW, -1, -1);
	check(days, walk(&plan, days, 16), (const int[]){0, 1, 2}, 3);
	cr_assert_eq(plan.walked_from_ms, reconcile_day(NOW) - 2 * DAY);
	cr_assert_eq(plan.walked_to_ms, NOW);
	reconcile_plan_begin(&plan, NOW - HOUR, NOW, -1, -1);
	check(days, walk(&plan, days, 16), (const int[]){0}, 1);
	reconcile_plan_begin(&plan, 0, DAY, -1, -1);
	cr_assert_eq(reconcile_plan_left(&plan), 2);
	cr_assert(reconcile_plan_next(&plan));
	cr_assert(!reconcile_plan_next(&plan));
}

Test(reconcile_plan, what_was_walked_grows_day_by_day)
{
	struct reconcile_plan plan;
	reconcile_plan_begin(&plan, NOW - 5 * DAY, NOW, -1, -1);
	for (int day = 0; day < 5; day++) {
		cr_assert(reconcile_plan_next(&plan));
		cr_assert(!plan.gap);
		cr_assert_eq(plan.walked_from_ms, reconcile_day(NOW) - day * DAY);
		cr_assert_eq(plan.walked_to_ms, NOW);
	}
}

Test(reconcile_plan, a_cut_walk_goes_on_with_the_days_since_and_those_left)
{
	struct reconcile_plan plan;
	int days[32];
	/* It began three days ago and had come down to ten days ago. */
	reconcile_plan_begin(&plan, NOW - 13 * DAY, NOW, reconcile_day(NOW) - 10 * DAY, NOW - 3 * DAY);
	cr_assert(plan.gap);
	/* The day in which it began is walked again, and the one before. */
	check(days, walk(&plan, days, 32), (const int[]){0, 1, 2, 3, 4, 11, 12, 13}, 8);
	cr_assert_eq(plan.walked_from_ms, reconcile_day(NOW) - 13 * DAY);
	cr_assert_eq(plan.walked_to_ms, NOW);
}

Test(reconcile_plan, while_the_gap_is_walked_nothing_is_new)
{
	struct reconcile_plan plan;
	int64_t from = reconcile_day(NOW) - 10 * DAY;
	reconcile_plan_begin(&plan, NOW - 20 * DAY, NOW, from, NOW - 2 * DAY);
	for (int day = 0; day < 3; day++) {
		cr_assert(reconcile_plan_next(&plan));
		cr_assert(plan.gap);
		cr_assert_eq(plan.walked_from_ms, from);
		cr_assert_eq(plan.walked_to_ms, NOW - 2 * DAY);
	}
	cr_assert(reconcile_plan_next(&plan));
	cr_assert(!plan.gap);
	cr_assert_eq(plan.walked_from_ms, from);
	cr_assert_eq(plan.walked_to_ms, NOW);
	cr_assert_eq(plan.day_ms, from - DAY);
}

Test(reconcile_plan, a_walk_cut_on_the_same_day_repeats_two_days)
{
	struct reconcile_plan plan;
	int days[16];
	reconcile_plan_begin(&plan, NOW - 6 * DAY, NOW, reconcile_day(NOW) - 4 * DAY, NOW - HOUR);
	check(days, walk(&plan, days, 16), (const int[]){0, 1, 5, 6}, 4);
	/* Cut after its first day: the overlap is what comes next anyway, and is not walked twice. */
	reconcile_plan_begin(&plan, NOW - 3 * DAY, NOW, reconcile_day(NOW), NOW - HOUR);
	check(days, walk(&plan, days, 16), (const int[]){0, 1, 2, 3}, 4);
	cr_assert_eq(plan.walked_from_ms, reconcile_day(NOW) - 3 * DAY);
}

Test(reconcile_plan, what_is_done_already_takes_the_gap_alone)
{
	struct reconcile_plan plan;
	int days[16];
	reconcile_plan_begin(&plan, NOW - 3 * DAY, NOW, reconcile_day(NOW) - 9 * DAY, NOW - DAY);
	check(days, walk(&plan, days, 16), (const int[]){0, 1, 2}, 3);
	cr_assert_eq(plan.walked_from_ms, reconcile_day(NOW) - 9 * DAY, "nothing that was done is forgotten");
	/* The range is shorter than the gap. */
	reconcile_plan_begin(&plan, NOW - HOUR, NOW, reconcile_day(NOW) - 9 * DAY, NOW - HOUR / 2);
	check(days, walk(&plan, days, 16), (const int[]){0}, 1);
}

Test(reconcile_plan, what_cannot_be_continued_begins_anew)
{
	struct reconcile_plan plan;
	int days[16];
	const struct {
		int64_t from_ms, to_ms;
	} odd[] = {
		{NOW - DAY, NOW + 1}, /* the clock was set back */
		{NOW, NOW - DAY},
		{-1, NOW},
		{NOW - 9 * DAY, NOW - 8 * DAY}, /* all of it before what is walked now */
	};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		reconcile_plan_begin(&plan, NOW - 2 * DAY, NOW, odd[i].from_ms, odd[i].to_ms);
		cr_assert(!plan.gap);
		check(days, walk(&plan, days, 16), (const int[]){0, 1, 2}, 3);
	}
}
