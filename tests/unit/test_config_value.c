/* SPDX-License-Identifier: MIT */
#include "config_value.h"

#include <criterion/criterion.h>

static struct slice s(const char *text)
{
	return slice_from_cstr(text);
}

Test(config_value, durations)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"0s", 0},       {"500ms", 500},    {"10s", 10000}, {"5m", 300000},
		    {"2h", 7200000}, {"7d", 604800000}, {"007s", 7000}};
	static const char *const bad[] = {"",
					  "s",
					  "10",
					  "10 s",
					  "1.5s",
					  "-1s",
					  "10S",
					  "10sec",
					  "1h30m",
					  "99999999999999999999s",
					  "9223372036854775807d",
					  "+1s",
					  "0x1s"};
	int64_t ms;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_parse_duration(s(good[i].text), &ms) && ms == good[i].ms, "%s", good[i].text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_parse_duration(s(bad[i]), &ms), "%s", bad[i]);
}

Test(config_value, speech)
{
	static const char *const good[] = {"a", "This call is recorded. \"Really\" & <truly>.", "K\xc3\xb6ln\t\xf0\x9f\x98\x80",
					   "a\nb"};
	static const char *const bad[] = {"", "\xff", "a\x01", "a\x7f\x80", "\xed\xa0\x80", "\xef\xbf\xbe"};
	char longest[4098];
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_speech_valid(s(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_speech_valid(s(bad[i])), "%zu", i);
	memset(longest, '&', sizeof(longest));
	cr_expect(config_speech_valid(slice_make(longest, 4096)));
	cr_expect_not(config_speech_valid(slice_make(longest, 4097)));
}

Test(config_value, streams)
{
	static const char *const good[] = {"wss://h", "wss://bridge.example.com:8443/media/a=b&c", "wss://[::1]/x"};
	static const char *const bad[] = {"",           "ws://h",     "https://h", "wss://",     "wss:///x",   "wss://h?a=b",
					  "wss://h/#f", "wss://u@h/", "h",         "wss://h/ a", "wss://h/\"", "wss://h/%zz"};
	char longest[2050];
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_stream_valid(s(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_stream_valid(s(bad[i])), "%s", bad[i]);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "wss://h/", 8);
	cr_expect(config_stream_valid(slice_make(longest, 2048)));
	cr_expect_not(config_stream_valid(slice_make(longest, 2049)));
	longest[100] = '\0';
	cr_expect_not(config_stream_valid(slice_make(longest, 200)));
}

Test(config_value, sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
		    {"65536", 65536},
		    {"1B", 1},
		    {"64KiB", 65536},
		    {"8MiB", 8388608},
		    {"4GiB", UINT64_C(4) << 30},
		    {"2TiB", UINT64_C(2) << 40}};
	static const char *const bad[] = {
		"", "KiB", "64KB", "64k", "64kib", "1.5MiB", "-1", "64 KiB", "18446744073709551616", "9999999999TiB"};
	uint64_t bytes;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_parse_size(s(good[i].text), &bytes) && bytes == good[i].bytes, "%s", good[i].text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_parse_size(s(bad[i]), &bytes), "%s", bad[i]);
}

Test(config_value, counts_stop_before_they_overflow)
{
	uint64_t count;
	cr_expect(config_parse_count(SLICE("9223372036854775807"), &count) && count == INT64_MAX);
	cr_expect_not(config_parse_count(SLICE("9223372036854775808"), &count));
	cr_expect_not(config_parse_count(SLICE("92233720368547758070"), &count));
	cr_expect_not(config_parse_count(SLICE("1\0"), &count));
}

Test(config_value, choices)
{
	cr_expect_eq(config_parse_choice(SLICE("a"), "a|bc|d"), 0);
	cr_expect_eq(config_parse_choice(SLICE("bc"), "a|bc|d"), 1);
	cr_expect_eq(config_parse_choice(SLICE("d"), "a|bc|d"), 2);
	cr_expect_eq(config_parse_choice(SLICE("b"), "a|bc|d"), -1);
	cr_expect_eq(config_parse_choice(SLICE("a|bc"), "a|bc|d"), -1);
	cr_expect_eq(config_parse_choice(SLICE(""), "a|bc|d"), -1);
}

Test(config_value, addresses)
{
	static const struct {
		const char *text;
		const char *host;
		int port;
	} good[] = {{"0.0.0.0:8080", "0.0.0.0", 8080},
		    {"[::]:80", "::", 80},
		    {"localhost:0", "localhost", 0},
		    {"a-b.c_d:65535", "a-b.c_d", 65535}};
	static const char *const bad[] = {"",         ":80",      "host",           "host:",        "host:x", "host:65536",
					  "::1:80",   "[::1]",    "[::1]80",        "[1.2.3.4]:80", "[]:80",  "[x]:80",
					  "ho st:80", "host:80 ", "http://host:80", "host:-1"};
	struct slice host;
	uint16_t port;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert(config_parse_address(s(good[i].text), &host, &port), "%s", good[i].text);
		cr_expect(slice_equal(host, s(good[i].host)));
		cr_expect_eq(port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_parse_address(s(bad[i]), &host, &port), "%s", bad[i]);
}

Test(config_value, loopback_is_what_no_other_machine_reaches)
{
	static const char *const loopback[] = {"127.0.0.1", "127.255.0.3", "::1", "0:0:0:0:0:0:0:1", "localhost", "LOCALHOST"};
	static const char *const other[] = {
		"0.0.0.0", "::", "128.0.0.1", "10.0.0.1", "::2", "localhost.example.com", "127.0.0.1.example.com", ""};
	for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++)
		cr_expect(config_host_is_loopback(s(loopback[i])), "%s", loopback[i]);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		cr_expect_not(config_host_is_loopback(s(other[i])), "%s", other[i]);
}

Test(config_value, networks)
{
	static const char *const good[] = {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.1",          "::1",
					   "fd00::/8",   "::/128",    " 10.0.0.1/32 , ::1 "};
	static const char *const bad[] = {"",          ",",  "10.0.0.0/8,", "10.0.0.0/33",    "::/129",       "10.0.0/8",
					  "10.0.0.0/", "/8", "host",        "10.0.0.0/8;::1", "10.0.0.0/8/8", "10.0.0.0/-1"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_cidrs_valid(s(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_cidrs_valid(s(bad[i])), "%s", bad[i]);
}

Test(config_value, urls)
{
	static const char *const good[] = {"http://h", "https://h.example.com/", "https://h:8443/a/b", "http://[::1]",
					   "http://[::1]:80/x"};
	static const char *const bad[] = {"",
					  "h",
					  "ftp://h",
					  "https://",
					  "https:///x",
					  "https://h:0",
					  "https://h:x",
					  "https://u@h",
					  "https://h?q",
					  "https://h#f",
					  "https://h/ x",
					  "HTTPS://h",
					  "http://[::1",
					  "http://[x]",
					  "https://h\n",
					  "https://h:80:80"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_url_valid(s(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_url_valid(s(bad[i])), "%s", bad[i]);
}

Test(config_value, tokens)
{
	cr_expect(config_tokens_valid(SLICE("one")));
	cr_expect(config_tokens_valid(SLICE("one,two,three")));
	cr_expect_not(config_tokens_valid(SLICE("")));
	cr_expect_not(config_tokens_valid(SLICE(",")));
	cr_expect_not(config_tokens_valid(SLICE("one,")));
	cr_expect_not(config_tokens_valid(SLICE(",one")));
	cr_expect_not(config_tokens_valid(SLICE("one, two")));
	cr_expect_not(config_tokens_valid(SLICE("one\n")));
	cr_expect_not(config_tokens_valid(SLICE("\x7f")));
}

Test(config_value, prefixes)
{
	static const char *const good[] = {"", "recordings/", "a", "a/b.c/_d-e/", ".../", "v1.0/x"};
	static const char *const bad[] = {"/", "/a",  "a//b", "../",  "a/../b", "..",
					  ".", "a/.", "a b/", "a\\b", "%2e",    "\xc3\xa9/"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(config_prefix_valid(s(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(config_prefix_valid(s(bad[i])), "%s", bad[i]);
}
