/* SPDX-License-Identifier: MIT */
#include "ledger/migrations.h"

#include "adapters/sqlite_db.h"
#include "base/clock.h"
#include "ledger/ledger_sqlite.h"

#include <inttypes.h>
#include <string.h>

int migrations_check(const struct migration_set *set, int64_t number, const char *sha256, struct error *error)
{
	if (number < 1 || number > (int64_t)set->count)
		return error_set(error, ERR_CONFIG,
				 "the database has migration %" PRId64 ", this reeld knows %zu: use a newer reeld", number,
				 set->count);
	const struct migration *known = &set->list[number - 1];
	if (strcmp(known->sha256, sha256) != 0)
		return error_set(error, ERR_CORRUPT, "migration %s was changed after it was applied to this database",
				 known->name);
	return 0;
}

int migrations_check_next(const struct migration_set *set, size_t *have, int64_t number, const char *sha256, struct error *error)
{
	int status = migrations_check(set, number, sha256, error);
	if (status == 0 && number != (int64_t)++ * have)
		status = error_set(error, ERR_CORRUPT, "migration %zu is missing before %" PRId64 " in schema_migrations", *have,
				   number);
	return status;
}

int migrations_missing(const struct migration_set *set, size_t have, struct error *error)
{
	if (have >= set->count)
		return 0;
	return error_set(error, ERR_MIGRATION, "the database lacks migration %s: run `reeld migrate`", set->list[have].name);
}

static int from_db(struct sqlite_db *db, struct error *error)
{
	if (error != NULL)
		*error = *sqlite_db_error(db);
	return sqlite_db_error(db)->code;
}

/* Checks the applied ones against the set; *count is how many there are. The table is there. */
static int read_applied(struct sqlite_db *db, const struct migration_set *set, size_t *count, struct error *error)
{
	*count = 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(db, STMT_MIGRATIONS);
	int status = 0;
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1 && status == 0) {
		char sha256[65];
		int64_t number = sqlite_column_i64(stmt, 0, 0);
		sqlite_column_text(stmt, 1, sha256, sizeof(sha256));
		status = migrations_check_next(set, count, number, sha256, error);
	}
	if (row < 0 && status == 0)
		status = from_db(db, error);
	sqlite_stmt_end(stmt);
	return status;
}

static int apply_one(struct sqlite_db *db, const struct migration *migration, struct error *error)
{
	if (sqlite_db_exec(db, migration->sql) != 0)
		return error_set(error, sqlite_db_error(db)->code, "migration %s: %s", migration->name,
				 sqlite_db_error(db)->detail);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(db, STMT_MIGRATION_ADD);
	sqlite_bind_i64(stmt, migration->number);
	sqlite_bind_text(stmt, migration->name);
	sqlite_bind_text(stmt, migration->sha256);
	sqlite_bind_i64(stmt, clock_wall_ms());
	return sqlite_stmt_run(stmt) == 0 ? 0 : from_db(db, error);
}

static int apply_missing(struct sqlite_db *db, const struct migration_set *set, size_t *applied, struct error *error)
{
	if (sqlite_db_exec(db, "CREATE TABLE IF NOT EXISTS schema_migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
			       "sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL)") != 0)
		return from_db(db, error);
	size_t have = 0;
	int status = read_applied(db, set, &have, error);
	for (size_t i = have; status == 0 && i < set->count; i++)
		status = apply_one(db, &set->list[i], error);
	if (status == 0)
		*applied = set->count - have;
	return status;
}

int migrations_apply_sqlite(struct sqlite_db *db, const struct migration_set *set, size_t *applied, struct error *error)
{
	size_t count = 0;
	/* IMMEDIATE: whoever comes second waits here and then finds everything done. */
	if (sqlite_db_exec(db, "BEGIN IMMEDIATE") != 0)
		return from_db(db, error);
	int status = apply_missing(db, set, &count, error);
	if (status == 0 && sqlite_db_exec(db, "COMMIT") != 0)
		status = from_db(db, error);
	if (status != 0 && sqlite_db_in_transaction(db))
		sqlite_db_exec(db, "ROLLBACK");
	if (status == 0 && applied != NULL)
		*applied = count;
	return status;
}

int migrations_verify_sqlite(struct sqlite_db *db, const struct migration_set *set, struct error *error)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(db, STMT_MIGRATIONS_TABLE);
	int row = sqlite_stmt_step(stmt);
	sqlite_stmt_end(stmt);
	if (row < 0)
		return from_db(db, error);
	size_t have = 0;
	int status = row == 1 ? read_applied(db, set, &have, error) : 0;
	return status == 0 ? migrations_missing(set, have, error) : status;
}
