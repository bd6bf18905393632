/* SPDX-License-Identifier: MIT */
/* The client with peers that no Redis would be: garbage, answers to no question, floods, silence, one byte at a time. */
#include "redis_fixture.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* One connection at a time is served: `greeting` answers the first bytes, `answer` the ones after that. */
struct fake {
	uv_tcp_t listener;
	uv_tcp_t connection;
	uv_timer_t timer;
	const char *greeting;
	const char *answer;
	bool drip;       /* one byte at a time */
	bool flood;      /* the answer again and again, without an end */
	bool hang_up;    /* close after the answer */
	bool at_once;    /* greet before anything was said */
	unsigned served; /* connections */
	unsigned heard;  /* pieces */
	size_t at;
	const char *text;
	size_t flooded;
	bool open;
};

static struct fake fake;
static char fake_url[96];

static void fake_closed(uv_handle_t *handle)
{
	(void)handle;
	fake.open = false;
}

static void fake_hang_up(void)
{
	uv_timer_stop(&fake.timer);
	if (fake.open && !uv_is_closing((uv_handle_t *)&fake.connection))
		uv_close((uv_handle_t *)&fake.connection, fake_closed);
}

static void fake_write(const char *bytes, size_t len)
{
	uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)len);
	int sent = uv_try_write((uv_stream_t *)&fake.connection, &buffer, 1);
	if (sent > 0)
		fake.flooded += (size_t)sent;
	else if (sent != UV_EAGAIN)
		fake_hang_up();
}

static void fake_drip(uv_timer_t *timer)
{
	if (fake.flood) {
		fake_write(fake.text, strlen(fake.text));
	} else if (fake.text[fake.at] != '\0') {
		fake_write(fake.text + fake.at++, 1);
	} else {
		uv_timer_stop(timer);
	}
}

static void fake_say(const char *text)
{
	fake.text = text;
	fake.at = 0;
	if (text == NULL)
		return;
	if (fake.flood && text == fake.answer)
		uv_timer_start(&fake.timer, fake_drip, 0, 1);
	else if (fake.drip)
		uv_timer_start(&fake.timer, fake_drip, 1, 1);
	else
		fake_write(text, strlen(text));
	if (fake.hang_up && text == fake.answer)
		fake_hang_up();
}

static void fake_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
	static char bytes[65536];
	(void)handle, (void)size;
	*buffer = uv_buf_init(bytes, sizeof(bytes));
}

static void fake_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
	(void)stream, (void)buffer;
	if (len < 0)
		fake_hang_up();
	else if (len > 0)
		fake_say(fake.heard++ == 0 && !fake.at_once ? fake.greeting : fake.answer);
}

static void fake_accept(uv_stream_t *listener, int status)
{
	if (status != 0 || fake.open)
		return;
	uv_tcp_init(&loop, &fake.connection);
	if (uv_accept(listener, (uv_stream_t *)&fake.connection) != 0) {
		uv_close((uv_handle_t *)&fake.connection, NULL);
		return;
	}
	fake.open = true;
	fake.served++;
	fake.heard = 0;
	uv_read_start((uv_stream_t *)&fake.connection, fake_alloc, fake_read);
	if (fake.at_once)
		fake_say(fake.greeting);
}

static void setup(void)
{
	struct sockaddr_in address;
	int len = sizeof(address);
	fixture_setup();
	fake = (struct fake){.greeting = "+PONG\r\n"};
	uv_tcp_init(&loop, &fake.listener);
	uv_timer_init(&loop, &fake.timer);
	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_bind(&fake.listener, (struct sockaddr *)&address, 0);
	cr_assert_eq(uv_listen((uv_stream_t *)&fake.listener, 8, fake_accept), 0);
	uv_tcp_getsockname(&fake.listener, (struct sockaddr *)&address, &len);
	snprintf(fake_url, sizeof(fake_url), "redis://127.0.0.1:%d", ntohs(address.sin_port));
}

static void teardown(void)
{
	uv_close((uv_handle_t *)&fake.listener, NULL);
	fake_hang_up();
	uv_close((uv_handle_t *)&fake.timer, NULL);
	fixture_teardown();
}

TestSuite(redis_peer, .init = setup, .fini = teardown);

Test(redis_peer, garbage_instead_of_a_greeting_is_an_outage)
{
	static const char *const greetings[] = {
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		"\r\n",
		"\x16\x03\x01 TLS perhaps",
		"+OK\r\n",
		"+pong\r\n",
		":1\r\n",
		"$4\r\nPONG!!",
		"$-1\r\n",
		"*0\r\n",
		"*1\r\n$4\r\nPONG\r\n",
		"*-1\r\n",
		"$-2\r\n",
		"$9999999999999999999999\r\n",
		"*2147483647\r\n",
		"*4294967297\r\n",
		"*5\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n+x\r\n",
		">1\r\n+x\r\n",
		"%1\r\n+x\r\n+y\r\n",
		",1.5\r\n",
		"#t\r\n",
		"-ERR no\r\n",
		"+PONG\r\n+PONG\r\n",
		"+PONG\r\n-ERR and another thing\r\n",
		"+PONG\r\n$100000\r\n",
	};
	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
		struct redis_options options = quick(fake_url);
		options.connect_timeout_ms = 50;
		options.command_timeout_ms = 50;
		options.ping_ms = 10;
		fake.greeting = greetings[i];
		unsigned served = fake.served;
		open_client(&options);
		wait_until(fake.served > served + 2);
		cr_expect_neq(redis_problem(redis)->code, 0, "%s", greetings[i]);
		close_client();
		fake_hang_up();
		wait_until(!fake.open);
	}
}

Test(redis_peer, garbage_instead_of_an_answer_ends_the_connection)
{
	static const struct {
		const char *answer;
		int status;
	} cases[] = {
		{"nonsense\r\n", ERR_PROTOCOL},     {"*2147483647\r\n", ERR_PROTOCOL},
		{"*5\r\n:1\r\n", ERR_PROTOCOL},     {"*1\r\n*1\r\n:1\r\n", ERR_PROTOCOL},
		{"$99999999999\r\n", ERR_PROTOCOL}, {"$-7\r\n", ERR_PROTOCOL},
		{"$10\r\nshort", ERR_TIMEOUT},      {NULL, ERR_TIMEOUT},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct asked asked;
		struct redis_options options = quick(fake_url);
		options.command_timeout_ms = 100;
		fake.answer = cases[i].answer;
		open_client(&options);
		wait_until(redis_up(redis));
		cr_assert_eq(start(&asked, "GET k"), 0);
		wait_until(asked.done == 1);
		cr_expect(asked.status == cases[i].status || asked.status == ERR_TIMEOUT, "%s: %s", cases[i].answer,
			  err_name(asked.status));
		cr_expect_neq(asked.status, 0);
		close_client();
		fake_hang_up();
		wait_until(!fake.open);
	}
}

/* hiredis has an assertion where a peer answers what was not asked. */
Test(redis_peer, answers_to_no_question_end_the_connection_not_the_process)
{
	static const char *const extra[] = {"+v\r\n+w\r\n", "$1\r\nv\r\n:1\r\n",  "$-1\r\n$-1\r\n",
					    "+v\r\n*0\r\n", "+v\r\n-ERR bye\r\n", "+v\r\n*1\r\n+x\r\n"};
	for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++) {
		struct asked asked;
		fake.answer = extra[i];
		open_url(fake_url);
		wait_until(redis_up(redis));
		unsigned served = fake.served;
		cr_assert_eq(start(&asked, "GET k"), 0);
		wait_until(asked.done == 1);
		cr_expect_eq(asked.status, 0, "the first of them is the answer");
		wait_until(fake.served > served);
		close_client();
		fake_hang_up();
		wait_until(!fake.open);
	}
	cr_expect(strstr(logged(), "ERR bye") != NULL, "the last word of a server is told");
}

Test(redis_peer, an_endless_answer_is_given_up)
{
	static char flood[200001];
	struct asked asked;
	struct redis_options options = quick(fake_url);
	options.command_timeout_ms = 15000;
	memset(flood, 'x', sizeof(flood) - 1);
	memcpy(flood, "$500000000\r\n", 12);
	fake.flood = true;
	fake.answer = flood;
	open_client(&options);
	wait_until(redis_up(redis));
	cr_assert_eq(start(&asked, "GET k"), 0);
	wait_until(asked.done == 1);
	cr_expect_eq(asked.status, ERR_PROTOCOL);
	cr_expect_lt(fake.flooded, 16 * 1024 * 1024);
	cr_expect(strstr(logged(), "longer than") != NULL);
}

Test(redis_peer, one_byte_at_a_time_is_slow_but_right)
{
	struct asked asked;
	fake.drip = true;
	fake.answer = "*2\r\n$3\r\nabc\r\n$-1\r\n";
	open_url(fake_url);
	wait_until(redis_up(redis));
	cr_assert_eq(start(&asked, "MGET a b"), 0);
	wait_until(asked.done == 1);
	cr_expect_eq(asked.status, 0);
	cr_expect_eq(asked.kind, REDIS_ANSWER_LIST);
	cr_expect_eq(asked.count, 2);
}

Test(redis_peer, silence_ends_the_attempt)
{
	struct redis_options options = quick(fake_url);
	options.connect_timeout_ms = 50;
	fake.greeting = NULL;
	open_client(&options);
	wait_until(redis_problem(redis)->code == ERR_TIMEOUT);
	cr_expect_not(redis_up(redis));
	fake.greeting = "+PONG\r\n";
	wait_until(redis_up(redis));
}

Test(redis_peer, a_server_that_loads_is_waited_for)
{
	struct redis_options options = quick(fake_url);
	options.refused_ms = 3600000; /* it is no refusal */
	fake.greeting = "-LOADING Redis is loading the dataset in memory\r\n";
	open_client(&options);
	wait_until(fake.served > 3);
	cr_expect_eq(redis_problem(redis)->code, ERR_UNAVAILABLE);
	fake.greeting = "+PONG\r\n";
	wait_until(redis_up(redis));
}

Test(redis_peer, a_connection_that_is_closed_at_once_is_tried_ever_more_slowly)
{
	struct redis_options options = quick(fake_url);
	options.backoff_min_ms = 10;
	options.backoff_max_ms = 200;
	fake.answer = "";
	fake.hang_up = true;
	open_client(&options);
	uint64_t until = clock_mono_ns() + 1000 * UINT64_C(1000000);
	while (clock_mono_ns() < until) {
		struct asked asked;
		if (redis_up(redis) && start(&asked, "GET k") == 0)
			wait_until(asked.done == 1);
		turn_run(&loop);
	}
	/* Up each time, but never for long: 10 + 20 + 40 + 80 + 100 + 100 ms … on average, halved by the jitter. */
	cr_expect(fake.served > 3 && fake.served < 40, "%u connections in a second", fake.served);
}

/* Some servers and proxies repeat what they did not understand. */
Test(redis_peer, a_password_that_is_sent_back_is_not_logged)
{
	static const char *const greetings[] = {
		"-ERR unknown command `AUTH`, with args beginning with: `app`, `hunter2hunter2`, \r\n",
		"-hunter2hunter2\r\n",
		"-hunter2hunter2 is wrong\r\n",
		"+hunter2hunter2\r\n",
		"$14\r\nhunter2hunter2\r\n",
	};
	char url[128];
	snprintf(url, sizeof(url), "redis://app:hunter2hunter2@%s", fake_url + strlen("redis://"));
	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
		fake.greeting = greetings[i];
		open_url(url);
		wait_until(redis_problem(redis)->code != 0);
		cr_expect(strstr(redis_problem(redis)->detail, "hunter2") == NULL, "%s", redis_problem(redis)->detail);
		close_client();
		fake_hang_up();
		wait_until(!fake.open);
	}
	cr_expect(strstr(logged(), "hunter2") == NULL, "%s", logged());
}

Test(redis_peer, a_greeting_before_the_question)
{
	fake.at_once = true;
	fake.greeting = "-ERR max number of clients reached\r\n";
	open_url(fake_url);
	wait_until(fake.served > 2);
	cr_expect(strstr(redis_problem(redis)->detail, "max number of clients") != NULL, "%s", redis_problem(redis)->detail);
}
