/* SPDX-License-Identifier: MIT */
/*
 * Handing bytes to the kernel: tried at once, since an answer nearly always fits the socket's buffer; the rest is copied and
 * queued.
 */
#include "intake/server.h"

#include "intake/tls.h"

#include <stdlib.h>

struct queued_write {
	uv_write_t req;
	char bytes[];
};

static void write_done(uv_write_t *req, int status)
{
	struct connection *connection = req->data;
	free(CONTAINER_OF(req, struct queued_write, req));
	connection->writes--;
	if (connection->closing) {
		connection_maybe_closed(connection);
		return;
	}
	if (status != 0) {
		connection_cut(connection, CLOSE_RESET);
		return;
	}
	if (connection->writes > 0)
		connection_set_timeout(connection, TIMEOUT_WRITE);
	else
		connection_written(connection);
}

static size_t total_len(const uv_buf_t *bufs, unsigned count)
{
	size_t total = 0;
	for (unsigned i = 0; i < count; i++)
		total += bufs[i].len;
	return total;
}

/* Copies what lies behind the first `skip` bytes. */
static void copy_rest(char *out, const uv_buf_t *bufs, unsigned count, size_t skip)
{
	for (unsigned i = 0; i < count; i++) {
		size_t len = bufs[i].len;
		if (skip >= len) {
			skip -= len;
			continue;
		}
		memcpy(out, bufs[i].base + skip, len - skip);
		out += len - skip;
		skip = 0;
	}
}

static enum send_result queue_rest(struct connection *connection, const uv_buf_t *bufs, unsigned count, size_t total, size_t sent)
{
	size_t len = total - sent;
	struct queued_write *queued = malloc(sizeof(*queued) + len);
	if (queued == NULL) {
		connection_cut(connection, CLOSE_MEMORY);
		return SEND_FAILED;
	}
	copy_rest(queued->bytes, bufs, count, sent);
	queued->req.data = connection;
	uv_buf_t rest = uv_buf_init(queued->bytes, (unsigned)len);
	if (uv_write(&queued->req, (uv_stream_t *)&connection->tcp, &rest, 1, write_done) != 0) {
		free(queued);
		connection_cut(connection, CLOSE_RESET);
		return SEND_FAILED;
	}
	connection->writes++;
	connection_set_timeout(connection, TIMEOUT_WRITE);
	return SEND_QUEUED;
}

static enum send_result send_raw(struct connection *connection, const uv_buf_t *bufs, unsigned count)
{
	size_t total = total_len(bufs, count);
	int sent = UV_EAGAIN;
	if (connection->writes == 0)
		sent = uv_try_write((uv_stream_t *)&connection->tcp, bufs, count);
	if (sent == UV_EAGAIN)
		sent = 0;
	if (sent < 0) {
		connection_cut(connection, CLOSE_RESET);
		return SEND_FAILED;
	}
	if ((size_t)sent == total)
		return SEND_DONE;
	return queue_rest(connection, bufs, count, total, (size_t)sent);
}

enum send_result connection_flush_tls(struct connection *connection)
{
	struct buffer *cipher = &connection->server->cipher;
	if (cipher->len == 0)
		return SEND_DONE;
	uv_buf_t buf = uv_buf_init(cipher->data, (unsigned)cipher->len);
	enum send_result result = connection->closing ? SEND_FAILED : send_raw(connection, &buf, 1);
	buffer_clear(cipher);
	return result;
}

enum send_result connection_send(struct connection *connection, const uv_buf_t *bufs, unsigned count)
{
	if (connection->closing)
		return SEND_FAILED;
	if (connection->tls == NULL)
		return send_raw(connection, bufs, count);
	for (unsigned i = 0; i < count; i++) {
		if (tls_session_write(connection->tls, bufs[i].base, bufs[i].len, &connection->server->cipher) != 0) {
			buffer_clear(&connection->server->cipher);
			connection_cut(connection, CLOSE_TLS);
			return SEND_FAILED;
		}
	}
	return connection_flush_tls(connection);
}
