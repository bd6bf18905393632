/* SPDX-License-Identifier: MIT */
/*
 * ACK=ledger: requests whose event is on disk and that wait until the ledger has it, at most `timeout_ms`. Events reach the ledger in the
 * order of their sequences, so one queue does. As many as there are connections at the most. Loop thread only; embedded in the webhook.
 */
#ifndef REELD_INTAKE_COMMIT_QUEUE_H
#define REELD_INTAKE_COMMIT_QUEUE_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct commit_waiter {
	struct list link;
	uint64_t sequence;
	uint64_t until_ms;
};

/* `committed`: the ledger has it; else it was refused, or its time is up. The waiter is out of the queue. */
typedef void commit_queue_cb(struct commit_waiter *waiter, bool committed);

struct commit_queue {
	uv_timer_t timer;
	uint64_t timeout_ms;
	struct list queue; /* by sequence, and so by deadline too */
	commit_queue_cb *ended;
};

void commit_queue_init(struct commit_queue *queue, uv_loop_t *loop, uint64_t timeout_ms, commit_queue_cb *ended);
/* In the order of their sequences. `ended` comes later, once. */
void commit_queue_add(struct commit_queue *queue, struct commit_waiter *waiter, uint64_t sequence);
/* The ledger has everything up to `sequence`: ends those who wait for it, from here. */
void commit_queue_release(struct commit_queue *queue, uint64_t sequence);
/* The ledger will not have this one: ends who waits for it, if anybody does, as not committed. */
void commit_queue_refuse(struct commit_queue *queue, uint64_t sequence);
/* Ends all who wait, as not committed, and closes; queue->timer.data is the caller's. */
void commit_queue_close(struct commit_queue *queue, uv_close_cb closed);

#endif
