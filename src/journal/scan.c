/* SPDX-License-Identifier: MIT */
#include "journal/scan.h"

#include "base/check.h"
#include "base/err.h"

#include <stdlib.h>

#define WINDOW_SIZE ((size_t)128 * 1024)
/* Holds the largest record twice, so that a search through claims of that size does not read anew for each. */
#define WINDOW_SIZE_LARGE (2 * RECORD_SIZE_MAX + WINDOW_SIZE)

void scan_init(struct scan *scan, scan_read_fn *read, void *ctx, uint64_t generation, uint64_t offset, uint64_t end,
	       uint64_t last, uint64_t below)
{
	REQUIRE(offset % RECORD_ALIGN == 0);
	*scan = (struct scan){
		.read = read,
		.ctx = ctx,
		.seed = record_seed(generation),
		.offset = offset,
		.end = end,
		.last = last,
		.below = below,
		/* Honest damage costs a few checksums. This is for bytes made to look like a record at every offset. */
		.budget = 8 * RECORD_SIZE_MAX + 4 * (end > offset ? end - offset : 0),
	};
}

void scan_free(struct scan *scan)
{
	free(scan->window);
	scan->window = NULL;
}

/* Bytes in the window from `at` on. */
static size_t window_left(const struct scan *scan, uint64_t at)
{
	if (at < scan->window_offset || at > scan->window_offset + scan->window_len)
		return 0;
	return (size_t)(scan->window_offset + scan->window_len - at);
}

/* Makes the window begin at `at` and hold `need` bytes, or all that there are. */
static int window_fill(struct scan *scan, uint64_t at, size_t need)
{
	size_t size = need <= WINDOW_SIZE ? WINDOW_SIZE : WINDOW_SIZE_LARGE;
	if (scan->window_size < size) {
		char *window = realloc(scan->window, size);
		if (window == NULL)
			return ERR_NOMEM;
		scan->window = window;
		scan->window_size = size;
	}
	scan->window_offset = at;
	scan->window_len = 0;
	size_t want = scan->end - at < scan->window_size ? (size_t)(scan->end - at) : scan->window_size;
	int64_t got = scan->read(scan->ctx, scan->window, want, at);
	if (got < 0)
		return (int)got;
	REQUIRE((size_t)got <= want);
	scan->window_len = (size_t)got;
	/* The file ends early: so does the scan. */
	if ((size_t)got < want)
		scan->end = at + (uint64_t)got;
	return 0;
}

/* 1 a record at `at`, 0 none, or an error. */
static int scan_try(struct scan *scan, uint64_t at, struct record *record)
{
	size_t need = RECORD_HEADER_SIZE;
	for (;;) {
		if (at + need > scan->end)
			return 0;
		if (window_left(scan, at) < need) {
			int r = window_fill(scan, at, need);
			if (r != 0)
				return r;
			if (window_left(scan, at) < need)
				return 0;
		}
		enum record_verdict verdict = record_parse(scan->window + (at - scan->window_offset), window_left(scan, at),
							   scan->seed, record);
		if (verdict == RECORD_OK)
			return record->sequence > scan->last ? 1 : 0;
		if (verdict == RECORD_NONE)
			return 0;
		/* A claim that cannot hold is not worth a read. */
		if (record->sequence <= scan->last)
			return 0;
		need = record->size;
	}
}

/* Looks for a record behind bytes at scan->offset that are none. Moves scan->offset only when it finds one. */
static int scan_search(struct scan *scan, struct record *record)
{
	for (uint64_t at = scan->offset + RECORD_ALIGN; at + RECORD_HEADER_SIZE <= scan->end; at += RECORD_ALIGN) {
		uint64_t window_before = scan->window_offset;
		record->size = 0;
		int r = scan_try(scan, at, record);
		if (r < 0)
			return r;
		if (r == 1 && record->sequence >= scan->below)
			return 0;
		if (r == 1) {
			scan->bad_offset = scan->offset;
			scan->bad_size = at - scan->offset;
			scan->bad_places++;
			scan->offset = at;
			return 1;
		}
		/* Zeros and text claim nothing and cost nothing; a plausible length costs its checksum and perhaps a read. */
		uint64_t cost = record->size + (scan->window_offset != window_before && record->size > RECORD_HEADER_SIZE
							? scan->window_len
							: 0);
		if (cost > scan->budget) {
			scan->gave_up = true;
			return 0;
		}
		scan->budget -= cost;
	}
	return 0;
}

int scan_next(struct scan *scan, struct record *record)
{
	scan->bad_size = 0;
	int r = scan_try(scan, scan->offset, record);
	if (r == 0)
		r = scan_search(scan, record);
	if (r != 1)
		return r;
	/* The first that is superseded ends it: all behind it are, too. */
	if (record->sequence >= scan->below)
		return 0;
	scan->offset += record->size;
	scan->last = record->sequence;
	return 1;
}
