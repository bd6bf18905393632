/* SPDX-License-Identifier: MIT */
#include "pipeline/soon.h"

static void soon_run(uv_idle_t *idle)
{
	struct soon *soon = CONTAINER_OF(idle, struct soon, idle);
	struct list items;
	struct list *link;
	list_move(&items, &soon->items);
	while ((link = list_take(&items)) != NULL) {
		struct soon_item *item = LIST_ENTRY(link, struct soon_item, link);
		item->run(item); /* may free the item */
	}
	if (list_empty(&soon->items))
		uv_idle_stop(&soon->idle);
}

void soon_init(struct soon *soon, uv_loop_t *loop)
{
	list_init(&soon->items);
	REQUIRE(uv_idle_init(loop, &soon->idle) == 0);
}

void soon_close(struct soon *soon, uv_close_cb closed)
{
	while (list_take(&soon->items) != NULL)
		;
	uv_close((uv_handle_t *)&soon->idle, closed);
}

void soon_item_init(struct soon_item *item, void (*run)(struct soon_item *item))
{
	list_init(&item->link);
	item->run = run;
}

void soon_add(struct soon *soon, struct soon_item *item)
{
	REQUIRE(!uv_is_closing((uv_handle_t *)&soon->idle));
	if (!list_empty(&item->link))
		return;
	list_append(&soon->items, &item->link);
	uv_idle_start(&soon->idle, soon_run);
}

void soon_cancel(struct soon_item *item)
{
	list_remove(&item->link);
}
