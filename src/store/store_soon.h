/* SPDX-License-Identifier: MIT */
/* Answers to operations that ended before they began: given from the loop, never inside the call. No allocation: it must also say ERR_NOMEM. */
#ifndef REELD_STORE_STORE_SOON_H
#define REELD_STORE_STORE_SOON_H

#include "store/store.h"

struct store_soon {
	uv_idle_t idle;
	struct store_put *puts; /* chained by their impl */
	struct store_request *requests;
	void (*flushed)(void *data);
	void *data;
};

/* `flushed` comes after each round of answers. The owner closes `idle` as any handle of its own; idle.data is the owner's in the end. */
void store_soon_init(struct store_soon *soon, uv_loop_t *loop, void (*flushed)(void *data), void *data);
/* Answers with error.code, 0 or not, from the loop. */
void store_soon_put(struct store_soon *soon, struct store_put *put);
void store_soon_request(struct store_soon *soon, struct store_request *request);
bool store_soon_is_busy(const struct store_soon *soon);

#endif
