/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "reconcile/schedule.h"

#include <criterion/criterion.h>

#define HOUR INT64_C(3600000)

/* The least and the most of many draws. */
static void range(int64_t every_ms, int status, int64_t wait_ms, unsigned failures, uint64_t *low, uint64_t *high)
{
	*low = UINT64_MAX;
	*high = 0;
	for (int i = 0; i < 2000; i++) {
		uint64_t delay = reconcile_schedule_delay(every_ms, status, wait_ms, failures);
		*low = delay < *low ? delay : *low;
		*high = delay > *high ? delay : *high;
	}
}

Test(reconcile_schedule, every_so_often_give_or_take_a_twentieth)
{
	uint64_t low, high;
	range(HOUR, 0, 0, 0, &low, &high);
	cr_assert_geq(low, HOUR - HOUR / 20);
	cr_assert_leq(high, HOUR + HOUR / 20);
	cr_assert_gt(high, low);
}

Test(reconcile_schedule, when_another_walks_or_it_is_too_early_as_long_as_that_takes)
{
	uint64_t low, high;
	range(HOUR, ERR_LOCKED, 20000, 0, &low, &high);
	cr_assert_gt(low, 20000);
	cr_assert_leq(high, 20000 + HOUR / 10 + 1);
	range(HOUR, ERR_LOCKED, 5 * HOUR, 0, &low, &high);
	cr_assert_leq(high, HOUR + HOUR / 10 + 1);
	range(HOUR, ERR_LOCKED, -1, 0, &low, &high);
	cr_assert_gt(low, 0);
}

Test(reconcile_schedule, after_a_failure_sooner_and_then_ever_later)
{
	uint64_t low, high;
	range(HOUR, ERR_HTTP_SERVER, 0, 1, &low, &high);
	cr_assert(low >= 30000 && high <= 60000, "%llu %llu", (unsigned long long)low, (unsigned long long)high);
	range(HOUR, ERR_HTTP_SERVER, 0, 3, &low, &high);
	cr_assert(low >= 120000 && high <= 240000);
	range(HOUR, ERR_HTTP_SERVER, 0, 1000, &low, &high);
	cr_assert(low >= HOUR / 2 && high <= HOUR);
	range(HOUR, ERR_HTTP_THROTTLED, 2 * HOUR, 1, &low, &high);
	cr_assert(low >= 2 * HOUR && high <= 2 * HOUR + HOUR / 10, "Twilio asked for two hours");
	range(1000, ERR_LEDGER, 0, 1, &low, &high);
	cr_assert_leq(high, 1000);
}
