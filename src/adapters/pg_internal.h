/* SPDX-License-Identifier: MIT */
/*
 * Private to the Postgres adapter. pg.c owns the queues and the life of items; pg_connect.c brings one connection up: hosts, addresses, libpq's
 * handshake, greeting; pg_group.c runs a group on it; pg_wire.c is pure: parameters and rows; pg_error.c translates.
 *
 *   DOWN ──timer──▶ RESOLVING ──▶ CONNECTING ──▶ GREETING ──▶ READY ◀──▶ BUSY
 *    ▲                  │ next host   │ next address  │           │ lost   │
 *    └──────────────────┴─────────────┴───────────────┴───────────┴────────┘
 */
#ifndef REELD_ADAPTERS_PG_INTERNAL_H
#define REELD_ADAPTERS_PG_INTERNAL_H

#include "adapters/pg.h"
#include "base/buffer.h"

#include <libpq-fe.h>

/* Items of one transaction: bounds how long the first of them waits for the last. */
#define PG_GROUP_MAX 64
/* Queries of one group, preparations included. */
#define PG_QUERIES_MAX 4096
#define PG_PARAMS_MAX 40
#define PG_HOSTS_MAX 16
#define PG_ADDRESSES_MAX 8
#define PG_ADDRESS_SIZE 64 /* numeric, with a scope */

enum pg_state { PG_DOWN, PG_RESOLVING, PG_CONNECTING, PG_GREETING, PG_READY, PG_BUSY, PG_ENDED };

/* A place named by the URL. */
struct pg_host {
	char *name;    /* as in the URL; a path is a socket's directory; "" for libpq's default */
	char *address; /* hostaddr of the URL, or NULL */
	char *port;    /* or NULL */
};

/* What becomes of a group that failed. */
enum pg_failure {
	PG_FAILURE_NONE,
	PG_FAILURE_ITEM,  /* one of its items is wrong: each alone */
	PG_FAILURE_AGAIN, /* serialization, deadlock: again */
	PG_FAILURE_DOWN,  /* the server cannot now; the connection is good */
	PG_FAILURE_LOST,  /* the connection is of no use any more */
};

/* Lives on its own, because it is closed before libpq closes its descriptor and may outlive the connection that it was for. */
struct pg_poll {
	uv_poll_t handle;
	struct pg_connection *connection; /* NULL: closing */
	struct pg *pool;
};

/* A question to the resolver; abandoned ones are waited for by the pool only. */
struct pg_lookup {
	uv_getaddrinfo_t request;
	struct pg_connection *connection; /* NULL: abandoned */
	struct pg *pool;
};

struct pg_param {
	size_t offset;
	int length; /* -1: NULL */
	unsigned oid;
};

struct pg_batch {
	struct pg_connection *connection;
	int status;
	bool open;  /* a query is begun */
	bool fresh; /* it is not to be prepared */
	unsigned slot;
	struct buffer values;
	struct pg_param params[PG_PARAMS_MAX];
	size_t param_count;
	size_t array_left; /* elements still to come of the last parameter */
	size_t queries;    /* of this item */
};

/* One item of a running group. */
struct pg_part {
	struct list *item;
	size_t first; /* its results */
	size_t count;
};

struct pg_group {
	struct pg_part parts[PG_GROUP_MAX];
	size_t part_count;
	/* What was sent, in order: a slot's query, or its preparation. */
	struct {
		unsigned short slot;
		bool preparation;
	} * sent;
	size_t sent_count;
	size_t sent_capacity;
	size_t answered;    /* of sent */
	bool has_result;    /* of the one that is being answered */
	PGresult **results; /* of queries, sent_capacity of them */
	size_t result_count;
	size_t query_count;
	enum pg_failure failure;
	struct error error;
};

struct pg_connection {
	struct pg *pool;
	unsigned lanes; /* bits */
	enum pg_state state;
	bool opened; /* its timer is a handle of the loop */
	PGconn *handle;
	struct pg_poll *poll;
	struct pg_lookup *lookup;
	uv_timer_t timer; /* of what the state waits for */

	unsigned failures; /* in a row, until a group was done */
	size_t host;
	char addresses[PG_ADDRESSES_MAX][PG_ADDRESS_SIZE];
	size_t address_count; /* 0: libpq finds it by itself (socket, hostaddr) */
	size_t address;

	unsigned greet_step;
	PGresult *greet_result;
	struct error error; /* of this attempt */

	bool *prepared; /* by slot */
	struct pg_batch batch;
	struct pg_group group;
	struct list alone; /* of a group that failed */
	bool single;       /* the group is one of these */
	unsigned tries;    /* of that one */
};

struct pg {
	uv_loop_t *loop;
	const struct pg_ops *ops;
	void *context;
	const char *const *sql;
	size_t sql_count;
	bool prepared;
	unsigned connect_ms;
	unsigned statement_ms;
	unsigned greet_ms;
	unsigned close_ms;
	unsigned patience_ms;
	unsigned backoff_ms;
	size_t max_queue;

	/* What the URL says, for PQconnectStartParams: keywords but for host, hostaddr and port. */
	char **keywords;
	char **values;
	size_t keyword_count;
	struct pg_host hosts[PG_HOSTS_MAX];
	size_t host_count;

	struct list queues[PG_LANES];
	size_t queued;
	struct list finished; /* settled, to be given back in the next turn */
	uv_idle_t turn;
	uv_timer_t patience; /* runs while no connection is ready */
	uv_timer_t close_timer;

	struct pg_connection *connections;
	unsigned connection_count;
	unsigned ready;       /* connections that are READY or BUSY */
	bool down;            /* refuse */
	bool greeted;         /* one was ready once: the others were started */
	struct error error;   /* of the last attempt that failed while none was ready */
	struct error refusal; /* what items are refused with: its words, class wait */

	bool closing;
	bool shut; /* connections were ended */
	unsigned open_handles;
	void (*closed)(void *data);
	void *closed_data;
};

/* pg.c */
void pg_turn_soon(struct pg *pg);
void pg_settle(struct pg *pg, struct list *item, int status, const struct error *error);
void pg_handle_closed(struct pg *pg);
/* A connection is ready, could not be made, or was lost (its group is settled, its handle is gone). */
void pg_on_ready(struct pg_connection *connection);
void pg_on_failed(struct pg_connection *connection);
void pg_on_lost(struct pg_connection *connection);

/* pg_url.c */
/* From the URL into pool->keywords, values, hosts and perhaps connect_ms. 0, ERR_CONFIG, ERR_NOMEM. */
int pg_parse_url(struct pg *pg, const char *url, struct error *error);
void pg_url_free(struct pg *pg);

/* pg_connect.c */
/* Starts an attempt, after delay_ms. */
void pg_connect_after(struct pg_connection *connection, uint64_t delay_ms);
/* Takes the connection down without a word to anybody. */
void pg_disconnect(struct pg_connection *connection);
/* When the connection's state has lasted too long. */
void pg_deadline(struct pg_connection *connection, unsigned ms);
/* Watches the socket for these events from now on. False when libuv refuses. */
bool pg_watch(struct pg_connection *connection, int events);
void pg_unwatch(struct pg_connection *connection);

/* pg_group.c */
/* Sends the parts that were taken; `take` hands out items until NULL. False when there was nothing to send. */
bool pg_group_start(struct pg_connection *connection, struct list *(*take)(struct pg_connection *connection));
/* The socket is readable or writable while READY or BUSY. */
void pg_group_on_poll(struct pg_connection *connection, int events);
void pg_group_on_deadline(struct pg_connection *connection);
/* The connection is gone: settles what was under way. */
void pg_group_fail(struct pg_connection *connection, int status, const struct error *error);
void pg_group_free(struct pg_connection *connection);

/* pg_wire.c */
void pg_batch_begin(struct pg_batch *batch, struct pg_connection *connection);

/* pg_group.c, called by pg_wire.c: sends the query that the batch holds. */
int pg_group_send(struct pg_connection *connection, const struct pg_batch *batch);

/* pg_error.c */
/* Of a result that is an error. The message has the server's primary text and its code, never the values it was about. */
enum pg_failure pg_error_of_result(const PGresult *result, struct error *error);
/* By SQLSTATE (https://www.postgresql.org/docs/15/errcodes-appendix.html). "" or NULL: the connection broke. */
enum pg_failure pg_error_classify(const char *sqlstate, int *code);

#endif
