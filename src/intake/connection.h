/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 server: listeners, connections, replies. Used by the public listener, the private one and the sandbox.
 *
 * A handler is called once per complete request and gives exactly one reply, then or later, also when the peer has gone
 * meanwhile (the connection object lives until then; the bytes go nowhere). After its reply it does not touch the connection
 * again. Requests of one connection are handled one at a time, so pipelined ones are answered in order. Idle connections hold
 * no buffer. Loop thread only. The process must ignore SIGPIPE.
 *
 * The request and its slices are valid only during on_request: a request that came in one read is parsed and handled where it
 * was read.
 *
 * What the server answers by itself, each with {"error":"…"} and "Connection: close": 400 malformed, 408 slow, 413 and 431 too
 * large, 417 unknown expectation, 501 unknown transfer coding or CONNECT, 503 too many connections or out of memory, 505.
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

struct server; /* listeners and their connections */
struct connection;
struct tls_context; /* intake/tls.h */

struct server_options {
	void (*on_request)(struct connection *connection, struct request *request, void *data);
	/*
	 * Before the server answers by itself what never becomes a request for on_request; NULL: nobody wants to know. `path` is what was read of it,
	 * without the query, empty when it did not come that far; neither it nor the connection is kept.
	 */
	void (*on_refused)(struct connection *connection, struct slice path, int status, const char *sentence, void *data);
	void *data;
	size_t max_connections;     /* further ones are accepted and closed at once with 503 */
	size_t max_body;            /* 413 beyond */
	size_t max_header;          /* request line and headers; 431 beyond; 0: 16 KiB; at most 1 MiB */
	uint32_t header_timeout_ms; /* for the whole request from its first byte; 408 */
	uint32_t idle_timeout_ms;   /* between requests; also for a peer that does not read its answer */
	struct tls_context *tls;    /* borrowed; NULL: plain */
	struct metric *connections; /* gauge, may be NULL */
	struct metrics *metrics;    /* for close reasons, may be NULL */
	const char *name;           /* "public": in logs; static */
	size_t pool_data_size;      /* bytes of zeroed per-request memory that connection_data() gives the handler */
	int backlog;                /* 0: 1024 */
	size_t max_buffered; /* bytes of unfinished and pipelined requests, all connections together; 503 beyond; 0: 64 MiB */
};

/* NULL when out of memory. The options are copied. */
struct server *server_new(uv_loop_t *loop, const struct server_options *options);
/*
 * Listens on "host:port" ("0.0.0.0:8080", "[::]:8080" for both families, "localhost:8080", port 0: any). The host is an
 * address, not looked up. 0 or an error with a message. May be called several times, at most 8.
 */
int server_listen(struct server *server, const char *address, struct error *error);
/*
 * For processes that share a socket: binds as server_listen would, without listening. *fd closes on exec. 0 or an error with a message.
 * server_listen_bound listens on such a socket, which is the server's from then on; `address` is for messages.
 */
int server_bind(const char *address, int *fd, struct error *error);
int server_listen_bound(struct server *server, const char *address, int fd, struct error *error);
/* Whether server_listen could have that address now. 0 or its error; ERR_LOCKED: somebody listens there. Nobody is let in. */
int server_can_listen(const char *address, struct error *error);
/* The port of the first listener. */
int server_port(const struct server *server);
/* Stop accepting and reading new requests; idle connections are closed, busy ones after their reply ("Connection: close"). */
void server_drain(struct server *server);
/* Requests whose reply was not given or not handed to the kernel yet. */
size_t server_busy(const struct server *server);
/* Close everything; `closed` when the last handle is closed and every outstanding reply was given; the server is freed then. */
void server_close(struct server *server, void (*closed)(void *data), void *data);

/* The handler's memory of this request (pool_data_size bytes, zeroed for each request), valid until the reply was given. */
void *connection_data(struct connection *connection);
/*
 * A copy of the request and all its bytes that lives until the reply was given. Only during on_request. NULL when out of memory.
 */
const struct request *connection_retain(struct connection *connection);
/* The peer's address; family AF_UNSPEC when it is not known any more. */
const struct sockaddr_storage *connection_peer(const struct connection *connection);
bool connection_is_tls(const struct connection *connection);

/*
 * A prepared answer: both variants (keep-alive and close) are formatted once, then sent with one write and no formatting. The
 * fast path. The Date inside is brought up to date in place.
 */
#define REPLY_FIXED_SIZE 512
struct reply_fixed {
	int status;
	/* private */
	struct reply_fixed_variant {
		uint32_t len;
		uint32_t head_len;
		uint32_t date_at;
		int64_t date_s;
		char bytes[REPLY_FIXED_SIZE];
	} variants[2];
};
/* content_type and headers as in struct reply. 0 or ERR_LIMIT when it does not fit. */
int reply_fixed_build(struct reply_fixed *fixed, int status, const char *content_type, const char *headers, struct slice body);
/* Sends the variant that fits the request; HEAD gets the headers only. `fixed` may be used again at once. */
void reply_fixed_send(struct connection *connection, struct reply_fixed *fixed);

struct reply {
	int status;
	const char *content_type; /* NULL: none */
	const char *headers;      /* further header lines, each with CRLF; NULL: none */
	struct slice body;        /* copied */
};
/* Formats and sends, with Date, Content-Length and Connection. HEAD gets the headers only; its `body` still makes the length. */
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
	/*
	 * Puts up to cap bytes at out. LATER: call reply_stream_resume. ABORT: cut the connection. Never called inside
	 * reply_stream() or reply_stream_resume(). A stream that ends short of `length`, or exceeds it, is cut.
	 */
	enum reply_fill (*fill)(void *data, char *out, size_t cap, size_t *len);
	/* Once, when all was handed to the kernel or the connection is gone; never inside reply_stream(). */
	void (*done)(void *data, bool complete);
	void *data;
};
/*
 * The struct is copied, and its texts. This is the reply of the request; the connection may be used for reply_stream_resume()
 * until `done`.
 */
void reply_stream(struct connection *connection, const struct reply_stream *stream);
/* There is more to send after LATER. Harmless when nobody waits. */
void reply_stream_resume(struct connection *connection);
/* Cut the connection without an answer (counts as the reply). For the sandbox's faults. */
void reply_abort(struct connection *connection);

#endif
