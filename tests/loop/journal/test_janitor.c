/* SPDX-License-Identifier: MIT */
/* Spares, reuse, limits, a full disk, and the checkpoint file. */
#include "fixture.h"

#include "journal/checkpoint.h"

#include <sys/mount.h>

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_end(&f);
}

TestSuite(janitor, .init = setup, .fini = teardown, .timeout = 60);

Test(janitor, a_spare_is_made_ahead_and_is_all_zeros)
{
	OPEN(&f);
	RUN_UNTIL(&f, f.journal->spare_count > 0 && !f.journal->janitor.busy);
	char name[SEGMENT_NAME_SIZE];
	cr_assert_not_null(list_first(&f.journal->spares));
	segment_name(LIST_ENTRY(f.journal->spares.next, struct segment, link)->id, name);
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", f.directory, name);
	int fd = open(path, O_RDONLY);
	char *bytes = malloc(SMALL_SEGMENT + 1);
	cr_assert_eq(read(fd, bytes, SMALL_SEGMENT + 1), (ssize_t)SMALL_SEGMENT);
	for (uint64_t i = 0; i < SMALL_SEGMENT; i++)
		cr_assert_eq(bytes[i], 0);
	free(bytes);
	close(fd);
}

Test(janitor, forwarded_segments_are_used_again_and_the_directory_stays_small)
{
	uint64_t generation = 0;
	OPEN(&f);
	for (unsigned i = 0; i < 60; i++) {
		events_append(&f, 0, 20, 500);
		journal_checkpoint(f.journal, stats_of(&f).durable);
		cr_assert_leq(count_files(f.directory, "segment-"), 5);
	}
	RUN_UNTIL(&f, !f.journal->janitor.busy);
	cr_assert_leq(count_files(f.directory, "segment-"), 1 + JOURNAL_SPARES_MAX + 1);
	generation = f.journal->active->generation;
	cr_assert_gt(generation, 40);
	cr_assert_eq(stats_of(&f).events, 0);
	/* Nothing of the earlier lives is seen after a restart. */
	events_append(&f, 7, 1, 100);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 1);
	cr_assert_geq(f.journal->next_generation, generation + 1);
	unsigned seen[8] = {0};
	cr_assert_eq(read_all(&f, stats_of(&f).checkpoint, seen, 8), 1);
	cr_assert_eq(seen[7], 1);
}

Test(janitor, nothing_that_was_not_forwarded_is_ever_reused)
{
	unsigned seen[400] = {0};
	OPEN(&f);
	for (unsigned i = 0; i < 400; i += 10) {
		events_append(&f, i, 10, 500);
		if (i == 200)
			journal_checkpoint(f.journal, 100);
	}
	cr_assert_eq(read_all(&f, 100, seen, 400), 300);
	for (unsigned i = 100; i < 400; i++)
		cr_assert_eq(seen[i], 1);
}

Test(janitor, beyond_the_limit_the_journal_is_full_and_opens_again_when_events_were_forwarded)
{
	struct event event;
	unsigned taken = 0;
	unsigned seen[400] = {0};
	f.options.max_bytes = 4 * SMALL_SEGMENT;
	OPEN(&f);
	for (;;) {
		int r = event_append(&f, &event, taken, 500);
		if (r != 0) {
			cr_assert_eq(r, ERR_JOURNAL_FULL);
			break;
		}
		RUN_UNTIL(&f, event.calls == 1);
		if (event.status != 0) {
			cr_assert_eq(event.status, ERR_JOURNAL_FULL);
			break;
		}
		taken++;
		cr_assert_leq(f.journal->held_bytes, f.options.max_bytes);
		cr_assert_lt(taken, 200);
	}
	cr_assert_gt(taken, 80);
	cr_assert_not(stats_of(&f).accepting);
	cr_assert_eq(stats_of(&f).last_error, ERR_JOURNAL_FULL);
	cr_assert_eq(read_all(&f, 0, seen, 400), taken);
	/* Also a restart keeps to the limit. */
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(event_append(&f, &event, 0, 500), ERR_JOURNAL_FULL);
	journal_checkpoint(f.journal, 30);
	cr_assert(stats_of(&f).accepting);
	events_append(&f, 300, 20, 500);
}

Test(janitor, without_room_for_a_spare_appends_are_refused_and_taken_again_once_there_is_room)
{
	struct event event;
	unsigned taken = 0;
	OPEN(&f);
	RUN_UNTIL(&f, f.journal->spare_count > 0 && !f.journal->janitor.busy);
	fault_set(&f, FILE_ALLOCATE, 0, 1000000, ENOSPC);
	for (;;) {
		int r = event_append(&f, &event, taken, 500);
		if (r != 0) {
			cr_assert_eq(r, ERR_NO_SPACE);
			break;
		}
		RUN_UNTIL(&f, event.calls == 1);
		if (event.status != 0)
			break;
		taken++;
	}
	/* Two segments were full to the last record. */
	cr_assert_eq(taken, 2 * ((SMALL_SEGMENT - HEADER_BLOCK_SIZE) / record_size(500)));
	cr_assert_not(stats_of(&f).accepting);
	cr_assert_eq(stats_of(&f).last_error, ERR_NO_SPACE);
	fault_clear(&f);
	RUN_UNTIL(&f, stats_of(&f).accepting);
	events_append(&f, taken, 50, 500);
	cr_assert_eq(read_all(&f, 0, NULL, 0), taken + 50);
	cr_assert_eq(count_files(f.directory, "segment-0000000000000000.tmp"), 0);
}

Test(janitor, the_only_segment_of_a_full_disk_starts_over_when_all_in_it_was_forwarded)
{
	OPEN(&f);
	RUN_UNTIL(&f, f.journal->spare_count > 0 && !f.journal->janitor.busy);
	fault_set(&f, FILE_ALLOCATE, 0, 1000000, ENOSPC);
	for (unsigned i = 0; i < 200; i++) {
		events_append(&f, i, 1, 900);
		journal_checkpoint(f.journal, stats_of(&f).durable);
	}
	events_append(&f, 1, 5, 900);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 5);
}

Test(janitor, a_journal_opened_on_a_full_disk_refuses_and_recovers)
{
	struct event event;
	fault_set(&f, FILE_ALLOCATE, 0, 1000000, ENOSPC);
	OPEN(&f);
	cr_assert_not(stats_of(&f).accepting);
	cr_assert_eq(event_append(&f, &event, 0, 100), ERR_NO_SPACE);
	fault_clear(&f);
	RUN_UNTIL(&f, stats_of(&f).accepting);
	events_append(&f, 0, 5, 100);
}

Test(janitor, a_nearly_full_disk_gets_smaller_segments)
{
	uint64_t size;
	int directory_fd = open(f.directory, O_RDONLY | O_DIRECTORY);
	/* The first two sizes do not fit. */
	fault_set(&f, FILE_ALLOCATE, 0, 2, ENOSPC);
	cr_assert_eq(segment_create(directory_fd, 1, 4 * 1024 * 1024, SEGMENT_SIZE_MIN, &size), 0);
	cr_assert_eq(size, 1024 * 1024);
	fault_set(&f, FILE_WRITE, 3, 1, ENOSPC);
	cr_assert_eq(segment_create(directory_fd, 2, 2 * 1024 * 1024, SEGMENT_SIZE_MIN, &size), 0);
	cr_assert_eq(size, 1024 * 1024);
	fault_set(&f, FILE_ALLOCATE, 0, 1000, ENOSPC);
	cr_assert_eq(segment_create(directory_fd, 3, 4 * 1024 * 1024, SEGMENT_SIZE_MIN, &size), -ENOSPC);
	cr_assert_eq(fault_calls(&f, FILE_RENAME), 2);
	fault_clear(&f);
	/* Each unfinished file is gone. */
	cr_assert_eq(count_files(f.directory, "segment-"), 2);
	close(directory_fd);
}

/* A real file system that is really full. Needs the right to mount. */
Test(janitor, a_full_file_system_means_503_and_nothing_half_written)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/small", f.directory);
	cr_assert_eq(mkdir(path, 0700), 0);
	if (mount("none", path, "tmpfs", 0, "size=2m") != 0)
		cr_skip_test("cannot mount a tmpfs here");
	struct event event;
	unsigned taken = 0;
	int filler = -1;
	char ballast[128];
	f.options.directory = path;
	f.options.segment_bytes = 1024 * 1024;
	f.options.max_bytes = 1024 * 1024 * 1024;
	OPEN(&f);
	/* Half of what is free at most: the rest is the ledger's. */
	RUN_UNTIL(&f, f.journal->spare_count > 0 && !f.journal->janitor.busy);
	snprintf(ballast, sizeof(ballast), "%s/ballast", path);
	filler = open(ballast, O_CREAT | O_RDWR, 0600);
	char chunk[4096] = {1};
	while (write(filler, chunk, sizeof(chunk)) == (ssize_t)sizeof(chunk))
		;
	for (;;) {
		int r = event_append(&f, &event, taken, 3000);
		if (r != 0) {
			cr_assert_eq(r, ERR_NO_SPACE);
			break;
		}
		RUN_UNTIL(&f, event.calls == 1);
		if (event.status != 0)
			break;
		taken++;
	}
	cr_assert_gt(taken, 150, "%u, status %s", taken, err_name(event.status));
	cr_assert_not(stats_of(&f).accepting);
	cr_assert_eq(read_all(&f, 0, NULL, 0), taken);
	cr_assert_eq(ftruncate(filler, 0), 0);
	RUN_UNTIL(&f, stats_of(&f).accepting);
	events_append(&f, taken, 10, 3000);
	cr_assert_eq(read_all(&f, 0, NULL, 0), taken + 10);
	close(filler);
	fixture_close(&f);
	f.journal = NULL;
	umount(path);
	rmdir(path);
}

Test(janitor, the_checkpoint_is_saved_by_itself_and_at_close)
{
	struct checkpoint checkpoint;
	struct error error;
	int directory_fd = open(f.directory, O_RDONLY | O_DIRECTORY);
	OPEN(&f);
	events_append(&f, 0, 20, 100);
	journal_checkpoint(f.journal, 5);
	RUN_UNTIL(&f, f.journal->saved.sequence == 5);
	cr_assert_eq(checkpoint_load(directory_fd, &checkpoint, &error), 0);
	cr_assert_eq(checkpoint.sequence, 5);
	/* The next one waits its second, but not for ever. */
	journal_checkpoint(f.journal, 11);
	RUN_UNTIL(&f, f.journal->saved.sequence == 11);
	journal_checkpoint(f.journal, 17);
	fixture_close(&f);
	cr_assert_eq(checkpoint_load(directory_fd, &checkpoint, &error), 0);
	cr_assert_eq(checkpoint.sequence, 17);
	cr_assert_geq(checkpoint.next_sequence, 21);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).checkpoint, 17);
	cr_assert_eq(stats_of(&f).events, 3);
	close(directory_fd);
}

Test(janitor, a_checkpoint_that_cannot_be_saved_costs_nothing_but_forwarding_again)
{
	fault_set(&f, FILE_OPEN, 0, 1000000, EIO);
	f.faults.only = "checkpoint";
	f.faults.times = 0;
	OPEN(&f);
	f.faults.times = 1000000;
	for (unsigned i = 0; i < 30; i++) {
		events_append(&f, i, 10, 500);
		journal_checkpoint(f.journal, stats_of(&f).durable);
	}
	events_append(&f, 0, 5, 100);
	fixture_close(&f);
	fault_clear(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).checkpoint, 0);
	cr_assert_geq(stats_of(&f).events, 5);
}

Test(janitor, a_spoiled_checkpoint_falls_back_to_the_older_slot_and_then_to_none)
{
	struct checkpoint checkpoint;
	struct error error;
	char path[128];
	int directory_fd = open(f.directory, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(checkpoint_save(directory_fd, &(struct checkpoint){1, 100, 101, 5}), 0);
	cr_assert_eq(checkpoint_save(directory_fd, &(struct checkpoint){2, 200, 201, 6}), 0);
	snprintf(path, sizeof(path), "%s/checkpoint", f.directory);
	int fd = open(path, O_RDWR);
	cr_assert_eq(pwrite(fd, "spoiled", 7, 20), 7);
	cr_assert_eq(checkpoint_load(directory_fd, &checkpoint, &error), 0);
	cr_assert_eq(checkpoint.sequence, 100);
	cr_assert_eq(pwrite(fd, "spoiled", 7, CHECKPOINT_SLOT_STRIDE + 20), 7);
	cr_assert_eq(checkpoint_load(directory_fd, &checkpoint, &error), 0);
	cr_assert_eq(checkpoint.sequence, 0);
	cr_assert_eq(pwrite(fd, "reeldchk\x07\0\0\0", 12, 0), 12);
	cr_assert_eq(checkpoint_load(directory_fd, &checkpoint, &error), ERR_INVALID);
	close(fd);
	close(directory_fd);
}

Test(janitor, the_newest_segment_with_a_record_is_kept_until_its_successor_has_one)
{
	struct event event;
	OPEN(&f);
	unsigned fit = (SMALL_SEGMENT - HEADER_BLOCK_SIZE) / record_size(500);
	events_append(&f, 0, fit, 500);
	RUN_UNTIL(&f, !f.journal->janitor.busy && f.journal->spare_count > 0);
	struct segment *full = f.journal->active;
	fault_set(&f, FILE_SYNC, 0, 1000000, EIO);
	cr_assert_eq(event_append(&f, &event, fit, 500), 0);
	/* Its successor is begun, the commit is under way, and all before it is forwarded. */
	RUN_UNTIL(&f, f.journal->active != full);
	journal_checkpoint(f.journal, fit);
	cr_assert_eq(f.journal->segments.next, &full->link);
	RUN_UNTIL(&f, event.calls == 1);
	cr_assert_neq(event.status, 0);
	cr_assert_eq(f.journal->segments.next, &full->link);
	fault_clear(&f);
	RUN_UNTIL(&f, stats_of(&f).accepting);
	cr_assert_eq(f.journal->segments.next, &full->link);
	events_append(&f, 0, 1, 500);
	journal_checkpoint(f.journal, stats_of(&f).durable);
	cr_assert_neq(f.journal->segments.next, &full->link);
}
