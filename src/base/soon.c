/* SPDX-License-Identifier: MIT */
#include "base/soon.h"

#include "base/check.h"

static void run_all(struct soon *soon)
{
	struct list *link;
	while ((link = list_take(&soon->running)) != NULL) {
		struct soon_item *item = LIST_ENTRY(link, struct soon_item, link);
		item->run(item); /* may free the item, or close */
	}
}

static bool is_closing(const struct soon *soon)
{
	return uv_is_closing((const uv_handle_t *)&soon->idle);
}

static void idle_turn(uv_idle_t *idle)
{
	struct soon *soon = CONTAINER_OF(idle, struct soon, idle);
	list_move(&soon->running, &soon->items);
	run_all(soon);
	if (list_empty(&soon->items) && !is_closing(soon))
		uv_idle_stop(&soon->idle);
}

static void timer_expired(uv_timer_t *timer);

static struct soon_item *first_delayed(const struct soon *soon)
{
	struct list *link = list_first(&soon->delayed);
	return link == NULL ? NULL : LIST_ENTRY(link, struct soon_item, link);
}

static void timer_set(struct soon *soon)
{
	const struct soon_item *first = first_delayed(soon);
	if (is_closing(soon))
		return;
	if (first == NULL) {
		uv_timer_stop(&soon->timer);
		return;
	}
	uint64_t now = uv_now(soon->timer.loop);
	uv_timer_start(&soon->timer, timer_expired, first->due_ms > now ? first->due_ms - now : 0, 0);
}

static void timer_expired(uv_timer_t *timer)
{
	struct soon *soon = CONTAINER_OF(timer, struct soon, timer);
	uint64_t now = uv_now(timer->loop);
	struct soon_item *first;
	list_init(&soon->running);
	while ((first = first_delayed(soon)) != NULL && first->due_ms <= now) {
		list_remove(&first->link);
		list_append(&soon->running, &first->link);
	}
	run_all(soon);
	timer_set(soon);
}

void soon_init(struct soon *soon, uv_loop_t *loop)
{
	list_init(&soon->items);
	list_init(&soon->delayed);
	list_init(&soon->running);
	REQUIRE(uv_idle_init(loop, &soon->idle) == 0);
	REQUIRE(uv_timer_init(loop, &soon->timer) == 0);
	soon->open_handles = 2;
}

static void forget_all(struct list *items)
{
	while (list_take(items) != NULL)
		;
}

static void maybe_closed(struct soon *soon)
{
	if (--soon->open_handles == 0 && soon->closed != NULL)
		soon->closed((uv_handle_t *)&soon->idle); /* may free us */
}

static void idle_closed(uv_handle_t *handle)
{
	maybe_closed(CONTAINER_OF((uv_idle_t *)handle, struct soon, idle));
}

static void timer_closed(uv_handle_t *handle)
{
	maybe_closed(CONTAINER_OF((uv_timer_t *)handle, struct soon, timer));
}

void soon_close(struct soon *soon, uv_close_cb closed)
{
	soon->closed = closed;
	forget_all(&soon->items);
	forget_all(&soon->delayed);
	forget_all(&soon->running);
	uv_close((uv_handle_t *)&soon->idle, idle_closed);
	uv_close((uv_handle_t *)&soon->timer, timer_closed);
}

void soon_item_init(struct soon_item *item, void (*run)(struct soon_item *item))
{
	list_init(&item->link);
	item->run = run;
}

void soon_add(struct soon *soon, struct soon_item *item)
{
	REQUIRE(!is_closing(soon));
	if (!list_empty(&item->link))
		return;
	list_append(&soon->items, &item->link);
	uv_idle_start(&soon->idle, idle_turn);
}

void soon_add_after(struct soon *soon, struct soon_item *item, uint64_t delay_ms)
{
	if (delay_ms == 0) {
		soon_add(soon, item);
		return;
	}
	REQUIRE(!is_closing(soon));
	if (!list_empty(&item->link))
		return;
	item->due_ms = uv_now(soon->timer.loop) + delay_ms;
	struct list *at = soon->delayed.prev;
	while (at != &soon->delayed && LIST_ENTRY(at, struct soon_item, link)->due_ms > item->due_ms)
		at = at->prev;
	list_append(at->next, &item->link); /* before the one behind it */
	timer_set(soon);
}

void soon_cancel(struct soon_item *item)
{
	list_remove(&item->link);
}
