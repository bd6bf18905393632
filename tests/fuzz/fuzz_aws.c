/* SPDX-License-Identifier: MIT */
/* What is read from those who give out AWS credentials: answers, profile files, URLs and dates. Whatever comes out could be a header. */
#include "base/check.h"
#include "base/clock.h"
#include "store/aws_answer.h"
#include "store/aws_profile.h"
#include "store/aws_source.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_word(const char *text, size_t room)
{
	size_t len = strnlen(text, room);

	REQUIRE(len < room);
	for (size_t i = 0; i < len; i++)
		REQUIRE((unsigned char)text[i] > ' ');
}

static void check_keys(const struct aws_keys *keys, int status)
{
	check_word(keys->access_key_id, sizeof(keys->access_key_id));
	check_word(keys->secret_access_key, sizeof(keys->secret_access_key));
	check_word(keys->session_token, sizeof(keys->session_token));
	REQUIRE(aws_keys_complete(keys) == (status == 0));
}

static void check_inside(struct slice value, struct slice text)
{
	REQUIRE(value.len == 0 || (value.ptr >= text.ptr && value.ptr + value.len <= text.ptr + text.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct aws_keys keys;
	struct aws_answer_error refused;
	struct aws_profile profile;
	struct error error;
	struct slice text = {(const char *)data, size};
	int64_t wall_ms;

	check_keys(&keys, aws_answer_json(text, &keys, &refused));
	check_word(refused.code, sizeof(refused.code));
	check_keys(&keys, aws_answer_sts(text, &keys));
	aws_answer_json_error(text, &refused);
	check_word(refused.code, sizeof(refused.code));
	aws_answer_sts_error(text, &refused);
	check_word(refused.code, sizeof(refused.code));

	for (int file = AWS_PROFILE_CONFIG; file <= AWS_PROFILE_CREDENTIALS; file++) {
		if (aws_profile_parse(text, (enum aws_profile_file)file, "default", "file", &profile, &error) != 0)
			continue;
#define CHECK_INSIDE(field, key) check_inside(profile.field, text);
		AWS_PROFILE_KEYS(CHECK_INSIDE)
#undef CHECK_INSIDE
	}

	char *line = malloc(size + 1);
	REQUIRE(line != NULL);
	if (size > 0)
		memcpy(line, data, size);
	line[size] = '\0';
	(void)aws_source_url_is_safe(line);
	free(line);

	if (clock_parse_iso8601(text.ptr, text.len, &wall_ms) == 0) {
		char formatted[CLOCK_ISO8601_SIZE];
		int64_t again;
		clock_format_iso8601(wall_ms, formatted);
		REQUIRE(clock_parse_iso8601(formatted, strlen(formatted), &again) == 0);
		/* at the ends of the calendar a zone leads out of it */
		REQUIRE(again == wall_ms || wall_ms < -62167219200000 || wall_ms > 253402300799999);
	}
	return 0;
}
