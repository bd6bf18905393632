/* SPDX-License-Identifier: MIT */
#include "redis_server.h"

#include "base/check.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_NS (20 * UINT64_C(1000000000))

static int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0);
	REQUIRE(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	close(fd);
	return ntohs(address.sin_port);
}

static _Noreturn void run_server(const struct redis_server *server)
{
	char port[16];
	/* clang-format off */
	const char *const arguments[] = {
		"redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", server->socket, "--dir", server->directory,
		"--save", "", "--appendonly", "no", "--daemonize", "no", NULL,
	};
	/* clang-format on */
	snprintf(port, sizeof(port), "%d", server->port);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	close_range(3, ~0U, 0); /* those of the test are not its business */
	execvp(arguments[0], (char *const *)arguments);
	_exit(127);
}

/* On its socket, which is its own; somebody else may have taken the port. */
static bool listens(const struct redis_server *server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return connected;
}

/* False: it ended, as when the port was taken meanwhile. */
static bool try_start(struct redis_server *server, uint64_t deadline)
{
	unlink(server->socket);
	server->pid = fork();
	REQUIRE(server->pid >= 0);
	if (server->pid == 0)
		run_server(server);
	while (!listens(server)) {
		REQUIRE(clock_mono_ns() < deadline);
		if (waitpid(server->pid, NULL, WNOHANG) != 0)
			return false;
		poll(NULL, 0, 2);
	}
	return true;
}

void redis_server_start(struct redis_server *server)
{
	uint64_t deadline = clock_mono_ns() + START_NS;
	bool again = server->directory[0] != '\0';
	if (!again) {
		snprintf(server->directory, sizeof(server->directory), "/tmp/reeld-redis-XXXXXX");
		REQUIRE(mkdtemp(server->directory) != NULL);
		snprintf(server->socket, sizeof(server->socket), "%s/socket", server->directory);
	}
	do {
		server->port = again ? server->port : free_port();
	} while (!try_start(server, deadline));
}

void redis_server_signal(struct redis_server *server, int number)
{
	REQUIRE(server->pid > 0 && kill(server->pid, number) == 0);
}

void redis_server_kill(struct redis_server *server)
{
	if (server->pid <= 0)
		return;
	if (server->admin != NULL)
		redisFree(server->admin);
	server->admin = NULL;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void redis_server_remove(struct redis_server *server)
{
	char dump[128];
	redis_server_kill(server);
	snprintf(dump, sizeof(dump), "%s/dump.rdb", server->directory);
	unlink(dump);
	unlink(server->socket);
	rmdir(server->directory);
}

static const char *as_text(redisContext *context, const char *format, va_list arguments)
{
	static char text[4096];
	char line[4096];
	const char *words[64];
	int count = 0;
	char *rest = line;
	REQUIRE((size_t)vsnprintf(line, sizeof(line), format, arguments) < sizeof(line));
	for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " "))
		words[count++] = word;
	redisReply *reply = redisCommandArgv(context, count, words, NULL);
	REQUIRE(reply != NULL);
	if (reply->type == REDIS_REPLY_INTEGER)
		snprintf(text, sizeof(text), "%lld", reply->integer);
	else
		snprintf(text, sizeof(text), "%s", reply->str == NULL ? "(nil)" : reply->str);
	freeReplyObject(reply);
	return text;
}

const char *redis_server_do(struct redis_server *server, const char *format, ...)
{
	va_list arguments;
	if (server->admin == NULL) {
		redisContext *context = redisConnectUnix(server->socket);
		REQUIRE(context != NULL && context->err == 0);
		server->admin = context;
	}
	va_start(arguments, format);
	const char *text = as_text(server->admin, format, arguments);
	va_end(arguments);
	return text;
}
