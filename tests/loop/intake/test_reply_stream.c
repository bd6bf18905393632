/* SPDX-License-Identifier: MIT */
#include "base/check.h"
#include "loop/intake/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_other(struct connection *connection, struct request *request);

static void set_up(void)
{
	fixture_init();
	fixture.on_other = on_other;
}

TestSuite(reply_stream, .init = set_up, .fini = fixture_fini, .timeout = 60);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"

/* What the streams of a test are made of, and how they ended. */
static struct source {
	int64_t announced; /* length; -1: chunked */
	size_t total;
	size_t piece;
	size_t later_at; /* LATER once there; 0: never */
	bool abort;      /* instead of END */
	bool inside;     /* reply_stream() or resume is running */
	size_t given;
	unsigned fills;
	unsigned done;
	bool complete;
	struct connection *connection;
	void (*on_done)(void);
} source;

static struct raw_client client;

static enum reply_fill fill(void *data, char *out, size_t cap, size_t *len)
{
	REQUIRE(data == &source);
	cr_assert_not(source.inside, "called inside a call");
	cr_assert_eq(source.done, 0);
	source.fills++;
	if (source.later_at > 0 && source.given >= source.later_at)
		return REPLY_LATER;
	size_t want = source.piece < cap ? source.piece : cap;
	if (want > source.total - source.given)
		want = source.total - source.given;
	for (size_t i = 0; i < want; i++)
		out[i] = (char)('a' + (source.given + i) % 23);
	source.given += want;
	*len = want;
	if (source.given < source.total)
		return REPLY_MORE;
	return source.abort ? REPLY_ABORT : REPLY_END;
}

static void done(void *data, bool complete)
{
	REQUIRE(data == &source);
	cr_assert_not(source.inside, "called inside a call");
	source.done++;
	source.complete = complete;
	if (source.on_done != NULL)
		source.on_done();
}

static void begin_stream(struct connection *connection)
{
	char headers[] = "X-Extra: 1\r\n"; /* gone after the call */
	source.connection = connection;
	source.inside = true;
	reply_stream(connection, &(struct reply_stream){.status = 200,
							.content_type = "audio/wav",
							.headers = headers,
							.length = source.announced,
							.fill = fill,
							.done = done,
							.data = &source});
	memset(headers, 'x', sizeof(headers));
	source.inside = false;
}

static void on_other(struct connection *connection, struct request *request)
{
	(void)request;
	begin_stream(connection);
}

static void resume(void)
{
	source.later_at = 0;
	source.inside = true;
	reply_stream_resume(source.connection);
	source.inside = false;
}

static void start(struct source wanted, const char *text)
{
	source = wanted;
	fixture_start();
	raw_connect(&client);
	raw_send_text(&client, text);
}

static bool body_is_right(const char *body, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (body[i] != (char)('a' + i % 23))
			return false;
	}
	return true;
}

/* The body of the first answer, chunks put together. */
static char *unchunk(const char *body, size_t *len)
{
	char *out = malloc(client.in.len + 1);
	*len = 0;
	for (;;) {
		char *end;
		size_t size = strtoul(body, &end, 16);
		cr_assert_eq(strncmp(end, "\r\n", 2), 0, "no line end behind a chunk size");
		if (size == 0)
			return out;
		memcpy(out + *len, end + 2, size);
		*len += size;
		body = end + 2 + size + 2;
	}
}

Test(reply_stream, known_length_is_sent_whole_and_the_connection_goes_on)
{
	start((struct source){.announced = 1000000, .total = 1000000, .piece = 7777}, GET("/stream") GET("/now"));
	TURN_UNTIL(raw_has(&client, "\r\n\r\nnow"));
	cr_assert(raw_has(&client,
			  "Content-Type: audio/wav\r\nContent-Length: 1000000\r\nX-Extra: 1\r\nConnection: keep-alive\r\n\r\n"));
	cr_assert(body_is_right(strstr(buffer_cstr(&client.in), "\r\n\r\n") + 4, 1000000));
	cr_assert_eq(source.done, 1);
	cr_assert(source.complete);
	raw_close(&client);
}

Test(reply_stream, unknown_length_is_chunked)
{
	start((struct source){.announced = -1, .total = 300000, .piece = 100000}, GET("/stream") GET("/now"));
	TURN_UNTIL(raw_has(&client, "\r\n\r\nnow"));
	cr_assert(raw_has(&client, "Transfer-Encoding: chunked\r\n"));
	size_t len;
	char *body = unchunk(strstr(buffer_cstr(&client.in), "\r\n\r\n") + 4, &len);
	cr_assert_eq(len, 300000);
	cr_assert(body_is_right(body, len));
	free(body);
	cr_assert(source.complete);
	raw_close(&client);
}

Test(reply_stream, unknown_length_ends_with_the_connection_for_http10)
{
	start((struct source){.announced = -1, .total = 5000, .piece = 1000},
	      "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	raw_expect_end(&client, "HTTP/1.1 200 OK\r\n");
	cr_assert(raw_has(&client, "Connection: close\r\n"));
	cr_assert_not(raw_has(&client, "chunked"));
	const char *body = strstr(buffer_cstr(&client.in), "\r\n\r\n") + 4;
	cr_assert_eq(strlen(body), 5000);
	cr_assert(body_is_right(body, 5000));
	raw_close(&client);
}

Test(reply_stream, empty_one_is_well_formed)
{
	start((struct source){.announced = -1}, GET("/stream") GET("/now"));
	TURN_UNTIL(raw_has(&client, "\r\n\r\n0\r\n\r\nHTTP/1.1 200") && raw_has(&client, "now"));
	cr_assert(source.complete);
	raw_close(&client);
}

Test(reply_stream, slow_reader_holds_one_piece_and_not_the_whole)
{
	size_t total = (size_t)32 << 20;
	start((struct source){.announced = (int64_t)total, .total = total, .piece = 32768}, GET("/stream"));
	raw_pause(&client);
	for (int i = 0; i < 200; i++)
		fixture_turn();
	size_t given = source.given;
	cr_assert_lt(given, total);
	for (int i = 0; i < 50; i++)
		fixture_turn();
	cr_assert_eq(source.given, given, "asked for more though the peer takes nothing");
	raw_resume(&client);
	TURN_UNTIL(source.done == 1 && client.in.len > total);
	cr_assert(source.complete);
	cr_assert(body_is_right(strstr(buffer_cstr(&client.in), "\r\n\r\n") + 4, total));
	raw_close(&client);
}

Test(reply_stream, reader_that_stops_for_good_is_cut)
{
	size_t total = (size_t)32 << 20;
	fixture.options.idle_timeout_ms = 300;
	start((struct source){.announced = -1, .total = total, .piece = 32768}, GET("/stream"));
	raw_pause(&client);
	TURN_UNTIL(source.done == 1);
	cr_assert_not(source.complete);
	cr_assert_eq(fixture_closed_for("slow_reader"), 1);
	raw_close(&client);
}

Test(reply_stream, waits_for_its_owner_however_long_and_goes_on)
{
	fixture.options.idle_timeout_ms = 200;
	start((struct source){.announced = 9000, .total = 9000, .piece = 1000, .later_at = 4000}, GET("/stream"));
	TURN_UNTIL(source.given == 4000);
	uint64_t until = uv_hrtime() + UINT64_C(800000000);
	TURN_UNTIL(uv_hrtime() > until);
	cr_assert_eq(source.done, 0);
	resume();
	TURN_UNTIL(source.done == 1);
	cr_assert(source.complete);
	raw_close(&client);
}

Test(reply_stream, resume_before_anybody_waits_is_harmless)
{
	start((struct source){.announced = 9000, .total = 9000, .piece = 1000}, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	fixture.waiting_count = 0;
	begin_stream(fixture.waiting[0]);
	resume();
	resume();
	TURN_UNTIL(source.done == 1);
	cr_assert(source.complete);
	raw_close(&client);
}

Test(reply_stream, abort_cuts_the_connection)
{
	start((struct source){.announced = -1, .total = 5000, .piece = 1000, .abort = true}, GET("/stream"));
	TURN_UNTIL(client.ended && source.done == 1);
	cr_assert_not(source.complete);
	cr_assert_not(raw_has(&client, "\r\n0\r\n\r\n"), "must not look complete");
	cr_assert_eq(fixture_closed_for("aborted"), 1);
	raw_close(&client);
}

Test(reply_stream, one_that_ends_short_or_exceeds_its_length_is_cut)
{
	fixture_start();
	for (int64_t announced = 4999; announced <= 5001; announced += 2) {
		source = (struct source){.announced = announced, .total = 5000, .piece = 1000};
		raw_connect(&client);
		raw_send_text(&client, GET("/stream"));
		TURN_UNTIL(client.ended && source.done == 1);
		cr_assert_not(source.complete);
		raw_close(&client);
	}
}

Test(reply_stream, head_gets_the_headers_only)
{
	start((struct source){.announced = 5000, .total = 5000, .piece = 1000},
	      "HEAD /stream HTTP/1.1\r\nHost: t\r\n\r\n" GET("/now"));
	TURN_UNTIL(raw_has(&client, "\r\n\r\nnow"));
	cr_assert(raw_has(&client, "Content-Length: 5000\r\n"));
	cr_assert_eq(source.fills, 0);
	cr_assert_eq(source.done, 1);
	cr_assert(source.complete);
	raw_close(&client);
}

Test(reply_stream, done_comes_once_when_the_peer_goes_in_the_middle)
{
	size_t total = (size_t)32 << 20;
	start((struct source){.announced = -1, .total = total, .piece = 32768}, GET("/stream"));
	raw_pause(&client);
	TURN_UNTIL(source.given > 100000);
	raw_reset(&client);
	TURN_UNTIL(source.done == 1);
	cr_assert_not(source.complete);
	TURN_UNTIL(fixture_connections() == 0);
	cr_assert_eq(server_busy(fixture.server), 0);
}

Test(reply_stream, done_comes_later_when_the_peer_went_before_it_began)
{
	start((struct source){.announced = 10, .total = 10, .piece = 10}, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	raw_reset(&client);
	TURN_UNTIL(fixture_closed_for("reset") == 1);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	fixture.waiting_count = 0;
	begin_stream(fixture.waiting[0]);
	cr_assert_eq(source.done, 0);
	TURN_UNTIL(source.done == 1);
	cr_assert_not(source.complete);
	cr_assert_eq(source.fills, 0);
}

static void close_server(void)
{
	fixture_close_server();
}

Test(reply_stream, done_may_close_the_server)
{
	start((struct source){.announced = 10, .total = 10, .piece = 10, .on_done = close_server}, GET("/stream"));
	TURN_UNTIL(fixture.closed);
	cr_assert_eq(source.done, 1);
	raw_close(&client);
}

Test(reply_stream, server_closed_at_any_turn_tells_the_owner_once)
{
	fixture_start();
	fixture_close_server();
	for (int turns = 0; turns < 30; turns++) {
		source = (struct source){
			.announced = -1, .total = (size_t)4 << 20, .piece = 32768, .later_at = turns % 3 == 0 ? 65536 : 0};
		TURN_UNTIL(fixture.closed);
		fixture.closed = false;
		fixture_start();
		raw_connect(&client);
		raw_send_text(&client, GET("/stream"));
		for (int i = 0; i < turns; i++)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		bool begun = source.connection != NULL;
		fixture_close_server();
		TURN_UNTIL(fixture.closed);
		if (begun)
			cr_assert_eq(source.done, 1, "turn %d", turns);
		raw_close(&client);
	}
}
