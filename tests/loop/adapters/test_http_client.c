/* SPDX-License-Identifier: MIT */
#include "adapters/http_client.h"
#include "base/check.h"
#include "loop/support/peer.h"

#include <criterion/criterion.h>
#include <signal.h>
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
	bool inside; /* a call into the client is running: nothing may call back */
	unsigned headers_seen;
	bool refuse;
	/* receiving */
	size_t received;
	bool wrong_bytes;
	size_t pause_every; /* pause once per so many bytes */
	bool paused;
	size_t abort_at;
	uint64_t resume_after_ms;
	uv_timer_t timer;
	/* sending */
	size_t send_total;
	size_t sent;
	size_t send_pause_at;
	bool send_paused;
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
		uv_run(&loop, UV_RUN_ONCE);
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

static void call_finish(struct call *call)
{
	for (unsigned turns = 0; call->done == 0; turns++) {
		cr_assert_lt(turns, 1000000, "no answer");
		uv_run(&loop, UV_RUN_ONCE);
	}
	cr_assert_eq(call->done, 1);
}

Test(http_client, answer_is_collected_with_its_headers)
{
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nETag: \"abc\"\r\n"
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
