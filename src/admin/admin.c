/* SPDX-License-Identifier: MIT */
/* The listener itself: routing, who may ask, health; start and end. The answers are in scrape.c and api_*.c. */
#include "admin/admin_internal.h"

#include "admin/query.h"
#include "base/check.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define ADMIN_MAX_CONNECTIONS 64

struct route {
	const char *pattern;
	unsigned methods;
	enum route_guard guard;
	admin_handler *handler;
};

static const struct route routes[] = {
#define ROUTE(pattern, methods, guard, handler) {pattern, methods, guard, handler},
#include "admin/routes.def"
#undef ROUTE
};

/* ---- answers ---- */

void admin_reply_error(struct connection *connection, int status, const char *headers, const char *message)
{
	struct buffer body;
	struct buffer lines;
	buffer_init(&body, 4096);
	buffer_init(&lines, 4096);
	buffer_append_cstr(&body, "{\"error\":\"");
	buffer_append_json(&body, slice_from_cstr(message));
	buffer_append_cstr(&body, "\"}");
	buffer_append_cstr(&lines, ADMIN_PRIVATE_HEADERS);
	buffer_append_cstr(&lines, headers == NULL ? "" : headers);
	const char *text = buffer_cstr(&lines);
	if (body.failed || text == NULL)
		reply_error(connection, 500, "out of memory");
	else
		reply_send(connection, &(struct reply){.status = status,
						       .content_type = "application/json",
						       .headers = text,
						       .body = buffer_slice(&body)});
	buffer_free(&lines);
	buffer_free(&body);
}

void admin_reply_json(struct connection *connection, const struct buffer *body)
{
	if (body->failed)
		admin_reply_error(connection, 500, NULL, "out of memory");
	else
		reply_send(connection, &(struct reply){.status = 200,
						       .content_type = "application/json",
						       .headers = ADMIN_PRIVATE_HEADERS,
						       .body = buffer_slice(body)});
}

void admin_reply_ledger_error(struct connection *connection, int status, const struct error *error)
{
	const char *message = error->code != 0 ? error->detail : err_text(status);
	if (status == ERR_NOT_FOUND)
		admin_reply_error(connection, 404, NULL, message);
	else if (status == ERR_INVALID)
		admin_reply_error(connection, 400, NULL, message);
	else
		admin_reply_error(connection, 503, "Retry-After: 5\r\n", message);
}

void admin_on_health(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)admin;
	(void)request;
	(void)sid;
	reply_send(connection,
		   &(struct reply){.status = 200, .content_type = "application/json", .body = SLICE("{\"status\":\"ok\"}")});
}

void admin_on_ready(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)request;
	(void)sid;
	struct buffer body;
	buffer_init(&body, 16384);
	bool ready = admin->options.health(admin->options.data, &body);
	reply_send(connection, &(struct reply){.status = ready ? 200 : 503,
					       .content_type = "application/json",
					       .headers = "Cache-Control: no-store\r\n",
					       .body = buffer_slice(&body)});
	buffer_free(&body);
}

/* ---- routing ---- */

/* False when the request was refused and answered. */
static bool pass_guard(struct admin *admin, struct connection *connection, const struct request *request,
		       const struct route *route, const struct sid *sid)
{
	char ticket[TICKET_SIZE];
	if (route->guard == ROUTE_OPEN)
		return true;
	bool ticket_opens = route->guard == ROUTE_TICKET &&
			    admin_query_get(request->query, "ticket", ticket, sizeof(ticket)) == QUERY_FOUND &&
			    ticket_holds(&admin->ticket_key, sid, ticket, clock_wall_ms() / 1000);
	enum guard_verdict verdict = guard_check(&admin->guard, request);
	switch (verdict == GUARD_NO_TOKEN && ticket_opens ? GUARD_PASS : verdict) {
	case GUARD_PASS:
		return true;
	case GUARD_NO_TOKEN:
		admin_reply_error(connection, 401, "WWW-Authenticate: Bearer realm=\"reeld\"\r\n",
				  "A valid token is needed: Authorization: Bearer ADMIN_TOKEN");
		return false;
	case GUARD_FOREIGN_HOST:
		admin_reply_error(connection, 403, NULL, "Without ADMIN_TOKEN the Host must be an IP address or localhost");
		return false;
	case GUARD_CROSS_SITE:
	default:
		admin_reply_error(connection, 403, NULL, "Changes are not accepted from another site's pages");
		return false;
	}
}

static void admin_on_request(struct connection *connection, struct request *request, void *data)
{
	struct admin *admin = data;
	struct sid sid;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct route *route = &routes[i];
		if (!route_matches(route->pattern, request->path, &sid))
			continue;
		if (!pass_guard(admin, connection, request, route, &sid))
			return;
		if (route_allows(route->methods, request->method))
			route->handler(admin, connection, request, &sid);
		else
			admin_reply_error(connection, 405, route_allow_header(route->methods), "Method not allowed");
		return;
	}
	/* Who may not ask is not told either what there is. */
	static const struct route unknown = {.pattern = "/api/", .guard = ROUTE_PRIVATE};
	if (slice_starts_with(request->path, slice_from_cstr(unknown.pattern)) &&
	    !pass_guard(admin, connection, request, &unknown, &sid))
		return;
	admin_reply_error(connection, 404, NULL, "Not found");
}

/* ---- start and end ---- */

int admin_new(struct admin **ret, uv_loop_t *loop, const struct admin_options *options, struct error *error)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	if (admin == NULL)
		return error_set(error, ERR_NOMEM, "private listener: out of memory");
	admin->options = *options;
	admin->loop = loop;
	list_init(&admin->waiting);
	ticket_key_init(&admin->ticket_key);
	struct server_options server_options = {
		.on_request = admin_on_request,
		.data = admin,
		.max_connections = ADMIN_MAX_CONNECTIONS,
		.max_body = 4096,
		.header_timeout_ms = 10000,
		.idle_timeout_ms = 60000,
		.name = "private",
	};
	int err = guard_set_token(&admin->guard, options->token);
	admin->server = err == 0 ? server_new(loop, &server_options) : NULL;
	if (admin->server == NULL) {
		free(admin);
		return error_set(error, ERR_NOMEM, "private listener: out of memory");
	}
	REQUIRE(uv_timer_init(loop, &admin->timeout) == 0);
	admin->timeout.data = admin;
	admin->open_handles = 2;
	admin_stats_init(admin);
	*ret = admin;
	if (options->history && !admin_open_history(admin))
		return error_set(error, ERR_NOMEM, "private listener: out of memory");
	return server_listen(admin->server, options->listen, error);
}

int admin_port(const struct admin *admin)
{
	return server_port(admin->server);
}

int admin_set_token(struct admin *admin, const char *token)
{
	return guard_set_token(&admin->guard, token);
}

bool admin_has_token(const struct admin *admin)
{
	return admin->guard.has_token;
}

static void admin_maybe_closed(struct admin *admin)
{
	if (admin->closed == NULL || admin->open_handles > 0 || admin->held > 0)
		return;
	void (*closed)(void *data) = admin->closed;
	void *data = admin->closed_data;
	admin_stats_free(&admin->stats);
	free(admin);
	closed(data);
}

void admin_hold(struct admin *admin)
{
	admin->held++;
}

void admin_release(struct admin *admin)
{
	REQUIRE(admin->held > 0);
	admin->held--;
	admin_maybe_closed(admin);
}

bool admin_is_closing(const struct admin *admin)
{
	return admin->closed != NULL;
}

static void admin_server_closed(void *data)
{
	struct admin *admin = data;
	admin->open_handles--;
	admin_maybe_closed(admin);
}

void admin_handle_closed(uv_handle_t *handle)
{
	admin_server_closed(handle->data);
}

void admin_close(struct admin *admin, void (*closed)(void *data), void *data)
{
	admin_answer_waiting(admin); /* every request gets its one reply before the server closes */
	admin->closed = closed;
	admin->closed_data = data;
	uv_close((uv_handle_t *)&admin->timeout, admin_handle_closed);
	if (admin->history != NULL) {
		history_close(admin->history, admin_server_closed, admin);
		admin->history = NULL;
	}
	admin_stats_close(admin);
	server_close(admin->server, admin_server_closed, admin);
}
