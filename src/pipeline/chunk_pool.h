/* SPDX-License-Identifier: MIT */
/*
 * The memory of all transfers, in chunks of one size. A chunk is taken when its first byte comes and given back when the store and the hash are done
 * with it, so what is in use is what really waits, and the next transfer gets the chunk that is still in the cache. How many a transfer may hold is the
 * ring's business. Loop thread only.
 */
#ifndef REELD_PIPELINE_CHUNK_POOL_H
#define REELD_PIPELINE_CHUNK_POOL_H

#include <stddef.h>

/* So many stay when none is in use. */
#define CHUNK_POOL_IDLE 8

struct chunk_pool {
	size_t chunk_size; /* at least a pointer's; set once */
	void *spare;       /* each holds the address of the next */
	size_t spare_count;
	size_t in_use;
};

void chunk_pool_init(struct chunk_pool *pool, size_t chunk_size);
/* All chunks must be back. */
void chunk_pool_free(struct chunk_pool *pool);
/* chunk_size bytes, or NULL: out of memory. */
char *chunk_pool_take(struct chunk_pool *pool);
void chunk_pool_give(struct chunk_pool *pool, char *chunk);

#endif
