/* SPDX-License-Identifier: MIT */
#include "journal/batch.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "journal/record.h"

#include <stdlib.h>

void batch_init(struct batch *batch)
{
	*batch = (struct batch){0};
	list_init(&batch->appends);
}

void batch_free(struct batch *batch)
{
	free(batch->data);
	batch->data = NULL;
	batch->capacity = 0;
}

static int batch_grow(struct batch *batch, size_t need, size_t max)
{
	size_t capacity = batch->capacity > 0 ? batch->capacity : BATCH_CAPACITY_FIRST;
	while (capacity < need)
		capacity *= 2;
	if (capacity > max && max >= need)
		capacity = max;
	char *data = realloc(batch->data, capacity);
	if (data == NULL)
		return ERR_NOMEM;
	batch->data = data;
	batch->capacity = capacity;
	return 0;
}

int batch_add(struct batch *batch, uint64_t sequence, const struct slice *parts, size_t count, size_t payload_len, size_t max)
{
	size_t need = batch->len + record_size(payload_len);
	if (need > batch->capacity) {
		int r = batch_grow(batch, need, max);
		if (r != 0)
			return r;
	}
	if (batch->len == 0)
		batch->time_ms = clock_wall_ms();
	record_write(batch->data + batch->len, sequence, batch->time_ms, parts, count, payload_len);
	batch->len = need;
	return 0;
}

void batch_clear(struct batch *batch)
{
	REQUIRE(list_empty(&batch->appends));
	batch->len = 0;
	batch->start = 0;
}

void batch_trim(struct batch *batch)
{
	REQUIRE(batch->len == 0);
	if (batch->capacity > BATCH_CAPACITY_IDLE)
		batch_free(batch);
}
