/* SPDX-License-Identifier: MIT */
/*
 * Waiting for something on a loop, in a command or a test: `while (!done) turn_run(&loop);`.
 *
 * uv_run(UV_RUN_ONCE) would not do. It runs timers, idle and prepare handles before it sleeps; what is waited for may come from one of
 * those, and then it sleeps until something else happens, which may be never.
 */
#ifndef REELD_BASE_TURN_H
#define REELD_BASE_TURN_H

#include <uv.h>

/*
 * Sleeps until the loop has something to do, for 10 ms at most, and then takes one turn without sleeping. Returns what uv_run() does: 0 when
 * nothing is left that could happen. Loop thread only, and not from a callback of the loop.
 */
int turn_run(uv_loop_t *loop);

#endif
