/* SPDX-License-Identifier: MIT */
/* Where a redirect may lead, with which credentials, and what a proxy changes about it. 127.0.0.2 plays the public network. */
#include "adapters/address.h"
#include "adapters/http_client.h"
#include "base/check.h"
#include "base/turn.h"
#include "loop/support/connect_proxy.h"
#include "loop/support/peer.h"
#include "loop/support/tls_peer.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"
#define OK_CLOSE "HTTP/1.1 200 OK\r\nContent-Type: audio/x-wav\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"

static uv_loop_t loop;

static void set_up(void)
{
	static const char *const variables[] = {"http_proxy",  "https_proxy", "all_proxy", "no_proxy",
						"HTTPS_PROXY", "ALL_PROXY",   "NO_PROXY"};
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	REQUIRE(uv_loop_init(&loop) == 0);
}

static void tear_down(void)
{
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
}

TestSuite(http_client_redirect, .init = set_up, .fini = tear_down, .timeout = 30);

static bool second_is_public(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET && ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(0x7f000002))
		return false;
	return address_is_private(address);
}

static void set_flag(void *data)
{
	*(bool *)data = true;
}

static struct http_client *client_new(const char *ca_file)
{
	const struct http_client_options options = {.address_is_private = second_is_public, .ca_file = ca_file};
	struct http_client *client = http_client_new(&loop, &options);
	REQUIRE(client != NULL);
	return client;
}

static void client_close(struct http_client *client)
{
	bool closed = false;
	http_client_close(client, set_flag, &closed);
	while (!closed)
		turn_run(&loop);
}

struct call {
	struct http_client_request request;
	unsigned done;
	int status;
};

static void on_done(struct http_client_request *request, int status)
{
	struct call *call = request->data;
	call->done++;
	call->status = status;
}

/* The answer lives until the request is released. */
static int fetch(struct http_client *client, struct call *call, const char *url)
{
	call->request.url = url;
	call->request.username = "AC1";
	call->request.password = "pw";
	call->request.max_redirects = 3;
	call->request.done = on_done;
	call->request.data = call;
	cr_assert_eq(http_client_start(client, &call->request), 0, "%s", url);
	while (call->done == 0)
		turn_run(&loop);
	cr_assert_eq(call->done, 1);
	cr_assert(call->status == 0 || strstr(call->request.error.detail, "pw") == NULL);
	return call->status;
}

static const char *url_of(char out[128], const char *scheme, const char *host, int port)
{
	snprintf(out, 128, "%s://%s:%d/", scheme, host, port);
	return out;
}

Test(http_client_redirect, a_private_address_is_refused_in_whatever_form_it_is_written)
{
	static const char *const hosts[] = {
		"127.0.0.1",       "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "127.1",
		"[::ffff:7f00:1]", "[::1]",     "[64:ff9b::7f00:1]",  "0",          "[::]"};
	const struct peer_script inner_scripts[] = {{.answer = OK}};
	struct peer *inner = peer_new(&loop, "127.0.0.1", inner_scripts, 1);
	struct http_client *client = client_new(NULL);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		char answer[256], url[128];
		snprintf(answer, sizeof(answer),
			 "HTTP/1.1 302 Found\r\nLocation: http://%s:%d/latest/meta-data\r\nContent-Length: 0\r\n\r\n", hosts[i],
			 peer_port(inner));
		const struct peer_script scripts[] = {{.answer = answer}};
		struct peer *outer = peer_new(&loop, "127.0.0.2", scripts, 1);
		struct call call = {0};
		cr_assert_eq(fetch(client, &call, url_of(url, "http", "127.0.0.2", peer_port(outer))), ERR_REDIRECT, "%s: %d %s",
			     hosts[i], call.status, call.request.error.detail);
		cr_assert(strstr(call.request.error.detail, "private address") != NULL, "%s", call.request.error.detail);
		cr_assert_eq(peer_requests(outer), 1);
		http_client_request_release(&call.request);
		peer_close(outer);
	}
	cr_assert_eq(peer_requests(inner), 0);
	peer_close(inner);
	client_close(client);
}

Test(http_client_redirect, the_first_host_may_have_to_be_public)
{
	const struct peer_script scripts[] = {{.answer = OK}};
	struct peer *inner = peer_new(&loop, "127.0.0.1", scripts, 1);
	struct peer *outer = peer_new(&loop, "127.0.0.2", scripts, 1);
	struct http_client *client = client_new(NULL);
	char url[128];
	struct call call = {.request = {.public_only = true}};
	cr_assert_eq(fetch(client, &call, url_of(url, "http", "127.0.0.2", peer_port(outer))), 0);
	http_client_request_release(&call.request);
	for (int i = 0; i < 2; i++) {
		/* A name is judged by where it leads; at the second time a connection to there is kept. */
		call = (struct call){.request = {.public_only = true}};
		cr_assert_eq(fetch(client, &call, url_of(url, "http", "localhost", peer_port(inner))), ERR_CONNECT);
		cr_assert(strstr(call.request.error.detail, "localhost: the name leads to a private address") != NULL, "%s",
			  call.request.error.detail);
		cr_assert_eq(peer_requests(inner), (unsigned)i);
		http_client_request_release(&call.request);
		call = (struct call){0};
		cr_assert_eq(fetch(client, &call, url_of(url, "http", "localhost", peer_port(inner))), 0);
		http_client_request_release(&call.request);
	}
	peer_close(inner);
	peer_close(outer);
	client_close(client);
}

Test(http_client_redirect, a_location_with_credentials_is_refused)
{
	static const char *const formats[] = {"http://user:word@127.0.0.2:%d/", "http://user@127.0.0.2:%d/",
					      "//user:word@127.0.0.2:%d/",      "http://:word@127.0.0.2:%d/",
					      "http:/user@127.0.0.2:%d/",       "HTTP://a:b%%40c@127.0.0.2:%d/"};
	const struct peer_script target_scripts[] = {{.answer = OK}};
	struct peer *target = peer_new(&loop, "127.0.0.2", target_scripts, 1);
	struct http_client *client = client_new(NULL);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		char location[128], answer[256], url[128];
		snprintf(location, sizeof(location), formats[i], peer_port(target));
		snprintf(answer, sizeof(answer), "HTTP/1.1 307 There\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", location);
		const struct peer_script scripts[] = {{.answer = answer}};
		struct peer *outer = peer_new(&loop, "127.0.0.2", scripts, 1);
		struct call call = {0};
		cr_assert_eq(fetch(client, &call, url_of(url, "http", "127.0.0.2", peer_port(outer))), ERR_REDIRECT, "%s: %d",
			     location, call.status);
		cr_assert(strstr(call.request.error.detail, "credentials") != NULL, "%s", call.request.error.detail);
		cr_assert(strstr(call.request.error.detail, "word") == NULL, "%s", call.request.error.detail);
		http_client_request_release(&call.request);
		peer_close(outer);
	}
	cr_assert_eq(peer_requests(target), 0);
	/* An @ in path or query is none. */
	char answer[256], url[128];
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 307 There\r\nLocation: http://127.0.0.2:%d/a@b?c@d\r\nContent-Length: 0\r\n\r\n", peer_port(target));
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 307 There\r\nLocation: /x@y\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = answer}};
	struct peer *outer = peer_new(&loop, "127.0.0.2", scripts, 2);
	struct call call = {0};
	cr_assert_eq(fetch(client, &call, url_of(url, "http", "127.0.0.2", peer_port(outer))), 0, "%s",
		     call.request.error.detail);
	cr_assert_eq(peer_requests(target), 1);
	cr_assert(strstr(peer_request(target, 0), "Authorization") == NULL, "%s", peer_request(target, 0));
	http_client_request_release(&call.request);
	peer_close(outer);
	peer_close(target);
	client_close(client);
}

Test(http_client_redirect, every_redirect_is_followed_with_get)
{
	static const int statuses[] = {301, 302, 303, 307, 308};
	char answers[5][128], url[128];
	struct http_client *client = client_new(NULL);
	for (size_t i = 0; i < 5; i++) {
		snprintf(answers[i], sizeof(answers[i]), "HTTP/1.1 %d There\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n",
			 statuses[i]);
		const struct peer_script scripts[] = {{.answer = answers[i]}, {.answer = OK}};
		struct peer *peer = peer_new(&loop, "127.0.0.2", scripts, 2);
		struct call call = {0};
		cr_assert_eq(fetch(client, &call, url_of(url, "http", "127.0.0.2", peer_port(peer))), 0);
		cr_assert(strncmp(peer_request(peer, 1), "GET /next HTTP/1.1\r\n", 20) == 0, "%s", peer_request(peer, 1));
		http_client_request_release(&call.request);
		peer_close(peer);
	}
	client_close(client);
}

Test(http_client_redirect, credentials_stay_behind_at_another_port_or_scheme_of_the_same_host)
{
	char answer[256], url[128], head[4096];
	struct tls_peer *target = tls_peer_new("IP:127.0.0.1", OK_CLOSE);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 302 There\r\nLocation: https://127.0.0.1:%d/media\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		 tls_peer_port(target));
	const struct peer_script scripts[] = {{.answer = answer}};
	struct peer *plain = peer_new(&loop, "127.0.0.1", scripts, 1);
	/* The two TLS peers have a certificate each; one file holds both. */
	struct tls_peer *first = tls_peer_new("IP:127.0.0.1", answer);
	char bundle[] = "/tmp/reeld-bundle-XXXXXX", line[4096];
	int fd = mkstemp(bundle);
	FILE *out = fdopen(fd, "w");
	const char *const files[] = {tls_peer_certificate(target), tls_peer_certificate(first)};
	for (size_t i = 0; i < 2; i++) {
		FILE *in = fopen(files[i], "r");
		REQUIRE(in != NULL && out != NULL);
		while (fgets(line, sizeof(line), in) != NULL)
			fputs(line, out);
		fclose(in);
	}
	fclose(out);
	struct http_client *client = client_new(bundle);
	for (int i = 0; i < 2; i++) {
		struct call call = {0};
		url_of(url, i == 0 ? "http" : "https", "127.0.0.1", i == 0 ? peer_port(plain) : tls_peer_port(first));
		cr_assert_eq(fetch(client, &call, url), 0, "%s", call.request.error.detail);
		tls_peer_request(target, head, sizeof(head));
		cr_assert(strncmp(head, "GET /media ", 11) == 0, "%s", head);
		cr_assert(strstr(head, "Authorization") == NULL, "%s", head);
		http_client_request_release(&call.request);
	}
	tls_peer_request(first, head, sizeof(head));
	cr_assert(strstr(head, "Authorization: Basic") != NULL, "%s", head);
	client_close(client);
	unlink(bundle);
	peer_close(plain);
	cr_assert_eq(tls_peer_close(first), 1);
	cr_assert_eq(tls_peer_close(target), 2);
}

/* ---- Proxies ---- */

static void use_proxy(const char *variable, const char *host, int port)
{
	char url[128];
	setenv(variable, url_of(url, "http", host, port), 1);
}

Test(http_client_redirect, behind_a_proxy_no_redirect_goes_past_it_to_a_private_address)
{
	const struct peer_script inner_scripts[] = {{.answer = OK}};
	struct peer *inner = peer_new(&loop, "127.0.0.1", inner_scripts, 1);
	char past[256], through[256];
	snprintf(past, sizeof(past), "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n",
		 peer_port(inner));
	snprintf(through, sizeof(through), "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n");
	const struct peer_script scripts[] = {{.answer = past}, {.answer = through}, {.answer = OK}};
	/* The proxy itself is on this machine, as they often are. */
	struct peer *proxy = peer_new(&loop, "127.0.0.1", scripts, 3);
	struct http_client *client = client_new(NULL);
	use_proxy("http_proxy", "127.0.0.1", peer_port(proxy));
	setenv("no_proxy", "127.0.0.1", 1);

	struct call call = {0};
	cr_assert_eq(fetch(client, &call, "http://api.test/"), ERR_REDIRECT, "%d %s", call.status, call.request.error.detail);
	cr_assert_eq(peer_requests(inner), 0);
	http_client_request_release(&call.request);
	/* What goes through the proxy is the proxy's to allow; public_only cannot know. */
	call = (struct call){.request = {.public_only = true}};
	cr_assert_eq(fetch(client, &call, "http://api.test/"), 0, "%s", call.request.error.detail);
	cr_assert(strncmp(peer_request(proxy, 1), "GET http://api.test/ ", 21) == 0, "%s", peer_request(proxy, 1));
	cr_assert(strncmp(peer_request(proxy, 2), "GET http://elsewhere.test/ ", 27) == 0, "%s", peer_request(proxy, 2));
	cr_assert(strstr(peer_request(proxy, 2), "Authorization") == NULL, "%s", peer_request(proxy, 2));
	http_client_request_release(&call.request);
	/* A base that is private by its own URL may still redirect within its network. */
	char home_answer[256], url[128];
	snprintf(home_answer, sizeof(home_answer),
		 "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n", peer_port(inner));
	const struct peer_script home_scripts[] = {{.answer = home_answer}};
	struct peer *home = peer_new(&loop, "127.0.0.1", home_scripts, 1);
	call = (struct call){0};
	cr_assert_eq(fetch(client, &call, url_of(url, "http", "127.0.0.1", peer_port(home))), 0, "%s", call.request.error.detail);
	cr_assert_eq(peer_requests(inner), 1);
	http_client_request_release(&call.request);
	peer_close(home);
	peer_close(proxy);
	peer_close(inner);
	client_close(client);
}

Test(http_client_redirect, a_tunnel_is_encrypted_to_the_server_and_its_own_answer_is_nobodys)
{
	struct tls_peer *server = tls_peer_new("DNS:api.test", OK_CLOSE);
	struct connect_proxy *proxy = connect_proxy_new(tls_peer_port(server));
	struct http_client *client = client_new(tls_peer_certificate(server));
	char head[4096];
	use_proxy("https_proxy", "127.0.0.1", connect_proxy_port(proxy));
	struct call call = {.request = {.public_only = true}};
	cr_assert_eq(fetch(client, &call, "https://api.test/media"), 0, "%s", call.request.error.detail);
	cr_assert_eq(call.request.http_status, 200);
	cr_assert_str_eq(call.request.content_type, "audio/x-wav");
	cr_assert_eq(call.request.content_length, 6);
	cr_assert(slice_equal(call.request.collected, SLICE("secret")));
	http_client_request_release(&call.request);
	client_close(client);
	cr_assert_eq(connect_proxy_close(proxy, head, sizeof(head)), 1);
	cr_assert(strncmp(head, "CONNECT api.test:443 ", 21) == 0, "%s", head);
	cr_assert(strstr(head, "uthorization") == NULL, "%s", head);
	cr_assert_eq(tls_peer_close(server), 1);
}
