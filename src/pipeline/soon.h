/* SPDX-License-Identifier: MIT */
/*
 * "Not now, but before the loop sleeps": runs items from an idle handle, once each, in the order in which they were added.
 * Callbacks of a library (curl forbids calling back into itself) and calls whose callback must not come inside only note what
 * happened and add an item. Items added while items run are run in the next turn. Loop thread only.
 */
#ifndef REELD_PIPELINE_SOON_H
#define REELD_PIPELINE_SOON_H

#include "base/list.h"

#include <stdbool.h>
#include <uv.h>

struct soon {
	uv_idle_t idle; /* data: for the owner's close callback */
	struct list items;
};

/* Embedded by its owner; one that is zeroed and then given to soon_item_init may be added and cancelled at will. */
struct soon_item {
	struct list link;
	void (*run)(struct soon_item *item);
};

void soon_init(struct soon *soon, uv_loop_t *loop);
/* Nothing may be added any more; items still waiting are forgotten. */
void soon_close(struct soon *soon, uv_close_cb closed);

void soon_item_init(struct soon_item *item, void (*run)(struct soon_item *item));
/* Once more is once: an item that waits already is left where it is. */
void soon_add(struct soon *soon, struct soon_item *item);
void soon_cancel(struct soon_item *item);

#endif
