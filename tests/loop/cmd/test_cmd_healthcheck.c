/* SPDX-License-Identifier: MIT */
/* The command against a daemon that is well, ill, silent or not there; the daemon is a thread that answers each connection once. */
#include "cmd/cmd.h"
#include "loop/support/tls_peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1;
static int port;
static pthread_t thread;
static const char *answer; /* NULL: none, the connection ends */
static char asked[1024];

static void *serve(void *data)
{
	int fd = accept(listener, NULL, NULL);
	if (fd >= 0) {
		ssize_t len = recv(fd, asked, sizeof(asked) - 1, 0);
		if (len > 0 && answer != NULL)
			send(fd, answer, strlen(answer), MSG_NOSIGNAL);
		close(fd);
	}
	return data;
}

static void start(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	answer = text;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(listen(listener, 4), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	port = ntohs(address.sin_port);
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void teardown(void)
{
	if (listener < 0)
		return;
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
}

TestSuite(healthcheck, .init = cr_redirect_stderr, .fini = teardown, .timeout = 30);

static int check(const char *admin, const char *public, const char *certificate)
{
	char admin_listen[64];
	char listen_at[64];
	char *argv[] = {(char *)"healthcheck", NULL};
	struct config config = {.tls_cert = (char *)certificate};
	snprintf(listen_at, sizeof(listen_at), public, port);
	config.listen = listen_at;
	if (admin != NULL) {
		snprintf(admin_listen, sizeof(admin_listen), admin, port);
		config.admin_listen = admin_listen;
	}
	return cmd_healthcheck(&config, 1, argv);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

Test(healthcheck, asks_the_private_listener)
{
	start(OK);
	cr_assert_eq(check("127.0.0.1:%d", "127.0.0.1:9", NULL), CMD_OK);
	cr_assert_eq(strncmp(asked, "GET /healthz HTTP/1.1\r\n", 23), 0, "%s", asked);
}

Test(healthcheck, asks_the_public_one_where_there_is_no_private_one)
{
	start(OK);
	cr_assert_eq(check(NULL, "0.0.0.0:%d", NULL), CMD_OK);
}

Test(healthcheck, an_address_of_all_interfaces_is_asked_over_loopback)
{
	static const char *const addresses[] = {"0.0.0.0:%d", "[::]:%d", ":%d"};
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		start(OK);
		cr_assert_eq(check(addresses[i], "127.0.0.1:9", NULL), CMD_OK, "%s", addresses[i]);
		teardown();
	}
	listener = -1;
}

Test(healthcheck, fails_where_the_answer_is_no_200)
{
	static const char *const bad[] = {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					  "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					  "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					  "nonsense", NULL};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(bad[i]);
		cr_assert_eq(check("127.0.0.1:%d", "127.0.0.1:9", NULL), CMD_FAILED, "%zu", i);
		teardown();
	}
	listener = -1;
}

Test(healthcheck, says_whom_it_asked_where_nobody_is_there)
{
	port = 9;
	cr_assert_eq(check("127.0.0.1:%d", "127.0.0.1:9", NULL), CMD_FAILED);
	fflush(stderr);
	FILE *expected = cr_get_redirected_stderr();
	char text[256] = "";
	cr_assert_not_null(fgets(text, sizeof(text), expected));
	cr_assert_str_eq(text, "reeld healthcheck: http://127.0.0.1:9/healthz: connection refused or unreachable\n");
}

Test(healthcheck, does_not_wait_for_ever)
{
	char listen_at[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(listen(fd, 4), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	port = ntohs(address.sin_port);
	snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", port);
	cr_assert_eq(check("127.0.0.1:%d", "127.0.0.1:9", NULL), CMD_FAILED);
	close(fd);
}

/* TLS on the public listener, whose certificate is for the name that Twilio calls. */
Test(healthcheck, asks_over_https_where_that_is_all_there_is)
{
	struct tls_peer *peer = tls_peer_new("DNS:calls.example.com", OK);
	port = tls_peer_port(peer);
	cr_assert_eq(check(NULL, "0.0.0.0:%d", tls_peer_certificate(peer)), CMD_OK);
	cr_assert_eq(tls_peer_close(peer), 1);
}

Test(healthcheck, takes_no_words)
{
	char *argv[] = {(char *)"healthcheck", (char *)"now", NULL};
	struct config config = {.listen = (char *)"127.0.0.1:9"};
	cr_assert_eq(cmd_healthcheck(&config, 2, argv), CMD_USAGE);
}
