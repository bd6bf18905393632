/* SPDX-License-Identifier: MIT */
/*
 * What listener.c, connection.c, reply.c and reply_stream.c share; nobody else includes it. The contract is connection.h.
 *
 * A connection is in one state:
 *
 *   READING ──request complete──▶ BUSY ──reply given──▶ REPLYING ──handed to the kernel──▶ READING
 *      │                           (the handler owes it)   │
 *      └──refused──────────────────────────────────────────┴──last one──▶ LINGERING ──peer's end──▶ closed
 *
 * BUSY and REPLYING are passed through within one call when the handler answers at once and the kernel takes it all. LINGERING:
 * we have closed our side and discard what still comes, since closing with unread bytes would make the kernel reset the
 * connection and the peer lose the answer.
 *
 * `closing` is beside the state: a connection closed while BUSY waits for its handler.
 */
#ifndef REELD_INTAKE_SERVER_H
#define REELD_INTAKE_SERVER_H

#include "base/buffer.h"
#include "base/list.h"
#include "intake/connection.h"
#include "intake/message.h"
#include "intake/request_parser.h"

#define READ_BUFFER_SIZE 65536
#define SERVER_MAX_LISTENERS 8
#define HTTP_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

enum close_reason {
	CLOSE_NONE,
#define CLOSE(NAME, name, text) CLOSE_##NAME,
#include "intake/close_reason.def"
#undef CLOSE
	CLOSE_COUNT
};

/* Each kind has one duration, so its list is in order of deadline. */
enum timeout_kind { TIMEOUT_REQUEST, TIMEOUT_IDLE, TIMEOUT_WRITE, TIMEOUT_LINGER, TIMEOUT_COUNT };

enum connection_state { CONNECTION_READING, CONNECTION_BUSY, CONNECTION_REPLYING, CONNECTION_LINGERING };

struct stream;
struct tls_session;

/* The handler's memory of one request. */
struct data_block {
	struct data_block *next;
	_Alignas(16) char bytes[];
};

struct connection {
	uv_tcp_t tcp;
	struct server *server;
	struct list link;         /* server->connections */
	struct list timeout_link; /* server->timeouts[…], or none */
	struct list ready_link;   /* server->ready, or none */
	uint64_t deadline_ms;     /* uv_now() clock */
	struct message *message;  /* bytes kept between reads, or NULL */
	struct data_block *data;
	struct retained *retained;
	struct stream *stream;
	void (*stream_done)(void *data, bool complete); /* owed to the owner of a stream while `streaming` */
	void *stream_data;
	struct tls_session *tls;
	uint32_t writes; /* uv_write in flight */
	uint8_t state;   /* enum connection_state */
	uint8_t reason;  /* enum close_reason */
	bool closing;
	bool handle_open;
	bool processing;  /* connection_process is on the stack */
	bool in_flight;   /* counted in server->busy */
	bool keep_alive;  /* the client would go on */
	bool close_after; /* this reply is the last */
	bool http10;
	bool head;         /* the request is a HEAD */
	bool read_stopped; /* the peer pipelines more than we keep */
	bool eof;          /* the peer closed its sending side */
	bool handshaking;
	bool streaming;
	struct sockaddr_storage peer; /* asked for when needed */
};

struct listener {
	uv_tcp_t tcp;
	struct server *server;
	bool waiting; /* a connection could not be taken for lack of memory */
};

struct server {
	uv_loop_t *loop;
	struct server_options options;
	struct request_limits limits;
	struct listener listeners[SERVER_MAX_LISTENERS];
	size_t listener_count;
	int port;

	struct list connections;
	struct list timeouts[TIMEOUT_COUNT];
	uint32_t timeout_ms[TIMEOUT_COUNT];
	uv_timer_t sweep;
	bool sweeping;
	struct list ready; /* connections to go on with in the next turn */
	uv_idle_t ready_idle;
	size_t open;
	size_t busy;
	size_t handles; /* of listeners, sweep, ready_idle, refused connections */
	bool draining;
	bool closing;
	bool closing_own; /* sweep and ready_idle */
	void (*closed)(void *data);
	void *closed_data;

	/* one set for all connections: a request that comes whole needs nothing else */
	char *read_buffer;
	char *plain_buffer; /* TLS only */
	struct request_parser *parser;
	struct request request;
	struct connection *current; /* whose on_request is running */
	struct buffer out;          /* head of the reply being formatted */
	struct buffer cipher;       /* TLS records on their way out */

	struct request_parser *spare_parsers[64];
	size_t spare_parser_count;
	struct message_pool messages;
	struct data_block *free_data;
	size_t free_data_count;

	struct metric *closed_by[CLOSE_COUNT];
	char date[HTTP_DATE_LEN + 1];
	int64_t date_s;
	uint64_t accept_logged_ms;
	uint64_t accept_failures;
};

/* connection.c */
struct connection *connection_new(struct server *server);
/* The handle was accepted: reads from now on. */
void connection_open(struct connection *connection);
/* Closes at once; what was not sent is lost. The first reason given stays. */
void connection_cut(struct connection *connection, enum close_reason reason);
/* Goes on with a connection that connection_later() put on the ready list. */
void connection_ready(struct connection *connection);
void connection_later(struct connection *connection);
void connection_timeout(struct connection *connection, enum timeout_kind kind);
void connection_set_timeout(struct connection *connection, enum timeout_kind kind);
/* Nothing is queued any more. */
void connection_written(struct connection *connection);
/* Everything of the reply was handed to the kernel. */
void connection_replied(struct connection *connection);
/* Frees the connection when nothing holds it any more. */
void connection_maybe_closed(struct connection *connection);

/* connection_write.c */
enum send_result { SEND_DONE, SEND_QUEUED, SEND_FAILED };
/* FAILED: the connection is being cut. QUEUED: connection_written() will go on. The bytes are not kept after the call. */
enum send_result connection_send(struct connection *connection, const uv_buf_t *bufs, unsigned count);
/* Sends what TLS has put into server->cipher. */
enum send_result connection_flush_tls(struct connection *connection);

/* reply.c */
/* An answer of the server itself; the connection ends with it. */
void reply_refuse(struct connection *connection, int status, const char *sentence, enum close_reason reason);
/* Appends status line and headers to server->out; length -1: none. */
void reply_format_head(struct connection *connection, int status, const char *content_type, const char *headers, int64_t length,
		       bool chunked);
/* Called at the beginning of each kind of reply. False: nobody is there to read it, and the reply counts as given. */
bool reply_begin(struct connection *connection);
const char *reply_status_text(int status);

/* reply_stream.c */
void stream_pump(struct connection *connection);
/* Ends the stream, if there is one, and tells its owner. */
void stream_end(struct connection *connection, bool complete);

/* listener.c */
void server_connection_closed(struct connection *connection);
void server_update_date(struct server *server);

struct retained {
	struct request request;
	char bytes[];
};

#endif
