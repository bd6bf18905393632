/* SPDX-License-Identifier: MIT */
/* What a restart makes of what it finds. */
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

TestSuite(recovery, .init = setup, .fini = teardown, .timeout = 100);

static char *read_whole(int fd, size_t *size)
{
	struct stat st;
	cr_assert_eq(fstat(fd, &st), 0);
	char *bytes = malloc((size_t)st.st_size);
	cr_assert_eq(pread(fd, bytes, (size_t)st.st_size, 0), (ssize_t)st.st_size);
	*size = (size_t)st.st_size;
	return bytes;
}

static void put(int fd, const char *bytes, size_t size, size_t offset)
{
	cr_assert_eq(pwrite(fd, bytes + offset, size, (off_t)offset), (ssize_t)size);
}

Test(recovery, a_tail_torn_at_every_byte_keeps_all_records_before_it_and_writes_on_behind_them)
{
	unsigned seen[12];
	size_t size;
	OPEN(&f);
	events_append(&f, 0, 10, 90);
	fixture_close(&f);
	int fd = open_newest_segment(f.directory, O_RDWR);
	char *whole = read_whole(fd, &size);
	size_t record = record_size(90);
	size_t last = HEADER_BLOCK_SIZE + 9 * record;
	char zeros[256] = {0};
	for (size_t cut = 0; cut <= record; cut++) {
		cr_assert_eq(pwrite(fd, zeros, 2 * record, (off_t)last), (ssize_t)(2 * record));
		put(fd, whole, cut, last);
		memset(seen, 0, sizeof(seen));
		/* A record without all of its padding is whole. */
		unsigned kept = cut >= RECORD_HEADER_SIZE + 90 ? 10 : 9;
		OPEN(&f);
		cr_assert_eq(stats_of(&f).events, kept, "cut at %zu", cut);
		events_append(&f, 11, 1, 90);
		cr_assert_eq(read_all(&f, 0, seen, 12), kept + 1);
		cr_assert_eq(seen[11], 1);
		cr_assert_eq(seen[9], kept == 10);
		cr_assert_eq(f.journal->active->generation, 1, "the segment is resumed");
		fixture_close(&f);
		/* The next one starts from the same image, checkpoint and all. */
		put(fd, whole, size, 0);
	}
	free(whole);
	close(fd);
}

Test(recovery, a_bad_record_in_the_middle_costs_that_record_only)
{
	unsigned seen[100];
	OPEN(&f);
	events_append(&f, 0, 100, 200);
	fixture_close(&f);
	int fd = open_newest_segment(f.directory, O_RDWR);
	size_t size;
	char *whole = read_whole(fd, &size);
	size_t records = 100 % ((SMALL_SEGMENT - HEADER_BLOCK_SIZE) / record_size(200));
	cr_assert_gt(records, 10);
	for (size_t victim = 0; victim < records - 1; victim++) {
		size_t offset = HEADER_BLOCK_SIZE + victim * record_size(200) + (victim * 13) % 200;
		char changed = (char)(whole[offset] ^ 0x41);
		cr_assert_eq(pwrite(fd, &changed, 1, (off_t)offset), 1);
		memset(seen, 0, sizeof(seen));
		OPEN(&f);
		cr_assert_eq(stats_of(&f).events, 99);
		cr_assert_eq(read_all(&f, 0, seen, 100), 99);
		cr_assert_eq(seen[100 - records + victim], 0);
		journal_checkpoint(f.journal, 0);
		fixture_close(&f);
		put(fd, whole, 1, offset);
	}
	free(whole);
	close(fd);
}

Test(recovery, bad_records_do_not_stop_the_checkpoint)
{
	OPEN(&f);
	events_append(&f, 0, 100, 200);
	fixture_close(&f);
	int fd = open_newest_segment(f.directory, O_RDWR);
	/* The first and the last ones of the newest segment. */
	cr_assert_eq(pwrite(fd, "spoiled", 7, HEADER_BLOCK_SIZE + 30), 7);
	close(fd);
	OPEN(&f);
	unsigned total = read_all(&f, 0, NULL, 0);
	cr_assert_eq(total, 99);
	journal_checkpoint(f.journal, 100);
	cr_assert_eq(stats_of(&f).events, 0);
	cr_assert_eq(stats_of(&f).checkpoint, 100);
}

Test(recovery, records_that_go_bad_at_run_time_are_stepped_over_and_the_read_ends_behind_them)
{
	struct reading reading;
	OPEN(&f);
	events_append(&f, 0, 10, 200);
	int fd = open_newest_segment(f.directory, O_RDWR);
	for (unsigned i = 7; i < 10; i++)
		cr_assert_eq(pwrite(fd, "spoiled", 7, (off_t)(HEADER_BLOCK_SIZE + i * record_size(200) + 40)), 7);
	close(fd);
	reading_run(&f, &reading, 0, 100, 100000);
	cr_assert_eq(reading.read.count, 7);
	cr_assert_eq(reading.read.last, 10, "a reader that goes on from there does not meet them again");
	journal_read_release(&reading.read);
	reading_run(&f, &reading, 10, 100, 100000);
	cr_assert_eq(reading.read.count, 0);
	journal_read_release(&reading.read);
}

static void with_header_bytes(const char *bytes, size_t size, bool both)
{
	int fd = open_newest_segment(f.directory, O_RDWR);
	cr_assert_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
	if (both)
		cr_assert_eq(pwrite(fd, bytes, size, 2048), (ssize_t)size);
	close(fd);
}

Test(recovery, another_version_is_refused_and_nothing_is_touched)
{
	char copy[96];
	OPEN(&f);
	events_append(&f, 0, 30, 400);
	fixture_close(&f);
	with_header_bytes("reeldseg\x02\0\0\0", 12, true);
	char path[128];
	snprintf(path, sizeof(path), "%s/segment-00000000000000ff.tmp", f.directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(copy, sizeof(copy), "%s.copy", f.directory);
	copy_directory(f.directory, copy);
	cr_assert_eq(fixture_open(&f), ERR_INVALID);
	cr_assert_not_null(strstr(f.error.detail, "version 2"), "%s", f.error.detail);
	char command[256];
	snprintf(command, sizeof(command), "diff -r %s %s", f.directory, copy);
	FILE *diff = popen(command, "r");
	cr_assert_eq(pclose(diff), 0);
	remove_directory(copy);
}

Test(recovery, one_spoiled_header_copy_costs_nothing)
{
	OPEN(&f);
	events_append(&f, 0, 10, 400);
	fixture_close(&f);
	with_header_bytes("spoiled, all of it", 18, false);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 10);
}

Test(recovery, a_segment_with_a_spoiled_header_is_kept_and_never_reused)
{
	unsigned files;
	OPEN(&f);
	events_append(&f, 0, 10, 400);
	fixture_close(&f);
	int fd = open_newest_segment(f.directory, O_RDWR);
	size_t size;
	char *before = read_whole(fd, &size);
	memcpy(before, "spoiled, all of it", 18);
	memcpy(before + 2048, "spoiled, all of it", 18);
	put(fd, before, 4096, 0);
	files = count_files(f.directory, "segment-");
	OPEN(&f);
	for (unsigned i = 0; i < 20; i++) {
		events_append(&f, i, 20, 400);
		journal_checkpoint(f.journal, stats_of(&f).durable);
	}
	fixture_close(&f);
	cr_assert_geq(count_files(f.directory, "segment-"), files);
	char *after = read_whole(fd, &size);
	cr_assert_eq(memcmp(before, after, size), 0);
	free(before);
	free(after);
	close(fd);
}

Test(recovery, a_blank_header_before_records_is_damage_and_not_a_spare)
{
	char zeros[HEADER_BLOCK_SIZE] = {0};
	OPEN(&f);
	events_append(&f, 0, 3, 400);
	fixture_close(&f);
	int fd = open_newest_segment(f.directory, O_RDWR);
	cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), 0), (ssize_t)sizeof(zeros));
	size_t size;
	char *before = read_whole(fd, &size);
	OPEN(&f);
	for (unsigned i = 0; i < 20; i++) {
		events_append(&f, i, 20, 400);
		journal_checkpoint(f.journal, stats_of(&f).durable);
	}
	fixture_close(&f);
	char *after = read_whole(fd, &size);
	cr_assert_eq(memcmp(before, after, size), 0);
	free(before);
	free(after);
	close(fd);
}

Test(recovery, a_segment_cut_short_gives_what_it_still_has)
{
	OPEN(&f);
	events_append(&f, 0, 20, 400);
	fixture_close(&f);
	int fd = open_newest_segment(f.directory, O_RDWR);
	cr_assert_eq(ftruncate(fd, (off_t)(HEADER_BLOCK_SIZE + 12 * record_size(400) + 50)), 0);
	close(fd);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 12);
	events_append(&f, 50, 20, 400);
	cr_assert_eq(read_all(&f, 0, NULL, 0), 32);
}

Test(recovery, unfinished_segments_and_foreign_files)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/segment-00000000000000aa.tmp", f.directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(path, sizeof(path), "%s/notes.txt", f.directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	OPEN(&f);
	cr_assert_eq(count_files(f.directory, "segment-00000000000000aa"), 0);
	cr_assert_eq(count_files(f.directory, "notes.txt"), 1);
	events_append(&f, 0, 3, 100);
	RUN_UNTIL(&f, !f.journal->janitor.busy);
	cr_assert_eq(count_files(f.directory, "segment-00000000000000aa"), 0, "its number is not used again");
}

Test(recovery, a_segment_that_cannot_be_synced_at_start_is_read_but_not_written_on)
{
	OPEN(&f);
	events_append(&f, 0, 10, 200);
	fixture_close(&f);
	fault_set(&f, FILE_SYNC, 0, 1, EIO);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 10);
	cr_assert_null(f.journal->active);
	events_append(&f, 10, 10, 200);
	cr_assert_eq(f.journal->active->generation, 2);
	cr_assert_eq(read_all(&f, 0, NULL, 0), 20);
}

/* The third block of every segment is unreadable. */
static int unreadable_hook(void *data, const struct file_call *call)
{
	bool hit = call->op == FILE_READ && call->offset < 3 * 4096 && call->offset + call->size > 2 * 4096 &&
		   call->size > CHECKPOINT_SLOT_SIZE;
	return hit ? EIO : 0;
}

Test(recovery, blocks_that_cannot_be_read_cost_what_was_in_them)
{
	OPEN(&f);
	events_append(&f, 0, 23, 500);
	fixture_close(&f);
	/* The walk fails as a whole and is repeated block by block. */
	file_set_hook(unreadable_hook, NULL);
	OPEN(&f);
	file_set_hook(fault_hook, &f.faults);
	/* Seven whole records in the block before it, one that begins and one that ends in it. */
	cr_assert_lt(stats_of(&f).events, 16);
	cr_assert_gt(stats_of(&f).events, 12);
	cr_assert_null(f.journal->active, "what could not be read is not overwritten");
	events_append(&f, 30, 1, 500);
	cr_assert_gt(stats_of(&f).durable, 22);
}

Test(recovery, a_nearly_full_segment_is_not_resumed)
{
	OPEN(&f);
	events_append(&f, 0, 22, 500);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_null(f.journal->active);
	events_append(&f, 22, 1, 500);
	cr_assert_eq(f.journal->active->generation, 2);
}

Test(recovery, a_lost_checkpoint_file_forwards_again_but_reuses_no_sequence)
{
	struct event event;
	char path[128];
	OPEN(&f);
	for (unsigned i = 0; i < 20; i++) {
		events_append(&f, 0, 20, 400);
		journal_checkpoint(f.journal, stats_of(&f).durable);
	}
	uint64_t durable = stats_of(&f).durable;
	fixture_close(&f);
	snprintf(path, sizeof(path), "%s/checkpoint", f.directory);
	cr_assert_eq(unlink(path), 0);
	OPEN(&f);
	cr_assert_eq(event_append(&f, &event, 0, 100), 0);
	cr_assert_eq(event.append.sequence, durable + 1);
	RUN_UNTIL(&f, event.calls == 1);
}

Test(recovery, a_changed_segment_size_is_taken_up)
{
	OPEN(&f);
	events_append(&f, 0, 60, 400);
	fixture_close(&f);
	f.options.segment_bytes = 4 * SMALL_SEGMENT;
	f.options.max_bytes = 64 * SMALL_SEGMENT;
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 60);
	/* A spare of the old size serves while the janitor is still making the first of the new one. */
	for (unsigned i = 0; i < 30 || (i < 300 && f.journal->active->size != 4 * SMALL_SEGMENT); i++) {
		events_append(&f, 100, 20, 400);
		journal_checkpoint(f.journal, stats_of(&f).durable - 1);
		RUN_UNTIL(&f, !f.journal->janitor.busy && list_empty(&f.journal->doomed));
	}
	cr_assert_eq(f.journal->active->size, 4 * SMALL_SEGMENT);
	for (struct list *link = f.journal->spares.next; link != &f.journal->spares; link = link->next)
		cr_assert_eq(LIST_ENTRY(link, struct segment, link)->size, 4 * SMALL_SEGMENT);
	cr_assert_eq(read_all(&f, stats_of(&f).checkpoint, NULL, 0), 1);
}

Test(recovery, many_segments_are_read_back_in_order)
{
	unsigned *seen = calloc(1000, sizeof(*seen));
	OPEN(&f);
	events_append(&f, 0, 1000, 400);
	cr_assert_gt(count_files(f.directory, "segment-"), 30);
	fixture_close(&f);
	OPEN(&f);
	cr_assert_eq(stats_of(&f).events, 1000);
	cr_assert_eq(read_all(&f, 0, seen, 1000), 1000);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(seen[i], 1);
	free(seen);
}
