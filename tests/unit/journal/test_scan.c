/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "journal/scan.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define GENERATION 3

struct image {
	char *bytes;
	size_t size;
	size_t used;
	size_t read; /* bytes, in all */
	int error;
	struct {
		uint64_t sequence;
		size_t offset;
		size_t size;
	} records[2000];
	unsigned count;
};

static struct image image;

static int64_t image_read(void *ctx, void *buffer, size_t size, uint64_t offset)
{
	struct image *from = ctx;
	if (from->error != 0)
		return from->error;
	if (offset >= from->size)
		return 0;
	size_t got = from->size - offset < size ? from->size - (size_t)offset : size;
	memcpy(buffer, from->bytes + offset, got);
	from->read += got;
	return (int64_t)got;
}

static void image_new(size_t size)
{
	memset(&image, 0, sizeof(image));
	image.bytes = calloc(1, size);
	image.size = size;
}

static void image_add(uint64_t generation, uint64_t sequence, size_t payload_len)
{
	char *payload = malloc(payload_len + 1);
	memset(payload, 'x', payload_len + 1);
	const struct slice part = {payload, payload_len};
	char *at = image.bytes + image.used;
	record_write(at, sequence, 0, &part, 1, payload_len);
	record_seal(at, record_size(payload_len), record_seed(generation));
	image.records[image.count].sequence = sequence;
	image.records[image.count].offset = image.used;
	image.records[image.count++].size = record_size(payload_len);
	image.used += record_size(payload_len);
	free(payload);
}

static void scan_image(struct scan *scan)
{
	scan_init(scan, image_read, &image, GENERATION, 0, image.size, 0, UINT64_MAX);
}

/* The sequences found, each expected in turn. */
static void expect_scan(struct scan *scan, const uint64_t *sequences, size_t count)
{
	struct record record;
	for (size_t i = 0; i < count; i++) {
		cr_assert_eq(scan_next(scan, &record), 1, "record %zu", i);
		cr_assert_eq(record.sequence, sequences[i]);
	}
	cr_assert_eq(scan_next(scan, &record), 0);
	cr_assert_eq(scan_next(scan, &record), 0, "the end stays the end");
	scan_free(scan);
}

Test(scan, finds_all_records_of_all_sizes_and_the_place_behind_the_last)
{
	struct scan scan;
	uint64_t sequences[300];
	image_new(8 * 1024 * 1024);
	for (unsigned i = 0; i < 300; i++) {
		sequences[i] = 5 + 3 * i;
		image_add(GENERATION, sequences[i], i % 50 == 49 ? RECORD_PAYLOAD_MAX - i : (size_t)i * i % 5000);
	}
	scan_image(&scan);
	expect_scan(&scan, sequences, 300);
	cr_assert_eq(scan.offset, image.used);
	cr_assert_eq(scan.last, sequences[299]);
	cr_assert_eq(scan.bad_places, 0);
}

Test(scan, a_torn_tail_at_every_byte_keeps_all_before_it)
{
	struct scan scan;
	image_new(4096);
	image_add(GENERATION, 1, 100);
	image_add(GENERATION, 2, 200);
	size_t keep = image.used;
	image_add(GENERATION, 3, 120);
	const uint64_t sequences[] = {1, 2};
	char last[160];
	memcpy(last, image.bytes + keep, image.used - keep);
	/* The padding does not count: without it the record is whole. */
	for (size_t cut = 0; cut < RECORD_HEADER_SIZE + 120; cut++) {
		memset(image.bytes + keep, 0, image.used - keep);
		memcpy(image.bytes + keep, last, cut);
		scan_image(&scan);
		expect_scan(&scan, sequences, 2);
		cr_assert_eq(scan.offset, keep);
		cr_assert_eq(scan.bad_places, 0);
	}
}

Test(scan, a_bad_record_in_the_middle_is_stepped_over_whatever_byte_is_wrong)
{
	struct scan scan;
	const uint64_t sequences[] = {1, 3};
	image_new(4096);
	image_add(GENERATION, 1, 40);
	image_add(GENERATION, 2, 60);
	image_add(GENERATION, 3, 80);
	for (size_t byte = 0; byte < RECORD_HEADER_SIZE + 60; byte++) {
		struct record record;
		image.bytes[image.records[1].offset + byte] ^= 0x20;
		scan_image(&scan);
		cr_assert_eq(scan_next(&scan, &record), 1);
		cr_assert_eq(scan.bad_size, 0);
		cr_assert_eq(scan_next(&scan, &record), 1);
		cr_assert_eq(record.sequence, 3);
		cr_assert_eq(scan.bad_offset, image.records[1].offset);
		cr_assert_eq(scan.bad_size, image.records[1].size);
		cr_assert_eq(scan_next(&scan, &record), 0);
		cr_assert_eq(scan.bad_places, 1);
		scan_free(&scan);
		image.bytes[image.records[1].offset + byte] ^= 0x20;
	}
	scan_image(&scan);
	expect_scan(&scan, (const uint64_t[]){1, 2, 3}, 3);
	(void)sequences;
}

Test(scan, records_of_an_earlier_life_are_not_there)
{
	struct scan scan;
	image_new(64 * 1024);
	while (image.used < image.size - 200)
		image_add(GENERATION - 1, image.count + 1, 100);
	image.used = 0;
	image_add(GENERATION, 1001, 77);
	image_add(GENERATION, 1002, 3);
	scan_image(&scan);
	expect_scan(&scan, (const uint64_t[]){1001, 1002}, 2);
	cr_assert_eq(scan.offset, image.used);
}

Test(scan, a_sequence_that_does_not_rise_is_bad)
{
	struct scan scan;
	image_new(4096);
	image_add(GENERATION, 5, 10);
	image_add(GENERATION, 5, 10);
	image_add(GENERATION, 4, 10);
	image_add(GENERATION, 6, 10);
	scan_image(&scan);
	expect_scan(&scan, (const uint64_t[]){5, 6}, 2);
	cr_assert_eq(scan.bad_places, 1);
}

Test(scan, superseded_records_end_it_also_behind_a_bad_one)
{
	struct scan scan;
	image_new(4096);
	for (uint64_t i = 1; i <= 6; i++)
		image_add(GENERATION, i, 20);
	scan_init(&scan, image_read, &image, GENERATION, 0, image.size, 0, 4);
	expect_scan(&scan, (const uint64_t[]){1, 2, 3}, 3);
	image.bytes[image.records[3].offset + 30] ^= 1;
	scan_init(&scan, image_read, &image, GENERATION, 0, image.size, 0, 4);
	expect_scan(&scan, (const uint64_t[]){1, 2, 3}, 3);
	cr_assert_eq(scan.bad_places, 0);
}

Test(scan, a_file_that_is_shorter_than_announced_ends_early)
{
	struct scan scan;
	image_new(4096);
	image_add(GENERATION, 1, 100);
	image_add(GENERATION, 2, 100);
	image.size = image.used - 5;
	scan_init(&scan, image_read, &image, GENERATION, 0, 1 << 20, 0, UINT64_MAX);
	expect_scan(&scan, (const uint64_t[]){1}, 1);
}

Test(scan, an_error_of_the_disk_is_handed_on)
{
	struct scan scan;
	struct record record;
	image_new(4096);
	image.error = ERR_IO;
	scan_image(&scan);
	cr_assert_eq(scan_next(&scan, &record), ERR_IO);
	scan_free(&scan);
}

Test(scan, bytes_made_to_look_like_large_records_everywhere_cost_bounded_work, .timeout = 20)
{
	struct scan scan;
	struct record record;
	image_new(16 * 1024 * 1024);
	for (size_t at = 0; at + 8 < image.size; at += 8) {
		const uint32_t length = RECORD_SIZE_MAX - 8;
		memcpy(image.bytes + at + 4, &length, sizeof(length));
	}
	/* As a sequence this is high, too. */
	scan_image(&scan);
	cr_assert_eq(scan_next(&scan, &record), 0);
	cr_assert(scan.gave_up);
	cr_assert_lt(image.read, 20 * image.size);
	scan_free(&scan);
}

Test(scan, a_search_through_honest_bytes_does_not_give_up)
{
	struct scan scan;
	image_new(4 * 1024 * 1024);
	image_add(GENERATION, 1, 10);
	/* Text, zeros, and an earlier life between the two. */
	memset(image.bytes + image.used, 'a', 1024 * 1024);
	image.used += 2 * 1024 * 1024;
	for (unsigned i = 0; i < 500; i++)
		image_add(GENERATION - 1, i + 1, 500);
	image_add(GENERATION, 900, 10);
	scan_image(&scan);
	expect_scan(&scan, (const uint64_t[]){1, 900}, 2);
	cr_assert_eq(scan.bad_places, 1);
	cr_assert_not(scan.gave_up);
}
