/* SPDX-License-Identifier: MIT */
/* A run: the lease and its heartbeat, one account after the other, the end. Every answer and every pause leads to reconcile_go, and nothing else does a step. */
#include "reconcile/reconcile_internal.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE 200
#define PAUSE_MS 200
#define YOUNG_MS INT64_C(300000)
#define BACKLOG 1000
#define RETRY_MS 1000
#define RETRY_MAX_MS UINT64_C(60000)
/* About two minutes of failures; a Twilio that asks for patience gets half an hour. */
#define FAILURES_MAX 7
#define THROTTLES_MAX 30
#define PAUSE_MAX_MS UINT64_C(10000)
/* A longer wait is not worth holding the lease for. */
#define PATIENCE_MS INT64_C(180000)
#define RETRY_AFTER_MAX_MS INT64_C(3600000)
#define PAYLOADS_MAX ((size_t)RECONCILE_BATCH * 40 * 1024)

static void on_timer(uv_timer_t *timer)
{
	struct reconcile *reconcile = timer->data;
	reconcile_go(reconcile, reconcile->step);
}

void reconcile_later(struct reconcile *reconcile, enum reconcile_step step, uint64_t delay_ms)
{
	reconcile->step = step;
	uv_timer_start(&reconcile->timer, on_timer, reconcile->stopping ? 0 : delay_ms, 0);
}

void reconcile_submit(struct reconcile *reconcile, ledger_cb *done)
{
	reconcile->ledger.done = done;
	reconcile->ledger.data = reconcile;
	ledger_submit(reconcile->options.ledger, &reconcile->ledger);
}

/* ---- the end of a run ---- */

static void handle_closed(uv_handle_t *handle)
{
	struct reconcile *reconcile = handle->data;
	if (--reconcile->open_handles > 0)
		return;
	void (*closed)(void *data) = reconcile->closed;
	void *data = reconcile->closed_data;
	buffer_free(&reconcile->payloads);
	free(reconcile);
	closed(data);
}

static void close_handles(struct reconcile *reconcile)
{
	if (reconcile->handles_closing)
		return;
	reconcile->handles_closing = true;
	uv_close((uv_handle_t *)&reconcile->timer, handle_closed);
	uv_close((uv_handle_t *)&reconcile->beat_timer, handle_closed);
}

static void complete(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	uv_timer_stop(&reconcile->beat_timer);
	reconcile->completing = reconcile->beating;
	if (reconcile->beating)
		return;
	reconcile_drop_page(reconcile);
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){0};
	buffer_free(&reconcile->payloads);
	reconcile->run = NULL;
	reconcile->leased = false;
	run->done(run, reconcile->result);
	if (reconcile->closing)
		close_handles(reconcile);
}

static void on_ended(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	if (status == ERR_LEASE_LOST && reconcile->result == 0) {
		reconcile->result = status;
		reconcile->run->error = request->error;
	} else if (status != 0 && reconcile->result == 0) {
		/* The walk is done; without its end it is done once more, after the lease ran out. */
		reconcile->result = error_set(&reconcile->run->error, status, "the end of the walk was not recorded: %s",
					      request->error.detail);
	}
	complete(reconcile);
}

static void step_end(struct reconcile *reconcile)
{
	if (reconcile->run->failed_accounts > 0 && reconcile->result == 0)
		reconcile->result = reconcile->run->error.code;
	if (!reconcile->leased) {
		complete(reconcile);
		return;
	}
	uv_timer_stop(&reconcile->beat_timer);
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){
		.op = LEDGER_RECONCILE_END,
		.reconcile = {.kind = reconcile->run->kind,
			      .epoch = reconcile->beat.reconcile.epoch,
			      .finished = reconcile->result == 0},
	};
	reconcile_submit(reconcile, on_ended);
}

/* The answer of what is under way leads to the end. */
static void stop_with(struct reconcile *reconcile, int status)
{
	if (reconcile->stopping)
		return;
	reconcile->stopping = true;
	reconcile->result = status;
	if (reconcile->fetching)
		twilio_cancel(&reconcile->twilio);
	if (uv_is_active((uv_handle_t *)&reconcile->timer))
		uv_timer_start(&reconcile->timer, on_timer, 0, 0);
}

void reconcile_run_failed(struct reconcile *reconcile, int status, const struct error *error)
{
	if (reconcile->run->error.code == 0)
		reconcile->run->error = *error;
	stop_with(reconcile, status);
	reconcile_go(reconcile, RECONCILE_STEP_END);
}

/* ---- the lease ---- */

static void on_beat(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	reconcile->beating = false;
	if (status == ERR_LEASE_LOST && !reconcile->stopping) {
		reconcile->leased = false;
		if (reconcile->run->error.code == 0)
			reconcile->run->error = request->error;
		stop_with(reconcile, status);
	} else if (status != 0 && status != ERR_LEASE_LOST) {
		log_event(LOG_WARN, "reconcile.heartbeat_failed", LOG_STR("reason", err_name(status)),
			  LOG_STR("detail", request->error.detail));
	}
	ledger_request_release(request);
	if (reconcile->completing)
		complete(reconcile);
}

static void on_beat_timer(uv_timer_t *timer)
{
	struct reconcile *reconcile = timer->data;
	if (reconcile->beating || !reconcile->leased)
		return;
	reconcile->beating = true;
	reconcile->beat = (struct ledger_request){
		.op = LEDGER_RECONCILE_SAVE,
		.reconcile = {.kind = reconcile->run->kind, .epoch = reconcile->beat.reconcile.epoch},
		.done = on_beat,
		.data = reconcile,
	};
	ledger_submit(reconcile->options.ledger, &reconcile->beat);
}

static void on_begun(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	struct reconcile_run *run = reconcile->run;
	if (status != 0) {
		reconcile_retry(reconcile, status, -1, &request->error, reconcile_run_failed);
		return;
	}
	const struct ledger_reconcile *answer = &request->reconcile;
	reconcile->failures = 0;
	run->finished_at_ms = answer->finished_at_ms;
	if (!answer->granted) {
		struct error error = {0};
		run->wait_ms = answer->wait_ms;
		memcpy(run->holder, answer->holder, sizeof(run->holder));
		error_set(&error, ERR_LOCKED, answer->holder[0] != '\0' ? "%s is reconciling" : "reconciled lately",
			  answer->holder);
		reconcile_run_failed(reconcile, ERR_LOCKED, &error);
		return;
	}
	reconcile->leased = true;
	reconcile->beat.reconcile.epoch = answer->epoch;
	uv_timer_start(&reconcile->beat_timer, on_beat_timer, LEDGER_RECONCILE_LEASE_MS / 3, LEDGER_RECONCILE_LEASE_MS / 3);
	reconcile_go(reconcile, RECONCILE_STEP_LOAD);
}

static void step_begin(struct reconcile *reconcile)
{
	const struct reconcile_run *run = reconcile->run;
	if (run->dry_run) {
		reconcile_go(reconcile, RECONCILE_STEP_LOAD);
		return;
	}
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){
		.op = LEDGER_RECONCILE_BEGIN,
		.reconcile = {.kind = run->kind, .apart_ms = run->apart_ms},
	};
	reconcile_submit(reconcile, on_begun);
}

/* ---- steps ---- */

void reconcile_go(struct reconcile *reconcile, enum reconcile_step step)
{
	reconcile->step = step;
	if (reconcile->stopping)
		step = RECONCILE_STEP_END;
	switch (step) {
	case RECONCILE_STEP_BEGIN:
		step_begin(reconcile);
		return;
	case RECONCILE_STEP_LOAD:
		reconcile_step_load(reconcile);
		return;
	case RECONCILE_STEP_FETCH:
		reconcile_step_fetch(reconcile);
		return;
	case RECONCILE_STEP_COMPARE:
		reconcile_step_compare(reconcile);
		return;
	case RECONCILE_STEP_FORWARD:
		reconcile_step_forward(reconcile);
		return;
	case RECONCILE_STEP_SAVE:
		reconcile_step_save(reconcile);
		return;
	case RECONCILE_STEP_END:
		step_end(reconcile);
		return;
	}
}

/* Twilio wants to be left alone for longer than a walk waits: the account's turn ends here, and the next walk does not begin before. */
static void leave_alone(struct reconcile *reconcile, int status, int64_t retry_after_ms, const struct error *error,
			void (*give_up)(struct reconcile *reconcile, int status, const struct error *error))
{
	struct reconcile_run *run = reconcile->run;
	struct error longer = {0};
	int64_t max_ms = reconcile->options.retry_after_max_ms;
	int64_t wait_ms = retry_after_ms < max_ms ? retry_after_ms : max_ms;
	error_set(&longer, status, "Twilio asks to be left alone for %" PRId64 " s, longer than a walk waits: %s",
		  retry_after_ms / 1000, error->detail);
	if (wait_ms > run->wait_ms)
		run->wait_ms = wait_ms;
	give_up(reconcile, status, &longer);
}

void reconcile_retry(struct reconcile *reconcile, int status, int64_t retry_after_ms, const struct error *error,
		     void (*give_up)(struct reconcile *reconcile, int status, const struct error *error))
{
	bool throttled = status == ERR_HTTP_THROTTLED;
	/* Credentials that are refused will be refused in a minute, too. */
	bool refused = status == ERR_HTTP_UNAUTHORIZED || status == ERR_HTTP_FORBIDDEN || status == ERR_CREDENTIALS;
	if (reconcile->stopping) {
		reconcile_go(reconcile, RECONCILE_STEP_END);
		return;
	}
	if (err_class(status) == ERR_CLASS_PERMANENT || refused ||
	    ++reconcile->failures > (throttled ? THROTTLES_MAX : FAILURES_MAX)) {
		give_up(reconcile, status, error);
		return;
	}
	if (retry_after_ms > PATIENCE_MS) {
		leave_alone(reconcile, status, retry_after_ms, error, give_up);
		return;
	}
	uint64_t delay_ms = random_upper_half(backoff_bound(reconcile->options.retry_ms, RETRY_MAX_MS, reconcile->failures - 1));
	if (retry_after_ms > reconcile->options.retry_after_max_ms)
		retry_after_ms = reconcile->options.retry_after_max_ms;
	if (retry_after_ms > (int64_t)delay_ms)
		delay_ms = (uint64_t)retry_after_ms;
	if (throttled)
		reconcile->pause_ms = reconcile->pause_ms * 2 < PAUSE_MAX_MS ? reconcile->pause_ms * 2 : PAUSE_MAX_MS;
	log_event(LOG_WARN, "reconcile.retry", LOG_STR("reason", err_name(status)), LOG_STR("detail", error->detail),
		  LOG_U64("failures", reconcile->failures), LOG_U64("delay_ms", delay_ms));
	reconcile->run->throttled_ms = throttled ? (int64_t)delay_ms : 0;
	if (reconcile->run->progress != NULL)
		reconcile->run->progress(reconcile->run);
	reconcile_later(reconcile, reconcile->step, delay_ms);
}

void reconcile_next_account(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	reconcile->failures = 0;
	reconcile_drop_page(reconcile);
	/* By way of the loop: thousands of accounts without credentials fail at once. */
	reconcile_later(reconcile, ++run->account < run->account_count ? RECONCILE_STEP_LOAD : RECONCILE_STEP_END, 0);
}

void reconcile_account_failed(struct reconcile *reconcile, int status, const struct error *error)
{
	struct reconcile_run *run = reconcile->run;
	log_event(LOG_WARN, "reconcile.account_failed", LOG_STR("account_sid", run->accounts[run->account].text),
		  LOG_STR("reason", err_name(status)), LOG_STR("detail", error->detail));
	run->failed_accounts++;
	if (run->error.code == 0)
		error_set(&run->error, status, "%s", error->detail);
	reconcile_next_account(reconcile);
}

/* ---- public ---- */

static void default_options(struct reconcile_options *options)
{
	if (options->page_size == 0 || options->page_size > TWILIO_LIST_MAX)
		options->page_size = PAGE_SIZE;
	if (options->pause_ms == 0)
		options->pause_ms = PAUSE_MS;
	if (options->young_ms == 0)
		options->young_ms = YOUNG_MS;
	if (options->backlog == 0 || options->backlog > BACKLOG)
		options->backlog = BACKLOG;
	if (options->retry_ms == 0)
		options->retry_ms = RETRY_MS;
	if (options->retry_after_max_ms == 0)
		options->retry_after_max_ms = RETRY_AFTER_MAX_MS;
}

static void get_metrics(struct reconcile *reconcile)
{
	struct metrics *metrics = reconcile->options.metrics;
	if (metrics == NULL)
		return;
	reconcile->metric_seen = metrics_get(metrics, METRIC_RECONCILE_RECORDINGS, "seen");
	reconcile->metric_healed = metrics_get(metrics, METRIC_RECONCILE_RECORDINGS, "healed");
	for (int i = 0; i < RECONCILE_VERDICT_COUNT; i++)
		reconcile->metric_verdicts[i] = metrics_get(metrics, METRIC_RECONCILE_RECORDINGS,
							    reconcile_verdict_name((enum reconcile_verdict)i));
}

struct reconcile *reconcile_new(uv_loop_t *loop, const struct reconcile_options *options)
{
	struct reconcile *reconcile = calloc(1, sizeof(*reconcile));
	if (reconcile == NULL)
		return NULL;
	reconcile->loop = loop;
	reconcile->options = *options;
	default_options(&reconcile->options);
	get_metrics(reconcile);
	REQUIRE(uv_timer_init(loop, &reconcile->timer) == 0);
	REQUIRE(uv_timer_init(loop, &reconcile->beat_timer) == 0);
	reconcile->timer.data = reconcile;
	reconcile->beat_timer.data = reconcile;
	reconcile->open_handles = 2;
	return reconcile;
}

void reconcile_start(struct reconcile *reconcile, struct reconcile_run *run)
{
	REQUIRE(reconcile->run == NULL && !reconcile->closing && run->account_count > 0);
	REQUIRE(run->from_ms >= 0 && run->from_ms <= run->to_ms);
	run->account = 0;
	run->seen = run->healed = run->requests = 0;
	memset(run->verdicts, 0, sizeof(run->verdicts));
	run->days_done = run->days_left = 0;
	run->continued_ms = -1;
	run->waiting = false;
	run->throttled_ms = 0;
	run->failed_accounts = 0;
	run->holder[0] = '\0';
	run->wait_ms = 0;
	run->finished_at_ms = -1;
	run->error = (struct error){0};
	reconcile->run = run;
	reconcile->result = 0;
	reconcile->stopping = false;
	reconcile->leased = false;
	reconcile->completing = false;
	reconcile->failures = 0;
	reconcile->pause_ms = reconcile->options.pause_ms;
	buffer_init(&reconcile->payloads, PAYLOADS_MAX);
	reconcile_later(reconcile, RECONCILE_STEP_BEGIN, 0);
}

bool reconcile_running(const struct reconcile *reconcile)
{
	return reconcile->run != NULL;
}

void reconcile_stop(struct reconcile *reconcile)
{
	if (reconcile->run != NULL)
		stop_with(reconcile, ERR_CANCELLED);
}

void reconcile_close(struct reconcile *reconcile, void (*closed)(void *data), void *data)
{
	REQUIRE(!reconcile->closing);
	reconcile->closing = true;
	reconcile->closed = closed;
	reconcile->closed_data = data;
	if (reconcile->run != NULL)
		stop_with(reconcile, ERR_CANCELLED);
	else
		close_handles(reconcile);
}
