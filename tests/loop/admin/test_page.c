/* SPDX-License-Identifier: MIT */
/* The page's files and /api/history on the private listener. */
#include "admin/admin.h"
#include "admin/page.h"

#include "base/check.h"
#include "loop/intake/fixture.h"

#include <stdlib.h>
#include <string.h>

static struct ledger_request *counting;
static struct admin *admin;
static struct raw_client client;
static bool admin_is_closed;

static void ledger_fake_submit(struct ledger *ledger, struct ledger_request *request)
{
	(void)ledger;
	REQUIRE(request->op == LEDGER_COUNTS && counting == NULL); /* never two at once */
	counting = request;
}

static void ledger_fake_release(struct ledger_request *request)
{
	(void)request;
}

static const struct ledger_ops ledger_fake_ops = {.kind = "fake", .submit = ledger_fake_submit, .release = ledger_fake_release};
static struct ledger fake_ledger = {&ledger_fake_ops};

static void answer_counts(int status, int64_t dead)
{
	struct ledger_request *request = counting;
	counting = NULL;
	request->ops = &ledger_fake_ops;
	request->counts[LEDGER_DEAD] = dead;
	request->done(request, status);
}

static int store_fake_link(const struct store *store, const char *key, int64_t valid_s, char *out, size_t size)
{
	(void)store;
	(void)key;
	(void)valid_s;
	snprintf(out, size, "https://bucket.example.com:9000/x?X-Amz-Signature=secret");
	return 0;
}

static const struct store_ops store_fake_ops = {.kind = "fake", .link = store_fake_link};
static struct store fake_store = {&store_fake_ops};

static bool health(void *data, struct buffer *body)
{
	(void)data;
	buffer_append_cstr(body, "{\"ready\":true}");
	return true;
}

static void open_admin(const char *token, struct store *store)
{
	fixture_init();
	struct error error = {0};
	struct admin_options options = {.listen = "127.0.0.1:0",
					.metrics = fixture.metrics,
					.ledger = &fake_ledger,
					.token = token,
					.store = store,
					.history = true,
					.health = health};
	cr_assert_eq(admin_new(&admin, &fixture.loop, &options, &error), 0, "%s", error.detail);
	raw_connect_port(&client, admin_port(admin));
}

static void setup(void)
{
	open_admin(NULL, NULL);
}

static void setup_token(void)
{
	open_admin("secret", &fake_store);
}

static void on_admin_closed(void *data)
{
	(void)data;
	admin_is_closed = true;
}

static void teardown(void)
{
	admin_close(admin, on_admin_closed, NULL);
	if (counting != NULL)
		answer_counts(ERR_CANCELLED, 0);
	if (client.open)
		raw_close(&client);
	TURN_UNTIL(admin_is_closed);
	cr_assert_null(counting, "asked after the close");
	fixture_fini();
}

TestSuite(page, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(page_token, .init = setup_token, .fini = teardown, .timeout = 60);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

Test(page, it_is_served_with_a_policy_that_lets_nothing_in)
{
	raw_expect(&client, GET("/"), "</html>");
	cr_assert(raw_has(&client, "HTTP/1.1 200 OK\r\n"));
	cr_assert(raw_has(&client, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
	cr_assert(raw_has(
		&client,
		"\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
		"img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"));
	cr_assert(raw_has(&client, "\r\nReferrer-Policy: no-referrer\r\n"));
	cr_assert(raw_has(&client, "\r\nX-Content-Type-Options: nosniff\r\n"));
	cr_assert(raw_has(&client, "\r\nCache-Control: no-cache\r\n"));
}

Test(page, its_parts_have_their_types_and_tags)
{
	raw_expect(&client, GET("/page.css"), "\r\nContent-Type: text/css; charset=utf-8\r\n");
	raw_expect(&client, GET("/page.js"), "\r\nContent-Type: text/javascript; charset=utf-8\r\n");
	raw_expect(&client, GET("/page.html"), "HTTP/1.1 404 Not Found\r\n");
	cr_assert_eq(page_files.count, 3);
	size_t total = 0;
	for (size_t i = 0; i < page_files.count; i++) {
		total += page_files.files[i].len;
		for (size_t j = 0; j < i; j++)
			cr_assert_str_neq(page_files.files[i].etag, page_files.files[j].etag);
	}
	cr_assert_leq(total, 60 * 1024, "the page has grown to %zu bytes", total);
}

Test(page, nothing_in_it_names_another_host_or_is_inline)
{
	for (size_t i = 0; i < page_files.count; i++) {
		const struct page_file *file = &page_files.files[i];
		char *text = strndup((const char *)file->bytes, file->len);
		char *place = text;
		while ((place = strstr(place, "http")) != NULL) { /* but for the name of a namespace, and the check of a link */
			cr_assert(strncmp(place, "http://www.w3.org/2000/svg", 26) == 0 || strncmp(place, "https?:", 7) == 0,
				  "%s: %.60s", file->path, place);
			place += 4;
		}
		static const char *const markup[] = {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
						     " style=",   "<style",    " onclick="};
		for (size_t j = 0; j < sizeof(markup) / sizeof(markup[0]); j++)
			cr_assert_null(strstr(text, markup[j]), "%s has %s", file->path, markup[j]);
		free(text);
	}
}

Test(page, what_the_browser_has_is_not_sent_again)
{
	char request[300];
	for (size_t i = 0; i < page_files.count; i++) {
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: \"x\", W/%s\r\n\r\n",
			 page_files.files[i].path, page_files.files[i].etag);
		raw_send_text(&client, request);
		TURN_UNTIL(raw_count(&client, "HTTP/1.1 304 Not Modified\r\n") == i + 1);
		cr_assert(raw_has(&client, page_files.files[i].etag));
	}
	cr_assert_not(raw_has(&client, "</html>"));
	cr_assert_eq(raw_count(&client, "\r\nContent-Security-Policy: "), page_files.count);
	raw_expect(&client, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: \"x\"\r\n\r\n", "</html>");
}

Test(page, head_and_other_methods)
{
	raw_send_text(&client, "HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" GET("/healthz"));
	TURN_UNTIL(raw_has(&client, "{\"status\":\"ok\"}"));
	cr_assert_not(raw_has(&client, "<html"));
	raw_expect(&client, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 ");
	cr_assert(raw_has(&client, "\r\nAllow: GET, HEAD\r\n"));
}

Test(page, the_origin_of_a_link_and_nothing_else)
{
	static const struct {
		const char *url, *origin;
	} cases[] = {
		{"https://bucket.s3.eu-west-1.amazonaws.com/a/b?X-Amz-Signature=1", "https://bucket.s3.eu-west-1.amazonaws.com"},
		{"http://127.0.0.1:9000/bucket/x", "http://127.0.0.1:9000"},
		{"http://[::1]:9000/x", "http://[::1]:9000"},
		{"https://host?x", "https://host"},
		{"https://host", "https://host"},
		{"file:///var/lib/reeld/x", ""},
		{"https:///x", ""},
		{"https://user@host/x", ""},
		{"https://a b/x", ""},
		{"https://a;script-src *", ""},
		{"https://a'unsafe-inline'/", ""},
		{"https://a\r\nX: y/", ""},
		{"", ""},
	};
	char out[64];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		page_origin(cases[i].url, out, sizeof(out));
		cr_expect_str_eq(out, cases[i].origin, "%s: %s", cases[i].url, out);
	}
	char small[8];
	page_origin("https://host/", small, sizeof(small));
	cr_assert_str_eq(small, "");
}

Test(page, the_history_tells_health_and_counts)
{
	TURN_UNTIL(counting != NULL);
	answer_counts(0, 5);
	raw_expect(&client, GET("/api/history"), "\"samples\":[]}");
	cr_assert(raw_has(&client, "\r\nCache-Control: no-store\r\n"));
	cr_assert(raw_has(&client, "\"health\":{\"ready\":true},"));
	cr_assert(raw_has(&client, "\"dead\":5,"));
	raw_expect(&client, GET("/api/history?since=1790000000000"), "\r\n\r\n{\"version\":\"");
}

Test(page, a_scrape_and_the_history_share_one_count)
{
	TURN_UNTIL(counting != NULL);
	raw_send_text(&client, GET("/metrics"));
	for (int i = 0; i < 5; i++)
		fixture_turn();
	answer_counts(0, 6);
	TURN_UNTIL(raw_has(&client, "reeld_jobs{state=\"dead\"} 6\n"));
	raw_expect(&client, GET("/api/history"), "\"dead\":6,");
}

Test(page, a_bad_since_is_refused)
{
	static const char *const queries[] = {"since=", "since=x", "since=-1", "since=1234567890123456", "since=1&x=2", "x=1"};
	char request[200];
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		snprintf(request, sizeof(request), GET("/api/history?%s"), queries[i]);
		raw_send_text(&client, request);
		TURN_UNTIL(raw_count(&client, "HTTP/1.1 400 Bad Request\r\n") == i + 1);
	}
}

Test(page_token, the_page_is_open_and_the_history_is_not)
{
	raw_expect(&client, GET("/"), "</html>");
	raw_expect(&client, GET("/api/history"), "HTTP/1.1 401 Unauthorized\r\n");
	raw_expect(&client, "GET /api/history HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer secret\r\n\r\n",
		   "\"samples\":[]}");
}

Test(page_token, audio_may_come_from_the_store_and_its_link_is_not_shown)
{
	raw_expect(&client, GET("/"), "; media-src 'self' blob: https://bucket.example.com:9000; base-uri 'none';");
	cr_assert_not(raw_has(&client, "Signature"));
}
