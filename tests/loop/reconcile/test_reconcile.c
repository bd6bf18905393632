/* SPDX-License-Identifier: MIT */
/* The walk between a scripted Twilio and a real ledger: pages that change, fail, lie or never end; leases, backlog, stops. */
#include "base/check.h"
#include "base/log.h"
#include "loop/ledger/ledger_factory.h"
#include "loop/ledger/ledger_support.h"
#include "loop/support/peer.h"
#include "reconcile/reconcile.h"
#include "twilio/accounts.h"

#include <signal.h>
#include <stdlib.h>

#define DAY INT64_C(86400000)
#define MAY_FIRST INT64_C(1777593600000) /* 2026-05-01 */
#define NEXT(n) "\"/2010-04-01/Accounts/%s/Recordings.json?Page=" n "\""
#define END "null"

static struct ledger *ledger;
static struct http_client *http;
static struct twilio_accounts *accounts;
static struct twilio_client *client;
static struct peer *peer;
static struct reconcile *walker;
static struct metrics *metrics;
static struct sid sids[2];
static unsigned wakes;

static void set_up(void)
{
	struct error error;
	const struct http_client_options options = {0};
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	factory_setup();
	REQUIRE(uv_loop_init(&loop) == 0);
	ledger = factory_open(&loop, "a");
	http = http_client_new(&loop, &options);
	accounts = twilio_accounts_new();
	metrics = metrics_new();
	sids[0] = make_sid("AC", 1);
	sids[1] = make_sid("AC", 2);
	REQUIRE(http != NULL && accounts != NULL && metrics != NULL);
	for (int i = 0; i < 2; i++)
		REQUIRE(twilio_accounts_add(accounts, sids[i].text, "token", NULL, NULL, &error) == 0);
}

static void close_walker(void)
{
	bool closed = false;
	if (walker == NULL)
		return;
	reconcile_close(walker, flag_closed, &closed);
	cr_expect(!closed, "closed came inside the call");
	while (!closed)
		turn_run(&loop);
	walker = NULL;
}

static void tear_down(void)
{
	close_walker();
	peer_close(peer);
	twilio_client_free(&client);
	twilio_accounts_free(&accounts);
	bool closed = false;
	http_client_close(http, flag_closed, &closed);
	while (!closed)
		turn_run(&loop);
	close_ledger(ledger);
	metrics_free(&metrics);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0, "handles are left open");
	factory_teardown();
}

TestSuite(reconcile, .init = set_up, .fini = tear_down, .timeout = 60);

static void on_put(void *data)
{
	(void)data;
	wakes++;
}

static void serve_with(const struct peer_script *scripts, size_t count, struct reconcile_options options)
{
	char base[64];
	peer = peer_new(&loop, "127.0.0.1", scripts, count);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", peer_port(peer));
	const struct twilio_client_options twilio = {.http = http, .base = base, .accounts = accounts};
	client = twilio_client_new(&twilio);
	options.ledger = ledger;
	options.twilio = client;
	options.metrics = metrics;
	options.pause_ms = 1;
	options.retry_ms = 1;
	options.put = on_put;
	walker = reconcile_new(&loop, &options);
	REQUIRE(client != NULL && walker != NULL);
}

static void serve(const struct peer_script *scripts, size_t count)
{
	serve_with(scripts, count, (struct reconcile_options){0});
}

/* ---- pages ---- */

#define ANSWER 16384
static char answers[8][ANSWER];

static const char *answer(unsigned slot, int status, const char *more, const char *body)
{
	snprintf(answers[slot], ANSWER, "HTTP/1.1 %d Status\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
		 status, more, strlen(body), body);
	return answers[slot];
}

/* Recordings `first` to `last` of the account, complete since long; `next` may have a %s for the account. */
static const char *page(unsigned slot, unsigned account, unsigned first, unsigned last, const char *next)
{
	char body[ANSWER - 256], uri[256];
	size_t len = 0;
	snprintf(uri, sizeof(uri), next, make_sid("AC", account).text);
	len += (size_t)snprintf(body, sizeof(body), "{\"next_page_uri\":%s,\"recordings\":[", uri);
	for (unsigned n = first; n <= last; n++)
		len += (size_t)snprintf(
			body + len, sizeof(body) - len,
			"%s{\"sid\":\"%s\",\"account_sid\":\"%s\",\"call_sid\":\"%s\",\"status\":\"completed\",\"duration\":"
			"\"7\","
			"\"channels\":1,\"source\":\"Trunking\",\"date_created\":\"Fri, 01 May 2026 10:00:00 +0000\","
			"\"start_time\":\"Fri, 01 May 2026 10:00:00 +0000\"}",
			n == first ? "" : ",", make_sid("RE", n).text, make_sid("AC", account).text, make_sid("CA", n).text);
	snprintf(body + len, sizeof(body) - len, "]}");
	return answer(slot, 200, "", body);
}

static const char throttled[] = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";

/* ---- runs ---- */

static bool run_done;
static int run_status;
static unsigned found_count;

static void on_done(struct reconcile_run *run, int status)
{
	(void)run;
	cr_expect(!run_done);
	run_done = true;
	run_status = status;
}

static void on_found(struct reconcile_run *run, const struct twilio_listed *listed, enum reconcile_verdict verdict)
{
	(void)run;
	cr_expect(sid_is_set(&listed->recording_sid) && reconcile_verdict_lacks(verdict));
	found_count++;
}

static struct reconcile_run make_run(size_t account_count)
{
	run_done = false;
	found_count = 0;
	return (struct reconcile_run){
		.kind = LEDGER_RECONCILE_REQUESTED,
		.from_ms = MAY_FIRST + DAY / 4,
		.to_ms = MAY_FIRST + DAY - 1,
		.accounts = sids,
		.account_count = account_count,
		.found = on_found,
		.done = on_done,
	};
}

static void start(struct reconcile_run *run)
{
	reconcile_start(walker, run);
	cr_assert(!run_done, "done came inside the call");
}

#define RUN_UNTIL(condition)                                                           \
	do {                                                                           \
		uint64_t give_up = uv_hrtime() + 30000000000ULL;                       \
		while (!(condition)) {                                                 \
			turn_run(&loop);                                               \
			cr_assert(uv_hrtime() < give_up, "still not: %s", #condition); \
		}                                                                      \
	} while (0)

static int finish(void)
{
	RUN_UNTIL(run_done);
	cr_expect(!reconcile_running(walker));
	return run_status;
}

static int walk(struct reconcile_run *run)
{
	start(run);
	return finish();
}

static void check_sql(const char *sql, const char *expected)
{
	cr_expect_str_eq(factory_sql(sql), expected, "%s: %s", sql, factory_sql(sql));
}

static void check_rows(const char *count)
{
	check_sql("SELECT count(*) FROM recordings", count);
}

static double metric(const char *result)
{
	return metrics_get(metrics, METRIC_RECONCILE_RECORDINGS, result)->value;
}

/* ---- tests ---- */

Test(reconcile, all_pages_of_the_day_with_a_429_in_the_middle)
{
	const struct peer_script scripts[] = {
		{.answer = page(0, 1, 1, 3, NEXT("1"))},
		{.answer = throttled},
		{.answer = throttled},
		{.answer = page(1, 1, 4, 6, NEXT("2"))},
		{.answer = page(2, 1, 7, 8, END)},
	};
	serve(scripts, 5);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_assert_eq(run.seen, 8);
	cr_assert_eq(run.verdicts[RECONCILE_MISSING], 8);
	cr_assert_eq(run.healed, 8);
	cr_assert_eq(run.requests, 5);
	cr_assert_eq(run.days_done, 1);
	cr_assert_eq(found_count, 8);
	cr_assert_gt(wakes, 0);
	check_sql("SELECT count(*) FROM recordings WHERE status = 'pending' AND next_attempt_at IS NOT NULL AND source = "
		  "'Trunking'",
		  "8");
	check_sql("SELECT detail FROM recording_events WHERE n = 1 LIMIT 1", "completed, reconciled");
	check_sql("SELECT lease_owner FROM reconcile", "");
	check_sql("SELECT count(*) FROM reconcile_progress", "0");
	cr_assert_eq(metric("seen"), 8);
	cr_assert_eq(metric("missing"), 8);
	cr_assert_eq(metric("healed"), 8);
	/* A second walk finds nothing more. */
	struct reconcile_run again = make_run(1);
	cr_assert_eq(walk(&again), 0);
	cr_assert_eq(again.verdicts[RECONCILE_KNOWN], 2, "the last page repeats");
	cr_assert_eq(again.healed, 0);
	check_rows("8");
}

Test(reconcile, more_than_one_request_to_the_ledger_takes)
{
	static char body[200000];
	size_t len = (size_t)snprintf(body, sizeof(body),
				      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"next_page_uri\":null,\"recordings\":[");
	for (unsigned n = 1; n <= 250; n++)
		len += (size_t)snprintf(body + len, sizeof(body) - len,
					"%s{\"sid\":\"%s\",\"account_sid\":\"%s\",\"call_sid\":\"%s\",\"status\":\"completed\"}",
					n == 1 ? "" : ",", make_sid("RE", n).text, sids[0].text, make_sid("CA", n).text);
	snprintf(body + len, sizeof(body) - len, "]}");
	const struct peer_script scripts[] = {{.answer = body, .close = true}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_assert_eq(run.healed, 250);
	cr_assert_eq(wakes, 3);
	check_rows("250");
}

Test(reconcile, a_list_that_moves_while_it_is_walked_gives_each_its_event_once)
{
	/* One was added at the front, so that the last of the first page comes again; and a page may repeat itself. */
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 3, NEXT("1"))},
					      {.answer = page(1, 1, 3, 5, NEXT("2"))},
					      {.answer = page(2, 1, 3, 5, END)}};
	serve(scripts, 3);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_assert_eq(run.healed, 5);
	cr_assert_eq(run.verdicts[RECONCILE_KNOWN], 4);
	check_rows("5");
	check_sql("SELECT count(*) FROM recording_events", "5");
}

Test(reconcile, a_page_that_leads_elsewhere_is_not_believed)
{
	const struct peer_script scripts[] = {
		{.answer = page(0, 1, 1, 3, "\"https://evil.example/2010-04-01/Accounts/%s/Recordings.json?Page=1\"")}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), ERR_PROTOCOL);
	cr_assert(strstr(run.error.detail, "next_page_uri") != NULL, "%s", run.error.detail);
	cr_assert_eq(run.failed_accounts, 1);
	cr_assert_eq(run.seen, 0);
	check_rows("0");
	check_sql("SELECT lease_owner FROM reconcile", "");
}

Test(reconcile, a_malformed_page_is_asked_for_again)
{
	const struct peer_script scripts[] = {
		{.answer = answer(0, 200, "", "{\"recordings\":[")},
		{.answer = answer(1, 500, "", "")},
		{.answer = answer(2, 200, "", "{\"recordings\":[]}")},
		{.answer = page(3, 1, 1, 2, END)},
	};
	serve(scripts, 4);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_assert_eq(run.healed, 2);
	cr_assert_eq(peer_requests(peer), 4);
}

Test(reconcile, a_next_page_that_is_gone_begins_the_day_anew)
{
	const struct peer_script scripts[] = {
		{.answer = page(0, 1, 1, 2, NEXT("1"))},
		{.answer = answer(1, 400, "", "{\"code\":20006,\"message\":\"Invalid page token\"}")},
		{.answer = page(2, 1, 1, 2, NEXT("1"))},
		{.answer = page(3, 1, 3, 3, END)},
	};
	serve(scripts, 4);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_assert_eq(run.healed, 3);
	check_rows("3");
}

Test(reconcile, a_next_page_that_is_always_gone_is_given_up)
{
	const char *first = page(0, 1, 1, 2, NEXT("1")), *gone = answer(1, 404, "", "");
	const struct peer_script scripts[] = {{.answer = first}, {.answer = gone},  {.answer = first},
					      {.answer = gone},  {.answer = first}, {.answer = gone},
					      {.answer = first}, {.answer = gone},  {.answer = first}};
	serve(scripts, 9);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), ERR_HTTP_NOT_FOUND);
	cr_assert_eq(peer_requests(peer), 8);
	check_rows("2");
}

Test(reconcile, a_list_without_an_end_is_given_up)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 2, NEXT("1"))}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), ERR_PROTOCOL);
	cr_assert(strstr(run.error.detail, "does not end") != NULL, "%s", run.error.detail);
	cr_assert_eq(peer_requests(peer), 2);
}

Test(reconcile, an_account_that_is_refused_does_not_hold_up_the_next)
{
	const struct peer_script scripts[] = {{.answer = answer(0, 401, "", "{\"code\":20003,\"message\":\"Authenticate\"}")},
					      {.answer = page(1, 2, 1, 2, END)}};
	serve(scripts, 2);
	struct reconcile_run run = make_run(2);
	cr_assert_eq(walk(&run), ERR_HTTP_UNAUTHORIZED);
	cr_assert_eq(run.failed_accounts, 1);
	cr_assert_eq(run.healed, 2);
	cr_assert(strstr(run.error.detail, "Twilio 20003") != NULL, "%s", run.error.detail);
	/* What was walked is known to the next one, which begins with the other. */
	check_sql("SELECT count(*) FROM reconcile_progress", "1");
	check_sql("SELECT finished_at FROM reconcile", "");
}

Test(reconcile, an_account_without_credentials_is_no_request)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 1, END)}};
	serve(scripts, 1);
	struct sid other[2] = {make_sid("AC", 9), sids[0]};
	struct reconcile_run run = make_run(2);
	run.accounts = other;
	run.dry_run = true;
	cr_assert_eq(walk(&run), ERR_CONFIG);
	cr_assert_eq(run.failed_accounts, 1);
	cr_assert_eq(found_count, 1);
	cr_assert_eq(peer_requests(peer), 1);
}

Test(reconcile, a_dry_run_only_looks)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 3, NEXT("1"))}, {.answer = page(1, 1, 4, 5, END)}};
	serve(scripts, 2);
	struct reconcile_run run = make_run(1);
	run.dry_run = true;
	cr_assert_eq(walk(&run), 0);
	cr_assert_eq(found_count, 5);
	cr_assert_eq(run.healed, 0);
	cr_assert_eq(wakes, 0);
	check_rows("0");
	check_sql("SELECT lease_epoch FROM reconcile", "0");
	check_sql("SELECT count(*) FROM reconcile_progress", "0");
}

Test(reconcile, what_is_before_the_first_day_is_not_counted)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 3, END)}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	run.from_ms = MAY_FIRST + DAY;
	run.to_ms = MAY_FIRST + DAY;
	cr_assert_eq(walk(&run), 0);
	cr_assert_eq(run.seen, 0);
	check_rows("0");
}

/* ---- one at a time ---- */

static struct ledger_reconcile begin_by(struct ledger *by)
{
	struct ledger_request request = {.op = LEDGER_RECONCILE_BEGIN};
	cr_assert_eq(wait_for(by, &request), 0, "%s", request.error.detail);
	struct ledger_reconcile answer_of = request.reconcile;
	ledger_request_release(&request);
	return answer_of;
}

Test(reconcile, while_another_walks_nothing_is_asked_for)
{
	struct ledger *other = factory_open(&loop, "b");
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 3, END)}};
	serve(scripts, 1);
	cr_assert(begin_by(other).granted);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), ERR_LOCKED);
	cr_assert_str_eq(run.holder, "b");
	cr_assert(run.wait_ms > 0 && run.wait_ms <= LEDGER_RECONCILE_LEASE_MS);
	cr_assert_eq(peer_requests(peer), 0);
	/* It died. */
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS);
	run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_assert_eq(run.healed, 3);
	close_ledger(other);
}

Test(reconcile, one_that_was_taken_over_ends_without_a_trace)
{
	struct ledger *other = factory_open(&loop, "b");
	const struct peer_script scripts[] = {
		{.answer = page(0, 1, 1, 3, NEXT("1"))}, {.hang = true}, {.answer = page(1, 1, 4, 4, END)}};
	serve(scripts, 2);
	struct reconcile_run run = make_run(1);
	start(&run);
	RUN_UNTIL(peer_requests(peer) == 2);
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS);
	struct ledger_reconcile taken = begin_by(other);
	cr_assert(taken.granted);
	reconcile_stop(walker);
	cr_assert_eq(finish(), ERR_CANCELLED);
	check_sql("SELECT lease_owner FROM reconcile", "b");
	check_sql("SELECT count(*) FROM reconcile_progress", "0");
	close_ledger(other);
}

Test(reconcile, a_late_save_is_the_end_of_the_walk)
{
	struct ledger *other = factory_open(&loop, "b");
	static const char slow[] = "HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
	const struct peer_script scripts[] = {{.answer = slow}, {.answer = page(0, 1, 1, 3, END)}};
	serve(scripts, 2);
	struct reconcile_run run = make_run(2);
	start(&run);
	RUN_UNTIL(peer_requests(peer) == 1);
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS);
	cr_assert(begin_by(other).granted);
	cr_assert_eq(finish(), ERR_LEASE_LOST);
	cr_assert_eq(peer_requests(peer), 2, "the second account is not walked");
	check_sql("SELECT lease_owner FROM reconcile", "b");
	check_sql("SELECT count(*) FROM reconcile_progress", "0");
	close_ledger(other);
}

/* ---- patience ---- */

static const char a_week[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 604800\r\nContent-Length: 0\r\n\r\n";

Test(reconcile, a_wait_that_is_too_long_ends_the_walk_and_keeps_what_was_walked)
{
	const struct peer_script scripts[] = {
		{.answer = page(0, 1, 1, 3, END)}, {.answer = a_week}, {.answer = page(1, 1, 4, 5, END)}};
	serve_with(scripts, 3, (struct reconcile_options){.retry_after_max_ms = 7200000});
	struct reconcile_run run = make_run(1);
	run.to_ms += DAY;
	uint64_t began = uv_hrtime();
	cr_assert_eq(walk(&run), ERR_HTTP_THROTTLED);
	cr_expect_lt(uv_hrtime() - began, 20000000000ULL);
	cr_expect_eq(run.failed_accounts, 1);
	cr_expect_eq(run.wait_ms, 7200000, "at most RETRY_MAX");
	cr_expect_not_null(strstr(run.error.detail, "604800 s"), "%s", run.error.detail);
	check_sql("SELECT lease_owner FROM reconcile", "");
	check_sql("SELECT count(*) FROM reconcile_progress", "1");
	struct reconcile_run next = make_run(1);
	next.to_ms += DAY;
	cr_assert_eq(walk(&next), 0, "%s", next.error.detail);
	cr_expect_eq(next.continued_ms, MAY_FIRST + DAY);
	cr_expect_eq(next.wait_ms, 0);
}

Test(reconcile, an_account_that_has_to_be_left_alone_does_not_keep_the_others)
{
	const struct peer_script scripts[] = {{.answer = a_week}, {.answer = page(0, 2, 1, 3, END)}};
	serve(scripts, 2);
	struct reconcile_run run = make_run(2);
	cr_assert_eq(walk(&run), ERR_HTTP_THROTTLED);
	cr_expect_eq(run.failed_accounts, 1);
	cr_expect_eq(run.healed, 3);
	cr_expect_eq(run.wait_ms, 3600000);
	check_sql("SELECT lease_owner FROM reconcile", "");
}

Test(reconcile, a_short_wait_is_at_most_retry_max)
{
	static const char minute[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
	const struct peer_script scripts[] = {{.answer = minute}, {.answer = page(0, 1, 1, 3, END)}};
	serve_with(scripts, 2, (struct reconcile_options){.retry_after_max_ms = 5});
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0, "%s", run.error.detail);
	cr_expect_eq(run.healed, 3);
}

/* ---- stops ---- */

Test(reconcile, a_stop_cuts_the_request_and_gives_the_lease_back)
{
	const struct peer_script scripts[] = {{.hang = true}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	reconcile_stop(walker); /* of nothing */
	start(&run);
	RUN_UNTIL(peer_requests(peer) == 1);
	reconcile_stop(walker);
	cr_assert(!run_done);
	cr_assert_eq(finish(), ERR_CANCELLED);
	check_sql("SELECT lease_owner FROM reconcile", "");
}

Test(reconcile, a_stop_before_the_first_step)
{
	const struct peer_script scripts[] = {{.hang = true}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	start(&run);
	reconcile_stop(walker);
	cr_assert_eq(finish(), ERR_CANCELLED);
	cr_assert_eq(peer_requests(peer), 0);
}

Test(reconcile, closing_ends_a_run_and_a_pause)
{
	static const char patience[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 150\r\nContent-Length: 0\r\n\r\n";
	const struct peer_script scripts[] = {{.answer = patience}};
	serve(scripts, 1);
	struct reconcile_run run = make_run(1);
	start(&run);
	RUN_UNTIL(run.throttled_ms >= 150000);
	close_walker();
	cr_assert(run_done);
	cr_assert_eq(run_status, ERR_CANCELLED);
	check_sql("SELECT lease_owner FROM reconcile", "");
}

/* ---- backlog ---- */

static void fill_backlog(unsigned count)
{
	for (unsigned n = 1000; n < 1000 + count; n++) {
		struct event event = recording_event(n, RECORDING_COMPLETED);
		struct ledger_request request = {.op = LEDGER_FORWARD, .events = &event, .count = 1};
		cr_assert_eq(wait_for(ledger, &request), 0);
		ledger_request_release(&request);
	}
}

Test(reconcile, it_waits_while_too_many_wait_already)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 3, END)}};
	serve_with(scripts, 1, (struct reconcile_options){.backlog = 5});
	fill_backlog(5);
	struct reconcile_run run = make_run(1);
	start(&run);
	RUN_UNTIL(run.waiting);
	check_rows("5");
	factory_sql("UPDATE recordings SET status = 'stored' WHERE status = 'pending'");
	cr_assert_eq(finish(), 0);
	cr_assert_eq(run.seen, 3, "counted once, however long it waited");
	cr_assert_eq(run.healed, 3);
}

Test(reconcile, nobody_at_work_is_not_waited_for)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1, 3, END)}};
	serve_with(scripts, 1, (struct reconcile_options){.backlog = 5, .unattended_ms = 1});
	fill_backlog(6);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0);
	cr_assert_eq(run.healed, 3);
	check_rows("9");
}

Test(reconcile, a_page_without_anything_new_does_not_wait)
{
	const struct peer_script scripts[] = {{.answer = page(0, 1, 1000, 1004, END)}};
	serve_with(scripts, 1, (struct reconcile_options){.backlog = 5});
	fill_backlog(5);
	struct reconcile_run run = make_run(1);
	cr_assert_eq(walk(&run), 0);
	cr_assert_eq(run.verdicts[RECONCILE_KNOWN], 5);
}
