/* SPDX-License-Identifier: MIT */
#include "base/turn.h"
#include "base/soon.h"

#include <criterion/criterion.h>

enum { FAR_MS = 5000, NEAR_MS = 2500 };

static uv_loop_t loop;
static uv_timer_t far_off; /* keeps the loop alive, and asleep for long */
static bool done;

static void nothing(uv_timer_t *timer)
{
	(void)timer;
}

static void setup(void)
{
	cr_assert_eq(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &far_off);
	uv_timer_start(&far_off, nothing, FAR_MS, 0);
}

static void close_handle(uv_handle_t *handle, void *data)
{
	(void)data;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void teardown(void)
{
	uv_walk(&loop, close_handle, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}

/* Returns the number of turns. */
static unsigned wait_done(void)
{
	unsigned turns = 0;
	uint64_t begun = uv_hrtime();
	for (; !done; turns++)
		cr_assert_neq(turn_run(&loop), 0);
	cr_expect_lt((uv_hrtime() - begun) / 1000000, NEAR_MS, "it slept until the far timer");
	return turns;
}

TestSuite(turn, .init = setup, .fini = teardown);

static void on_prepare(uv_prepare_t *prepare)
{
	uv_prepare_stop(prepare);
	done = true;
}

Test(turn, what_comes_before_the_poll_ends_the_wait)
{
	static uv_prepare_t prepare;
	uv_prepare_init(&loop, &prepare);
	uv_prepare_start(&prepare, on_prepare);
	wait_done();
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
	done = true;
}

Test(turn, a_timer_that_is_due_ends_the_wait)
{
	static uv_timer_t timer;
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_timer, 0, 0);
	wait_done();
}

Test(turn, it_sleeps_while_nothing_happens)
{
	static uv_timer_t timer;
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_timer, 200, 0);
	cr_expect_lt(wait_done(), 100);
}

static void on_soon(struct soon_item *item)
{
	(void)item;
	done = true;
}

Test(turn, an_item_of_soon_ends_the_wait)
{
	static struct soon soon;
	struct soon_item item;
	soon_init(&soon, &loop);
	soon_item_init(&item, on_soon);
	soon_add(&soon, &item);
	wait_done();
	soon_close(&soon, NULL);
}

Test(turn, a_change_from_outside_is_seen)
{
	/* The far timer alone would let the loop sleep. */
	uint64_t begun = uv_hrtime();
	while (uv_hrtime() - begun < 50 * UINT64_C(1000000))
		turn_run(&loop);
	cr_expect_lt((uv_hrtime() - begun) / 1000000, NEAR_MS);
}

Test(turn, a_loop_with_nothing_left_says_so)
{
	uv_timer_stop(&far_off);
	cr_expect_eq(turn_run(&loop), 0);
}
