/* SPDX-License-Identifier: MIT */
#include "base/wakeup.h"

#include "base/check.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct wakeup *wakeup = CONTAINER_OF(poll, struct wakeup, poll);
	eventfd_t count;
	(void)status; /* an eventfd has no errors */
	(void)events;
	(void)eventfd_read(wakeup->fd, &count);
	/* Before the callback looks: who sends from here on wakes us again. */
	atomic_exchange(&wakeup->sent, false);
	wakeup->woken(poll->data);
}

int wakeup_init(struct wakeup *wakeup, uv_loop_t *loop, wakeup_cb *woken, void *data)
{
	wakeup->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wakeup->fd < 0)
		return uv_translate_sys_error(errno);
	atomic_init(&wakeup->sent, false);
	wakeup->woken = woken;
	int r = uv_poll_init(loop, &wakeup->poll, wakeup->fd);
	if (r != 0) {
		close(wakeup->fd);
		return r;
	}
	wakeup->poll.data = data;
	REQUIRE(uv_poll_start(&wakeup->poll, UV_READABLE, on_readable) == 0);
	return 0;
}

void wakeup_send(struct wakeup *wakeup)
{
	if (atomic_exchange(&wakeup->sent, true))
		return;
	/* It cannot fail: the counter is 0 or 1. */
	(void)eventfd_write(wakeup->fd, 1);
}

void wakeup_close(struct wakeup *wakeup, uv_close_cb closed)
{
	uv_close((uv_handle_t *)&wakeup->poll, closed);
	close(wakeup->fd);
}
