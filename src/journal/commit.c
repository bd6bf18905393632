/* SPDX-License-Identifier: MIT */
/*
 * From batches to segments. The writer gets one run at a time: the records of the current batch that fit into one segment. When it is back:
 *
 *   success  the run is durable; the next run, or the other batch, is handed over first, then the callbacks fire
 *   failure  the segment is poisoned; the run goes, with other checksums, into a fresh one. When that fails, too, all that waits is
 *            refused, and so is all that comes, until a fresh segment could be written (tried every second)
 *
 * A full segment is followed by a spare. When there is none yet the batch waits for the janitor; when there can be none, it is refused.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "journal/file.h"
#include "journal/internal.h"

#include <errno.h>

/*
 * Which segment a record of `need` bytes would open: *ret, or NULL when the janitor is about to make one. Negative: there can be none now, and why.
 */
static int next_segment(const struct journal *journal, size_t need, struct segment **ret)
{
	*ret = NULL;
	struct list *first = list_first(&journal->spares);
	if (first != NULL) {
		struct segment *spare = LIST_ENTRY(first, struct segment, link);
		if (journal->held_bytes + spare->size <= journal->max_bytes) {
			*ret = spare;
			return need <= segment_capacity(spare) ? 0 : ERR_NO_SPACE;
		}
	}
	/* The only segment a disk has room for, or may have by JOURNAL_MAX, starts over when all in it was forwarded. */
	struct segment *active = journal->active;
	if (active != NULL && !journal->writer.busy && !active->in_read && active->last <= journal->checkpoint &&
	    need <= segment_capacity(active)) {
		*ret = active;
		return 0;
	}
	if (first != NULL || journal->held_bytes + journal->segment_bytes > journal->max_bytes)
		return ERR_JOURNAL_FULL;
	return journal->make_error;
}

int commit_admit(const struct journal *journal, size_t need)
{
	if (journal->closing || journal->drain)
		return ERR_CANCELLED;
	if (need > journal->segment_bytes - HEADER_BLOCK_SIZE)
		return ERR_TOO_LARGE;
	if (journal->pending + need > journal->max_pending)
		return ERR_JOURNAL_FULL;
	if (journal->failed != 0)
		return journal->failed;
	/* `durable` is still where the run in flight begins, so all that is pending counts. */
	if (journal->active != NULL && journal->pending + need <= segment_room(journal->active))
		return 0;
	struct segment *next;
	return next_segment(journal, need, &next);
}

/* The active segment from now on; its header goes out with its first run. */
static void open_segment(struct journal *journal, struct segment *segment, uint64_t first)
{
	if (segment == journal->active) {
		journal->held_bytes -= segment->size;
	} else {
		journal->spare_count--;
		journal->spare_bytes -= segment->size;
		if (journal->active != NULL) {
			REQUIRE(journal->stale_fd < 0);
			journal->stale_fd = journal->active->fd;
			journal->active->fd = -1;
		}
	}
	list_remove(&segment->link);
	list_append(&journal->segments, &segment->link);
	journal->held_bytes += segment->size;
	journal->active = segment;
	segment->generation = journal->next_generation++;
	segment->first = first;
	segment->last = first - 1;
	segment->durable = HEADER_BLOCK_SIZE;
	segment->events = 0;
	segment->bad_before = 0;
	journal->job.begin = true;
	journal->job.header = (struct segment_header){.size = segment->size, .generation = segment->generation, .first = first};
}

static void submit(struct journal *journal, void *data, size_t size)
{
	struct segment *segment = journal->active;
	struct writer_job *job = &journal->job;
	job->directory_fd = journal->directory_fd;
	job->id = segment->id;
	job->fd = segment->fd;
	job->data = data;
	job->size = size;
	job->offset = segment->durable;
	job->generation = segment->generation;
	job->stale_fd = journal->stale_fd;
	journal->stale_fd = -1;
	journal->in_flight = size;
	journal->submitted_ns = clock_mono_ns();
	writer_submit(&journal->writer, job);
}

/*
 * A commit costs the same for one event as for a hundred, so while every poll still brings events, commits begin twice as
 * far apart as they take: a part of the clients waits for the disk while the others keep the loop busy, and none of the two stands idle. As
 * soon as a poll brings nothing the loop has caught up, and waiting would only be latency.
 */
static bool batch_is_due(const struct journal *journal)
{
	if (!journal->growing || journal->closing)
		return true;
	uint64_t apart = 2 * journal->commit_ns;
	return clock_mono_ns() - journal->submitted_ns >= (apart < JOURNAL_LINGER_MAX_NS ? apart : JOURNAL_LINGER_MAX_NS);
}

/* Makes the appends up to `last` due. Returns how many. */
static size_t finish(struct journal *journal, struct batch *batch, uint64_t last, int status)
{
	size_t count = 0;
	for (;;) {
		struct list *link = list_first(&batch->appends);
		if (link == NULL)
			return count;
		struct journal_append *append = LIST_ENTRY(link, struct journal_append, link);
		if (append->sequence > last)
			return count;
		append->status = status;
		list_remove(link);
		list_append(&journal->finished, link);
		count++;
	}
}

void commit_refuse(struct journal *journal, int status)
{
	REQUIRE(!journal->writer.busy);
	journal->attempts = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct batch *batch = i == 0 ? journal->current : journal->filling;
		finish(journal, batch, UINT64_MAX, status);
		batch_clear(batch);
	}
	journal->pending = 0;
}

void commit_next(struct journal *journal)
{
	journal->lingering = false;
	if (journal->writer.busy || journal->failed != 0)
		return;
	if (batch_empty(journal->current)) {
		struct batch *empty = journal->current;
		if (batch_empty(journal->filling))
			return;
		if (!batch_is_due(journal)) {
			journal->lingering = true;
			return;
		}
		journal->current = journal->filling;
		journal->filling = empty;
	}
	struct batch *batch = journal->current;
	char *data = batch->data + batch->start;
	size_t size = batch->len - batch->start;
	if (journal->active == NULL || record_size_at(data) > segment_room(journal->active)) {
		struct segment *next;
		int r = next_segment(journal, record_size_at(data), &next);
		if (r != 0) {
			commit_refuse(journal, r);
			return;
		}
		if (next == NULL)
			return;
		open_segment(journal, next, record_sequence_at(data));
	}
	size = record_fit(data, size, (size_t)segment_room(journal->active), &journal->run_last);
	submit(journal, data, size);
}

static void run_succeeded(struct journal *journal)
{
	struct segment *segment = journal->active;
	segment->fd = journal->job.fd;
	/* The begin of a segment is two more writes, and rare. */
	if (!journal->job.begin)
		journal->commit_ns = journal->commit_ns / 8 * 7 + journal->job.duration_ns / 8;
	journal->job.begin = false;
	journal->attempts = 0;
	if (journal->probing) {
		journal->probing = false;
		journal->failed = 0;
		return;
	}
	struct batch *batch = journal->current;
	uint64_t first = record_sequence_at(batch->data + batch->start);
	batch->start += journal->in_flight;
	journal->pending -= journal->in_flight;
	segment->durable += journal->in_flight;
	segment->last = journal->run_last;
	journal->durable = journal->run_last;
	size_t count = finish(journal, batch, journal->run_last, 0);
	segment->events += count;
	journal->events += count;
	age_note(&journal->age, first, batch->time_ms);
	if (batch_empty(batch))
		batch_clear(batch);
	histogram_observe(journal->commit_seconds, (double)journal->job.duration_ns / 1e9);
	histogram_observe(journal->batch_events, (double)count);
}

static void run_failed(struct journal *journal)
{
	struct segment *segment = journal->active;
	int error = journal->job.error;
	log_event(LOG_ERROR, "journal.segment_failed", LOG_U64("segment", segment->id), LOG_U64("offset", segment->durable),
		  LOG_STR("error", uv_strerror(error)), LOG_BOOL("again", journal->attempts > 0 || journal->probing));
	segment->poisoned = true;
	segment->fd = -1;
	journal->stale_fd = journal->job.fd;
	journal->active = NULL;
	journal->job.begin = false;
	if (!segment_has_records(segment)) {
		journal->held_bytes -= segment->size;
		list_remove(&segment->link);
		janitor_doom(journal, segment);
	}
	bool probing = journal->probing;
	journal->probing = false;
	if (!probing && ++journal->attempts < 2)
		return;
	journal->failed = err_from_errno(-error) == ERR_NO_SPACE ? ERR_NO_SPACE : ERR_JOURNAL_FAILED;
	journal->retry_at = uv_now(journal->loop) + JOURNAL_RETRY_MS;
	commit_refuse(journal, journal->failed);
}

void commit_probe(struct journal *journal)
{
	struct segment *next;
	if (journal->failed == 0 || journal->writer.busy || journal->active != NULL)
		return;
	if (next_segment(journal, 0, &next) != 0 || next == NULL)
		return;
	open_segment(journal, next, journal->next_sequence);
	journal->probing = true;
	submit(journal, NULL, 0);
}

static void fire(struct journal *journal)
{
	for (;;) {
		struct list *link = list_take(&journal->finished);
		if (link == NULL)
			return;
		struct journal_append *append = LIST_ENTRY(link, struct journal_append, link);
		append->done(append, append->status);
	}
}

void commit_turn(struct journal *journal)
{
	struct writer_job *job = writer_take(&journal->writer);
	bool succeeded = job != NULL && job->error == 0 && !journal->probing;
	if (job != NULL) {
		if (job->error == 0)
			run_succeeded(journal);
		else
			run_failed(journal);
		journal->in_flight = 0;
	}
	commit_next(journal);
	if (journal->pending == 0 && !journal->writer.busy) {
		/* A burst is over. */
		batch_trim(journal->current);
		batch_trim(journal->filling);
		uv_unref((uv_handle_t *)&journal->writer.wakeup.poll);
	}
	fire(journal);
	if (succeeded && journal->committed != NULL)
		journal->committed(journal->committed_data);
	if (job != NULL)
		janitor_tend(journal);
	if (journal->closing)
		journal_close_step(journal);
}
