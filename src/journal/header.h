/* SPDX-License-Identifier: MIT */
/*
 * The two small structures on disk besides records: the header block of a segment and a slot of the checkpoint file. Version 1,
 * little endian (docs/journal.md has the tables). Pure.
 */
#ifndef REELD_JOURNAL_HEADER_H
#define REELD_JOURNAL_HEADER_H

#include <stddef.h>
#include <stdint.h>

#define HEADER_VERSION 1
#define HEADER_BLOCK_SIZE 4096 /* the records of a segment begin here */

struct segment_header {
	uint64_t size;       /* of the file, bytes */
	uint64_t generation; /* counts the lives of all segments of a journal; never 0 */
	uint64_t
		first; /* no record of this life has a lower sequence, and no record of an earlier generation counts from here on */
};

enum header_verdict {
	HEADER_OK,
	HEADER_BLANK,   /* all zero: a segment that was never used */
	HEADER_UNKNOWN, /* written by another version of reeld: *version tells */
	HEADER_DAMAGED,
};

/* Two copies in the block, in different sectors. */
void header_write(char out[HEADER_BLOCK_SIZE], const struct segment_header *header);
enum header_verdict header_parse(const char block[HEADER_BLOCK_SIZE], struct segment_header *header, uint32_t *version);

#define CHECKPOINT_SLOT_SIZE 64
#define CHECKPOINT_SLOT_STRIDE 4096
#define CHECKPOINT_SLOTS 2

struct checkpoint {
	uint64_t serial;        /* the slot with the higher one is the newer one */
	uint64_t sequence;      /* everything up to here is in the ledger */
	uint64_t next_sequence; /* lower bounds of what may be given out next; the segments usually know better */
	uint64_t next_generation;
};

void checkpoint_slot_write(char out[CHECKPOINT_SLOT_SIZE], const struct checkpoint *checkpoint);
/* HEADER_OK, _BLANK, _UNKNOWN or _DAMAGED. */
enum header_verdict checkpoint_slot_parse(const char slot[CHECKPOINT_SLOT_SIZE], struct checkpoint *checkpoint,
					  uint32_t *version);

#endif
