/* SPDX-License-Identifier: MIT */
/* Nothing that was sent before may go unseen, and what needs no wake-up of its own costs none. */
#include "base/wakeup.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define SENDS 100000

struct fixture {
	uv_loop_t loop;
	struct wakeup wakeup;
	atomic_uint produced;
	unsigned seen;
	unsigned calls;
};

static void woken(void *data)
{
	struct fixture *f = data;
	f->calls++;
	f->seen = atomic_load(&f->produced);
	if (f->seen == SENDS)
		wakeup_close(&f->wakeup, NULL);
}

static void *produce(void *data)
{
	struct fixture *f = data;
	for (unsigned i = 0; i < SENDS; i++) {
		atomic_fetch_add(&f->produced, 1);
		wakeup_send(&f->wakeup);
	}
	return NULL;
}

Test(wakeup, the_last_of_many_sends_is_never_lost, .timeout = 60)
{
	struct fixture f = {.seen = 0};
	pthread_t thread;
	cr_assert_eq(uv_loop_init(&f.loop), 0);
	cr_assert_eq(wakeup_init(&f.wakeup, &f.loop, woken, &f), 0);
	pthread_create(&thread, NULL, produce, &f);
	/* Only a lost wake-up could keep the loop here for ever. */
	uv_run(&f.loop, UV_RUN_DEFAULT);
	pthread_join(thread, NULL);
	cr_assert_eq(f.seen, SENDS);
	cr_assert_leq(f.calls, SENDS);
	cr_assert_eq(uv_loop_close(&f.loop), 0);
}

Test(wakeup, sends_before_the_loop_looks_are_one_call)
{
	struct fixture f = {.seen = 0};
	cr_assert_eq(uv_loop_init(&f.loop), 0);
	cr_assert_eq(wakeup_init(&f.wakeup, &f.loop, woken, &f), 0);
	for (int round = 1; round <= 3; round++) {
		wakeup_send(&f.wakeup);
		wakeup_send(&f.wakeup);
		cr_assert_eq(f.calls, (unsigned)round - 1, "never inside the call");
		uv_run(&f.loop, UV_RUN_NOWAIT);
		uv_run(&f.loop, UV_RUN_NOWAIT);
		cr_assert_eq(f.calls, (unsigned)round);
	}
	wakeup_close(&f.wakeup, NULL);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&f.loop), 0);
}
