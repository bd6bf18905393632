/* SPDX-License-Identifier: MIT */
/*
 * The database migrations that are embedded in the binary, and how they are applied: in order, each once, all of them in one
 * transaction that excludes other processes. schema_migrations keeps the number, name and SHA-256 of what was applied, so that a file that
 * was edited afterwards, or a database of a newer reeld, is noticed before anything is written.
 */
#ifndef REELD_LEDGER_MIGRATIONS_H
#define REELD_LEDGER_MIGRATIONS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct sqlite_db;

struct migration {
	int64_t number;     /* 1, 2, 3, … */
	const char *name;   /* "0001_initial" */
	const char *sha256; /* of the file, hex */
	const char *sql;
};

struct migration_set {
	const struct migration *list; /* ordered by number, no gaps */
	size_t count;
};

/* made by the build from migrations/<dialect>/ */
extern const struct migration_set migrations_sqlite;
extern const struct migration_set migrations_postgres;

/*
 * Compares one row of schema_migrations with the set: 0; ERR_CORRUPT when the file was changed after it was applied; ERR_CONFIG
 * when the set does not have it (a newer reeld migrated this database). Pure.
 */
int migrations_check(const struct migration_set *set, int64_t number, const char *sha256, struct error *error);

/* The same for the rows in order: *have is how many came before and is raised; ERR_CORRUPT for a gap. Pure. */
int migrations_check_next(const struct migration_set *set, size_t *have, int64_t number, const char *sha256, struct error *error);
/* 0 when `have` are all; else ERR_MIGRATION with words that say what to do. Pure. */
int migrations_missing(const struct migration_set *set, size_t have, struct error *error);

/*
 * Applies what is missing; *applied (may be NULL) is how many. Several processes may do this at once. On an error nothing was applied.
 * Blocking.
 */
int migrations_apply_sqlite(struct sqlite_db *db, const struct migration_set *set, size_t *applied, struct error *error);
/* Changes nothing: ERR_MIGRATION when a migration is missing. Blocking. */
int migrations_verify_sqlite(struct sqlite_db *db, const struct migration_set *set, struct error *error);

#endif
