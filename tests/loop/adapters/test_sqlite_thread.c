/* SPDX-License-Identifier: MIT */
#include "adapters/sqlite_thread.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INSERT, COUNT, SYNC, JOURNAL, STMTS };
static const char *const sql[STMTS] = {
	[INSERT] = "INSERT INTO t (k, v) VALUES (?, ?)",
	[COUNT] = "SELECT count(*) FROM t",
	[SYNC] = "SELECT synchronous FROM pragma_synchronous",
	[JOURNAL] = "SELECT journal_mode FROM pragma_journal_mode",
};

static char directory[64];
static char path[128];
static uv_loop_t loop;
static struct sqlite_thread *sqlite;
static unsigned runs;

struct item {
	struct list link;
	int64_t key;        /* -1: count */
	size_t bytes;       /* of value */
	const char *second; /* a statement run after the insert, to fail there */
	int64_t counted;
	int status;
	char detail[256];
	unsigned settled;
	unsigned done;
};

static struct item *item_of(struct list *link)
{
	return LIST_ENTRY(link, struct item, link);
}

static bool writes(const struct list *link)
{
	return LIST_ENTRY(link, const struct item, link)->key != -1;
}

static int run(void *context, struct sqlite_db *db, struct list *link)
{
	struct item *item = item_of(link);
	(void)context;
	runs++;
	if (item->key == -1) {
		struct sqlite_stmt *stmt = sqlite_stmt_begin(db, COUNT);
		int row = sqlite_stmt_step(stmt);
		item->counted = row == 1 ? sqlite_column_i64(stmt, 0, -1) : -1;
		sqlite_stmt_end(stmt);
		return row < 0 ? row : 0;
	}
	char *value = calloc(1, item->bytes + 1);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(db, INSERT);
	sqlite_bind_i64(stmt, item->key);
	sqlite_bind_blob(stmt, value, item->bytes);
	int status = sqlite_stmt_run(stmt);
	free(value);
	return status == 0 && item->second != NULL ? sqlite_db_exec(db, item->second) : status;
}

static void settle(void *context, struct list *link, int status, const struct error *error)
{
	struct item *item = item_of(link);
	(void)context;
	item->status = status;
	item->settled++;
	snprintf(item->detail, sizeof(item->detail), "%s", status != 0 && error != NULL ? error->detail : "");
}

static void done(void *context, struct list *link)
{
	(void)context;
	item_of(link)->done++;
}

static const struct sqlite_thread_ops ops = {.writes = writes, .run = run, .settle = settle, .done = done};

static struct sqlite_db *open_db(int busy_timeout_ms)
{
	struct sqlite_db *db;
	struct error error = {0};
	cr_assert_eq(sqlite_db_open(&db, &(struct sqlite_db_options){path, true, sql, STMTS, busy_timeout_ms}, &error), 0, "%s",
		     error.detail);
	return db;
}

static void start(struct sqlite_db *db, size_t max_queue)
{
	struct error error = {0};
	cr_assert_eq(sqlite_thread_start(&sqlite, &(struct sqlite_thread_options){&loop, db, &ops, NULL, max_queue}, &error), 0,
		     "%s", error.detail);
}

static void closed(void *data)
{
	*(bool *)data = true;
}

static void stop(void)
{
	bool flag = false;
	sqlite_thread_close(sqlite, closed, &flag);
	cr_expect_not(flag);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect(flag);
	sqlite = NULL;
}

static void setup(void)
{
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	strcpy(directory, "/tmp/reeld-thread-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/t.db", directory);
	cr_assert_eq(uv_loop_init(&loop), 0);
	struct sqlite_db *db = open_db(1000);
	cr_assert_eq(sqlite_db_exec(db, "CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)"), 0);
	sqlite_db_close(&db);
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
	cr_expect_eq(rmdir(directory), 0);
}

TestSuite(sqlite_thread, .init = setup, .fini = teardown, .timeout = 60);

static void submit(struct item *item)
{
	list_init(&item->link);
	sqlite_thread_submit(sqlite, &item->link);
	cr_expect_eq(item->done, 0, "done came inside the call");
}

static void wait_done(const struct item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		while (items[i].done == 0)
			cr_assert(turn_run(&loop) != 0 || items[i].done);
	}
}

static int64_t count_rows(void)
{
	struct item item = {.key = -1};
	submit(&item);
	wait_done(&item, 1);
	cr_expect_eq(item.status, 0);
	return item.counted;
}

Test(sqlite_thread, a_commit_is_synced_and_the_file_is_for_its_owner_only)
{
	struct sqlite_db *db = open_db(0);
	struct stat st;
	char mode[16];
	struct sqlite_stmt *stmt = sqlite_stmt_begin(db, SYNC);
	cr_assert_eq(sqlite_stmt_step(stmt), 1);
	cr_expect_eq(sqlite_column_i64(stmt, 0, -1), 2, "synchronous = FULL");
	sqlite_stmt_end(stmt);
	stmt = sqlite_stmt_begin(db, JOURNAL);
	cr_assert_eq(sqlite_stmt_step(stmt), 1);
	sqlite_column_text(stmt, 0, mode, sizeof(mode));
	cr_expect_str_eq(mode, "wal");
	sqlite_stmt_end(stmt);
	sqlite_db_close(&db);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 077, 0);
}

Test(sqlite_thread, writes_then_reads_each_answered_once)
{
	struct item items[300] = {0};
	start(open_db(0), 1000);
	for (size_t i = 0; i < 300; i++) {
		items[i].key = (int64_t)i + 1;
		submit(&items[i]);
	}
	wait_done(items, 300);
	cr_expect_eq(count_rows(), 300);
	for (size_t i = 0; i < 300; i++) {
		cr_expect_eq(items[i].status, 0);
		cr_expect_eq(items[i].done, 1);
		cr_expect_eq(items[i].settled, 1);
	}
	stop();
}

Test(sqlite_thread, one_that_fails_half_way_is_undone_alone)
{
	struct item items[40] = {0};
	start(open_db(0), 1000);
	for (size_t i = 0; i < 40; i++) {
		items[i].key = (int64_t)i + 1;
		items[i].second = i % 7 == 3 ? "INSERT INTO t (k) VALUES (1)" : NULL;
		submit(&items[i]);
	}
	wait_done(items, 40);
	for (size_t i = 0; i < 40; i++) {
		cr_expect_eq(items[i].status, i % 7 == 3 ? ERR_INVALID : 0, "item %zu: %d", i, items[i].status);
		cr_expect_eq(items[i].settled, 1);
	}
	cr_expect_not_null(strstr(items[3].detail, "UNIQUE"));
	cr_expect_eq(count_rows(), 40 - 6);
	stop();
}

Test(sqlite_thread, a_full_disk_refuses_what_does_not_fit_and_takes_what_does_afterwards)
{
	struct item items[20] = {0};
	struct sqlite_db *db = open_db(0);
	cr_assert_eq(sqlite_db_exec(db, "PRAGMA max_page_count = 40"), 0);
	start(db, 1000);
	for (size_t i = 0; i < 20; i++) {
		items[i].key = (int64_t)i + 1;
		items[i].bytes = i == 5 ? 1 << 20 : 100;
		submit(&items[i]);
	}
	wait_done(items, 20);
	cr_expect_eq(items[5].status, ERR_NO_SPACE);
	cr_expect_neq(items[5].detail[0], '\0');
	int64_t committed = 0;
	for (size_t i = 0; i < 20; i++) {
		cr_expect(items[i].status == 0 || items[i].status == ERR_NO_SPACE, "item %zu: %d", i, items[i].status);
		committed += items[i].status == 0;
	}
	cr_expect_eq(count_rows(), committed, "what was answered 0 is there, and nothing else");
	struct item after = {.key = 1000};
	submit(&after);
	wait_done(&after, 1);
	cr_expect_eq(after.status, 0);
	stop();
}

Test(sqlite_thread, another_processes_transaction_is_an_error_after_the_timeout_and_passes)
{
	struct item items[3] = {{.key = 1}, {.key = 2}, {.key = 3}};
	struct sqlite_db *other = open_db(0);
	cr_assert_eq(sqlite_db_exec(other, "BEGIN IMMEDIATE"), 0);
	start(open_db(50), 1000);
	submit(&items[0]);
	submit(&items[1]);
	wait_done(items, 2);
	cr_expect_eq(items[0].status, ERR_LEDGER);
	cr_expect_eq(items[1].status, ERR_LEDGER);
	cr_expect_not_null(strstr(items[0].detail, "locked"));
	cr_expect_eq(count_rows(), 0, "reading goes on");
	cr_assert_eq(sqlite_db_exec(other, "COMMIT"), 0);
	submit(&items[2]);
	wait_done(&items[2], 1);
	cr_expect_eq(items[2].status, 0);
	stop();
	sqlite_db_close(&other);
}

Test(sqlite_thread, a_full_queue_refuses_instead_of_growing)
{
	struct item items[10] = {0};
	struct sqlite_db *other = open_db(0);
	cr_assert_eq(sqlite_db_exec(other, "BEGIN IMMEDIATE"), 0);
	start(open_db(300), 4); /* the thread waits for the other one with at most the first few */
	for (size_t i = 0; i < 10; i++) {
		items[i].key = (int64_t)i + 1;
		submit(&items[i]);
	}
	cr_assert_eq(sqlite_db_exec(other, "COMMIT"), 0);
	wait_done(items, 10);
	int refused = 0;
	for (size_t i = 0; i < 10; i++) {
		cr_expect(items[i].status == 0 || items[i].status == ERR_LEDGER);
		refused += items[i].status == ERR_LEDGER;
	}
	cr_expect_geq(refused, 2);
	cr_expect_eq(count_rows(), 10 - refused);
	stop();
	sqlite_db_close(&other);
}

Test(sqlite_thread, closed_with_work_in_the_queue_it_does_the_work_and_cancels_the_rest)
{
	for (int turns = 0; turns < 8; turns++) {
		struct item items[20] = {0};
		start(open_db(0), 1000);
		for (size_t i = 0; i < 10; i++) {
			items[i].key = turns * 100 + (int64_t)i + 1;
			submit(&items[i]);
		}
		for (int i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		bool flag = false;
		sqlite_thread_close(sqlite, closed, &flag);
		for (size_t i = 10; i < 20; i++) {
			items[i].key = turns * 100 + (int64_t)i + 1;
			submit(&items[i]);
		}
		uv_run(&loop, UV_RUN_DEFAULT);
		cr_expect(flag);
		for (size_t i = 0; i < 20; i++) {
			cr_expect_eq(items[i].done, 1, "item %zu, %u times", i, items[i].done);
			cr_expect_eq(items[i].status, i < 10 ? 0 : ERR_CANCELLED);
		}
	}
}

static void on_timer(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static off_t size_of(const char *suffix)
{
	char name[160];
	struct stat st;
	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &st) == 0 ? st.st_size : 0;
}

Test(sqlite_thread, when_idle_the_wal_goes_to_the_database)
{
	struct item item = {.key = 1, .bytes = 300000};
	start(open_db(0), 10);
	submit(&item);
	wait_done(&item, 1);
	cr_expect_lt(size_of(""), 300000, "not inside the commit");
	uv_timer_t timer;
	bool over = false;
	uv_timer_init(&loop, &timer);
	timer.data = &over;
	uint64_t begin = clock_mono_ns();
	while (size_of("") < 300000 && clock_mono_ns() - begin < 5000000000ULL) {
		over = false;
		uv_timer_start(&timer, on_timer, 20, 0);
		while (!over)
			turn_run(&loop);
	}
	cr_expect_geq(size_of(""), 300000);
	uv_close((uv_handle_t *)&timer, NULL);
	stop();
	cr_expect_eq(size_of("-wal"), 0);
}

Test(sqlite_thread, under_load_the_wal_stays_bounded)
{
	start(open_db(0), 10);
	for (int i = 0; i < 120; i++) {
		struct item item = {.key = i + 1, .bytes = 1 << 20};
		submit(&item);
		wait_done(&item, 1);
		cr_assert_eq(item.status, 0);
		cr_assert_lt(size_of("-wal"), 40 << 20, "after %d MiB", i + 1);
	}
	stop();
}
