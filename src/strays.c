/* SPDX-License-Identifier: MIT */
/*
 * One at a time:   waiting ──▶ forwarder ──▶ checkpoint at the end ──▶ forwarder closed ──▶ journal closed ──▶ files removed ──▶ the next
 * Closing goes the same way from wherever it is, without the removal.
 *
 * All are opened at the start, because replaying a journal blocks.
 */
#include "strays.h"

#include "base/check.h"
#include "base/log.h"
#include "base/soon.h"
#include "workers.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stray {
	struct list link;
	struct journal *journal; /* NULL: closed */
	bool emptied;
	bool given_up; /* until the next start */
	char path[PATH_MAX];
};

struct strays {
	uv_loop_t *loop;
	struct forwarder_options options; /* as given: `data` is its owner's */
	struct list waiting;
	struct stray *current;
	struct forwarder *forwarder;
	struct soon soon;
	struct soon_item go_on;
	uv_work_t work;
	struct error error; /* of the removal */
	bool started;
	bool busy; /* something of `current` is being closed or removed */
	bool closing;
	void (*closed)(void *data);
	void *closed_data;
};

static void strays_step(struct strays *strays);

/* What is damaged is not ours to delete. */
static bool may_be_removed(const struct stray *stray)
{
	struct journal_stats stats;
	journal_stats(stray->journal, &stats);
	if (stats.damaged == 0)
		return true;
	log_event(LOG_WARN, "stray.not_removed", LOG_STR("journal", stray->path),
		  LOG_STR("detail", "what could be read was forwarded, but some segments are damaged"),
		  LOG_STR("advice", "keep them for as long as somebody may want to look at them, then remove the directory"));
	return false;
}

static bool is_empty(const struct journal *journal)
{
	struct journal_stats stats;
	journal_stats(journal, &stats);
	return stats.checkpoint >= stats.durable;
}

static void step_done(struct strays *strays)
{
	strays->busy = false;
	strays_step(strays);
}

/* ---- between the forwarder and its owner ---- */

static size_t on_capacity(void *data)
{
	const struct strays *strays = data;
	return strays->options.capacity(strays->options.data);
}

static void on_leased(void *data, const struct ledger_job *jobs, size_t count)
{
	const struct strays *strays = data;
	strays->options.leased(strays->options.data, jobs, count);
}

static void on_forwarded(void *data, size_t count)
{
	const struct strays *strays = data;
	strays->options.forwarded(strays->options.data, count);
}

static void on_answer_lost(void *data)
{
	const struct strays *strays = data;
	if (strays->options.answer_lost != NULL)
		strays->options.answer_lost(strays->options.data);
}

static void on_committed(void *data, uint64_t sequence)
{
	struct strays *strays = data;
	(void)sequence;
	/* Not from inside the forwarder. */
	if (is_empty(strays->current->journal))
		soon_add(&strays->soon, &strays->go_on);
}

static void on_soon(struct soon_item *item)
{
	strays_step(CONTAINER_OF(item, struct strays, go_on));
}

static void on_forwarder_closed(void *data)
{
	step_done(data);
}

static void on_journal_closed(void *data)
{
	struct strays *strays = data;
	strays->current->journal = NULL;
	step_done(strays);
}

/* ---- removal ---- */

/* Pool thread. The directory of the worker goes with its journal, unless somebody put something there. */
static void remove_files(uv_work_t *work)
{
	struct strays *strays = work->data;
	char worker[PATH_MAX];
	strays->error = (struct error){0};
	if (journal_remove(strays->current->path, &strays->error) != 0)
		return;
	snprintf(worker, sizeof(worker), "%s", strays->current->path);
	*strrchr(worker, '/') = '\0';
	if (rmdir(worker) != 0)
		error_set(&strays->error, err_from_errno(errno), "cannot remove %s: %s", worker, strerror(errno));
}

static void files_removed(uv_work_t *work, int status)
{
	struct strays *strays = work->data;
	(void)status; /* never cancelled */
	if (strays->error.code == 0)
		log_event(LOG_INFO, "stray.removed", LOG_STR("journal", strays->current->path));
	else
		log_event(LOG_WARN, "stray.not_removed", LOG_STR("journal", strays->current->path),
			  LOG_STR("detail", strays->error.detail), LOG_STR("advice", "it is empty: remove it by hand"));
	free(strays->current);
	strays->current = NULL;
	step_done(strays);
}

/* ---- the way of each ---- */

static void start_forwarder(struct strays *strays)
{
	struct forwarder_options options = strays->options;
	options.journal = strays->current->journal;
	options.capacity = on_capacity;
	options.leased = on_leased;
	options.forwarded = on_forwarded;
	options.answer_lost = on_answer_lost;
	options.committed = on_committed;
	options.data = strays;
	strays->forwarder = forwarder_new(strays->loop, &options);
	strays->current->given_up = strays->forwarder == NULL;
	if (strays->current->given_up)
		log_event(LOG_ERROR, "stray.failed", LOG_STR("journal", strays->current->path),
			  LOG_STR("detail", "out of memory"), LOG_STR("advice", "its events are forwarded after the next start"));
}

static void on_soon_closed(uv_handle_t *handle)
{
	struct strays *strays = handle->data;
	void (*closed)(void *data) = strays->closed;
	void *data = strays->closed_data;
	free(strays);
	closed(data);
}

static void take_next(struct strays *strays)
{
	struct list *link = list_take(&strays->waiting);
	if (link != NULL)
		strays->current = LIST_ENTRY(link, struct stray, link);
	else if (strays->closing)
		soon_close(&strays->soon, on_soon_closed);
}

/* Starts what comes next for the current one. True: it is under way, or there is nothing to do but to wait for the ledger. */
static bool start_next(struct strays *strays)
{
	struct stray *stray = strays->current;
	if (stray->journal != NULL && !strays->closing && !is_empty(stray->journal)) {
		if (strays->forwarder == NULL)
			start_forwarder(strays);
		if (!stray->given_up)
			return true;
	}
	if (strays->forwarder != NULL) {
		forwarder_close(strays->forwarder, on_forwarder_closed, strays);
		strays->forwarder = NULL;
	} else if (stray->journal != NULL) {
		stray->emptied = is_empty(stray->journal) && may_be_removed(stray);
		journal_close(stray->journal, on_journal_closed, strays);
	} else if (stray->emptied) {
		strays->work.data = strays;
		REQUIRE(uv_queue_work(strays->loop, &strays->work, remove_files, files_removed) == 0);
	} else {
		return false;
	}
	strays->busy = true;
	return true;
}

static void strays_step(struct strays *strays)
{
	while (!strays->busy && (strays->started || strays->closing)) {
		if (strays->current == NULL)
			take_next(strays);
		if (strays->current == NULL || start_next(strays))
			return;
		free(strays->current);
		strays->current = NULL;
	}
}

/* ---- public ---- */

static int open_one(struct strays *strays, const struct config *config, unsigned number, struct metrics *metrics,
		    struct error *error)
{
	struct stray *stray = calloc(1, sizeof(*stray));
	struct error why = {0};
	if (stray == NULL)
		return error_set(error, ERR_NOMEM, "journals of former workers: out of memory");
	int err = workers_journal_path(config->data_dir, number, stray->path, sizeof(stray->path));
	const struct journal_options options = {
		.directory = stray->path,
		.max_bytes = config->journal_max,
		.segment_bytes = config->journal_segment,
		.metrics = metrics,
		.drain = true,
	};
	if (err == 0)
		err = journal_open(&stray->journal, strays->loop, &options, &why);
	if (err != 0) {
		log_event(LOG_ERROR, "stray.failed", LOG_STR("journal", stray->path), LOG_STR("reason", err_name(err)),
			  LOG_STR("detail", why.detail), LOG_STR("advice", "its events are forwarded after the next start"));
		free(stray);
		return 0;
	}
	struct journal_stats stats;
	journal_stats(stray->journal, &stats);
	log_event(LOG_INFO, "stray.found", LOG_STR("journal", stray->path), LOG_U64("events", stats.events));
	list_append(&strays->waiting, &stray->link);
	return 0;
}

static int open_all(struct strays *strays, const struct config *config, unsigned workers, struct metrics *metrics,
		    struct error *error)
{
	DIR *directory = opendir(config->data_dir);
	int err = 0;
	if (directory == NULL)
		return error_set(error, err_from_errno(errno), "DATA_DIR: cannot read %s: %s", config->data_dir, strerror(errno));
	const struct dirent *entry;
	while (err == 0 && (entry = readdir(directory)) != NULL) {
		unsigned number = workers_parse_directory(entry->d_name);
		if (number >= workers)
			err = open_one(strays, config, number, metrics, error);
	}
	closedir(directory);
	return err;
}

int strays_open(struct strays **ret, uv_loop_t *loop, const struct config *config, unsigned workers, struct metrics *metrics,
		struct error *error)
{
	struct strays *strays = calloc(1, sizeof(*strays));
	*ret = NULL;
	if (strays == NULL)
		return error_set(error, ERR_NOMEM, "journals of former workers: out of memory");
	strays->loop = loop;
	list_init(&strays->waiting);
	int err = open_all(strays, config, workers, metrics, error);
	if (err == 0 && list_empty(&strays->waiting)) {
		free(strays);
		return 0;
	}
	soon_init(&strays->soon, loop);
	strays->soon.idle.data = strays;
	soon_item_init(&strays->go_on, on_soon);
	*ret = strays; /* also with an error: some may be open */
	return err;
}

void strays_start(struct strays *strays, const struct forwarder_options *options)
{
	strays->options = *options;
	strays->started = true;
	strays_step(strays);
}

static void add_stats(const struct stray *stray, struct journal_stats *sum)
{
	struct journal_stats stats;
	journal_stats(stray->journal, &stats);
	sum->events += stats.events;
	if (stats.oldest_ms >= 0 && (sum->oldest_ms < 0 || stats.oldest_ms < sum->oldest_ms))
		sum->oldest_ms = stats.oldest_ms;
}

void strays_add_stats(const struct strays *strays, struct journal_stats *stats)
{
	if (strays == NULL)
		return;
	if (strays->current != NULL && strays->current->journal != NULL)
		add_stats(strays->current, stats);
	for (const struct list *link = strays->waiting.next; link != &strays->waiting; link = link->next)
		add_stats(LIST_ENTRY(link, struct stray, link), stats);
}

void strays_close(struct strays *strays, void (*closed)(void *data), void *data)
{
	REQUIRE(!strays->closing);
	strays->closing = true;
	strays->closed = closed;
	strays->closed_data = data;
	strays_step(strays);
}
