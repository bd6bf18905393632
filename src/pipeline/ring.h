/* SPDX-License-Identifier: MIT */
/*
 * The chunks between a download and a store. Chunks are numbered from 0; one is taken from the pool with its first byte, and goes back when it was written:
 *
 *      written ≤ hashed ≤ filled      filled - written < RING_CHUNKS while one is being filled
 *
 * When it was hashed, and written, is the owner's to say. Loop thread only.
 */
#ifndef REELD_PIPELINE_RING_H
#define REELD_PIPELINE_RING_H

#include "base/slice.h"
#include "pipeline/chunk_pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_CHUNKS 4

struct ring {
	struct chunk_pool *pool;
	char *chunks[RING_CHUNKS];
	size_t lens[RING_CHUNKS];
	uint64_t filled;
	uint64_t hashed;
	uint64_t written;
	size_t fill; /* bytes in chunk number `filled` */
};

void ring_init(struct ring *ring, struct chunk_pool *pool);
/* Everything goes back; as after init. */
void ring_clear(struct ring *ring);

/* Of one that was not written. */
char *ring_chunk(const struct ring *ring, uint64_t number);
size_t *ring_len(struct ring *ring, uint64_t number);
bool ring_has_room(const struct ring *ring);
/* The chunk being filled is full, or the last. */
void ring_close_chunk(struct ring *ring);
/* Copies as much as there is room for; *taken is how much that was. False: out of memory. */
bool ring_fill(struct ring *ring, struct slice bytes, size_t *taken);
/* The next chunk was written. */
void ring_written(struct ring *ring);

#endif
