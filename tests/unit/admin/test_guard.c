/* SPDX-License-Identifier: MIT */
#include "admin/guard.h"

#include <criterion/criterion.h>

#define TOKEN "s3cret"

static struct guard guard;
static struct request request;

static void set_up(void)
{
	memset(&guard, 0, sizeof(guard));
	memset(&request, 0, sizeof(request));
}

TestSuite(guard, .init = set_up);

static void add(const char *name, const char *value)
{
	request.headers[request.header_count++] = (struct request_header){slice_from_cstr(name), slice_from_cstr(value)};
}

static bool token_holds(const char *first, const char *second)
{
	request.header_count = 0;
	if (first != NULL)
		add("aUTHORIZATION", first);
	if (second != NULL)
		add("Authorization", second);
	return guard_token_holds(&guard, &request);
}

Test(guard, no_token_is_wanted_when_none_is_set)
{
	cr_assert_eq(guard_set_token(&guard, NULL), 0);
	cr_expect(token_holds(NULL, NULL));
	cr_assert_eq(guard_set_token(&guard, ""), 0);
	cr_expect(token_holds("Bearer anything", NULL));
}

Test(guard, exactly_the_token_opens)
{
	cr_assert_eq(guard_set_token(&guard, TOKEN), 0);
	static const char *const good[] = {"Bearer " TOKEN, "bearer " TOKEN, "BEARER   " TOKEN, "Bearer " TOKEN " "};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(token_holds(good[i], NULL), "%s", good[i]);
	static const char *const bad[] = {"",
					  "Bearer",
					  "Bearer ",
					  TOKEN,
					  "Basic " TOKEN,
					  "Bearer" TOKEN,
					  "Bearer s3cre",
					  "Bearer s3crett",
					  "Bearer S3CRET",
					  "Bearer s3cret s3cret",
					  "Bearer=" TOKEN};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(token_holds(bad[i], NULL), "%s", bad[i]);
	cr_expect_not(token_holds(NULL, NULL));
	cr_expect_not(token_holds("Bearer " TOKEN, "Bearer " TOKEN), "two are one too many");
	cr_expect_not(token_holds("Bearer " TOKEN, "Bearer x"));
	cr_expect_not(token_holds("Bearer x", "Bearer " TOKEN));
	cr_assert_eq(guard_set_token(&guard, "another"), 0);
	cr_expect_not(token_holds("Bearer " TOKEN, NULL));
	cr_expect(token_holds("Bearer another", NULL));
}

static enum guard_verdict browser(enum request_method method, const char *host, const char *origin, const char *site)
{
	request.header_count = 0;
	request.method = method;
	if (host != NULL)
		add("Host", host);
	if (origin != NULL)
		add("Origin", origin);
	if (site != NULL)
		add("Sec-Fetch-Site", site);
	return guard_check_browser(&guard, &request);
}

Test(guard, without_a_token_only_fixed_hosts_are_answered)
{
	static const char *const good[] = {"localhost", "LocalHost:9464", "127.0.0.1", "127.0.0.1:9464", "10.0.0.1:1",
					   "[::1]",     "[::1]:9464",     "[fe80::1]", "localhost:"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect_eq(browser(REQUEST_GET, good[i], NULL, NULL), GUARD_PASS, "%s", good[i]);
	static const char *const bad[] = {"",
					  "example.com",
					  "example.com:9464",
					  "localhost.example.com",
					  "127.0.0.1.example.com",
					  "127.1",
					  "0x7f.0.0.1",
					  "2130706433",
					  "::1",
					  "[::1",
					  "[::1]x",
					  "127.0.0.1:9464x",
					  "[localhost]",
					  "[127.0.0.1]",
					  "a@127.0.0.1",
					  "[]",
					  ":9464",
					  "localhost:9464:1",
					  "127.0.0.1:80 "};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(browser(REQUEST_GET, bad[i], NULL, NULL), GUARD_FOREIGN_HOST, "%s", bad[i]);
	cr_expect_eq(browser(REQUEST_GET, NULL, NULL, NULL), GUARD_FOREIGN_HOST);
	cr_assert_eq(guard_set_token(&guard, TOKEN), 0);
	cr_expect_eq(browser(REQUEST_GET, "reeld.example.com", NULL, NULL), GUARD_PASS, "a page elsewhere has no token");
}

Test(guard, changes_are_not_accepted_from_other_sites)
{
	for (int with_token = 0; with_token <= 1; with_token++) {
		cr_assert_eq(guard_set_token(&guard, with_token ? TOKEN : NULL), 0);
		static const enum request_method changing[] = {REQUEST_POST, REQUEST_DELETE};
		for (size_t i = 0; i < 2; i++) {
			enum request_method method = changing[i];
			cr_expect_eq(browser(method, "localhost:1", NULL, NULL), GUARD_PASS, "no browser");
			cr_expect_eq(browser(method, "localhost:1", "http://localhost:1", "same-origin"), GUARD_PASS);
			cr_expect_eq(browser(method, "localhost:1", "https://LOCALHOST:1", "none"), GUARD_PASS);
			cr_expect_eq(browser(method, "localhost:1", "http://localhost:2", "same-site"), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", "http://localhost", NULL), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", "null", NULL), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", "", NULL), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", "localhost:1", NULL), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", "http://localhost:1.evil", NULL), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", NULL, "cross-site"), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", NULL, "CROSS-SITE"), GUARD_CROSS_SITE);
			cr_expect_eq(browser(method, "localhost:1", "http://localhost:1", "cross-site"), GUARD_CROSS_SITE);
			add("Origin", "http://localhost:1");
			add("Origin", "http://localhost:1");
			cr_expect_eq(guard_check_browser(&guard, &request), GUARD_CROSS_SITE, "two origins");
		}
	}
	cr_expect_eq(browser(REQUEST_GET, "localhost:1", "http://evil.example", "cross-site"), GUARD_PASS,
		     "it cannot read the answer");
}

Test(guard, both_are_checked)
{
	cr_assert_eq(guard_set_token(&guard, TOKEN), 0);
	request.method = REQUEST_POST;
	add("Host", "localhost");
	cr_expect_eq(guard_check(&guard, &request), GUARD_NO_TOKEN);
	add("Authorization", "Bearer " TOKEN);
	cr_expect_eq(guard_check(&guard, &request), GUARD_PASS);
	add("Origin", "http://evil.example");
	cr_expect_eq(guard_check(&guard, &request), GUARD_CROSS_SITE);
}
