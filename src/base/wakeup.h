/* SPDX-License-Identifier: MIT */
/*
 * Another thread wakes the loop. Instead of uv_async: the loop of libuv 1.44 waits for a sender that is still inside uv_async_send, first
 * spinning and then yielding; and on a shared core the sender nearly always is, because waking the loop preempts it
 * (https://github.com/libuv/libuv/blob/v1.44.2/src/unix/async.c, uv__async_spin).
 */
#ifndef REELD_BASE_WAKEUP_H
#define REELD_BASE_WAKEUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

typedef void wakeup_cb(void *data);

/* Embedded by its owner. */
struct wakeup {
	uv_poll_t poll; /* its data is the owner's: for uv_ref, uv_unref and the close callback */
	int fd;
	atomic_bool sent;
	wakeup_cb *woken;
};

/* On the loop thread. 0, or a negative libuv error and nothing to close. */
int wakeup_init(struct wakeup *wakeup, uv_loop_t *loop, wakeup_cb *woken, void *data);
/*
 * `woken` runs on the loop at least once after this, and sees all that the caller did before; calls in between may become one.
 * Any thread, from wakeup_init to wakeup_close.
 */
void wakeup_send(struct wakeup *wakeup);
/* On the loop thread; no other may send any more. `closed` gets the handle, whose data is the owner's. */
void wakeup_close(struct wakeup *wakeup, uv_close_cb closed);

#endif
