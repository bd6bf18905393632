/* SPDX-License-Identifier: MIT */
#include "pipeline/ring.h"

#include <string.h>

char *ring_chunk(const struct ring *ring, uint64_t number)
{
	return ring->bytes + (size_t)(number % RING_CHUNKS) * ring->chunk_size;
}

size_t *ring_len(struct ring *ring, uint64_t number)
{
	return &ring->lens[number % RING_CHUNKS];
}

bool ring_has_room(const struct ring *ring)
{
	uint64_t oldest = ring->hashed < ring->written ? ring->hashed : ring->written;
	return ring->filled - oldest < RING_CHUNKS;
}

void ring_close_chunk(struct ring *ring)
{
	*ring_len(ring, ring->filled) = ring->fill;
	ring->filled++;
	ring->fill = 0;
}

size_t ring_fill(struct ring *ring, struct slice bytes)
{
	size_t taken = 0;
	while (taken < bytes.len && ring_has_room(ring)) {
		size_t room = ring->chunk_size - ring->fill;
		size_t part = bytes.len - taken < room ? bytes.len - taken : room;
		memcpy(ring_chunk(ring, ring->filled) + ring->fill, bytes.ptr + taken, part);
		taken += part;
		ring->fill += part;
		if (ring->fill == ring->chunk_size)
			ring_close_chunk(ring);
	}
	return taken;
}
