/* SPDX-License-Identifier: MIT */
#include "base/check.h"
#include "journal/record.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define GENERATION 7
#define SEQUENCE UINT64_C(0x0102030405060708)
#define TIME_MS INT64_C(1763942400123)

/* Made by an independent implementation; if this changes, journals on disk can no longer be read. */
static const unsigned char golden[] = {
	0xda, 0x95, 0x20, 0x94, 0x26, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x7b, 0x00, 0x29, 0xb3,
	0x9a, 0x01, 0x00, 0x00, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x2c, 0x20, 0x6a, 0x6f, 0x75, 0x72, 0x6e, 0x61, 0x6c, 0x00, 0x00,
};

static size_t make(char *out, uint64_t sequence, const char *text, size_t len)
{
	const struct slice part = {text, len};
	record_write(out, sequence, TIME_MS, &part, 1, len);
	return record_size(len);
}

Test(record, the_bytes_on_disk_are_the_documented_ones)
{
	char out[64];
	memset(out, 0x55, sizeof(out));
	const struct slice parts[] = {SLICE("Hello"), SLICE(""), SLICE(", journal")};
	record_write(out, SEQUENCE, TIME_MS, parts, 3, 14);
	record_seal(out, sizeof(golden), record_seed(GENERATION));
	cr_assert_eq(record_size(14), sizeof(golden));
	cr_assert_eq(memcmp(out, golden, sizeof(golden)), 0);
	cr_assert_eq(out[sizeof(golden)], 0x55, "nothing is written behind the padding");
}

Test(record, the_golden_bytes_parse)
{
	struct record record;
	cr_assert_eq(record_parse(golden, sizeof(golden), record_seed(GENERATION), &record), RECORD_OK);
	cr_assert_eq(record.sequence, SEQUENCE);
	cr_assert_eq(record.time_ms, TIME_MS);
	cr_assert_eq(record.size, sizeof(golden));
	cr_assert(slice_equal(record.payload, SLICE("Hello, journal")));
}

Test(record, every_single_bit_flip_but_in_the_padding_is_found)
{
	char copy[sizeof(golden)];
	struct record record;
	for (size_t bit = 0; bit < 8 * (sizeof(golden) - 2); bit++) {
		memcpy(copy, golden, sizeof(golden));
		copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
		cr_assert_neq(record_parse(copy, sizeof(copy), record_seed(GENERATION), &record), RECORD_OK, "bit %zu", bit);
	}
}

Test(record, a_record_of_another_generation_never_verifies)
{
	struct record record;
	for (uint64_t generation = 0; generation < 100000; generation++) {
		if (generation == GENERATION)
			continue;
		cr_assert_eq(record_parse(golden, sizeof(golden), record_seed(generation), &record), RECORD_NONE);
	}
	cr_assert_neq(record_seed(UINT64_C(0xffffffff)), record_seed(UINT64_C(0x100000000)));
}

Test(record, every_cut_asks_for_more_or_is_none)
{
	struct record record;
	for (size_t size = 0; size < sizeof(golden); size++) {
		cr_assert_eq(record_parse(golden, size, record_seed(GENERATION), &record), RECORD_MORE, "size %zu", size);
		cr_assert_gt(record.size, size);
		cr_assert_leq(record.size, sizeof(golden));
	}
}

Test(record, zeros_and_impossible_lengths_are_no_record)
{
	char bytes[64] = {0};
	struct record record;
	cr_assert_eq(record_parse(bytes, sizeof(bytes), record_seed(GENERATION), &record), RECORD_NONE);
	const uint32_t lengths[] = {1, RECORD_HEADER_SIZE - 1, RECORD_SIZE_MAX + 1, UINT32_MAX, UINT32_MAX - 6};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memcpy(bytes + 4, &lengths[i], 4);
		cr_assert_eq(record_parse(bytes, sizeof(bytes), record_seed(GENERATION), &record), RECORD_NONE, "length %u",
			     lengths[i]);
	}
}

Test(record, sizes_are_multiples_of_eight_and_the_largest_is_the_announced_one)
{
	for (size_t len = 0; len < 100; len++) {
		cr_assert_eq(record_size(len) % RECORD_ALIGN, 0);
		cr_assert_geq(record_size(len), RECORD_HEADER_SIZE + len);
		cr_assert_lt(record_size(len), RECORD_HEADER_SIZE + len + RECORD_ALIGN);
	}
	cr_assert_eq(record_size(RECORD_PAYLOAD_MAX), RECORD_SIZE_MAX);
}

Test(record, fit_takes_whole_records_only)
{
	char batch[512];
	size_t sizes[3];
	size_t len = 0;
	len += sizes[0] = make(batch + len, 11, "one", 3);
	len += sizes[1] = make(batch + len, 12, "twelve bytes", 12);
	len += sizes[2] = make(batch + len, 13, "", 0);
	for (size_t room = 0; room <= len + 8; room++) {
		uint64_t last = 0;
		size_t expected = 0;
		uint64_t expected_last = 0;
		for (unsigned i = 0; i < 3 && expected + sizes[i] <= room; i++) {
			expected += sizes[i];
			expected_last = 11 + i;
		}
		cr_assert_eq(record_fit(batch, len, room, &last), expected);
		cr_assert_eq(last, expected_last);
	}
}

Test(record, sealing_again_for_another_generation_makes_it_verify_there_and_only_there)
{
	char batch[256];
	struct record record;
	size_t len = make(batch, 1, "first", 5);
	len += make(batch + len, 2, "second", 6);
	record_seal(batch, len, record_seed(1));
	record_seal(batch, len, record_seed(2));
	cr_assert_eq(record_parse(batch, len, record_seed(1), &record), RECORD_NONE);
	cr_assert_eq(record_parse(batch, len, record_seed(2), &record), RECORD_OK);
	cr_assert_eq(record_size_at(batch), record.size);
	cr_assert_eq(record_sequence_at(batch + record.size), 2);
	cr_assert_eq(record_parse(batch + record.size, len - record.size, record_seed(2), &record), RECORD_OK);
	cr_assert(slice_equal(record.payload, SLICE("second")));
}
