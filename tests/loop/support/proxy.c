/* SPDX-License-Identifier: MIT */
#include "loop/support/proxy.h"

#include "base/check.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

struct side {
	uv_tcp_t tcp; /* first */
	struct link *link;
	struct side *other;
	bool ready; /* connected */
	bool reading;
};

struct link {
	struct list list;
	struct proxy *proxy;
	struct side client;
	struct side server;
	uv_connect_t connect;
	unsigned handles;
	bool closing;
};

struct proxy {
	uv_loop_t *loop;
	int target;
	int port;
	uv_tcp_t *listener; /* NULL: down */
	struct list links;
	unsigned accepted;
	bool hanging;
	bool closing;
	const char *answer;
	size_t answer_len;
};

struct sending {
	uv_write_t request;
	struct link *link;
	bool last;
	char data[];
};

static void maybe_freed(struct proxy *proxy)
{
	if (proxy->closing && list_empty(&proxy->links))
		free(proxy);
}

static void on_side_closed(uv_handle_t *handle)
{
	struct link *link = ((struct side *)handle)->link;
	struct proxy *proxy = link->proxy;
	if (--link->handles > 0)
		return;
	list_remove(&link->list);
	free(link);
	maybe_freed(proxy);
}

static void cut(struct link *link)
{
	if (link->closing)
		return;
	link->closing = true;
	uv_close((uv_handle_t *)&link->client.tcp, on_side_closed);
	uv_close((uv_handle_t *)&link->server.tcp, on_side_closed);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	(void)handle;
	*buf = uv_buf_init(malloc(size), (unsigned)size);
}

static void on_sent(uv_write_t *request, int status)
{
	struct sending *sending = CONTAINER_OF(request, struct sending, request);
	if (status != 0 || sending->last)
		cut(sending->link);
	free(sending);
}

static void put(struct side *side, const char *data, size_t len, bool last)
{
	struct sending *sending = malloc(sizeof(*sending) + len);
	uv_buf_t buf = uv_buf_init(sending->data, (unsigned)len);
	sending->link = side->link;
	sending->last = last;
	memcpy(sending->data, data, len);
	if (uv_write(&sending->request, (uv_stream_t *)&side->tcp, &buf, 1, on_sent) != 0) {
		cut(side->link);
		free(sending);
	}
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
	struct side *side = (struct side *)stream;
	struct proxy *proxy = side->link->proxy;
	if (count < 0)
		cut(side->link);
	else if (count > 0 && proxy->answer != NULL && side == &side->link->client)
		put(side, proxy->answer, proxy->answer_len, true);
	else if (count > 0)
		put(side->other, buf->base, (size_t)count, false);
	free(buf->base);
}

/* Both ways, or neither. */
static void set_flow(struct link *link)
{
	struct side *sides[] = {&link->client, &link->server};
	bool flow = link->client.ready && link->server.ready && !link->proxy->hanging && !link->closing;
	for (size_t i = 0; i < 2; i++) {
		if (flow && !sides[i]->reading)
			uv_read_start((uv_stream_t *)&sides[i]->tcp, on_alloc, on_read);
		if (!flow && sides[i]->reading && !link->closing)
			uv_read_stop((uv_stream_t *)&sides[i]->tcp);
		sides[i]->reading = flow;
	}
}

static void on_connected(uv_connect_t *request, int status)
{
	struct link *link = CONTAINER_OF(request, struct link, connect);
	if (status != 0) {
		cut(link);
		return;
	}
	link->server.ready = true;
	set_flow(link);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct proxy *proxy = listener->data;
	struct link *link = calloc(1, sizeof(*link));
	struct sockaddr_in target;
	REQUIRE(status == 0 && link != NULL);
	link->proxy = proxy;
	link->client = (struct side){.link = link, .other = &link->server, .ready = true};
	link->server = (struct side){.link = link, .other = &link->client};
	uv_tcp_init(proxy->loop, &link->client.tcp);
	uv_tcp_init(proxy->loop, &link->server.tcp);
	link->handles = 2;
	list_append(&proxy->links, &link->list);
	proxy->accepted++;
	REQUIRE(uv_accept(listener, (uv_stream_t *)&link->client.tcp) == 0);
	uv_ip4_addr("127.0.0.1", proxy->target, &target);
	REQUIRE(uv_tcp_connect(&link->connect, &link->server.tcp, (const struct sockaddr *)&target, on_connected) == 0);
}

void proxy_up(struct proxy *proxy)
{
	struct sockaddr_in address;
	int len = sizeof(address);
	REQUIRE(proxy->listener == NULL);
	proxy->listener = malloc(sizeof(*proxy->listener));
	REQUIRE(proxy->listener != NULL);
	uv_tcp_init(proxy->loop, proxy->listener);
	proxy->listener->data = proxy;
	uv_ip4_addr("127.0.0.1", proxy->port, &address);
	REQUIRE(uv_tcp_bind(proxy->listener, (const struct sockaddr *)&address, 0) == 0);
	REQUIRE(uv_listen((uv_stream_t *)proxy->listener, 64, on_connection) == 0);
	REQUIRE(uv_tcp_getsockname(proxy->listener, (struct sockaddr *)&address, &len) == 0);
	proxy->port = ntohs(address.sin_port);
}

struct proxy *proxy_new(uv_loop_t *loop, int target_port)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));
	REQUIRE(proxy != NULL);
	proxy->loop = loop;
	proxy->target = target_port;
	list_init(&proxy->links);
	proxy_up(proxy);
	return proxy;
}

int proxy_port(const struct proxy *proxy)
{
	return proxy->port;
}

unsigned proxy_accepted(const struct proxy *proxy)
{
	return proxy->accepted;
}

void proxy_cut(struct proxy *proxy)
{
	for (struct list *at = proxy->links.next; at != &proxy->links; at = at->next)
		cut(LIST_ENTRY(at, struct link, list));
}

static void on_listener_closed(uv_handle_t *handle)
{
	free(handle);
}

void proxy_down(struct proxy *proxy)
{
	if (proxy->listener != NULL)
		uv_close((uv_handle_t *)proxy->listener, on_listener_closed);
	proxy->listener = NULL;
	proxy_cut(proxy);
}

void proxy_hang(struct proxy *proxy, bool hang)
{
	proxy->hanging = hang;
	for (struct list *at = proxy->links.next; at != &proxy->links; at = at->next)
		set_flow(LIST_ENTRY(at, struct link, list));
}

void proxy_answer(struct proxy *proxy, const char *bytes, size_t len)
{
	proxy->answer = bytes;
	proxy->answer_len = len;
}

void proxy_close(struct proxy *proxy)
{
	if (proxy == NULL)
		return;
	proxy_down(proxy);
	proxy->closing = true;
	maybe_freed(proxy);
}
