/* SPDX-License-Identifier: MIT */
/* What the disk may do to a commit, and what the client is told. */
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

TestSuite(commit, .init = setup, .fini = teardown, .timeout = 60);

/* Every descriptor that had a failed write or sync, and what was tried on its file after that. */
static struct {
	pthread_mutex_t mutex;
	ino_t poisoned[16];
	unsigned poisoned_count;
	unsigned touched_again;
	unsigned skip;
	unsigned times;
	enum file_op op;
} watch = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int watch_hook(void *data, const struct file_call *call)
{
	int result = 0;
	struct stat st;
	if ((call->op != FILE_WRITE && call->op != FILE_SYNC) || fstat(call->fd, &st) != 0)
		return 0;
	pthread_mutex_lock(&watch.mutex);
	for (unsigned i = 0; i < watch.poisoned_count; i++)
		watch.touched_again += watch.poisoned[i] == st.st_ino;
	if (call->op == watch.op && watch.times > 0) {
		if (watch.skip > 0) {
			watch.skip--;
		} else {
			watch.times--;
			watch.poisoned[watch.poisoned_count++] = st.st_ino;
			result = EIO;
		}
	}
	pthread_mutex_unlock(&watch.mutex);
	return result;
}

static void spares_ready(void)
{
	RUN_UNTIL(&f, !f.journal->janitor.busy && f.journal->spare_count > 0);
}

static void fails_once(enum file_op op)
{
	unsigned seen[120] = {0};
	struct event events[20];
	OPEN(&f);
	events_append(&f, 0, 10, 300);
	spares_ready();
	watch.op = op;
	watch.times = 1;
	file_set_hook(watch_hook, NULL);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(event_append(&f, &events[i], 10 + i, 300), 0);
	RUN_UNTIL(&f, events[19].calls == 1);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert_eq(events[i].calls, 1);
		cr_assert_eq(events[i].status, 0, "the batch went into a fresh segment");
	}
	events_append(&f, 30, 90, 300);
	cr_assert_eq(read_all(&f, 0, seen, 120), 120);
	for (unsigned i = 0; i < 120; i++)
		cr_assert_eq(seen[i], 1);
	/* Also after everything was forwarded and segments were used anew. */
	for (unsigned i = 0; i < 10; i++) {
		journal_checkpoint(f.journal, stats_of(&f).durable);
		events_append(&f, 0, 40, 700);
	}
	fixture_close(&f);
	cr_assert_eq(watch.poisoned_count, 1);
	cr_assert_eq(watch.touched_again, 0, "a failed segment is never written or synced again");
	file_set_hook(fault_hook, &f.faults);
}

Test(commit, a_failed_sync_is_not_believed_and_its_batch_goes_into_a_fresh_segment)
{
	fails_once(FILE_SYNC);
}

Test(commit, a_failed_write_is_not_repeated_and_its_batch_goes_into_a_fresh_segment)
{
	fails_once(FILE_WRITE);
}

Test(commit, a_rewritten_batch_counts_once_after_a_restart_even_if_half_of_it_is_in_the_failed_segment)
{
	unsigned seen[30] = {0};
	struct event events[20];
	OPEN(&f);
	events_append(&f, 0, 10, 300);
	spares_ready();
	/* The write gets through, the sync fails: the failed segment verifies to its end. */
	fault_set(&f, FILE_SYNC, 0, 1, EIO);
	uint64_t damaged = f.journal->active->id;
	uint64_t behind = f.journal->active->durable;
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(event_append(&f, &events[i], 10 + i, 300), 0);
	RUN_UNTIL(&f, events[19].calls == 1);
	cr_assert_eq(events[19].status, 0);
	fixture_close(&f);
	/* And the disk lost its third record: what the fresh segment has of it must count. */
	char path[128];
	char name[SEGMENT_NAME_SIZE];
	segment_name(damaged, name);
	snprintf(path, sizeof(path), "%s/%s", f.directory, name);
	int fd = open(path, O_RDWR);
	const char zeros[300] = {0};
	cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), (off_t)(behind + 2 * record_size(300))), (ssize_t)sizeof(zeros));
	close(fd);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 30);
	cr_assert_eq(read_all(&f, 0, seen, 30), 30);
	for (unsigned i = 0; i < 30; i++)
		cr_assert_eq(seen[i], 1, "event %u", i);
}

static void fails_twice(int error, int expected)
{
	struct event events[10];
	struct event late;
	unsigned seen[100] = {0};
	OPEN(&f);
	events_append(&f, 0, 10, 300);
	spares_ready();
	fault_set(&f, FILE_SYNC, 0, 1000000, error);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(event_append(&f, &events[i], 10 + i, 300), 0);
	RUN_UNTIL(&f, events[9].calls == 1);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(events[i].calls, 1);
		cr_assert_eq(events[i].status, expected);
	}
	cr_assert_eq(event_append(&f, &late, 50, 300), expected);
	cr_assert_not(stats_of(&f).accepting);
	cr_assert_eq(stats_of(&f).last_error, expected);
	/* What was durable before stays readable. */
	cr_assert_eq(read_all(&f, 0, seen, 100), 10);
	fault_clear(&f);
	RUN_UNTIL(&f, stats_of(&f).accepting);
	events_append(&f, 60, 40, 300);
	memset(seen, 0, sizeof(seen));
	cr_assert_eq(read_all(&f, 0, seen, 100), 50);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(seen[i], i < 10 || i >= 60);
}

Test(commit, a_disk_that_fails_twice_refuses_and_recovers_without_a_restart)
{
	fails_twice(EIO, ERR_JOURNAL_FAILED);
}

Test(commit, a_disk_that_is_full_even_for_overwriting_says_so)
{
	fails_twice(ENOSPC, ERR_NO_SPACE);
}

Test(commit, refused_sequences_are_not_given_out_again)
{
	struct event refused;
	struct event taken;
	OPEN(&f);
	events_append(&f, 0, 3, 100);
	spares_ready();
	fault_set(&f, FILE_SYNC, 0, 1000000, EIO);
	cr_assert_eq(event_append(&f, &refused, 3, 100), 0);
	RUN_UNTIL(&f, refused.calls == 1);
	fault_clear(&f);
	cr_assert_eq(refused.status, ERR_JOURNAL_FAILED);
	RUN_UNTIL(&f, stats_of(&f).accepting);
	cr_assert_eq(event_append(&f, &taken, 4, 100), 0);
	cr_assert_gt(taken.append.sequence, refused.append.sequence);
	RUN_UNTIL(&f, taken.calls == 1);
	cr_assert_eq(taken.status, 0);
}

Test(commit, short_writes_are_continued)
{
	unsigned seen[50] = {0};
	OPEN(&f);
	events_append(&f, 0, 1, 100);
	spares_ready();
	fault_set(&f, FILE_WRITE, 0, 1000, -37);
	events_append(&f, 1, 20, 300);
	fault_clear(&f);
	events_append(&f, 21, 29, 300);
	cr_assert_eq(read_all(&f, 0, seen, 50), 50);
}

Test(commit, a_batch_larger_than_a_segment_goes_over_several)
{
	unsigned seen[100] = {0};
	f.options.max_pending_bytes = 1024 * 1024;
	OPEN(&f);
	/* 100 KB at once into segments of 12 KB: it waits for the spares that are being made. */
	events_append(&f, 0, 100, 1000);
	cr_assert_eq(read_all(&f, 0, seen, 100), 100);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(seen[i], 1);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 100);
}

Test(commit, the_part_of_a_batch_that_is_durable_is_acknowledged_when_the_rest_cannot_be)
{
	struct event events[40];
	OPEN(&f);
	events_append(&f, 0, 1, 100);
	spares_ready();
	/* The active segment and one spare take about 22 of these, then there are no more. */
	fault_set(&f, FILE_ALLOCATE, 0, 1000000, ENOSPC);
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(event_append(&f, &events[i], i, 1000), 0);
	RUN_UNTIL(&f, events[39].calls == 1);
	unsigned durable = 0;
	while (durable < 40 && events[durable].status == 0)
		durable++;
	cr_assert_gt(durable, 15);
	cr_assert_lt(durable, 30);
	for (unsigned i = durable; i < 40; i++)
		cr_assert_eq(events[i].status, ERR_NO_SPACE);
	cr_assert_eq(stats_of(&f).durable, durable + 1);
}

#define STREAM_MAX 2000

static struct {
	struct event events[STREAM_MAX];
	unsigned sent;
	bool lingered;
	uv_idle_t arrivals; /* runs once a turn */
} stream;

static void stream_arrives(uv_idle_t *idle)
{
	stream.lingered = stream.lingered || f.journal->lingering;
	if (stream.lingered || stream.sent == STREAM_MAX) {
		uv_idle_stop(idle);
		return;
	}
	cr_assert_eq(event_append(&f, &stream.events[stream.sent], stream.sent, 100), 0);
	stream.sent++;
}

Test(commit, a_batch_that_still_grows_waits_and_goes_out_as_soon_as_it_does_not)
{
	f.options.segment_bytes = 4 * 1024 * 1024;
	f.options.max_bytes = 64 * 1024 * 1024;
	OPEN(&f);
	events_append(&f, 0, 1, 100);
	f.journal->commit_ns = 100000000;
	uv_idle_init(&f.loop, &stream.arrivals);
	uv_idle_start(&stream.arrivals, stream_arrives);
	RUN_UNTIL(&f, !uv_is_active((uv_handle_t *)&stream.arrivals));
	cr_expect(stream.lingered, "every poll's one event was a commit");
	/* No timer has to fire for it: the turn after the last arrival finds nothing new. */
	uv_run(&f.loop, UV_RUN_NOWAIT);
	cr_expect_not(f.journal->lingering);
	RUN_UNTIL(&f, stream.events[stream.sent - 1].calls == 1);
	uv_close((uv_handle_t *)&stream.arrivals, NULL);
}

Test(commit, an_event_that_comes_alone_does_not_wait)
{
	struct event event;
	OPEN(&f);
	spares_ready();
	cr_assert_eq(event_append(&f, &event, 1, 100), 0);
	uv_run(&f.loop, UV_RUN_NOWAIT);
	cr_expect(f.journal->writer.busy || event.calls == 1, "the first turn hands it to the writer");
	RUN_UNTIL(&f, event.calls == 1);
	cr_assert_eq(event.status, 0);
}
