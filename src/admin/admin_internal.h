/* SPDX-License-Identifier: MIT */
/* What the files of the private listener share; nobody else includes it. The contract is admin.h. */
#ifndef REELD_ADMIN_ADMIN_INTERNAL_H
#define REELD_ADMIN_ADMIN_INTERNAL_H

#include "admin/admin.h"
#include "admin/guard.h"
#include "admin/history.h"
#include "admin/routes.h"
#include "admin/ticket.h"
#include "base/list.h"
#include "intake/connection.h"

/* api_stats.c: the answer kept for a moment, and those who wait for the next. */
struct admin_stats {
	uv_timer_t timer;
	struct ledger_request request;
	bool asking;
	uint64_t asked_ms; /* uv_now() clock */
	struct list waiting;
	struct buffer body;
	bool fresh;
	uint64_t until_ms;
};
struct admin {
	struct admin_options options;
	uv_loop_t *loop;
	struct server *server;
	struct guard guard;
	struct ticket_key ticket_key;
	struct admin_stats stats;

	/* scrape.c */
	uv_timer_t timeout;
	struct ledger_request counts;
	bool counting;
	struct list waiting; /* scrapes that share the one count under way */

	struct history *history; /* NULL: none is kept */

	size_t open_handles; /* not closed yet: the server and every handle of the listener; see admin_handle_closed */
	size_t held;         /* answers of others that are awaited; see admin_hold */
	void (*closed)(void *data);
	void *closed_data;
};

/* Answers one request of its route, then or later, by the rules of connection.h. `sid` is the {sid} of the path. */
typedef void admin_handler(struct admin *admin, struct connection *connection, const struct request *request,
			   const struct sid *sid);
#define ROUTE(pattern, methods, guard, handler) admin_handler handler;
#include "admin/routes.def"
#undef ROUTE

/* The headers of everything private: nobody stores it, sniffs it or embeds it elsewhere. */
#define ADMIN_PRIVATE_HEADERS \
	"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n"

/* {"error":"…"} with ADMIN_PRIVATE_HEADERS and `headers` (further lines with CRLF, or NULL). */
void admin_reply_error(struct connection *connection, int status, const char *headers, const char *message);
/* 200 with a JSON body and ADMIN_PRIVATE_HEADERS; 500 when the buffer failed. The buffer stays the caller's. */
void admin_reply_json(struct connection *connection, const struct buffer *body);

/* What the ledger's failure means for who asked: 404, 400, or 503 with Retry-After. */
void admin_reply_ledger_error(struct connection *connection, int status, const struct error *error);

/* The listener is not freed while it is held: around every request to another room. */
void admin_hold(struct admin *admin);
void admin_release(struct admin *admin);
/* The listener closes: nothing new is to be started. */
bool admin_is_closing(const struct admin *admin);
/*
 * Handles that live as long as the listener: uv_handle_t.data is the admin; count it in open_handles when it is initialised (in admin_new) and
 * close it in admin_close with this callback.
 */
void admin_handle_closed(uv_handle_t *handle);

/* api_stats.c */
void admin_stats_init(struct admin *admin);
void admin_stats_close(struct admin *admin);
void admin_stats_free(struct admin_stats *stats);

/* scrape.c: answers every scrape that waits, with what is known. */
void admin_answer_waiting(struct admin *admin);
void admin_counts_late(uv_timer_t *timer);
/* Asks the ledger for its counts, unless that is under way or the listener closes. The gauges and the history are told. */
void admin_ask_counts(struct admin *admin);

/* api_history.c: the handle counts in open_handles. False when out of memory. */
bool admin_open_history(struct admin *admin);

#endif
