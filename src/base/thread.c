/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of linux/sched/types.h, whose header clashes with glibc's sched.h. */
struct sched_attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

/* The shortest slice there is. */
#define THREAD_SLICE_NS 100000

/* The weight of nice 10 is a ninth of that of nice 0. */
#define THREAD_NICE 10

/* A thread that was started nice stays so. */
void thread_yield_to_others(void)
{
	id_t thread = (id_t)gettid();
	if (getpriority(PRIO_PROCESS, thread) < THREAD_NICE)
		(void)setpriority(PRIO_PROCESS, thread, THREAD_NICE);
}

void thread_be_prompt(void)
{
	errno = 0;
	int nice = getpriority(PRIO_PROCESS, (id_t)gettid());
	struct sched_attributes attributes = {
		.size = sizeof(attributes),
		.policy = SCHED_OTHER,
		.nice = errno == 0 ? nice : 0,
		.runtime_ns = THREAD_SLICE_NS,
	};
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}
