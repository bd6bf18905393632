/* SPDX-License-Identifier: MIT */
#include "base/backoff.h"

#include <criterion/criterion.h>

Test(backoff, doubles_and_stops_at_the_bound)
{
	cr_expect_eq(backoff_bound(2000, 3600000, 0), 2000);
	cr_expect_eq(backoff_bound(2000, 3600000, 1), 4000);
	cr_expect_eq(backoff_bound(2000, 3600000, 3), 16000);
	cr_expect_eq(backoff_bound(2000, 3600000, 10), 2048000);
	cr_expect_eq(backoff_bound(2000, 3600000, 11), 3600000);
	cr_expect_eq(backoff_bound(5000, 1000, 0), 1000);
	cr_expect_eq(backoff_bound(1000, 1000, 7), 1000);
}

Test(backoff, neither_overflows_nor_goes_on_for_ever)
{
	cr_expect_eq(backoff_bound(2000, 3600000, 4000000000U), 3600000);
	cr_expect_eq(backoff_bound(1, UINT64_MAX, 63), UINT64_C(1) << 63);
	cr_expect_eq(backoff_bound(1, UINT64_MAX, 64), UINT64_MAX);
	cr_expect_eq(backoff_bound(3, UINT64_MAX, 4000000000U), UINT64_MAX);
	cr_expect_eq(backoff_bound(0, 1000, 4000000000U), 0);
	cr_expect_eq(backoff_bound(7, 0, 3), 0);
}

Test(backoff, full_jitter_is_anything_from_one_to_the_bound)
{
	bool seen[9] = {false};
	for (int i = 0; i < 2000; i++) {
		uint64_t pause = backoff_full_jitter(2, 8, 5);
		cr_assert(pause >= 1 && pause <= 8);
		seen[pause] = true;
	}
	for (int pause = 1; pause <= 8; pause++)
		cr_expect(seen[pause], "%d", pause);
	cr_expect_eq(backoff_full_jitter(0, 0, 0), 1);
}
