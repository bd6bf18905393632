/* SPDX-License-Identifier: MIT */
/* The private listener between raw clients and a ledger that counts when the test says so. */
#include "admin/admin.h"

#include "base/check.h"
#include "loop/intake/fixture.h"

#include <stdlib.h>
#include <string.h>

/* ---- the ledger ---- */

static struct ledger_request *counting; /* not answered yet */
static unsigned counts_asked;
static unsigned released;

static void ledger_fake_submit(struct ledger *ledger, struct ledger_request *request)
{
	(void)ledger;
	REQUIRE(request->op == LEDGER_COUNTS && counting == NULL);
	counts_asked++;
	counting = request;
}

static void ledger_fake_release(struct ledger_request *request)
{
	(void)request;
	released++;
}

static const struct ledger_ops ledger_fake_ops = {.kind = "fake", .submit = ledger_fake_submit, .release = ledger_fake_release};
static struct ledger fake_ledger = {&ledger_fake_ops};

static void ledger_counts(int status, int64_t pending, int64_t running, int64_t dead)
{
	struct ledger_request *request = counting;
	cr_assert_not_null(request);
	counting = NULL;
	request->ops = &ledger_fake_ops;
	request->counts[LEDGER_PENDING] = pending;
	request->counts[LEDGER_RUNNING] = running;
	request->counts[LEDGER_DEAD] = dead;
	request->done(request, status);
}

/* ---- the listener ---- */

static struct admin *admin;
static struct admin_options options;
static struct raw_client client;
static bool ready = true;
static unsigned collected;
static bool admin_is_closed;

static void collect(void *data)
{
	cr_assert_eq(data, &ready);
	collected++;
	metrics_get(fixture.metrics, METRIC_INBOX_EVENTS)->value = 4711;
}

static bool health(void *data, struct buffer *body)
{
	cr_assert_eq(data, &ready);
	buffer_append_cstr(body, "{\"what\":\"health\"}");
	return ready;
}

static void setup(void)
{
	fixture_init();
	options = (struct admin_options){
		.listen = "127.0.0.1:0",
		.metrics = fixture.metrics,
		.ledger = &fake_ledger,
		.collect = collect,
		.health = health,
		.data = &ready,
	};
	struct error error = {0};
	cr_assert_eq(admin_new(&admin, &fixture.loop, &options, &error), 0, "%s", error.detail);
	raw_connect_port(&client, admin_port(admin));
}

static void on_admin_closed(void *data)
{
	cr_assert_eq(data, &admin);
	admin_is_closed = true;
}

static void close_admin(void)
{
	admin_close(admin, on_admin_closed, &admin);
	cr_assert_not(admin_is_closed, "closed inside close");
	admin = NULL;
}

static void teardown(void)
{
	if (admin != NULL)
		close_admin();
	if (counting != NULL)
		ledger_counts(ERR_CANCELLED, 0, 0, 0);
	if (client.open)
		raw_close(&client);
	TURN_UNTIL(admin_is_closed);
	cr_assert_eq(released, counts_asked, "what the ledger answered was not released");
	fixture_fini();
}

TestSuite(admin, .init = setup, .fini = teardown, .timeout = 60);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"
#define SCRAPE "GET /metrics HTTP/1.1\r\nHost: t\r\n"

Test(admin, a_scrape_shows_what_the_ledger_counted_and_what_was_collected_for_it)
{
	raw_send_text(&client, SCRAPE "\r\n");
	TURN_UNTIL(counting != NULL);
	cr_assert_eq(client.in.len, 0);
	ledger_counts(0, 7, 3, 2);
	TURN_UNTIL(raw_has(&client, "reeld_jobs{state=\"dead\"} 2\n"));
	cr_assert(raw_has(&client, "HTTP/1.1 200 OK\r\n"));
	cr_assert(raw_has(&client, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	cr_assert(raw_has(&client, "\r\nCache-Control: no-store\r\n"));
	cr_assert(raw_has(&client, "reeld_jobs{state=\"pending\"} 7\n"));
	cr_assert(raw_has(&client, "reeld_jobs{state=\"running\"} 3\n"));
	cr_assert(raw_has(&client, "\nreeld_inbox_events 4711\n"));
	cr_assert(raw_has(&client, "\nprocess_open_fds "));
	cr_assert_not(raw_has(&client, "# EOF"));
	cr_assert_eq(collected, 1);
}

Test(admin, openmetrics_is_had_by_asking_for_it)
{
	raw_send_text(&client, SCRAPE
		      "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n");
	TURN_UNTIL(counting != NULL);
	ledger_counts(0, 0, 0, 0);
	TURN_UNTIL(raw_has(&client, "\n# EOF\n"));
	cr_assert(raw_has(&client, "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
	raw_send_text(&client, SCRAPE "Accept: text/plain\r\n\r\n");
	TURN_UNTIL(counting != NULL);
	ledger_counts(0, 0, 0, 0);
	TURN_UNTIL(raw_has(&client, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}

Test(admin, a_head_has_no_body)
{
	raw_send_text(&client, "HEAD /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
	TURN_UNTIL(counting != NULL);
	ledger_counts(0, 0, 0, 0);
	raw_send_text(&client, "HEAD /readyz HTTP/1.1\r\nHost: t\r\n\r\n" GET("/healthz"));
	TURN_UNTIL(raw_has(&client, "{\"status\":\"ok\"}"));
	cr_assert_eq(raw_count(&client, "HTTP/1.1 200 OK\r\n"), 3);
	cr_assert_not(raw_has(&client, "reeld_") || raw_has(&client, "what"));
	cr_assert_not(raw_has(&client, "Content-Length: 0\r\n"), "the length is that of the body it would have");
}

Test(admin, scrapes_at_once_share_one_count)
{
	struct raw_client second;
	raw_connect_port(&second, admin_port(admin));
	raw_send_text(&client, SCRAPE "\r\n");
	raw_send_text(&second, SCRAPE "Accept: application/openmetrics-text\r\n\r\n");
	TURN_UNTIL(counting != NULL);
	for (int i = 0; i < 10; i++)
		fixture_turn();
	ledger_counts(0, 1, 1, 1);
	TURN_UNTIL(raw_has(&client, "reeld_jobs") && raw_has(&second, "# EOF\n"));
	cr_assert_eq(counts_asked, 1);
	cr_assert_eq(collected, 1);
	raw_close(&second);
}

Test(admin, a_ledger_that_fails_leaves_the_last_counts)
{
	raw_send_text(&client, SCRAPE "\r\n");
	TURN_UNTIL(counting != NULL);
	ledger_counts(0, 0, 0, 5);
	TURN_UNTIL(raw_count(&client, "reeld_jobs{state=\"dead\"} 5\n") == 1);
	raw_send_text(&client, SCRAPE "\r\n");
	TURN_UNTIL(counting != NULL);
	ledger_counts(ERR_LEDGER, 0, 0, 0);
	TURN_UNTIL(raw_count(&client, "reeld_jobs{state=\"dead\"} 5\n") == 2);
}

Test(admin, a_ledger_that_says_nothing_holds_up_no_scrape)
{
	for (size_t i = 1; i <= 2; i++) { /* the second one while the count is still under way */
		raw_send_text(&client, SCRAPE "\r\n");
		TURN_UNTIL(raw_count(&client, "reeld_inbox_events 4711\n") == i);
	}
	cr_assert_eq(counts_asked, 1);
	ledger_counts(0, 0, 0, 9); /* at last; nobody waits for it */
	for (int i = 0; i < 5; i++)
		fixture_turn();
	cr_assert_eq(raw_count(&client, "HTTP/1.1 200 OK\r\n"), 2);
	raw_send_text(&client, SCRAPE "\r\n");
	TURN_UNTIL(counting != NULL);
	ledger_counts(0, 0, 0, 9);
	TURN_UNTIL(raw_has(&client, "reeld_jobs{state=\"dead\"} 9\n"));
}

Test(admin, a_scraper_that_goes_away_hurts_nobody)
{
	raw_send_text(&client, SCRAPE "\r\n");
	TURN_UNTIL(counting != NULL);
	raw_reset(&client);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	ledger_counts(0, 1, 2, 3);
}

Test(admin, health_and_readiness)
{
	raw_expect(&client, GET("/healthz"), "{\"status\":\"ok\"}");
	raw_expect(&client, GET("/readyz"), "{\"what\":\"health\"}");
	cr_assert_eq(raw_count(&client, "HTTP/1.1 200 OK\r\n"), 2);
	ready = false;
	raw_send_text(&client, GET("/readyz"));
	TURN_UNTIL(raw_count(&client, "{\"what\":\"health\"}") == 2);
	cr_assert_eq(raw_count(&client, "HTTP/1.1 503 Service Unavailable\r\n"), 1);
	cr_assert_eq(raw_count(&client, "\r\nContent-Type: application/json\r\n"), 3);
	ready = true;
}

Test(admin, other_methods_and_paths)
{
	raw_expect(&client, "POST /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
		   "{\"error\":\"Method not allowed\"}");
	cr_assert(raw_has(&client, "HTTP/1.1 405 "));
	cr_assert(raw_has(&client, "\r\nAllow: GET, HEAD\r\n"));
	raw_expect(&client, GET("/metrics/"), "{\"error\":\"Not found\"}");
	cr_assert(raw_has(&client, "HTTP/1.1 404 "));
	raw_send_text(&client, "GET /api/twilio/recording HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
	TURN_UNTIL(raw_count(&client, "HTTP/1.1 404 ") == 2);
	/* What is not there is guarded like the rest of the API. */
	raw_send_text(&client, GET("/api/nope"));
	TURN_UNTIL(raw_count(&client, "HTTP/1.1 403 ") == 1);
	cr_assert_eq(counts_asked, 0);
}

Test(admin, closing_answers_those_that_wait_and_waits_for_the_ledger)
{
	raw_send_text(&client, SCRAPE "\r\n");
	TURN_UNTIL(counting != NULL);
	close_admin();
	TURN_UNTIL(raw_has(&client, "reeld_inbox_events 4711\n"));
	raw_close(&client);
	for (int i = 0; i < 10; i++)
		fixture_turn();
	cr_assert_not(admin_is_closed, "the ledger still has its request");
	ledger_counts(0, 0, 0, 0);
	TURN_UNTIL(admin_is_closed);
}

Test(admin, an_address_in_use_is_an_error_and_still_closes)
{
	struct admin *second = NULL;
	struct error error = {0};
	char address[32];
	snprintf(address, sizeof(address), "127.0.0.1:%d", admin_port(admin));
	options.listen = address;
	cr_assert_lt(admin_new(&second, &fixture.loop, &options, &error), 0);
	cr_assert_not_null(second);
	admin_close(second, on_admin_closed, &admin);
	TURN_UNTIL(admin_is_closed);
	admin_is_closed = false;
}
