/* SPDX-License-Identifier: MIT */
#include "journal/record.h"

#include "base/check.h"
#include "base/crc32c.h"

#include <endian.h>

/* Offsets in the header. */
enum { AT_CRC = 0, AT_LENGTH = 4, AT_SEQUENCE = 8, AT_TIME = 16 };

static uint32_t load32(const char *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t load64(const char *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static void store32(char *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void store64(char *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static size_t padded(size_t length)
{
	return (length + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

uint32_t record_seed(uint64_t generation)
{
	uint64_t bytes = htole64(generation);
	return crc32c(0, &bytes, sizeof(bytes));
}

void record_write(void *out, uint64_t sequence, int64_t time_ms, const struct slice *parts, size_t count, size_t payload_len)
{
	char *at = out;
	size_t length = RECORD_HEADER_SIZE + payload_len;
	store32(at + AT_CRC, 0);
	store32(at + AT_LENGTH, (uint32_t)length);
	store64(at + AT_SEQUENCE, sequence);
	store64(at + AT_TIME, (uint64_t)time_ms);
	at += RECORD_HEADER_SIZE;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len > 0)
			memcpy(at, parts[i].ptr, parts[i].len);
		at += parts[i].len;
	}
	REQUIRE(at == (char *)out + length);
	memset(at, 0, padded(length) - length);
}

void record_seal(void *data, size_t size, uint32_t seed)
{
	char *end = (char *)data + size;
	for (char *at = data; at < end;) {
		uint32_t length = load32(at + AT_LENGTH);
		REQUIRE(length >= RECORD_HEADER_SIZE && padded(length) <= (size_t)(end - at));
		store32(at + AT_CRC, crc32c(seed, at + AT_LENGTH, length - AT_LENGTH));
		at += padded(length);
	}
}

size_t record_size_at(const void *data)
{
	return padded(load32((const char *)data + AT_LENGTH));
}

uint64_t record_sequence_at(const void *data)
{
	return load64((const char *)data + AT_SEQUENCE);
}

size_t record_fit(const void *data, size_t size, size_t room, uint64_t *last)
{
	const char *at = data;
	size_t fit = 0;
	while (fit < size) {
		size_t next = record_size_at(at + fit);
		if (next > room - fit)
			break;
		*last = record_sequence_at(at + fit);
		fit += next;
	}
	return fit;
}

enum record_verdict record_parse(const void *data, size_t available, uint32_t seed, struct record *record)
{
	const char *at = data;
	if (available < RECORD_HEADER_SIZE) {
		record->size = RECORD_HEADER_SIZE;
		return RECORD_MORE;
	}
	uint32_t length = load32(at + AT_LENGTH);
	if (length < RECORD_HEADER_SIZE || length > RECORD_SIZE_MAX)
		return RECORD_NONE;
	record->sequence = load64(at + AT_SEQUENCE);
	record->size = padded(length);
	if (record->size > available)
		return RECORD_MORE;
	if (load32(at + AT_CRC) != crc32c(seed, at + AT_LENGTH, length - AT_LENGTH))
		return RECORD_NONE;
	record->time_ms = (int64_t)load64(at + AT_TIME);
	record->payload = slice_make(at + RECORD_HEADER_SIZE, length - RECORD_HEADER_SIZE);
	return RECORD_OK;
}
