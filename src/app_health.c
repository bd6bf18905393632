/* SPDX-License-Identifier: MIT */
#include "app_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "engines.h"
#include "journal/journal.h"
#include "ledger/idempotency.h"
#include "pipeline/pipeline.h"
#include "store/store.h"
#include "strays.h"

static void append_dependency(struct buffer *body, const char *name, const char *kind, bool up, bool last)
{
	buffer_printf(body, "\"%s\":{\"kind\":\"%s\",\"up\":%s}%s", name, kind, up ? "true" : "false", last ? "" : ",");
}

/* Age of the oldest event that the ledger does not have yet. */
static double inbox_age_s(const struct journal_stats *journal)
{
	double age = journal->events == 0 || journal->oldest_ms < 0 ? 0 : (double)(clock_wall_ms() - journal->oldest_ms) / 1000.0;
	return age < 0 ? 0 : age;
}

bool app_health(void *data, struct buffer *body)
{
	struct app *app = data;
	struct journal_stats journal;
	journal_stats(app->journal, &journal);
	strays_add_stats(app->strays, &journal);
	bool ready = journal.accepting && !app->stopping;
	buffer_printf(body, "{\"ready\":%s,\"stopping\":%s,\"inbox\":{\"writable\":%s,\"events\":%llu", ready ? "true" : "false",
		      app->stopping ? "true" : "false", journal.accepting ? "true" : "false", (unsigned long long)journal.events);
	buffer_printf(body, ",\"oldestSeconds\":%.3f", inbox_age_s(&journal));
	if (!journal.accepting)
		buffer_printf(body, ",\"reason\":\"%s\"", err_name(journal.last_error));
	buffer_append_cstr(body, "},\"dependencies\":{");
	append_dependency(body, "ledger", ledger_kind(app->ledger), ledger_up(app->ledger), false);
	append_dependency(body, "idempotency", idempotency_kind(app->filter), idempotency_up(app->filter), false);
	append_dependency(body, "twilio", "rest", pipeline_twilio_up(app->pipeline), false);
	append_dependency(body, "store", store_kind(storage_store(app->storage)), pipeline_store_up(app->pipeline), true);
	buffer_append_cstr(body, "}}");
	return ready;
}

void app_collect(void *data)
{
	struct app *app = data;
	struct journal_stats journal;
	journal_stats(app->journal, &journal);
	strays_add_stats(app->strays, &journal);
	metrics_get(app->metrics, METRIC_INBOX_EVENTS)->value = (double)journal.events;
	metrics_get(app->metrics, METRIC_INBOX_OLDEST)->value = inbox_age_s(&journal);
	metrics_get(app->metrics, METRIC_LOG_DROPPED)->value = (double)log_dropped();
	metrics_get(app->metrics, METRIC_DEPENDENCY_UP, "ledger")->value = ledger_up(app->ledger);
	metrics_get(app->metrics, METRIC_DEPENDENCY_UP, "idempotency")->value = idempotency_up(app->filter);
}

void app_measure_lag(uv_timer_t *timer)
{
	struct app *app = timer->data;
	uint64_t now = clock_mono_ns();
	double late = now > app->lag_expected_ns ? (double)(now - app->lag_expected_ns) / 1e9 : 0;
	histogram_observe(app->lag, late);
	app->lag_expected_ns = now + APP_LAG_INTERVAL_MS * UINT64_C(1000000);
}
