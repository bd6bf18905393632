/* SPDX-License-Identifier: MIT */
/*
 * Walks the records of a segment, for recovery and for reading. Steps over what is bad: after bytes that are no record it looks at every
 * later 8-byte offset for one that is (right checksum for this generation, higher sequence), and only when there is none is that the
 * end. Pure but for the read function it is given; whatever the bytes are, it ends, and its work is bounded.
 */
#ifndef REELD_JOURNAL_SCAN_H
#define REELD_JOURNAL_SCAN_H

#include "journal/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads up to `size` bytes at `offset`: the number read (less only at the end of the file), or a negative enum err. */
typedef int64_t scan_read_fn(void *ctx, void *buffer, size_t size, uint64_t offset);

struct scan {
	scan_read_fn *read;
	void *ctx;
	uint32_t seed;
	uint64_t offset; /* where the next record is expected; after the end: behind the last one */
	uint64_t end;    /* of what may be looked at */
	uint64_t last;   /* sequence of the last record */
	uint64_t below;  /* records from this sequence on do not count any more: a later generation has them */
	/* bad places */
	uint64_t bad_offset; /* of the bytes stepped over just before the record that scan_next returned */
	uint64_t bad_size;   /* 0: none */
	uint64_t bad_places; /* in all */
	bool gave_up;        /* the search cost more than is reasonable and was stopped: there may be more behind the end */
	/* private */
	char *window;
	size_t window_size;
	size_t window_len;
	uint64_t window_offset;
	uint64_t budget;
};

/* From `offset` (8-byte aligned) to `end`; records must have a sequence above `last` and under `below`. */
void scan_init(struct scan *scan, scan_read_fn *read, void *ctx, uint64_t generation, uint64_t offset, uint64_t end,
	       uint64_t last, uint64_t below);
void scan_free(struct scan *scan);

/* 1: *record is the next one, valid until the next call. 0: there is none. Negative enum err from the read function, or ERR_NOMEM. */
int scan_next(struct scan *scan, struct record *record);

#endif
