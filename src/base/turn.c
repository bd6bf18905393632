/* SPDX-License-Identifier: MIT */
#include "base/turn.h"

#include <poll.h>

enum { TURN_MS = 10 }; /* what changes outside the loop is seen that soon */

int turn_run(uv_loop_t *loop)
{
	struct pollfd events = {.fd = uv_backend_fd(loop), .events = POLLIN};
	int timeout = uv_backend_timeout(loop);
	poll(&events, 1, timeout < 0 || timeout > TURN_MS ? TURN_MS : timeout);
	return uv_run(loop, UV_RUN_NOWAIT);
}
