/* SPDX-License-Identifier: MIT */
/*
 * Happy path: open sets the pragmas, each slot is prepared at its first use and kept. Failure: the first error of a run sticks to
 * the statement until its step reports it, so that callers bind without looking.
 */
#include "adapters/sqlite_db.h"

#include "base/check.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

/* How often a refused switch to WAL is tried again, 10 ms apart: another process is opening the same new file. */
#define OPEN_TRIES 500
#define OPEN_PAUSE_MS 10

struct sqlite_stmt {
	struct sqlite_db *db;
	sqlite3_stmt *handle;
	int next; /* parameter to bind next, from 1 */
	int rc;   /* first failure of this run */
	bool busy;
};

struct sqlite_db {
	sqlite3 *handle;
	struct error error;
	size_t wal_pages;
	size_t wal_moved;
	const char *const *sql;
	size_t slots;
	struct sqlite_stmt stmt[];
};

static int translate(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_FULL:
		return ERR_NO_SPACE;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return ERR_DENIED;
	case SQLITE_CONSTRAINT:
	case SQLITE_TOOBIG:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
		return ERR_INVALID;
	default:
		return ERR_LEDGER;
	}
}

static int failed(struct sqlite_db *db, int rc)
{
	int code = translate(rc);
	const char *text = sqlite3_errcode(db->handle) == SQLITE_OK ? sqlite3_errstr(rc) : sqlite3_errmsg(db->handle);
	return error_set(&db->error, code, "SQLite: %s (%d)", text, rc);
}

static int on_wal_commit(void *data, sqlite3 *handle, const char *name, int pages)
{
	struct sqlite_db *db = data;
	(void)handle;
	(void)name;
	db->wal_pages = (size_t)pages;
	/* The WAL was begun anew since the last checkpoint. */
	if (db->wal_moved > db->wal_pages)
		db->wal_moved = 0;
	return SQLITE_OK;
}

/* The switch of a new file to WAL does not wait for others by itself. */
static int set_pragmas(struct sqlite_db *db)
{
	int rc = sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	for (int i = 0; i < OPEN_TRIES && (rc == SQLITE_BUSY || rc == SQLITE_LOCKED); i++) {
		sqlite3_sleep(OPEN_PAUSE_MS);
		rc = sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	}
	if (rc != SQLITE_OK)
		return rc;
	return sqlite3_exec(db->handle,
			    "PRAGMA synchronous = FULL;"
			    "PRAGMA wal_autocheckpoint = 0;"
			    "PRAGMA journal_size_limit = 67108864;"
			    "PRAGMA cache_size = -8192;"
			    "PRAGMA temp_store = MEMORY;",
			    NULL, NULL, NULL);
}

/* Keeping statistics takes a lock at every allocation, and nobody asks for them. Refused, without harm, when SQLite is in use already. */
static void configure(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int sqlite_db_open(struct sqlite_db **ret, const struct sqlite_db_options *options, struct error *error)
{
	static uv_once_t once = UV_ONCE_INIT;
	uv_once(&once, configure);
	*ret = NULL;
	struct sqlite_db *db = calloc(1, sizeof(*db) + options->sql_count * sizeof(db->stmt[0]));
	if (db == NULL)
		return error_set(error, ERR_NOMEM, "opening %s: out of memory", options->path);
	db->sql = options->sql;
	db->slots = options->sql_count;
	for (size_t i = 0; i < db->slots; i++)
		db->stmt[i].db = db;

	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (options->create ? SQLITE_OPEN_CREATE : 0);
	mode_t mask = umask(077); /* it holds phone numbers */
	int rc = sqlite3_open_v2(options->path, &db->handle, flags, NULL);
	umask(mask);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(db->handle, options->busy_timeout_ms);
	if (rc == SQLITE_OK) {
		sqlite3_extended_result_codes(db->handle, 1);
		mask = umask(077);
		rc = set_pragmas(db);
		umask(mask);
	}
	if (rc != SQLITE_OK) {
		int code = translate(rc);
		int system = db->handle != NULL && (rc & 0xff) == SQLITE_CANTOPEN ? sqlite3_system_errno(db->handle) : 0;
		error_set(error, code, "cannot open the ledger %s: %s%s%s", options->path,
			  db->handle == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db->handle), system == 0 ? "" : ": ",
			  system == 0 ? "" : strerror(system));
		sqlite_db_close(&db);
		return code;
	}
	sqlite3_wal_hook(db->handle, on_wal_commit, db);
	*ret = db;
	return 0;
}

void sqlite_db_close(struct sqlite_db **ptr)
{
	struct sqlite_db *db = *ptr;
	if (db == NULL)
		return;
	*ptr = NULL;
	for (size_t i = 0; i < db->slots; i++)
		sqlite3_finalize(db->stmt[i].handle);
	int rc = sqlite3_close(db->handle);
	REQUIRE(rc == SQLITE_OK);
	free(db);
}

int sqlite_db_exec(struct sqlite_db *db, const char *sql)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : failed(db, rc);
}

const struct error *sqlite_db_error(const struct sqlite_db *db)
{
	return &db->error;
}

int64_t sqlite_db_changes(const struct sqlite_db *db)
{
	return sqlite3_changes(db->handle);
}

int64_t sqlite_db_total_changes(const struct sqlite_db *db)
{
	return sqlite3_total_changes(db->handle);
}

int64_t sqlite_db_last_id(const struct sqlite_db *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

bool sqlite_db_in_transaction(const struct sqlite_db *db)
{
	return sqlite3_get_autocommit(db->handle) == 0;
}

size_t sqlite_db_wal_pending(const struct sqlite_db *db)
{
	return db->wal_pages - db->wal_moved;
}

size_t sqlite_db_wal_pages(const struct sqlite_db *db)
{
	return db->wal_pages;
}

int sqlite_db_checkpoint(struct sqlite_db *db, bool passive)
{
	int pages = -1;
	int moved = -1;
	int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, passive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE,
					   &pages, &moved);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		return failed(db, rc);
	if (pages >= 0 && moved >= 0) {
		db->wal_pages = (size_t)pages;
		db->wal_moved = (size_t)moved;
	}
	return 0;
}

struct sqlite_stmt *sqlite_stmt_begin(struct sqlite_db *db, size_t slot)
{
	REQUIRE(slot < db->slots);
	struct sqlite_stmt *stmt = &db->stmt[slot];
	REQUIRE(!stmt->busy);
	stmt->busy = true;
	stmt->next = 1;
	stmt->rc = SQLITE_OK;
	if (stmt->handle == NULL)
		stmt->rc = sqlite3_prepare_v3(db->handle, db->sql[slot], -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, NULL);
	return stmt;
}

static void bound(struct sqlite_stmt *stmt, int rc)
{
	if (stmt->rc == SQLITE_OK)
		stmt->rc = rc;
	stmt->next++;
}

void sqlite_bind_i64(struct sqlite_stmt *stmt, int64_t value)
{
	bound(stmt, sqlite3_bind_int64(stmt->handle, stmt->next, value));
}

void sqlite_bind_i64_or_null(struct sqlite_stmt *stmt, int64_t value, int64_t null_value)
{
	if (value == null_value)
		bound(stmt, sqlite3_bind_null(stmt->handle, stmt->next));
	else
		sqlite_bind_i64(stmt, value);
}

void sqlite_bind_text(struct sqlite_stmt *stmt, const char *text)
{
	if (text == NULL || text[0] == '\0')
		bound(stmt, sqlite3_bind_null(stmt->handle, stmt->next));
	else
		bound(stmt, sqlite3_bind_text(stmt->handle, stmt->next, text, -1, SQLITE_STATIC));
}

void sqlite_bind_blob(struct sqlite_stmt *stmt, const void *data, size_t len)
{
	bound(stmt, sqlite3_bind_blob64(stmt->handle, stmt->next, data, len, SQLITE_STATIC));
}

int sqlite_stmt_step(struct sqlite_stmt *stmt)
{
	if (stmt->rc == SQLITE_OK) {
		/* A parameter that was forgotten would silently be the one of the run before. */
		REQUIRE(stmt->next - 1 == sqlite3_bind_parameter_count(stmt->handle));
		int rc = sqlite3_step(stmt->handle);
		if (rc == SQLITE_ROW)
			return 1;
		if (rc == SQLITE_DONE)
			return 0;
		stmt->rc = rc;
	}
	return failed(stmt->db, stmt->rc);
}

void sqlite_stmt_end(struct sqlite_stmt *stmt)
{
	stmt->busy = false;
	sqlite3_reset(stmt->handle); /* repeats the error of the step, which was reported */
}

int sqlite_stmt_run(struct sqlite_stmt *stmt)
{
	int status = sqlite_stmt_step(stmt);
	REQUIRE(status <= 0);
	sqlite_stmt_end(stmt);
	return status;
}

int64_t sqlite_column_i64(struct sqlite_stmt *stmt, int column, int64_t null_value)
{
	if (sqlite3_column_type(stmt->handle, column) == SQLITE_NULL)
		return null_value;
	return sqlite3_column_int64(stmt->handle, column);
}

void sqlite_column_text(struct sqlite_stmt *stmt, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(stmt->handle, column);
	size_t len = text == NULL ? 0 : (size_t)sqlite3_column_bytes(stmt->handle, column);
	if (len >= size)
		len = size - 1;
	if (text != NULL && len > 0)
		memcpy(out, text, len);
	out[len] = '\0';
}
