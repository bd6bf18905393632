/* SPDX-License-Identifier: MIT */
#include "config_value.h"

#include <arpa/inet.h>
#include <reeld/twiml.h>
#include <stdlib.h>

#define CONFIG_SPEECH_MAX ((size_t)4096)
#define CONFIG_STREAM_MAX 2048

struct unit {
	const char *name;
	uint64_t factor;
};

/* Digits and one of the units. False when it does not fit into `max`. */
static bool parse_number(struct slice text, const struct unit *units, size_t unit_count, uint64_t max, uint64_t *value)
{
	uint64_t number = 0;
	size_t i = 0;
	for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(text.ptr[i] - '0');
		if (number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	if (i == 0)
		return false;
	struct slice unit = {text.ptr + i, text.len - i};
	for (size_t k = 0; k < unit_count; k++) {
		if (slice_equal(unit, slice_from_cstr(units[k].name))) {
			*value = number * units[k].factor;
			return number <= max / units[k].factor;
		}
	}
	return false;
}

bool config_parse_duration(struct slice text, int64_t *ms)
{
	static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	uint64_t value;
	if (!parse_number(text, units, sizeof(units) / sizeof(units[0]), INT64_MAX / 2, &value))
		return false;
	*ms = (int64_t)value;
	return true;
}

bool config_parse_size(struct slice text, uint64_t *bytes)
{
	static const struct unit units[] = {{"", 1},           {"B", 1},          {"KiB", 1U << 10},
					    {"MiB", 1U << 20}, {"GiB", 1U << 30}, {"TiB", UINT64_C(1) << 40}};
	return parse_number(text, units, sizeof(units) / sizeof(units[0]), INT64_MAX, bytes);
}

bool config_parse_count(struct slice text, uint64_t *count)
{
	static const struct unit units[] = {{"", 1}};
	return parse_number(text, units, 1, INT64_MAX, count);
}

int config_parse_choice(struct slice text, const char *choices)
{
	for (int i = 0;; i++) {
		size_t len = strcspn(choices, "|");
		if (slice_equal(text, slice_make(choices, len)))
			return i;
		if (choices[len] == '\0')
			return -1;
		choices += len + 1;
	}
}

/* A NUL-terminated copy for the C library; false when it does not fit or holds a NUL. */
static bool copy_cstr(struct slice text, char *out, size_t size)
{
	if (text.len >= size || memchr(text.ptr, '\0', text.len) != NULL)
		return false;
	memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return true;
}

/* 4 or 6 for an address of that family, else 0. */
static int address_family(struct slice text, unsigned char bytes[16])
{
	char copy[INET6_ADDRSTRLEN + 1];
	if (!copy_cstr(text, copy, sizeof(copy)))
		return 0;
	if (inet_pton(AF_INET, copy, bytes) == 1)
		return 4;
	return inet_pton(AF_INET6, copy, bytes) == 1 ? 6 : 0;
}

bool config_is_graphic(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	}
	return text.len > 0;
}

static bool is_host_name(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
			    c == '_';
		if (!good)
			return false;
	}
	return text.len > 0 && text.len < 254;
}

bool config_parse_address(struct slice text, struct slice *host, uint16_t *port)
{
	const char *colon = text.len == 0 ? NULL : memrchr(text.ptr, ':', text.len);
	if (colon == NULL)
		return false;
	struct slice digits = {colon + 1, text.len - (size_t)(colon + 1 - text.ptr)};
	uint64_t number;
	if (!config_parse_count(digits, &number) || number > UINT16_MAX)
		return false;
	*port = (uint16_t)number;
	*host = slice_make(text.ptr, (size_t)(colon - text.ptr));
	if (host->len >= 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']') {
		unsigned char bytes[16];
		*host = slice_make(host->ptr + 1, host->len - 2);
		return address_family(*host, bytes) == 6;
	}
	return is_host_name(*host);
}

bool config_host_is_loopback(struct slice host)
{
	static const unsigned char loopback6[16] = {[15] = 1};
	unsigned char bytes[16];
	switch (address_family(host, bytes)) {
	case 4:
		return bytes[0] == 127;
	case 6:
		return memcmp(bytes, loopback6, sizeof(bytes)) == 0;
	default:
		return slice_equal_nocase(host, SLICE("localhost"));
	}
}

/* Calls `check` for each part between commas; true when all are good. */
static bool all_entries(struct slice list, bool (*check)(struct slice entry))
{
	for (;;) {
		const char *comma = list.len == 0 ? NULL : memchr(list.ptr, ',', list.len);
		size_t len = comma == NULL ? list.len : (size_t)(comma - list.ptr);
		if (!check(slice_make(list.ptr, len)))
			return false;
		if (comma == NULL)
			return true;
		list = slice_make(comma + 1, list.len - len - 1);
	}
}

static bool cidr_valid(struct slice entry)
{
	while (entry.len > 0 && entry.ptr[0] == ' ')
		entry = slice_make(entry.ptr + 1, entry.len - 1);
	while (entry.len > 0 && entry.ptr[entry.len - 1] == ' ')
		entry.len--;
	const char *slash = entry.len == 0 ? NULL : memchr(entry.ptr, '/', entry.len);
	size_t len = slash == NULL ? entry.len : (size_t)(slash - entry.ptr);
	unsigned char bytes[16];
	int family = address_family(slice_make(entry.ptr, len), bytes);
	if (family == 0 || slash == NULL)
		return family != 0;
	uint64_t bits;
	return config_parse_count(slice_make(slash + 1, entry.len - len - 1), &bits) && bits <= (family == 4 ? 32U : 128U);
}

bool config_cidrs_valid(struct slice text)
{
	return all_entries(text, cidr_valid);
}

bool config_tokens_valid(struct slice text)
{
	return all_entries(text, config_is_graphic);
}

bool config_url_valid(struct slice text)
{
	size_t scheme = slice_starts_with(text, SLICE("https://")) ? 8 : slice_starts_with(text, SLICE("http://")) ? 7 : 0;
	if (scheme == 0 || !config_is_graphic(text))
		return false;
	struct slice rest = {text.ptr + scheme, text.len - scheme};
	for (size_t i = 0; i < rest.len; i++) {
		if (strchr("@?#\"<>\\^`{|}", rest.ptr[i]) != NULL)
			return false;
	}
	const char *slash = rest.len == 0 ? NULL : memchr(rest.ptr, '/', rest.len);
	struct slice authority = {rest.ptr, slash == NULL ? rest.len : (size_t)(slash - rest.ptr)};
	struct slice host;
	uint16_t port;
	unsigned char bytes[16];
	if (config_parse_address(authority, &host, &port))
		return port != 0;
	if (authority.len > 2 && authority.ptr[0] == '[' && authority.ptr[authority.len - 1] == ']')
		return address_family(slice_make(authority.ptr + 1, authority.len - 2), bytes) == 6;
	return is_host_name(authority);
}

bool config_speech_valid(struct slice text)
{
	/* Whether XML has all of its characters, the writer knows. */
	static const size_t room = 6 * CONFIG_SPEECH_MAX + 256;
	struct reeld_twiml twiml;
	size_t len;
	char *out = text.len == 0 || text.len > CONFIG_SPEECH_MAX ? NULL : malloc(room);
	if (out == NULL)
		return false;
	reeld_twiml_begin(&twiml, out, room);
	reeld_twiml_say(&twiml, text.ptr, text.len, NULL, NULL);
	bool valid = reeld_twiml_end(&twiml, &len) == REELD_TWIML_OK;
	free(out);
	return valid;
}

bool config_stream_valid(struct slice text)
{
	char url[CONFIG_STREAM_MAX + 1];
	return copy_cstr(text, url, sizeof(url)) && reeld_twiml_stream_url_valid(url);
}

bool config_prefix_valid(struct slice text)
{
	size_t part = 0; /* length of the part so far */
	size_t dots = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '/') {
			if (part == 0 || (part == dots && dots <= 2))
				return false;
			part = dots = 0;
			continue;
		}
		if (!is_host_name(slice_make(&c, 1)))
			return false;
		part++;
		dots += c == '.';
	}
	return part == 0 || part != dots || dots > 2;
}
