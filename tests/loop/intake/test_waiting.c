/* SPDX-License-Identifier: MIT */
#include "intake/waiting.h"

#include "base/check.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#define TIMEOUT_MS 400

static uv_loop_t loop;
static struct waiting waiting;
static struct waiter *expired[16];
static size_t expired_count;
static void (*on_expired)(struct waiter *waiter);

static void take_expired(struct waiting *from, struct waiter *waiter)
{
	cr_assert_eq(from, &waiting);
	expired[expired_count++] = waiter;
	if (on_expired != NULL)
		on_expired(waiter);
}

static void setup(void)
{
	REQUIRE(uv_loop_init(&loop) == 0);
	waiting_init(&waiting, &loop, TIMEOUT_MS, take_expired);
}

static void closed(uv_handle_t *handle)
{
	cr_assert_eq(handle, (uv_handle_t *)&waiting.timer);
}

static void teardown(void)
{
	waiting_close(&waiting, closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(waiting, .init = setup, .fini = teardown, .timeout = 30);

static struct sid sid_of(unsigned n)
{
	struct sid sid;
	snprintf(sid.text, sizeof(sid.text), "RE%032x", n);
	return sid;
}

static void add(struct waiter *waiter, unsigned n)
{
	struct sid sid = sid_of(n);
	waiting_add(&waiting, waiter, &sid);
}

static struct waiter *take(unsigned n)
{
	struct sid sid = sid_of(n);
	return waiting_take(&waiting, &sid);
}

Test(waiting, finds_those_of_a_recording_and_no_other)
{
	/* Two recordings of one bucket, and one of another. */
	struct waiter one, two, three, four;
	add(&one, 5);
	add(&two, 5 + WAITING_BUCKETS);
	add(&three, 6);
	add(&four, 5);
	cr_assert_null(take(7));
	cr_assert_eq(take(5 + WAITING_BUCKETS), &two);
	cr_assert_null(take(5 + WAITING_BUCKETS));
	cr_assert_eq(take(5), &one, "the one that waits longest first");
	cr_assert_eq(take(5), &four);
	cr_assert_null(take(5));
	cr_assert_eq(take(6), &three);
}

Test(waiting, the_case_of_the_hex_digits_does_not_matter)
{
	struct waiter waiter;
	struct sid lower = {"RE0123456789abcdef0123456789abcdef"};
	struct sid upper = {"RE0123456789ABCDEF0123456789ABCDEF"};
	waiting_add(&waiting, &waiter, &lower);
	cr_assert_eq(waiting_take(&waiting, &upper), &waiter);
}

Test(waiting, any_one_is_the_oldest)
{
	struct waiter one, two;
	cr_assert_null(waiting_take_any(&waiting));
	add(&one, 1);
	add(&two, 2);
	cr_assert_eq(waiting_take_any(&waiting), &one);
	cr_assert_null(take(1));
	cr_assert_eq(waiting_take_any(&waiting), &two);
	cr_assert_null(waiting_take_any(&waiting));
}

Test(waiting, who_waits_too_long_is_told_each_after_its_own_time)
{
	struct waiter one, two, three;
	uv_update_time(&loop);
	uint64_t began = uv_now(&loop);
	add(&one, 1);
	add(&two, 2);
	while (uv_now(&loop) < began + 5)
		uv_run(&loop, UV_RUN_NOWAIT);
	add(&three, 3);
	uint64_t third_began = uv_now(&loop);
	cr_assert_leq(uv_timer_get_due_in(&waiting.timer), one.until_ms - uv_now(&loop), "a newcomer makes nobody wait longer");
	cr_assert_eq(take(2), &two);
	while (expired_count < 1)
		turn_run(&loop);
	cr_assert_eq(expired[0], &one);
	cr_assert_geq(uv_now(&loop), began + TIMEOUT_MS);
	while (expired_count < 2)
		turn_run(&loop);
	cr_assert_eq(expired[1], &three);
	cr_assert_geq(uv_now(&loop), third_began + TIMEOUT_MS);
	cr_assert_null(take(1));
	cr_assert_null(take(3));
	cr_assert_eq(uv_run(&loop, UV_RUN_NOWAIT), 0, "the timer runs on for nobody");
}

static struct waiter again;

static void wait_again(struct waiter *waiter)
{
	on_expired = NULL;
	cr_assert_neq(waiter, &again);
	add(&again, 9);
}

Test(waiting, a_waiter_may_be_added_while_others_are_told)
{
	struct waiter one;
	on_expired = wait_again;
	add(&one, 1);
	while (expired_count < 2)
		turn_run(&loop);
	cr_assert_eq(expired[0], &one);
	cr_assert_eq(expired[1], &again);
}

Test(waiting, nobody_may_wait_when_it_closes, .signal = SIGABRT, .fini = NULL)
{
	static struct waiter waiter;
	add(&waiter, 1);
	waiting_close(&waiting, closed);
}
