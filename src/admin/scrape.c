/* SPDX-License-Identifier: MIT */
/* /metrics: scrapes at the same time share one count of the ledger's jobs, with each other and with the history. */
#include "admin/admin_internal.h"

#include "admin/process_metrics.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* A scrape does not wait longer than this for the ledger's counts; it then shows the last ones. */
#define ADMIN_COUNTS_TIMEOUT_MS 1000

struct scrape {
	struct list link;
	struct connection *connection;
	enum metrics_format format;
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

void admin_answer_waiting(struct admin *admin)
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

static void admin_counted(struct ledger_request *request, int status)
{
	struct admin *admin = request->data;
	admin->counting = false;
	if (status == 0) {
		static const enum ledger_status shown[] = {LEDGER_PENDING, LEDGER_RUNNING, LEDGER_DEAD};
		for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
			metrics_get(admin->options.metrics, METRIC_JOBS, ledger_status_name(shown[i]))
				->value = (double)request->counts[shown[i]];
		double age = request->oldest_ms < 0 ? 0 : (double)(clock_wall_ms() - request->oldest_ms) / 1000;
		metrics_get(admin->options.metrics, METRIC_JOBS_OLDEST)->value = age > 0 ? age : 0;
	}
	if (admin->history != NULL)
		history_counted(admin->history, status == 0 ? request->counts : NULL);
	ledger_request_release(request);
	if (!admin_is_closing(admin)) {
		uv_timer_stop(&admin->timeout);
		admin_answer_waiting(admin);
	}
	admin_release(admin);
}

void admin_counts_late(uv_timer_t *timer)
{
	admin_answer_waiting(timer->data);
}

void admin_ask_counts(struct admin *admin)
{
	if (admin->counting || admin_is_closing(admin))
		return;
	admin->counting = true;
	admin_hold(admin);
	admin->counts = (struct ledger_request){.op = LEDGER_COUNTS, .done = admin_counted, .data = admin};
	ledger_submit(admin->options.ledger, &admin->counts);
}

void admin_on_metrics(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)sid;
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
	admin_ask_counts(admin);
}
