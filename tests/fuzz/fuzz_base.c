/* SPDX-License-Identifier: MIT */
/* The small parsers and encoders of src/base: what is decoded encodes back, and escaped text is always plain and valid. */
#include "base/buffer.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/hex.h"
#include "base/sid.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_date(struct slice text)
{
	int64_t wall_ms;
	int64_t again;
	char formatted[CLOCK_RFC2822_SIZE];
	char iso[CLOCK_ISO8601_SIZE];
	if (clock_parse_rfc2822(text.ptr, text.len, &wall_ms) != 0)
		return;
	clock_format_iso8601(wall_ms, iso);
	REQUIRE(strlen(iso) == CLOCK_ISO8601_SIZE - 1);
	clock_format_rfc2822(wall_ms, formatted);
	REQUIRE(clock_parse_rfc2822(formatted, strlen(formatted), &again) == 0);
	/* A zone can push the first or last day of the four-digit years over their edge; formatting then clamps. */
	REQUIRE(again == wall_ms || llabs(again - wall_ms) < INT64_C(86400000));
}

static void check_codecs(struct slice text)
{
	uint8_t *bytes = malloc(text.len + 1);
	char *encoded = malloc(BASE64_LEN(text.len) + 2 * text.len + 1);
	size_t len;
	REQUIRE(bytes != NULL && encoded != NULL);
	if (base64_decode(text, bytes, &len)) {
		base64_encode(bytes, len, encoded);
		REQUIRE(slice_equal(slice_from_cstr(encoded), text));
	}
	base64_encode(text.ptr, text.len, encoded);
	REQUIRE(base64_decode(slice_from_cstr(encoded), bytes, &len) && len == text.len);
	hex_encode(text.ptr, text.len, encoded);
	REQUIRE(hex_decode(slice_from_cstr(encoded), bytes));
	REQUIRE(text.len == 0 || memcmp(bytes, text.ptr, text.len) == 0);
	free(encoded);
	free(bytes);
}

static void check_escapes(struct slice text)
{
	struct buffer buffer;
	buffer_init(&buffer, text.len * 6);
	REQUIRE(buffer_append_json(&buffer, text) == 0);
	for (size_t i = 0; i < buffer.len; i++)
		REQUIRE((unsigned char)buffer.data[i] >= 0x20);
	buffer_clear(&buffer);
	REQUIRE(buffer_append_percent(&buffer, text, true) == 0);
	buffer_free(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = {(const char *)data, size};
	struct sid sid;
	uint8_t binary[16];
	if (sid_parse(text, "RE", &sid))
		REQUIRE(sid_binary(&sid, binary));
	check_date(text);
	check_codecs(text);
	check_escapes(text);
	REQUIRE(crc32c(0, data, size) == crc32c_portable(0, data, size));
	return 0;
}
