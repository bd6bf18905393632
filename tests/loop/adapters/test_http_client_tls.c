/* SPDX-License-Identifier: MIT */
#include "adapters/http_client.h"
#include "base/check.h"
#include "base/turn.h"
#include "loop/support/peer.h"
#include "loop/support/tls_peer.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uv_loop_t loop;

static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	unsetenv("https_proxy");
	unsetenv("HTTPS_PROXY");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	REQUIRE(uv_loop_init(&loop) == 0);
}

static void tear_down(void)
{
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
}

TestSuite(http_client_tls, .init = set_up, .fini = tear_down, .timeout = 30);

struct call {
	struct http_client_request request;
	bool done;
	int status;
};

static void on_done(struct http_client_request *request, int status)
{
	struct call *call = request->data;
	cr_assert(!call->done);
	call->done = true;
	call->status = status;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

/* One request with a client of its own. */
static void fetch(struct call *call, const char *ca_file, int port)
{
	char url[64];
	bool closed = false;
	const struct http_client_options options = {.ca_file = ca_file};
	struct http_client *client = http_client_new(&loop, &options);
	cr_assert(client != NULL);
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/", port);
	call->request.url = url;
	call->request.username = "AC1";
	call->request.password = "pw";
	call->request.done = on_done;
	call->request.data = call;
	cr_assert_eq(http_client_start(client, &call->request), 0);
	while (!call->done)
		turn_run(&loop);
	http_client_close(client, on_closed, &closed);
	while (!closed)
		turn_run(&loop);
}

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

Test(http_client_tls, a_trusted_certificate_with_the_right_name_is_accepted)
{
	struct tls_peer *peer = tls_peer_new("IP:127.0.0.1", ANSWER);
	struct call call = {.request = {.method = HTTP_GET}};
	fetch(&call, tls_peer_certificate(peer), tls_peer_port(peer));
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_assert(slice_equal(call.request.collected, SLICE("hello")));
	http_client_request_release(&call.request);
	cr_assert_eq(tls_peer_close(peer), 1);
}

Test(http_client_tls, a_stranger_or_another_name_gets_no_request)
{
	struct tls_peer *stranger = tls_peer_new("IP:127.0.0.1", ANSWER);
	struct tls_peer *other = tls_peer_new("DNS:other.example", ANSWER);
	struct call call = {.request = {.method = HTTP_GET}}, named = {.request = {.method = HTTP_GET}};
	fetch(&call, NULL, tls_peer_port(stranger));
	cr_assert_eq(call.status, ERR_TLS, "%s", call.request.error.detail);
	fetch(&named, tls_peer_certificate(other), tls_peer_port(other));
	cr_assert_eq(named.status, ERR_TLS, "%s", named.request.error.detail);
	cr_assert_eq(call.request.http_status + named.request.http_status, 0);
	http_client_request_release(&call.request);
	http_client_request_release(&named.request);
	cr_assert_eq(tls_peer_close(stranger), 0);
	cr_assert_eq(tls_peer_close(other), 0);
}

Test(http_client_tls, https_is_not_redirected_to_http)
{
	char answer[256];
	const struct peer_script scripts[] = {{.answer = ANSWER}};
	struct peer *plain = peer_new(&loop, "127.0.0.1", scripts, 1);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		 peer_port(plain));
	struct tls_peer *peer = tls_peer_new("IP:127.0.0.1", answer);
	struct call call = {.request = {.max_redirects = 3}};
	fetch(&call, tls_peer_certificate(peer), tls_peer_port(peer));
	cr_assert_eq(call.status, ERR_REDIRECT, "%s", call.request.error.detail);
	cr_assert_eq(peer_requests(plain), 0);
	http_client_request_release(&call.request);
	cr_assert_eq(tls_peer_close(peer), 1);
	peer_close(plain);
}

Test(http_client_tls, a_handshake_that_never_ends_is_a_connect_error)
{
	const struct peer_script scripts[] = {{.hang = true, .answer = ""}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.connect_timeout_ms = 100, .stall_timeout_ms = 20}};
	fetch(&call, NULL, peer_port(peer));
	cr_assert_eq(call.status, ERR_CONNECT, "%s", call.request.error.detail);
	http_client_request_release(&call.request);
	peer_close(peer);
}

Test(http_client_tls, a_missing_ca_file_is_named)
{
	const struct peer_script scripts[] = {{.answer = ANSWER, .close = true}};
	struct peer *peer = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct call call = {.request = {.connect_timeout_ms = 300}};
	fetch(&call, "/nonexistent/ca.pem", peer_port(peer));
	cr_assert_eq(call.status, ERR_TLS, "%d %s", call.status, call.request.error.detail);
	cr_assert(strstr(call.request.error.detail, "/nonexistent/ca.pem") != NULL, "%s", call.request.error.detail);
	http_client_request_release(&call.request);
	peer_close(peer);
}
