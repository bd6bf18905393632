/* SPDX-License-Identifier: MIT */
/* A journal that is only to be emptied and then removed, and the lock that several processes share. */
#include "fixture.h"

#include <poll.h>
#include <sys/wait.h>

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_end(&f);
}

TestSuite(journal_drain, .init = setup, .fini = teardown, .timeout = 60);

static void fill(unsigned count)
{
	OPEN(&f);
	events_append(&f, 0, count, 500);
	fixture_close(&f);
}

Test(journal_drain, events_are_read_and_checkpointed_and_none_is_taken)
{
	unsigned seen[100] = {0};
	struct event event;
	fill(100);
	unsigned files = count_files(f.directory, "");
	f.options.drain = true;
	OPEN(&f);
	cr_expect_eq(event_append(&f, &event, 1, 100), ERR_CANCELLED);
	cr_expect_not(stats_of(&f).accepting);
	cr_expect_eq(read_all(&f, 0, seen, 100), 100);
	for (unsigned i = 0; i < 100; i++)
		cr_expect_eq(seen[i], 1);
	journal_checkpoint(f.journal, 60);
	fixture_close(&f);
	cr_expect_leq(count_files(f.directory, ""), files + 1, "the checkpoint may be new, a segment not");
	OPEN(&f);
	cr_expect_eq(stats_of(&f).events, 40, "the checkpoint was kept");
	journal_checkpoint(f.journal, 100);
	cr_expect_eq(stats_of(&f).checkpoint, stats_of(&f).durable);
}

Test(journal_drain, an_empty_one_makes_no_segment)
{
	f.options.drain = true;
	OPEN(&f);
	RUN_UNTIL(&f, !f.journal->janitor.busy);
	cr_expect_eq(stats_of(&f).bytes, 0);
	cr_expect_eq(stats_of(&f).checkpoint, stats_of(&f).durable);
}

Test(journal_drain, what_was_removed_is_gone_and_removing_it_again_is_no_error)
{
	fill(100);
	cr_assert_eq(journal_remove(f.directory, &f.error), 0, "%s", f.error.detail);
	cr_expect_eq(access(f.directory, F_OK), -1);
	cr_expect_eq(journal_remove(f.directory, &f.error), 0);
}

Test(journal_drain, a_removal_that_is_cut_short_leaves_a_journal_and_can_be_repeated)
{
	unsigned cuts = 0;
	for (unsigned n = 0;; n++) {
		f.options.drain = false;
		fill(100);
		fault_set(&f, FILE_UNLINK, n, 1000, EIO);
		int r = journal_remove(f.directory, &f.error);
		fault_clear(&f);
		if (r == 0)
			break;
		cuts++;
		cr_assert_not_null(strstr(f.error.detail, f.directory), "%s", f.error.detail);
		f.options.drain = true;
		OPEN(&f);
		/* Some of them once more, or none: never anything else. */
		unsigned seen[100] = {0};
		read_all(&f, stats_of(&f).checkpoint, seen, 100);
		fixture_close(&f);
		cr_assert_eq(journal_remove(f.directory, &f.error), 0, "%s", f.error.detail);
		cr_assert_eq(access(f.directory, F_OK), -1);
	}
	cr_expect_geq(cuts, 4, "segments, the checkpoint and the lock");
}

Test(journal_drain, a_foreign_file_is_not_lost_with_the_directory_of_somebody_else)
{
	char path[128];
	fill(1);
	snprintf(path, sizeof(path), "%s/sub", f.directory);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_expect_neq(journal_remove(f.directory, &f.error), 0);
	cr_expect_not_null(strstr(f.error.detail, f.directory), "%s", f.error.detail);
	rmdir(path);
}

Test(journal_drain, a_shared_lock_keeps_others_out_until_the_last_one_has_closed_it)
{
	int fd;
	cr_assert_eq(journal_lock(f.directory, &fd, &f.error), 0, "%s", f.error.detail);
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	cr_expect_eq(fixture_open(&f), ERR_LOCKED);
	int again;
	cr_expect_eq(journal_lock(f.directory, &again, &f.error), ERR_LOCKED);
	cr_expect_eq(again, -1);
	char pid[32];
	snprintf(pid, sizeof(pid), "in use by process %ld:", (long)getpid());
	cr_expect_not_null(strstr(f.error.detail, pid), "%s", f.error.detail);
	/* Who was handed it opens the journal, and others still hold it when that one is gone. */
	f.options.lock_fd = dup(fd);
	OPEN(&f);
	events_append(&f, 0, 3, 100);
	fixture_close(&f);
	f.options.lock_fd = 0;
	cr_expect_eq(fixture_open(&f), ERR_LOCKED);
	close(fd);
	OPEN(&f);
	cr_expect_eq(stats_of(&f).events, 3);
}

/* A supervisor is killed, and its workers end a moment later. */
Test(journal_drain, who_was_handed_a_dead_process_s_lock_is_waited_for)
{
	int alive[2];
	char byte;
	cr_assert_eq(pipe(alive), 0);
	pid_t holder = fork();
	if (holder == 0) {
		int fd;
		if (journal_lock(f.directory, &fd, &f.error) != 0 || fork() != 0)
			_exit(0);
		usleep(300000);
		_exit(0);
	}
	close(alive[1]);
	cr_assert_eq(waitpid(holder, NULL, 0), holder);
	struct pollfd heir = {.fd = alive[0]};
	cr_assert_eq(poll(&heir, 1, 0), 0, "the heir lives");
	OPEN(&f);
	cr_expect_eq(read(alive[0], &byte, 1), 0, "it had ended before");
	close(alive[0]);
}
