/* SPDX-License-Identifier: MIT */
#include "intake/commit_queue.h"

#include "base/check.h"

static struct commit_waiter *first_waiter(const struct commit_queue *queue)
{
	struct list *link = list_first(&queue->queue);
	return link == NULL ? NULL : LIST_ENTRY(link, struct commit_waiter, link);
}

static void end(struct commit_queue *queue, struct commit_waiter *waiter, bool committed)
{
	list_remove(&waiter->link);
	queue->ended(waiter, committed);
}

static void on_timer(uv_timer_t *timer)
{
	struct commit_queue *queue = CONTAINER_OF(timer, struct commit_queue, timer);
	uint64_t now = uv_now(timer->loop);
	struct commit_waiter *waiter;
	while ((waiter = first_waiter(queue)) != NULL && waiter->until_ms <= now)
		end(queue, waiter, false);
	if (waiter != NULL)
		uv_timer_start(timer, on_timer, waiter->until_ms - now, 0);
}

void commit_queue_init(struct commit_queue *queue, uv_loop_t *loop, uint64_t timeout_ms, commit_queue_cb *ended)
{
	REQUIRE(uv_timer_init(loop, &queue->timer) == 0);
	queue->timeout_ms = timeout_ms;
	queue->ended = ended;
	list_init(&queue->queue);
}

void commit_queue_add(struct commit_queue *queue, struct commit_waiter *waiter, uint64_t sequence)
{
	waiter->sequence = sequence;
	waiter->until_ms = uv_now(queue->timer.loop) + queue->timeout_ms;
	list_append(&queue->queue, &waiter->link);
	if (!uv_is_active((uv_handle_t *)&queue->timer))
		uv_timer_start(&queue->timer, on_timer, queue->timeout_ms, 0);
}

void commit_queue_release(struct commit_queue *queue, uint64_t sequence)
{
	struct commit_waiter *waiter;
	while ((waiter = first_waiter(queue)) != NULL && waiter->sequence <= sequence)
		end(queue, waiter, true);
}

void commit_queue_refuse(struct commit_queue *queue, uint64_t sequence)
{
	for (struct list *link = queue->queue.next; link != &queue->queue; link = link->next) {
		struct commit_waiter *waiter = LIST_ENTRY(link, struct commit_waiter, link);
		if (waiter->sequence >= sequence) {
			if (waiter->sequence == sequence)
				end(queue, waiter, false);
			return;
		}
	}
}

void commit_queue_close(struct commit_queue *queue, uv_close_cb closed)
{
	struct commit_waiter *waiter;
	while ((waiter = first_waiter(queue)) != NULL)
		end(queue, waiter, false);
	uv_close((uv_handle_t *)&queue->timer, closed);
}
