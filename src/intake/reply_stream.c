/* SPDX-License-Identifier: MIT */
/*
 * Streamed answers. The head goes out within reply_stream(); from the next turn of the loop on the owner is asked for a piece
 * whenever the kernel has taken the one before, so a slow reader holds one piece of memory and no more.
 */
#include "intake/server.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define PIECE_SIZE 32768
#define CHUNK_HEAD 10 /* "ffffffff\r\n" */
#define CHUNK_TAIL 7  /* "\r\n0\r\n\r\n" */
/* Then others have their turn. */
#define PIECES_PER_TURN 8

struct stream {
	struct reply_stream reply;
	uint64_t left; /* of reply.length */
	bool chunked;
	bool ended; /* the owner has given everything */
	char bytes[CHUNK_HEAD + PIECE_SIZE + CHUNK_TAIL];
};

void stream_end(struct connection *connection, bool complete)
{
	free(connection->stream);
	connection->stream = NULL;
	if (!connection->streaming)
		return;
	connection->streaming = false;
	if (connection->stream_done != NULL)
		connection->stream_done(connection->stream_data, complete);
}

/* Frames what lies behind CHUNK_HEAD. */
static uv_buf_t frame(struct stream *stream, size_t len)
{
	char *start = stream->bytes + CHUNK_HEAD;
	size_t total = len;
	if (stream->chunked && len > 0) {
		char head[CHUNK_HEAD + 1];
		int head_len = snprintf(head, sizeof(head), "%zx\r\n", len);
		start -= head_len;
		memcpy(start, head, (size_t)head_len);
		memcpy(start + (size_t)head_len + len, "\r\n", 2);
		total += (size_t)head_len + 2;
	}
	if (stream->chunked && stream->ended) {
		memcpy(start + total, "0\r\n\r\n", 5);
		total += 5;
	}
	return uv_buf_init(start, (unsigned)total);
}

/* Asks for one piece and sends it. False: nothing more to do now. */
static bool pump_piece(struct connection *connection)
{
	struct stream *stream = connection->stream;
	size_t len = 0;
	enum reply_fill fill = stream->reply.fill(stream->reply.data, stream->bytes + CHUNK_HEAD, PIECE_SIZE, &len);
	if (connection->closing)
		return false;
	REQUIRE(len <= PIECE_SIZE);
	bool exceeds = stream->reply.length >= 0 && len > stream->left;
	if (fill == REPLY_ABORT || exceeds) {
		connection_cut(connection, CLOSE_ABORTED);
		return false;
	}
	if (stream->reply.length >= 0)
		stream->left -= len;
	stream->ended = fill == REPLY_END;
	if (stream->ended && stream->left > 0) {
		connection_cut(connection, CLOSE_ABORTED);
		return false;
	}
	uv_buf_t piece = frame(stream, len);
	if (piece.len > 0 && connection_send(connection, &piece, 1) != SEND_DONE)
		return false;
	/* While the owner has nothing the peer's silence is not its fault. */
	if (fill == REPLY_LATER)
		list_remove(&connection->timeout_link);
	return fill != REPLY_LATER;
}

void stream_pump(struct connection *connection)
{
	if (connection->writes > 0)
		return;
	for (int pieces = 0; !connection->stream->ended; pieces++) {
		if (pieces == PIECES_PER_TURN) {
			connection_later(connection);
			return;
		}
		if (!pump_piece(connection))
			return;
	}
	stream_end(connection, true);
	/* The owner may have closed the server. */
	if (!connection->closing)
		connection_replied(connection);
}

static enum send_result send_head(struct connection *connection, const struct reply_stream *reply, bool chunked)
{
	struct buffer *out = &connection->server->out;
	reply_format_head(connection, reply->status, reply->content_type, reply->headers, reply->length, chunked);
	if (out->failed)
		return SEND_FAILED;
	uv_buf_t head = uv_buf_init(out->data, (unsigned)out->len);
	return connection_send(connection, &head, 1);
}

void reply_stream(struct connection *connection, const struct reply_stream *reply)
{
	REQUIRE(connection->state == CONNECTION_BUSY);
	connection->state = CONNECTION_REPLYING;
	connection->streaming = true;
	connection->stream_done = reply->done;
	connection->stream_data = reply->data;
	/* Also for a peer that has gone: `done` comes from there, later. */
	struct stream *stream = connection->closing ? NULL : malloc(sizeof(*stream));
	if (stream != NULL) {
		bool chunked = reply->length < 0 && !connection->http10;
		/* Without framing the end of the connection is the end of the answer. */
		if (reply->length < 0 && !chunked)
			connection->close_after = true;
		connection->stream = stream;
		stream->reply = *reply;
		stream->chunked = chunked;
		stream->ended = connection->head;
		stream->left = connection->head || reply->length < 0 ? 0 : (uint64_t)reply->length;
	}
	if (stream == NULL || send_head(connection, reply, stream->chunked) == SEND_FAILED)
		connection_cut(connection, CLOSE_MEMORY);
	connection_later(connection);
}

void reply_stream_resume(struct connection *connection)
{
	if (connection->streaming && !connection->closing)
		connection_later(connection);
}
