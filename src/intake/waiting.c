/* SPDX-License-Identifier: MIT */
#include "intake/waiting.h"

#include "base/check.h"

#include <strings.h>

static struct list *bucket_of(struct waiting *waiting, const struct sid *sid)
{
	uint8_t key[16] = {0};
	(void)sid_binary(sid, key);
	/* Twilio's SIDs are random, and who may choose them holds the auth token. */
	return &waiting->buckets[key[15] % WAITING_BUCKETS];
}

static void take_out(struct waiter *waiter)
{
	list_remove(&waiter->bucket);
	list_remove(&waiter->queue);
}

static void waiting_on_timer(uv_timer_t *timer)
{
	struct waiting *waiting = CONTAINER_OF(timer, struct waiting, timer);
	uint64_t now = uv_now(timer->loop);
	struct list *first;
	while ((first = list_first(&waiting->queue)) != NULL) {
		struct waiter *waiter = LIST_ENTRY(first, struct waiter, queue);
		if (waiter->until_ms > now) {
			uv_timer_start(timer, waiting_on_timer, waiter->until_ms - now, 0);
			return;
		}
		take_out(waiter);
		waiting->expired(waiting, waiter);
	}
}

void waiting_init(struct waiting *waiting, uv_loop_t *loop, uint64_t timeout_ms,
		  void (*expired)(struct waiting *, struct waiter *))
{
	REQUIRE(uv_timer_init(loop, &waiting->timer) == 0);
	waiting->timeout_ms = timeout_ms;
	waiting->expired = expired;
	list_init(&waiting->queue);
	for (size_t i = 0; i < WAITING_BUCKETS; i++)
		list_init(&waiting->buckets[i]);
}

void waiting_add(struct waiting *waiting, struct waiter *waiter, const struct sid *recording_sid)
{
	waiter->recording_sid = *recording_sid;
	waiter->until_ms = uv_now(waiting->timer.loop) + waiting->timeout_ms;
	list_append(bucket_of(waiting, recording_sid), &waiter->bucket);
	list_append(&waiting->queue, &waiter->queue);
	if (!uv_is_active((uv_handle_t *)&waiting->timer))
		uv_timer_start(&waiting->timer, waiting_on_timer, waiting->timeout_ms, 0);
}

struct waiter *waiting_take(struct waiting *waiting, const struct sid *recording_sid)
{
	struct list *bucket = bucket_of(waiting, recording_sid);
	for (struct list *link = bucket->next; link != bucket; link = link->next) {
		struct waiter *waiter = LIST_ENTRY(link, struct waiter, bucket);
		/* The same recording in either case of its hex digits, as for the ledger. */
		if (strcasecmp(waiter->recording_sid.text, recording_sid->text) == 0) {
			take_out(waiter);
			return waiter;
		}
	}
	return NULL;
}

struct waiter *waiting_take_any(struct waiting *waiting)
{
	struct list *first = list_first(&waiting->queue);
	if (first == NULL)
		return NULL;
	struct waiter *waiter = LIST_ENTRY(first, struct waiter, queue);
	take_out(waiter);
	return waiter;
}

void waiting_close(struct waiting *waiting, uv_close_cb closed)
{
	REQUIRE(list_empty(&waiting->queue));
	uv_close((uv_handle_t *)&waiting->timer, closed);
}
