/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>

static int niceness(void)
{
	return getpriority(PRIO_PROCESS, 0);
}

static void *yield(void *data)
{
	thread_yield_to_others();
	*(int *)data = niceness();
	return NULL;
}

static void *prompt(void *data)
{
	thread_be_prompt();
	*(int *)data = niceness();
	return NULL;
}

static int in_a_thread(void *(*run)(void *))
{
	pthread_t thread;
	int nice_there = -100;
	pthread_create(&thread, NULL, run, &nice_there);
	pthread_join(thread, NULL);
	return nice_there;
}

Test(thread, only_the_thread_that_asks_yields)
{
	int before = niceness();
	cr_assert_eq(in_a_thread(yield), before > 10 ? before : 10);
	cr_assert_eq(niceness(), before);
}

Test(thread, being_prompt_does_not_change_the_share)
{
	cr_assert_eq(in_a_thread(prompt), niceness());
}
