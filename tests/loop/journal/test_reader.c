/* SPDX-License-Identifier: MIT */
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

TestSuite(reader, .init = setup, .fini = teardown, .timeout = 60);

Test(reader, keeps_to_the_limits_and_goes_on_where_it_ended)
{
	struct reading reading;
	uint64_t after = 0;
	OPEN(&f);
	events_append(&f, 0, 200, 300);
	for (unsigned i = 0; i < 20; i++) {
		reading_run(&f, &reading, after, 10, 1000000);
		cr_assert_eq(reading.read.count, 10);
		cr_assert_eq(reading.read.records[0].sequence, after + 1);
		after = reading.read.last;
		cr_assert_eq(after, 10 * (i + 1));
		journal_read_release(&reading.read);
	}
	reading_run(&f, &reading, 0, 1000, 1000);
	cr_assert_eq(reading.read.count, 3);
	journal_read_release(&reading.read);
	reading_run(&f, &reading, 0, 1000, 1);
	cr_assert_eq(reading.read.count, 1);
	journal_read_release(&reading.read);
}

Test(reader, crosses_segments_in_one_read)
{
	struct reading reading;
	OPEN(&f);
	events_append(&f, 0, 200, 300);
	cr_assert_gt(count_files(f.directory, "segment-"), 4);
	reading_run(&f, &reading, 17, 1000, 1000000);
	cr_assert_eq(reading.read.count, 183);
	for (size_t i = 0; i < 183; i++)
		cr_assert_eq(record_number(&reading.read.records[i]), 17 + i);
	journal_read_release(&reading.read);
}

Test(reader, goes_on_without_walking_the_segment_again)
{
	struct reading reading;
	f.options.segment_bytes = 1024 * 1024;
	f.options.max_bytes = 16 * 1024 * 1024;
	OPEN(&f);
	events_append(&f, 0, 1500, 500);
	reading_run(&f, &reading, 0, 1400, 10000000);
	cr_assert_eq(reading.read.count, 1400);
	uint64_t after = reading.read.last;
	journal_read_release(&reading.read);
	/* Going on, and doing the last read again. */
	for (unsigned i = 0; i < 2; i++) {
		unsigned reads = fault_calls(&f, FILE_READ);
		reading_run(&f, &reading, after, 1, 10000000);
		cr_assert_eq(reading.read.records[0].sequence, 1401);
		journal_read_release(&reading.read);
		cr_assert_eq(fault_calls(&f, FILE_READ) - reads, 1);
	}
}

Test(reader, nothing_to_read_is_no_error)
{
	struct reading reading;
	OPEN(&f);
	reading_run(&f, &reading, 0, 10, 1000);
	cr_assert_eq(reading.status, 0);
	cr_assert_eq(reading.read.count, 0);
	cr_assert_eq(reading.read.last, 0);
	journal_read_release(&reading.read);
	events_append(&f, 0, 5, 100);
	reading_run(&f, &reading, 5, 10, 1000);
	cr_assert_eq(reading.read.count, 0);
	cr_assert_eq(reading.read.last, 5);
	journal_read_release(&reading.read);
	reading_run(&f, &reading, 1000, 10, 1000);
	cr_assert_eq(reading.read.count, 0);
	journal_read_release(&reading.read);
}

Test(reader, gives_only_what_is_durable)
{
	struct reading reading;
	struct event event;
	OPEN(&f);
	events_append(&f, 0, 5, 100);
	cr_assert_eq(event_append(&f, &event, 5, 100), 0);
	reading_start(&f, &reading, 0, 100, 100000);
	RUN_UNTIL(&f, reading.calls == 1 && event.calls == 1);
	cr_assert_eq(reading.read.count, 5);
	journal_read_release(&reading.read);
}

Test(reader, a_segment_under_a_read_is_not_reused)
{
	struct reading reading;
	OPEN(&f);
	events_append(&f, 0, 200, 300);
	reading_start(&f, &reading, 0, 1000, 1000000);
	journal_checkpoint(f.journal, 200);
	struct segment *oldest = LIST_ENTRY(f.journal->segments.next, struct segment, link);
	cr_assert(oldest->in_read);
	events_append(&f, 200, 100, 300);
	RUN_UNTIL(&f, reading.calls == 1);
	cr_assert_eq(reading.read.count, 200);
	for (size_t i = 0; i < 200; i++)
		cr_assert_eq(record_number(&reading.read.records[i]), i);
	journal_read_release(&reading.read);
	RUN_UNTIL(&f, !f.journal->janitor.busy && list_empty(&f.journal->doomed));
	cr_assert_lt(count_files(f.directory, "segment-"), 12);
}

Test(reader, a_disk_error_is_told_and_what_was_read_before_it_is_handed_out)
{
	struct reading reading;
	OPEN(&f);
	events_append(&f, 0, 100, 300);
	fault_set(&f, FILE_READ, 0, 1, EIO);
	reading_run(&f, &reading, 0, 1000, 1000000);
	cr_assert_eq(reading.status, ERR_IO);
	cr_assert_eq(reading.read.count, 0);
	journal_read_release(&reading.read);
	/* The second segment's read fails: the first segment's records come. */
	fault_set(&f, FILE_OPEN, 1, 1, EMFILE);
	reading_run(&f, &reading, 0, 1000, 1000000);
	cr_assert_eq(reading.status, 0);
	cr_assert_gt(reading.read.count, 10);
	cr_assert_lt(reading.read.count, 100);
	cr_assert_eq(reading.read.last, reading.read.count);
	journal_read_release(&reading.read);
	cr_assert_eq(read_all(&f, 0, NULL, 0), 100);
}

Test(reader, a_block_that_stays_unreadable_is_stepped_over_in_the_end)
{
	struct reading reading;
	unsigned tries = 0;
	uint64_t after = 0;
	unsigned total = 0;
	OPEN(&f);
	events_append(&f, 0, 100, 300);
	char name[SEGMENT_NAME_SIZE];
	segment_name(LIST_ENTRY(f.journal->segments.next, struct segment, link)->id, name);
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", f.directory, name);
	cr_assert_eq(unlink(path), 0);
	while (total < 60 && tries++ < 100) {
		reading_run(&f, &reading, after, 1000, 1000000);
		total += (unsigned)reading.read.count;
		after = reading.read.last;
		journal_read_release(&reading.read);
	}
	cr_assert_gt(total, 60);
	cr_assert_gt(tries, 8, "not at the first refusal");
	cr_assert_lt(tries, 12);
}

static unsigned again_left;
static void read_again(struct journal_read *read, int status)
{
	struct reading *reading = read->data;
	cr_assert_eq(status, 0);
	uint64_t after = read->last;
	journal_read_release(read);
	if (--again_left == 0) {
		reading->calls++;
		return;
	}
	read->after = after;
	cr_assert_eq(journal_read(f.journal, read), 0);
}

Test(reader, a_read_may_be_started_from_the_callback_of_the_last)
{
	struct reading reading;
	OPEN(&f);
	events_append(&f, 0, 50, 300);
	memset(&reading, 0, sizeof(reading));
	reading.read = (struct journal_read){.max_records = 5, .max_bytes = 100000, .done = read_again, .data = &reading};
	again_left = 10;
	cr_assert_eq(journal_read(f.journal, &reading.read), 0);
	RUN_UNTIL(&f, reading.calls == 1);
	cr_assert_eq(reading.read.after, 45);
}
