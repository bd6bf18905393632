/* SPDX-License-Identifier: MIT */
#include "journal/header.h"

#include "base/crc32c.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

/*
 * Both structures fill 64 bytes: 8 of magic, u32 version, u32 reserved (0), four u64, 12 reserved (0), and the CRC-32C of the sixty
 * bytes before it.
 */
#define BODY_SIZE 64
enum { AT_MAGIC = 0, AT_VERSION = 8, AT_FIELDS = 16, AT_CRC = 60 };
#define BODY_FIELDS 4
#define SECOND_COPY 2048

static const char segment_magic[8] = {'r', 'e', 'e', 'l', 'd', 's', 'e', 'g'};
static const char checkpoint_magic[8] = {'r', 'e', 'e', 'l', 'd', 'c', 'h', 'k'};

static void body_write(char *out, const char magic[8], const uint64_t fields[BODY_FIELDS])
{
	memset(out, 0, BODY_SIZE);
	memcpy(out + AT_MAGIC, magic, 8);
	uint32_t version = htole32(HEADER_VERSION);
	memcpy(out + AT_VERSION, &version, sizeof(version));
	for (size_t i = 0; i < BODY_FIELDS; i++) {
		uint64_t field = htole64(fields[i]);
		memcpy(out + AT_FIELDS + 8 * i, &field, sizeof(field));
	}
	uint32_t crc = htole32(crc32c(0, out, AT_CRC));
	memcpy(out + AT_CRC, &crc, sizeof(crc));
}

static bool all_zero(const char *data, size_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

static enum header_verdict body_parse(const char *body, const char magic[8], uint64_t fields[BODY_FIELDS], uint32_t *version)
{
	if (all_zero(body, BODY_SIZE))
		return HEADER_BLANK;
	if (memcmp(body + AT_MAGIC, magic, 8) != 0)
		return HEADER_DAMAGED;
	uint32_t word;
	memcpy(&word, body + AT_VERSION, sizeof(word));
	*version = le32toh(word);
	/* What another version puts behind its number, its checksum included, is its own business. */
	if (*version != HEADER_VERSION)
		return HEADER_UNKNOWN;
	memcpy(&word, body + AT_CRC, sizeof(word));
	if (le32toh(word) != crc32c(0, body, AT_CRC))
		return HEADER_DAMAGED;
	for (size_t i = 0; i < BODY_FIELDS; i++) {
		uint64_t field;
		memcpy(&field, body + AT_FIELDS + 8 * i, sizeof(field));
		fields[i] = le64toh(field);
	}
	return HEADER_OK;
}

void header_write(char out[HEADER_BLOCK_SIZE], const struct segment_header *header)
{
	const uint64_t fields[BODY_FIELDS] = {header->size, header->generation, header->first};
	memset(out, 0, HEADER_BLOCK_SIZE);
	body_write(out, segment_magic, fields);
	body_write(out + SECOND_COPY, segment_magic, fields);
}

enum header_verdict header_parse(const char block[HEADER_BLOCK_SIZE], struct segment_header *header, uint32_t *version)
{
	uint64_t one[BODY_FIELDS];
	uint64_t two[BODY_FIELDS];
	uint32_t other_version = 0;
	enum header_verdict first = body_parse(block, segment_magic, one, version);
	enum header_verdict second = body_parse(block + SECOND_COPY, segment_magic, two, &other_version);
	if (first != HEADER_OK && second != HEADER_OK) {
		if (first == HEADER_UNKNOWN)
			return first;
		*version = other_version;
		if (second == HEADER_UNKNOWN)
			return second;
		return all_zero(block, HEADER_BLOCK_SIZE) ? HEADER_BLANK : HEADER_DAMAGED;
	}
	/* They differ only when a crash tore the block: the higher generation is the one that was being written. */
	const uint64_t *fields = second != HEADER_OK || (first == HEADER_OK && one[1] >= two[1]) ? one : two;
	*header = (struct segment_header){.size = fields[0], .generation = fields[1], .first = fields[2]};
	return header->generation == 0 || header->first == 0 ? HEADER_DAMAGED : HEADER_OK;
}

void checkpoint_slot_write(char out[CHECKPOINT_SLOT_SIZE], const struct checkpoint *checkpoint)
{
	const uint64_t fields[BODY_FIELDS] = {checkpoint->serial, checkpoint->sequence, checkpoint->next_sequence,
					      checkpoint->next_generation};
	body_write(out, checkpoint_magic, fields);
}

enum header_verdict checkpoint_slot_parse(const char slot[CHECKPOINT_SLOT_SIZE], struct checkpoint *checkpoint, uint32_t *version)
{
	uint64_t fields[BODY_FIELDS];
	enum header_verdict verdict = body_parse(slot, checkpoint_magic, fields, version);
	if (verdict == HEADER_OK)
		*checkpoint = (struct checkpoint){fields[0], fields[1], fields[2], fields[3]};
	return verdict;
}
