/* SPDX-License-Identifier: MIT */
/* What only the embedded ledger has. */
#include "ledger/ledger_sqlite.h"
#include "ledger_factory.h"
#include "ledger_support.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

static char directory[64];
static char path[128];

static void setup(void)
{
	size_t applied;
	strcpy(directory, "/tmp/reeld-sqlite-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(ledger_sqlite_path(directory, path, sizeof(path)), 0);
	cr_assert_eq(ledger_sqlite_migrate(path, &applied, NULL), 0);
	cr_assert_eq(uv_loop_init(&loop), 0);
}

static void teardown(void)
{
	char side[160];
	cr_expect_eq(uv_loop_close(&loop), 0);
	unlink(path);
	snprintf(side, sizeof(side), "%s-wal", path);
	unlink(side);
	snprintf(side, sizeof(side), "%s-shm", path);
	unlink(side);
	rmdir(directory);
}

TestSuite(ledger_sqlite, .init = setup, .fini = teardown, .timeout = 60);

static struct ledger *open_ledger(const char *owner, bool sole)
{
	struct ledger *ledger;
	struct error error = {0};
	cr_assert_eq(ledger_sqlite_open(&ledger, &loop, path, owner, true, sole, &error), 0, "%s", error.detail);
	return ledger;
}

static size_t claim(struct ledger *ledger, int64_t *epoch)
{
	struct ledger_request request = {.op = LEDGER_CLAIM, .lease_max = 10};
	cr_assert_eq(wait_for(ledger, &request), 0);
	size_t count = request.leased_count;
	if (count > 0)
		*epoch = request.leased[0].epoch;
	ledger_request_release(&request);
	return count;
}

static void forward_leased(struct ledger *ledger, unsigned n)
{
	struct event event = recording_event(n, RECORDING_COMPLETED);
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = &event, .count = 1, .lease_max = 1};
	cr_assert_eq(wait_for(ledger, &request), 0);
	cr_assert_eq(request.leased_count, 1);
	ledger_request_release(&request);
}

Test(ledger_sqlite, who_restarts_alone_takes_over_at_once_and_who_does_not_waits)
{
	int64_t epoch = 0;
	struct ledger *ledger = open_ledger("before", true);
	forward_leased(ledger, 1);
	close_ledger(ledger);
	ledger = open_ledger("beside", false);
	cr_expect_eq(claim(ledger, &epoch), 0, "the lease still holds");
	close_ledger(ledger);
	ledger = open_ledger("after", true);
	cr_expect_eq(claim(ledger, &epoch), 1);
	cr_expect_eq(epoch, 2, "a late writer of the one before has an old epoch");
	close_ledger(ledger);
}

Test(ledger_sqlite, who_starts_several_takes_over_for_them_and_they_leave_each_other_alone)
{
	int64_t epoch = 0;
	struct error error = {0};
	struct ledger *ledger = open_ledger("before", true);
	forward_leased(ledger, 1);
	close_ledger(ledger);
	cr_assert_eq(ledger_sqlite_take_over(path, true, &error), 0, "%s", error.detail);
	ledger = open_ledger("worker-0", false);
	cr_expect_eq(claim(ledger, &epoch), 1, "the lease of the one before has ended");
	struct ledger *beside = open_ledger("worker-1", false);
	cr_expect_eq(claim(beside, &epoch), 0, "that of worker 0 has not");
	close_ledger(beside);
	close_ledger(ledger);
	cr_expect_neq(ledger_sqlite_take_over("/nonexistent/directory/ledger.db", true, &error), 0);
	cr_expect_not_null(strstr(error.detail, "/nonexistent"), "%s", error.detail);
}

Test(ledger_sqlite, a_damaged_file_is_an_error_with_words_and_not_a_new_ledger)
{
	struct ledger *ledger;
	struct error error = {0};
	FILE *file = fopen(path, "w");
	fputs("this is no database, but it is long enough to look at: ", file);
	for (int i = 0; i < 200; i++)
		fputs("0123456789", file);
	fclose(file);
	cr_expect_lt(ledger_sqlite_open(&ledger, &loop, path, "a", true, true, &error), 0);
	cr_expect_null(ledger);
	cr_expect_not_null(strstr(error.detail, path));
	cr_expect_not_null(strstr(error.detail, "not a database"));
}

Test(ledger_sqlite, a_ledger_that_cannot_be_made_says_where)
{
	struct ledger *ledger;
	struct error error = {0};
	cr_expect_lt(ledger_sqlite_open(&ledger, &loop, "/nonexistent/directory/ledger.db", "a", true, true, &error), 0);
	cr_expect_not_null(strstr(error.detail, "/nonexistent/directory/ledger.db"));
}

static void on_done(struct ledger_request *request, int status)
{
	struct waited *waited = request->data;
	waited->done = true;
	waited->status = status;
}

/* Another process that writes for longer than the timeout: an error that means "down", no loss, and up again afterwards. */
Test(ledger_sqlite, a_ledger_that_is_locked_for_long_is_down_until_it_is_not)
{
	struct ledger *ledger = open_ledger("a", true);
	struct waited waited = {0};
	struct event event = recording_event(1, RECORDING_COMPLETED);
	struct ledger_request request = {
		.op = LEDGER_FORWARD, .events = &event, .count = 1, .lease_max = 1, .done = on_done, .data = &waited};
	sqlite3 *other;
	cr_assert_eq(sqlite3_open(path, &other), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	ledger_submit(ledger, &request);
	while (!waited.done)
		turn_run(&loop);
	cr_expect_eq(waited.status, ERR_LEDGER);
	cr_expect_eq(err_class(waited.status), ERR_CLASS_WAIT, "an outage is not charged");
	cr_expect_not_null(strstr(request.error.detail, "locked"));
	cr_expect_not(ledger_up(ledger));
	cr_assert_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	forward_leased(ledger, 1);
	cr_expect(ledger_up(ledger));
	close_ledger(ledger);
}

Test(ledger_sqlite, a_ledger_that_cannot_be_opened_is_told_with_the_systems_reason)
{
	struct ledger *ledger;
	struct error error = {0};
	cr_expect_neq(ledger_sqlite_open(&ledger, &loop, "/nonexistent/ledger.db", "a", true, true, &error), 0);
	cr_expect_not_null(strstr(error.detail, "/nonexistent/ledger.db"), "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, "No such file or directory"), "%s", error.detail);
}

/* How SQLite would run a statement, as one line. */
static void plan_of(sqlite3 *db, size_t statement, char *plan, size_t size)
{
	char sql[2048];
	sqlite3_stmt *stmt;
	cr_assert_lt(snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", ledger_sqlite_sql[statement]), (int)sizeof(sql));
	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
	size_t len = 0;
	while (sqlite3_step(stmt) == SQLITE_ROW && len < size)
		len += (size_t)snprintf(plan + len, size - len, "%s; ", (const char *)sqlite3_column_text(stmt, 3));
	sqlite3_finalize(stmt);
}

Test(ledger_sqlite, what_is_asked_often_finds_its_rows_by_an_index)
{
	static const struct {
		size_t statement;
		const char *index;
	} rows[] = {{STMT_FIND, "recordings_sid"},
		    {STMT_GET, "recordings_sid"},
		    {STMT_RENEW, "recordings_sid"},
		    {STMT_STANDING, "recordings_sid"},
		    {STMT_WAITING, "recordings_due"},
		    {STMT_WORKING, "recordings_leased"},
		    {STMT_DUE, "recordings_due"},
		    {STMT_WAITING_FOR, "recordings_waiting"},
		    {STMT_NEXT_DUE, "recordings_due"},
		    {STMT_COUNT_WAITING, "recordings_due"},
		    {STMT_EXPIRED, "recordings_leased"},
		    {STMT_NEXT_EXPIRY, "recordings_leased"},
		    {STMT_DEAD, "recordings_open"},
		    {STMT_LIST_STATUS, "recordings_open"},
		    {STMT_LIST_STORED, "PRIMARY KEY"},
		    {STMT_LIST_ANY, "PRIMARY KEY"},
		    {STMT_LIST_RECORDING, "recordings_sid"},
		    {STMT_LIST_CALL, "recordings_call"},
		    {STMT_LIST_CONFERENCE, "recordings_conference"},
		    {STMT_STATS_RATED, "calls_rating"},
		    {STMT_STATS_LONGEST, "calls_duration"},
		    {STMT_STATS_LONGEST, "call_segments_call"},
		    {STMT_CALL_FIND, "sqlite_autoindex_calls_1"}};
	sqlite3 *db;
	char plan[1024];
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		plan_of(db, rows[i].statement, plan, sizeof(plan));
		cr_expect_not_null(strstr(plan, rows[i].index), "%s: %s", ledger_sqlite_sql[rows[i].statement], plan);
		cr_expect_null(strstr(plan, "SCAN recordings"), "%s: %s", ledger_sqlite_sql[rows[i].statement], plan);
	}
	static const size_t ordered[] = {STMT_DUE,         STMT_EXPIRED,  STMT_DEAD,        STMT_WAITING_FOR,  STMT_LIST_STATUS,
					 STMT_LIST_STORED, STMT_LIST_ANY, STMT_STATS_RATED, STMT_STATS_LONGEST};
	for (size_t i = 0; i < sizeof(ordered) / sizeof(ordered[0]); i++) {
		plan_of(db, ordered[i], plan, sizeof(plan));
		cr_expect_null(strstr(plan, "TEMP B-TREE"), "%s is sorted: %s", ledger_sqlite_sql[ordered[i]], plan);
	}
	plan_of(db, STMT_COUNTS, plan, sizeof(plan));
	cr_expect_not_null(strstr(plan, "recordings_open"), "%s", plan);
	plan_of(db, STMT_OLDEST, plan, sizeof(plan));
	cr_expect_null(strstr(plan, "TEMP B-TREE"), "%s", plan);
	plan_of(db, STMT_LIST_OPEN, plan, sizeof(plan));
	cr_expect_null(strstr(plan, "SCAN recordings"), "%s", plan);
	/* Figures over all calls read their sums, never the calls. */
	static const size_t summed[] = {STMT_STATS_STATUS, STMT_STATS_DAYS};
	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++) {
		plan_of(db, summed[i], plan, sizeof(plan));
		cr_expect_null(strstr(plan, "calls"), "%s: %s", ledger_sqlite_sql[summed[i]], plan);
	}
	plan_of(db, STMT_STATS_DAYS, plan, sizeof(plan));
	cr_expect_not_null(strstr(plan, "SEARCH c USING PRIMARY KEY (day=?)"), "%s", plan);
	sqlite3_close(db);
}
