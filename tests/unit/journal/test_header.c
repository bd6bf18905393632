/* SPDX-License-Identifier: MIT */
#include "journal/header.h"

#include <criterion/criterion.h>
#include <string.h>

/* Made by an independent implementation; if these change, journals on disk can no longer be read. */
static const unsigned char golden_segment[64] = {
	0x72, 0x65, 0x65, 0x6c, 0x64, 0x73, 0x65, 0x67, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x41, 0x42, 0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x5c, 0xc4, 0xea, 0xd2,
};
static const unsigned char golden_checkpoint[64] = {
	0x72, 0x65, 0x65, 0x6c, 0x64, 0x63, 0x68, 0x6b, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe7, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xd2, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x79, 0xc3, 0xde, 0x66,
};
static const struct segment_header golden = {.size = 67108864, .generation = 42, .first = 1000001};

Test(header, the_bytes_on_disk_are_the_documented_ones)
{
	char block[HEADER_BLOCK_SIZE];
	header_write(block, &golden);
	cr_assert_eq(memcmp(block, golden_segment, 64), 0);
	cr_assert_eq(memcmp(block + 2048, golden_segment, 64), 0);
	for (size_t i = 64; i < HEADER_BLOCK_SIZE; i++)
		cr_assert(block[i] == 0 || (i >= 2048 && i < 2048 + 64));
	char slot[CHECKPOINT_SLOT_SIZE];
	checkpoint_slot_write(slot,
			      &(struct checkpoint){.serial = 5, .sequence = 999, .next_sequence = 1234, .next_generation = 43});
	cr_assert_eq(memcmp(slot, golden_checkpoint, 64), 0);
}

Test(header, one_copy_is_enough)
{
	for (unsigned spoiled = 0; spoiled < 2; spoiled++) {
		for (size_t byte = 0; byte < 64; byte++) {
			char block[HEADER_BLOCK_SIZE];
			struct segment_header header;
			uint32_t version;
			header_write(block, &golden);
			block[spoiled * 2048 + byte] ^= 0x10;
			cr_assert_eq(header_parse(block, &header, &version), HEADER_OK);
			cr_assert_eq(memcmp(&header, &golden, sizeof(header)), 0);
		}
	}
}

Test(header, two_spoiled_copies_are_damage_and_never_a_value)
{
	for (size_t byte = 0; byte < 64; byte++) {
		char block[HEADER_BLOCK_SIZE];
		struct segment_header header;
		uint32_t version;
		header_write(block, &golden);
		block[byte] ^= 0x10;
		block[2048 + byte] ^= 0x10;
		cr_assert_neq(header_parse(block, &header, &version), HEADER_OK, "byte %zu", byte);
		cr_assert_neq(header_parse(block, &header, &version), HEADER_BLANK, "byte %zu", byte);
	}
}

Test(header, a_torn_rewrite_gives_the_newer_life)
{
	char older[HEADER_BLOCK_SIZE];
	char newer[HEADER_BLOCK_SIZE];
	struct segment_header header;
	uint32_t version;
	header_write(older, &golden);
	header_write(newer, &(struct segment_header){golden.size, golden.generation + 9, golden.first + 1000});
	for (size_t cut = 512; cut < HEADER_BLOCK_SIZE; cut += 512) {
		char block[HEADER_BLOCK_SIZE];
		memcpy(block, newer, cut);
		memcpy(block + cut, older + cut, HEADER_BLOCK_SIZE - cut);
		cr_assert_eq(header_parse(block, &header, &version), HEADER_OK);
		cr_assert_eq(header.generation, golden.generation + 9);
		memcpy(block, older, cut);
		memcpy(block + cut, newer + cut, HEADER_BLOCK_SIZE - cut);
		cr_assert_eq(header_parse(block, &header, &version), HEADER_OK);
		cr_assert(header.generation == golden.generation || header.generation == golden.generation + 9);
	}
}

Test(header, zeros_are_blank_and_another_version_is_named)
{
	char block[HEADER_BLOCK_SIZE] = {0};
	struct segment_header header;
	uint32_t version = 0;
	cr_assert_eq(header_parse(block, &header, &version), HEADER_BLANK);
	block[HEADER_BLOCK_SIZE - 1] = 1;
	cr_assert_eq(header_parse(block, &header, &version), HEADER_DAMAGED);
	memcpy(block, "reeldseg\x09\0\0\0", 12);
	cr_assert_eq(header_parse(block, &header, &version), HEADER_UNKNOWN);
	cr_assert_eq(version, 9);
}

Test(header, a_life_without_generation_or_first_sequence_is_damage)
{
	char block[HEADER_BLOCK_SIZE];
	struct segment_header header;
	uint32_t version;
	header_write(block, &(struct segment_header){1, 0, 1});
	cr_assert_eq(header_parse(block, &header, &version), HEADER_DAMAGED);
	header_write(block, &(struct segment_header){1, 1, 0});
	cr_assert_eq(header_parse(block, &header, &version), HEADER_DAMAGED);
}

Test(header, a_checkpoint_slot_comes_back_and_a_spoiled_one_does_not)
{
	const struct checkpoint written = {1, UINT64_MAX, 3, 4};
	struct checkpoint read;
	uint32_t version;
	char slot[CHECKPOINT_SLOT_SIZE];
	checkpoint_slot_write(slot, &written);
	cr_assert_eq(checkpoint_slot_parse(slot, &read, &version), HEADER_OK);
	cr_assert_eq(memcmp(&written, &read, sizeof(read)), 0);
	for (size_t byte = 0; byte < sizeof(slot); byte++) {
		slot[byte] ^= 1;
		cr_assert_neq(checkpoint_slot_parse(slot, &read, &version), HEADER_OK);
		slot[byte] ^= 1;
	}
	memset(slot, 0, sizeof(slot));
	cr_assert_eq(checkpoint_slot_parse(slot, &read, &version), HEADER_BLANK);
}
