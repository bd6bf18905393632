/* SPDX-License-Identifier: MIT */
/*
 * ACK=archived: requests whose event is on disk and that wait for the outcome of their recording, at most `timeout_ms`. As many
 * as there are connections at the most. Loop thread only; embedded in the webhook.
 */
#ifndef REELD_INTAKE_WAITING_H
#define REELD_INTAKE_WAITING_H

#include "base/list.h"
#include "base/sid.h"

#include <stdint.h>
#include <uv.h>

struct waiter {
	struct list bucket;
	struct list queue;
	struct sid recording_sid;
	uint64_t until_ms;
};

#define WAITING_BUCKETS 256

struct waiting {
	uv_timer_t timer;
	uint64_t timeout_ms;
	struct list buckets[WAITING_BUCKETS];
	struct list queue; /* one timeout for all, so the oldest is the first to end */
	void (*expired)(struct waiting *waiting, struct waiter *waiter);
};

/* `expired` is called, from the timer, for a waiter that was taken out because its time is up. */
void waiting_init(struct waiting *waiting, uv_loop_t *loop, uint64_t timeout_ms,
		  void (*expired)(struct waiting *, struct waiter *));
void waiting_add(struct waiting *waiting, struct waiter *waiter, const struct sid *recording_sid);
/* Takes out one waiter of that recording, NULL when there is none (left). */
struct waiter *waiting_take(struct waiting *waiting, const struct sid *recording_sid);
/* Takes out any one. */
struct waiter *waiting_take_any(struct waiting *waiting);
/* Nobody may wait any more. `closed` is the handle's close callback; waiting->timer.data is the caller's. */
void waiting_close(struct waiting *waiting, uv_close_cb closed);

#endif
