/* SPDX-License-Identifier: MIT */
/*
 * Reading for the forwarder, on a pool thread: the loop notes which segments hold what is asked for and how far they are durable; the pool opens
 * them by name, walks their records, checks every checksum and copies the payloads into one buffer. A segment under a read keeps its file and
 * its life, so what was noted stays true.
 */
#include "base/check.h"
#include "base/log.h"
#include "journal/file.h"
#include "journal/internal.h"

#include <fcntl.h>
#include <stdlib.h>

#define FIRST_RECORDS 64
#define FIRST_BUFFER ((size_t)64 * 1024)
/* So many refusals in a row, and a read steps over what the disk will not give: the events behind it are worth more than the hope. */
#define STUBBORN_READS 8

/* One segment's part of a read. */
struct read_range {
	struct segment *segment; /* the loop's */
	uint64_t id;
	uint64_t generation;
	uint64_t begin;
	uint64_t end;
	uint64_t after; /* sequence that records from `begin` on exceed */
	uint64_t below;
	uint64_t last;       /* of the segment */
	uint64_t bad_before; /* in and out: what has been reported */
};

/* Makes the array hold `need` elements of `size`; *have is its present capacity. */
static int grow(void **array, size_t *have, size_t need, size_t first, size_t size)
{
	if (need <= *have)
		return 0;
	size_t capacity = *have > 0 ? *have : first;
	while (capacity < need)
		capacity *= 2;
	void *grown = realloc(*array, capacity * size);
	if (grown == NULL)
		return ERR_NOMEM;
	*array = grown;
	*have = capacity;
	return 0;
}

/* What is being gathered. Payloads are offsets until the buffer stops moving. */
struct gather {
	struct journal_read *read;
	size_t record_capacity;
	size_t used;
	bool full;
};

static int gather_record(struct gather *gather, const struct record *record)
{
	struct journal_read *read = gather->read;
	size_t len = record->payload.len;
	if (read->count > 0 && (read->count >= read->max_records || gather->used + len > read->max_bytes)) {
		gather->full = true;
		return 0;
	}
	void *records = read->records;
	int r = grow(&records, &gather->record_capacity, read->count + 1, FIRST_RECORDS, sizeof(*read->records));
	read->records = records;
	if (r != 0)
		return r;
	void *buffer = read->buffer;
	r = grow(&buffer, &read->buffer_size, gather->used + len, FIRST_BUFFER, 1);
	read->buffer = buffer;
	if (r != 0)
		return r;
	if (len > 0)
		memcpy(read->buffer + gather->used, record->payload.ptr, len);
	read->records[read->count++] = (struct journal_record){.sequence = record->sequence, .payload = {NULL, len}};
	gather->used += len;
	return 0;
}

static void report_bad(struct read_range *range, uint64_t offset, uint64_t size)
{
	if (offset < range->bad_before)
		return;
	range->bad_before = offset + size;
	log_event(LOG_ERROR, "journal.bad_record", LOG_U64("segment", range->id), LOG_U64("offset", offset),
		  LOG_U64("bytes", size));
}

static int read_range(struct reader *reader, struct read_range *range, struct gather *gather)
{
	struct journal_read *read = gather->read;
	struct segment_file file = {.fd = -1, .skip_unreadable = reader->failures >= STUBBORN_READS};
	char name[SEGMENT_NAME_SIZE];
	segment_name(range->id, name);
	int r = file_open(read->journal->directory_fd, name, O_RDONLY, &file.fd);
	if (r != 0) {
		log_event(LOG_ERROR, "journal.read_failed", LOG_U64("segment", range->id), LOG_STR("error", uv_strerror(r)));
		return ERR_IO;
	}
	struct scan scan;
	scan_init(&scan, segment_file_read, &file, range->generation, range->begin, range->end, range->after, range->below);
	uint64_t offset = range->begin;
	uint64_t before = range->after;
	struct record record;
	while ((r = scan_next(&scan, &record)) == 1) {
		if (scan.bad_size > 0)
			report_bad(range, scan.bad_offset, scan.bad_size);
		if (record.sequence > read->after) {
			if (read->count == 0 && !gather->full)
				reader->from = (struct cursor){range->generation, read->after, offset};
			r = gather_record(gather, &record);
			if (r != 0 || gather->full)
				break;
			read->last = record.sequence;
		}
		before = record.sequence;
		offset = scan.offset;
	}
	if (r == 0 && !gather->full) {
		if (scan.offset < scan.end || scan.end < range->end)
			report_bad(range, scan.offset, range->end - scan.offset);
		read->last = range->last;
		before = range->last;
	}
	reader->to = (struct cursor){range->generation, before, offset};
	scan_free(&scan);
	file_close(&file.fd);
	return r;
}

static void run_read(uv_work_t *work)
{
	struct journal_read *read = work->data;
	struct reader *reader = &read->journal->reader;
	struct gather gather = {.read = read};
	int r = 0;
	for (size_t i = 0; i < reader->range_count && r == 0 && !gather.full; i++) {
		r = read_range(reader, &reader->ranges[i], &gather);
		if (r == ERR_IO && reader->failures >= STUBBORN_READS) {
			/* The file as a whole is gone. */
			report_bad(&reader->ranges[i], reader->ranges[i].begin, reader->ranges[i].end - reader->ranges[i].begin);
			read->last = reader->ranges[i].last;
			r = 0;
		}
	}
	/* What was read before a failure is handed out; the failure comes again next time. */
	reader->status = read->count > 0 ? 0 : r;
	size_t at = 0;
	for (size_t i = 0; i < read->count; i++) {
		read->records[i].payload.ptr = read->buffer == NULL ? "" : read->buffer + at;
		at += read->records[i].payload.len;
	}
	if (read->each == NULL)
		return;
	for (size_t i = 0; i < read->count; i++)
		read->each(read, &read->records[i]);
}

static void read_done(uv_work_t *work, int status)
{
	struct journal_read *read = work->data;
	struct journal *journal = read->journal;
	struct reader *reader = &journal->reader;
	(void)status; /* never cancelled */
	for (size_t i = 0; i < reader->range_count; i++) {
		reader->ranges[i].segment->in_read = false;
		reader->ranges[i].segment->bad_before = reader->ranges[i].bad_before;
	}
	free(reader->ranges);
	reader->ranges = NULL;
	reader->range_count = 0;
	reader->read = NULL;
	reader->failures = reader->status == ERR_IO ? reader->failures + 1 : 0;
	read->status = journal->closing ? ERR_CANCELLED : reader->status;
	janitor_reclaim(journal);
	janitor_tend(journal);
	read->done(read, read->status);
	/* `read` may be gone; the journal is not, because closing takes a turn. */
	journal_close_step(journal);
}

/* Where to begin in a segment for the records after `after`. */
static void range_begin(const struct reader *reader, struct read_range *range, uint64_t after)
{
	const struct cursor *cursors[] = {&reader->to, &reader->from};
	range->begin = HEADER_BLOCK_SIZE;
	range->after = range->segment->first - 1;
	for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
		if (cursors[i]->generation == range->generation && cursors[i]->sequence == after &&
		    after >= range->segment->first - 1) {
			range->begin = cursors[i]->offset;
			range->after = after;
			return;
		}
	}
}

static int collect_ranges(struct journal *journal, uint64_t after)
{
	struct reader *reader = &journal->reader;
	size_t capacity = 0;
	for (struct list *link = journal->segments.next; link != &journal->segments; link = link->next) {
		struct segment *segment = LIST_ENTRY(link, struct segment, link);
		if (!segment_has_records(segment) || segment->last <= after)
			continue;
		void *ranges = reader->ranges;
		int r = grow(&ranges, &capacity, reader->range_count + 1, 4, sizeof(*reader->ranges));
		reader->ranges = ranges;
		if (r != 0)
			return r;
		struct read_range *range = &reader->ranges[reader->range_count++];
		*range = (struct read_range){
			.segment = segment,
			.id = segment->id,
			.generation = segment->generation,
			.end = segment->durable,
			.below = segment->last + 1,
			.last = segment->last,
			.bad_before = segment->bad_before,
		};
		range_begin(reader, range, after);
	}
	return 0;
}

int journal_read(struct journal *journal, struct journal_read *read)
{
	struct reader *reader = &journal->reader;
	if (journal->closing)
		return ERR_CANCELLED;
	REQUIRE(reader->read == NULL);
	read->records = NULL;
	read->count = 0;
	read->last = read->after;
	read->journal = journal;
	read->buffer = NULL;
	read->buffer_size = 0;
	int r = collect_ranges(journal, read->after);
	if (r != 0) {
		reader_free(reader);
		return r;
	}
	for (size_t i = 0; i < reader->range_count; i++)
		reader->ranges[i].segment->in_read = true;
	reader->read = read;
	read->work.data = read;
	r = uv_queue_work(journal->loop, &read->work, run_read, read_done);
	REQUIRE(r == 0);
	return 0;
}

void journal_read_release(struct journal_read *read)
{
	free(read->records);
	free(read->buffer);
	read->records = NULL;
	read->buffer = NULL;
	read->buffer_size = 0;
	read->count = 0;
}

void reader_free(struct reader *reader)
{
	free(reader->ranges);
	reader->ranges = NULL;
	reader->range_count = 0;
}
