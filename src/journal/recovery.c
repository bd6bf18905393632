/* SPDX-License-Identifier: MIT */
/*
 * What a restart finds. First everything is only looked at, so that a directory of another version is left as it is; then unfinished files
 * are removed, and every segment that may hold events the ledger lacks is walked from its first record to its last byte:
 *
 *   - Segments are taken in order of generation. Each holds the sequences from its header's `first` up to the next one's: when a batch had
 *     to be rewritten into a fresh segment after a failed sync, what the failed one may hold of it does not count.
 *   - A record that does not verify, with one that does behind it, is a bad place: reported, stepped over. With none behind it, it is the tail.
 *   - The newest segment is synced and its cached pages are dropped before the walk, so that what is found is what the disk holds, not what a
 *     cache remembers of a write that failed. It is written on behind its last record: the walk went to the end of the file, so nothing
 *     that verifies lies behind that.
 */
#include "base/clock.h"
#include "base/log.h"
#include "journal/checkpoint.h"
#include "journal/file.h"
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* A segment with less room than this part of it is not worth resuming. */
#define RESUME_PART 8

struct recovery {
	struct journal *journal;
	struct segment **segments; /* with a header, in order of generation after sorting */
	size_t count;
	size_t capacity;
	struct list blank;
	struct list unfinished;
	uint64_t bad_places;
	struct error *error;
};

static int failed(struct recovery *recovery, int r, const char *name, const char *what)
{
	return error_set(recovery->error, err_from_errno(-r), "cannot %s %s/%s: %s", what, recovery->journal->directory, name,
			 strerror(-r));
}

static bool is_zero(const char *data, size_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

static int add_segment(struct recovery *recovery, struct segment *segment)
{
	if (recovery->count == recovery->capacity) {
		size_t capacity = recovery->capacity > 0 ? 2 * recovery->capacity : 16;
		struct segment **grown = realloc(recovery->segments, capacity * sizeof(*grown));
		if (grown == NULL)
			return ERR_NOMEM;
		recovery->segments = grown;
		recovery->capacity = capacity;
	}
	recovery->segments[recovery->count++] = segment;
	return 0;
}

static void keep_away(struct recovery *recovery, const char *name, const char *why)
{
	recovery->journal->damaged++;
	log_event(LOG_ERROR, "journal.segment_damaged", LOG_STR("file", name), LOG_STR("problem", why),
		  LOG_STR("action", "left as it is; its events cannot be forwarded"));
}

/* The header block and what lies behind it, which is zero, too, in a segment that was never used. */
static int read_head(struct recovery *recovery, const char *name, char head[2 * HEADER_BLOCK_SIZE], uint64_t *size, size_t *got)
{
	int fd;
	int r = file_open(recovery->journal->directory_fd, name, O_RDONLY, &fd);
	if (r != 0)
		return failed(recovery, r, name, "open");
	r = file_size(fd, size);
	if (r == 0)
		r = file_read(fd, head, 2 * HEADER_BLOCK_SIZE, 0, got);
	file_close(&fd);
	if (r == -EIO) {
		*got = 0;
		return 0;
	}
	return r == 0 ? 0 : failed(recovery, r, name, "read");
}

static int look_at_segment(struct recovery *recovery, const char *name, uint64_t id)
{
	char head[2 * HEADER_BLOCK_SIZE];
	struct segment_header header;
	uint32_t version;
	uint64_t size = 0;
	size_t got = 0;
	int r = read_head(recovery, name, head, &size, &got);
	if (r != 0)
		return r;
	if (got < sizeof(head)) {
		keep_away(recovery, name, "cannot be read, or is too short");
		return 0;
	}
	size -= size % RECORD_ALIGN;
	enum header_verdict verdict = header_parse(head, &header, &version);
	if (verdict == HEADER_UNKNOWN)
		return error_set(recovery->error, ERR_INVALID,
				 "%s/%s has format version %u, this reeld knows version %d: let the reeld that wrote it drain "
				 "it, or set DATA_DIR anew",
				 recovery->journal->directory, name, version, HEADER_VERSION);
	/* The header is durable before the first record: no header, but something behind it, is damage and not a crash. */
	if (verdict == HEADER_DAMAGED || (verdict == HEADER_BLANK && !is_zero(head + HEADER_BLOCK_SIZE, HEADER_BLOCK_SIZE))) {
		keep_away(recovery, name, "its header does not verify");
		return 0;
	}
	if (verdict == HEADER_OK && header.size > size)
		keep_away(recovery, name, "shorter than it was");
	struct segment *segment = segment_new(id, verdict == HEADER_OK && header.size < size ? header.size : size);
	if (segment == NULL)
		return ERR_NOMEM;
	if (verdict == HEADER_BLANK) {
		list_append(&recovery->blank, &segment->link);
		return 0;
	}
	segment->generation = header.generation;
	segment->first = header.first;
	segment->poisoned = header.size > size;
	r = add_segment(recovery, segment);
	if (r != 0)
		segment_free(segment);
	return r;
}

static int look_at(void *data, const char *name)
{
	struct recovery *recovery = data;
	uint64_t id;
	bool temporary;
	if (!segment_parse_name(name, &id, &temporary))
		return 0;
	if (id >= recovery->journal->next_id)
		recovery->journal->next_id = id + 1;
	if (!temporary)
		return look_at_segment(recovery, name, id);
	struct segment *unfinished = segment_new(id, 0);
	if (unfinished == NULL)
		return ERR_NOMEM;
	list_append(&recovery->unfinished, &unfinished->link);
	return 0;
}

static void remove_unfinished(struct recovery *recovery)
{
	struct list *link;
	while ((link = list_take(&recovery->unfinished)) != NULL) {
		struct segment *segment = LIST_ENTRY(link, struct segment, link);
		char name[SEGMENT_NAME_SIZE];
		segment_temporary_name(segment->id, name);
		int r = file_unlink(recovery->journal->directory_fd, name);
		if (r != 0)
			log_event(LOG_WARN, "journal.unlink_failed", LOG_STR("file", name), LOG_STR("error", strerror(-r)));
		segment_free(segment);
	}
}

static int by_generation(const void *a, const void *b)
{
	const struct segment *const *one = a;
	const struct segment *const *two = b;
	if ((*one)->generation != (*two)->generation)
		return (*one)->generation < (*two)->generation ? -1 : 1;
	return (*one)->id < (*two)->id ? -1 : (*one)->id > (*two)->id;
}

static int walk(struct recovery *recovery, struct segment *segment, struct segment_file *file, uint64_t below, bool *whole)
{
	struct journal *journal = recovery->journal;
	struct scan scan;
	struct record record;
	scan_init(&scan, segment_file_read, file, segment->generation, HEADER_BLOCK_SIZE, segment->size, segment->first - 1,
		  below);
	int r;
	while ((r = scan_next(&scan, &record)) == 1) {
		if (scan.bad_size > 0) {
			segment->bad_before = scan.bad_offset + scan.bad_size;
			log_event(LOG_ERROR, "journal.bad_record", LOG_U64("segment", segment->id),
				  LOG_U64("offset", scan.bad_offset), LOG_U64("bytes", scan.bad_size),
				  LOG_U64("next_sequence", record.sequence));
		}
		segment->last = record.sequence;
		segment->durable = scan.offset;
		if (record.sequence <= journal->checkpoint)
			continue;
		segment->events++;
		age_note(&journal->age, record.sequence, record.time_ms);
	}
	journal->events += segment->events;
	recovery->bad_places += scan.bad_places + file->unreadable;
	*whole = !scan.gave_up && file->unreadable == 0;
	if (!*whole)
		log_event(LOG_ERROR, "journal.segment_damaged", LOG_U64("segment", segment->id),
			  LOG_U64("unreadable_blocks", file->unreadable), LOG_BOOL("gave_up", scan.gave_up));
	scan_free(&scan);
	return r;
}

static int recover_segment(struct recovery *recovery, struct segment *segment, uint64_t below)
{
	struct journal *journal = recovery->journal;
	if (below - 1 <= journal->checkpoint) {
		segment->last = below - 1;
		segment->durable = segment->size;
		return 0;
	}
	segment->last = segment->first - 1;
	char name[SEGMENT_NAME_SIZE];
	segment_name(segment->id, name);
	struct segment_file file = {.fd = -1, .skip_unreadable = true};
	int r = file_open(journal->directory_fd, name, O_RDONLY, &file.fd);
	if (r != 0)
		return failed(recovery, r, name, "open");
	bool whole;
	r = walk(recovery, segment, &file, below, &whole);
	file_close(&file.fd);
	return r;
}

/* The newest segment: the one that may be written on. */
static int recover_newest(struct recovery *recovery, struct segment *segment)
{
	struct journal *journal = recovery->journal;
	segment->last = segment->first - 1;
	char name[SEGMENT_NAME_SIZE];
	segment_name(segment->id, name);
	struct segment_file file = {.fd = -1, .skip_unreadable = true};
	int r = file_open(journal->directory_fd, name, O_RDWR, &file.fd);
	if (r != 0)
		return failed(recovery, r, name, "open");
	r = file_sync(file.fd);
	if (r != 0) {
		segment->poisoned = true;
		log_event(LOG_ERROR, "journal.segment_failed", LOG_U64("segment", segment->id), LOG_STR("error", strerror(-r)));
	}
	file_drop_cache(file.fd);
	bool whole = false;
	r = walk(recovery, segment, &file, UINT64_MAX, &whole);
	if (!whole)
		segment->poisoned = true;
	/* Kept open: whether it is resumed is decided when all is known. */
	segment->fd = file.fd;
	return r;
}

static void choose_active(struct recovery *recovery)
{
	struct journal *journal = recovery->journal;
	if (recovery->count == 0)
		return;
	struct segment *newest = recovery->segments[recovery->count - 1];
	/* Only as the holder of the highest sequence of all, so that the sequences in a segment have no gap that was not damage. */
	if (!newest->poisoned && newest->last + 1 == journal->next_sequence && segment_room(newest) >= newest->size / RESUME_PART)
		journal->active = newest;
	else
		file_close(&newest->fd);
}

static int recover_segments(struct recovery *recovery)
{
	struct journal *journal = recovery->journal;
	if (recovery->count > 0)
		qsort(recovery->segments, recovery->count, sizeof(struct segment *), by_generation);
	for (size_t i = 0; i < recovery->count; i++) {
		struct segment *segment = recovery->segments[i];
		bool newest = i + 1 == recovery->count;
		int r = newest ? recover_newest(recovery, segment)
			       : recover_segment(recovery, segment, recovery->segments[i + 1]->first);
		if (r != 0)
			return r;
		if (segment->last + 1 > journal->next_sequence)
			journal->next_sequence = segment->last + 1;
		if (segment->first > journal->next_sequence)
			journal->next_sequence = segment->first;
		if (segment->generation + 1 > journal->next_generation)
			journal->next_generation = segment->generation + 1;
		if (segment_has_records(segment) && segment->last > journal->durable)
			journal->durable = segment->last;
	}
	return 0;
}

static void take_over(struct recovery *recovery)
{
	struct journal *journal = recovery->journal;
	choose_active(recovery);
	for (size_t i = 0; i < recovery->count; i++) {
		journal->held_bytes += recovery->segments[i]->size;
		list_append(&journal->segments, &recovery->segments[i]->link);
	}
	recovery->count = 0;
	struct list *link;
	while ((link = list_take(&recovery->blank)) != NULL)
		janitor_add_spare(journal, LIST_ENTRY(link, struct segment, link));
	janitor_reclaim(journal);
}

int journal_recover(struct journal *journal, struct error *error)
{
	struct recovery recovery = {.journal = journal, .error = error};
	uint64_t started = clock_mono_ns();
	list_init(&recovery.blank);
	list_init(&recovery.unfinished);
	int r = checkpoint_load(journal->directory_fd, &journal->saved, error);
	if (r != 0)
		return r;
	journal->checkpoint = journal->saved.sequence;
	journal->durable = journal->checkpoint;
	journal->next_sequence = journal->checkpoint + 1;
	if (journal->saved.next_sequence > journal->next_sequence)
		journal->next_sequence = journal->saved.next_sequence;
	journal->next_generation = journal->saved.next_generation > 0 ? journal->saved.next_generation : 1;
	r = file_list(journal->directory_fd, look_at, &recovery);
	/* An errno from listing itself, or an error from look_at, which then has its message. */
	if (r != 0 && error->code == 0)
		r = error_set(error, r == ERR_NOMEM ? r : err_from_errno(-r), "cannot read the journal in %s",
			      journal->directory);
	if (r == 0) {
		remove_unfinished(&recovery);
		r = recover_segments(&recovery);
	}
	if (r == 0) {
		size_t segments = recovery.count;
		take_over(&recovery);
		log_event(LOG_INFO, "journal.opened", LOG_STR("directory", journal->directory), LOG_U64("segments", segments),
			  LOG_U64("checkpoint", journal->checkpoint), LOG_U64("events", journal->events),
			  LOG_U64("next_sequence", journal->next_sequence), LOG_U64("bad_places", recovery.bad_places),
			  LOG_F64("seconds", (double)(clock_mono_ns() - started) / 1e9));
	}
	for (size_t i = 0; i < recovery.count; i++)
		segment_free(recovery.segments[i]);
	free(recovery.segments);
	struct list *lists[] = {&recovery.blank, &recovery.unfinished};
	for (size_t i = 0; i < 2; i++) {
		struct list *link;
		while ((link = list_take(lists[i])) != NULL)
			segment_free(LIST_ENTRY(link, struct segment, link));
	}
	return r;
}
