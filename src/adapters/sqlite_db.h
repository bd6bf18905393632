/* SPDX-License-Identifier: MIT */
/*
 * One SQLite connection with a fixed table of cached statements. Every call blocks and belongs to one thread at a time; sqlite_thread
 * gives it a thread of its own.
 *
 * The database is in WAL mode with synchronous=FULL: a commit that answered 0 survives a power cut. Checkpoints never run inside a commit; the
 * owner runs them (sqlite_db_checkpoint).
 *
 * Errors: ERR_NO_SPACE (disk full), ERR_NOMEM, ERR_DENIED (not writable), ERR_INVALID (a constraint refused the data), ERR_LEDGER (everything else:
 * busy for longer than the timeout, I/O error, damaged file); sqlite_db_error has the text.
 */
#ifndef REELD_ADAPTERS_SQLITE_DB_H
#define REELD_ADAPTERS_SQLITE_DB_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite_db;
struct sqlite_stmt;

struct sqlite_db_options {
	const char *path;
	bool create;            /* when missing, mode 0600 */
	const char *const *sql; /* statements by slot; borrowed for the life of the connection */
	size_t sql_count;
	int busy_timeout_ms; /* how long to wait for another process's transaction */
};

int sqlite_db_open(struct sqlite_db **ret, const struct sqlite_db_options *options, struct error *error);
/* Takes &db, accepts NULL. The last connection to go checkpoints and removes the WAL. */
void sqlite_db_close(struct sqlite_db **db);

/* Runs one or more statements without results. */
int sqlite_db_exec(struct sqlite_db *db, const char *sql);
/* What went wrong last: code and SQLite's words. */
const struct error *sqlite_db_error(const struct sqlite_db *db);
/* Rows changed by the last statement; rowid of the last insert. */
int64_t sqlite_db_changes(const struct sqlite_db *db);
int64_t sqlite_db_total_changes(const struct sqlite_db *db); /* since open */
int64_t sqlite_db_last_id(const struct sqlite_db *db);
/* False when a failed statement has ended the transaction (disk full, I/O error). */
bool sqlite_db_in_transaction(const struct sqlite_db *db);

/* Pages in the WAL that no checkpoint has moved yet; pages in the WAL in all. */
size_t sqlite_db_wal_pending(const struct sqlite_db *db);
size_t sqlite_db_wal_pages(const struct sqlite_db *db);
/* Moves WAL pages to the database file. Passive does what it can without waiting for readers; else it waits for them and truncates the WAL. */
int sqlite_db_checkpoint(struct sqlite_db *db, bool passive);

/*
 * A run of a cached statement: begin, bind the parameters in order, then step until it does not answer 1, then end (run does the last two). Bound
 * memory is not copied and must live until then. A failed prepare or bind is kept and answered by the first step.
 */
struct sqlite_stmt *sqlite_stmt_begin(struct sqlite_db *db, size_t slot);
void sqlite_bind_i64(struct sqlite_stmt *stmt, int64_t value);
void sqlite_bind_i64_or_null(struct sqlite_stmt *stmt, int64_t value, int64_t null_value);
/* NULL and "" are bound as NULL. */
void sqlite_bind_text(struct sqlite_stmt *stmt, const char *text);
void sqlite_bind_blob(struct sqlite_stmt *stmt, const void *data, size_t len);
/* 1: a row is there; 0: no more; or an error. */
int sqlite_stmt_step(struct sqlite_stmt *stmt);
void sqlite_stmt_end(struct sqlite_stmt *stmt);
/* For statements without rows. 0 or an error. */
int sqlite_stmt_run(struct sqlite_stmt *stmt);

/* Columns of the current row, from 0. Text is cut to fit and "" for NULL. */
int64_t sqlite_column_i64(struct sqlite_stmt *stmt, int column, int64_t null_value);
void sqlite_column_text(struct sqlite_stmt *stmt, int column, char *out, size_t size);

#endif
