/* SPDX-License-Identifier: MIT */
/*
 * Start order: metrics, accounts, journal, ledger, filter, http client, Twilio client, store, pipeline, forwarder, reconciling, public listener, private listener.
 * Stop order: drain (listener and pipeline together, within the grace), then the listeners, which ask all others for their health, then the rest so that
 * nobody outlives what it uses. Each stage of stop_stages closes one room and calls
 * app_stage_closed when it is done; a room that was never opened is skipped.
 */
#include "app_internal.h"

#include "adapters/http_client.h"
#include "admin/admin.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/metrics.h"
#include "engines.h"
#include "intake/tls.h"
#include "intake/webhook.h"
#include "journal/file.h"
#include "journal/journal.h"
#include "ledger/forwarder.h"
#include "ledger/idempotency.h"
#include "pipeline/pipeline.h"
#include "reconcile/schedule.h"
#include "store/store.h"
#include "strays.h"
#include "twilio/accounts.h"
#include "twilio/client.h"
#include "twilio/private_keys.h"
#include "workers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APP_DRAIN_POLL_MS 20

/* ---- between the rooms ---- */

static size_t app_capacity(void *data)
{
	struct app *app = data;
	return app->stopping || app->pipeline == NULL ? 0 : pipeline_capacity(app->pipeline);
}

static void app_leased(void *data, const struct ledger_job *jobs, size_t count)
{
	struct app *app = data;
	pipeline_take(app->pipeline, jobs, count);
}

/* There may be work in the ledger that the pipeline does not know of. */
static void app_wake(void *data)
{
	struct app *app = data;
	if (!app->stopping)
		pipeline_wake(app->pipeline);
}

static void app_forwarded(void *data, size_t count)
{
	(void)count;
	app_wake(data);
}

static void app_answer_lost(void *data)
{
	struct app *app = data;
	if (!app->stopping)
		pipeline_reclaim(app->pipeline);
}

static void app_committed(void *data, uint64_t sequence)
{
	struct app *app = data;
	if (app->webhook != NULL)
		webhook_committed(app->webhook, sequence);
}

static void app_refused(void *data, uint64_t sequence)
{
	struct app *app = data;
	if (app->webhook != NULL)
		webhook_refused(app->webhook, sequence);
}

static void app_pipeline_outcome(void *data, const struct sid *recording_sid, enum ledger_outcome outcome, int code,
				 const char *step, const char *url)
{
	struct app *app = data;
	if (app->webhook != NULL)
		webhook_outcome(app->webhook, recording_sid, outcome, step, url);
	if (app->on_outcome != NULL)
		app->on_outcome(app->on_outcome_data, recording_sid, outcome, code, step, url);
}

/* ---- start ---- */

/* For rooms that do not know which variable set what they refuse. */
static int name_variable(struct error *error, const char *variable)
{
	const struct error why = *error;
	return error_set(error, why.code, "%s: %s", variable, why.detail);
}

int app_make_data_dir(const struct config *config, struct error *error)
{
	int made = file_make_directory(config->data_dir, 0700);
	if (made == 0 || made == -EEXIST)
		return 0;
	return error_set(error, err_from_errno(-made), "DATA_DIR: cannot create %s: %s", config->data_dir, strerror(-made));
}

void app_make_owner(char owner[LEDGER_OWNER_SIZE])
{
	char host[32] = "localhost";
	uint32_t nonce;
	(void)gethostname(host, sizeof(host) - 1);
	random_bytes(&nonce, sizeof(nonce));
	snprintf(owner, LEDGER_OWNER_SIZE, "%s:%ld:%08x", host, (long)getpid(), nonce);
}

static int app_open_ledger(struct app *app, struct error *error)
{
	char owner[LEDGER_OWNER_SIZE];
	if (app->worker != NULL)
		return engines_open_ledger(&app->ledger, app->loop, app->config, app->worker->owner, ENGINES_WORKER, error);
	app_make_owner(owner);
	return engines_open_ledger(&app->ledger, app->loop, app->config, owner, ENGINES_DAEMON, error);
}

static int app_open_data(struct app *app, struct error *error)
{
	const struct config *config = app->config;
	const struct app_worker *worker = app->worker;
	unsigned number = worker == NULL ? 0 : worker->number;
	char path[4096];

	int err = app_make_data_dir(config, error);
	if (err != 0)
		return err;
	if (workers_journal_path(config->data_dir, number, path, sizeof(path)) != 0)
		return error_set(error, ERR_CONFIG, "DATA_DIR: path is too long");
	struct journal_options journal_options = {
		.directory = path,
		.max_bytes = config->journal_max,
		.segment_bytes = config->journal_segment,
		.metrics = app->metrics,
		.lock_fd = worker != NULL && number == 0 ? worker->lock_fd : 0,
	};
	err = journal_open(&app->journal, app->loop, &journal_options, error);
	if (err != 0)
		return name_variable(error, "DATA_DIR");

	if (number == 0)
		err = strays_open(&app->strays, app->loop, config, worker == NULL ? 1 : worker->count, app->metrics, error);
	if (err == 0)
		err = app_open_ledger(app, error);
	if (err == 0)
		err = engines_open_filter(&app->filter, app->loop, config, error);
	if (err == 0)
		err = storage_open(&app->storage, app->loop, config, error);
	return err;
}

static int app_open_clients(struct app *app, struct error *error)
{
	const struct config *config = app->config;
	struct http_client_options http_options = {
		.max_connections = config->max_transfers * 2 + 8,
		.buffer_bytes = config->transfer_buffer / 4,
		.user_agent = "reeld/" REELD_VERSION,
	};
	app->http = http_client_new(app->loop, &http_options);
	if (app->http == NULL)
		return error_set(error, ERR_NOMEM, "HTTP client: cannot start");
	struct twilio_client_options twilio_options = {
		.http = app->http,
		.base = config->twilio_api_base,
		.accounts = app->accounts,
	};
	app->twilio = twilio_client_new(&twilio_options);
	if (app->twilio == NULL)
		return error_set(error, ERR_NOMEM, "Twilio client: cannot start");
	return 0;
}

static int app_open_pipeline(struct app *app, struct error *error)
{
	const struct config *config = app->config;
	static const enum unknown_call unknown_calls[] = {
		[CONFIG_UNKNOWN_CALL_FETCH] = UNKNOWN_CALL_FETCH,
		[CONFIG_UNKNOWN_CALL_ARCHIVE] = UNKNOWN_CALL_ARCHIVE,
		[CONFIG_UNKNOWN_CALL_SKIP] = UNKNOWN_CALL_SKIP,
	};
	struct pipeline_options pipeline_options = {
		.ledger = app->ledger,
		.filter = app->filter,
		.twilio = app->twilio,
		.store = storage_store(app->storage),
		.metrics = app->metrics,
		.max_transfers = config->max_transfers,
		.transfer_buffer = config->transfer_buffer,
		.max_attempts = (int)config->max_attempts,
		.retry_base_ms = config->retry_base_ms,
		.retry_max_ms = config->retry_max_ms,
		.mp3 = config->recording_format == CONFIG_FORMAT_MP3,
		.channels = config->recording_channels,
		.unknown_call = unknown_calls[config->unknown_call],
		.delete_from_twilio = config->delete_from_twilio,
		.key_prefix = storage_prefix(app->storage),
		.keys = app->keys,
		.on_outcome = app_pipeline_outcome,
		.data = app,
	};
	app->pipeline = pipeline_new(app->loop, &pipeline_options);
	if (app->pipeline == NULL || pipeline_set_accounts(app->pipeline, app->accounts) != 0)
		return error_set(error, ERR_NOMEM, "pipeline: out of memory");
	struct forwarder_options forwarder_options = {
		.journal = app->journal,
		.ledger = app->ledger,
		.filter = app->filter,
		.metrics = app->metrics,
		.capacity = app_capacity,
		.leased = app_leased,
		.forwarded = app_forwarded,
		.answer_lost = app_answer_lost,
		.committed = app_committed,
		.refused = app_refused,
		/* Where answers wait for the ledger there is nothing to yield to and nothing to gather for. */
		.prompt = config->ack != CONFIG_ACK_ACCEPTED,
		.busy_per_second = config->ack == CONFIG_ACK_LEDGER ? UINT64_MAX : 0,
		/* An event takes about 1 KiB at most: a burst is yielded to until an eighth of the journal is full. */
		.yield_events = config->journal_max / 8192,
		.data = app,
	};
	app->forwarder = forwarder_new(app->loop, &forwarder_options);
	if (app->forwarder == NULL)
		return error_set(error, ERR_NOMEM, "forwarder: out of memory");
	if (app->strays != NULL)
		strays_start(app->strays, &forwarder_options);
	/* What the worker's life before this one had leased. */
	if (app->worker != NULL)
		pipeline_reclaim(app->pipeline);
	return 0;
}

static const struct twilio_accounts *app_accounts(void *data)
{
	const struct app *app = data;
	return app->accounts;
}

static int app_open_reconcile(struct app *app, struct error *error)
{
	const struct config *config = app->config;
	if (config->reconcile_every_ms == 0)
		return 0;
	const struct reconcile_schedule_options options = {
		.reconcile = {.ledger = app->ledger,
			      .twilio = app->twilio,
			      .metrics = app->metrics,
			      .retry_after_max_ms = config->retry_max_ms,
			      .put = app_wake,
			      .data = app},
		.every_ms = config->reconcile_every_ms,
		.window_ms = config->reconcile_window_ms,
		.accounts = app_accounts,
		.data = app,
	};
	app->reconcile = reconcile_schedule_new(app->loop, &options);
	return app->reconcile != NULL ? 0 : error_set(error, ERR_NOMEM, "reconciling: out of memory");
}

static int app_open_listeners(struct app *app, struct error *error)
{
	const struct config *config = app->config;
	unsigned number = app->worker == NULL ? 0 : app->worker->number;
	char admin_listen[256];
	if (config->tls_cert != NULL) {
		app->tls = tls_context_new(config->tls_cert, config->tls_key, error);
		if (app->tls == NULL)
			return error->code;
	}
	struct webhook_options webhook_options = {
		.listen = config->listen,
		.listen_fd = app->worker == NULL ? 0 : app->worker->listen_fd,
		.journal = app->journal,
		.filter = app->filter,
		.accounts = app->accounts,
		.metrics = app->metrics,
		.tls = app->tls,
		.public_url = config->public_url,
		.trusted_proxies = config->trusted_proxies,
		.greeting = config->greeting,
		.stream_url = config->stream_url,
		.validate_signature = config->validate_signature,
		.ack_archived = config->ack == CONFIG_ACK_ARCHIVED,
		.ack_ledger = config->ack == CONFIG_ACK_LEDGER,
		.ack_timeout_ms = config->ack_timeout_ms,
		.max_connections = app->limits.connections,
		.max_body = config->max_body,
		.header_timeout_ms = (uint32_t)config->header_timeout_ms,
		.idle_timeout_ms = (uint32_t)config->idle_timeout_ms,
		.waits = app_look_if_settled,
		.health = app_health,
		.data = app,
	};
	int err = webhook_new(&app->webhook, app->loop, &webhook_options, error);
	if (err != 0)
		return name_variable(error, "LISTEN");
	if (config->admin_listen == NULL)
		return 0;
	if (number > 0 && workers_admin_address(config->admin_listen, number, admin_listen, sizeof(admin_listen)) != 0)
		return error_set(error, ERR_CONFIG, "ADMIN_LISTEN: worker %u has no port behind %s", number,
				 config->admin_listen);
	struct admin_options admin_options = {
		.listen = number > 0 ? admin_listen : config->admin_listen,
		.metrics = app->metrics,
		.ledger = app->ledger,
		.store = storage_store(app->storage),
		.filter = app->filter,
		.token = config->admin_token,
		.requeued = app_wake,
		.history = true,
		.collect = app_collect,
		.health = app_health,
		.data = app,
	};
	err = admin_new(&app->admin, app->loop, &admin_options, error);
	return err == 0 ? 0 : name_variable(error, "ADMIN_LISTEN");
}

static void warn_of_limit(const struct app_limits *limits)
{
	if (limits->limit >= limits->wanted)
		return;
	log_event(LOG_WARN, "limits.open_files", LOG_U64("limit", limits->limit), LOG_U64("wanted", limits->wanted),
		  LOG_U64("connections", limits->connections),
		  LOG_STR("advice", "fewer public connections than MAX_CONNECTIONS: raise the limit of open files (ulimit -n, "
				    "LimitNOFILE=, --ulimit nofile=), or lower MAX_CONNECTIONS"));
}

static int app_start(struct app *app, struct error *error)
{
	if (app_limit_connections(app->config, descriptors_raise(), &app->limits, error) != 0)
		return error->code;
	warn_of_limit(&app->limits);
	app->metrics = metrics_new();
	if (app->metrics == NULL)
		return error_set(error, ERR_NOMEM, "metrics: out of memory");
	metrics_get(app->metrics, METRIC_BUILD_INFO, REELD_VERSION)->value = 1;
	int err = app_build_accounts(app->config, &app->accounts, error);
	if (err == 0)
		err = app_load_keys(app->config, &app->keys, error);
	if (err == 0)
		err = app_open_data(app, error);
	if (err == 0)
		err = app_open_clients(app, error);
	if (err == 0)
		err = app_open_pipeline(app, error);
	if (err == 0)
		err = app_open_reconcile(app, error);
	if (err == 0)
		err = app_open_listeners(app, error);
	if (err != 0)
		return err;
	storage_tend(app->storage);
	app->lag = metrics_histogram(app->metrics, METRIC_LOOP_LAG);
	app->lag_expected_ns = clock_mono_ns() + APP_LAG_INTERVAL_MS * UINT64_C(1000000);
	REQUIRE(uv_timer_start(&app->lag_timer, app_measure_lag, APP_LAG_INTERVAL_MS, APP_LAG_INTERVAL_MS) == 0);
	return 0;
}

static void app_ignore_stopped(void *data)
{
	(void)data;
}

int app_new(struct app **ret, uv_loop_t *loop, const struct config *config, const struct app_worker *worker, struct error *error)
{
	struct app *app = calloc(1, sizeof(*app));
	*ret = NULL;
	if (app == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	app->loop = loop;
	app->config = config;
	app->worker = worker;
	REQUIRE(uv_timer_init(loop, &app->lag_timer) == 0);
	REQUIRE(uv_timer_init(loop, &app->drain_timer) == 0);
	app->lag_timer.data = app;
	app->drain_timer.data = app;
	app->open_timers = 2;
	int err = app_start(app, error);
	if (err != 0) {
		app_stop(app, app_ignore_stopped, NULL);
		return err;
	}
	app->started = true;
	struct journal_stats journal;
	char storage[512];
	storage_describe(app->storage, storage, sizeof(storage));
	journal_stats(app->journal, &journal);
	if (journal.events > 0)
		log_event(LOG_INFO, "journal.replay", LOG_U64("events", journal.events));
	if (!config->validate_signature)
		log_event(LOG_WARN, "config.signatures_not_validated",
			  LOG_STR("advice", "VALIDATE_TWILIO_SIGNATURE=false lets anybody post events: for local work only"));
	log_event(LOG_INFO, "reeld.started", LOG_STR("version", REELD_VERSION), LOG_STR("listen", config->listen),
		  LOG_I64("port", app_public_port(app)), LOG_STR("admin_listen", config->admin_listen),
		  LOG_I64("admin_port", app_admin_port(app)), LOG_STR("data_dir", config->data_dir),
		  LOG_STR("ledger", ledger_kind(app->ledger)), LOG_STR("filter", idempotency_kind(app->filter)),
		  LOG_STR("store", storage));
	*ret = app;
	return 0;
}

int app_public_port(const struct app *app)
{
	return webhook_port(app->webhook);
}

int app_admin_port(const struct app *app)
{
	return app->admin == NULL ? 0 : admin_port(app->admin);
}

void app_on_outcome(struct app *app, app_outcome_cb *callback, void *data)
{
	app->on_outcome = callback;
	app->on_outcome_data = data;
}

/* ---- stop ---- */

static void app_stage_next(struct app *app);

static void app_stage_closed(void *data)
{
	app_stage_next(data);
}

static void app_timer_closed(uv_handle_t *handle)
{
	struct app *app = handle->data;
	if (--app->open_timers == 0)
		app_stage_next(app);
}

static void app_close_timers(struct app *app)
{
	uv_close((uv_handle_t *)&app->lag_timer, app_timer_closed);
	uv_close((uv_handle_t *)&app->drain_timer, app_timer_closed);
}

/* Each closes one room and returns true when app_stage_closed will come, false when there is nothing to wait for. */
#define APP_STAGE(name, member, close_call)                     \
	static bool app_stop_##name(struct app *app)            \
	{                                                       \
		if (app->member == NULL)                        \
			return false;                           \
		close_call(app->member, app_stage_closed, app); \
		app->member = NULL;                             \
		return true;                                    \
	}
APP_STAGE(webhook, webhook, webhook_close)
APP_STAGE(reconcile, reconcile, reconcile_schedule_close)
APP_STAGE(forwarder, forwarder, forwarder_close)
APP_STAGE(strays, strays, strays_close)
APP_STAGE(pipeline, pipeline, pipeline_close)
APP_STAGE(http, http, http_client_close)
APP_STAGE(store, storage, storage_close)
APP_STAGE(filter, filter, idempotency_close)
APP_STAGE(admin, admin, admin_close)
APP_STAGE(ledger, ledger, ledger_close)
APP_STAGE(journal, journal, journal_close)

static bool app_stop_timers(struct app *app)
{
	app_close_timers(app);
	return true;
}

static bool (*const stop_stages[])(struct app *app) = {
	app_stop_webhook, app_stop_admin, app_stop_reconcile, app_stop_forwarder, app_stop_strays,  app_stop_pipeline,
	app_stop_http,    app_stop_store, app_stop_filter,    app_stop_ledger,    app_stop_journal, app_stop_timers,
};
#define STOP_STAGES (sizeof(stop_stages) / sizeof(stop_stages[0]))

static void app_free(struct app *app)
{
	void (*stopped)(void *data) = app->stopped;
	void *data = app->stopped_data;
	twilio_client_free(&app->twilio);
	twilio_accounts_free(&app->accounts);
	private_keys_free(&app->keys);
	tls_context_free(&app->tls);
	metrics_free(&app->metrics);
	config_free(&app->reloaded);
	free(app);
	stopped(data);
}

static void app_stage_next(struct app *app)
{
	while (app->stage < STOP_STAGES) {
		if (stop_stages[app->stage++](app))
			return;
	}
	app_free(app);
}

static void app_poll_drained(uv_timer_t *timer)
{
	struct app *app = timer->data;
	bool drained = app->pipeline_drained && (app->webhook == NULL || webhook_busy(app->webhook) == 0);
	if (!drained && uv_now(app->loop) < app->drain_until_ms)
		return;
	uv_timer_stop(&app->drain_timer);
	uv_timer_stop(&app->lag_timer);
	if (app->started)
		log_event(drained ? LOG_INFO : LOG_WARN, drained ? "reeld.drained" : "reeld.grace_over",
			  LOG_U64("running_jobs", app->pipeline == NULL ? 0 : pipeline_running(app->pipeline)),
			  LOG_U64("open_requests", app->webhook == NULL ? 0 : webhook_busy(app->webhook)));
	app_stage_next(app);
}

static void app_pipeline_drained(void *data)
{
	struct app *app = data;
	app->pipeline_drained = true;
}

void app_stop(struct app *app, void (*stopped)(void *data), void *data)
{
	REQUIRE(!app->stopping);
	app->stopping = true;
	app->stopped = stopped;
	app->stopped_data = data;
	app->drain_until_ms = uv_now(app->loop) + (uint64_t)app->config->shutdown_grace_ms;
	if (app->webhook != NULL)
		webhook_drain(app->webhook);
	if (app->pipeline != NULL)
		pipeline_drain(app->pipeline, app_pipeline_drained, app);
	else
		app->pipeline_drained = true;
	REQUIRE(uv_timer_start(&app->drain_timer, app_poll_drained, 0, APP_DRAIN_POLL_MS) == 0);
}
