/* SPDX-License-Identifier: MIT */
/*
 * A pool of Postgres connections on the loop, behind queues of items that the client embeds in its requests. Nothing here blocks: names are
 * resolved by libuv's pool, libpq is driven by its non-blocking calls (https://www.postgresql.org/docs/15/libpq-async.html).
 *
 * Ownership: an item belongs to the pool from pg_submit until its `done`, which comes exactly once, on the loop, never inside the call. In between
 * `send`, `receive` and `settle` work on it.
 *
 * Groups: what waits when a connection becomes free is one group: one pipeline, one transaction, one sync. Should it fail because of one of its
 * items, each is run again alone, so that it takes nothing of the others along; a serialization failure or a deadlock is run again too.
 * `done` follows the commit: a status of 0 is as durable as the server makes a commit.
 *
 * Outages: every error that says that the server cannot do its work now is ERR_LEDGER (class wait). While a lost connection is made anew for the first
 * time, items wait, but not longer than patience_ms; once that failed they are refused at once, with its words, until a connection is there.
 * Connecting again backs off with full jitter. No wait is without a limit: connecting, a group, and closing have deadlines.
 */
#ifndef REELD_ADAPTERS_PG_H
#define REELD_ADAPTERS_PG_H

#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct pg;
/* The queries of one item, while it is sent. */
struct pg_batch;
/* The rows that a query gave. */
struct pg_result;

#define PG_LANES 3

struct pg_ops {
	/* Writes the item's queries into the batch. 0, or an error, and then nothing of the item is sent. May come again: must begin anew. */
	int (*send)(void *context, struct list *item, struct pg_batch *batch);
	/* The item is committed; `results` are its queries' in order, valid during the call. Returns the item's status. */
	int (*receive)(void *context, struct list *item, const struct pg_result *const *results, size_t count);
	/* The final status. `error` (NULL: receive's or send's own) has the server's words. */
	void (*settle)(void *context, struct list *item, int status, const struct error *error);
	/* Gives the item back. */
	void (*done)(void *context, struct list *item);
	/*
	 * What is said on a new connection before it is used: called with step 0, 1, … and the last rows that the step before gave (NULL for step 0)
	 * until *sql is left NULL. Several statements in one text are allowed. An error (set in *error) gives the connection up. May be NULL.
	 */
	int (*greet)(void *context, unsigned step, const struct pg_result *previous, const char **sql, struct error *error);
};

struct pg_options {
	uv_loop_t *loop;
	const char *url; /* postgresql:// with all that libpq knows; copied */
	const struct pg_ops *ops;
	void *context;
	const char *const *sql; /* statements by slot; must outlive the pool */
	size_t sql_count;
	/*
	 * Prepare statements on the server. False behind PgBouncer in transaction mode (before its version 1.21), where a prepared statement may be left on another
	 * connection.
	 */
	bool prepared;
	unsigned connections;  /* 1 to 16; 0: one a lane */
	unsigned connect_ms;   /* for one address; 0: connect_timeout of the URL, else 5 s */
	unsigned statement_ms; /* for a group; 0: 15 s */
	unsigned greet_ms;     /* for a step of greet; 0: 10 min, for it may be a migration */
	unsigned patience_ms;  /* how long items wait for a first or lost connection; 0: 10 s */
	unsigned close_ms;     /* what pg_close waits for; 0: 10 s */
	unsigned backoff_ms;   /* first pause between attempts to connect, doubled up to 10 s; 0: 250 ms */
	size_t max_queue;      /* waiting items; beyond it they are refused; 0: 8192 */
};

/* Starts to connect. 0; ERR_CONFIG for a URL that libpq does not take, ERR_NOMEM. The message never repeats the URL: it holds a password. */
int pg_open(struct pg **ret, const struct pg_options *options, struct error *error);
/*
 * Lanes keep what is slow from holding up the rest: each has connections of its own as far as there are enough, in the order given by the lane's number.
 * One that has none that works is served by the others.
 */
void pg_submit(struct pg *pg, unsigned lane, struct list *item);
/* A connection is ready for use. */
bool pg_ready(const struct pg *pg);
/* Why there is none, after an attempt failed; code 0 before. */
const struct error *pg_error(const struct pg *pg);
/* What was submitted is still done, or refused when there is no connection; what is submitted from now on is answered ERR_CANCELLED. `closed` comes last. */
void pg_close(struct pg *pg, void (*closed)(void *data), void *data);

/* ---- a batch: queries and their parameters, bound in order. A failure sticks until pg_batch_status. ---- */

enum pg_type { PG_BOOL, PG_I64, PG_TEXT, PG_UUID, PG_TIME, PG_TYPE_COUNT };

/* Begins the query of a slot. The types of its parameters must be the same every time. */
void pg_query(struct pg_batch *batch, unsigned slot);
/* One that is planned for these very parameters each time, not prepared: where the best plan depends on how long the arrays are. */
void pg_query_fresh(struct pg_batch *batch, unsigned slot);
void pg_bind_bool(struct pg_batch *batch, bool value);
void pg_bind_i64(struct pg_batch *batch, int64_t value);
/* NULL when value == null_value. */
void pg_bind_i64_or_null(struct pg_batch *batch, int64_t value, int64_t null_value);
/* NULL pointer or "": NULL. */
void pg_bind_text(struct pg_batch *batch, const char *text);
void pg_bind_uuid(struct pg_batch *batch, const uint8_t uuid[16]);
/* An array of `count` elements that are bound next, by the functions above. */
void pg_bind_array(struct pg_batch *batch, enum pg_type type, size_t count);
/* timestamptz, from milliseconds since the Unix epoch; -1: NULL. */
void pg_bind_time(struct pg_batch *batch, int64_t ms);
/* 0, ERR_NOMEM or ERR_LIMIT; ends the last query. */
int pg_batch_status(struct pg_batch *batch);

/* ---- rows ---- */

size_t pg_rows(const struct pg_result *result);
bool pg_is_null(const struct pg_result *result, size_t row, int column);
int64_t pg_i64(const struct pg_result *result, size_t row, int column, int64_t null_value);
bool pg_bool(const struct pg_result *result, size_t row, int column);
/* Milliseconds since the Unix epoch; -1 for NULL. */
int64_t pg_time(const struct pg_result *result, size_t row, int column);
/* Cut to fit between characters; "" for NULL. */
void pg_text(const struct pg_result *result, size_t row, int column, char *out, size_t size);

#endif
