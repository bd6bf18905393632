/* SPDX-License-Identifier: MIT */
/* What a user of the journal sees: open, append, acknowledge, statistics, close. */
#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_end(&f);
}

TestSuite(journal, .init = setup, .fini = teardown, .timeout = 60);

Test(journal, an_append_is_called_back_once_and_never_inside_the_call)
{
	struct event event;
	OPEN(&f);
	cr_assert_eq(event_append(&f, &event, 1, 300), 0);
	cr_assert_eq(event.calls, 0);
	cr_assert_eq(event.append.sequence, 1);
	RUN_UNTIL(&f, event.calls > 0);
	cr_assert_eq(event.status, 0);
	uv_run(&f.loop, UV_RUN_NOWAIT);
	cr_assert_eq(event.calls, 1);
	cr_assert_eq(f.commits, 1);
	cr_assert_eq(stats_of(&f).events, 1);
	cr_assert_eq(stats_of(&f).durable, 1);
}

Test(journal, appends_of_one_turn_share_one_write_and_one_sync)
{
	struct event events[20];
	OPEN(&f);
	events_append(&f, 0, 1, 100);
	RUN_UNTIL(&f, !f.journal->janitor.busy);
	unsigned syncs = fault_calls(&f, FILE_SYNC);
	unsigned writes = fault_calls(&f, FILE_WRITE);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(event_append(&f, &events[i], i, 100), 0);
	RUN_UNTIL(&f, events[19].calls == 1);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(events[i].calls, 1);
	cr_assert_eq(fault_calls(&f, FILE_SYNC) - syncs, 1);
	cr_assert_eq(fault_calls(&f, FILE_WRITE) - writes, 1);
}

Test(journal, a_callback_comes_only_after_the_sync_of_its_write)
{
	struct event event;
	OPEN(&f);
	events_append(&f, 0, 1, 100);
	RUN_UNTIL(&f, !f.journal->janitor.busy);
	for (unsigned i = 0; i < 50; i++) {
		unsigned syncs = fault_calls(&f, FILE_SYNC);
		cr_assert_eq(event_append(&f, &event, i, 100), 0);
		while (event.calls == 0) {
			cr_assert_eq(event.calls, 0);
			uv_run(&f.loop, UV_RUN_ONCE);
		}
		cr_assert_gt(fault_calls(&f, FILE_SYNC), syncs);
	}
}

Test(journal, what_was_appended_is_read_back_and_read_again_after_a_restart)
{
	unsigned seen[200] = {0};
	OPEN(&f);
	events_append(&f, 0, 200, 500);
	cr_assert_eq(read_all(&f, 0, seen, 200), 200);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 200);
	cr_assert_eq(read_all(&f, 0, seen, 200), 200);
	for (unsigned i = 0; i < 200; i++)
		cr_assert_eq(seen[i], 2);
}

Test(journal, sequences_rise_over_restarts_also_when_all_was_forwarded)
{
	uint64_t last = 0;
	for (unsigned round = 0; round < 5; round++) {
		struct event event;
		OPEN(&f);
		for (unsigned i = 0; i < 60; i++) {
			cr_assert_eq(event_append(&f, &event, i, 700), 0);
			cr_assert_gt(event.append.sequence, last);
			last = event.append.sequence;
			RUN_UNTIL(&f, event.calls == 1);
			journal_checkpoint(f.journal, last);
		}
		fixture_close(&f);
	}
}

Test(journal, an_empty_payload_and_the_largest_one_come_back)
{
	struct event events[2];
	f.options.segment_bytes = 4 * 1024 * 1024;
	f.options.max_bytes = 16 * f.options.segment_bytes;
	OPEN(&f);
	cr_assert_eq(event_append(&f, &events[0], 1, 0), 0);
	cr_assert_eq(event_append(&f, &events[1], 2, RECORD_PAYLOAD_MAX), 0);
	RUN_UNTIL(&f, events[1].calls == 1);
	struct reading reading;
	reading_run(&f, &reading, 0, 10, 100);
	cr_assert_eq(reading.read.count, 1);
	cr_assert_eq(reading.read.records[0].payload.len, 0);
	journal_read_release(&reading.read);
	reading_run(&f, &reading, 1, 10, 100);
	cr_assert_eq(reading.read.count, 1);
	cr_assert_eq(reading.read.records[0].payload.len, RECORD_PAYLOAD_MAX);
	cr_assert_eq(record_number(&reading.read.records[0]), 2);
	journal_read_release(&reading.read);
	/* One byte more is refused. */
	cr_assert_eq(event_append(&f, &events[0], 1, RECORD_PAYLOAD_MAX + 1), ERR_TOO_LARGE);
}

Test(journal, a_payload_that_no_segment_takes_is_refused)
{
	struct event event;
	OPEN(&f);
	cr_assert_eq(event_append(&f, &event, 1, SMALL_SEGMENT), ERR_TOO_LARGE);
	cr_assert_eq(event_append(&f, &event, 1, SMALL_SEGMENT - HEADER_BLOCK_SIZE - RECORD_HEADER_SIZE), 0);
	RUN_UNTIL(&f, event.calls == 1);
	cr_assert_eq(event.status, 0);
}

Test(journal, appends_beyond_the_pending_limit_are_refused_until_some_are_durable)
{
	struct event events[100];
	unsigned taken = 0;
	f.options.max_pending_bytes = 10 * 1024;
	OPEN(&f);
	for (unsigned i = 0; i < 100; i++) {
		int r = event_append(&f, &events[i], i, 1000);
		if (r != 0) {
			cr_assert_eq(r, ERR_JOURNAL_FULL);
			break;
		}
		taken++;
	}
	cr_assert_eq(taken, 10);
	RUN_UNTIL(&f, events[taken - 1].calls == 1);
	cr_assert_eq(event_append(&f, &events[0], 1, 1000), 0);
	RUN_UNTIL(&f, events[0].calls == 1);
}

Test(journal, memory_of_a_burst_is_given_back)
{
	struct event *events = calloc(2000, sizeof(*events));
	f.options.segment_bytes = 4 * 1024 * 1024;
	f.options.max_bytes = 16 * f.options.segment_bytes;
	OPEN(&f);
	for (unsigned i = 0; i < 2000; i++)
		cr_assert_eq(event_append(&f, &events[i], i, 1000), 0);
	RUN_UNTIL(&f, events[1999].calls == 1);
	RUN_UNTIL(&f, f.journal->pending == 0);
	cr_assert_leq(f.journal->batches[0].capacity, BATCH_CAPACITY_IDLE);
	cr_assert_leq(f.journal->batches[1].capacity, BATCH_CAPACITY_IDLE);
	free(events);
}

Test(journal, a_second_process_is_told_who_has_the_directory)
{
	OPEN(&f);
	struct journal *other = NULL;
	struct error error;
	char pid[32];
	cr_assert_eq(journal_open(&other, &f.loop, &f.options, &error), ERR_LOCKED);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	cr_assert_not_null(strstr(error.detail, pid), "%s", error.detail);
	cr_assert_not_null(strstr(error.detail, f.directory), "%s", error.detail);
	fixture_close(&f);
	OPEN(&f);
}

Test(journal, missing_directories_are_made_private)
{
	char path[160];
	char inner[96];
	struct stat st;
	snprintf(inner, sizeof(inner), "%s/a", f.directory);
	snprintf(path, sizeof(path), "%s/b", inner);
	f.options.directory = path;
	OPEN(&f);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	fixture_close(&f);
	remove_directory(path);
	rmdir(inner);
}

Test(journal, a_directory_that_is_a_file_is_an_error_with_its_name)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/file", f.directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	f.options.directory = path;
	cr_assert_neq(fixture_open(&f), 0);
	cr_assert_not_null(strstr(f.error.detail, path), "%s", f.error.detail);
}

Test(journal, statistics_count_what_the_ledger_lacks)
{
	OPEN(&f);
	cr_assert_eq(stats_of(&f).oldest_ms, -1);
	cr_assert(stats_of(&f).accepting);
	int64_t before = clock_wall_ms();
	events_append(&f, 0, 100, 400);
	struct journal_stats stats = stats_of(&f);
	cr_assert_eq(stats.events, 100);
	cr_assert_geq(stats.oldest_ms, before);
	cr_assert_leq(stats.oldest_ms, clock_wall_ms());
	cr_assert_geq(stats.bytes, 3 * SMALL_SEGMENT);
	cr_assert_eq(stats.pending_bytes, 0);
	journal_checkpoint(f.journal, 33);
	cr_assert_eq(stats_of(&f).events, 67);
	cr_assert_eq(stats_of(&f).checkpoint, 33);
	/* It never moves back, and not past what is durable. */
	journal_checkpoint(f.journal, 20);
	cr_assert_eq(stats_of(&f).checkpoint, 33);
	journal_checkpoint(f.journal, 1000);
	cr_assert_eq(stats_of(&f).checkpoint, 100);
	cr_assert_eq(stats_of(&f).events, 0);
	cr_assert_eq(stats_of(&f).oldest_ms, -1);
}

Test(journal, the_age_of_the_oldest_event_survives_a_restart)
{
	OPEN(&f);
	events_append(&f, 0, 1, 100);
	int64_t oldest = stats_of(&f).oldest_ms;
	cr_assert_gt(oldest, 0);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).oldest_ms, oldest);
}

/* Appends from inside callbacks, as a server does. */
static unsigned chain_left;
static void chain_done(struct journal_append *append, int status)
{
	cr_assert_eq(status, 0);
	if (--chain_left == 0)
		return;
	const struct slice part = SLICE("again");
	cr_assert_eq(journal_append(f.journal, append, &part, 1), 0);
}

Test(journal, appends_from_inside_callbacks_do_not_stall)
{
	struct journal_append append = {.done = chain_done};
	const struct slice part = SLICE("first");
	OPEN(&f);
	chain_left = 500;
	cr_assert_eq(journal_append(f.journal, &append, &part, 1), 0);
	/* Nothing but the journal keeps this loop alive. */
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(chain_left, 0);
}

Test(journal, an_idle_journal_keeps_no_loop_alive)
{
	OPEN(&f);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	events_append(&f, 0, 3, 100);
	uv_run(&f.loop, UV_RUN_DEFAULT);
}

Test(journal, closing_syncs_what_was_appended)
{
	struct event events[50];
	unsigned seen[50] = {0};
	OPEN(&f);
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(event_append(&f, &events[i], i, 900), 0);
	fixture_close(&f);
	for (unsigned i = 0; i < 50; i++) {
		cr_assert_eq(events[i].calls, 1);
		cr_assert_eq(events[i].status, 0);
	}
	OPEN(&f);
	cr_assert_eq(read_all(&f, 0, seen, 50), 50);
}

Test(journal, closing_at_every_turn_gives_exactly_one_callback_per_append)
{
	for (unsigned turns = 0; turns < 12; turns++) {
		struct event events[40];
		struct reading reading;
		OPEN(&f);
		for (unsigned i = 0; i < 40; i++)
			cr_assert_eq(event_append(&f, &events[i], i, 900), 0);
		reading_start(&f, &reading, 0, 10, 10000);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&f.loop, UV_RUN_NOWAIT);
		f.closed = false;
		journal_close(f.journal, fixture_closed, &f);
		cr_assert_not(f.closed);
		struct event late;
		cr_assert_eq(event_append(&f, &late, 1, 10), ERR_CANCELLED);
		RUN_UNTIL(&f, f.closed);
		f.journal = NULL;
		for (unsigned i = 0; i < 40; i++)
			cr_assert_eq(events[i].calls, 1, "turn %u: append %u called back %u times", turns, i, events[i].calls);
		cr_assert_eq(reading.calls, 1);
		journal_read_release(&reading.read);
	}
}

Test(journal, a_closed_journal_leaves_the_directory_to_the_next)
{
	OPEN(&f);
	fixture_close(&f);
	OPEN(&f);
	events_append(&f, 0, 5, 100);
}

Test(journal, the_name_of_a_new_directory_is_durable_before_anything_is_in_it)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/data/journal", f.options.directory);
	cr_assert_eq(file_make_directories(path, 0700), 0);
	cr_assert_eq(fault_calls(&f, FILE_MKDIR), 2);
	cr_assert_eq(fault_calls(&f, FILE_SYNC_DIRECTORY), 2);
	cr_assert_eq(file_make_directories(path, 0700), 0);
	cr_assert_eq(fault_calls(&f, FILE_SYNC_DIRECTORY), 2, "it was there");
	snprintf(path, sizeof(path), "%s/data/journal/more", f.options.directory);
	fault_set(&f, FILE_SYNC_DIRECTORY, 0, 1, EIO);
	cr_assert_eq(file_make_directories(path, 0700), -EIO);
}
