/* SPDX-License-Identifier: MIT */
#include "adapters/pg_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct pg pg;
static struct error error;

static void setup(void)
{
	/* libpq's own variables fill in what a URL leaves out. */
	clearenv();
}

static void teardown(void)
{
	pg_url_free(&pg);
}

TestSuite(pg_url, .init = setup, .fini = teardown);

static const char *keyword(const char *name)
{
	for (size_t i = 0; i < pg.keyword_count; i++) {
		if (strcmp(pg.keywords[i], name) == 0)
			return pg.values[i];
	}
	return NULL;
}

Test(pg_url, hosts_are_taken_apart_and_the_rest_is_for_libpq)
{
	cr_assert_eq(pg_parse_url(&pg, "postgresql://me:p%40ss@one:1111,two:2222/db?sslmode=require&connect_timeout=7", &error),
		     0);
	cr_assert_eq(pg.host_count, 2);
	cr_expect_str_eq(pg.hosts[0].name, "one");
	cr_expect_str_eq(pg.hosts[0].port, "1111");
	cr_expect_str_eq(pg.hosts[1].name, "two");
	cr_expect_str_eq(pg.hosts[1].port, "2222");
	cr_expect_str_eq(keyword("user"), "me");
	cr_expect_str_eq(keyword("password"), "p@ss");
	cr_expect_str_eq(keyword("dbname"), "db");
	cr_expect_str_eq(keyword("sslmode"), "require");
	cr_expect_null(keyword("host"), "resolved by us, one at a time");
	cr_expect_null(keyword("port"));
	cr_expect_eq(pg.connect_ms, 7000);
}

Test(pg_url, the_primary_is_wanted_and_texts_are_utf8_whatever_the_url_says)
{
	cr_assert_eq(pg_parse_url(&pg, "postgresql://h/d?client_encoding=LATIN1", &error), 0);
	cr_expect_str_eq(keyword("target_session_attrs"), "read-write");
	cr_expect_str_eq(keyword("client_encoding"), "UTF8");
	pg_url_free(&pg);
	pg = (struct pg){0};
	cr_assert_eq(pg_parse_url(&pg, "postgresql://h/d?target_session_attrs=any", &error), 0);
	cr_expect_str_eq(keyword("target_session_attrs"), "any");
}

Test(pg_url, one_port_serves_all_hosts)
{
	cr_assert_eq(pg_parse_url(&pg, "host=a,b,c port=99", &error), 0);
	cr_assert_eq(pg.host_count, 3);
	for (size_t i = 0; i < 3; i++)
		cr_expect_str_eq(pg.hosts[i].port, "99");
}

Test(pg_url, what_is_wrong_is_one_line_that_does_not_repeat_the_password)
{
	static const char *const rows[] = {
		"postgresql://u:hunter2@h/d?nonsense=1",
		"postgresql://u:hunter2@h:port/d",
		"postgresql://u:hunter2@h:0/d",
		"postgresql://u:hunter2@h:65536/d",
		"host=a,b port=1,2,3 password=hunter2",
		"hunter2",
		"host=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q password=hunter2",
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pg = (struct pg){0};
		cr_expect_eq(pg_parse_url(&pg, rows[i], &error), ERR_CONFIG, "row %zu", i);
		cr_expect_eq(strncmp(error.detail, "DATABASE_URL", 12), 0, "%s", error.detail);
		cr_expect_null(strstr(error.detail, "hunter2"), "%s", error.detail);
		cr_expect_null(strchr(error.detail, '\n'));
		pg_url_free(&pg);
		pg = (struct pg){0};
	}
}
