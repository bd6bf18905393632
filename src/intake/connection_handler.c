/* SPDX-License-Identifier: MIT */
/* What a handler asks of its connection while it answers a request. */
#include "intake/server.h"
#include "base/check.h"
#include <stdlib.h>
#include <sys/socket.h>

/* ---- what a handler may ask ---- */

void *connection_data(struct connection *connection)
{
	return connection->data == NULL ? NULL : connection->data->bytes;
}

const struct sockaddr_storage *connection_peer(const struct connection *connection)
{
	struct connection *self = (struct connection *)connection;
	int size = sizeof(self->peer);
	if (self->peer.ss_family == AF_UNSPEC && !self->closing &&
	    uv_tcp_getpeername(&self->tcp, (struct sockaddr *)&self->peer, &size) != 0)
		self->peer.ss_family = AF_UNSPEC;
	return &self->peer;
}

bool connection_is_tls(const struct connection *connection)
{
	return connection->tls != NULL;
}

static struct slice copy_slice(char **to, struct slice from)
{
	if (from.ptr == NULL)
		return from;
	memcpy(*to, from.ptr, from.len);
	struct slice copy = {*to, from.len};
	*to += from.len;
	return copy;
}

const struct request *connection_retain(struct connection *connection)
{
	const struct request *from = &connection->server->request;
	REQUIRE(connection->server->current == connection && connection->state == CONNECTION_BUSY);
	if (connection->retained != NULL)
		return &connection->retained->request;
	size_t size = from->target.len + from->body.len;
	for (size_t i = 0; i < from->header_count; i++)
		size += from->headers[i].name.len + from->headers[i].value.len;
	struct retained *retained = malloc(sizeof(*retained) + size);
	if (retained == NULL)
		return NULL;
	struct request *request = &retained->request;
	char *to = retained->bytes;
	*request = *from;
	request->target = copy_slice(&to, from->target);
	request->path.ptr = request->target.ptr;
	if (from->query.ptr != NULL)
		request->query.ptr = request->target.ptr + (from->query.ptr - from->target.ptr);
	request->body = copy_slice(&to, from->body);
	for (size_t i = 0; i < from->header_count; i++) {
		request->headers[i].name = copy_slice(&to, from->headers[i].name);
		request->headers[i].value = copy_slice(&to, from->headers[i].value);
	}
	connection->retained = retained;
	return request;
}
