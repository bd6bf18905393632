/* SPDX-License-Identifier: MIT */
/*
 * The scanner on a crafted segment. The input is a program that builds one, so that valid records are common: each step begins with a byte
 * that says what it adds (a record of this generation, one of an earlier life, raw bytes, zeros, a claim of a huge length) or spoils.
 * Whatever comes out: it ends, every record it returns verifies by an independent computation, sequences rise and stay in their bounds,
 * and records lie in order inside the image.
 */
#include "base/check.h"
#include "base/crc32c.h"
#include "journal/header.h"
#include "journal/scan.h"

#include <stdlib.h>

#define IMAGE_MAX ((size_t)256 * 1024)
#define GENERATION 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct image {
	char bytes[IMAGE_MAX];
	size_t size;
	uint64_t sequence;
};

static int64_t image_read(void *ctx, void *buffer, size_t size, uint64_t offset)
{
	const struct image *image = ctx;
	if (offset >= image->size)
		return 0;
	size_t got = image->size - (size_t)offset < size ? image->size - (size_t)offset : size;
	memcpy(buffer, image->bytes + offset, got);
	return (int64_t)got;
}

static void add_record(struct image *image, uint64_t generation, uint64_t sequence, const uint8_t *payload, size_t len)
{
	if (record_size(len) > IMAGE_MAX - image->size)
		return;
	const struct slice part = {(const char *)payload, len};
	record_write(image->bytes + image->size, sequence, (int64_t)len, &part, 1, len);
	record_seal(image->bytes + image->size, record_size(len), record_seed(generation));
	image->size += record_size(len);
}

static void add_raw(struct image *image, const uint8_t *raw, size_t len)
{
	if (len > IMAGE_MAX - image->size)
		len = IMAGE_MAX - image->size;
	if (raw != NULL)
		memcpy(image->bytes + image->size, raw, len);
	else
		memset(image->bytes + image->size, 0, len);
	image->size += len;
}

/* Bytes that look like the header of a long record until they are checked. */
static void add_claims(struct image *image, uint32_t length, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const uint32_t words[2] = {0, length};
		add_raw(image, (const uint8_t *)words, sizeof(words));
	}
}

static void build(struct image *image, const uint8_t *data, size_t size)
{
	while (size >= 3) {
		uint8_t step = data[0];
		uint8_t value = data[1];
		size_t len = data[2];
		data += 3;
		size -= 3;
		size_t have = len < size ? len : size;
		switch (step % 7) {
		case 0:
			image->sequence += 1 + value % 3;
			add_record(image, GENERATION, image->sequence, data, have);
			break;
		case 1:
			add_record(image, GENERATION - 1, value, data, have);
			break;
		case 2:
			add_raw(image, data, have);
			break;
		case 3:
			add_raw(image, NULL, 8 * len);
			have = 0;
			break;
		case 4:
			add_claims(image, ((uint32_t)value << 12) + (uint32_t)len, 64);
			have = 0;
			break;
		case 5:
			if (image->size > 0)
				image->bytes[(value * 251u + len) % image->size] ^= (char)(1 + step / 7);
			have = 0;
			break;
		default:
			/* A record whose sequence does not fit. */
			add_record(image, GENERATION, value, data, have);
			break;
		}
		data += have;
		size -= have;
	}
}

static void check_scan(struct image *image, uint64_t begin, uint64_t last, uint64_t below)
{
	struct scan scan;
	struct record record;
	uint64_t at = begin;
	scan_init(&scan, image_read, image, GENERATION, begin, IMAGE_MAX, last, below);
	while (scan_next(&scan, &record) == 1) {
		REQUIRE(record.sequence > last && record.sequence < below);
		last = record.sequence;
		REQUIRE(scan.offset >= at + record.size && scan.offset <= image->size);
		uint64_t offset = scan.offset - record.size;
		REQUIRE(offset % RECORD_ALIGN == 0 && offset == at + scan.bad_size);
		const char *bytes = image->bytes + offset;
		uint32_t crc;
		memcpy(&crc, bytes, sizeof(crc));
		REQUIRE(crc == crc32c_portable(record_seed(GENERATION), bytes + 4, RECORD_HEADER_SIZE - 4 + record.payload.len));
		REQUIRE(memcmp(bytes + RECORD_HEADER_SIZE, record.payload.ptr, record.payload.len) == 0);
		at = scan.offset;
	}
	REQUIRE(scan_next(&scan, &record) == 0);
	scan_free(&scan);
}

static void check_headers(const uint8_t *data, size_t size)
{
	char block[HEADER_BLOCK_SIZE] = {0};
	struct segment_header header;
	struct checkpoint checkpoint;
	uint32_t version;
	memcpy(block, data, size < sizeof(block) ? size : sizeof(block));
	if (header_parse(block, &header, &version) == HEADER_OK)
		REQUIRE(header.generation != 0 && header.first != 0);
	checkpoint_slot_parse(block, &checkpoint, &version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *image = calloc(1, sizeof(*image));
	if (image == NULL)
		return 0;
	check_headers(data, size);
	build(image, data, size);
	check_scan(image, 0, 0, UINT64_MAX);
	check_scan(image, 0, 2, 40);
	check_scan(image, image->size / 2 / RECORD_ALIGN * RECORD_ALIGN, 0, UINT64_MAX);
	free(image);
	return 0;
}
