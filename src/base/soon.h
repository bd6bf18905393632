/* SPDX-License-Identifier: MIT */
/*
 * "Not now, but from the loop": runs items once each, before the loop sleeps or after a while. Callbacks of a library (curl forbids
 * calling back into itself) and calls whose callback must not come inside only note what happened and add an item. No
 * allocation, so it can also say that memory has run out. Loop thread only.
 *
 * Items added while items run are run in the next turn, so that one that adds itself again starves nobody.
 */
#ifndef REELD_BASE_SOON_H
#define REELD_BASE_SOON_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct soon {
	uv_idle_t idle; /* data: for the owner's close callback */
	uv_timer_t timer;
	struct list items;   /* for the next turn, in the order in which they were added */
	struct list delayed; /* by due_ms */
	struct list running; /* what is left of this turn's */
	uv_close_cb closed;
	unsigned open_handles;
};

/* Embedded by its owner; one that was given to soon_item_init may be added and cancelled at will. */
struct soon_item {
	struct list link;
	uint64_t due_ms; /* of the loop's clock; when delayed */
	void (*run)(struct soon_item *item);
};

void soon_init(struct soon *soon, uv_loop_t *loop);
/* Nothing may be added any more; items still waiting are forgotten. `closed` (may be NULL) comes with &soon->idle when all is closed. */
void soon_close(struct soon *soon, uv_close_cb closed);

/* `run` may free the item. */
void soon_item_init(struct soon_item *item, void (*run)(struct soon_item *item));
/* In the next turn. Once more is once: an item that waits already is left where it is. */
void soon_add(struct soon *soon, struct soon_item *item);
/* After `delay_ms` at the earliest; 0 is soon_add. An item that waits already is left where it is. */
void soon_add_after(struct soon *soon, struct soon_item *item, uint64_t delay_ms);
/* It does not run. Harmless on one that does not wait. */
void soon_cancel(struct soon_item *item);

#endif
