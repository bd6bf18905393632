/* SPDX-License-Identifier: MIT */
/* Env-files and the forms of configuration values: what is taken obeys its own rules. The first byte chooses the parser. */
#include "base/check.h"
#include "config_value.h"
#include "env_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_env_file(struct slice text)
{
	struct env_file file;
	struct error error = {0};
	int rc = env_file_parse(&file, text, "fuzz", &error);
	REQUIRE(rc == 0 || (error.code == ERR_CONFIG && file.count == 0 && strchr(error.detail, '\n') == NULL));
	for (size_t i = 0; i < file.count; i++) {
		REQUIRE(file.pairs[i].name[0] != '\0' && strpbrk(file.pairs[i].name, "= \t\n#") == NULL);
		REQUIRE(env_file_get(&file, file.pairs[i].name) != NULL);
	}
	env_file_free(&file);
}

static void check_numbers(struct slice text)
{
	int64_t ms;
	uint64_t value;
	if (config_parse_duration(text, &ms))
		REQUIRE(ms >= 0);
	if (config_parse_size(text, &value))
		REQUIRE(value <= INT64_MAX);
	if (config_parse_count(text, &value))
		REQUIRE(config_parse_size(text, &value));
}

static void check_texts(struct slice text)
{
	struct slice host;
	uint16_t port;
	if (config_parse_address(text, &host, &port)) {
		REQUIRE(host.len > 0 && host.ptr >= text.ptr && host.ptr + host.len < text.ptr + text.len);
		config_host_is_loopback(host);
	}
	if (config_url_valid(text))
		REQUIRE(config_is_graphic(text) && memchr(text.ptr, '@', text.len) == NULL);
	if (config_tokens_valid(text))
		REQUIRE(text.len > 0 && text.ptr[0] != ',' && text.ptr[text.len - 1] != ',');
	if (config_prefix_valid(text))
		REQUIRE(text.len == 0 || (text.ptr[0] != '/' && memmem(text.ptr, text.len, "//", 2) == NULL));
	config_cidrs_valid(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct slice text = {(const char *)data + 1, size - 1};
	switch (data[0] % 3) {
	case 0:
		check_env_file(text);
		break;
	case 1:
		check_numbers(text);
		break;
	default:
		check_texts(text);
	}
	return 0;
}
