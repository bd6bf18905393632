/* SPDX-License-Identifier: MIT */
/*
 * A batch: records on their way to the disk, one behind the other in one buffer, and the appends that wait for them. Of the two, one is
 * filled by the loop while the writer has the other.
 */
#ifndef REELD_JOURNAL_BATCH_H
#define REELD_JOURNAL_BATCH_H

#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_CAPACITY_FIRST ((size_t)16 * 1024)
/* What an idle batch may keep: a few hundred events. */
#define BATCH_CAPACITY_IDLE ((size_t)256 * 1024)

struct batch {
	char *data;
	size_t capacity;
	size_t len;
	size_t start;        /* of the first record that is not on disk yet */
	struct list appends; /* struct journal_append.link, those not on disk yet, in order of sequence */
	int64_t time_ms;     /* of its first append; good enough for the others */
};

void batch_init(struct batch *batch);
void batch_free(struct batch *batch);

static inline bool batch_empty(const struct batch *batch)
{
	return batch->start == batch->len;
}

/* Adds a record of `size` bytes (record_size of payload_len). 0 or ERR_NOMEM. `max` bounds the buffer: the caller has checked that it suffices. */
int batch_add(struct batch *batch, uint64_t sequence, const struct slice *parts, size_t count, size_t payload_len, size_t max);
/* Forgets the records, all or those not written. */
void batch_clear(struct batch *batch);
/* Gives back what a burst made it grow to; for an empty batch. */
void batch_trim(struct batch *batch);

#endif
