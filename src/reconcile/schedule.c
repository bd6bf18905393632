/* SPDX-License-Identifier: MIT */
#include "reconcile/schedule.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

/* The first walk: when the start has settled, and not in all replicas at once. */
#define FIRST_MS 20000
#define RETRY_MS UINT64_C(60000)

struct reconcile_schedule {
	uv_loop_t *loop;
	struct reconcile_schedule_options options;
	struct reconcile *reconcile;
	struct reconcile_run run;
	struct sid *accounts;
	uv_timer_t timer;
	unsigned failures;
	unsigned open; /* the timer and `reconcile` */
	bool closing;
	void (*closed)(void *data);
	void *closed_data;
};

uint64_t reconcile_schedule_delay(int64_t every_ms, int status, int64_t wait_ms, unsigned failures)
{
	uint64_t every = (uint64_t)every_ms;
	uint64_t jitter = every / 10 + 1;
	if (status == 0)
		return every - every / 20 + random_below(jitter);
	if (status == ERR_LOCKED) {
		uint64_t wait = wait_ms < 0 ? 0 : (uint64_t)wait_ms < every ? (uint64_t)wait_ms : every;
		return wait + 1 + random_below(jitter);
	}
	uint64_t delay = random_upper_half(backoff_bound(RETRY_MS, every, failures > 0 ? failures - 1 : 0));
	return wait_ms > (int64_t)delay ? (uint64_t)wait_ms + random_below(jitter) : delay;
}

static void on_timer(uv_timer_t *timer);

static void set_timer(struct reconcile_schedule *schedule, uint64_t delay_ms)
{
	if (!schedule->closing)
		uv_timer_start(&schedule->timer, on_timer, delay_ms, 0);
}

static void count_run(struct reconcile_schedule *schedule, const char *outcome)
{
	struct metrics *metrics = schedule->options.reconcile.metrics;
	if (metrics != NULL)
		metrics_get(metrics, METRIC_RECONCILE_RUNS, outcome)->value++;
}

static void set_last_success(struct reconcile_schedule *schedule, int64_t at_ms)
{
	struct metrics *metrics = schedule->options.reconcile.metrics;
	if (metrics != NULL && at_ms != -1)
		metrics_get(metrics, METRIC_RECONCILE_LAST_SUCCESS)->value = (double)at_ms / 1000;
}

static void log_run(const struct reconcile_run *run, enum log_level level, const char *event, const char *reason)
{
	log_event(level, event, LOG_STR("reason", reason), LOG_STR("detail", reason == NULL ? NULL : run->error.detail),
		  LOG_U64("seen", run->seen), LOG_U64("missing", run->verdicts[RECONCILE_MISSING]),
		  LOG_U64("incomplete", run->verdicts[RECONCILE_INCOMPLETE]), LOG_U64("healed", run->healed),
		  LOG_U64("recent", run->verdicts[RECONCILE_RECENT]), LOG_U64("requests", run->requests),
		  LOG_U64("failed_accounts", run->failed_accounts));
}

static void on_done(struct reconcile_run *run, int status)
{
	struct reconcile_schedule *schedule = run->data;
	free(schedule->accounts);
	schedule->accounts = NULL;
	set_last_success(schedule, status == 0 ? clock_wall_ms() : run->finished_at_ms);
	schedule->failures = status == 0 || status == ERR_LOCKED ? 0 : schedule->failures + 1;
	if (status == 0) {
		count_run(schedule, "completed");
		log_run(run, LOG_INFO, "reconcile.completed", NULL);
	} else if (status == ERR_CANCELLED || status == ERR_LEASE_LOST) {
		count_run(schedule, "cut");
		log_run(run, LOG_INFO, "reconcile.cut", err_name(status));
	} else if (status != ERR_LOCKED) {
		count_run(schedule, "failed");
		log_run(run, LOG_WARN, "reconcile.failed", err_name(status));
	}
	set_timer(schedule, reconcile_schedule_delay(schedule->options.every_ms, status, run->wait_ms, schedule->failures));
}

static void on_timer(uv_timer_t *timer)
{
	struct reconcile_schedule *schedule = timer->data;
	const struct reconcile_schedule_options *options = &schedule->options;
	size_t count = 0;
	schedule->accounts = twilio_accounts_sids(options->accounts(options->data), &count);
	if (count == 0) { /* out of memory, or a reload left none with a SID */
		free(schedule->accounts);
		schedule->accounts = NULL;
		log_event(LOG_WARN, "reconcile.failed", LOG_STR("detail", "no account with a SID, or out of memory"));
		count_run(schedule, "failed");
		set_timer(schedule, (uint64_t)options->every_ms);
		return;
	}
	int64_t now_ms = clock_wall_ms();
	schedule->run = (struct reconcile_run){
		.kind = LEDGER_RECONCILE_SCHEDULED,
		.from_ms = now_ms > options->window_ms ? now_ms - options->window_ms : 0,
		.to_ms = now_ms,
		/* A replica that comes a little early has not come for nothing. */
		.apart_ms = options->every_ms - options->every_ms / 10,
		.accounts = schedule->accounts,
		.account_count = count,
		.done = on_done,
		.data = schedule,
	};
	reconcile_start(schedule->reconcile, &schedule->run);
}

struct reconcile_schedule *reconcile_schedule_new(uv_loop_t *loop, const struct reconcile_schedule_options *options)
{
	struct reconcile_schedule *schedule = calloc(1, sizeof(*schedule));
	if (schedule == NULL)
		return NULL;
	schedule->loop = loop;
	schedule->options = *options;
	schedule->reconcile = reconcile_new(loop, &options->reconcile);
	if (schedule->reconcile == NULL) {
		free(schedule);
		return NULL;
	}
	REQUIRE(uv_timer_init(loop, &schedule->timer) == 0);
	schedule->timer.data = schedule;
	schedule->open = 2;
	set_timer(schedule, random_upper_half(options->every_ms < FIRST_MS ? (uint64_t)options->every_ms : FIRST_MS));
	return schedule;
}

static void part_closed(struct reconcile_schedule *schedule)
{
	if (--schedule->open > 0)
		return;
	void (*closed)(void *data) = schedule->closed;
	void *data = schedule->closed_data;
	free(schedule->accounts);
	free(schedule);
	closed(data);
}

static void timer_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void reconcile_closed(void *data)
{
	part_closed(data);
}

void reconcile_schedule_close(struct reconcile_schedule *schedule, void (*closed)(void *data), void *data)
{
	REQUIRE(!schedule->closing);
	schedule->closing = true;
	schedule->closed = closed;
	schedule->closed_data = data;
	uv_close((uv_handle_t *)&schedule->timer, timer_closed);
	reconcile_close(schedule->reconcile, reconcile_closed, schedule);
}
