/* SPDX-License-Identifier: MIT */
/*
 * The chunks between a download and a store. Chunks are numbered from 0 and live at number % RING_CHUNKS; one is free again when it was both hashed and written:
 *
 *      hashed ≤ filled      written ≤ filled      filled - min(hashed, written) < RING_CHUNKS while one is being filled
 *
 * Who raises hashed and written is the owner's business. Pure.
 */
#ifndef REELD_PIPELINE_RING_H
#define REELD_PIPELINE_RING_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_CHUNKS 4

struct ring {
	char *bytes; /* RING_CHUNKS * chunk_size; the owner's */
	size_t chunk_size;
	size_t lens[RING_CHUNKS];
	uint64_t filled;
	uint64_t hashed;
	uint64_t written;
	size_t fill; /* bytes in chunk number `filled` */
};

char *ring_chunk(const struct ring *ring, uint64_t number);
size_t *ring_len(struct ring *ring, uint64_t number);
bool ring_has_room(const struct ring *ring);
/* The chunk being filled is full, or the last. */
void ring_close_chunk(struct ring *ring);
/* Copies as much as there is room for; how much that was. */
size_t ring_fill(struct ring *ring, struct slice bytes);

#endif
