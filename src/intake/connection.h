/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 server: listeners, connections, replies. Used by the public listener, the private one and the sandbox.
 *
 * A handler is called once per complete request and gives exactly one reply, then or later, also when the peer has gone meanwhile (the
 * connection object lives until then; the bytes go nowhere). Requests of one connection are handled one at a time, so pipelined ones are
 * answered in order. Idle connections hold no buffer. Loop thread only.
 */
#ifndef REELD_INTAKE_CONNECTION_H
#define REELD_INTAKE_CONNECTION_H

#include "base/err.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "intake/request.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct server;     /* listeners and their connections */
struct connection;
struct tls_context; /* intake/tls.h */

struct server_options {
	void (*on_request)(struct connection *connection, struct request *request, void *data);
	void *data;
	size_t max_connections;   /* further ones are accepted and closed at once with 503 */
	size_t max_body;          /* 413 beyond */
	size_t max_header;        /* request line and headers; 431 beyond; 0: 16 KiB */
	uint32_t header_timeout_ms; /* for the whole request from its first byte; 408 */
	uint32_t idle_timeout_ms;   /* between requests; also for a peer that does not read its answer */
	struct tls_context *tls;  /* borrowed; NULL: plain */
	struct metric *connections; /* gauge, may be NULL */
	struct metrics *metrics;    /* for close reasons, may be NULL */
	const char *name;         /* "public": in logs */
	size_t pool_data_size;    /* bytes of zeroed per-request memory that connection_data() gives the handler */
	int backlog;              /* 0: 1024 */
};

struct server *server_new(uv_loop_t *loop, const struct server_options *options);
/* Listens on "host:port" ("0.0.0.0:8080", "[::]:8080", port 0: any). 0 or an error with a message. May be called several times. */
int server_listen(struct server *server, const char *address, struct error *error);
/* The port of the first listener. */
int server_port(const struct server *server);
/* Stop accepting and reading new requests; idle connections are closed, busy ones after their reply ("Connection: close"). */
void server_drain(struct server *server);
/* Requests that have no reply yet, and open connections. */
size_t server_busy(const struct server *server);
size_t server_connections(const struct server *server);
/* Close everything; `closed` when the last handle is closed and every outstanding reply was given. */
void server_close(struct server *server, void (*closed)(void *data), void *data);

/* The handler's memory of this request (pool_data_size bytes, zeroed for each request), valid until the reply was given. */
void *connection_data(struct connection *connection);
/* The peer's address. */
const struct sockaddr_storage *connection_peer(const struct connection *connection);
bool connection_is_tls(const struct connection *connection);
/* False once the peer has gone. */
bool connection_is_open(const struct connection *connection);

/* A complete prepared answer (status line, headers, blank line, body), sent as it is; must be static or live until the loop ends. `close_after` closes
 * afterwards. The fast path: no formatting. Its Connection header must fit. */
void reply_prepared(struct connection *connection, struct slice bytes, bool close_after);

struct reply {
	int status;
	const char *content_type; /* NULL: none */
	const char *headers;      /* further header lines, each with CRLF; NULL: none */
	struct slice body;        /* copied */
};
/* Formats and sends. HEAD gets the headers only. */
void reply_send(struct connection *connection, const struct reply *reply);
/* {"error":"message"} with JSON escaping. */
void reply_error(struct connection *connection, int status, const char *message);

/* A streamed answer: `fill` is asked for more whenever the socket takes more. */
enum reply_fill { REPLY_MORE, REPLY_END, REPLY_LATER, REPLY_ABORT };
struct reply_stream {
	int status;
	const char *content_type;
	const char *headers;
	int64_t length; /* -1: chunked */
	/* Puts up to cap bytes at out. LATER: call reply_stream_resume. ABORT: cut the connection. */
	enum reply_fill (*fill)(void *data, char *out, size_t cap, size_t *len);
	/* Once, when all was sent or the connection is gone. */
	void (*done)(void *data, bool complete);
	void *data;
};
/* The struct is copied. This is the reply of the request. */
void reply_stream(struct connection *connection, const struct reply_stream *stream);
void reply_stream_resume(struct connection *connection);
/* Cut the connection without an answer (counts as the reply). For the sandbox's faults. */
void reply_abort(struct connection *connection);

#endif
