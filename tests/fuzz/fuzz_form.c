/* SPDX-License-Identifier: MIT */
/*
 * The form parser: what it hands out lies in the text or the scratch, has no NUL, and encodes and parses back to the
 * same fields.
 */
#include "base/buffer.h"
#include "base/check.h"

#include <reeld/form.h>
#include <stdlib.h>

#define MAX_FIELDS 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(const char *part, size_t len, const char *whole, size_t whole_len)
{
	return part >= whole && len <= whole_len && (size_t)(part - whole) <= whole_len - len;
}

static void check_part(const char *part, size_t len, const char *text, const char *scratch, size_t size)
{
	REQUIRE(lies_in(part, len, text, size) || lies_in(part, len, scratch, size));
	REQUIRE(memchr(part, '\0', len) == NULL);
}

static void check_round_trip(const struct reeld_form_field *fields, size_t count)
{
	struct reeld_form_field again[MAX_FIELDS];
	struct buffer text;
	size_t again_count;

	buffer_init(&text, SIZE_MAX);
	for (size_t i = 0; i < count; i++) {
		buffer_append_char(&text, '&');
		buffer_append_percent(&text, slice_make(fields[i].name, fields[i].name_len), false);
		buffer_append_char(&text, '=');
		buffer_append_percent(&text, slice_make(fields[i].value, fields[i].value_len), false);
	}
	REQUIRE(!text.failed);
	char *scratch = malloc(text.len + 1);
	REQUIRE(scratch != NULL);
	REQUIRE(reeld_form_parse(text.data, text.len, again, MAX_FIELDS, scratch, text.len, &again_count) == REELD_FORM_OK);
	REQUIRE(again_count == count);
	for (size_t i = 0; i < count; i++) {
		REQUIRE(slice_equal(slice_make(fields[i].name, fields[i].name_len),
				    slice_make(again[i].name, again[i].name_len)));
		REQUIRE(slice_equal(slice_make(fields[i].value, fields[i].value_len),
				    slice_make(again[i].value, again[i].value_len)));
	}
	free(scratch);
	buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reeld_form_field fields[MAX_FIELDS];
	const char *text = (const char *)data;
	size_t count;
	/* exactly as large as promised to suffice, so that the sanitizer sees a byte too many */
	char *scratch = malloc(size > 0 ? size : 1);

	REQUIRE(scratch != NULL);
	enum reeld_form_result result = reeld_form_parse(text, size, fields, MAX_FIELDS, scratch, size, &count);
	REQUIRE(result != REELD_FORM_NO_ROOM && count <= MAX_FIELDS);
	for (size_t i = 0; i < count; i++) {
		check_part(fields[i].name, fields[i].name_len, text, scratch, size);
		check_part(fields[i].value, fields[i].value_len, text, scratch, size);
	}
	check_round_trip(fields, count);

	/* less room and fewer fields may fail, but nothing else */
	(void)reeld_form_parse(text, size, fields, 3, scratch, size / 3, &count);
	REQUIRE(count <= 3);
	free(scratch);
	return 0;
}
