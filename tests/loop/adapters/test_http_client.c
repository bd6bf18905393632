/* SPDX-License-Identifier: MIT */
#include "adapters/http_client.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/turn.h"
#include "loop/support/peer.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- One loop, one client, and requests that remember what happened to them ---- */

static uv_loop_t loop;
static struct http_client *client;
static bool client_closed;

struct call {
	struct http_client_request request;
	unsigned done;
	int status;
	unsigned headers_seen;
	long status_at_headers;
	bool refuse;
	size_t received;
	bool wrong_bytes;
	size_t pause_at; /* pause once when so many bytes have come */
	bool paused;
	bool resume_early; /* inside the callback that is about to pause */
	unsigned pauses;
	size_t abort_at;
	bool aborted;
	size_t send_total;
	size_t sent;
	size_t send_pause_at;
	unsigned send_pauses;
	struct call *start_in_receive; /* another request to start from inside on_receive */
	const struct peer *start_peer;
};

static bool inside_client;

static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("https_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	unsetenv("HTTPS_PROXY");
	REQUIRE(uv_loop_init(&loop) == 0);
	const struct http_client_options options = {0};
	client = http_client_new(&loop, &options);
	REQUIRE(client != NULL);
}

static void on_client_closed(void *data)
{
	(void)data;
	client_closed = true;
}

static void run_until(const bool *flag)
{
	for (unsigned turns = 0; !*flag; turns++) {
		cr_assert_lt(turns, 1000000, "the loop turned too often");
		turn_run(&loop);
	}
}

static void tear_down(void)
{
	if (!client_closed) {
		http_client_close(client, on_client_closed, NULL);
		run_until(&client_closed);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
}

TestSuite(http_client, .init = set_up, .fini = tear_down, .timeout = 30);

static void on_done(struct http_client_request *request, int status)
{
	struct call *call = request->data;
	cr_assert(!inside_client, "done inside a call");
	call->done++;
	call->status = status;
}

static void call_start(struct call *call, const struct peer *peer, const char *path)
{
	char url[512];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", peer_port(peer), path);
	call->request.url = url;
	call->request.done = on_done;
	call->request.data = call;
	inside_client = true;
	cr_assert_eq(http_client_start(client, &call->request), 0);
	inside_client = false;
	call->request.url = NULL; /* start() has copied it */
}

static bool on_headers(struct http_client_request *request)
{
	struct call *call = request->data;
	cr_assert(!inside_client);
	call->headers_seen++;
	call->status_at_headers = request->http_status;
	return !call->refuse;
}

static size_t on_receive(struct http_client_request *request, const char *bytes, size_t len)
{
	struct call *call = request->data;
	cr_assert(!inside_client, "on_receive inside a call");
	cr_assert_eq(call->headers_seen, 1);
	if (call->pause_at != 0 && call->pauses == 0 && call->received + len > call->pause_at) {
		call->pauses++;
		call->paused = !call->resume_early;
		if (call->resume_early)
			http_client_resume_receive(request);
		return HTTP_CLIENT_PAUSE;
	}
	cr_assert(!call->paused, "bytes came while paused");
	cr_assert(!call->aborted, "bytes came after the abort");
	if (call->abort_at != 0 && call->received + len > call->abort_at) {
		call->aborted = true;
		return HTTP_CLIENT_ABORT;
	}
	for (size_t i = 0; i < len; i++)
		call->wrong_bytes |= bytes[i] != peer_body(call->received + i);
	call->received += len;
	if (call->start_in_receive != NULL) {
		struct call *other = call->start_in_receive;
		call->start_in_receive = NULL;
		call_start(other, call->start_peer, "/other");
	}
	return len;
}

static size_t on_send(struct http_client_request *request, char *out, size_t cap)
{
	struct call *call = request->data;
	cr_assert(!inside_client, "on_send inside a call");
	if (call->send_pause_at != 0 && call->send_pauses == 0 && call->sent >= call->send_pause_at) {
		call->send_pauses++;
		return HTTP_CLIENT_PAUSE;
	}
	size_t len = call->send_total - call->sent;
	if (len > cap)
		len = cap;
	if (len > 10000)
		len = 10000;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)('a' + (call->sent + i) % 26);
	call->sent += len;
	return len;
}

static void set_flag(void *flag)
{
	*(bool *)flag = true;
}

static void on_timer(uv_timer_t *timer)
{
	set_flag(timer->data);
}

static void on_timer_closed(uv_handle_t *handle)
{
	(void)handle;
}

/* Lets the loop run for a while; how often it turned meanwhile. */
static unsigned run_for(uint64_t ms)
{
	bool over = false;
	unsigned turns = 0;
	uv_timer_t timer;
	uv_timer_init(&loop, &timer);
	timer.data = &over;
	uv_timer_start(&timer, on_timer, ms, 0);
	for (; !over; turns++)
		turn_run(&loop);
	uv_close((uv_handle_t *)&timer, on_timer_closed);
	uv_run(&loop, UV_RUN_NOWAIT);
	return turns;
}

static void call_finish(struct call *call)
{
	for (unsigned turns = 0; call->done == 0; turns++) {
		cr_assert_lt(turns, 1000000, "no answer");
		turn_run(&loop);
	}
	cr_assert_eq(call->done, 1);
}

Test(http_client, answer_is_collected_with_its_headers)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nETag: \"abc\"\r\n"
			   "Content-Length: 5\r\n\r\nhello"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.method = HTTP_GET, .username = "AC1", .password = "pw", .headers = {"X-One: 1"}}};
	call_start(&call, peer, "/a/../b?x=1");
	call_finish(&call);
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_assert_eq(call.request.http_status, 200);
	cr_assert_eq(call.request.content_length, 5);
	cr_assert_eq(call.request.received_bytes, 5);
	cr_assert_eq(call.request.retry_after_ms, -1);
	cr_assert_str_eq(call.request.content_type, "application/json; charset=utf-8");
	cr_assert_str_eq(call.request.etag, "\"abc\"");
	cr_assert(slice_equal(call.request.collected, SLICE("hello")));
	const char *text = peer_request(peer, 0);
	cr_assert(strncmp(text, "GET /a/../b?x=1 HTTP/1.1\r\n", 26) == 0, "%s", text);
	cr_assert(strstr(text, "\r\nAuthorization: Basic QUMxOnB3\r\n") != NULL, "%s", text);
	cr_assert(strstr(text, "\r\nX-One: 1\r\n") != NULL);
	cr_assert(strstr(text, "Accept-Encoding") == NULL);
	http_client_request_release(&call.request);
	peer_close(peer);
}

/* ---- Silent, slow and broken servers ---- */

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Length: "

Test(http_client, a_silent_server_is_a_timeout)
{
	const struct peer_script scripts[] = {{.hang = true, .answer = ""}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.stall_timeout_ms = 80}};
	uint64_t start = uv_hrtime();
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, ERR_TIMEOUT);
	cr_assert_eq(call.request.http_status, 0);
	cr_assert_lt(uv_hrtime() - start, 2000000000u);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, slow_bytes_are_no_stall_but_the_total_timeout_counts_them)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "20\r\n\r\n", .body_bytes = 20, .slow_ms = 15, .slow_bytes = 4}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.stall_timeout_ms = 120}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_assert_eq(call.request.collected.len, 20);
	http_client_request_release(&call.request);
	struct call short_call = {.request = {.total_timeout_ms = 60}};
	call_start(&short_call, peer, "/");
	call_finish(&short_call);
	cr_assert_eq(short_call.status, ERR_TIMEOUT);
	http_client_request_release(&short_call.request);
	peer_close(peer);
}

Test(http_client, a_stalled_upload_is_a_timeout)
{
	const struct peer_script scripts[] = {{.deaf = true, .hang = true, .answer = ""}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {
		.request = {.method = HTTP_PUT, .on_send = on_send, .send_length = 64 * 1024 * 1024, .stall_timeout_ms = 150},
		.send_total = 64 * 1024 * 1024};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, ERR_TIMEOUT);
	cr_assert_gt(call.sent, 0);
	cr_assert_lt(call.sent, 32u * 1024 * 1024);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, an_answer_cut_anywhere_is_never_complete)
{
	static const char head[] = OK_HEAD "100\r\n\r\n";
	const size_t cuts[] = {1, 9, sizeof(head) - 3, sizeof(head) - 1, sizeof(head), sizeof(head) + 98};
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		for (int reset = 0; reset < 2; reset++) {
			const struct peer_script scripts[] = {
				{.answer = head, .body_bytes = 100, .cut_after = cuts[i], .reset = reset != 0}};
			struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
			struct call call = {.request = {.method = HTTP_GET}};
			call_start(&call, peer, "/");
			call_finish(&call);
			cr_assert(call.status == ERR_RESET || call.status == ERR_PROTOCOL, "cut %zu: %d %s", cuts[i], call.status,
				  call.request.error.detail);
			cr_assert(cuts[i] < sizeof(head) || call.status == ERR_RESET);
			cr_assert_lt(call.request.received_bytes, 100);
			http_client_request_release(&call.request);
			peer_close(peer);
		}
	}
}

Test(http_client, a_truncated_chunked_answer_is_never_complete)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", .close = true}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.method = HTTP_GET}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, ERR_RESET);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, more_bytes_than_announced_are_not_taken)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"},
					      {.answer = OK_HEAD "4\r\n\r\ngood"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 2);
	struct call call = {.request = {.method = HTTP_GET}}, next = {.request = {.method = HTTP_GET}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, 0);
	cr_assert(slice_equal(call.request.collected, SLICE("hello")));
	call_start(&next, peer, "/");
	call_finish(&next);
	cr_assert_eq(next.status, 0);
	cr_assert(slice_equal(next.request.collected, SLICE("good")), "%.*s", SLICE_FMT(next.request.collected));
	http_client_request_release(&call.request);
	http_client_request_release(&next.request);
	peer_close(peer);
}

static int status_of_answer(const char *answer, struct error *error)
{
	const struct peer_script scripts[] = {{.answer = answer, .close = true}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.method = HTTP_GET}};
	call_start(&call, peer, "/");
	call_finish(&call);
	*error = call.request.error;
	http_client_request_release(&call.request);
	peer_close(peer);
	return call.status;
}

Test(http_client, what_is_not_http_or_contradicts_itself_is_a_protocol_error)
{
	struct error error;
	cr_assert_eq(status_of_answer("<html>no header at all</html>\r\n\r\n", &error), ERR_PROTOCOL, "%s", error.detail);
	cr_assert_eq(status_of_answer(OK_HEAD "5\r\nContent-Length: 6\r\n\r\nhello!", &error), ERR_PROTOCOL, "%s", error.detail);
	cr_assert_eq(status_of_answer(OK_HEAD "-5\r\n\r\nhello!", &error), ERR_PROTOCOL, "%s", error.detail);
	cr_assert_eq(status_of_answer(OK_HEAD "0x5\r\n\r\nhello!", &error), ERR_PROTOCOL, "%s", error.detail);
	cr_assert_eq(status_of_answer(OK_HEAD "99999999999999999999\r\n\r\nhello!", &error), ERR_PROTOCOL, "%s", error.detail);
}

Test(http_client, huge_headers_end_the_request)
{
	struct error error;
	struct buffer answer;
	buffer_init(&answer, 1024 * 1024);
	buffer_append_cstr(&answer, OK_HEAD "0\r\n");
	while (answer.len < 300000)
		buffer_printf(&answer, "X-%06zu: %080d\r\n", answer.len, 0);
	buffer_append_cstr(&answer, "\r\n");
	cr_assert_eq(status_of_answer(buffer_cstr(&answer), &error), ERR_PROTOCOL, "%s", error.detail);
	buffer_clear(&answer);
	buffer_append_cstr(&answer, "HTTP/1.1 200 OK\r\nX: ");
	while (answer.len < 300000)
		buffer_append_char(&answer, 'x');
	buffer_append_cstr(&answer, "\r\n\r\n");
	cr_assert_eq(status_of_answer(buffer_cstr(&answer), &error), ERR_PROTOCOL, "%s", error.detail);
	buffer_free(&answer);
}

Test(http_client, collecting_stops_at_its_limit)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "100\r\n\r\n", .body_bytes = 100}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.collect_max = 99}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, ERR_TOO_LARGE);
	cr_assert_eq(call.request.http_status, 200);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, nobody_listening_is_a_connect_error_and_no_name_a_resolve_error)
{
	const struct peer_script scripts[] = {{.answer = ""}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/secret?token=1", peer_port(peer));
	peer_close(peer);
	uv_run(&loop, UV_RUN_DEFAULT);
	struct call call = {.request = {.url = url, .done = on_done, .username = "AC1", .password = "hush"}};
	call.request.data = &call;
	cr_assert_eq(http_client_start(client, &call.request), 0);
	call_finish(&call);
	cr_assert_eq(call.status, ERR_CONNECT);
	cr_assert(strstr(call.request.error.detail, "127.0.0.1") != NULL, "%s", call.request.error.detail);
	cr_assert(strstr(call.request.error.detail, "hush") == NULL && strstr(call.request.error.detail, "token") == NULL);
	http_client_request_release(&call.request);
	struct call nowhere = {.request = {.url = "http://no-such-host.invalid/", .done = on_done}};
	nowhere.request.data = &nowhere;
	cr_assert_eq(http_client_start(client, &nowhere.request), 0);
	call_finish(&nowhere);
	cr_assert_eq(nowhere.status, ERR_RESOLVE, "%s", nowhere.request.error.detail);
	http_client_request_release(&nowhere.request);
}

Test(http_client, what_cannot_be_sent_is_refused_at_once)
{
	const char *const urls[] = {"",        "ftp://127.0.0.1/", "file:///etc/passwd", "http://user:pw@127.0.0.1/",
				    "http://", "nonsense",         "gopher://x/",        "http://127.0.0.1/a\nb"};
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct call call = {.request = {.url = urls[i], .done = on_done}};
		cr_assert_eq(http_client_start(client, &call.request), ERR_INVALID, "%s", urls[i]);
		cr_assert_null(call.request.impl);
	}
	struct call call = {.request = {.url = "http://127.0.0.1/", .done = on_done, .headers = {"X: 1\r\nY: 2"}}};
	cr_assert_eq(http_client_start(client, &call.request), ERR_INVALID);
	uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(call.done, 0);
}

/* ---- Redirects ---- */

static char redirect_text[4][512];

static const char *redirect_to(int slot, int status, const char *host, int port, const char *path)
{
	snprintf(redirect_text[slot], sizeof(redirect_text[slot]),
		 "HTTP/1.1 %d Found\r\nLocation: http://%s:%d%s\r\nContent-Length: 7\r\n\r\nignored", status, host, port, path);
	return redirect_text[slot];
}

Test(http_client, a_redirect_is_an_answer_unless_redirects_are_asked_for)
{
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.on_headers = on_headers}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, 0);
	cr_assert_eq(call.headers_seen, 1);
	cr_assert_eq(call.request.http_status, 302);
	cr_assert_str_eq(call.request.location, "/there");
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, credentials_do_not_follow_to_another_host_or_port)
{
	const struct peer_script other_scripts[] = {{.answer = OK_HEAD "5\r\n\r\n", .body_bytes = 5}};
	struct peer *other = peer_new(&loop, "127.0.0.1", other_scripts, 1);
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 302 Found\r\nLocation: /second\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = redirect_to(0, 307, "127.0.0.1", peer_port(other), "/third")},
					      {.answer = redirect_to(1, 307, "localhost", peer_port(other), "/third")}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 3);
	for (int i = 0; i < 2; i++) {
		struct call call = {.request = {.username = "AC1",
						.password = "pw",
						.headers = {"Authorization: Bearer own", "Cookie: own"},
						.max_redirects = 3,
						.on_headers = on_headers,
						.on_receive = on_receive}};
		if (i == 1)
			call.request.headers[0] = NULL;
		call_start(&call, peer, "/first");
		call_finish(&call);
		cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
		cr_assert_eq(call.request.http_status, 200);
		cr_assert_eq(call.received, 5);
		cr_assert(!call.wrong_bytes, "the redirect's own body was taken");
		cr_assert_eq(call.headers_seen, 1, "headers of a redirect were taken for the answer's");
		cr_assert_str_eq(call.request.location, "");
		http_client_request_release(&call.request);
	}
	cr_assert(strstr(peer_request(peer, 0), "Authorization: ") != NULL);
	cr_assert(strstr(peer_request(peer, 1), "Authorization: ") != NULL, "the same host asked to come back");
	cr_assert_eq(peer_requests(other), 2);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(strncmp(peer_request(other, i), "GET /third ", 11) == 0);
		cr_assert(strstr(peer_request(other, i), "Authorization") == NULL, "%s", peer_request(other, i));
		cr_assert(strstr(peer_request(other, i), "Cookie") == NULL, "%s", peer_request(other, i));
	}
	peer_close(peer);
	peer_close(other);
}

Test(http_client, redirect_loops_end)
{
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 301 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.max_redirects = 3, .on_headers = on_headers}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, ERR_REDIRECT);
	cr_assert_eq(call.headers_seen, 0);
	cr_assert_eq(peer_requests(peer), 4);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, redirects_to_other_protocols_are_refused)
{
	const char *const targets[] = {"ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://127.0.0.1/", "http://",
				       "scheme-less:"};
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		char answer[256];
		snprintf(answer, sizeof(answer), "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", targets[i]);
		const struct peer_script scripts[] = {{.answer = answer}};
		struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
		struct call call = {.request = {.max_redirects = 3}};
		call_start(&call, peer, "/");
		call_finish(&call);
		cr_assert_eq(call.status, ERR_REDIRECT, "%s: %d %s", targets[i], call.status, call.request.error.detail);
		http_client_request_release(&call.request);
		peer_close(peer);
	}
}

Test(http_client, a_location_too_long_to_keep_is_followed_all_the_same)
{
	static char answer[4096];
	char path[2001];
	memset(path, 'p', sizeof(path) - 1);
	path[0] = '/';
	path[2000] = '\0';
	snprintf(answer, sizeof(answer), "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", path);
	const struct peer_script scripts[] = {{.answer = answer}, {.answer = OK_HEAD "0\r\n\r\n"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 2);
	struct call call = {.request = {.max_redirects = 1, .on_headers = on_headers}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, 0);
	cr_assert_eq(call.headers_seen, 1);
	cr_assert_eq(call.request.http_status, 200);
	http_client_request_release(&call.request);
	peer_close(peer);
}

/* 127.0.0.2 plays the private network, 127.0.0.1 the public one. */
static bool second_is_private(const struct sockaddr *address)
{
	return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(0x7f000002);
}

Test(http_client, a_public_host_cannot_redirect_us_to_a_private_address)
{
	static bool closed;
	const struct http_client_options options = {.address_is_private = second_is_private};
	const struct peer_script inner_scripts[] = {{.answer = OK_HEAD "6\r\n\r\nsecret"}};
	struct peer *inner = peer_new(&loop, "127.0.0.2", inner_scripts, 1);
	const struct peer_script scripts[] = {
		{.answer = redirect_to(0, 302, "127.0.0.2", peer_port(inner), "/latest/meta-data")}};
	struct peer *outer = peer_new(&loop, "127.0.0.1", scripts, 1);
	const struct peer_script home_scripts[] = {{.answer = redirect_to(1, 302, "127.0.0.2", peer_port(inner), "/ok")}};
	struct peer *home = peer_new(&loop, "127.0.0.2", home_scripts, 1);
	struct http_client *usual = client;
	client = http_client_new(&loop, &options);
	char url[64];

	struct call direct = {.request = {.max_redirects = 3}};
	snprintf(url, sizeof(url), "http://127.0.0.2:%d/", peer_port(inner));
	for (int i = 0; i < 2; i++) {
		/* Once without a connection to it, once with one kept from before, for which no socket is opened. */
		struct call call = {.request = {.max_redirects = 3}};
		call_start(&call, outer, "/");
		call_finish(&call);
		cr_assert_eq(call.status, ERR_REDIRECT, "%s", call.request.error.detail);
		cr_assert(strstr(call.request.error.detail, "private address") != NULL, "%s", call.request.error.detail);
		cr_assert_eq(call.request.collected.len, 0);
		cr_assert_eq(peer_requests(inner), (unsigned)i);
		http_client_request_release(&call.request);
		if (i == 1)
			break;
		direct.request.url = url;
		direct.request.done = on_done;
		direct.request.data = &direct;
		cr_assert_eq(http_client_start(client, &direct.request), 0);
		call_finish(&direct);
		cr_assert_eq(direct.status, 0);
		http_client_request_release(&direct.request);
	}
	/* A host of the private network may redirect within it. */
	struct call call = {.request = {.max_redirects = 3, .done = on_done}};
	snprintf(url, sizeof(url), "http://127.0.0.2:%d/", peer_port(home));
	call.request.url = url;
	call.request.data = &call;
	cr_assert_eq(http_client_start(client, &call.request), 0);
	call_finish(&call);
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_assert(slice_equal(call.request.collected, SLICE("secret")));
	http_client_request_release(&call.request);

	closed = false;
	http_client_close(client, set_flag, &closed);
	run_until(&closed);
	client = usual;
	peer_close(inner);
	peer_close(outer);
	peer_close(home);
}

/* ---- Headers of interest ---- */

Test(http_client, retry_after_is_understood_in_seconds_and_as_a_date)
{
	char dated[256], date[64];
	time_t later = time(NULL) + 30;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&later));
	snprintf(dated, sizeof(dated), "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = dated}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 2);
	struct call call = {.request = {.method = HTTP_GET}}, second = {.request = {.method = HTTP_GET}};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.request.http_status, 429);
	cr_assert_eq(call.request.retry_after_ms, 7000);
	call_start(&second, peer, "/");
	call_finish(&second);
	cr_assert_gt(second.request.retry_after_ms, 27000);
	cr_assert_leq(second.request.retry_after_ms, 30000);
	http_client_request_release(&call.request);
	http_client_request_release(&second.request);
	peer_close(peer);
}

/* ---- Connections ---- */

Test(http_client, requests_one_after_the_other_share_a_connection)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "5\r\n\r\nhello"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	for (int i = 0; i < 30; i++) {
		struct call call = {.request = {.method = HTTP_GET}};
		call_start(&call, peer, "/");
		call_finish(&call);
		cr_assert_eq(call.status, 0);
		http_client_request_release(&call.request);
	}
	cr_assert_eq(peer_connections(peer), 1);
	peer_close(peer);
}

Test(http_client, a_kept_connection_closed_by_the_server_costs_nothing)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "5\r\n\r\nhello", .close = true}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	for (int i = 0; i < 5; i++) {
		struct call call = {.request = {.method = HTTP_GET}};
		call_start(&call, peer, "/");
		call_finish(&call);
		cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
		http_client_request_release(&call.request);
		cr_assert_lt(run_for(30), 20, "the loop spins on a closed idle connection");
	}
	cr_assert_eq(peer_connections(peer), 5);
	peer_close(peer);
}

static void count_polls(uv_handle_t *handle, void *data)
{
	unsigned *counts = data;
	if (handle->type == UV_POLL && uv_is_active(handle) && !uv_is_closing(handle))
		counts[uv_has_ref(handle) != 0]++;
}

Test(http_client, an_idle_connection_does_not_keep_the_loop_running)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "5\r\n\r\nhello"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.method = HTTP_GET}};
	call_start(&call, peer, "/");
	call_finish(&call);
	http_client_request_release(&call.request);
	run_for(5);
	unsigned counts[2] = {0};
	uv_walk(&loop, count_polls, counts);
	cr_assert_eq(counts[0], 1, "the kept connection has left the poll set");
	cr_assert_eq(counts[1], 0, "the kept connection holds the loop");
	peer_close(peer);
}

Test(http_client, requests_beyond_the_connection_limit_wait_their_turn)
{
	static bool closed;
	const struct http_client_options options = {.max_connections = 2};
	const struct peer_script scripts[] = {{.answer = OK_HEAD "20\r\n\r\n", .body_bytes = 20, .slow_ms = 2, .slow_bytes = 20}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct http_client *usual = client;
	client = http_client_new(&loop, &options);
	struct call calls[12] = {0};
	for (size_t i = 0; i < 12; i++) {
		calls[i].request.connect_timeout_ms = 5000;
		call_start(&calls[i], peer, "/");
	}
	for (size_t i = 0; i < 12; i++) {
		while (calls[i].done == 0)
			turn_run(&loop);
		cr_assert_eq(calls[i].status, 0, "%s", calls[i].request.error.detail);
		http_client_request_release(&calls[i].request);
	}
	cr_assert_eq(peer_connections(peer), 2);
	closed = false;
	http_client_close(client, set_flag, &closed);
	run_until(&closed);
	client = usual;
	peer_close(peer);
}

/* ---- Backpressure ---- */

Test(http_client, a_paused_download_stops_the_server_and_loses_nothing)
{
	const size_t total = 24 * 1024 * 1024;
	const struct peer_script scripts[] = {{.answer = OK_HEAD "25165824\r\n\r\n", .body_bytes = total}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.on_headers = on_headers, .on_receive = on_receive, .stall_timeout_ms = 100},
			    .pause_at = 100000};
	call_start(&call, peer, "/");
	while (!call.paused)
		turn_run(&loop);
	run_for(250); /* much longer than the stall timeout */
	cr_assert_eq(call.done, 0, "paused time counted as a stall");
	size_t sent = peer_sent(peer);
	cr_assert_lt(sent, total * 3 / 4, "nothing held the server back");
	cr_assert_lt(run_for(50), 40, "the loop spins while paused");
	cr_assert_eq(peer_sent(peer), sent);
	call.paused = false;
	inside_client = true;
	http_client_resume_receive(&call.request);
	http_client_resume_receive(&call.request);
	inside_client = false;
	call_finish(&call);
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_assert_eq(call.received, total);
	cr_assert(!call.wrong_bytes);
	cr_assert_eq(call.request.received_bytes, total);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, a_resume_that_comes_before_its_pause_is_not_lost)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "200000\r\n\r\n", .body_bytes = 200000}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {
		.request = {.on_headers = on_headers, .on_receive = on_receive}, .pause_at = 1000, .resume_early = true};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, 0);
	cr_assert_eq(call.pauses, 1);
	cr_assert_eq(call.received, 200000);
	cr_assert(!call.wrong_bytes);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, an_abort_right_after_resuming_ends_the_request)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "200000\r\n\r\n", .body_bytes = 200000}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.on_headers = on_headers, .on_receive = on_receive}, .pause_at = 1, .abort_at = 1};
	call_start(&call, peer, "/");
	while (!call.paused)
		turn_run(&loop);
	call.paused = false;
	http_client_resume_receive(&call.request);
	call_finish(&call);
	cr_assert_eq(call.status, ERR_CANCELLED);
	cr_assert(!call.request.refused);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, headers_can_be_refused)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "5\r\n\r\n", .body_bytes = 5}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.on_headers = on_headers, .on_receive = on_receive}, .refuse = true};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, ERR_CANCELLED);
	cr_assert(call.request.refused);
	cr_assert_eq(call.status_at_headers, 200);
	cr_assert_eq(call.received, 0);
	http_client_request_release(&call.request);
	peer_close(peer);
}

/* ---- Uploads ---- */

static void check_body(const char *text, size_t len)
{
	const char *body = strstr(text, "\r\n\r\n");
	cr_assert(body != NULL);
	body += 4;
	cr_assert_eq(strlen(body), len);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(body[i], (char)('a' + i % 26));
}

Test(http_client, bodies_are_sent_fixed_pulled_and_chunked)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "0\r\n\r\n"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call fixed = {
		.request = {.method = HTTP_POST, .body = SLICE("abcdefgh"), .headers = {"Content-Type: text/plain"}}};
	call_start(&fixed, peer, "/");
	call_finish(&fixed);
	cr_assert_eq(fixed.status, 0);
	check_body(peer_request(peer, 0), 8);
	cr_assert(strstr(peer_request(peer, 0), "Content-Type: text/plain\r\n") != NULL);
	struct call empty = {.request = {.method = HTTP_POST}};
	call_start(&empty, peer, "/");
	call_finish(&empty);
	cr_assert_eq(empty.status, 0);
	cr_assert(strstr(peer_request(peer, 1), "Content-Length: 0\r\n") != NULL);
	cr_assert(strstr(peer_request(peer, 1), "Content-Type") == NULL);
	struct call pulled = {.request = {.method = HTTP_PUT, .on_send = on_send, .send_length = 50000},
			      .send_total = 50000,
			      .send_pause_at = 1};
	call_start(&pulled, peer, "/");
	while (pulled.send_pauses == 0)
		turn_run(&loop);
	run_for(20);
	cr_assert_eq(pulled.done, 0);
	inside_client = true;
	http_client_resume_send(&pulled.request);
	inside_client = false;
	call_finish(&pulled);
	cr_assert_eq(pulled.status, 0, "%s", pulled.request.error.detail);
	check_body(peer_request(peer, 2), 50000);
	cr_assert(strstr(peer_request(peer, 2), "Expect") == NULL);
	struct call chunked = {.request = {.method = HTTP_PUT, .on_send = on_send, .send_length = -1}, .send_total = 26};
	call_start(&chunked, peer, "/");
	call_finish(&chunked);
	cr_assert_eq(chunked.status, 0, "%s", chunked.request.error.detail);
	cr_assert(strstr(peer_request(peer, 3), "Transfer-Encoding: chunked") != NULL);
	cr_assert(strstr(peer_request(peer, 3), "\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n") != NULL, "%s",
		  peer_request(peer, 3));
	struct call posted = {.request = {.method = HTTP_POST, .on_send = on_send, .send_length = -1}, .send_total = 26};
	call_start(&posted, peer, "/");
	call_finish(&posted);
	cr_assert_eq(posted.status, 0, "%s", posted.request.error.detail);
	cr_assert(strstr(peer_request(peer, 4), "\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n") != NULL, "%s",
		  peer_request(peer, 4));
	cr_assert_eq(peer_connections(peer), 1);
	struct call *all[] = {&fixed, &empty, &pulled, &chunked, &posted};
	for (size_t i = 0; i < 5; i++)
		http_client_request_release(&all[i]->request);
	peer_close(peer);
}

Test(http_client, head_and_delete_have_no_body)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "100\r\n\r\n"}, {.answer = "HTTP/1.1 204 No Content\r\n\r\n"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 2);
	struct call head = {.request = {.method = HTTP_HEAD}}, delete = {.request = {.method = HTTP_DELETE}};
	call_start(&head, peer, "/");
	call_finish(&head);
	cr_assert_eq(head.status, 0);
	cr_assert_eq(head.request.content_length, 100);
	call_start(&delete, peer, "/");
	call_finish(&delete);
	cr_assert_eq(delete.status, 0);
	cr_assert_eq(delete.request.http_status, 204);
	cr_assert(strncmp(peer_request(peer, 0), "HEAD / ", 7) == 0 && strncmp(peer_request(peer, 1), "DELETE / ", 9) == 0);
	http_client_request_release(&head.request);
	http_client_request_release(&delete.request);
	peer_close(peer);
}

Test(http_client, an_early_refusal_of_an_upload_is_an_answer)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", .early = true}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.method = HTTP_PUT, .on_send = on_send, .send_length = 4 * 1024 * 1024},
			    .send_total = 4 * 1024 * 1024};
	call_start(&call, peer, "/");
	call_finish(&call);
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_assert_eq(call.request.http_status, 403);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client, a_dead_kept_connection_is_replaced_and_the_body_sent_again)
{
	const struct peer_script scripts[] = {
		{.answer = OK_HEAD "0\r\n\r\n"}, {.answer = "", .cut_after = 1, .close = true}, {.answer = OK_HEAD "0\r\n\r\n"}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 3);
	struct call first = {.request = {.method = HTTP_GET}},
		    second = {.request = {.method = HTTP_PUT, .body = SLICE("abcdefgh")}};
	call_start(&first, peer, "/");
	call_finish(&first);
	call_start(&second, peer, "/");
	call_finish(&second);
	cr_assert_eq(second.status, 0, "%s", second.request.error.detail);
	cr_assert_eq(peer_connections(peer), 2);
	check_body(peer_request(peer, 2), 8);
	http_client_request_release(&first.request);
	http_client_request_release(&second.request);
	peer_close(peer);
}

/* ---- Starting, cancelling and closing at any time ---- */

Test(http_client, a_request_may_be_started_from_inside_another_ones_callback)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "50000\r\n\r\n", .body_bytes = 50000}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call other = {.request = {.on_headers = on_headers, .on_receive = on_receive}};
	struct call call = {
		.request = {.on_headers = on_headers, .on_receive = on_receive}, .start_in_receive = &other, .start_peer = peer};
	call_start(&call, peer, "/");
	call_finish(&call);
	call_finish(&other);
	cr_assert_eq(call.status + other.status, 0);
	cr_assert_eq(other.received, 50000);
	http_client_request_release(&call.request);
	http_client_request_release(&other.request);
	peer_close(peer);
}

static unsigned turns_until_done(struct call *call)
{
	unsigned turns = 0;
	for (; call->done == 0; turns++)
		turn_run(&loop);
	return turns;
}

static void set_method(struct call *call, bool upload)
{
	*call = (struct call){.request = {.on_headers = on_headers, .on_receive = on_receive}};
	if (!upload)
		return;
	call->request.method = HTTP_PUT;
	call->request.on_send = on_send;
	call->request.send_length = 300000;
	call->send_total = 300000;
}

Test(http_client, cancel_at_every_turn_ends_exactly_once)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "300000\r\n\r\n", .body_bytes = 300000}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	for (int upload = 0; upload < 2; upload++) {
		struct call call;
		set_method(&call, upload != 0);
		call_start(&call, peer, "/");
		unsigned most = turns_until_done(&call) + 3;
		http_client_request_release(&call.request);
		for (unsigned turns = 0; turns < most; turns++) {
			set_method(&call, upload != 0);
			call_start(&call, peer, "/");
			for (unsigned i = 0; i < turns && call.done == 0; i++)
				turn_run(&loop);
			if (call.done == 0) {
				inside_client = true;
				http_client_cancel(&call.request);
				http_client_resume_receive(&call.request);
				http_client_cancel(&call.request);
				inside_client = false;
				cr_assert_eq(call.done, 0);
				turns_until_done(&call);
				cr_assert(call.status == ERR_CANCELLED || call.status == 0);
			}
			cr_assert_eq(call.done, 1);
			http_client_request_release(&call.request);
		}
	}
	peer_close(peer);
}

Test(http_client, close_at_every_turn_ends_every_request_exactly_once)
{
	const struct peer_script scripts[] = {{.answer = OK_HEAD "300000\r\n\r\n", .body_bytes = 300000},
					      {.hang = true, .answer = ""},
					      {.answer = OK_HEAD "300000\r\n\r\n", .body_bytes = 300000}};
	struct http_client *usual = client;
	const struct http_client_options options = {.max_connections = 2};
	for (unsigned turns = 0; turns < 30; turns++) {
		struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 3);
		struct call calls[4] = {0};
		bool closed = false;
		client = http_client_new(&loop, &options);
		for (size_t i = 0; i < 4; i++) {
			set_method(&calls[i], i == 2);
			if (i == 0)
				calls[i].pause_at = 1000;
			call_start(&calls[i], peer, "/");
		}
		for (unsigned i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		http_client_close(client, set_flag, &closed);
		cr_assert(!closed);
		struct call late = {.request = {.url = "http://127.0.0.1/", .done = on_done}};
		cr_assert_eq(http_client_start(client, &late.request), ERR_CANCELLED);
		run_until(&closed);
		for (size_t i = 0; i < 4; i++) {
			cr_assert_eq(calls[i].done, 1);
			cr_assert(calls[i].status == ERR_CANCELLED || (calls[i].status == 0 && i != 0));
			http_client_request_release(&calls[i].request);
		}
		peer_close(peer);
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	client = usual;
}

Test(http_client, statuses_have_their_errors)
{
	cr_assert_eq(http_status_error(200), 0);
	cr_assert_eq(http_status_error(206), 0);
	cr_assert_eq(http_status_error(304), ERR_REDIRECT);
	cr_assert_eq(http_status_error(401), ERR_HTTP_UNAUTHORIZED);
	cr_assert_eq(http_status_error(403), ERR_HTTP_FORBIDDEN);
	cr_assert_eq(http_status_error(404), ERR_HTTP_NOT_FOUND);
	cr_assert_eq(http_status_error(408), ERR_TIMEOUT);
	cr_assert_eq(http_status_error(410), ERR_HTTP_GONE);
	cr_assert_eq(http_status_error(418), ERR_HTTP_CLIENT);
	cr_assert_eq(http_status_error(429), ERR_HTTP_THROTTLED);
	cr_assert_eq(http_status_error(503), ERR_HTTP_SERVER);
	cr_assert_eq(http_status_error(0), ERR_PROTOCOL);
}
