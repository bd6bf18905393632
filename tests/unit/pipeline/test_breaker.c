/* SPDX-License-Identifier: MIT */
#include "pipeline/breaker.h"

#include "base/err.h"

#include <criterion/criterion.h>
#include <signal.h>

static const struct breaker_options options = {.threshold = 3, .min_recordings = 2, .base_ms = 1000, .max_ms = 8000};
static struct breaker breaker;

static void setup(void)
{
	breaker_init(&breaker, &options);
}

static void open_it(int64_t now)
{
	for (uint64_t subject = 1; breaker.state == BREAKER_CLOSED; subject++)
		breaker_failed(&breaker, ERR_HTTP_SERVER, subject, now, 0);
}

TestSuite(breaker, .init = setup);

Test(breaker, counts_what_is_the_dependencys_and_not_what_is_the_recordings)
{
	static const int own[] = {ERR_RESOLVE,  ERR_CONNECT,           ERR_TLS,   ERR_TIMEOUT, ERR_HTTP_SERVER, ERR_RESET,
				  ERR_PROTOCOL, ERR_HTTP_UNAUTHORIZED, ERR_STORE, ERR_LEDGER,  ERR_NO_SPACE};
	static const int others[] = {0,
				     ERR_HTTP_NOT_FOUND,
				     ERR_HTTP_THROTTLED,
				     ERR_MEDIA_TYPE,
				     ERR_MEDIA_LENGTH,
				     ERR_CHECKSUM,
				     ERR_CANCELLED,
				     ERR_LEASE_LOST};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		cr_assert(breaker_counts(own[i]), "%s", err_name(own[i]));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_assert_not(breaker_counts(others[i]), "%s", err_name(others[i]));
}

Test(breaker, opens_at_the_threshold_and_not_before)
{
	cr_assert_not(breaker_failed(&breaker, ERR_HTTP_SERVER, 1, 0, 0));
	cr_assert_not(breaker_failed(&breaker, ERR_HTTP_SERVER, 2, 0, 0));
	cr_assert_eq(breaker_permits(&breaker, 0), SIZE_MAX);
	cr_assert(breaker_failed(&breaker, ERR_HTTP_SERVER, 3, 0, 0));
	cr_assert_eq(breaker.state, BREAKER_OPEN);
	cr_assert_eq(breaker_permits(&breaker, 0), 0);
}

Test(breaker, a_success_between_starts_the_count_anew)
{
	for (int i = 0; i < 100; i++) {
		cr_assert_not(breaker_failed(&breaker, ERR_HTTP_SERVER, 1, 0, 0));
		cr_assert_not(breaker_failed(&breaker, ERR_HTTP_SERVER, 2, 0, 0));
		cr_assert_not(breaker_succeeded(&breaker));
	}
}

Test(breaker, one_recording_that_cannot_be_served_does_not_open_it)
{
	for (int i = 0; i < 1000; i++)
		cr_assert_not(breaker_failed(&breaker, ERR_HTTP_SERVER, 7, 0, 0));
	cr_assert_eq(breaker.state, BREAKER_CLOSED);
	cr_assert(breaker_failed(&breaker, ERR_HTTP_SERVER, 8, 0, 0));
}

Test(breaker, nobody_there_opens_it_even_for_one_recording)
{
	for (int i = 0; i < 3; i++)
		breaker_failed(&breaker, ERR_CONNECT, 7, 0, 0);
	cr_assert_eq(breaker.state, BREAKER_OPEN);
}

Test(breaker, permits_one_probe_after_the_interval)
{
	open_it(10000);
	cr_assert(breaker_delay_ms(&breaker, 10000) >= 500 && breaker_delay_ms(&breaker, 10000) <= 1000);
	int64_t due = 10000 + breaker_delay_ms(&breaker, 10000);
	cr_assert_eq(breaker_permits(&breaker, due - 1), 0);
	cr_assert_eq(breaker_permits(&breaker, due), 1);
	cr_assert(breaker_start(&breaker, due));
	cr_assert_eq(breaker_permits(&breaker, due), 0);
	cr_assert_eq(breaker_delay_ms(&breaker, due), 1000);
}

Test(breaker, a_good_probe_closes_it)
{
	open_it(0);
	breaker_start(&breaker, 1000);
	cr_assert(breaker_succeeded(&breaker));
	cr_assert_eq(breaker_permits(&breaker, 1000), SIZE_MAX);
	cr_assert_eq(breaker_delay_ms(&breaker, 1000), 0);
}

Test(breaker, bad_probes_double_the_interval_up_to_the_maximum)
{
	static const int64_t intervals[] = {500, 1000, 2000, 4000, 4000};
	int64_t now = 0;
	open_it(now);
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		cr_assert_eq(breaker_delay_ms(&breaker, now), intervals[i], "%zu: %lld", i,
			     (long long)breaker_delay_ms(&breaker, now));
		now += intervals[i];
		cr_assert(breaker_start(&breaker, now));
		cr_assert_not(breaker_failed(&breaker, ERR_CONNECT, 9, now, 0));
	}
}

Test(breaker, a_probe_that_learned_nothing_gives_its_turn_to_another)
{
	open_it(0);
	breaker_start(&breaker, 1000);
	breaker_probe_abandoned(&breaker, 1500);
	cr_assert_eq(breaker_permits(&breaker, 1500), 1);
	breaker_succeeded(&breaker);
	breaker_probe_abandoned(&breaker, 1600);
	cr_assert_eq(breaker.state, BREAKER_CLOSED);
}

Test(breaker, failures_of_those_already_under_way_do_not_prolong_it)
{
	open_it(0);
	int64_t delay = breaker_delay_ms(&breaker, 0);
	for (uint64_t i = 0; i < 64; i++)
		breaker_failed(&breaker, ERR_CONNECT, i, 0, 0);
	cr_assert_eq(breaker_delay_ms(&breaker, 0), delay);
}

Test(breaker, starting_without_a_permit_is_a_programming_error, .signal = SIGABRT)
{
	open_it(0);
	breaker_start(&breaker, 0);
}

Test(breaker, hurried_it_lets_somebody_try_at_once_and_its_intervals_begin_anew)
{
	breaker_hurry(&breaker, 0);
	cr_assert_eq(breaker_permits(&breaker, 0), SIZE_MAX, "a closed one stays what it is");
	for (uint64_t subject = 1; breaker.state != BREAKER_OPEN; subject++)
		breaker_failed(&breaker, ERR_HTTP_SERVER, subject, 0, 0);
	int64_t first = breaker_delay_ms(&breaker, 0);
	cr_assert_gt(first, 0);
	for (int64_t now = first, i = 0; i < 5; i++, now += breaker_delay_ms(&breaker, now)) {
		breaker_start(&breaker, now);
		breaker_failed(&breaker, ERR_HTTP_SERVER, 1, now, 0);
	}
	breaker_hurry(&breaker, 7);
	cr_assert_eq(breaker_permits(&breaker, 7), 1);
	breaker_start(&breaker, 7);
	breaker_failed(&breaker, ERR_HTTP_SERVER, 1, 7, 0);
	cr_assert_eq(breaker_delay_ms(&breaker, 7), first);
}
