/* SPDX-License-Identifier: MIT */
/*
 * The record format, version 1 (docs/journal.md has the table). Pure: bytes in, values out; little endian.
 *
 * The checksum comes first, so that what it covers is one run of bytes, and is begun with a seed made of the segment's generation:
 * records that an earlier life of a recycled segment left behind never verify in the present one. It is computed last, by
 * record_seal, once it is known which segment the record goes to.
 */
#ifndef REELD_JOURNAL_RECORD_H
#define REELD_JOURNAL_RECORD_H

#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

#define RECORD_HEADER_SIZE 24
#define RECORD_ALIGN 8
#define RECORD_PAYLOAD_MAX ((size_t)1024 * 1024)
#define RECORD_SIZE_MAX (RECORD_HEADER_SIZE + RECORD_PAYLOAD_MAX) /* padded, too: it is a multiple of 8 */

struct record {
	uint64_t sequence;
	int64_t time_ms;      /* wall time of the append */
	struct slice payload; /* points into the parsed bytes */
	size_t size;          /* with header and padding: the next record begins this far on */
};

/* Bytes a record takes on disk. payload_len at most RECORD_PAYLOAD_MAX. */
static inline size_t record_size(size_t payload_len)
{
	return (RECORD_HEADER_SIZE + payload_len + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

/*
 * Where the checksums of a generation begin. Generations that lie less than 2^32 apart have different seeds (a CRC is injective on
 * 32-bit differences), and with different seeds the same bytes never have the same checksum.
 */
uint32_t record_seed(uint64_t generation);

/* Writes the record, all but its checksum, to record_size() bytes at `out`. payload_len is the sum of the parts. */
void record_write(void *out, uint64_t sequence, int64_t time_ms, const struct slice *parts, size_t count, size_t payload_len);

/* Fills the checksums of the records that lie one behind the other in `data`, all written by record_write. */
void record_seal(void *data, size_t size, uint32_t seed);

/* Padded size and sequence of a record that record_write made. */
size_t record_size_at(const void *data);
uint64_t record_sequence_at(const void *data);

/* How many of the `size` bytes of records from record_write fit into `room` bytes, in whole records. *last: sequence of the last of these. */
size_t record_fit(const void *data, size_t size, size_t room, uint64_t *last);

enum record_verdict {
	RECORD_OK,
	RECORD_NONE, /* these bytes are no record */
	RECORD_MORE, /* could be one: record->size bytes are needed to tell */
};

/* Judges the bytes at `data`. Only RECORD_OK fills more than size and sequence. */
enum record_verdict record_parse(const void *data, size_t available, uint32_t seed, struct record *record);

#endif
