/* SPDX-License-Identifier: MIT */
#include "loop/support/peer.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 1024
#define REQUEST_KEPT 65536
#define CHUNK 65536

struct peer {
	uv_loop_t *loop;
	uv_tcp_t listener;
	const struct peer_script *scripts;
	size_t script_count;
	struct link *links;
	unsigned connections;
	unsigned requests;
	size_t sent;
	size_t received;
	char *texts[REQUESTS_MAX];
	unsigned open_handles;
	bool closing;
};

struct link {
	struct link *next;
	struct peer *peer;
	uv_tcp_t tcp;
	uv_timer_t timer;
	unsigned open_handles;
	bool closing;
	/* the request coming in */
	char *text;
	size_t text_len;
	size_t body_left;
	bool in_body;
	bool chunked;
	unsigned number;
	/* the answer going out */
	const struct peer_script *script;
	bool answering;
	size_t offset;
	size_t total;
	uv_write_t write;
	char chunk[CHUNK];
};

char peer_body(size_t offset)
{
	return (char)(offset * 31 + (offset >> 8) * 7);
}

static void peer_maybe_free(struct peer *peer)
{
	if (!peer->closing || peer->open_handles > 0)
		return;
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		free(peer->texts[i]);
	free(peer);
}

static void link_handle_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;
	struct peer *peer = link->peer;
	peer->open_handles--;
	if (--link->open_handles == 0) {
		free(link->text);
		free(link);
	}
	peer_maybe_free(peer);
}

static void link_close(struct link *link, bool reset)
{
	if (link->closing)
		return;
	link->closing = true;
	for (struct link **at = &link->peer->links; *at != NULL; at = &(*at)->next) {
		if (*at == link) {
			*at = link->next;
			break;
		}
	}
	if (!reset || uv_tcp_close_reset(&link->tcp, link_handle_closed) != 0)
		uv_close((uv_handle_t *)&link->tcp, link_handle_closed);
	uv_close((uv_handle_t *)&link->timer, link_handle_closed);
}

static void link_answered(struct link *link)
{
	const struct peer_script *script = link->script;
	bool cut = script->cut_after != 0;
	link->answering = false;
	if (script->close || script->reset || cut) {
		link_close(link, script->reset);
		return;
	}
	if (script->deaf)
		return;
	link->in_body = false;
	link->text_len = 0;
}

static size_t link_fill(struct link *link, size_t max)
{
	size_t head = strlen(link->script->answer);
	size_t len = 0;
	while (len < max && link->offset < link->total) {
		link->chunk[len++] = link->offset < head ? link->script->answer[link->offset] : peer_body(link->offset - head);
		link->offset++;
	}
	return len;
}

static void link_written(uv_write_t *write, int status);

static void link_send(struct link *link)
{
	const struct peer_script *script = link->script;
	size_t len = link_fill(link, script->slow_ms == 0 ? CHUNK : script->slow_bytes != 0 ? script->slow_bytes : 1);
	uv_buf_t buf = uv_buf_init(link->chunk, (unsigned)len);
	link->peer->sent += len;
	REQUIRE(uv_write(&link->write, (uv_stream_t *)&link->tcp, &buf, 1, link_written) == 0);
}

static void link_timer(uv_timer_t *timer)
{
	link_send(timer->data);
}

static void link_written(uv_write_t *write, int status)
{
	struct link *link = write->handle->data;
	if (link->closing)
		return;
	if (status != 0)
		link_close(link, false);
	else if (link->offset == link->total)
		link_answered(link);
	else if (link->script->slow_ms != 0)
		uv_timer_start(&link->timer, link_timer, link->script->slow_ms, 0);
	else
		link_send(link);
}

static void link_start_answer(struct link *link)
{
	if (link->answering || link->script->hang)
		return;
	link->offset = 0;
	link->total = strlen(link->script->answer) + link->script->body_bytes;
	if (link->script->cut_after != 0 && link->script->cut_after < link->total)
		link->total = link->script->cut_after;
	link->answering = true;
	link_send(link);
}

static void link_keep_text(struct link *link)
{
	if (link->number >= REQUESTS_MAX)
		return;
	free(link->peer->texts[link->number]);
	link->peer->texts[link->number] = strdup(link->text);
}

static void link_request_complete(struct link *link)
{
	link->in_body = false;
	link->text_len = 0;
	if (!link->script->early)
		link_start_answer(link);
}

static void link_body(struct link *link, size_t len)
{
	link_keep_text(link);
	if (link->chunked) {
		if (strstr(link->text, "\r\n0\r\n\r\n") != NULL)
			link_request_complete(link);
		return;
	}
	link->body_left -= len < link->body_left ? len : link->body_left;
	if (link->body_left == 0)
		link_request_complete(link);
}

static void link_head_complete(struct link *link, size_t head_len)
{
	struct peer *peer = link->peer;
	size_t index = peer->requests < peer->script_count ? peer->requests : peer->script_count - 1;
	link->script = &peer->scripts[index];
	link->number = peer->requests++;
	link->in_body = true;
	const char *length = strcasestr(link->text, "\r\nContent-Length:");
	link->chunked = strcasestr(link->text, "\r\nTransfer-Encoding: chunked") != NULL;
	link->body_left = length != NULL ? strtoull(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
	if (link->script->deaf)
		uv_read_stop((uv_stream_t *)&link->tcp);
	if (link->script->early)
		link_start_answer(link);
	link_body(link, link->text_len - head_len);
}

static void link_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(malloc(CHUNK), CHUNK);
}

static void link_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
	struct link *link = stream->data;
	if (count < 0) {
		free(buf->base);
		link_close(link, false);
		return;
	}
	size_t len = (size_t)count;
	link->peer->received += len;
	size_t room = REQUEST_KEPT - link->text_len;
	size_t kept = len < room ? len : room;
	memcpy(link->text + link->text_len, buf->base, kept);
	link->text_len += kept;
	link->text[link->text_len] = '\0';
	free(buf->base);
	if (link->in_body) {
		link_body(link, len);
		return;
	}
	const char *end = strstr(link->text, "\r\n\r\n");
	if (end != NULL)
		link_head_complete(link, (size_t)(end + 4 - link->text));
}

static void peer_accept(uv_stream_t *listener, int status)
{
	struct peer *peer = listener->data;
	struct link *link = calloc(1, sizeof(*link));
	REQUIRE(status == 0 && link != NULL);
	link->peer = peer;
	link->text = calloc(1, REQUEST_KEPT + 1);
	REQUIRE(link->text != NULL);
	uv_tcp_init(peer->loop, &link->tcp);
	uv_timer_init(peer->loop, &link->timer);
	link->tcp.data = link;
	link->timer.data = link;
	link->open_handles = 2;
	peer->open_handles += 2;
	link->next = peer->links;
	peer->links = link;
	peer->connections++;
	REQUIRE(uv_accept(listener, (uv_stream_t *)&link->tcp) == 0);
	uv_read_start((uv_stream_t *)&link->tcp, link_alloc, link_read);
}

struct peer *peer_new(uv_loop_t *loop, const char *address, const struct peer_script *scripts, size_t count)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	struct sockaddr_in at;
	REQUIRE(peer != NULL && uv_ip4_addr(address, 0, &at) == 0);
	peer->loop = loop;
	peer->scripts = scripts;
	peer->script_count = count;
	uv_tcp_init(loop, &peer->listener);
	peer->listener.data = peer;
	peer->open_handles = 1;
	REQUIRE(uv_tcp_bind(&peer->listener, (const struct sockaddr *)&at, 0) == 0);
	REQUIRE(uv_listen((uv_stream_t *)&peer->listener, 128, peer_accept) == 0);
	return peer;
}

int peer_port(const struct peer *peer)
{
	struct sockaddr_in at;
	int len = sizeof(at);
	REQUIRE(uv_tcp_getsockname(&peer->listener, (struct sockaddr *)&at, &len) == 0);
	return ntohs(at.sin_port);
}

unsigned peer_connections(const struct peer *peer)
{
	return peer->connections;
}

unsigned peer_requests(const struct peer *peer)
{
	return peer->requests;
}

size_t peer_sent(const struct peer *peer)
{
	return peer->sent;
}

size_t peer_received(const struct peer *peer)
{
	return peer->received;
}

const char *peer_request(const struct peer *peer, unsigned n)
{
	return n < REQUESTS_MAX && peer->texts[n] != NULL ? peer->texts[n] : "";
}

static void peer_listener_closed(uv_handle_t *handle)
{
	struct peer *peer = handle->data;
	peer->open_handles--;
	peer_maybe_free(peer);
}

void peer_close(struct peer *peer)
{
	peer->closing = true;
	while (peer->links != NULL)
		link_close(peer->links, false);
	uv_close((uv_handle_t *)&peer->listener, peer_listener_closed);
}
