/* SPDX-License-Identifier: MIT */
#include "intake/public_url.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct public_url *url;
static struct request request;
static char out[PUBLIC_URL_BASE_SIZE];

static void teardown(void)
{
	public_url_free(&url);
	cr_assert_null(url);
}

TestSuite(public_url, .fini = teardown);

static void make(const char *fixed, const char *trusted)
{
	struct error error = {0};
	public_url_free(&url);
	cr_assert_eq(public_url_new(&url, fixed, trusted, &error), 0, "%s", error.detail);
}

static struct sockaddr_storage peer_of(const char *address)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1)
		storage.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1)
		storage.ss_family = AF_INET6;
	else
		storage.ss_family = AF_UNIX;
	return storage;
}

static bool trusts(const char *address)
{
	struct sockaddr_storage peer = peer_of(address);
	return public_url_trusts(url, &peer);
}

static void header(const char *name, const char *value)
{
	request.headers[request.header_count].name = slice_from_cstr(name);
	request.headers[request.header_count++].value = slice_from_cstr(value);
}

static void expect_base(const char *peer, bool tls, const char *expected)
{
	struct sockaddr_storage storage = peer_of(peer);
	struct slice base = public_url_base(url, &request, &storage, tls, out);
	cr_assert_eq(base.len, strlen(expected), "%.*s, not %s", (int)base.len, base.ptr, expected);
	cr_assert_eq(memcmp(base.ptr, expected, base.len), 0, "%.*s, not %s", (int)base.len, base.ptr, expected);
}

Test(public_url, is_what_was_configured_whatever_the_request_says)
{
	static const char *const same[] = {"https://calls.example.com", "https://calls.example.com/",
					   "https://calls.example.com//"};
	header("Host", "evil.example");
	header("X-Forwarded-Host", "evil.example");
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		make(same[i], "0.0.0.0/0");
		expect_base("10.0.0.1", false, "https://calls.example.com");
		cr_assert_not(public_url_wants_peer(url), "nobody needs to ask");
	}
	make("https://calls.example.com:8443/below/", NULL);
	expect_base("10.0.0.1", false, "https://calls.example.com:8443/below");
}

Test(public_url, is_else_made_of_host_and_scheme)
{
	make(NULL, NULL);
	header("Host", " calls.example.com:8080\t");
	expect_base("10.0.0.1", false, "http://calls.example.com:8080");
	expect_base("10.0.0.1", true, "https://calls.example.com:8080");
	request.headers[0].value = SLICE("[::1]:8080");
	expect_base("10.0.0.1", false, "http://[::1]:8080");
}

Test(public_url, is_empty_without_a_host_or_with_one_that_is_none)
{
	static const char *const bad[] = {"", " ", "a b", "a/b", "a?b", "a#b", "user@a", "a\\b", "a\x01", "a\x7f", "h\xc3\xa9"};
	make(NULL, NULL);
	expect_base("10.0.0.1", false, "");
	header("Host", "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request.headers[0].value = slice_from_cstr(bad[i]);
		expect_base("10.0.0.1", true, "");
	}
}

Test(public_url, takes_a_host_as_long_as_fits_and_no_longer)
{
	char host[PUBLIC_URL_BASE_SIZE + 1];
	memset(host, 'a', sizeof(host));
	make(NULL, NULL);
	header("Host", "");
	request.headers[0].value = slice_make(host, PUBLIC_URL_BASE_SIZE - 1 - strlen("http://"));
	cr_assert_eq(public_url_base(url, &request, NULL, false, out).len, PUBLIC_URL_BASE_SIZE - 1);
	request.headers[0].value.len++;
	cr_assert_eq(public_url_base(url, &request, NULL, false, out).len, 0);
	request.headers[0].value.len--;
	cr_assert_eq(public_url_base(url, &request, NULL, true, out).len, 0);
}

Test(public_url, believes_forwarded_headers_of_a_trusted_peer_only)
{
	make(NULL, "10.0.0.0/8");
	cr_assert(public_url_wants_peer(url));
	header("Host", "inside:8080");
	header("X-Forwarded-Proto", "https");
	header("x-forwarded-host", "calls.example.com");
	expect_base("10.1.2.3", false, "https://calls.example.com");
	expect_base("11.1.2.3", false, "http://inside:8080");
	make(NULL, NULL);
	cr_assert_not(public_url_wants_peer(url));
	expect_base("10.1.2.3", false, "http://inside:8080");
}

Test(public_url, takes_the_first_of_a_list_and_ignores_what_is_no_scheme)
{
	make(NULL, "10.0.0.0/8");
	header("Host", "inside");
	header("X-Forwarded-Proto", "HTTPS , http");
	header("X-Forwarded-Host", " first.example , second.example");
	expect_base("10.0.0.1", false, "https://first.example");
	request.headers[1].value = SLICE("http,https");
	expect_base("10.0.0.1", true, "http://first.example");
	request.headers[1].value = SLICE("gopher");
	expect_base("10.0.0.1", true, "https://first.example");
	request.headers[2].value = SLICE(", second.example"); /* the first said nothing */
	expect_base("10.0.0.1", false, "http://inside");
	request.headers[2].value = SLICE("a/b");
	expect_base("10.0.0.1", false, "");
}

Test(public_url, trusts_exactly_the_block)
{
	make(NULL, "192.168.4.0/22, 10.9.8.7 ,2001:db8::/33,::1,");
	cr_assert(trusts("192.168.4.0") && trusts("192.168.7.255"));
	cr_assert_not(trusts("192.168.3.255") || trusts("192.168.8.0"));
	cr_assert(trusts("10.9.8.7"));
	cr_assert_not(trusts("10.9.8.6"));
	cr_assert(trusts("2001:db8::1") && trusts("2001:db8:7fff:ffff::"));
	cr_assert_not(trusts("2001:db8:8000::") || trusts("2001:db7::"));
	cr_assert(trusts("::1"));
	cr_assert_not(trusts("::2"));
	cr_assert_not(trusts("a unix socket"));
}

Test(public_url, ipv4_inside_ipv6_counts_as_ipv4)
{
	make(NULL, "10.0.0.0/8");
	cr_assert(trusts("::ffff:10.1.2.3"));
	cr_assert_not(trusts("::ffff:11.1.2.3"));
	cr_assert_not(trusts("a0a:a0a::"), "an IPv6 address that begins with the same bits");
}

Test(public_url, no_bits_are_all_addresses_of_the_family)
{
	make(NULL, "0.0.0.0/0");
	cr_assert(trusts("1.2.3.4"));
	cr_assert_not(trusts("2001:db8::1"));
	make(NULL, "::/0");
	cr_assert(trusts("2001:db8::1"));
	cr_assert_not(trusts("1.2.3.4"));
}

Test(public_url, refuses_what_is_no_address)
{
	static const char *const bad[] = {"x",      "10.0.0.0/33", "10.0.0.0/",    "10.0.0.0/-1", "10.0.0.0/1000", "10.0.0.0/ 8",
					  "10.0.0", "::/129",      "::1/12x",      "/8",          "10.0.0.0/8/8",  "10.0.0.0/8 x",
					  "[::1]",  "300.0.0.1",   "10.0.0.0;::1", "localhost"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error error = {0};
		char list[64];
		snprintf(list, sizeof(list), "127.0.0.1,%s", bad[i]);
		cr_assert_eq(public_url_new(&url, NULL, list, &error), ERR_CONFIG, "%s", bad[i]);
		cr_assert_null(url);
		cr_assert_not_null(strstr(error.detail, "TRUSTED_PROXIES: '"), "%s", error.detail);
		cr_assert_not_null(strstr(error.detail, "for example 10.0.0.0/8"));
	}
}

Test(public_url, takes_64_entries_and_no_more)
{
	char list[1024] = "";
	struct error error = {0};
	for (int i = 0; i < 64; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "10.0.0.%d,", i);
	make(NULL, list);
	cr_assert(trusts("10.0.0.63"));
	public_url_free(&url);
	strcat(list, "10.0.0.64");
	cr_assert_eq(public_url_new(&url, NULL, list, &error), ERR_CONFIG);
	cr_assert_str_eq(error.detail, "TRUSTED_PROXIES: more than 64 entries");
}
