/* SPDX-License-Identifier: MIT */
#include "ledger/ledger_sqlite.h"
#include "ledger/migrations.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];
static char path[128];
static struct error error;

static void setup(void)
{
	strcpy(directory, "/tmp/reeld-migrate-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/ledger.db", directory);
	error = (struct error){0};
}

static void teardown(void)
{
	char command[2][160];
	unlink(path);
	snprintf(command[0], sizeof(command[0]), "%s-wal", path);
	snprintf(command[1], sizeof(command[1]), "%s-shm", path);
	unlink(command[0]);
	unlink(command[1]);
	cr_expect_eq(rmdir(directory), 0);
}

TestSuite(migrations, .init = setup, .fini = teardown, .timeout = 60);

static struct sqlite_db *open_db(void)
{
	struct sqlite_db *db;
	cr_assert_eq(sqlite_db_open(&db, &(struct sqlite_db_options){path, true, ledger_sqlite_sql, STMT_COUNT, 5000}, &error), 0,
		     "%s", error.detail);
	return db;
}

static const struct migration two[] = {
	{1, "0001_one", "aa", "CREATE TABLE one (x);"},
	{2, "0002_two", "bb", "CREATE TABLE two (x); INSERT INTO two VALUES (1);"},
};
static const struct migration_set set_one = {two, 1};
static const struct migration_set set_two = {two, 2};

Test(migrations, what_is_missing_is_applied_in_order_and_once)
{
	struct sqlite_db *db = open_db();
	size_t applied = 99;
	cr_expect_eq(migrations_verify_sqlite(db, &set_one, &error), ERR_MIGRATION, "an empty database lacks it");
	cr_expect_not_null(strstr(error.detail, "reeld migrate"));
	cr_expect_eq(migrations_apply_sqlite(db, &set_one, &applied, &error), 0, "%s", error.detail);
	cr_expect_eq(applied, 1);
	cr_expect_eq(migrations_verify_sqlite(db, &set_two, &error), ERR_MIGRATION);
	cr_expect_eq(migrations_apply_sqlite(db, &set_two, &applied, &error), 0, "%s", error.detail);
	cr_expect_eq(applied, 1);
	cr_expect_eq(migrations_apply_sqlite(db, &set_two, &applied, &error), 0, "%s", error.detail);
	cr_expect_eq(applied, 0);
	cr_expect_eq(migrations_verify_sqlite(db, &set_two, &error), 0);
	sqlite_db_close(&db);
}

Test(migrations, an_edited_one_is_noticed)
{
	struct migration edited[] = {two[0], two[1]};
	edited[0].sha256 = "cc";
	struct sqlite_db *db = open_db();
	cr_assert_eq(migrations_apply_sqlite(db, &set_one, NULL, &error), 0);
	cr_expect_eq(migrations_apply_sqlite(db, &(struct migration_set){edited, 2}, NULL, &error), ERR_CORRUPT);
	cr_expect_not_null(strstr(error.detail, "0001_one"));
	cr_expect_eq(migrations_verify_sqlite(db, &set_one, &error), 0, "and nothing was changed");
	sqlite_db_close(&db);
}

Test(migrations, the_database_of_a_newer_reeld_is_left_alone)
{
	struct sqlite_db *db = open_db();
	cr_assert_eq(migrations_apply_sqlite(db, &set_two, NULL, &error), 0);
	cr_expect_eq(migrations_apply_sqlite(db, &set_one, NULL, &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, "newer reeld"));
	sqlite_db_close(&db);
}

Test(migrations, one_that_fails_takes_all_of_them_back)
{
	struct migration bad[] = {two[0], {2, "0002_bad", "dd", "CREATE TABLE half (x); CREATE GARBAGE;"}};
	struct sqlite_db *db = open_db();
	cr_expect_lt(migrations_apply_sqlite(db, &(struct migration_set){bad, 2}, NULL, &error), 0);
	cr_expect_not_null(strstr(error.detail, "0002_bad"));
	cr_expect_not(sqlite_db_in_transaction(db));
	size_t applied;
	cr_expect_eq(migrations_apply_sqlite(db, &set_two, &applied, &error), 0, "%s", error.detail);
	cr_expect_eq(applied, 2);
	sqlite_db_close(&db);
}

Test(migrations, several_processes_starting_at_once_apply_each_one_once)
{
	enum { PROCESSES = 6 };
	pid_t pids[PROCESSES];
	int gate[2];
	cr_assert_eq(pipe(gate), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char go;
			size_t applied = 0;
			close(gate[1]);
			ssize_t closed = read(gate[0], &go, 1); /* all of them go when the parent closes its end */
			int status = closed == 0 ? ledger_sqlite_migrate(path, &applied, &error) : 1;
			_exit(status != 0 ? 99 : (int)applied);
		}
		cr_assert_gt(pids[i], 0);
	}
	close(gate[0]);
	close(gate[1]);
	size_t applied = 0;
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 99, "a process could not migrate");
		applied += (size_t)WEXITSTATUS(status);
	}
	cr_expect_eq(applied, migrations_sqlite.count);
}

Test(migrations, the_embedded_ones_are_numbered_without_gaps_and_make_the_contracts_tables)
{
	for (size_t i = 0; i < migrations_sqlite.count; i++) {
		cr_expect_eq(migrations_sqlite.list[i].number, (int64_t)i + 1);
		cr_expect_eq(strlen(migrations_sqlite.list[i].sha256), 64);
	}
	cr_assert_eq(ledger_sqlite_migrate(path, NULL, &error), 0, "%s", error.detail);
	struct sqlite_db *db = open_db();
	cr_expect_eq(sqlite_db_exec(db, "SELECT id, twilio_sid, from_number, to_number, status, duration, recording_url, "
					"transcript_url, rating, notes, tags, "
					"created_at, updated_at FROM calls"),
		     0);
	cr_expect_eq(sqlite_db_exec(db, "SELECT id, call_id, speaker, text, timestamp, created_at FROM call_segments"), 0);
	cr_expect_eq(sqlite_db_exec(db, "SELECT account_sid, call_sid, conference_sid, status, attempts, next_attempt_at, "
					"lease_owner, lease_expires_at, "
					"last_error, key, url, bytes, md5, sha256, content_type, duration, channels, source, "
					"start_time, received_at, "
					"stored_at, deleted_at_twilio_at FROM recordings"),
		     0, "%s", sqlite_db_error(db)->detail);
	cr_expect_eq(sqlite_db_exec(db, "SELECT recording_id, at, what, detail FROM recording_events"), 0);
	cr_expect_eq(sqlite_db_exec(db, "INSERT INTO calls (twilio_sid, rating, created_at, updated_at) VALUES ('x', 6, 0, 0)"),
		     ERR_INVALID);
	sqlite_db_close(&db);
}

Test(migrations, a_ledger_without_them_does_not_open)
{
	struct sqlite_db *db = open_db();
	sqlite_db_close(&db);
	uv_loop_t loop;
	struct ledger *ledger;
	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_expect_eq(ledger_sqlite_open(&ledger, &loop, path, "a", false, false, &error), ERR_MIGRATION);
	cr_expect_null(ledger);
	cr_expect_eq(uv_loop_close(&loop), 0);
}
