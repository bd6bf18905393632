/* SPDX-License-Identifier: MIT */
#include "base/list.h"
#include "intake/commit_queue.h"

#include <criterion/criterion.h>

struct fixture {
	uv_loop_t loop;
	struct commit_queue queue;
	struct commit_waiter waiters[4];
	unsigned ended;
	unsigned committed; /* bit per waiter */
	unsigned too_late;
};

static struct fixture f;

static void ended(struct commit_waiter *waiter, bool committed)
{
	unsigned bit = 1u << (waiter - f.waiters);
	cr_assert_eq((f.committed | f.too_late) & bit, 0, "once");
	f.ended++;
	if (committed)
		f.committed |= bit;
	else
		f.too_late |= bit;
}

static void setup(void)
{
	cr_assert_eq(uv_loop_init(&f.loop), 0);
	commit_queue_init(&f.queue, &f.loop, 30, ended);
	for (unsigned i = 0; i < 4; i++)
		commit_queue_add(&f.queue, &f.waiters[i], 10 + 10 * i);
}

static void teardown(void)
{
	commit_queue_close(&f.queue, NULL);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&f.loop), 0);
	cr_assert_eq(f.ended, 4);
}

TestSuite(commit_queue, .init = setup, .fini = teardown, .timeout = 30);

Test(commit_queue, those_up_to_the_committed_sequence_end_and_no_others)
{
	cr_assert_eq(f.ended, 0, "never inside add");
	commit_queue_release(&f.queue, 9);
	cr_assert_eq(f.ended, 0);
	commit_queue_release(&f.queue, 25);
	cr_assert_eq(f.committed, 3);
	commit_queue_release(&f.queue, 25);
	commit_queue_release(&f.queue, 40);
	cr_assert_eq(f.committed, 15);
}

Test(commit_queue, whoever_waits_too_long_is_told_so)
{
	commit_queue_release(&f.queue, 10);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(f.committed, 1);
	cr_assert_eq(f.too_late, 14);
	/* Without effect on those that are gone. */
	commit_queue_release(&f.queue, 40);
}

Test(commit_queue, who_waits_for_what_the_ledger_refused_is_told_so_and_nobody_else)
{
	commit_queue_refuse(&f.queue, 15);
	cr_assert_eq(f.ended, 0, "nobody waits for it");
	commit_queue_refuse(&f.queue, 20);
	cr_assert_eq(f.too_late, 2);
	commit_queue_release(&f.queue, 40);
	cr_assert_eq(f.committed, 13);
	commit_queue_refuse(&f.queue, 50);
}

Test(commit_queue, closing_ends_all)
{
	commit_queue_release(&f.queue, 20);
	/* teardown closes: two more, not committed */
}
