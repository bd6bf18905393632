/* SPDX-License-Identifier: MIT */
#include "admin/admin.h"

#include "admin/process_metrics.h"
#include "base/check.h"
#include "intake/connection.h"

#include <stdlib.h>
#include <string.h>

/* A scrape does not wait longer than this for the ledger's counts; it then shows the last ones. */
#define ADMIN_COUNTS_TIMEOUT_MS 1000
#define ADMIN_MAX_CONNECTIONS 64

struct scrape {
	struct list link;
	struct connection *connection;
	enum metrics_format format;
};

struct admin {
	struct admin_options options;
	struct server *server;
	uv_timer_t timeout;
	struct ledger_request counts;
	bool counting;
	struct list waiting; /* scrapes that share the one count under way */
	bool server_closed;
	bool timer_closed;
	void (*closed)(void *data);
	void *closed_data;
};

static void admin_answer_scrape(struct admin *admin, struct scrape *scrape)
{
	static const char *const types[] = {
		[METRICS_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
		[METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
	};
	size_t len = 0;
	char *text = metrics_render(admin->options.metrics, scrape->format, &len);
	if (text == NULL)
		reply_error(scrape->connection, 500, "out of memory");
	else
		reply_send(scrape->connection, &(struct reply){.status = 200,
							       .content_type = types[scrape->format],
							       .headers = "Cache-Control: no-store\r\n",
							       .body = slice_make(text, len)});
	free(text);
	free(scrape);
}

static void admin_answer_waiting(struct admin *admin)
{
	struct list waiting;
	list_move(&waiting, &admin->waiting);
	if (list_empty(&waiting))
		return;
	if (admin->options.collect != NULL)
		admin->options.collect(admin->options.data);
	process_metrics_collect(admin->options.metrics);
	for (struct list *link = list_take(&waiting); link != NULL; link = list_take(&waiting))
		admin_answer_scrape(admin, LIST_ENTRY(link, struct scrape, link));
}

static void admin_maybe_closed(struct admin *admin)
{
	if (admin->closed == NULL || !admin->server_closed || !admin->timer_closed || admin->counting)
		return;
	void (*closed)(void *data) = admin->closed;
	void *data = admin->closed_data;
	free(admin);
	closed(data);
}

static void admin_counted(struct ledger_request *request, int status)
{
	struct admin *admin = request->data;
	admin->counting = false;
	if (status == 0) {
		static const enum ledger_status shown[] = {LEDGER_PENDING, LEDGER_RUNNING, LEDGER_DEAD};
		for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
			metrics_get(admin->options.metrics, METRIC_JOBS, ledger_status_name(shown[i]))
				->value = (double)request->counts[shown[i]];
	}
	ledger_request_release(request);
	if (admin->closed != NULL) {
		admin_maybe_closed(admin);
		return;
	}
	uv_timer_stop(&admin->timeout);
	admin_answer_waiting(admin);
}

static void admin_counts_late(uv_timer_t *timer)
{
	admin_answer_waiting(timer->data);
}

static void admin_on_metrics(struct admin *admin, struct connection *connection, const struct request *request)
{
	struct scrape *scrape = calloc(1, sizeof(*scrape));
	if (scrape == NULL) {
		reply_error(connection, 500, "out of memory");
		return;
	}
	struct slice accept = request_header(request, SLICE("Accept"));
	scrape->connection = connection;
	scrape->format = accept.ptr != NULL && memmem(accept.ptr, accept.len, "application/openmetrics-text", 28) != NULL
				 ? METRICS_OPENMETRICS
				 : METRICS_PROMETHEUS;
	list_append(&admin->waiting, &scrape->link);
	if (!uv_is_active((uv_handle_t *)&admin->timeout))
		uv_timer_start(&admin->timeout, admin_counts_late, ADMIN_COUNTS_TIMEOUT_MS, 0);
	if (admin->counting)
		return;
	admin->counting = true;
	admin->counts = (struct ledger_request){.op = LEDGER_COUNTS, .done = admin_counted, .data = admin};
	ledger_submit(admin->options.ledger, &admin->counts);
}

static void admin_on_ready(struct admin *admin, struct connection *connection)
{
	struct buffer body;
	buffer_init(&body, 16384);
	bool ready = admin->options.health(admin->options.data, &body);
	reply_send(connection, &(struct reply){.status = ready ? 200 : 503,
					       .content_type = "application/json",
					       .headers = "Cache-Control: no-store\r\n",
					       .body = buffer_slice(&body)});
	buffer_free(&body);
}

static void admin_on_request(struct connection *connection, struct request *request, void *data)
{
	struct admin *admin = data;
	if (request->method != REQUEST_GET && request->method != REQUEST_HEAD) {
		struct reply reply = {.status = 405,
				      .content_type = "application/json",
				      .headers = "Allow: GET, HEAD\r\n",
				      .body = SLICE("{\"error\":\"Method not allowed\"}")};
		reply_send(connection, &reply);
	} else if (slice_equal(request->path, SLICE("/metrics"))) {
		admin_on_metrics(admin, connection, request);
	} else if (slice_equal(request->path, SLICE("/readyz"))) {
		admin_on_ready(admin, connection);
	} else if (slice_equal(request->path, SLICE("/healthz"))) {
		reply_send(
			connection,
			&(struct reply){.status = 200, .content_type = "application/json", .body = SLICE("{\"status\":\"ok\"}")});
	} else {
		reply_error(connection, 404, "Not found");
	}
}

int admin_new(struct admin **ret, uv_loop_t *loop, const struct admin_options *options, struct error *error)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	if (admin == NULL)
		return error_set(error, ERR_NOMEM, "private listener: out of memory");
	admin->options = *options;
	list_init(&admin->waiting);
	struct server_options server_options = {
		.on_request = admin_on_request,
		.data = admin,
		.max_connections = ADMIN_MAX_CONNECTIONS,
		.max_body = 4096,
		.header_timeout_ms = 10000,
		.idle_timeout_ms = 60000,
		.name = "private",
	};
	admin->server = server_new(loop, &server_options);
	if (admin->server == NULL) {
		free(admin);
		return error_set(error, ERR_NOMEM, "private listener: out of memory");
	}
	REQUIRE(uv_timer_init(loop, &admin->timeout) == 0);
	admin->timeout.data = admin;
	*ret = admin;
	return server_listen(admin->server, options->listen, error);
}

int admin_port(const struct admin *admin)
{
	return server_port(admin->server);
}

static void admin_server_closed(void *data)
{
	struct admin *admin = data;
	admin->server_closed = true;
	admin_maybe_closed(admin);
}

static void admin_timer_closed(uv_handle_t *handle)
{
	struct admin *admin = handle->data;
	admin->timer_closed = true;
	admin_maybe_closed(admin);
}

void admin_close(struct admin *admin, void (*closed)(void *data), void *data)
{
	admin_answer_waiting(admin); /* every request gets its one reply before the server closes */
	admin->closed = closed;
	admin->closed_data = data;
	uv_close((uv_handle_t *)&admin->timeout, admin_timer_closed);
	server_close(admin->server, admin_server_closed, admin);
}
