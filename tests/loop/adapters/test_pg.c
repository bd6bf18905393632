/* SPDX-License-Identifier: MIT */
/* The pool on a real server, through a proxy that is the network. */
#include "adapters/pg.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/turn.h"
#include "loop/support/proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum slot {
	SQL_ADD,
	SQL_ECHO,
	SQL_ARRAYS,
	SQL_INSERT,
	SQL_COUNT,
	SQL_TRANSACTION,
	SQL_SLEEP,
	SQL_FLAKY,
	SQL_TERMINATE,
	SQL_READ_ONLY,
	SQL_HUGE,
	SQL_BROKEN,
	SQL_NOT_THERE,
	SQL_SLOTS
};

static const char *const sql[SQL_SLOTS] = {
	[SQL_ADD] = "SELECT $1 + 1",
	[SQL_ECHO] = "SELECT $1, $2, $3, $4, $5, $6, $7",
	[SQL_ARRAYS] = "SELECT count(*), count(t), sum(n), count(k), min(at), bool_or(b) FROM unnest($1, $2, $3, $4, $5) AS x "
		       "(t, n, k, at, b)",
	[SQL_INSERT] = "INSERT INTO things VALUES ($1) RETURNING id",
	[SQL_COUNT] = "SELECT count(*) FROM things",
	[SQL_TRANSACTION] = "SELECT txid_current() + 0 * $1",
	[SQL_SLEEP] = "SELECT $1 FROM (SELECT pg_sleep($1 / 1000.0)) x",
	/* Fails as long as the sequence, which knows no rollback, has not passed $1. */
	[SQL_FLAKY] = "SELECT flaky($1)",
	[SQL_TERMINATE] = "SELECT $1 FROM (SELECT pg_terminate_backend(pg_backend_pid())) x",
	[SQL_READ_ONLY] = "SELECT $1 FROM (SELECT set_config('default_transaction_read_only', 'on', false)) x",
	[SQL_HUGE] = "SELECT length($1)",
	[SQL_BROKEN] = "SELECT nonsense FROM nowhere WHERE $1 = 1",
	[SQL_NOT_THERE] = "SELECT $1::bigint FROM absent",
};

struct job {
	struct list link;
	enum slot slot;
	int64_t value;
	unsigned sent;
	bool submitted;
	bool done;
	int status;
	int64_t answer;
	struct error error;
};

static uv_loop_t loop;
static struct pg *pool;
static struct proxy *proxy;
static unsigned answered;
static const char *server; /* host and everything before, "postgresql://reeld@127.0.0.1:PORT/reeld" */
static char url[512];
static char *huge;
static const char *greeting; /* on each connection; NULL: the test's schema */
static int refuse_greeting;
static unsigned greeted; /* connections */

static struct job *job_of(struct list *item)
{
	return LIST_ENTRY(item, struct job, link);
}

static void send_echo(struct pg_batch *batch)
{
	static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255};
	pg_bind_bool(batch, true);
	pg_bind_i64(batch, -5);
	pg_bind_text(batch, "na\xc3\xafve, 'quoted' \"\\ \xff\xe2\x82");
	pg_bind_uuid(batch, uuid);
	pg_bind_time(batch, 1700000000123);
	pg_bind_i64_or_null(batch, 7, 7);
	pg_bind_text(batch, "");
}

static void send_arrays(struct pg_batch *batch, size_t count)
{
	uint8_t uuid[16] = {0};
	pg_bind_array(batch, PG_TEXT, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_text(batch, i % 2 == 0 ? "x,y{}\"" : NULL);
	pg_bind_array(batch, PG_I64, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_i64(batch, (int64_t)i);
	pg_bind_array(batch, PG_UUID, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_uuid(batch, uuid);
	pg_bind_array(batch, PG_TIME, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_time(batch, i == 0 ? -1 : 1000 * (int64_t)i);
	pg_bind_array(batch, PG_BOOL, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_bool(batch, i == 3);
}

static int on_send(void *context, struct list *item, struct pg_batch *batch)
{
	struct job *job = job_of(item);
	cr_expect_eq(context, &loop);
	job->sent++;
	if (job->value == INT64_MIN)
		return ERR_INVALID;
	pg_query(batch, job->slot);
	if (job->slot == SQL_ECHO)
		send_echo(batch);
	else if (job->slot == SQL_ARRAYS)
		send_arrays(batch, (size_t)job->value);
	else if (job->slot == SQL_HUGE)
		pg_bind_text(batch, huge);
	else if (job->slot != SQL_COUNT)
		pg_bind_i64(batch, job->value);
	return 0;
}

static void check_echo(const struct pg_result *result)
{
	char text[64];
	cr_expect(pg_bool(result, 0, 0));
	cr_expect_eq(pg_i64(result, 0, 1, 0), -5);
	pg_text(result, 0, 2, text, sizeof(text));
	cr_expect_str_eq(text, "na\xc3\xafve, 'quoted' \"\\ ???", "what is not UTF-8 is not refused");
	pg_text(result, 0, 2, text, 4);
	cr_expect_str_eq(text, "na", "cut between characters");
	cr_expect_eq(pg_time(result, 0, 4), 1700000000123);
	cr_expect(pg_is_null(result, 0, 5));
	cr_expect(pg_is_null(result, 0, 6));
	cr_expect_eq(pg_i64(result, 0, 5, -1), -1);
	cr_expect_eq(pg_time(result, 0, 5), -1);
	pg_text(result, 0, 6, text, sizeof(text));
	cr_expect_str_eq(text, "");
}

static int on_receive(void *context, struct list *item, const struct pg_result *const *results, size_t count)
{
	struct job *job = job_of(item);
	(void)context;
	cr_expect_eq(count, 1);
	cr_expect_eq(pg_rows(results[0]), job->slot == SQL_NOT_THERE ? 0 : 1);
	if (job->slot == SQL_ECHO)
		check_echo(results[0]);
	else
		job->answer = pg_i64(results[0], 0, 0, -1);
	if (job->slot == SQL_ARRAYS && job->value == 4) {
		cr_expect_eq(pg_i64(results[0], 0, 1, 0), 2);
		cr_expect_eq(pg_i64(results[0], 0, 3, 0), 4);
		cr_expect_eq(pg_time(results[0], 0, 4), 1000);
		cr_expect(pg_bool(results[0], 0, 5));
	}
	return job->value == 4711 ? ERR_LEASE_LOST : 0;
}

static void on_settle(void *context, struct list *item, int status, const struct error *error)
{
	struct job *job = job_of(item);
	(void)context;
	job->status = status;
	if (error != NULL)
		job->error = *error;
}

static void on_done(void *context, struct list *item)
{
	struct job *job = job_of(item);
	(void)context;
	cr_expect(job->submitted, "done came inside the call");
	cr_expect_not(job->done, "done came twice");
	job->done = true;
	answered++;
}

static int on_greet(void *context, unsigned step, const struct pg_result *previous, const char **text, struct error *error)
{
	(void)context;
	greeted += step == 1;
	if (step == 0)
		*text = greeting != NULL ? greeting : "SELECT 1, 'two'";
	if (step == 1 && greeting == NULL) {
		cr_expect_eq(pg_rows(previous), 1);
		cr_expect_eq(pg_i64(previous, 0, 0, 0), 1);
	}
	return step == 1 && refuse_greeting != 0 ? error_set(error, refuse_greeting, "not to our liking") : 0;
}

static const struct pg_ops ops = {
	.send = on_send, .receive = on_receive, .settle = on_settle, .done = on_done, .greet = on_greet};

/* Small limits, so that a test of an outage is short. */
static struct pg_options limits(void)
{
	return (struct pg_options){.loop = &loop,
				   .url = url,
				   .ops = &ops,
				   .context = &loop,
				   .sql = sql,
				   .sql_count = SQL_SLOTS,
				   .prepared = true,
				   .backoff_ms = 5};
}

static void open_pool(struct pg_options options)
{
	struct error error = {0};
	cr_assert_eq(pg_open(&pool, &options, &error), 0, "%s", error.detail);
}

static int port_of(const char *text)
{
	return (int)strtol(strrchr(text, ':') + 1, NULL, 10);
}

static void use_port(int port)
{
	snprintf(url, sizeof(url), "postgresql://reeld:s3cret@127.0.0.1:%d/reeld?sslmode=disable&options=-csearch_path%%3Dt_%d",
		 port, (int)getpid());
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static void close_pool(void)
{
	bool closed = false;
	pg_close(pool, on_closed, &closed);
	cr_expect_not(closed, "closed came inside the call");
	while (!closed)
		cr_assert(turn_run(&loop) != 0 || closed);
	pool = NULL;
}

static void psql(const char *text)
{
	/* The pool is all there is that talks to Postgres here: its greeting takes any text. */
	struct pg_options options = limits();
	char straight[512];
	snprintf(straight, sizeof(straight), "%s", server);
	options.url = straight;
	options.connections = 1;
	greeting = text;
	open_pool(options);
	while (!pg_ready(pool)) {
		cr_assert_eq(pg_error(pool)->code, 0, "%s: %s", text, pg_error(pool)->detail);
		turn_run(&loop);
	}
	greeting = NULL;
	close_pool();
}

static void set_up(void)
{
	char text[1024];
	server = getenv("REELD_TEST_POSTGRES_URL");
	cr_assert_not_null(server, "run it through tests/servers/run.py postgres -- PROGRAM");
	REQUIRE(uv_loop_init(&loop) == 0);
	snprintf(
		text, sizeof(text),
		"CREATE SCHEMA t_%d; SET search_path = t_%d; CREATE TABLE things (id bigint PRIMARY KEY); CREATE SEQUENCE tries; "
		"CREATE FUNCTION flaky(n bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') <= n THEN "
		"RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END IF; RETURN currval('tries'); END $$",
		(int)getpid(), (int)getpid());
	psql(text);
	proxy = proxy_new(&loop, port_of(server));
	use_port(proxy_port(proxy));
}

static void tear_down(void)
{
	char text[128];
	if (pool != NULL)
		close_pool();
	proxy_close(proxy);
	uv_run(&loop, UV_RUN_DEFAULT);
	snprintf(text, sizeof(text), "DROP SCHEMA t_%d CASCADE", (int)getpid());
	psql(text);
	cr_expect_eq(uv_loop_close(&loop), 0, "handles are left open");
	free(huge);
}

TestSuite(pg, .init = set_up, .fini = tear_down, .timeout = 60);

static void submit(struct job *job, unsigned lane)
{
	job->done = job->submitted = false;
	pg_submit(pool, lane, &job->link);
	job->submitted = true;
}

static void wait_for(const struct job *job)
{
	while (!job->done)
		cr_assert(turn_run(&loop) != 0 || job->done, "the loop has nothing to do and the item is not answered");
}

static int64_t ask(enum slot slot, int64_t value, int *status)
{
	struct job job = {.slot = slot, .value = value};
	submit(&job, 0);
	wait_for(&job);
	if (status == NULL)
		cr_expect_eq(job.status, 0, "%s", job.error.detail);
	else
		*status = job.status;
	return job.answer;
}

/* Turns the loop until the pool is as wanted. */
static void wait_ready(bool ready)
{
	uint64_t deadline = clock_mono_ns() + 20000000000ULL;
	while (pg_ready(pool) != ready) {
		turn_run(&loop);
		cr_assert_lt(clock_mono_ns(), deadline, "not %s: %s", ready ? "ready" : "down", pg_error(pool)->detail);
	}
}

/* ---- queries ---- */

Test(pg, values_of_every_type_go_there_and_come_back)
{
	open_pool(limits());
	ask(SQL_ECHO, 0, NULL);
	cr_expect_eq(ask(SQL_ADD, 41, NULL), 42);
	cr_expect_eq(ask(SQL_ADD, -2, NULL), -1);
	cr_expect_eq(ask(SQL_ARRAYS, 4, NULL), 4);
	cr_expect_eq(ask(SQL_ARRAYS, 0, NULL), 0);
	cr_expect_eq(ask(SQL_ARRAYS, 20000, NULL), 20000);
}

Test(pg, without_prepared_statements_it_works_as_well)
{
	struct pg_options options = limits();
	options.prepared = false;
	open_pool(options);
	ask(SQL_ECHO, 0, NULL);
	cr_expect_eq(ask(SQL_ARRAYS, 4, NULL), 4);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(ask(SQL_ADD, i, NULL), i + 1);
}

Test(pg, what_is_larger_than_the_sockets_buffers_is_sent_in_turns)
{
	huge = malloc(12000001);
	memset(huge, 'x', 12000000);
	huge[12000000] = '\0';
	open_pool(limits());
	cr_expect_eq(ask(SQL_HUGE, 0, NULL), 12000000);
	free(huge);
	huge = malloc(20000001);
	memset(huge, 'x', 20000000);
	huge[20000000] = '\0';
	int status;
	ask(SQL_HUGE, 0, &status);
	cr_expect_eq(status, ERR_LIMIT, "what is too large is refused before it is sent");
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2, "and takes nothing along");
}

Test(pg, what_waits_together_shares_a_transaction)
{
	struct job jobs[10];
	struct pg_options options = limits();
	open_pool(options);
	wait_ready(true);
	for (int i = 0; i < 10; i++) {
		jobs[i] = (struct job){.slot = SQL_TRANSACTION};
		submit(&jobs[i], 0);
	}
	wait_for(&jobs[9]);
	for (int i = 0; i < 10; i++) {
		cr_expect(jobs[i].done);
		cr_expect_eq(jobs[i].answer, jobs[0].answer);
	}
	cr_expect_gt(ask(SQL_TRANSACTION, 0, NULL), jobs[0].answer);
}

Test(pg, an_item_that_fails_takes_nothing_of_its_group_along)
{
	struct job jobs[6];
	open_pool(limits());
	static const int64_t ids[6] = {1, 2, 1, INT64_MIN, 3, 4711};
	for (int i = 0; i < 6; i++) {
		jobs[i] = (struct job){.slot = SQL_INSERT, .value = ids[i]};
		submit(&jobs[i], 0);
	}
	for (int i = 0; i < 6; i++)
		wait_for(&jobs[i]);
	cr_expect_eq(jobs[0].status, 0);
	cr_expect_eq(jobs[1].status, 0);
	cr_expect_eq(jobs[2].status, ERR_INVALID);
	cr_expect_eq(err_class(jobs[2].status), ERR_CLASS_PERMANENT);
	cr_expect_not_null(strstr(jobs[2].error.detail, "23505"));
	cr_expect_eq(jobs[3].status, ERR_INVALID, "refused by its own send");
	cr_expect_eq(jobs[4].status, 0);
	cr_expect_eq(jobs[5].status, ERR_LEASE_LOST, "receive's own status");
	cr_expect_eq(ask(SQL_COUNT, 0, NULL), 4);
	cr_expect(pg_ready(pool));
}

Test(pg, a_serialization_failure_is_run_again_but_not_for_ever)
{
	struct job jobs[3] = {
		{.slot = SQL_INSERT, .value = 1}, {.slot = SQL_FLAKY, .value = 4}, {.slot = SQL_INSERT, .value = 2}};
	open_pool(limits());
	for (int i = 0; i < 3; i++)
		submit(&jobs[i], 0);
	for (int i = 0; i < 3; i++) {
		wait_for(&jobs[i]);
		cr_expect_eq(jobs[i].status, 0, "%d: %s", i, jobs[i].error.detail);
	}
	cr_expect_eq(jobs[1].answer, 5);
	cr_expect_eq(ask(SQL_COUNT, 0, NULL), 2);
	struct job hopeless = {.slot = SQL_FLAKY, .value = 1000000};
	submit(&hopeless, 0);
	wait_for(&hopeless);
	cr_expect_eq(hopeless.status, ERR_LEDGER);
	cr_expect(hopeless.sent > 3 && hopeless.sent < 20, "%u times", hopeless.sent);
}

Test(pg, a_wrong_statement_is_an_outage_and_not_the_items_fault)
{
	int status;
	open_pool(limits());
	ask(SQL_BROKEN, 1, &status);
	cr_expect_eq(status, ERR_LEDGER);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
	ask(SQL_NOT_THERE, 1, &status);
	cr_expect_eq(status, ERR_LEDGER);
	cr_expect_eq(err_class(status), ERR_CLASS_WAIT);
}

Test(pg, lanes_do_not_hold_each_other_up)
{
	struct job slow = {.slot = SQL_SLEEP, .value = 60000};
	struct pg_options options = limits();
	options.close_ms = 1;
	open_pool(options);
	greeted = 0;
	while (greeted < PG_LANES)
		turn_run(&loop);
	struct job quick[2] = {{.slot = SQL_ADD, .value = 1}, {.slot = SQL_ADD, .value = 2}};
	submit(&slow, 2);
	uv_run(&loop, UV_RUN_NOWAIT);
	submit(&quick[0], 0);
	submit(&quick[1], 1);
	wait_for(&quick[0]);
	wait_for(&quick[1]);
	cr_expect_not(slow.done);
	close_pool();
	cr_expect_eq(slow.status, ERR_CANCELLED, "the close does not wait for it");
	cr_expect(slow.done);
}

Test(pg, one_connection_serves_all_lanes)
{
	struct pg_options options = limits();
	options.connections = 1;
	open_pool(options);
	struct job jobs[PG_LANES];
	for (unsigned i = 0; i < PG_LANES; i++) {
		jobs[i] = (struct job){.slot = SQL_ADD, .value = (int64_t)i};
		submit(&jobs[i], i);
	}
	for (unsigned i = 0; i < PG_LANES; i++) {
		wait_for(&jobs[i]);
		cr_expect_eq(jobs[i].answer, (int64_t)i + 1);
	}
	cr_expect_eq(proxy_accepted(proxy), 1);
}

Test(pg, too_many_items_are_refused)
{
	struct job jobs[4];
	struct pg_options options = limits();
	options.max_queue = 3;
	open_pool(options);
	for (int i = 0; i < 4; i++) {
		jobs[i] = (struct job){.slot = SQL_ADD};
		submit(&jobs[i], 0);
	}
	for (int i = 0; i < 4; i++)
		wait_for(&jobs[i]);
	cr_expect_eq(jobs[2].status, 0);
	cr_expect_eq(jobs[3].status, ERR_LEDGER);
}

/* ---- outages ---- */

Test(pg, a_cut_connection_fails_what_was_under_way_and_the_next_one_works)
{
	struct job job = {.slot = SQL_SLEEP, .value = 60000};
	struct job waiting = {.slot = SQL_ADD, .value = 1};
	struct pg_options options = limits();
	options.connections = 1;
	open_pool(options);
	wait_ready(true);
	submit(&job, 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	submit(&waiting, 0);
	proxy_cut(proxy);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	cr_expect_eq(err_class(job.status), ERR_CLASS_WAIT);
	cr_expect_neq(job.error.detail[0], '\0');
	wait_for(&waiting);
	cr_expect_eq(waiting.status, 0, "what was not sent waits for the new connection: %s", waiting.error.detail);
}

Test(pg, an_idle_connection_that_is_cut_is_made_anew)
{
	open_pool(limits());
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
	proxy_cut(proxy);
	wait_ready(false);
	wait_ready(true);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2, "prepared again on the new one");
}

Test(pg, while_the_server_is_away_items_are_refused_at_once_with_words)
{
	struct pg_options options = limits();
	open_pool(options);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
	proxy_down(proxy);
	while (strstr(pg_error(pool)->detail, "refused") == NULL)
		turn_run(&loop);
	for (int i = 0; i < 50; i++) {
		struct job job = {.slot = SQL_ADD};
		submit(&job, 0);
		wait_for(&job);
		cr_expect_eq(job.status, ERR_LEDGER);
		cr_expect_eq(job.sent, 0);
		cr_expect_not_null(strstr(job.error.detail, "refused"), "%s", job.error.detail);
		cr_expect_null(strstr(job.error.detail, "s3cret"));
	}
	cr_expect_eq(pg_error(pool)->code, ERR_LEDGER);
	proxy_up(proxy);
	wait_ready(true);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
}

Test(pg, a_server_that_is_away_at_the_start_is_used_when_it_comes)
{
	int status;
	proxy_down(proxy);
	open_pool(limits());
	ask(SQL_ADD, 1, &status);
	cr_expect_eq(status, ERR_LEDGER, "waits for the first attempt, and no longer");
	proxy_up(proxy);
	wait_ready(true);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
}

Test(pg, a_server_that_hangs_is_given_up_after_the_deadline)
{
	struct job job = {.slot = SQL_ADD};
	struct job next = {.slot = SQL_ADD};
	struct pg_options options = limits();
	options.connections = 1;
	options.statement_ms = 100;
	options.connect_ms = 100;
	open_pool(options);
	wait_ready(true);
	proxy_hang(proxy, true);
	submit(&job, 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	submit(&next, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	cr_expect_not_null(strstr(job.error.detail, "100 ms"));
	wait_for(&next);
	cr_expect_eq(next.status, ERR_LEDGER, "there is no new connection either");
	cr_expect_not_null(strstr(next.error.detail, "no connection within 100 ms"), "%s", next.error.detail);
	proxy_hang(proxy, false);
	wait_ready(true);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
}

Test(pg, items_wait_for_a_slow_greeting_only_so_long)
{
	struct job job = {.slot = SQL_ADD};
	struct pg_options options = limits();
	options.patience_ms = 100;
	options.connections = 1;
	greeting = "SELECT pg_sleep(0.5)";
	open_pool(options);
	submit(&job, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	wait_ready(true);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
}

/* The message that a server refuses a session with: https://www.postgresql.org/docs/15/protocol-error-fields.html */
static size_t fatal(char *out, const char *sqlstate, const char *words)
{
	size_t len = 5;
	static const char severity[] = "SFATAL";
	memcpy(out + len, severity, sizeof(severity));
	len += sizeof(severity);
	len += (size_t)sprintf(out + len, "C%s", sqlstate) + 1;
	len += (size_t)sprintf(out + len, "M%s", words) + 1;
	out[len++] = '\0';
	uint32_t rest = htonl((uint32_t)len - 1);
	out[0] = 'E';
	memcpy(out + 1, &rest, sizeof(rest));
	return len;
}

Test(pg, attempts_to_connect_become_rare)
{
	char bytes[128];
	struct pg_options options = limits();
	options.backoff_ms = 400;
	proxy_answer(proxy, bytes, fatal(bytes, "57P03", "the database system is starting up"));
	open_pool(options);
	uint64_t deadline = clock_mono_ns() + 2000000000ULL;
	while (clock_mono_ns() < deadline)
		turn_run(&loop); /* at most a pause */
	cr_expect_lt(proxy_accepted(proxy), 40, "%u attempts in 2 s", proxy_accepted(proxy));
	cr_expect_gt(proxy_accepted(proxy), 1);
}

/* What a server says before the session begins: always an outage, never the item's fault, never with the password. */
Test(pg, a_server_that_refuses_the_session_is_down)
{
	static const char *const rows[][2] = {{"28P01", "password authentication failed"},
					      {"53300", "sorry, too many clients already"},
					      {"57P03", "the database system is starting up"},
					      {"3D000", "database does not exist"},
					      {NULL, ""}};
	char bytes[128];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct job job = {.slot = SQL_ADD};
		bool http = rows[i][0] == NULL;
		size_t len = http ? strlen(strcpy(bytes, "HTTP/1.1 400 Bad Request\r\n\r\n"))
				  : fatal(bytes, rows[i][0], rows[i][1]);
		proxy_answer(proxy, bytes, len);
		open_pool(limits());
		submit(&job, 0);
		wait_for(&job);
		cr_expect_eq(job.status, ERR_LEDGER);
		cr_expect_not_null(strstr(job.error.detail, rows[i][1]), "%s", job.error.detail);
		cr_expect_null(strstr(job.error.detail, "s3cret"));
		close_pool();
	}
}

Test(pg, an_administrator_who_ends_the_session_is_heard)
{
	struct job job = {.slot = SQL_TERMINATE};
	struct pg_options options = limits();
	options.connections = 1;
	open_pool(options);
	submit(&job, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	cr_expect_not_null(strstr(job.error.detail, "57P01"), "%s", job.error.detail);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
}

Test(pg, a_server_that_became_read_only_is_left_for_one_that_is_not)
{
	int status;
	struct job job = {.slot = SQL_INSERT, .value = 1};
	struct pg_options options = limits();
	options.connections = 1;
	open_pool(options);
	ask(SQL_READ_ONLY, 1, NULL);
	submit(&job, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	cr_expect_not_null(strstr(job.error.detail, "25006"), "%s", job.error.detail);
	cr_expect_eq(ask(SQL_INSERT, 2, &status), 2, "the new session writes");
	cr_expect_eq(status, 0);
}

Test(pg, a_standby_is_not_used_unless_asked_for)
{
	struct job job = {.slot = SQL_ADD};
	snprintf(url, sizeof(url), "postgresql://reeld@127.0.0.1:%d/reeld?options=-cdefault_transaction_read_only%%3Don",
		 proxy_port(proxy));
	open_pool(limits());
	submit(&job, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	cr_expect_not_null(strstr(job.error.detail, "read-only"), "%s", job.error.detail);
	close_pool();
	strcat(url, "&target_session_attrs=any");
	open_pool(limits());
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2);
}

Test(pg, a_greeting_that_is_refused_is_an_outage_with_its_words)
{
	struct job job = {.slot = SQL_ADD};
	refuse_greeting = ERR_CONFIG;
	open_pool(limits());
	submit(&job, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER, "a configuration error would make events be given up");
	cr_expect_str_eq(job.error.detail, "not to our liking");
	cr_expect_eq(pg_error(pool)->code, ERR_CONFIG);
	refuse_greeting = 0;
	wait_ready(true);
}

/* ---- hosts ---- */

static void expect_works(const char *format, int first, int second)
{
	snprintf(url, sizeof(url), format, first, second);
	struct pg_options options = limits();
	options.connect_ms = 300;
	open_pool(options);
	wait_ready(true);
	cr_expect_eq(ask(SQL_ADD, 1, NULL), 2, "%s", url);
	close_pool();
}

Test(pg, of_several_hosts_the_one_that_works_is_found)
{
	int port = port_of(server);
	struct proxy *other = proxy_new(&loop, port);
	proxy_down(other);
	expect_works("postgresql://reeld@127.0.0.1:%d,127.0.0.1:%d/reeld", proxy_port(other), port);
	proxy_up(other);
	proxy_hang(other, true);
	expect_works("postgresql://reeld@127.0.0.1:%d,127.0.0.1:%d/reeld", proxy_port(other), port);
	expect_works("postgresql://reeld@localhost:%d,localhost:%d/reeld", proxy_port(other), port);
	expect_works("postgresql:///reeld?user=reeld&host=localhost,127.0.0.1&port=%d,%d", proxy_port(other), port);
	expect_works("postgresql://reeld@nobody,nobody/reeld?hostaddr=127.0.0.1,127.0.0.1&port=%d,%d", proxy_port(other), port);
	expect_works("postgres://reeld@localhost:%d/reeld?sslmode=prefer&connect_timeout=%d", port, 3);
	proxy_close(other);
}

Test(pg, a_name_that_does_not_exist_is_an_outage)
{
	struct job job = {.slot = SQL_ADD};
	struct pg_options options = limits();
	options.connect_ms = 3000;
	snprintf(url, sizeof(url), "postgresql://reeld@no-such-host.invalid/reeld");
	open_pool(options);
	submit(&job, 0);
	wait_for(&job);
	cr_expect_eq(job.status, ERR_LEDGER);
	cr_expect_not_null(strstr(job.error.detail, "no-such-host.invalid"), "%s", job.error.detail);
}

Test(pg, a_url_that_cannot_be_read_is_refused_and_not_repeated)
{
	static const char *const bad[] = {"postgresql://user:s3cret%zz@host/db", "postgresql://u:s3cret@host/db?s3cret=1",
					  "s3cret", "postgresql://u:s3cret@a,b,c:1,2/db?port=1,2"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error error = {0};
		struct pg_options options = limits();
		options.url = bad[i];
		cr_expect_eq(pg_open(&pool, &options, &error), ERR_CONFIG, "%s", bad[i]);
		cr_expect_null(pool);
		cr_expect_null(strstr(error.detail, "s3cret"));
	}
}

/* ---- closing ---- */

static void submit_many(struct job *jobs, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		jobs[i] = (struct job){.slot = SQL_ADD, .value = i};
		submit(&jobs[i], i % PG_LANES);
	}
}

Test(pg, closed_at_every_loop_turn_each_item_is_answered_once)
{
	for (int turns = 0; turns < 30; turns++) {
		struct job jobs[20];
		bool closed = false;
		answered = 0;
		open_pool(limits());
		submit_many(jobs, 0, 10);
		for (int i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		pg_close(pool, on_closed, &closed);
		submit_many(jobs, 10, 20);
		cr_expect_not(closed);
		/* And in every turn until it is closed. */
		static struct job late[1000];
		unsigned count = 0;
		while (!closed) {
			if (count < 1000)
				submit_many(late, count, count + 1);
			count += count < 1000;
			turn_run(&loop);
		}
		cr_expect_eq(answered, 20 + count);
		for (unsigned i = 0; i < 20; i++)
			cr_expect_eq(jobs[i].status, i < 10 ? 0 : ERR_CANCELLED, "%u, closed after %d turns: %s", i, turns,
				     jobs[i].error.detail);
	}
	pool = NULL;
}

Test(pg, closed_at_every_loop_turn_of_an_outage_each_item_is_answered_once)
{
	for (int turns = 0; turns < 60; turns++) {
		struct job jobs[20];
		bool closed = false;
		struct pg_options options = limits();
		options.close_ms = 20;
		answered = 0;
		proxy_hang(proxy, false);
		open_pool(options);
		submit_many(jobs, 0, 10);
		for (int i = 0; i < turns; i++) {
			if (i == turns / 2 && turns % 3 == 0)
				proxy_hang(proxy, true);
			if (i == turns / 2 && turns % 3 == 1)
				proxy_cut(proxy);
			if (i == turns / 2 && turns % 3 == 2)
				proxy_down(proxy);
			uv_run(&loop, UV_RUN_NOWAIT);
		}
		pg_close(pool, on_closed, &closed);
		submit_many(jobs, 10, 20);
		while (!closed)
			turn_run(&loop);
		cr_expect_eq(answered, 20);
		if (turns % 3 == 2 && turns > 0)
			proxy_up(proxy);
	}
	pool = NULL;
}
