/* SPDX-License-Identifier: MIT */
/*
 * A segment: one preallocated file of the journal. Its life: made (zeros, synced, named) → spare → active (header with a new generation,
 * then records) → sealed when full → spare again once everything in it is in the ledger, or deleted. A segment whose write or sync failed
 * is poisoned: never written or synced again; what was durable in it stays readable.
 *
 * The struct belongs to the loop; the functions block and touch only what they are given.
 */
#ifndef REELD_JOURNAL_SEGMENT_H
#define REELD_JOURNAL_SEGMENT_H

#include "base/list.h"
#include "journal/header.h"
#include "journal/scan.h"

#include <stdbool.h>
#include <stdint.h>

#define SEGMENT_SIZE_MIN ((uint64_t)256 * 1024) /* smaller ones are not worth their file */
#define SEGMENT_NAME_SIZE 40

struct segment {
	struct list link;
	uint64_t id; /* in the file's name */
	uint64_t size;
	uint64_t generation; /* 0: no life yet */
	uint64_t first;      /* no record of this life is below it */
	uint64_t last;       /* highest durable record; first - 1: none */
	uint64_t durable;    /* offset behind it */
	uint64_t events;     /* durable and above the checkpoint */
	uint64_t bad_before; /* bad places before this offset have been reported */
	int fd;              /* open for writing, only while active */
	bool poisoned;
	bool in_read; /* a read has it in its hands: it keeps its file and its life */
};

struct segment *segment_new(uint64_t id, uint64_t size); /* NULL: out of memory */
void segment_free(struct segment *segment);              /* memory only */

static inline uint64_t segment_capacity(const struct segment *segment)
{
	return segment->size - HEADER_BLOCK_SIZE;
}

static inline uint64_t segment_room(const struct segment *segment)
{
	return segment->size - segment->durable;
}

static inline bool segment_has_records(const struct segment *segment)
{
	return segment->last >= segment->first;
}

void segment_name(uint64_t id, char out[SEGMENT_NAME_SIZE]);
void segment_temporary_name(uint64_t id, char out[SEGMENT_NAME_SIZE]);
/* True and *id for the name of a segment; true and *temporary for one that was not finished. */
bool segment_parse_name(const char *name, uint64_t *id, bool *temporary);

/*
 * Makes a file of zeros, written and synced, and gives it its name last: `size` bytes, or half of that, and again, down to `smallest`,
 * when the disk has not got twice as much left (the ledger may live there, too). *ret_size: the size it got. 0 or a negative errno; then
 * nothing is left behind.
 */
int segment_create(int directory_fd, uint64_t id, uint64_t size, uint64_t smallest, uint64_t *ret_size);

/* A scan_read_fn and its ctx: a segment's file opened for reading. */
struct segment_file {
	int fd;
	bool skip_unreadable; /* blocks that the disk refuses to give read as garbage instead of failing the read */
	uint64_t unreadable;  /* blocks */
};
int64_t segment_file_read(void *ctx, void *buffer, size_t size, uint64_t offset);

#endif
