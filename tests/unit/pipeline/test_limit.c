/* SPDX-License-Identifier: MIT */
#include "pipeline/limit.h"

#include <criterion/criterion.h>
#include <signal.h>

Test(limit, starts_at_its_maximum)
{
	struct limit limit;
	limit_init(&limit, 64);
	cr_assert_eq(limit.current, 64);
}

Test(limit, a_throttled_answer_halves)
{
	struct limit limit;
	limit_init(&limit, 64);
	cr_assert(limit_throttled(&limit, 0));
	cr_assert_eq(limit.current, 32);
}

Test(limit, a_storm_of_throttled_answers_in_one_second_halves_once)
{
	struct limit limit;
	limit_init(&limit, 64);
	int cuts = 0;
	for (int64_t now = 5000; now < 5000 + LIMIT_CUT_EVERY_MS; now += 10)
		cuts += limit_throttled(&limit, now);
	cr_assert_eq(cuts, 1);
	cr_assert_eq(limit.current, 32);
	cr_assert(limit_throttled(&limit, 5000 + LIMIT_CUT_EVERY_MS));
	cr_assert_eq(limit.current, 16);
}

Test(limit, never_falls_below_one)
{
	struct limit limit;
	limit_init(&limit, 3);
	for (int64_t now = 0; now < 100000; now += LIMIT_CUT_EVERY_MS)
		limit_throttled(&limit, now);
	cr_assert_eq(limit.current, 1);
}

Test(limit, each_success_adds_one_up_to_the_maximum_and_ends_the_row_of_cuts)
{
	struct limit limit;
	limit_init(&limit, 8);
	limit_throttled(&limit, 0);
	limit_throttled(&limit, 1000);
	cr_assert_eq(limit.current, 2);
	cr_assert_eq(limit.cuts, 2);
	limit_succeeded(&limit);
	cr_assert_eq(limit.current, 3);
	cr_assert_eq(limit.cuts, 0);
	for (int i = 0; i < 100; i++)
		limit_succeeded(&limit);
	cr_assert_eq(limit.current, 8);
}

Test(limit, a_maximum_of_zero_is_a_programming_error, .signal = SIGABRT)
{
	struct limit limit;
	limit_init(&limit, 0);
}
