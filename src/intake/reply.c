/* SPDX-License-Identifier: MIT */
/*
 * Answers: prepared ones that only need their date, formatted ones, and those of the server itself. Streams are in
 * reply_stream.c.
 */
#include "intake/server.h"

#include "base/check.h"

/* A body up to this size goes into the same buffer as its head. */
#define JOIN_SIZE 8192

enum { VARIANT_KEEP_ALIVE, VARIANT_CLOSE };

const char *reply_status_text(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 204:
		return "No Content";
	case 206:
		return "Partial Content";
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 304:
		return "Not Modified";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 406:
		return "Not Acceptable";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 413:
		return "Content Too Large";
	case 415:
		return "Unsupported Media Type";
	case 416:
		return "Range Not Satisfiable";
	case 417:
		return "Expectation Failed";
	case 422:
		return "Unprocessable Content";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Status";
	}
}

static bool will_close(const struct connection *connection)
{
	return connection->close_after || !connection->keep_alive || connection->server->draining;
}

bool reply_begin(struct connection *connection)
{
	/* Broken when a handler replies twice. */
	REQUIRE(connection->state == CONNECTION_BUSY);
	connection->state = CONNECTION_REPLYING;
	if (!connection->closing)
		return true;
	connection_maybe_closed(connection);
	return false;
}

static void send_reply(struct connection *connection, const uv_buf_t *bufs, unsigned count)
{
	if (connection_send(connection, bufs, count) == SEND_DONE)
		connection_replied(connection);
}

/* ---- prepared ---- */

int reply_fixed_build(struct reply_fixed *fixed, int status, const char *content_type, const char *headers, struct slice body)
{
	static const char date_place[HTTP_DATE_LEN + 1] = "Thu, 01 Jan 1970 00:00:00 GMT";
	fixed->status = status;
	for (int i = VARIANT_KEEP_ALIVE; i <= VARIANT_CLOSE; i++) {
		struct reply_fixed_variant *variant = &fixed->variants[i];
		struct buffer out;
		buffer_init(&out, sizeof(variant->bytes));
		buffer_printf(&out, "HTTP/1.1 %d %s\r\nDate: ", status, reply_status_text(status));
		variant->date_at = (uint32_t)out.len;
		variant->date_s = 0;
		buffer_printf(&out, "%s\r\n", date_place);
		if (content_type != NULL)
			buffer_printf(&out, "Content-Type: %s\r\n", content_type);
		buffer_printf(&out, "Content-Length: %zu\r\n%sConnection: %s\r\n\r\n", body.len, headers == NULL ? "" : headers,
			      i == VARIANT_CLOSE ? "close" : "keep-alive");
		variant->head_len = (uint32_t)out.len;
		buffer_append_slice(&out, body);
		variant->len = (uint32_t)out.len;
		bool failed = out.failed;
		if (!failed)
			memcpy(variant->bytes, out.data, out.len);
		buffer_free(&out);
		if (failed)
			return ERR_LIMIT;
	}
	return 0;
}

void reply_fixed_send(struct connection *connection, struct reply_fixed *fixed)
{
	if (!reply_begin(connection))
		return;
	const struct server *server = connection->server;
	struct reply_fixed_variant *variant = &fixed->variants[will_close(connection) ? VARIANT_CLOSE : VARIANT_KEEP_ALIVE];
	if (variant->date_s != server->date_s) {
		variant->date_s = server->date_s;
		memcpy(variant->bytes + variant->date_at, server->date, HTTP_DATE_LEN);
	}
	uv_buf_t buf = uv_buf_init(variant->bytes, connection->head ? variant->head_len : variant->len);
	send_reply(connection, &buf, 1);
}

/* ---- formatted ---- */

void reply_format_head(struct connection *connection, int status, const char *content_type, const char *headers, int64_t length,
		       bool chunked)
{
	struct server *server = connection->server;
	struct buffer *out = &server->out;
	buffer_clear(out);
	buffer_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, reply_status_text(status), server->date);
	if (content_type != NULL)
		buffer_printf(out, "Content-Type: %s\r\n", content_type);
	if (length >= 0)
		buffer_printf(out, "Content-Length: %lld\r\n", (long long)length);
	else if (chunked)
		buffer_append_cstr(out, "Transfer-Encoding: chunked\r\n");
	if (headers != NULL)
		buffer_append_cstr(out, headers);
	buffer_append_cstr(out, will_close(connection) ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n");
}

static void send_formatted(struct connection *connection, const struct reply *reply)
{
	struct buffer *out = &connection->server->out;
	bool bodiless = reply->status == 204 || reply->status == 304;
	struct slice body = connection->head || bodiless ? (struct slice){NULL, 0} : reply->body;
	reply_format_head(connection, reply->status, reply->content_type, reply->headers,
			  bodiless ? -1 : (int64_t)reply->body.len, false);
	if (body.len > 0 && body.len <= JOIN_SIZE) {
		buffer_append_slice(out, body);
		body.len = 0;
	}
	if (out->failed) {
		connection_cut(connection, CLOSE_MEMORY);
		return;
	}
	uv_buf_t bufs[2] = {uv_buf_init(out->data, (unsigned)out->len), uv_buf_init((char *)body.ptr, (unsigned)body.len)};
	send_reply(connection, bufs, body.len > 0 ? 2 : 1);
}

void reply_send(struct connection *connection, const struct reply *reply)
{
	if (reply_begin(connection))
		send_formatted(connection, reply);
}

static void send_error(struct connection *connection, int status, const char *message)
{
	struct buffer body;
	buffer_init(&body, 4096);
	buffer_append_cstr(&body, "{\"error\":\"");
	buffer_append_json(&body, slice_from_cstr(message));
	buffer_append_cstr(&body, "\"}");
	if (body.failed)
		connection_cut(connection, CLOSE_MEMORY);
	else
		send_formatted(
			connection,
			&(struct reply){.status = status, .content_type = "application/json", .body = buffer_slice(&body)});
	buffer_free(&body);
}

void reply_error(struct connection *connection, int status, const char *message)
{
	if (reply_begin(connection))
		send_error(connection, status, message);
}

void reply_refuse(struct connection *connection, int status, const char *sentence, enum close_reason reason)
{
	connection->state = CONNECTION_REPLYING;
	connection->reason = (uint8_t)reason;
	connection->close_after = true;
	list_remove(&connection->timeout_link);
	if (connection->closing)
		return;
	send_error(connection, status, sentence);
}

void reply_abort(struct connection *connection)
{
	if (reply_begin(connection))
		connection_cut(connection, CLOSE_ABORTED);
}
