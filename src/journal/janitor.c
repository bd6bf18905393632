/* SPDX-License-Identifier: MIT */
/*
 * The housekeeping that must not cost the loop or a commit anything: one spare segment is always made ahead, segments whose events are
 * all in the ledger are kept as spares or deleted, and the checkpoint is saved now and then. One round at a time, on the pool.
 */
#include "base/check.h"
#include "base/log.h"
#include "journal/checkpoint.h"
#include "journal/file.h"
#include "journal/internal.h"

#include <errno.h>
#include <stdlib.h>

void janitor_doom(struct journal *journal, struct segment *segment)
{
	journal->spare_bytes += segment->size;
	list_append(&journal->doomed, &segment->link);
}

static unsigned full_size_spares(const struct journal *journal)
{
	unsigned count = 0;
	for (struct list *link = journal->spares.next; link != &journal->spares; link = link->next)
		count += LIST_ENTRY(link, struct segment, link)->size == journal->segment_bytes;
	return count;
}

/* So many spares are made. When nothing is active the next commit takes one at once. */
static unsigned spares_wanted(const struct journal *journal)
{
	return journal->active == NULL ? 2 : 1;
}

/* One of another size than configured serves only until there is a proper one. */
void janitor_add_spare(struct journal *journal, struct segment *segment)
{
	bool full_size = segment->size == journal->segment_bytes;
	if (segment->poisoned ||
	    (full_size ? full_size_spares(journal) >= JOURNAL_SPARES_MAX : journal->spare_count >= spares_wanted(journal))) {
		janitor_doom(journal, segment);
		return;
	}
	journal->spare_bytes += segment->size;
	journal->spare_count++;
	if (!full_size) {
		list_append(&journal->spares, &segment->link);
		return;
	}
	for (struct list *link = journal->spares.next; link != &journal->spares;) {
		struct segment *other = LIST_ENTRY(link, struct segment, link);
		link = link->next;
		if (other->size == journal->segment_bytes)
			continue;
		list_remove(&other->link);
		journal->spare_count--;
		journal->spare_bytes -= other->size;
		janitor_doom(journal, other);
	}
	list_append(&journal->spares, &segment->link);
}

/* The newest segment that holds a record, however old that is. */
static const struct segment *witness(const struct journal *journal)
{
	for (struct list *link = journal->segments.prev; link != &journal->segments; link = link->prev) {
		const struct segment *segment = LIST_ENTRY(link, struct segment, link);
		if (segment_has_records(segment))
			return segment;
	}
	return NULL;
}

void janitor_reclaim(struct journal *journal)
{
	/*
	 * It stays, even when all in it was forwarded and nothing writes to it any more: it shows a restart how far sequences and generations
	 * had come. A segment that was only begun does not count, because its first commit may still fail and the segment go.
	 */
	const struct segment *newest = witness(journal);
	if (newest == NULL)
		return;
	for (;;) {
		struct segment *segment = LIST_ENTRY(journal->segments.next, struct segment, link);
		if (segment == newest || segment->in_read ||
		    (segment_has_records(segment) && segment->last > journal->checkpoint))
			return;
		list_remove(&segment->link);
		journal->held_bytes -= segment->size;
		janitor_add_spare(journal, segment);
	}
}

static void run_round(uv_work_t *work)
{
	struct journal *journal = work->data;
	struct janitor *janitor = &journal->janitor;
	for (struct list *link = janitor->doomed.next; link != &janitor->doomed; link = link->next) {
		char name[SEGMENT_NAME_SIZE];
		segment_name(LIST_ENTRY(link, struct segment, link)->id, name);
		int r = file_unlink(journal->directory_fd, name);
		if (r != 0 && r != -ENOENT)
			log_event(LOG_WARN, "journal.unlink_failed", LOG_STR("file", name), LOG_STR("error", uv_strerror(r)));
	}
	if (janitor->make)
		janitor->make_error = segment_create(journal->directory_fd, janitor->make_id, journal->segment_bytes,
						     janitor->make_smallest, &janitor->made_size);
	if (janitor->save)
		janitor->save_error = checkpoint_save(journal->directory_fd, &janitor->slot);
}

static void made(struct journal *journal)
{
	struct janitor *janitor = &journal->janitor;
	struct segment *segment = NULL;
	int error = err_from_errno(-janitor->make_error);
	if (error == 0) {
		segment = segment_new(janitor->make_id, janitor->made_size);
		if (segment == NULL)
			error = ERR_NOMEM;
	}
	if (error == 0) {
		janitor_add_spare(journal, segment);
	} else {
		journal->retry_at = uv_now(journal->loop) + JOURNAL_RETRY_MS;
		/* While a smaller spare is at hand, nothing is refused and nobody needs to know. */
		if (journal->spare_count > 0)
			return;
		if (error != journal->make_error)
			log_event(LOG_ERROR, "journal.no_spare", LOG_STR("reason", err_name(error)),
				  LOG_U64("bytes", journal->segment_bytes));
	}
	journal->make_error = error;
}

static void round_done(uv_work_t *work, int status)
{
	struct journal *journal = work->data;
	struct janitor *janitor = &journal->janitor;
	(void)status; /* never cancelled */
	janitor->busy = false;
	struct list *link;
	while ((link = list_take(&janitor->doomed)) != NULL) {
		struct segment *segment = LIST_ENTRY(link, struct segment, link);
		journal->spare_bytes -= segment->size;
		segment_free(segment);
	}
	if (janitor->make)
		made(journal);
	if (janitor->save && janitor->save_error == 0)
		journal->saved = janitor->slot;
	else if (janitor->save)
		log_event(LOG_WARN, "journal.checkpoint_failed", LOG_STR("error", uv_strerror(janitor->save_error)));
	janitor_tend(journal);
	journal_close_step(journal);
}

static void start_round(struct journal *journal, bool make, bool save)
{
	struct janitor *janitor = &journal->janitor;
	janitor->busy = true;
	janitor->make = make;
	janitor->save = save;
	list_move(&janitor->doomed, &journal->doomed);
	if (make) {
		janitor->make_id = journal->next_id++;
		/* With a smaller one in reserve only the real thing is worth the trouble. */
		janitor->make_smallest = journal->segment_bytes;
		if (journal->spare_count < spares_wanted(journal) && SEGMENT_SIZE_MIN < journal->segment_bytes)
			janitor->make_smallest = SEGMENT_SIZE_MIN;
	}
	if (save) {
		janitor->slot = (struct checkpoint){
			.serial = journal->saved.serial + 1,
			.sequence = journal->checkpoint,
			.next_sequence = journal->next_sequence,
			.next_generation = journal->next_generation,
		};
		journal->save_at = uv_now(journal->loop) + JOURNAL_CHECKPOINT_MS;
	}
	janitor->work.data = journal;
	int r = uv_queue_work(journal->loop, &janitor->work, run_round, round_done);
	REQUIRE(r == 0);
}

static bool wants_spare(const struct journal *journal)
{
	if (journal->drain || (journal->closing && journal->pending == 0))
		return false;
	unsigned ready = full_size_spares(journal);
	return ready < spares_wanted(journal) && journal->held_bytes + (ready + 1) * journal->segment_bytes <= journal->max_bytes;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void janitor_tend(struct journal *journal)
{
	if (journal->last_round)
		return;
	uint64_t now = uv_now(journal->loop);
	bool dirty = journal->checkpoint > journal->saved.sequence && !journal->closing;
	if (!journal->janitor.busy) {
		bool make = wants_spare(journal) && now >= journal->retry_at;
		bool save = dirty && now >= journal->save_at;
		if (make || save || !list_empty(&journal->doomed))
			start_round(journal, make, save);
	}
	if (journal->failed != 0 && now >= journal->retry_at)
		commit_probe(journal);

	/* What is due while a round runs is looked at when it ends. */
	uint64_t due = UINT64_MAX;
	if (journal->failed != 0 || wants_spare(journal))
		due = earlier(due, journal->retry_at);
	if (dirty)
		due = earlier(due, journal->save_at);
	if (due == UINT64_MAX || (due <= now && (journal->janitor.busy || journal->writer.busy)))
		return;
	uv_timer_start(&journal->timer, janitor_timer, due > now ? due - now : JOURNAL_RETRY_MS, 0);
}

void janitor_timer(uv_timer_t *timer)
{
	janitor_tend(timer->data);
}

void janitor_finish(struct journal *journal)
{
	REQUIRE(!journal->janitor.busy);
	uv_timer_stop(&journal->timer);
	start_round(journal, false, journal->checkpoint > journal->saved.sequence);
}
