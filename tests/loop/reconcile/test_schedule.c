/* SPDX-License-Identifier: MIT */
/* Reconciling by the clock between a scripted Twilio and a real ledger: when it walks, what it counts, its heartbeat, and closing in every state. */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "ledger/ledger_impl.h"
#include "loop/ledger/ledger_factory.h"
#include "loop/ledger/ledger_support.h"
#include "loop/support/peer.h"
#include "reconcile/schedule.h"

#include <signal.h>
#include <stdlib.h>

#define EVERY_MS 100
#define RUN_UNTIL(condition)                                                           \
	do {                                                                           \
		uint64_t give_up = uv_hrtime() + 30000000000ULL;                       \
		while (!(condition)) {                                                 \
			turn_run(&loop);                                               \
			cr_assert(uv_hrtime() < give_up, "still not: %s", #condition); \
		}                                                                      \
	} while (0)

static const char nothing_new[] = "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n{\"next_page_uri\":null,\"recordings\":[]}";
static const char refused[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
static const char patience[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 150\r\nContent-Length: 0\r\n\r\n";

static struct ledger *real;
static struct http_client *http;
static struct twilio_accounts *accounts;
static struct twilio_client *client;
static struct peer *peer;
static struct metrics *metrics;
static struct reconcile_schedule *schedule;
static struct sid account;

/* ---- the ledger, and one before it that counts and keeps requests of one kind back ---- */

static unsigned submitted[LEDGER_PING + 1];
static int held_op; /* -1: none */
static struct ledger_request *held;

static void before_submit(struct ledger *before, struct ledger_request *request)
{
	(void)before;
	submitted[request->op]++;
	if ((int)request->op == held_op && held == NULL)
		held = request;
	else
		ledger_submit(real, request);
}

static const struct ledger_ops before_ops = {.kind = "before", .submit = before_submit, .release = ledger_arena_free};
static struct ledger before = {&before_ops};

static void let_go(void)
{
	struct ledger_request *request = held;
	held_op = -1;
	held = NULL;
	ledger_submit(real, request);
}

/* ---- fixture ---- */

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
	held_op = -1;
	account = make_sid("AC", 1);
	real = factory_open(&loop, "a");
	http = http_client_new(&loop, &options);
	accounts = twilio_accounts_new();
	metrics = metrics_new();
	REQUIRE(http != NULL && accounts != NULL && metrics != NULL);
	REQUIRE(twilio_accounts_add(accounts, account.text, "token", NULL, NULL, &error) == 0);
}

static void close_schedule(void)
{
	bool closed = false;
	reconcile_schedule_close(schedule, flag_closed, &closed);
	schedule = NULL;
	cr_expect_not(closed, "closed came inside the call");
	if (held != NULL)
		let_go();
	RUN_UNTIL(closed);
}

static void tear_down(void)
{
	bool closed = false;
	if (schedule != NULL)
		close_schedule();
	peer_close(peer);
	twilio_client_free(&client);
	twilio_accounts_free(&accounts);
	http_client_close(http, flag_closed, &closed);
	RUN_UNTIL(closed);
	close_ledger(real);
	metrics_free(&metrics);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0, "handles are left open");
	factory_teardown();
}

TestSuite(reconcile_scheduled, .init = set_up, .fini = tear_down, .timeout = 60);

static const struct twilio_accounts *accounts_now(void *data)
{
	cr_assert_eq(data, &accounts);
	return accounts;
}

static void start(int64_t every_ms)
{
	const struct reconcile_schedule_options options = {
		.reconcile = {.ledger = &before, .twilio = client, .metrics = metrics, .pause_ms = 1, .retry_ms = 1},
		.every_ms = every_ms,
		.accounts = accounts_now,
		.data = &accounts,
	};
	uv_update_time(&loop);
	schedule = reconcile_schedule_new(&loop, &options);
	REQUIRE(schedule != NULL);
}

static void listen_with(const struct peer_script *scripts, size_t count)
{
	char base[64];
	peer = peer_new(&loop, "127.0.0.1", scripts, count);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", peer_port(peer));
	const struct twilio_client_options twilio = {.http = http, .base = base, .accounts = accounts};
	client = twilio_client_new(&twilio);
	REQUIRE(client != NULL);
}

/* Twilio answers with these, and the schedule begins. */
#define START(every_ms, ...)                                        \
	static const struct peer_script scripts[] = {__VA_ARGS__};  \
	listen_with(scripts, sizeof(scripts) / sizeof(scripts[0])); \
	start(every_ms)

static double runs(const char *outcome)
{
	return metrics_get(metrics, METRIC_RECONCILE_RUNS, outcome)->value;
}

static double last_success(void)
{
	return metrics_get(metrics, METRIC_RECONCILE_LAST_SUCCESS)->value;
}

static int64_t number(const char *sql)
{
	return strtoll(factory_sql(sql), NULL, 10);
}

static void check_lease_is_back(void)
{
	const char *owner = factory_sql("SELECT lease_owner FROM reconcile");
	cr_expect_str_eq(owner, "", "%s has the lease", owner);
}

static struct ledger_reconcile ask(struct ledger *by, enum ledger_op op, struct ledger_reconcile question)
{
	struct ledger_request request = {.op = op, .reconcile = question};
	cr_assert_eq(wait_for(by, &request), 0, "%s", request.error.detail);
	struct ledger_reconcile answer = request.reconcile;
	ledger_request_release(&request);
	return answer;
}

static bool takes_lease(struct ledger *by)
{
	return ask(by, LEDGER_RECONCILE_BEGIN, (struct ledger_reconcile){0}).granted;
}

/* So long, and the loop turns. */
static void pass(uint64_t ms)
{
	uint64_t end = uv_hrtime() + ms * 1000000;
	while (uv_hrtime() < end)
		turn_run(&loop);
}

/* ---- when ---- */

Test(reconcile_scheduled, walks_soon_after_the_start_and_again_after_the_configured_time)
{
	uint64_t began = uv_hrtime();
	START(300, {.answer = nothing_new});
	RUN_UNTIL(peer_requests(peer) == 1);
	uint64_t first = uv_hrtime();
	cr_expect_geq(first - began, UINT64_C(145000000));
	RUN_UNTIL(peer_requests(peer) == 2);
	cr_expect_geq(uv_hrtime() - first, UINT64_C(200000000));
	cr_expect_eq(submitted[LEDGER_RECONCILE_BEGIN], 2, "asked too early");
	cr_expect_eq(runs("completed"), 1);
	RUN_UNTIL(runs("completed") == 2);
	cr_expect_float_eq(last_success(), (double)clock_wall_ms() / 1000, 20);
	cr_expect_eq(runs("failed") + runs("cut"), 0);
	check_lease_is_back();
}

Test(reconcile_scheduled, a_walk_that_takes_long_is_not_joined_by_a_second)
{
	START(10, {.hang = true});
	RUN_UNTIL(peer_requests(peer) == 1);
	pass(200);
	cr_expect_eq(submitted[LEDGER_RECONCILE_BEGIN], 1);
	cr_expect_eq(peer_requests(peer), 1);
}

Test(reconcile_scheduled, while_another_replica_walks_it_waits_and_takes_over_when_that_one_died)
{
	struct ledger *other = factory_open(&loop, "b");
	cr_assert(takes_lease(other));
	START(EVERY_MS, {.answer = nothing_new});
	RUN_UNTIL(submitted[LEDGER_RECONCILE_BEGIN] == 3);
	cr_expect_eq(peer_requests(peer), 0);
	cr_expect_eq(runs("completed") + runs("failed") + runs("cut"), 0, "its own walk is no outcome of ours");
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS);
	RUN_UNTIL(runs("completed") == 1);
	cr_expect_eq(peer_requests(peer), 1);
	close_ledger(other);
}

Test(reconcile_scheduled, a_replica_that_comes_too_early_shows_the_success_of_the_one_that_walked)
{
	struct ledger *other = factory_open(&loop, "b");
	struct ledger_reconcile walk = ask(other, LEDGER_RECONCILE_BEGIN, (struct ledger_reconcile){0});
	ask(other, LEDGER_RECONCILE_END, (struct ledger_reconcile){.epoch = walk.epoch, .finished = true});
	factory_pass_time(-60000);
	START(EVERY_MS, {.answer = nothing_new});
	RUN_UNTIL(submitted[LEDGER_RECONCILE_BEGIN] == 3);
	cr_expect_eq(peer_requests(peer), 0);
	cr_expect_float_eq(last_success(), (double)number("SELECT finished_at FROM reconcile") / 1000, 0.001);
	cr_expect_gt(last_success(), 0);
	close_ledger(other);
}

Test(reconcile_scheduled, a_walk_that_failed_is_counted_and_tried_again)
{
	START(EVERY_MS, {.answer = refused}, {.answer = nothing_new});
	RUN_UNTIL(runs("failed") == 1);
	cr_expect_eq(last_success(), 0);
	check_lease_is_back();
	RUN_UNTIL(runs("completed") == 1);
	cr_expect_gt(last_success(), 0);
	cr_expect_eq(peer_requests(peer), 2);
}

Test(reconcile_scheduled, without_an_account_it_fails_and_asks_again_which_there_are)
{
	struct twilio_accounts *with_one = accounts;
	accounts = twilio_accounts_new();
	START(EVERY_MS, {.answer = nothing_new});
	RUN_UNTIL(runs("failed") == 2);
	cr_expect_eq(submitted[LEDGER_RECONCILE_BEGIN], 0);
	twilio_accounts_free(&accounts);
	accounts = with_one;
	twilio_client_set_accounts(client, accounts);
	RUN_UNTIL(runs("completed") == 1);
}

/* ---- the heartbeat ---- */

static void hasten(uv_handle_t *handle, void *data)
{
	uv_timer_t *timer = (uv_timer_t *)handle;
	if (handle->type != UV_TIMER || uv_timer_get_repeat(timer) != LEDGER_RECONCILE_LEASE_MS / 3)
		return;
	*(bool *)data = true;
	uv_timer_set_repeat(timer, 5);
	uv_timer_again(timer);
}

/* A walk is under way and Twilio does not answer: from now on a heartbeat every 5 ms. */
static void beat_fast(void)
{
	bool found = false;
	RUN_UNTIL(peer_requests(peer) == 1);
	uv_walk(&loop, hasten, &found);
	cr_assert(found, "no heartbeat every third of the lease");
}

Test(reconcile_scheduled, heartbeats_keep_the_lease_of_a_walk_that_takes_long)
{
	struct ledger *other = factory_open(&loop, "b");
	START(EVERY_MS, {.hang = true});
	RUN_UNTIL(peer_requests(peer) == 1);
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS * 2 / 3);
	int64_t expires = number("SELECT lease_expires_at FROM reconcile");
	beat_fast();
	RUN_UNTIL(number("SELECT lease_expires_at FROM reconcile") >= expires + LEDGER_RECONCILE_LEASE_MS / 2);
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS * 2 / 3);
	cr_expect_not(takes_lease(other));
	close_ledger(other);
}

Test(reconcile_scheduled, a_walk_that_was_taken_over_hears_it_from_its_heartbeat_and_lets_go)
{
	struct ledger *other = factory_open(&loop, "b");
	START(EVERY_MS, {.hang = true});
	RUN_UNTIL(peer_requests(peer) == 1);
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS);
	cr_assert(takes_lease(other));
	beat_fast();
	RUN_UNTIL(runs("cut") == 1);
	cr_expect_eq(submitted[LEDGER_RECONCILE_END], 0, "the lease is not ours to give back");
	cr_expect_str_eq(factory_sql("SELECT lease_owner FROM reconcile"), "b");
	cr_expect_eq(last_success(), 0);
	close_ledger(other);
}

Test(reconcile_scheduled, a_heartbeat_that_failed_does_not_end_the_walk)
{
	START(EVERY_MS, {.hang = true});
	RUN_UNTIL(peer_requests(peer) == 1);
	held_op = LEDGER_RECONCILE_SAVE;
	beat_fast();
	RUN_UNTIL(held != NULL);
	pass(50);
	cr_expect_eq(submitted[LEDGER_RECONCILE_SAVE], 1, "one at a time");
	struct ledger_request *request = held;
	held_op = -1;
	held = NULL;
	error_set(&request->error, ERR_LEDGER, "the disk is on fire");
	request->done(request, ERR_LEDGER);
	RUN_UNTIL(submitted[LEDGER_RECONCILE_SAVE] >= 3);
	cr_expect_eq(runs("completed") + runs("failed") + runs("cut"), 0);
}

Test(reconcile_scheduled, closing_waits_for_the_heartbeat_that_is_under_way)
{
	bool closed = false;
	START(EVERY_MS, {.hang = true});
	RUN_UNTIL(peer_requests(peer) == 1);
	held_op = LEDGER_RECONCILE_SAVE;
	beat_fast();
	RUN_UNTIL(held != NULL);
	reconcile_schedule_close(schedule, flag_closed, &closed);
	schedule = NULL;
	RUN_UNTIL(submitted[LEDGER_RECONCILE_END] == 1);
	pass(100);
	cr_expect_not(closed, "its memory is still in use");
	let_go();
	RUN_UNTIL(closed);
	check_lease_is_back();
}

/* ---- the end ---- */

Test(reconcile_scheduled, closes_before_the_first_walk)
{
	START(3600000, {.answer = nothing_new});
	close_schedule();
	cr_expect_eq(submitted[LEDGER_RECONCILE_BEGIN], 0);
	cr_expect_eq(runs("cut"), 0);
}

Test(reconcile_scheduled, closes_while_twilio_does_not_answer)
{
	START(EVERY_MS, {.hang = true});
	RUN_UNTIL(peer_requests(peer) == 1);
	close_schedule();
	cr_expect_eq(runs("cut"), 1);
	check_lease_is_back();
}

Test(reconcile_scheduled, closes_while_twilio_is_left_alone)
{
	START(EVERY_MS, {.answer = patience});
	RUN_UNTIL(peer_requests(peer) == 1);
	pass(50);
	close_schedule();
	cr_expect_eq(runs("cut"), 1);
	check_lease_is_back();
}

Test(reconcile_scheduled, closes_between_two_walks_and_while_another_replica_walks)
{
	struct ledger *other = factory_open(&loop, "b");
	START(1000, {.answer = nothing_new});
	RUN_UNTIL(runs("completed") == 1);
	close_schedule();
	cr_expect_eq(runs("cut"), 0);
	cr_assert(takes_lease(other));
	metrics_get(metrics, METRIC_RECONCILE_LAST_SUCCESS)->value = 0;
	start(EVERY_MS);
	RUN_UNTIL(last_success() > 0); /* the ledger has told of it with its refusal */
	close_schedule();
	cr_expect_eq(runs("cut"), 0);
	cr_expect_str_eq(factory_sql("SELECT lease_owner FROM reconcile"), "b");
	close_ledger(other);
}

/* Each request of a walk to the ledger, and its answer comes after the call to close. */
Test(reconcile_scheduled, closes_whatever_the_ledger_is_asked_for)
{
	static const enum ledger_op ops[] = {LEDGER_RECONCILE_BEGIN, LEDGER_RECONCILE_LOAD, LEDGER_RECONCILE_SAVE,
					     LEDGER_RECONCILE_END};
	static const struct peer_script script = {.answer = nothing_new};
	listen_with(&script, 1);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		factory_sql("UPDATE reconcile SET finished_at = NULL");
		held_op = (int)ops[i];
		start(1);
		RUN_UNTIL(held != NULL);
		close_schedule();
		check_lease_is_back();
	}
}

Test(reconcile_scheduled, closes_at_every_turn)
{
	static const struct peer_script script = {.answer = nothing_new};
	listen_with(&script, 1);
	for (int turns = 0; turns < 25; turns++) {
		start(1);
		for (int i = 0; i < turns; i++)
			turn_run(&loop);
		close_schedule();
		check_lease_is_back();
	}
	cr_expect_gt(runs("completed"), 0);
}
