/* SPDX-License-Identifier: MIT */
/* The server's life: listening, limits, draining, closing at every turn, and what idle connections cost. */
#include "base/check.h"
#include "loop/intake/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(listener, .init = fixture_init, .fini = fixture_fini, .timeout = 120);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"

Test(listener, bad_addresses_are_named)
{
	static const struct {
		const char *address;
		const char *message;
	} rows[] = {
		{"8080", "want address:port"},
		{"127.0.0.1:", "port must be a number"},
		{"127.0.0.1:http", "port must be a number"},
		{"127.0.0.1:65536", "port must be a number"},
		{"127.0.0.1:-1", "port must be a number"},
		{"example.com:80", "not an IPv4 address"},
		{"[::1:80", "not an IPv4 address"},
		{"::1:80", "not an IPv4 address"},
		{"192.0.2.1:80", "cannot listen"},
	};
	fixture_start();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {0};
		cr_assert_lt(server_listen(fixture.server, rows[i].address, &error), 0, "%s", rows[i].address);
		cr_assert_not_null(strstr(error.detail, rows[i].message), "%s: %s", rows[i].address, error.detail);
		cr_assert_not_null(strstr(error.detail, rows[i].address), "%s", error.detail);
	}
}

Test(listener, address_in_use_is_named)
{
	char address[64];
	struct error error = {0};
	fixture_start();
	snprintf(address, sizeof(address), "127.0.0.1:%d", server_port(fixture.server));
	struct server *other = server_new(&fixture.loop, &fixture.options);
	cr_assert_lt(server_listen(other, address, &error), 0);
	cr_assert_not_null(strstr(error.detail, "another program"), "%s", error.detail);
	server_close(other, NULL, NULL);
}

/* As workers do: the socket is bound once, and each has a descriptor of it. */
Test(listener, two_servers_on_one_bound_socket_take_its_connections_and_one_goes_on_alone)
{
	struct error error = {0};
	int fd;
	cr_assert_eq(server_bind("127.0.0.1:0", &fd, &error), 0, "%s", error.detail);
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	struct server *other = server_new(&fixture.loop, &fixture.options);
	fixture.server = server_new(&fixture.loop, &fixture.options);
	cr_assert_eq(server_listen_bound(other, "127.0.0.1:0", dup(fd), &error), 0, "%s", error.detail);
	cr_assert_eq(server_listen_bound(fixture.server, "127.0.0.1:0", fd, &error), 0, "%s", error.detail);
	cr_assert_neq(server_port(fixture.server), 0);
	cr_expect_eq(server_port(other), server_port(fixture.server));
	server_close(other, NULL, NULL);
	for (int i = 0; i < 10; i++) {
		struct raw_client client;
		raw_connect(&client);
		raw_expect(&client, GET("/now"), "now");
		raw_close(&client);
	}
}

Test(listener, an_address_that_cannot_be_bound_is_named)
{
	struct error error = {0};
	char address[64];
	int fd;
	cr_expect_lt(server_bind("here:80", &fd, &error), 0);
	cr_expect_not_null(strstr(error.detail, "here"), "%s", error.detail);
	fixture_start();
	snprintf(address, sizeof(address), "127.0.0.1:%d", server_port(fixture.server));
	cr_expect_lt(server_bind(address, &fd, &error), 0);
	cr_expect_eq(fd, -1);
	cr_expect_not_null(strstr(error.detail, address), "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, "another program"), "%s", error.detail);
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 address;
	uv_ip6_addr("::1", 0, &address);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	if (fd >= 0)
		close(fd);
	return has;
}

Test(listener, brackets_listen_on_both_families)
{
	struct error error = {0};
	struct raw_client client;
	if (!has_ipv6())
		cr_skip_test("no IPv6 here");
	fixture.server = server_new(&fixture.loop, &fixture.options);
	cr_assert_eq(server_listen(fixture.server, "[::]:0", &error), 0, "%s", error.detail);
	raw_connect(&client);
	raw_expect(&client, GET("/now"), "now");
	raw_close(&client);
}

Test(listener, further_connections_are_told_and_closed)
{
	struct raw_client clients[3];
	struct raw_client extra;
	fixture.options.max_connections = 3;
	fixture_start();
	for (int i = 0; i < 3; i++)
		raw_connect(&clients[i]);
	TURN_UNTIL(fixture_connections() == 3);
	for (int i = 0; i < 5; i++) {
		raw_connect(&extra);
		raw_expect_end(&extra, "HTTP/1.1 503 ");
		cr_assert(raw_has(&extra, "Content-Length: 32\r\n") &&
			  raw_has(&extra, "\r\n\r\n{\"error\":\"Too many connections\"}"));
		raw_close(&extra);
		cr_assert_eq(fixture_connections(), 3);
	}
	cr_assert_eq(fixture_closed_for("limit"), 5);
	raw_expect(&clients[1], GET("/now"), "now");
	raw_close(&clients[0]);
	TURN_UNTIL(fixture_connections() == 2);
	raw_connect(&extra);
	raw_expect(&extra, GET("/now"), "now");
	raw_close(&extra);
	raw_close(&clients[1]);
	raw_close(&clients[2]);
}

Test(listener, memory_for_unfinished_requests_is_bounded)
{
	struct raw_client clients[3];
	fixture.options.max_buffered = 8192;
	fixture_start();
	for (int i = 0; i < 3; i++) {
		raw_connect(&clients[i]);
		raw_send_text(&clients[i], "GET /now HTTP/1.1\r\n");
		for (int turns = 0; turns < 5; turns++)
			fixture_turn();
	}
	raw_expect_end(&clients[2], "HTTP/1.1 503 ");
	cr_assert_eq(fixture_closed_for("memory"), 0, "still lingering");
	raw_expect(&clients[0], "Host: t\r\n\r\n", "now");
	for (int i = 0; i < 3; i++)
		raw_close(&clients[i]);
	TURN_UNTIL(fixture_closed_for("memory") == 1);
}

/* The kernel completes the connection; nobody has accepted it yet. */
static int connect_blocking(void)
{
	struct sockaddr_in address;
	uv_ip4_addr("127.0.0.1", server_port(fixture.server), &address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

Test(listener, full_descriptor_table_sheds_connections_and_recovers)
{
	struct rlimit limit;
	struct raw_client client;
	struct raw_client other;
	int shed[4];
	fixture_start();
	raw_connect(&client);
	raw_expect(&client, GET("/now"), "now");
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	rlim_t before = limit.rlim_cur;
	for (int i = 0; i < 4; i++)
		shed[i] = connect_blocking();
	limit.rlim_cur = (rlim_t)shed[3] + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 4; i++) {
		char byte;
		TURN_UNTIL(recv(shed[i], &byte, 1, MSG_DONTWAIT) == 0);
	}
	raw_expect(&client, GET("/echo"), "GET /echo");
	limit.rlim_cur = before;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	raw_connect(&other);
	raw_expect(&other, GET("/now"), "now");
	raw_close(&other);
	raw_close(&client);
	for (int i = 0; i < 4; i++)
		close(shed[i]);
}

Test(listener, drain_closes_idle_ones_and_lets_busy_ones_finish)
{
	struct raw_client idle;
	struct raw_client busy;
	struct raw_client half;
	fixture_start();
	raw_connect(&idle);
	raw_expect(&idle, GET("/now"), "now");
	raw_connect(&busy);
	raw_send_text(&busy, GET("/later"));
	TURN_UNTIL(fixture.waiting_count == 1);
	raw_connect(&half);
	raw_send_text(&half, "GET /now HTTP/1.1\r\n");
	for (int i = 0; i < 5; i++)
		fixture_turn();
	server_drain(fixture.server);
	TURN_UNTIL(idle.ended);
	cr_assert_eq(idle.error, 0);
	cr_assert_eq(fixture_closed_for("drain"), 1);
	cr_assert_eq(fixture_connections(), 2);
	cr_assert_eq(server_busy(fixture.server), 1);
	raw_send_text(&half, "Host: t\r\n\r\n");
	raw_expect_end(&half, "HTTP/1.1 200 OK\r\n");
	cr_assert(raw_has(&half, "Connection: close\r\n"));
	fixture_answer_next();
	raw_expect_end(&busy, "HTTP/1.1 200 OK\r\n");
	cr_assert(raw_has(&busy, "Connection: close\r\n"));
	raw_close(&idle);
	raw_close(&busy);
	raw_close(&half);
	TURN_UNTIL(fixture_connections() == 0);
}

Test(listener, closes_cleanly_at_every_turn)
{
	static const char *const scripts[] = {
		"",
		"GET /n",
		GET("/now"),
		GET("/later") GET("/later"),
		GET("/close"),
		"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nhalf",
		"BAD\r\n\r\n",
		GET("/abort"),
	};
	enum { SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };
	for (int turns = 0; turns < 25; turns++) {
		struct raw_client clients[SCRIPTS];
		fixture.closed = false;
		fixture_start();
		for (int i = 0; i < SCRIPTS; i++) {
			raw_connect(&clients[i]);
			if (scripts[i][0] != '\0')
				raw_send_text(&clients[i], scripts[i]);
		}
		for (int i = 0; i < turns; i++) {
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
			if (turns % 2 == 1 && fixture.waiting_count > 0)
				fixture_answer_next();
		}
		bool waits = fixture.waiting_count > 0;
		fixture_close_server();
		for (int i = 0; i < 5; i++)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		cr_assert_neq(fixture.closed, waits, "turn %d: closed before the last reply was given", turns);
		while (fixture.waiting_count > 0)
			fixture_answer_next();
		TURN_UNTIL(fixture.closed);
		cr_assert_eq(fixture.gauge.value, 0);
		for (int i = 0; i < SCRIPTS; i++)
			raw_close(&clients[i]);
	}
}

/* Resident bytes of this process. */
static size_t resident(void)
{
	unsigned long pages = 0;
	unsigned long shared = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	REQUIRE(file != NULL);
	REQUIRE(fscanf(file, "%*u %lu %lu", &pages, &shared) == 2);
	fclose(file);
	return (size_t)(pages - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

/* The clients' ends live in a process of their own. Sends one request on each connection, then waits for the end of `control`. Some at once: on a
 * busy machine each wait for the other process is long. */
static void many_clients(int port, int count, int control)
{
	enum { AT_ONCE = 50 };
	struct sockaddr_in address;
	char answer[4096];
	int fds[AT_ONCE];
	uv_ip4_addr("127.0.0.1", port, &address);
	for (int i = 0; i < count; i += AT_ONCE) {
		for (int k = 0; k < AT_ONCE; k++) {
			fds[k] = socket(AF_INET, SOCK_STREAM, 0);
			if (fds[k] < 0 || connect(fds[k], (struct sockaddr *)&address, sizeof(address)) != 0 ||
			    write(fds[k], GET("/now"), sizeof(GET("/now")) - 1) < 0)
				_exit(1);
		}
		for (int k = 0; k < AT_ONCE; k++) {
			if (read(fds[k], answer, sizeof(answer)) <= 0)
				_exit(1);
		}
	}
	_exit(read(control, answer, 1) == 0 ? 0 : 1);
}

Test(listener, idle_connections_cost_less_than_two_kilobytes_each)
{
	enum { COUNT = 4000 };
	struct rlimit limit;
	int control[2];
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < COUNT + 100)
		cr_skip_test("too few descriptors here");
	limit.rlim_cur = limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fixture.options.max_connections = COUNT;
	fixture.options.pool_data_size = 1024;
	fixture.options.idle_timeout_ms = 100000;
	fixture_start();
	struct raw_client warm;
	raw_connect(&warm);
	raw_expect(&warm, GET("/now"), "now");
	raw_close(&warm);
	TURN_UNTIL(fixture_connections() == 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, control), 0);
	size_t before = resident();
	pid_t child = fork();
	if (child == 0) {
		close(control[0]);
		many_clients(server_port(fixture.server), COUNT, control[1]);
	}
	close(control[1]);
	TURN_UNTIL(fixture_connections() == COUNT && fixture.requests == COUNT + 1);
	size_t each = (resident() - before) / COUNT;
	cr_log_info("an idle connection costs %zu bytes", each);
#if !defined(__SANITIZE_ADDRESS__)
	cr_assert_lt(each, 2048, "%zu bytes each", each);
#endif
	close(control[0]);
	TURN_UNTIL(fixture_connections() == 0);
	int status;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
}
