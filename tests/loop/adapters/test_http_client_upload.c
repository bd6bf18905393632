/* SPDX-License-Identifier: MIT */
/* Bodies that are pulled, and what the answer's headers say. */
#include "adapters/http_client.h"
#include "base/check.h"
#include "base/turn.h"
#include "loop/support/peer.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static uv_loop_t loop;
static struct http_client *client;
static struct peer *peer;

struct call {
	struct http_client_request request;
	unsigned done;
	int status;
	size_t sent;
	size_t total;
	unsigned rewinds;
	bool can_rewind;
	char headers[1024];
};

static void set_up(void)
{
	const struct http_client_options options = {0};
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	REQUIRE(uv_loop_init(&loop) == 0);
	client = http_client_new(&loop, &options);
	REQUIRE(client != NULL);
}

static void closed(void *data)
{
	*(bool *)data = true;
}

static void tear_down(void)
{
	bool is_closed = false;
	http_client_close(client, closed, &is_closed);
	peer_close(peer);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert(is_closed);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
}

TestSuite(http_client_upload, .init = set_up, .fini = tear_down, .timeout = 30);

static void on_done(struct http_client_request *request, int status)
{
	struct call *call = request->data;
	call->done++;
	call->status = status;
}

static void on_header(struct http_client_request *request, struct slice name, struct slice value)
{
	struct call *call = request->data;
	size_t len = strlen(call->headers);
	snprintf(call->headers + len, sizeof(call->headers) - len, "%.*s=%.*s;", SLICE_FMT(name), SLICE_FMT(value));
}

static size_t on_send(struct http_client_request *request, char *out, size_t cap)
{
	struct call *call = request->data;
	size_t len = call->total - call->sent < cap ? call->total - call->sent : cap;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)('a' + (call->sent + i) % 26);
	call->sent += len;
	return len;
}

static bool on_rewind(struct http_client_request *request)
{
	struct call *call = request->data;
	call->rewinds++;
	call->sent = call->can_rewind ? 0 : call->sent;
	return call->can_rewind;
}

static void run(struct call *call, enum http_method method)
{
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/x", peer_port(peer));
	call->request.method = method;
	call->request.url = url;
	call->request.done = on_done;
	call->request.data = call;
	if (method == HTTP_PUT) {
		call->request.on_send = on_send;
		call->request.on_rewind = on_rewind;
		call->request.send_length = (int64_t)call->total;
	}
	cr_assert_eq(http_client_start(client, &call->request), 0);
	while (call->done == 0)
		turn_run(&loop);
	cr_assert_eq(call->done, 1);
	http_client_request_release(&call->request);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Amz-Meta-A:  b c \r\nETag: \"e\"\r\n\r\n"
/* A kept connection that dies as soon as it is used again. */
#define DEAD                                               \
	{                                                  \
		.answer = "", .early = true, .reset = true \
	}

Test(http_client_upload, headers_are_told_as_they_came)
{
	static const struct peer_script scripts[] = {{.answer = OK}};
	peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request.on_header = on_header};
	run(&call, HTTP_HEAD);
	cr_assert_eq(call.status, 0);
	cr_assert_str_eq(call.headers, "Content-Length=0;X-Amz-Meta-A=b c;ETag=\"e\";");
}

Test(http_client_upload, a_pulled_body_can_begin_again_on_another_connection)
{
	static const struct peer_script scripts[] = {{.answer = OK}, DEAD, {.answer = OK}};
	peer = peer_new(&loop, "127.0.0.1", scripts, 3);
	struct call first = {.total = 10}, second = {.total = 100000, .can_rewind = true};
	run(&first, HTTP_PUT);
	cr_assert_eq(first.status, 0);
	run(&second, HTTP_PUT);
	cr_assert_eq(second.status, 0, "%s", second.request.error.detail);
	cr_assert_eq(second.sent, 100000);
	cr_assert_eq(second.rewinds, 1);
	cr_assert_eq(peer_connections(peer), 2);
	cr_assert(strstr(peer_request(peer, 2), "\r\n\r\nabcdef") != NULL, "%.400s", peer_request(peer, 2));
}

Test(http_client_upload, a_body_that_cannot_begin_again_fails_the_request)
{
	static const struct peer_script scripts[] = {{.answer = OK}, DEAD, {.answer = OK}};
	peer = peer_new(&loop, "127.0.0.1", scripts, 3);
	struct call first = {.total = 10}, second = {.total = 100000};
	run(&first, HTTP_PUT);
	run(&second, HTTP_PUT);
	cr_assert_eq(second.status, ERR_RESET, "%s", err_name(second.status));
	cr_assert_eq(second.rewinds, 1);
	cr_assert_eq(peer_requests(peer), 2);
}
