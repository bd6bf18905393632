/* SPDX-License-Identifier: MIT */
#include "pipeline/ring.h"

#include <string.h>

void ring_init(struct ring *ring, struct chunk_pool *pool)
{
	*ring = (struct ring){.pool = pool};
}

static void release(struct ring *ring, uint64_t number)
{
	char **chunk = &ring->chunks[number % RING_CHUNKS];
	if (*chunk != NULL)
		chunk_pool_give(ring->pool, *chunk);
	*chunk = NULL;
}

void ring_clear(struct ring *ring)
{
	for (uint64_t number = ring->written; number <= ring->filled; number++)
		release(ring, number);
	ring_init(ring, ring->pool);
}

char *ring_chunk(const struct ring *ring, uint64_t number)
{
	return ring->chunks[number % RING_CHUNKS];
}

size_t *ring_len(struct ring *ring, uint64_t number)
{
	return &ring->lens[number % RING_CHUNKS];
}

bool ring_has_room(const struct ring *ring)
{
	return ring->filled - ring->written < RING_CHUNKS;
}

void ring_close_chunk(struct ring *ring)
{
	*ring_len(ring, ring->filled) = ring->fill;
	ring->filled++;
	ring->fill = 0;
}

bool ring_fill(struct ring *ring, struct slice bytes, size_t *taken)
{
	*taken = 0;
	while (*taken < bytes.len && ring_has_room(ring)) {
		char **chunk = &ring->chunks[ring->filled % RING_CHUNKS];
		if (*chunk == NULL && (*chunk = chunk_pool_take(ring->pool)) == NULL)
			return false;
		size_t room = ring->pool->chunk_size - ring->fill;
		size_t part = bytes.len - *taken < room ? bytes.len - *taken : room;
		memcpy(*chunk + ring->fill, bytes.ptr + *taken, part);
		*taken += part;
		ring->fill += part;
		if (ring->fill == ring->pool->chunk_size)
			ring_close_chunk(ring);
	}
	return true;
}

void ring_written(struct ring *ring)
{
	release(ring, ring->written++);
}
