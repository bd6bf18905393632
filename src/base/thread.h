/* SPDX-License-Identifier: MIT */
/* What the loop's helpers ask of the scheduler. */
#ifndef REELD_BASE_THREAD_H
#define REELD_BASE_THREAD_H

/*
 * The calling thread yields to others from now on: where cores are few its work is done in what the loop leaves over, at least a tenth
 * of a core. Linux: nice is a thread's own (sched(7)). Without effect where that is refused.
 */
void thread_yield_to_others(void);

/*
 * The calling thread works in short pieces that others wait for: it is given a processor as soon as it has something to do. Linux 6.12 and
 * later: a request for short slices (sched_setattr(2), sched_runtime of SCHED_OTHER), which needs no privilege and gives no larger
 * share. Without effect elsewhere.
 */
void thread_be_prompt(void);

#endif
