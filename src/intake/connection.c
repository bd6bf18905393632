/* SPDX-License-Identifier: MIT */
/*
 * One connection: reading, handing requests to the handler one at a time, ending.
 *
 * Happy path, without a copy or an allocation: the kernel fills the server's one read buffer, the request in it is parsed in
 * place, the handler answers, one write. Only what is left over when the bytes end inside a request, or when a reply is still
 * owed, goes into a message of the connection's own. Reading goes on meanwhile, since stopping and starting costs a system call
 * each; a peer that pipelines more than a read buffer's worth is not read from until its replies went out.
 */
#include "intake/server.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "intake/tls.h"

#include <stdlib.h>
#include <sys/socket.h>

#define MAX_SPARE_PARSERS (sizeof(((struct server *)0)->spare_parsers) / sizeof(struct request_parser *))
#define MAX_FREE_DATA 1024

/* ---- memory ---- */

static struct request_parser *take_parser(struct server *server)
{
	struct request_parser *parser;
	if (server->spare_parser_count > 0)
		parser = server->spare_parsers[--server->spare_parser_count];
	else
		parser = request_parser_new();
	if (parser != NULL)
		request_parser_init(parser, &server->limits);
	return parser;
}

static void give_parser(struct server *server, struct request_parser **parser)
{
	if (*parser == NULL)
		return;
	if (server->spare_parser_count == MAX_SPARE_PARSERS) {
		request_parser_free(parser);
		return;
	}
	server->spare_parsers[server->spare_parser_count++] = *parser;
	*parser = NULL;
}

static void drop_message(struct connection *connection)
{
	if (connection->message == NULL)
		return;
	give_parser(connection->server, &connection->message->parser);
	message_release(&connection->server->messages, &connection->message);
}

static bool take_data(struct connection *connection)
{
	struct server *server = connection->server;
	size_t size = server->options.pool_data_size;
	if (size == 0)
		return true;
	struct data_block *block = server->free_data;
	if (block != NULL) {
		server->free_data = block->next;
		server->free_data_count--;
	} else {
		block = malloc(sizeof(*block) + size);
		if (block == NULL)
			return false;
	}
	memset(block->bytes, 0, size);
	connection->data = block;
	return true;
}

/* What lived as long as the request. */
static void release_request(struct connection *connection)
{
	struct server *server = connection->server;
	if (connection->in_flight) {
		connection->in_flight = false;
		server->busy--;
	}
	free(connection->retained);
	connection->retained = NULL;
	struct data_block *block = connection->data;
	connection->data = NULL;
	if (block == NULL)
		return;
	if (server->free_data_count == MAX_FREE_DATA) {
		free(block);
		return;
	}
	block->next = server->free_data;
	server->free_data = block;
	server->free_data_count++;
}

/* ---- end ---- */

void connection_maybe_closed(struct connection *connection)
{
	if (!connection->closing || connection->handle_open || connection->writes > 0 || connection->state == CONNECTION_BUSY ||
	    !list_empty(&connection->ready_link))
		return;
	stream_end(connection, false);
	release_request(connection);
	drop_message(connection);
	tls_session_free(&connection->tls);
	server_connection_closed(connection);
	free(connection);
}

static void handle_closed(uv_handle_t *handle)
{
	struct connection *connection = handle->data;
	connection->handle_open = false;
	connection_maybe_closed(connection);
}

static const char *reason_name(enum close_reason reason)
{
	static const char *const names[CLOSE_COUNT] = {
#define CLOSE(NAME, name, text) [CLOSE_##NAME] = name,
#include "intake/close_reason.def"
#undef CLOSE
	};
	return names[reason];
}

void connection_cut(struct connection *connection, enum close_reason reason)
{
	struct server *server = connection->server;
	if (connection->closing)
		return;
	connection->closing = true;
	if (connection->reason == CLOSE_NONE)
		connection->reason = (uint8_t)reason;
	list_remove(&connection->timeout_link);
	list_remove(&connection->ready_link);
	if (server->closed_by[connection->reason] != NULL)
		server->closed_by[connection->reason]->value++;
	log_event(LOG_DEBUG, "connection.closed", LOG_STR("listener", server->options.name),
		  LOG_STR("reason", reason_name(connection->reason)));
	uv_close((uv_handle_t *)&connection->tcp, handle_closed);
}

static void stop_reading(struct connection *connection)
{
	if (connection->read_stopped)
		return;
	connection->read_stopped = true;
	uv_read_stop((uv_stream_t *)&connection->tcp);
}

static void start_reading(struct connection *connection)
{
	if (!connection->read_stopped || connection->eof || connection->closing)
		return;
	connection->read_stopped = false;
	connection_open(connection);
}

/* Everything we had to say is with the kernel: the end of the stream goes behind it. */
static void half_close(struct connection *connection)
{
	uv_os_fd_t fd;
	if (uv_fileno((uv_handle_t *)&connection->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0)
		connection_cut(connection, CLOSE_RESET);
}

static void linger(struct connection *connection)
{
	connection->state = CONNECTION_LINGERING;
	if (!connection->processing)
		drop_message(connection);
	connection_set_timeout(connection, TIMEOUT_LINGER);
	start_reading(connection);
	if (connection->tls != NULL) {
		tls_session_close_notify(connection->tls, &connection->server->cipher);
		if (connection_flush_tls(connection) == SEND_FAILED)
			return;
	}
	if (connection->writes == 0)
		half_close(connection);
}

/* After the last answer. */
static void finish(struct connection *connection)
{
	bool refused = connection->reason != CLOSE_NONE;
	/* A peer that asked for the end has nothing more on the way that could get the answer lost. */
	if (connection->eof || (!connection->keep_alive && !refused && connection->tls == NULL)) {
		connection_cut(connection, CLOSE_DONE);
		return;
	}
	linger(connection);
}

void connection_set_timeout(struct connection *connection, enum timeout_kind kind)
{
	struct server *server = connection->server;
	list_remove(&connection->timeout_link);
	connection->deadline_ms = uv_now(server->loop) + server->timeout_ms[kind];
	list_append(&server->timeouts[kind], &connection->timeout_link);
}

/* An answer of the server's own, and the last. */
static void refuse(struct connection *connection, struct slice path, int status, const char *sentence, enum close_reason reason)
{
	const struct server_options *options = &connection->server->options;
	if (options->on_refused != NULL)
		options->on_refused(connection, path, status, sentence, options->data);
	reply_refuse(connection, status, sentence, reason);
}

/* Of the request that is being received. */
static struct slice path_so_far(const struct connection *connection)
{
	const struct message *message = connection->message;
	if (message == NULL || message->parser == NULL)
		return slice_make("", 0);
	return request_parser_path(message->parser, message->bytes);
}

void connection_timeout(struct connection *connection, enum timeout_kind kind)
{
	switch (kind) {
	case TIMEOUT_REQUEST:
		if (connection->handshaking)
			connection_cut(connection, CLOSE_SLOW_REQUEST);
		else
			refuse(connection, path_so_far(connection), 408, "Request was not complete in time", CLOSE_SLOW_REQUEST);
		break;
	case TIMEOUT_WRITE:
		connection_cut(connection, CLOSE_SLOW_READER);
		break;
	case TIMEOUT_LINGER:
		connection_cut(connection, CLOSE_DONE);
		break;
	case TIMEOUT_IDLE:
	default:
		connection_cut(connection, CLOSE_IDLE);
		break;
	}
}

/* ---- requests ---- */

static void handle_request(struct connection *connection, const struct request_parser *parser, const char *base)
{
	struct server *server = connection->server;
	struct request *request = &server->request;
	request_fill(parser, base, request);
	request->received_ns = clock_mono_ns();
	connection->state = CONNECTION_BUSY;
	connection->keep_alive = request->keep_alive;
	connection->http10 = request->http10;
	connection->head = request->method == REQUEST_HEAD;
	connection->close_after = false;
	connection->in_flight = true;
	server->busy++;
	list_remove(&connection->timeout_link);
	if (!take_data(connection)) {
		refuse(connection, request->path, 503, "Out of memory", CLOSE_MEMORY);
		return;
	}
	server->current = connection;
	server->options.on_request(connection, request, server->options.data);
	server->current = NULL;
}

static enum close_reason reason_of(int status)
{
	switch (status) {
	case 413:
	case 431:
		return CLOSE_TOO_LARGE;
	case 417:
	case 501:
	case 505:
		return CLOSE_UNSUPPORTED;
	default:
		return CLOSE_MALFORMED;
	}
}

static void refuse_bad(struct connection *connection, const struct request_parser *parser, const char *base)
{
	const char *sentence;
	int status = request_parser_problem(parser, &sentence);
	refuse(connection, request_parser_path(parser, base), status, sentence, reason_of(status));
}

/* No room for bytes of this peer. */
static void refuse_kept(struct connection *connection, int error)
{
	if (connection->state != CONNECTION_READING) {
		/* Pipelined behind a request whose answer is still owed: give that one, and no further. */
		connection->close_after = true;
		connection->reason = CLOSE_MEMORY;
	} else if (error == ERR_TOO_LARGE) {
		refuse(connection, path_so_far(connection), 413, "Request too large", CLOSE_TOO_LARGE);
	} else {
		refuse(connection, path_so_far(connection), 503, "Out of memory", CLOSE_MEMORY);
	}
}

/* Appends to the message; false when the bytes were given up. */
static bool keep(struct connection *connection, const char *bytes, size_t len)
{
	int error = message_append(&connection->server->messages, &connection->message, bytes, len);
	if (error != 0) {
		refuse_kept(connection, error);
		return false;
	}
	if (connection->state != CONNECTION_READING && connection->message->len >= READ_BUFFER_SIZE)
		stop_reading(connection);
	return true;
}

/* The bytes ended inside a request that the server's own parser has begun: the connection takes bytes and parser along. */
static void keep_begun(struct connection *connection, const char *base, size_t len)
{
	struct server *server = connection->server;
	struct request_parser *fresh = take_parser(server);
	if (fresh == NULL || !keep(connection, base, len)) {
		if (fresh == NULL)
			refuse_kept(connection, ERR_NOMEM);
		give_parser(server, &fresh);
		request_parser_init(server->parser, &server->limits);
		return;
	}
	connection->message->parser = server->parser;
	connection->message->parsed = len;
	server->parser = fresh;
}

/* What process() has not used up. */
static void keep_rest(struct connection *connection, char *base, size_t parsed, size_t len)
{
	struct message *message = connection->message;
	if (connection->closing || connection->state == CONNECTION_LINGERING || len == 0) {
		if (message == NULL && parsed > 0)
			request_parser_init(connection->server->parser, &connection->server->limits);
		drop_message(connection);
	} else if (message != NULL) {
		memmove(message->bytes, base, len);
		message->len = len;
		message->parsed = parsed;
	} else if (parsed > 0) {
		keep_begun(connection, base, len);
	} else {
		keep(connection, base, len);
	}
}

/* After parsing stopped for want of bytes. */
static void wait_for_more(struct connection *connection, struct request_parser *parser, bool begun_now)
{
	static char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	if (begun_now)
		connection_set_timeout(connection, TIMEOUT_REQUEST);
	if (request_parser_take_continue(parser)) {
		uv_buf_t buf = uv_buf_init(continue_line, sizeof(continue_line) - 1);
		connection_send(connection, &buf, 1);
	}
}

/*
 * Works through the requests in base[0..len): the connection's message, or bytes just read. `parsed` bytes of the first one
 * were seen by the parser before.
 */
static void process(struct connection *connection, struct request_parser *parser, char *base, size_t parsed, size_t len)
{
	const struct request_limits *limits = &connection->server->limits;
	bool begun_now = parsed == 0;
	connection->processing = true;
	while (len > parsed && connection->state == CONNECTION_READING && !connection->closing) {
		size_t end;
		enum request_progress progress = request_parse(parser, base, parsed, len, &end);
		if (progress == REQUEST_MORE) {
			parsed = end;
			len = end;
			wait_for_more(connection, parser, begun_now);
			break;
		}
		if (progress == REQUEST_BAD) {
			refuse_bad(connection, parser, base);
			request_parser_init(parser, limits);
			parsed = 0;
			len = 0;
			break;
		}
		handle_request(connection, parser, base);
		request_parser_init(parser, limits);
		base += end;
		len -= end;
		parsed = 0;
		begun_now = true;
	}
	connection->processing = false;
	keep_rest(connection, base, parsed, len);
	if (connection->eof && connection->state == CONNECTION_READING)
		connection_cut(connection, connection->message == NULL ? CLOSE_PEER : CLOSE_PEER_EARLY);
}

static void process_message(struct connection *connection)
{
	struct message *message = connection->message;
	if (message->parser == NULL)
		message->parser = take_parser(connection->server);
	if (message->parser == NULL) {
		drop_message(connection);
		refuse_kept(connection, ERR_NOMEM);
		return;
	}
	process(connection, message->parser, message->bytes, message->parsed, message->len);
}

/* Bytes of the peer, decrypted, in a buffer of the server's. */
static void received(struct connection *connection, char *bytes, size_t len)
{
	if (connection->state == CONNECTION_LINGERING)
		return;
	/* Reading may be between the reply of one request and connection_ready() for the next. */
	bool waiting = connection->state != CONNECTION_READING || !list_empty(&connection->ready_link);
	if (!waiting && connection->message == NULL) {
		process(connection, connection->server->parser, bytes, 0, len);
		return;
	}
	if (keep(connection, bytes, len) && !waiting)
		process_message(connection);
}

void connection_replied(struct connection *connection)
{
	release_request(connection);
	bool last = connection->eof && connection->message == NULL && !connection->processing;
	if (connection->close_after || !connection->keep_alive || connection->server->draining || last) {
		finish(connection);
		return;
	}
	connection->state = CONNECTION_READING;
	connection_set_timeout(connection, TIMEOUT_IDLE);
	if (connection->processing)
		return;
	if (connection->message != NULL)
		connection_later(connection);
	start_reading(connection);
}

void connection_ready(struct connection *connection)
{
	if (connection->closing)
		connection_maybe_closed(connection);
	else if (connection->streaming)
		stream_pump(connection);
	else if (connection->state == CONNECTION_READING && connection->message != NULL)
		process_message(connection);
	else if (connection->state == CONNECTION_READING && connection->eof)
		connection_cut(connection, CLOSE_PEER);
}

void connection_written(struct connection *connection)
{
	switch (connection->state) {
	case CONNECTION_READING:
		/* "100 Continue" or a TLS record: the wait for the peer begins anew. */
		connection_set_timeout(connection,
				       connection->handshaking || connection->message != NULL ? TIMEOUT_REQUEST : TIMEOUT_IDLE);
		break;
	case CONNECTION_LINGERING:
		connection_set_timeout(connection, TIMEOUT_LINGER);
		half_close(connection);
		break;
	case CONNECTION_REPLYING:
		list_remove(&connection->timeout_link);
		if (connection->streaming)
			stream_pump(connection);
		else
			connection_replied(connection);
		break;
	case CONNECTION_BUSY:
	default:
		list_remove(&connection->timeout_link);
		break;
	}
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct connection *connection = handle->data;
	(void)suggested;
	*buf = uv_buf_init(connection->server->read_buffer, READ_BUFFER_SIZE);
}

static void peer_ended(struct connection *connection)
{
	connection->eof = true;
	if (connection->state == CONNECTION_LINGERING)
		connection_cut(connection, CLOSE_DONE);
	else if (connection->state == CONNECTION_READING && list_empty(&connection->ready_link))
		connection_cut(connection, connection->message == NULL ? CLOSE_PEER : CLOSE_PEER_EARLY);
}

static void received_tls(struct connection *connection, const char *bytes, size_t len)
{
	struct server *server = connection->server;
	struct slice input = {bytes, len};
	while (!connection->closing) {
		size_t plain = 0;
		int status = tls_session_read(connection->tls, &input, server->plain_buffer, READ_BUFFER_SIZE, &plain,
					      &server->cipher);
		/* Handshake records, tickets and alerts. */
		if (connection_flush_tls(connection) == SEND_FAILED)
			return;
		if (status == ERR_RESET) {
			peer_ended(connection);
			return;
		}
		if (status != 0) {
			connection_cut(connection, CLOSE_TLS);
			return;
		}
		if (connection->handshaking && tls_session_established(connection->tls)) {
			connection->handshaking = false;
			connection_set_timeout(connection, TIMEOUT_IDLE);
		}
		if (plain == 0)
			return;
		received(connection, server->plain_buffer, plain);
	}
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct connection *connection = stream->data;
	if (nread == 0)
		return;
	if (nread == UV_EOF)
		peer_ended(connection);
	else if (nread < 0)
		connection_cut(connection, CLOSE_RESET);
	else if (connection->tls != NULL)
		received_tls(connection, buf->base, (size_t)nread);
	else
		received(connection, buf->base, (size_t)nread);
}

/* ---- life ---- */

struct connection *connection_new(struct server *server)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection == NULL)
		return NULL;
	if (server->options.tls != NULL) {
		connection->tls = tls_session_new(server->options.tls);
		connection->handshaking = true;
	}
	if ((server->options.tls != NULL && connection->tls == NULL) || uv_tcp_init(server->loop, &connection->tcp) != 0) {
		tls_session_free(&connection->tls);
		free(connection);
		return NULL;
	}
	connection->tcp.data = connection;
	connection->server = server;
	connection->handle_open = true;
	connection->keep_alive = true;
	list_init(&connection->link);
	list_init(&connection->timeout_link);
	list_init(&connection->ready_link);
	connection_set_timeout(connection, connection->handshaking ? TIMEOUT_REQUEST : TIMEOUT_IDLE);
	return connection;
}

void connection_open(struct connection *connection)
{
	if (uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) != 0)
		connection_cut(connection, CLOSE_RESET);
}
