/* SPDX-License-Identifier: MIT */
#include "ledger_factory.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static char path[128];

void factory_setup(void)
{
	struct error error = {0};
	size_t applied = 0;
	strcpy(directory, "/tmp/reeld-ledger-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(ledger_sqlite_path(directory, path, sizeof(path)), 0);
	cr_assert_eq(ledger_sqlite_migrate(path, &applied, &error), 0, "%s", error.detail);
	cr_assert_gt(applied, 0);
}

void factory_teardown(void)
{
	char side[160];
	unlink(path);
	snprintf(side, sizeof(side), "%s-wal", path);
	unlink(side);
	snprintf(side, sizeof(side), "%s-shm", path);
	unlink(side);
	cr_expect_eq(rmdir(directory), 0, "something was left in %s", directory);
}

struct ledger *factory_open(uv_loop_t *loop, const char *owner)
{
	struct ledger *ledger;
	struct error error = {0};
	cr_assert_eq(ledger_sqlite_open(&ledger, loop, path, owner, false, false, &error), 0, "%s", error.detail);
	return ledger;
}

const char *factory_sql(const char *sql)
{
	static char text[4096];
	sqlite3 *db;
	sqlite3_stmt *stmt;
	text[0] = '\0';
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
	int rc = sqlite3_step(stmt);
	cr_assert(rc == SQLITE_ROW || rc == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
	if (rc == SQLITE_ROW && sqlite3_column_text(stmt, 0) != NULL)
		snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return text;
}

void factory_pass_time(int64_t ms)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
		 "UPDATE recordings SET lease_expires_at = lease_expires_at - %lld, next_attempt_at = next_attempt_at - %lld",
		 (long long)ms, (long long)ms);
	factory_sql(sql);
	snprintf(sql, sizeof(sql),
		 "UPDATE reconcile SET lease_expires_at = lease_expires_at - %lld, finished_at = finished_at - %lld",
		 (long long)ms, (long long)ms);
	factory_sql(sql);
	snprintf(sql, sizeof(sql), "UPDATE reconcile_progress SET updated_at = updated_at - %lld", (long long)ms);
	factory_sql(sql);
}

void factory_set_tags(const char *twilio_sid, const char *first, const char *second)
{
	char sql[256];
	snprintf(sql, sizeof(sql), "UPDATE calls SET tags = json_array('%s', '%s') WHERE twilio_sid = '%s'", first, second,
		 twilio_sid);
	factory_sql(sql);
}
