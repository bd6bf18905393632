/* SPDX-License-Identifier: MIT */
/*
 * Happy path: journal_append copies a record into the batch that is being filled; at the end of the poll phase the batch goes to the
 * writer, if that is idle; when it is durable the loop hands over the next one and fires the callbacks of the first.
 *
 * The loop's turn is where appends become batches: `check` runs after the callbacks of a poll, `prepare` before the next one. A module
 * that appends from a prepare handle of its own would have to wait for the next event.
 */
#include "journal/journal.h"

#include "base/check.h"
#include "base/log.h"
#include "journal/file.h"
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_MAX_BYTES ((uint64_t)4 << 30)
#define DEFAULT_SEGMENT_BYTES ((uint64_t)64 << 20)
#define DEFAULT_MAX_PENDING ((uint64_t)16 << 20)
#define SEGMENT_BYTES_LEAST ((uint64_t)4 * HEADER_BLOCK_SIZE)
/* What `accepting` promises room for. */
#define TYPICAL_PAYLOAD ((size_t)4096)

static void on_wakeup(void *data)
{
	commit_turn(data);
}

static void on_check(uv_check_t *check)
{
	struct journal *journal = check->data;
	writer_stay_awake(&journal->writer);
	journal->growing = journal->appended;
	journal->appended = false;
	commit_turn(journal);
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle; /* that it is active keeps the poll from blocking */
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct journal *journal = prepare->data;
	commit_turn(journal);
	/* What the callbacks appended. What this had to refuse is told in another turn. */
	commit_next(journal);
	if (journal->lingering)
		uv_idle_start(&journal->idle, on_idle);
	else
		uv_idle_stop(&journal->idle);
	if (!list_empty(&journal->finished))
		wakeup_send(&journal->writer.wakeup);
	writer_may_sleep(&journal->writer);
}

static void journal_free(struct journal *journal)
{
	struct list *lists[] = {&journal->segments, &journal->spares, &journal->doomed};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct list *link;
		while ((link = list_take(lists[i])) != NULL)
			segment_free(LIST_ENTRY(link, struct segment, link));
	}
	batch_free(&journal->batches[0]);
	batch_free(&journal->batches[1]);
	reader_free(&journal->reader);
	file_close(&journal->stale_fd);
	/* Last: the directory is another process's from here on. */
	file_close(&journal->lock_fd);
	file_close(&journal->directory_fd);
	free(journal->directory);
	free(journal);
}

static struct journal *journal_new(uv_loop_t *loop, const struct journal_options *options)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	if (journal == NULL)
		return NULL;
	journal->loop = loop;
	journal->directory_fd = -1;
	journal->lock_fd = options->lock_fd > 0 ? options->lock_fd : -1;
	journal->drain = options->drain;
	journal->stale_fd = -1;
	journal->max_bytes = options->max_bytes > 0 ? options->max_bytes : DEFAULT_MAX_BYTES;
	/* Two segments at least must go into max_bytes: one may only be reused when another was begun. */
	uint64_t segment_bytes = options->segment_bytes > 0 ? options->segment_bytes : DEFAULT_SEGMENT_BYTES;
	if (segment_bytes > journal->max_bytes / 2)
		segment_bytes = journal->max_bytes / 2;
	segment_bytes -= segment_bytes % HEADER_BLOCK_SIZE;
	journal->segment_bytes = segment_bytes > SEGMENT_BYTES_LEAST ? segment_bytes : SEGMENT_BYTES_LEAST;
	if (journal->max_bytes < 2 * journal->segment_bytes)
		journal->max_bytes = 2 * journal->segment_bytes;
	journal->max_pending = options->max_pending_bytes > 0 ? (size_t)options->max_pending_bytes : DEFAULT_MAX_PENDING;
	journal->commit_seconds = metrics_histogram(options->metrics, METRIC_INBOX_COMMIT);
	journal->batch_events = metrics_histogram(options->metrics, METRIC_INBOX_BATCH);
	list_init(&journal->segments);
	list_init(&journal->spares);
	list_init(&journal->doomed);
	list_init(&journal->finished);
	list_init(&journal->janitor.doomed);
	age_init(&journal->age);
	batch_init(&journal->batches[0]);
	batch_init(&journal->batches[1]);
	journal->current = &journal->batches[0];
	journal->filling = &journal->batches[1];
	journal->directory = strdup(options->directory);
	if (journal->directory == NULL) {
		free(journal);
		return NULL;
	}
	return journal;
}

/* So that the first append need not wait for the janitor. */
static int make_first_segment(struct journal *journal, struct error *error)
{
	if (journal->active != NULL || journal->spare_count > 0 ||
	    journal->held_bytes + journal->segment_bytes > journal->max_bytes)
		return 0;
	uint64_t smallest = journal->segment_bytes < SEGMENT_SIZE_MIN ? journal->segment_bytes : SEGMENT_SIZE_MIN;
	uint64_t id = journal->next_id++;
	uint64_t size;
	int r = segment_create(journal->directory_fd, id, journal->segment_bytes, smallest, &size);
	int code = err_from_errno(-r);
	if (code == ERR_NO_SPACE) {
		log_event(LOG_ERROR, "journal.no_spare", LOG_STR("reason", err_name(code)),
			  LOG_U64("bytes", journal->segment_bytes));
		journal->make_error = code;
		journal->retry_at = uv_now(journal->loop) + JOURNAL_RETRY_MS;
		return 0;
	}
	if (r != 0)
		return error_set(error, code, "cannot create a journal segment in %s: %s", journal->directory, strerror(-r));
	struct segment *segment = segment_new(id, size);
	if (segment == NULL)
		return ERR_NOMEM;
	janitor_add_spare(journal, segment);
	return 0;
}

static void start_handles(struct journal *journal)
{
	uv_loop_t *loop = journal->loop;
	uv_prepare_init(loop, &journal->prepare);
	uv_check_init(loop, &journal->check);
	uv_idle_init(loop, &journal->idle);
	uv_timer_init(loop, &journal->timer);
	journal->prepare.data = journal;
	journal->check.data = journal;
	journal->idle.data = journal;
	journal->timer.data = journal;
	journal->open_handles = 5; /* and the writer's wakeup */
	uv_prepare_start(&journal->prepare, on_prepare);
	uv_check_start(&journal->check, on_check);
	/* An idle journal keeps no loop alive; one that owes a callback does (journal_append). */
	uv_unref((uv_handle_t *)&journal->prepare);
	uv_unref((uv_handle_t *)&journal->check);
	uv_unref((uv_handle_t *)&journal->timer);
	uv_unref((uv_handle_t *)&journal->writer.wakeup.poll);
}

int journal_open(struct journal **ret, uv_loop_t *loop, const struct journal_options *options, struct error *error)
{
	struct error unwanted;
	if (error == NULL)
		error = &unwanted;
	*error = (struct error){0};
	struct journal *journal = journal_new(loop, options);
	if (journal == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	int r = journal_open_directory(journal->directory, true, &journal->directory_fd, error);
	if (r == 0 && journal->lock_fd < 0)
		r = journal_lock_directory(journal->directory_fd, journal->directory, true, &journal->lock_fd, error);
	if (r == 0)
		r = journal_recover(journal, error);
	if (r == 0 && !journal->drain)
		r = make_first_segment(journal, error);
	if (r == 0 && writer_start(&journal->writer, loop, on_wakeup, journal) != 0)
		r = error_set(error, ERR_NOMEM, "cannot start the journal's writer thread");
	if (r != 0) {
		if (error->code == 0)
			error_set(error, r, "cannot open the journal in %s: %s", journal->directory, err_text(r));
		journal_free(journal);
		return r;
	}
	start_handles(journal);
	janitor_tend(journal);
	*ret = journal;
	return 0;
}

/* Why no segment could be made in the directory; 0: one could. */
static int cannot_make_segment(const struct journal *journal)
{
	uint64_t smallest = journal->segment_bytes < SEGMENT_SIZE_MIN ? journal->segment_bytes : SEGMENT_SIZE_MIN;
	uint64_t free_bytes;
	if (faccessat(journal->directory_fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
		return err_from_errno(errno);
	if (journal->active == NULL && journal->spare_count == 0 && file_free_space(journal->directory_fd, &free_bytes) == 0 &&
	    free_bytes < smallest)
		return ERR_NO_SPACE;
	return 0;
}

int journal_inspect(const struct journal_options *options, struct journal_stats *stats, struct error *error)
{
	*error = (struct error){0};
	struct journal *journal = journal_new(NULL, options);
	if (journal == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	int r = journal_open_directory(journal->directory, false, &journal->directory_fd, error);
	if (r == 0)
		r = journal_lock_directory(journal->directory_fd, journal->directory, false, &journal->lock_fd, error);
	if (r == 0)
		r = journal_recover(journal, error);
	if (r == 0) {
		journal_stats(journal, stats);
		if (stats->accepting) {
			stats->last_error = cannot_make_segment(journal);
			stats->accepting = stats->last_error == 0;
		}
	} else if (error->code == 0) {
		error_set(error, r, "cannot look at the journal in %s: %s", journal->directory, err_text(r));
	}
	journal_free(journal);
	return r;
}

static int refuse(struct journal *journal, int reason)
{
	/* Told once, not for every event that comes while it lasts. */
	if (reason != journal->refusing && reason != ERR_TOO_LARGE && reason != ERR_CANCELLED) {
		journal->refusing = reason;
		log_event(LOG_ERROR, "journal.refusing", LOG_STR("reason", err_name(reason)), LOG_U64("events", journal->events),
			  LOG_U64("bytes", journal->held_bytes));
	}
	return reason;
}

int journal_append(struct journal *journal, struct journal_append *append, const struct slice *parts, size_t count)
{
	size_t payload_len = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len > RECORD_PAYLOAD_MAX - payload_len)
			return ERR_TOO_LARGE;
		payload_len += parts[i].len;
	}
	size_t need = record_size(payload_len);
	int r = commit_admit(journal, need);
	if (r != 0)
		return refuse(journal, r);
	r = batch_add(journal->filling, journal->next_sequence, parts, count, payload_len, journal->max_pending);
	if (r != 0)
		return r;
	if (journal->refusing != 0) {
		journal->refusing = 0;
		log_event(LOG_INFO, "journal.accepting");
	}
	journal->appended = true;
	append->sequence = journal->next_sequence++;
	list_append(&journal->filling->appends, &append->link);
	journal->pending += need;
	writer_stay_awake(&journal->writer);
	uv_ref((uv_handle_t *)&journal->writer.wakeup.poll);
	return 0;
}

void journal_checkpoint(struct journal *journal, uint64_t sequence)
{
	if (sequence > journal->durable)
		sequence = journal->durable;
	if (sequence <= journal->checkpoint)
		return;
	for (struct list *link = journal->segments.next; link != &journal->segments; link = link->next) {
		struct segment *segment = LIST_ENTRY(link, struct segment, link);
		if (segment->first > sequence)
			break;
		/* Sequences in a segment have no gaps but where records went bad. */
		uint64_t left = segment->last > sequence ? segment->last - sequence : 0;
		if (segment->events > left) {
			journal->events -= segment->events - left;
			segment->events = left;
		}
	}
	journal->checkpoint = sequence;
	if (journal->events == 0)
		age_init(&journal->age);
	else
		age_forget(&journal->age, sequence);
	janitor_reclaim(journal);
	janitor_tend(journal);
}

void journal_on_commit(struct journal *journal, void (*callback)(void *data), void *data)
{
	journal->committed = callback;
	journal->committed_data = data;
}

void journal_stats(const struct journal *journal, struct journal_stats *stats)
{
	int reason = commit_admit(journal, record_size(TYPICAL_PAYLOAD));
	*stats = (struct journal_stats){
		.checkpoint = journal->checkpoint,
		.durable = journal->durable,
		.events = journal->events,
		.oldest_ms = journal->events > 0 ? age_of_next(&journal->age, journal->checkpoint) : -1,
		.bytes = journal->held_bytes + journal->spare_bytes,
		.damaged = journal->damaged,
		.pending_bytes = journal->pending,
		.accepting = reason == 0,
		.last_error = reason,
	};
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct journal *journal = handle->data;
	if (--journal->open_handles > 0)
		return;
	void (*closed)(void *data) = journal->closed;
	void *data = journal->closed_data;
	journal_free(journal);
	if (closed != NULL)
		closed(data);
}

/* What is appended is written; then a last round of the janitor saves the checkpoint; then the thread and the handles go. */
void journal_close_step(struct journal *journal)
{
	if (!journal->closing || journal->pending > 0 || journal->writer.busy || !list_empty(&journal->finished) ||
	    journal->reader.read != NULL || journal->janitor.busy)
		return;
	if (!journal->last_round) {
		journal->last_round = true;
		janitor_finish(journal);
		return;
	}
	if (uv_is_closing((uv_handle_t *)&journal->check))
		return;
	writer_stop(&journal->writer);
	uv_close((uv_handle_t *)&journal->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&journal->check, on_handle_closed);
	uv_close((uv_handle_t *)&journal->idle, on_handle_closed);
	uv_close((uv_handle_t *)&journal->timer, on_handle_closed);
	wakeup_close(&journal->writer.wakeup, on_handle_closed);
}

void journal_close(struct journal *journal, void (*closed)(void *data), void *data)
{
	REQUIRE(!journal->closing);
	journal->closing = true;
	journal->committed = NULL;
	journal->closed = closed;
	journal->closed_data = data;
	journal_close_step(journal);
}
