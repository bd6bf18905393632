/* SPDX-License-Identifier: MIT */
/*
 * How a test turns its loop while it waits: `while (!done) run_turn(&loop);`.
 *
 * UV_RUN_ONCE would not do. It runs timers, idle and prepare handles before it sleeps; what is waited for may come from one of those, and
 * then it sleeps until something else happens, which may be never.
 */
#ifndef LOOP_SUPPORT_TURN_H
#define LOOP_SUPPORT_TURN_H

#include <poll.h>
#include <uv.h>

enum { TURN_MS = 10 }; /* what changes outside the loop is seen that soon */

/* Sleeps until something happens, for TURN_MS at most, and then takes one turn without sleeping. Returns what uv_run() does: 0 when the
 * loop has nothing left to do. */
static inline int run_turn(uv_loop_t *uv_loop)
{
	struct pollfd events = {.fd = uv_backend_fd(uv_loop), .events = POLLIN};
	int timeout = uv_backend_timeout(uv_loop);
	poll(&events, 1, timeout < 0 || timeout > TURN_MS ? TURN_MS : timeout);
	return uv_run(uv_loop, UV_RUN_NOWAIT);
}

#endif
