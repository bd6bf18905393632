/* SPDX-License-Identifier: MIT */
/* What clients of all kinds get to see, byte by byte. */
#include "loop/intake/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(connection, .init = fixture_init, .fini = fixture_fini, .timeout = 60);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"

static struct raw_client client;

static void start(void)
{
	fixture_start();
	raw_connect(&client);
}

Test(connection, answers_and_stays_open_for_the_next_request)
{
	start();
	raw_expect(&client, GET("/now"), "\r\n\r\nnow");
	cr_assert(raw_has(&client, "HTTP/1.1 200 OK\r\nDate: "));
	cr_assert(raw_has(&client, " GMT\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nnow"));
	cr_assert_not(raw_has(&client, "1970"), "the date was not filled in");
	raw_send_text(&client, GET("/now"));
	TURN_UNTIL(raw_count(&client, "HTTP/1.1 200") == 2);
	raw_close(&client);
	TURN_UNTIL(fixture_closed_for("peer") == 1);
}

Test(connection, takes_a_request_one_byte_at_a_time)
{
	static const char text[] = "POST /echo?q=1 HTTP/1.1\r\nHost: slow\r\nContent-Length: 5\r\n\r\nhello";
	start();
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		raw_send(&client, text + i, 1);
		fixture_turn();
		fixture_turn();
	}
	TURN_UNTIL(raw_has(&client, "POST /echo host=slow query=q=1 body=hello"));
	raw_close(&client);
}

Test(connection, answers_pipelined_requests_in_order_though_the_handler_is_slow)
{
	start();
	raw_send_text(&client, GET("/later") GET("/later") GET("/now") GET("/later"));
	for (int i = 1; i <= 2; i++) {
		TURN_UNTIL(fixture.waiting_count == 1);
		for (int turns = 0; turns < 5; turns++)
			fixture_turn();
		cr_assert_eq(fixture.requests, (size_t)i, "the next one must wait for the answer");
		fixture_answer_next();
	}
	TURN_UNTIL(fixture.waiting_count == 1);
	fixture_answer_next();
	TURN_UNTIL(raw_has(&client, "answer 3"));
	const char *all = buffer_cstr(&client.in);
	const char *one = strstr(all, "answer 1");
	const char *two = strstr(all, "answer 2");
	const char *now = strstr(all, "\r\n\r\nnow");
	cr_assert(one != NULL && two != NULL && now != NULL && one < two && two < now && now < strstr(all, "answer 3"));
	raw_close(&client);
}

Test(connection, does_not_call_the_handler_inside_a_reply)
{
	start();
	raw_send_text(&client, GET("/later") GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	fixture_answer_next();
	cr_assert_eq(fixture.requests, 1);
	TURN_UNTIL(fixture.requests == 2);
	raw_close(&client);
}

Test(connection, answers_many_pipelined_requests_that_come_in_one_read)
{
	start();
	struct buffer all;
	buffer_init(&all, 1 << 20);
	for (int i = 0; i < 500; i++)
		buffer_append_cstr(&all, GET("/now"));
	raw_send(&client, all.data, all.len);
	TURN_UNTIL(raw_count(&client, "\r\n\r\nnow") == 500);
	buffer_free(&all);
	raw_close(&client);
}

Test(connection, stops_reading_from_a_peer_that_pipelines_too_much_and_loses_nothing)
{
	enum { COUNT = 10000 }; /* more than the kernel's buffers hold */
	char padded[1600];
	start();
	snprintf(padded, sizeof(padded), "GET /now HTTP/1.1\r\nHost: t\r\nX: %01500d\r\n\r\n", 0);
	struct buffer all;
	buffer_init(&all, (size_t)32 << 20);
	buffer_append_cstr(&all, GET("/later"));
	for (int i = 0; i < COUNT; i++)
		buffer_append_cstr(&all, padded);
	raw_send(&client, all.data, all.len);
	buffer_free(&all);
	TURN_UNTIL(fixture.waiting_count == 1);
	for (int i = 0; i < 50; i++)
		fixture_turn();
	cr_assert_gt(uv_stream_get_write_queue_size((uv_stream_t *)&client.tcp), 0, "the server should have stopped reading");
	fixture_answer_next();
	TURN_UNTIL(raw_count(&client, "\r\n\r\nnow") == COUNT);
	raw_close(&client);
}

Test(connection, says_continue_to_who_waits_for_it)
{
	start();
	raw_expect(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
		   "HTTP/1.1 100 Continue\r\n\r\n");
	raw_expect(&client, "body", "body=body");
	cr_assert_eq(raw_count(&client, "100 Continue"), 1);
	raw_close(&client);
}

Test(connection, refuses_a_large_body_before_saying_continue)
{
	start();
	raw_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
	raw_expect_end(&client, "HTTP/1.1 413 ");
	raw_close(&client);
}

Test(connection, takes_a_chunked_body)
{
	start();
	raw_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	fixture_turn();
	raw_expect(&client, "2;x\r\nde\r\n0\r\n\r\n" GET("/now"), "body=abcde");
	TURN_UNTIL(raw_has(&client, "\r\n\r\nnow"));
	raw_close(&client);
}

Test(connection, refuses_with_the_status_that_fits_and_closes)
{
	static const struct {
		const char *send;
		const char *status;
		const char *reason;
	} rows[] = {
		{"BAD\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "malformed"},
		{"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 400 ",
		 "malformed"},
		{"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4097\r\n\r\n", "HTTP/1.1 413 ", "too_large"},
		{"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 ", "unsupported"},
		{"GET / HTTP/2.0\r\nHost: t\r\n\r\n", "HTTP/1.1 505 ", "unsupported"},
		{"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nExpect: x\r\n\r\n", "HTTP/1.1 417 ", "unsupported"},
	};
	fixture_start();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		raw_connect(&client);
		double before = fixture_closed_for(rows[i].reason);
		raw_send_text(&client, rows[i].send);
		raw_expect_end(&client, rows[i].status);
		cr_assert(raw_has(&client, "Content-Type: application/json\r\n"));
		cr_assert(raw_has(&client, "Connection: close\r\n\r\n{\"error\":\""));
		raw_close(&client);
		TURN_UNTIL(fixture_closed_for(rows[i].reason) == before + 1);
	}
	cr_assert_eq(fixture.requests, 0);
}

Test(connection, refuses_a_header_that_never_ends)
{
	char filler[1024];
	start();
	memset(filler, 'a', sizeof(filler));
	raw_send_text(&client, "GET / HTTP/1.1\r\nX: ");
	for (int i = 0; i < 3; i++)
		raw_send(&client, filler, sizeof(filler));
	raw_expect_end(&client, "HTTP/1.1 431 ");
	raw_close(&client);
}

Test(connection, a_refused_peer_that_goes_on_sending_still_sees_the_answer)
{
	char filler[65536] = {0};
	start();
	raw_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n");
	for (int i = 0; i < 8; i++)
		raw_send(&client, filler, sizeof(filler));
	raw_expect_end(&client, "HTTP/1.1 413 ");
	raw_close(&client);
}

Test(connection, answers_408_to_a_slow_request)
{
	fixture.options.header_timeout_ms = 200;
	start();
	raw_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel");
	raw_expect_end(&client, "HTTP/1.1 408 Request Timeout\r\n");
	raw_close(&client);
	TURN_UNTIL(fixture_closed_for("slow_request") == 1);
}

Test(connection, deadline_of_a_request_is_not_moved_by_more_bytes)
{
	fixture.options.header_timeout_ms = 500;
	start();
	uint64_t begin = uv_hrtime();
	raw_send_text(&client, "GET / HTTP/1.1\r\n");
	while (!client.ended) {
		raw_send_text(&client, "X: y\r\n");
		fixture_turn();
		cr_assert_lt(uv_hrtime() - begin, UINT64_C(5000000000));
	}
	cr_assert(raw_has(&client, " 408 ") || raw_has(&client, " 431 "));
	raw_close(&client);
}

Test(connection, cuts_an_idle_peer_without_a_word)
{
	fixture.options.idle_timeout_ms = 200;
	start();
	raw_expect(&client, GET("/now"), "now");
	size_t len = client.in.len;
	TURN_UNTIL(client.ended);
	cr_assert_eq(client.in.len, len);
	cr_assert_eq(client.error, 0);
	raw_close(&client);
	TURN_UNTIL(fixture_closed_for("idle") == 1);
}

Test(connection, is_not_cut_while_the_handler_thinks)
{
	fixture.options.idle_timeout_ms = 200;
	fixture.options.header_timeout_ms = 200;
	start();
	raw_send_text(&client, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	uint64_t until = uv_hrtime() + UINT64_C(800000000);
	TURN_UNTIL(uv_hrtime() > until);
	fixture_answer_next();
	TURN_UNTIL(raw_has(&client, "answer 1"));
	raw_close(&client);
}

Test(connection, head_gets_the_headers_only)
{
	start();
	raw_expect(&client, "HEAD /now HTTP/1.1\r\nHost: t\r\n\r\n", "Content-Length: 3\r\n");
	raw_expect(&client, "HEAD /echo HTTP/1.1\r\nHost: t\r\n\r\n", "Content-Length: 30\r\n");
	raw_expect(&client, "HEAD /none HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "Content-Length: 25\r\n");
	TURN_UNTIL(client.ended);
	cr_assert_not(raw_has(&client, "now"));
	cr_assert_not(raw_has(&client, "host="));
	cr_assert_not(raw_has(&client, "found"));
	raw_close(&client);
}

Test(connection, http10_is_closed_unless_it_asks_otherwise)
{
	fixture_start();
	raw_connect(&client);
	raw_send_text(&client, "GET /now HTTP/1.0\r\n\r\n");
	raw_expect_end(&client, "HTTP/1.1 200 OK\r\n");
	cr_assert(raw_has(&client, "Connection: close\r\n"));
	raw_close(&client);
	raw_connect(&client);
	raw_expect(&client, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive\r\n");
	raw_expect(&client, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /echo");
	raw_close(&client);
}

Test(connection, closes_when_the_peer_asks_for_it)
{
	start();
	raw_send_text(&client, "GET /now HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
	raw_expect_end(&client, "HTTP/1.1 200 OK\r\n");
	cr_assert(raw_has(&client, "Connection: close\r\n"));
	raw_close(&client);
	TURN_UNTIL(fixture_closed_for("done") == 1);
}

Test(connection, answers_a_peer_that_closed_its_sending_side)
{
	start();
	raw_send_text(&client, GET("/later") GET("/now"));
	raw_shutdown(&client);
	TURN_UNTIL(fixture.waiting_count == 1);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	cr_assert_eq(fixture_closed_for("reset"), 0);
	cr_assert_eq(fixture_connections(), 1);
	fixture_answer_next();
	TURN_UNTIL(client.ended);
	cr_assert(raw_has(&client, "answer 1") && raw_has(&client, "\r\n\r\nnow"));
	raw_close(&client);
}

Test(connection, handler_may_reply_after_the_peer_has_gone)
{
	start();
	raw_send_text(&client, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	raw_reset(&client);
	TURN_UNTIL(fixture_closed_for("reset") == 1);
	cr_assert_eq(server_busy(fixture.server), 1);
	cr_assert_eq(fixture_connections(), 1);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	fixture_answer_next();
	cr_assert_eq(server_busy(fixture.server), 0);
	TURN_UNTIL(fixture_connections() == 0);
	cr_assert_eq(fixture_closed_for("reset"), 1);
}

Test(connection, peer_that_resets_inside_a_request_is_forgotten)
{
	start();
	raw_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel");
	for (int i = 0; i < 5; i++)
		fixture_turn();
	raw_reset(&client);
	TURN_UNTIL(fixture_connections() == 0);
	cr_assert_eq(fixture.requests, 0);
	raw_connect(&client);
	raw_send_text(&client, "GET /n");
	for (int i = 0; i < 5; i++)
		fixture_turn();
	raw_close(&client);
	TURN_UNTIL(fixture_closed_for("peer_early") == 1);
}

Test(connection, abort_cuts_without_an_answer)
{
	start();
	raw_send_text(&client, GET("/abort"));
	TURN_UNTIL(client.ended);
	cr_assert_eq(client.in.len, 0);
	raw_close(&client);
}

Test(connection, retained_request_outlives_the_buffer_it_came_in)
{
	start();
	raw_send_text(&client, "POST /retain?a=b HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nkeep");
	TURN_UNTIL(fixture.waiting_count == 1);
	struct raw_client other;
	raw_connect(&other);
	raw_expect(&other, "POST /echo?overwriting HTTP/1.1\r\nHost: xxxxxx\r\nContent-Length: 9\r\n\r\nzzzzzzzzz", "zzzzzzzzz");
	cr_assert(slice_equal(request_header(fixture.retained[0], SLICE("host")), SLICE("t")));
	fixture_answer_next();
	TURN_UNTIL(raw_has(&client, "retained /retain?a=b keep"));
	raw_close(&other);
	raw_close(&client);
}

Test(connection, large_answer_reaches_a_slow_reader_whole)
{
	start();
	fixture.on_other = NULL;
	raw_pause(&client);
	raw_send_text(&client, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	struct connection *connection = fixture.waiting[0];
	fixture.waiting_count = 0;
	size_t len = (size_t)12 << 20;
	char *body = malloc(len);
	memset(body, 'z', len);
	reply_send(connection, &(struct reply){.status = 200, .body = {body, len}});
	free(body);
	raw_send_text(&client, GET("/now"));
	for (int i = 0; i < 20; i++)
		fixture_turn();
	cr_assert_eq(server_busy(fixture.server), 1, "the answer is not out yet");
	cr_assert_eq(fixture.requests, 1);
	raw_resume(&client);
	TURN_UNTIL(client.in.len > len && raw_has(&client, "\r\n\r\nnow"));
	raw_close(&client);
}

Test(connection, peer_that_does_not_read_its_answer_is_cut)
{
	fixture.options.idle_timeout_ms = 300;
	start();
	raw_pause(&client);
	raw_send_text(&client, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	struct connection *connection = fixture.waiting[0];
	fixture.waiting_count = 0;
	size_t len = (size_t)12 << 20;
	char *body = calloc(1, len);
	reply_send(connection, &(struct reply){.status = 200, .body = {body, len}});
	free(body);
	TURN_UNTIL(fixture_connections() == 0);
	cr_assert_eq(fixture_closed_for("slow_reader"), 1);
	cr_assert_eq(server_busy(fixture.server), 0);
	raw_close(&client);
}

Test(connection, error_text_is_escaped)
{
	start();
	raw_expect(&client, GET("/nowhere"), "{\"error\":\"Not \\\"found\\\"\"}");
	cr_assert(raw_has(&client, "HTTP/1.1 404 Not Found\r\n"));
	raw_close(&client);
}

Test(connection, knows_its_peer)
{
	start();
	raw_send_text(&client, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	const struct sockaddr_in *peer = (const struct sockaddr_in *)connection_peer(fixture.waiting[0]);
	cr_assert_eq(peer->sin_family, AF_INET);
	cr_assert_eq(ntohl(peer->sin_addr.s_addr), INADDR_LOOPBACK);
	cr_assert_not(connection_is_tls(fixture.waiting[0]));
	fixture_answer_next();
	raw_close(&client);
}

Test(connection, data_of_a_request_is_zeroed_each_time)
{
	fixture.options.pool_data_size = 300;
	start();
	for (int i = 0; i < 3; i++) {
		raw_send_text(&client, GET("/later"));
		TURN_UNTIL(fixture.waiting_count == 1);
		char *data = connection_data(fixture.waiting[0]);
		for (int j = 0; j < 300; j++)
			cr_assert_eq(data[j], 0);
		memset(data, 'x', 300);
		fixture_answer_next();
	}
	raw_close(&client);
}
