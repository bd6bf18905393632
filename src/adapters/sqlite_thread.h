/* SPDX-License-Identifier: MIT */
/*
 * A SQLite connection on a thread of its own, behind a two-way queue of items that the client embeds in its requests.
 *
 * Ownership: an item belongs to the thread from sqlite_thread_submit until its `done`, which comes exactly once, on the loop, never inside
 * the call. In between `run` and `settle` work on the item, on the thread, and touch nothing else that belongs to the loop.
 *
 * Group commit: what is queued when the thread looks is one group. Its writing items share one transaction and one sync; then its reading items run.
 * Should a writing item fail half-way, all of them are run again, each in a savepoint, so that it takes nothing of the others along. `done` follows the
 * commit: a status of 0 is durable. The WAL is checkpointed between groups: when idle, or past a size.
 */
#ifndef REELD_ADAPTERS_SQLITE_THREAD_H
#define REELD_ADAPTERS_SQLITE_THREAD_H

#include "adapters/sqlite_db.h"
#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct sqlite_thread;

struct sqlite_thread_ops {
	/* Does it write? Thread. */
	bool (*writes)(const struct list *item);
	/* Does the item's work inside the transaction. 0 or an error, which undoes what it wrote. May come again: must begin anew. Thread. */
	int (*run)(void *context, struct sqlite_db *db, struct list *item);
	/* The final status: after run, and after the commit for those that write. `error` (may be NULL) has SQLite's words. Thread or loop. */
	void (*settle)(void *context, struct list *item, int status, const struct error *error);
	/* Gives the item back. Loop. */
	void (*done)(void *context, struct list *item);
};

struct sqlite_thread_options {
	uv_loop_t *loop;
	struct sqlite_db *db; /* the thread's from a successful start on; it closes it */
	const struct sqlite_thread_ops *ops;
	void *context;
	size_t max_queue; /* submitted and not yet taken by the thread; beyond it items are answered ERR_LEDGER */
};

/* 0, ERR_NOMEM or ERR_IO (no thread to be had). */
int sqlite_thread_start(struct sqlite_thread **ret, const struct sqlite_thread_options *options, struct error *error);
void sqlite_thread_submit(struct sqlite_thread *thread, struct list *item);
/* What was submitted is still done; what is submitted from now on is answered ERR_CANCELLED. `closed` comes last, on the loop. */
void sqlite_thread_close(struct sqlite_thread *thread, void (*closed)(void *data), void *data);

#endif
