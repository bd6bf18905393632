/* SPDX-License-Identifier: MIT */
/* The client with a real Redis, and what can happen to one. */
#include "../support/redis_server.h"
#include "redis_fixture.h"

#include <stdlib.h>

static struct redis_server server;
static char url[256];

static void setup(void)
{
	fixture_setup();
	redis_server_start(&server);
	snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.port);
}

static void teardown(void)
{
	fixture_teardown();
	redis_server_remove(&server);
}

TestSuite(redis, .init = setup, .fini = teardown);

Test(redis, answers_of_every_kind_come_in_order)
{
	struct asked asked[6];
	open_url(url);
	cr_expect_not(redis_up(redis));
	cr_expect_eq(start(&asked[0], "PING"), ERR_UNAVAILABLE, "not up yet");
	wait_until(redis_up(redis));
	static const char *const lines[] = {"SET k v", "GET k", "GET nothing", "INCR n", "LPUSH k x", "MGET k nothing"};
	static const enum redis_answer_kind kinds[] = {REDIS_ANSWER_TEXT,    REDIS_ANSWER_TEXT,  REDIS_ANSWER_NIL,
						       REDIS_ANSWER_INTEGER, REDIS_ANSWER_ERROR, REDIS_ANSWER_LIST};
	for (size_t i = 0; i < 6; i++)
		cr_assert_eq(start(&asked[i], lines[i]), 0);
	wait_until(asked[5].done == 1);
	for (size_t i = 0; i < 6; i++) {
		cr_expect_eq(asked[i].done, 1);
		cr_expect_eq(asked[i].status, 0);
		cr_expect_eq(asked[i].kind, kinds[i], "%s", lines[i]);
	}
	cr_expect_str_eq(asked[1].text, "v");
	cr_expect_eq(asked[3].integer, 1);
	cr_expect_eq(asked[5].count, 2);
	cr_expect(strncmp(asked[4].text, "WRONGTYPE ", 10) == 0);
	cr_expect_eq(times_logged("redis.up"), 1);
}

Test(redis, by_name_and_by_socket_with_a_database)
{
	struct asked asked;
	char text[256];
	snprintf(text, sizeof(text), "redis://localhost:%d/2", server.port);
	open_url(text);
	wait_until(redis_up(redis));
	ask(&asked, "SET where name");
	close_client();
	snprintf(text, sizeof(text), "unix:%s?db=2", server.socket);
	open_url(text);
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked, "GET where"), "name");
	cr_expect_str_eq(redis_server_do(&server, "EXISTS where"), "0");
}

Test(redis, password_and_user)
{
	struct asked asked;
	char text[256];
	redis_server_do(&server, "ACL SETUSER app on >p@ss:w/rd ~* +@all");
	redis_server_do(&server, "CONFIG SET requirepass secret");
	snprintf(text, sizeof(text), "redis://:secret@127.0.0.1:%d", server.port);
	open_url(text);
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked, "ACL WHOAMI"), "default");
	close_client();
	snprintf(text, sizeof(text), "redis://app:p%%40ss%%3Aw%%2Frd@127.0.0.1:%d/1", server.port);
	open_url(text);
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked, "ACL WHOAMI"), "app");
	close_client();
	snprintf(text, sizeof(text), "unix://%s?user=app&password=p@ss:w/rd", server.socket);
	open_url(text);
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked, "ACL WHOAMI"), "app");
}

/* Tries again and again, says so once and never with the password, and is there once the password is right. */
Test(redis, a_refusal_is_logged_once_and_gets_over)
{
	static const struct {
		const char *userinfo, *rest, *expect, *mend;
	} cases[] = {
		{":hunter2hunter2", "", "WRONGPASS", "CONFIG SET requirepass hunter2hunter2"},
		{"", "", "NOAUTH", "CONFIG SET requirepass "},
		{"nobody:hunter2hunter2", "", "WRONGPASS", "ACL SETUSER nobody on >hunter2hunter2 ~* +@all"},
		{":right", "/99", "SELECT", NULL},
	};
	char text[256];
	redis_server_do(&server, "CONFIG SET requirepass right");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned before = times_logged("redis.down");
		snprintf(text, sizeof(text), "redis://%s@127.0.0.1:%d%s", cases[i].userinfo, server.port, cases[i].rest);
		open_url(cases[i].userinfo[0] == '\0' ? url : text);
		wait_until(redis_problem(redis)->code == ERR_DENIED);
		cr_expect(strstr(redis_problem(redis)->detail, cases[i].expect) != NULL, "%s", redis_problem(redis)->detail);
		uint64_t until = clock_mono_ns() + 200 * 1000000;
		wait_until(clock_mono_ns() > until); /* several attempts */
		cr_expect_not(redis_up(redis));
		cr_expect_eq(times_logged("redis.down"), before + 1);
		if (cases[i].mend != NULL) {
			redis_server_do(&server, "%s", cases[i].mend);
			wait_until(redis_up(redis));
			cr_expect_eq(redis_problem(redis)->code, 0);
		}
		close_client();
		redis_server_do(&server, "CONFIG SET requirepass right");
	}
	cr_expect(strstr(logged(), "hunter2") == NULL, "%s", logged());
}

Test(redis, what_is_on_its_way_when_redis_dies_ends_and_a_new_one_is_found)
{
	struct asked asked[3];
	open_url(url);
	wait_until(redis_up(redis));
	cr_assert_eq(start(&asked[0], "BLPOP nothing 0"), 0);
	cr_assert_eq(start(&asked[1], "PING"), 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	redis_server_kill(&server);
	wait_until(asked[1].done == 1);
	cr_expect_eq(asked[0].done, 1);
	cr_expect_eq(asked[0].status, ERR_RESET);
	cr_expect_eq(asked[1].status, ERR_RESET);
	cr_expect_not(redis_up(redis));
	cr_expect_eq(start(&asked[2], "PING"), ERR_UNAVAILABLE);
	wait_until(redis_problem(redis)->code == ERR_CONNECT);
	redis_server_start(&server);
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked[2], "PING"), "PONG");
	cr_expect_eq(times_logged("redis.up"), 2);
	cr_expect_leq(times_logged("redis.down"), 2, "reset, then refused");
}

Test(redis, a_hanging_one_is_given_up_in_time_and_found_again)
{
	struct asked asked[2];
	struct redis_options options = quick(url);
	options.command_timeout_ms = 100;
	open_client(&options);
	wait_until(redis_up(redis));
	redis_server_signal(&server, SIGSTOP);
	uint64_t before = clock_mono_ns();
	cr_assert_eq(start(&asked[0], "SET k v"), 0);
	cr_assert_eq(start(&asked[1], "GET k"), 0);
	wait_until(asked[1].done == 1);
	uint64_t took_ms = (clock_mono_ns() - before) / 1000000;
	cr_expect(took_ms >= 95 && took_ms < 1000, "%lu ms", (unsigned long)took_ms);
	cr_expect_eq(asked[0].status, ERR_TIMEOUT);
	cr_expect_eq(asked[1].status, ERR_TIMEOUT);
	cr_expect_not(redis_up(redis));
	redis_server_signal(&server, SIGCONT);
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked[1], "GET k"), "v", "what was sent in time was done");
}

Test(redis, an_idle_connection_to_a_hanging_one_is_found_out)
{
	struct redis_options options = quick(url);
	options.command_timeout_ms = 100;
	options.ping_ms = 20;
	open_client(&options);
	wait_until(redis_up(redis));
	uint64_t until = clock_mono_ns() + 200 * 1000000;
	wait_until(clock_mono_ns() > until);
	cr_expect(redis_up(redis), "PING keeps it up");
	cr_expect_eq(times_logged("redis.up"), 1);
	redis_server_signal(&server, SIGSTOP);
	wait_until(!redis_up(redis));
	cr_expect_eq(redis_problem(redis)->code, ERR_TIMEOUT);
	redis_server_signal(&server, SIGCONT);
}

Test(redis, when_this_loop_is_late_redis_is_not_blamed)
{
	struct asked asked;
	struct redis_options options = quick(url);
	options.command_timeout_ms = 50;
	open_client(&options);
	wait_until(redis_up(redis));
	cr_assert_eq(start(&asked, "GET k"), 0);
	uv_run(&loop, UV_RUN_NOWAIT); /* sends it */
	for (uint64_t until = clock_mono_ns() + 300 * 1000000; clock_mono_ns() < until;)
		;
	wait_until(asked.done == 1);
	cr_expect_eq(asked.status, 0);
	cr_expect_eq(times_logged("redis.down"), 0);
}

Test(redis, a_killed_connection_comes_back)
{
	struct asked asked;
	open_url(url);
	wait_until(redis_up(redis));
	redis_server_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
	wait_until(!redis_up(redis));
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked, "PING"), "PONG");
}

Test(redis, a_replica_is_left)
{
	struct asked asked;
	open_url(url);
	wait_until(redis_up(redis));
	redis_server_do(&server, "REPLICAOF 127.0.0.1 1");
	ask(&asked, "SET k v");
	cr_expect_eq(asked.kind, REDIS_ANSWER_ERROR);
	cr_expect_not(redis_up(redis));
	redis_server_do(&server, "REPLICAOF NO ONE");
	wait_until(redis_up(redis));
	cr_expect_str_eq(ask(&asked, "SET k v"), "OK");
}

Test(redis, a_full_house_is_tried_again)
{
	open_url(url);
	wait_until(redis_up(redis));
	close_client();
	redis_server_do(&server, "CONFIG SET maxclients 1");
	open_url(url);
	wait_until(strstr(redis_problem(redis)->detail, "max number of clients") != NULL);
	cr_expect_not(redis_up(redis));
	redis_server_do(&server, "CONFIG SET maxclients 100");
	wait_until(redis_up(redis));
}

Test(redis, more_than_the_limit_are_refused_at_once)
{
	enum { MAX = 100 };
	struct redis_options options = quick(url);
	struct asked asked[MAX + 1];
	options.max_requests = MAX;
	open_client(&options);
	wait_until(redis_up(redis));
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < MAX; i++)
			cr_assert_eq(start(&asked[i], "INCR n"), 0);
		cr_expect_eq(start(&asked[MAX], "INCR n"), ERR_LIMIT);
		wait_until(asked[MAX - 1].done == 1);
		for (unsigned i = 0; i < MAX; i++)
			cr_expect_eq(asked[i].integer, round * MAX + i + 1);
	}
}

static unsigned long writes_so_far(void)
{
	unsigned long count = 0;
	char line[128];
	FILE *file = fopen("/proc/self/io", "r");
	cr_assert_not_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "syscw: %lu", &count);
	fclose(file);
	return count;
}

Test(redis, what_a_turn_starts_leaves_in_one_write)
{
	enum { COUNT = 512 };
	static struct asked asked[COUNT];
	open_url(url);
	wait_until(redis_up(redis));
	unsigned long before = writes_so_far();
	for (unsigned i = 0; i < COUNT; i++)
		cr_assert_eq(start(&asked[i], "SET reeld:seen:RE0123456789abcdef0123456789abcdef:completed 1 EX 86400"), 0);
	wait_until(asked[COUNT - 1].done == 1);
	cr_expect_leq(writes_so_far() - before, 4, "%lu writes", writes_so_far() - before);
}

Test(redis, a_cancelled_one_is_told_once_and_the_others_get_their_own_answers)
{
	enum { COUNT = 60 };
	struct asked asked[COUNT];
	open_url(url);
	wait_until(redis_up(redis));
	for (unsigned i = 0; i < COUNT; i++)
		cr_assert_eq(start(&asked[i], "INCR n"), 0);
	for (unsigned i = 0; i < COUNT; i += 3) {
		redis_cancel(&asked[i].request);
		redis_cancel(&asked[i].request);
		cr_expect_eq(asked[i].done, 0, "done came inside the call");
	}
	wait_until(asked[COUNT - 1].done == 1);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_expect_eq(asked[i].done, 1);
		cr_expect_eq(asked[i].status, i % 3 == 0 ? ERR_CANCELLED : 0);
		if (i % 3 != 0)
			cr_expect_eq(asked[i].integer, i + 1);
	}
	redis_cancel(&asked[1].request); /* after done: nothing */
	uv_run(&loop, UV_RUN_NOWAIT);
	cr_expect_eq(asked[1].done, 1);
}

static void close_in_done(struct redis_request *request, int status, const struct redis_answer *answer)
{
	bool *closed = request->data;
	(void)status, (void)answer;
	redis_close(redis, on_closed, closed);
	cr_expect_not(*closed);
}

Test(redis, closing_from_an_answer)
{
	bool closed = false;
	struct asked asked;
	struct redis_request closer = {.done = close_in_done, .data = &closed};
	open_url(url);
	wait_until(redis_up(redis));
	cr_assert_eq(redis_start(redis, &closer, &SLICE("PING"), 1), 0);
	cr_assert_eq(start(&asked, "PING"), 0);
	wait_until(closed);
	redis = NULL;
	cr_expect_eq(asked.done, 1);
	cr_expect_eq(asked.status, ERR_CANCELLED);
}

/* Resolving, connecting, greeting, up, questions on their way, some cancelled: closed after every number of turns. */
Test(redis, closing_at_every_turn, .timeout = 100)
{
	enum { COUNT = 8, TURNS = 25 };
	char by_name[64];
	snprintf(by_name, sizeof(by_name), "redis://localhost:%d", server.port);
	for (unsigned turns = 0; turns < 3 * TURNS; turns++) {
		static struct asked asked[COUNT];
		unsigned started = 0;
		open_url(turns % 3 == 0 ? url : by_name);
		for (unsigned i = 0; i < turns / 3; i++) {
			if (redis_up(redis) && started < COUNT && start(&asked[started], "PING") == 0 && ++started % 3 == 0)
				redis_cancel(&asked[started - 2].request);
			turn_run(&loop);
		}
		close_client();
		for (unsigned i = 0; i < started; i++)
			cr_expect_eq(asked[i].done, 1);
	}
}

Test(redis, closing_while_it_is_down)
{
	struct asked asked;
	redis_server_kill(&server);
	for (unsigned turns = 0; turns < 30; turns++) {
		open_url(url);
		for (unsigned i = 0; i < turns; i++)
			turn_run(&loop);
		cr_expect_eq(start(&asked, "PING"), ERR_UNAVAILABLE);
		close_client();
	}
	redis_server_start(&server);
}

Test(redis, what_cannot_be_opened)
{
	struct error error = {0};
	struct redis_options options = quick("http://user:hunter2@host");
	cr_expect_eq(redis_open(&redis, &loop, &options, &error), ERR_CONFIG);
	cr_expect(strstr(error.detail, "hunter2") == NULL);
	options.url = "redis://no-such-host.invalid:1";
	open_client(&options);
	wait_until(redis_problem(redis)->code == ERR_RESOLVE);
}

#ifndef HAVE_HIREDIS_SSL
Test(redis, tls_that_is_not_there_says_what_to_do)
{
	struct error error = {0};
	struct redis_options options = quick("rediss://:hunter2@127.0.0.1");
	cr_expect_eq(redis_open(&redis, &loop, &options, &error), ERR_CONFIG);
	cr_expect(strstr(error.detail, "stunnel") != NULL && strstr(error.detail, "hiredis") != NULL, "%s", error.detail);
	cr_expect(strchr(error.detail, '\n') == NULL && strstr(error.detail, "hunter2") == NULL);
}
#endif
