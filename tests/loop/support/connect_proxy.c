/* SPDX-License-Identifier: MIT */
#include "loop/support/connect_proxy.h"

#include "base/check.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct connect_proxy {
	int listener;
	int port;
	int target_port;
	unsigned tunnels;
	char head[4096];
	pthread_t thread;
};

static bool read_head(struct connect_proxy *proxy, int fd)
{
	size_t len = 0;
	while (len < sizeof(proxy->head) - 1) {
		ssize_t count = read(fd, proxy->head + len, sizeof(proxy->head) - 1 - len);
		if (count <= 0)
			return false;
		len += (size_t)count;
		proxy->head[len] = '\0';
		if (strstr(proxy->head, "\r\n\r\n") != NULL)
			return true;
	}
	return false;
}

/* False when this direction is over. */
static bool move_bytes(int from, int to)
{
	char bytes[4096];
	ssize_t count = read(from, bytes, sizeof(bytes));
	return count > 0 && send(to, bytes, (size_t)count, MSG_NOSIGNAL) == count;
}

static void relay(int a, int b)
{
	struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
	while (poll(fds, 2, -1) > 0) {
		if (fds[0].revents != 0 && !move_bytes(a, b))
			return;
		if (fds[1].revents != 0 && !move_bytes(b, a))
			return;
	}
}

static void *run(void *data)
{
	static const char answer[] = "HTTP/1.1 200 Connection established\r\nContent-Type: text/x-proxy\r\nX-Proxy: yes\r\n\r\n";
	struct connect_proxy *proxy = data;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd;
	at.sin_port = htons((uint16_t)proxy->target_port);
	while ((fd = accept(proxy->listener, NULL, NULL)) >= 0) {
		int onward = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (read_head(proxy, fd) && connect(onward, (struct sockaddr *)&at, sizeof(at)) == 0 &&
		    write(fd, answer, sizeof(answer) - 1) == (ssize_t)sizeof(answer) - 1) {
			proxy->tunnels++;
			relay(fd, onward);
		}
		close(onward);
		close(fd);
	}
	return NULL;
}

struct connect_proxy *connect_proxy_new(int target_port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	struct connect_proxy *proxy = calloc(1, sizeof(*proxy));
	REQUIRE(proxy != NULL);
	proxy->target_port = target_port;
	proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(proxy->listener >= 0 && bind(proxy->listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
		listen(proxy->listener, 8) == 0 && getsockname(proxy->listener, (struct sockaddr *)&at, &len) == 0);
	proxy->port = ntohs(at.sin_port);
	REQUIRE(pthread_create(&proxy->thread, NULL, run, proxy) == 0);
	return proxy;
}

int connect_proxy_port(const struct connect_proxy *proxy)
{
	return proxy->port;
}

unsigned connect_proxy_close(struct connect_proxy *proxy, char *head, size_t size)
{
	shutdown(proxy->listener, SHUT_RDWR);
	pthread_join(proxy->thread, NULL);
	unsigned tunnels = proxy->tunnels;
	if (head != NULL)
		snprintf(head, size, "%s", proxy->head);
	close(proxy->listener);
	free(proxy);
	return tunnels;
}
