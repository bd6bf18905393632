/* SPDX-License-Identifier: MIT */
#include "adapters/redis_url.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct redis_url url;
static struct error error;

static int parse(const char *text)
{
	error = (struct error){0};
	return redis_url_parse(&url, slice_from_cstr(text), &error);
}

Test(redis_url, what_is_taken)
{
	static const struct {
		const char *text;
		bool tls;
		const char *host;
		int port;
		const char *path, *user, *password;
		int db;
	} rows[] = {
		{"redis://localhost", false, "localhost", 6379, "", "", "", 0},
		{"redis://localhost/", false, "localhost", 6379, "", "", "", 0},
		{"REDIS://Host.example.com:7000/3", false, "Host.example.com", 7000, "", "", "", 3},
		{"rediss://host", true, "host", 6379, "", "", "", 0},
		{"redis://127.0.0.1:1", false, "127.0.0.1", 1, "", "", "", 0},
		{"redis://[::1]", false, "::1", 6379, "", "", "", 0},
		{"redis://[fe80::1]:65535/65535", false, "fe80::1", 65535, "", "", "", 65535},
		{"redis://:secret@host", false, "host", 6379, "", "", "secret", 0},
		{"redis://user:secret@host:6380/1", false, "host", 6380, "", "user", "secret", 1},
		{"redis://us%40er:p%3a%2F%25@host", false, "host", 6379, "", "us@er", "p:/%", 0},
		{"redis://user:with:colon@host", false, "host", 6379, "", "user", "with:colon", 0},
		{"redis://user:with@at@host", false, "host", 6379, "", "user", "with@at", 0},
		{"redis://:@host", false, "host", 6379, "", "", "", 0},
		{"redis://host?db=4", false, "host", 6379, "", "", "", 4},
		{"redis://host/2?username=u&password=p%26", false, "host", 6379, "", "u", "p&", 2},
		{"redis://my_redis-1", false, "my_redis-1", 6379, "", "", "", 0},
		{"unix:/run/redis.sock", false, "", 0, "/run/redis.sock", "", "", 0},
		{"unix:///run/redis.sock", false, "", 0, "/run/redis.sock", "", "", 0},
		{"redis+unix:///run/redis.sock?db=5", false, "", 0, "/run/redis.sock", "", "", 5},
		{"unix:/with%20blank%3F?user=u&password=%C3%A4&db=0", false, "", 0, "/with blank?", "u", "\xc3\xa4", 0},
		{"unix://:secret@/run/redis.sock", false, "", 0, "/run/redis.sock", "", "secret", 0},
		{"unix:/a@b", false, "", 0, "/a@b", "", "", 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(parse(rows[i].text), 0, "%s: %s", rows[i].text, error.detail);
		cr_expect_eq(url.tls, rows[i].tls, "%s", rows[i].text);
		cr_expect_str_eq(url.host, rows[i].host);
		cr_expect_eq(url.port, rows[i].port, "%s", rows[i].text);
		cr_expect_str_eq(url.path, rows[i].path);
		cr_expect_str_eq(url.user, rows[i].user);
		cr_expect_str_eq(url.password, rows[i].password);
		cr_expect_eq(url.db, rows[i].db, "%s", rows[i].text);
	}
}

Test(redis_url, what_is_refused_and_never_repeated)
{
	static const char *const texts[] = {
		"",
		"hunter2",
		"redis:",
		"redis:/hunter2",
		"redis:hunter2",
		"http://:hunter2@host",
		"redis://",
		"redis://:hunter2@",
		"redis:///hunter2",
		"redis://hunter2@host",
		"redis://:hunter2@host:",
		"redis://:hunter2@host:0",
		"redis://:hunter2@host:65536",
		"redis://:hunter2@host:-1",
		"redis://:hunter2@host:99999999999999999999",
		"redis://:hunter2@host:port",
		"redis://:hunter2@host/hunter2",
		"redis://:hunter2@host/-1",
		"redis://:hunter2@host/65536",
		"redis://:hunter2@host/1/2",
		"redis://:hunter2@host/1#hunter2",
		"redis://:hunter2@host/ 1",
		" redis://:hunter2@host",
		"redis://:hunter2@host\n",
		"redis://:hunter2%@host",
		"redis://:hunter2%4@host",
		"redis://:hunter2%zz@host",
		"redis://:hunter2%00@host",
		"redis://user%:hunter2@host",
		"redis://:hunter2@ho%20st",
		"redis://:hunter2@ho/st",
		"redis://::1",
		"redis://[::1",
		"redis://[hunter2]",
		"redis://[::1]hunter2",
		"redis://[::1]:",
		"redis://[]",
		"redis://host?hunter2",
		"redis://host?pass=hunter2",
		"redis://host?db=hunter2",
		"redis://host?user=hunter2",
		"redis://host?password=hunter2%",
		"unix:",
		"unix:/",
		"unix:hunter2",
		"unix://hunter2",
		"unix://host/hunter2",
		"unix://host:hunter2@host/path",
		"unix:/hunter2%00",
		"unix:/hunter2%0",
		"unix:?db=1",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		static const struct redis_url wiped;
		cr_expect_eq(parse(texts[i]), ERR_CONFIG, "%s", texts[i]);
		cr_expect_eq(error.code, ERR_CONFIG);
		cr_expect(error.detail[0] != '\0' && strstr(error.detail, "hunter2") == NULL, "%s", error.detail);
		cr_expect_eq(memcmp(&url, &wiped, sizeof(url)), 0, "%s: not wiped", texts[i]);
	}
}

/* Each part at its longest, and one byte more. */
Test(redis_url, lengths)
{
	static const struct {
		const char *before, *after;
		size_t max;
	} rows[] = {
		{"redis://", ":1", 255}, {"redis://", ":pw@host", 127},       {"redis://u:", "@host", 511},
		{"unix:/", "", 106},     {"unix:/s?password=", "&db=1", 511}, {"unix:/s?password=p&user=", "", 127},
	};
	char text[2048];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t extra = 0; extra < 2; extra++) {
			memset(text, 'x', sizeof(text));
			size_t before = strlen(rows[i].before);
			memcpy(text, rows[i].before, before);
			snprintf(text + before + rows[i].max + extra, 64, "%s", rows[i].after);
			cr_expect_eq(parse(text), extra == 0 ? 0 : ERR_CONFIG, "row %zu, %zu more", i, extra);
		}
	}
}

Test(redis_url, the_description_says_where_and_nothing_else)
{
	static const char *const rows[][2] = {
		{"redis://app:hunter2@host:1/2", "host:1"},
		{"redis://:hunter2@[::1]", "[::1]:6379"},
		{"unix:/run/redis.sock?password=hunter2", "unix:/run/redis.sock"},
	};
	char text[320];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(parse(rows[i][0]), 0);
		redis_url_describe(&url, text, sizeof(text));
		cr_expect_str_eq(text, rows[i][1]);
	}
	redis_url_describe(&url, text, 8);
	cr_expect_str_eq(text, "unix:/r");
}
