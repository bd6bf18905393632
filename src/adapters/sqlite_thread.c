/* SPDX-License-Identifier: MIT */
/*
 *   loop                         mutex                        thread
 *   submit ── append ──────────▶ queue ──── take a group ───▶ BEGIN IMMEDIATE
 *                                                             run, for each writing item
 *                                                             COMMIT
 *                                                             run, for each reading item
 *   done ◀── on_answers ◀─────── answers ◀─── append ──────── then perhaps a checkpoint
 *
 * Closing: `stopping` is set; the thread empties the queue, closes the connection, sets `stopped` and wakes the loop, which joins the thread and
 * closes the async handle. Items that are submitted meanwhile go to the answers at once, cancelled.
 */
#include "adapters/sqlite_thread.h"

#include "base/check.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/wakeup.h"

#include <stdlib.h>

/* Items of one transaction: bounds how long the first of them waits for the last. */
#define GROUP_MAX 256
/* Idle so long, with pages in the WAL: checkpoint. */
#define IDLE_NS (200 * 1000000ULL)
/* Pages that are waiting in the WAL when a checkpoint is due though there is work (16 MiB). Most were changed several times, and are copied once. */
#define WAL_BUSY_PAGES 4096
/* A WAL this long (64 MiB) is kept from starting anew by a reader in another process: wait for it, then truncate. */
#define WAL_MAX_PAGES 16384

struct sqlite_thread {
	const struct sqlite_thread_ops *ops;
	void *context;
	struct sqlite_db *db; /* thread */
	size_t max_queue;

	uv_thread_t thread;
	uv_mutex_t mutex;
	uv_cond_t wake;
	struct list queue;   /* mutex */
	size_t queued;       /* mutex */
	struct list answers; /* mutex */
	bool stopping;       /* mutex */
	bool stopped;        /* mutex */
	bool orphaned;       /* mutex; the start failed after the thread was made: end and touch nothing */

	struct wakeup wakeup; /* loop, from here on */
	bool closing;
	bool joined;
	void (*closed)(void *data);
	void *closed_data;
};

/* What the group looks like to the functions below. Thread. */
struct group {
	struct list writes;
	struct list reads;
	struct list settled;
};

static void settle(struct sqlite_thread *self, struct group *group, struct list *item, int status)
{
	list_remove(item);
	self->ops->settle(self->context, item, status, sqlite_db_error(self->db));
	list_append(&group->settled, item);
}

static void settle_all(struct sqlite_thread *self, struct group *group, struct list *items, int status)
{
	for (struct list *item = list_first(items); item != NULL; item = list_first(items))
		settle(self, group, item, status);
}

static void take_back(struct list *items, struct list *done)
{
	struct list rest;
	struct list *item;
	list_move(&rest, items);
	while ((item = list_take(done)) != NULL)
		list_append(items, item);
	while ((item = list_take(&rest)) != NULL)
		list_append(items, item);
}

/*
 * The usual way: no savepoints, which would copy every page that an item touches. An item that fails before it wrote anything harms nobody. One that fails
 * later takes the transaction back: false, and all items are to be run again, carefully. Items that succeeded wait in `done` for the commit.
 */
static bool run_lightly(struct sqlite_thread *self, struct group *group, struct list *done)
{
	for (struct list *item = list_first(&group->writes); item != NULL; item = list_first(&group->writes)) {
		int64_t before = sqlite_db_total_changes(self->db);
		int status = self->ops->run(self->context, self->db, item);
		if (status != 0 && (!sqlite_db_in_transaction(self->db) || sqlite_db_total_changes(self->db) != before)) {
			take_back(&group->writes, done);
			if (sqlite_db_in_transaction(self->db))
				sqlite_db_exec(self->db, "ROLLBACK");
			return false;
		}
		if (status != 0) {
			settle(self, group, item, status);
			continue;
		}
		list_remove(item);
		list_append(done, item);
	}
	return true;
}

static int run_in_savepoint(struct sqlite_thread *self, struct list *item)
{
	int status = sqlite_db_exec(self->db, "SAVEPOINT item");
	if (status != 0)
		return status;
	status = self->ops->run(self->context, self->db, item);
	if (!sqlite_db_in_transaction(self->db))
		return status;
	if (status != 0) {
		int undone = sqlite_db_exec(self->db, "ROLLBACK TO item; RELEASE item");
		return undone == 0 ? status : undone;
	}
	return sqlite_db_exec(self->db, "RELEASE item");
}

/* Each in a savepoint. False: a failure (disk full, I/O error) took the whole transaction along, and *status says why. */
static bool run_carefully(struct sqlite_thread *self, struct group *group, struct list *done, int *status)
{
	for (struct list *item = list_first(&group->writes); item != NULL; item = list_first(&group->writes)) {
		*status = run_in_savepoint(self, item);
		if (!sqlite_db_in_transaction(self->db)) {
			*status = *status == 0 ? ERR_LEDGER : *status;
			return false;
		}
		if (*status != 0) {
			settle(self, group, item, *status);
			continue;
		}
		list_remove(item);
		list_append(done, item);
	}
	return true;
}

static void run_writes(struct sqlite_thread *self, struct group *group)
{
	struct list done;
	list_init(&done);
	if (list_empty(&group->writes))
		return;
	int status = sqlite_db_exec(self->db, "BEGIN IMMEDIATE");
	if (status == 0 && !run_lightly(self, group, &done)) {
		status = sqlite_db_exec(self->db, "BEGIN IMMEDIATE");
		if (status == 0)
			run_carefully(self, group, &done, &status);
	}
	if (sqlite_db_in_transaction(self->db))
		status = sqlite_db_exec(self->db, list_empty(&done) ? "ROLLBACK" : "COMMIT");
	settle_all(self, group, &done, status);
	settle_all(self, group, &group->writes, status);
	if (sqlite_db_in_transaction(self->db))
		sqlite_db_exec(self->db, "ROLLBACK");
}

static void run_group(struct sqlite_thread *self, struct list *items, struct group *group)
{
	list_init(&group->writes);
	list_init(&group->reads);
	list_init(&group->settled);
	for (struct list *item = list_take(items); item != NULL; item = list_take(items))
		list_append(self->ops->writes(item) ? &group->writes : &group->reads, item);
	run_writes(self, group);
	for (struct list *item = list_first(&group->reads); item != NULL; item = list_first(&group->reads))
		settle(self, group, item, self->ops->run(self->context, self->db, item));
}

static void checkpoint(struct sqlite_thread *self)
{
	bool passive = sqlite_db_wal_pages(self->db) < WAL_MAX_PAGES;
	if (sqlite_db_checkpoint(self->db, passive) != 0)
		log_event(LOG_WARN, "ledger.checkpoint_failed", LOG_STR("detail", sqlite_db_error(self->db)->detail));
}

/* Waits for work with the mutex held. False: stop. Checkpoints when nothing comes for a while. */
static bool wait_for_work(struct sqlite_thread *self)
{
	bool tried = false;
	while (list_empty(&self->queue) && !self->stopping) {
		if (tried || sqlite_db_wal_pending(self->db) == 0) {
			uv_cond_wait(&self->wake, &self->mutex);
		} else if (uv_cond_timedwait(&self->wake, &self->mutex, IDLE_NS) != 0) {
			uv_mutex_unlock(&self->mutex);
			checkpoint(self);
			uv_mutex_lock(&self->mutex);
			tried = true; /* what a reader holds back now waits for the next group */
		}
	}
	return !list_empty(&self->queue);
}

static void thread_main(void *data)
{
	struct sqlite_thread *self = data;
	/* A batch of rows takes longer than an ack may. */
	thread_yield_to_others();
	uv_mutex_lock(&self->mutex);
	while (wait_for_work(self)) {
		struct list items;
		list_init(&items);
		struct list *item;
		for (size_t i = 0; i < GROUP_MAX && (item = list_take(&self->queue)) != NULL; i++, self->queued--)
			list_append(&items, item);
		uv_mutex_unlock(&self->mutex);

		struct group group;
		run_group(self, &items, &group);

		uv_mutex_lock(&self->mutex);
		while ((item = list_take(&group.settled)) != NULL)
			list_append(&self->answers, item);
		wakeup_send(&self->wakeup);
		uv_mutex_unlock(&self->mutex);
		if (sqlite_db_wal_pending(self->db) >= WAL_BUSY_PAGES || sqlite_db_wal_pages(self->db) >= WAL_MAX_PAGES)
			checkpoint(self);
		uv_mutex_lock(&self->mutex);
	}
	bool orphaned = self->orphaned;
	uv_mutex_unlock(&self->mutex);
	if (orphaned)
		return;
	sqlite_db_close(&self->db);
	uv_mutex_lock(&self->mutex);
	self->stopped = true;
	wakeup_send(&self->wakeup);
	uv_mutex_unlock(&self->mutex);
}

/* Gives back what is answered; callbacks may submit again. Returns whether the thread has stopped. */
static bool deliver(struct sqlite_thread *self)
{
	struct list answers;
	uv_mutex_lock(&self->mutex);
	list_move(&answers, &self->answers);
	bool stopped = self->stopped;
	uv_mutex_unlock(&self->mutex);
	for (struct list *item = list_take(&answers); item != NULL; item = list_take(&answers))
		self->ops->done(self->context, item);
	return stopped;
}

static void on_closed(uv_handle_t *handle)
{
	struct sqlite_thread *self = handle->data;
	/* Cancelled ones that came after the last wake-up. */
	while (!list_empty(&self->answers))
		deliver(self);
	uv_cond_destroy(&self->wake);
	uv_mutex_destroy(&self->mutex);
	void (*closed)(void *data) = self->closed;
	void *data = self->closed_data;
	free(self);
	closed(data);
}

static void on_answers(void *data)
{
	struct sqlite_thread *self = data;
	if (deliver(self) && !self->joined) {
		self->joined = true;
		uv_thread_join(&self->thread); /* it is past its last statement */
		wakeup_close(&self->wakeup, on_closed);
	}
}

int sqlite_thread_start(struct sqlite_thread **ret, const struct sqlite_thread_options *options, struct error *error)
{
	*ret = NULL;
	struct sqlite_thread *self = calloc(1, sizeof(*self));
	if (self == NULL)
		return error_set(error, ERR_NOMEM, "starting the ledger's thread: out of memory");
	self->ops = options->ops;
	self->context = options->context;
	self->db = options->db;
	self->max_queue = options->max_queue;
	list_init(&self->queue);
	list_init(&self->answers);
	int rc = uv_mutex_init(&self->mutex);
	if (rc != 0)
		goto err_free;
	rc = uv_cond_init(&self->wake);
	if (rc != 0)
		goto err_mutex;
	uv_mutex_lock(&self->mutex); /* the thread waits here until the wakeup is there */
	rc = uv_thread_create(&self->thread, thread_main, self);
	if (rc != 0) {
		uv_mutex_unlock(&self->mutex);
		goto err_cond;
	}
	rc = wakeup_init(&self->wakeup, options->loop, on_answers, self);
	if (rc != 0) {
		self->stopping = true;
		self->orphaned = true;
	}
	uv_mutex_unlock(&self->mutex);
	if (rc != 0)
		goto err_thread;
	*ret = self;
	return 0;

err_thread:
	uv_thread_join(&self->thread);
err_cond:
	uv_cond_destroy(&self->wake);
err_mutex:
	uv_mutex_destroy(&self->mutex);
err_free:
	free(self);
	return error_set(error, ERR_IO, "starting the ledger's thread: %s", uv_strerror(rc));
}

void sqlite_thread_submit(struct sqlite_thread *self, struct list *item)
{
	uv_mutex_lock(&self->mutex);
	bool refused = self->closing || self->queued >= self->max_queue;
	if (refused) {
		self->ops->settle(self->context, item, self->closing ? ERR_CANCELLED : ERR_LEDGER, NULL);
		list_append(&self->answers, item);
	} else {
		list_append(&self->queue, item);
		self->queued++;
		uv_cond_signal(&self->wake);
	}
	uv_mutex_unlock(&self->mutex);
	if (refused && !self->joined)
		wakeup_send(&self->wakeup);
}

void sqlite_thread_close(struct sqlite_thread *self, void (*closed)(void *data), void *data)
{
	REQUIRE(!self->closing);
	self->closing = true;
	self->closed = closed;
	self->closed_data = data;
	uv_mutex_lock(&self->mutex);
	self->stopping = true;
	uv_cond_signal(&self->wake);
	uv_mutex_unlock(&self->mutex);
}
