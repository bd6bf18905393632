/* SPDX-License-Identifier: MIT */
#include "admin/history.h"

#include "base/check.h"
#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEBHOOKS, ARCHIVED, FAILED, INBOX, PENDING, RUNNING, DEAD, BYTES_OUT, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
	[WEBHOOKS] = "webhooks", [ARCHIVED] = "archived", [FAILED] = "failed", [INBOX] = "inbox",
	[PENDING] = "pending",   [RUNNING] = "running",   [DEAD] = "dead",     [BYTES_OUT] = "bytesOut",
};

static const enum {
	GAUGE,
	COUNTER
} field_types[FIELD_COUNT] = {
	[WEBHOOKS] = COUNTER,
	[ARCHIVED] = COUNTER,
	[FAILED] = COUNTER,
	[BYTES_OUT] = COUNTER,
};

/* Counting takes at most one part in so many of the ledger's time. */
#define COUNTS_SHARE 50
#define COUNTS_PAUSE_MAX_MS (HISTORY_COUNTS_MS / 2)

struct sample {
	int64_t at_ms;
	double values[FIELD_COUNT]; /* NAN: unknown */
};

struct history {
	struct history_options options;
	uv_timer_t timer;
	struct sample samples[HISTORY_SAMPLES];
	size_t first;
	size_t count;
	double counters[FIELD_COUNT]; /* as last read */
	int64_t counts[LEDGER_STATUS_COUNT];
	bool counted;        /* ever */
	uint64_t counted_ms; /* of the loop */
	uint64_t asked_ms;
	uint64_t ask_from_ms; /* not before */
	bool asking;
	uv_loop_t *loop;
	void (*closed)(void *data);
	void *closed_data;
};

static void read_values(struct history *history, double values[FIELD_COUNT])
{
	const struct history_options *options = &history->options;
	struct metrics *metrics = options->metrics;
	if (options->collect != NULL)
		options->collect(options->data);
	values[WEBHOOKS] = metrics_sum(metrics, METRIC_WEBHOOKS);
	values[ARCHIVED] = metrics_get(metrics, METRIC_JOBS_FINISHED, "stored")->value;
	values[FAILED] = metrics_get(metrics, METRIC_JOBS_FINISHED, "failed")->value +
			 metrics_get(metrics, METRIC_JOBS_FINISHED, "dead")->value;
	values[BYTES_OUT] = metrics_get(metrics, METRIC_TRANSFER_BYTES, "out")->value;
	values[INBOX] = metrics_get(metrics, METRIC_INBOX_EVENTS)->value;
}

static bool counts_known(const struct history *history)
{
	return history->counted && uv_now(history->loop) - history->counted_ms <= HISTORY_COUNTS_MS;
}

static void ask_counts(struct history *history)
{
	uint64_t now = uv_now(history->loop);
	if (now < history->ask_from_ms)
		return;
	if (!history->asking) {
		history->asking = true;
		history->asked_ms = now;
	}
	history->options.ask(history->options.data);
}

void history_sample(struct history *history)
{
	double now[FIELD_COUNT];
	read_values(history, now);
	size_t at = (history->first + history->count) % HISTORY_SAMPLES;
	if (history->count == HISTORY_SAMPLES)
		history->first = (history->first + 1) % HISTORY_SAMPLES;
	else
		history->count++;
	struct sample *sample = &history->samples[at];
	sample->at_ms = clock_wall_ms();
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		sample->values[i] = field_types[i] == COUNTER ? now[i] - history->counters[i] : now[i];
		history->counters[i] = now[i];
	}
	bool known = counts_known(history);
	sample->values[PENDING] = known ? (double)history->counts[LEDGER_PENDING] : NAN;
	sample->values[RUNNING] = known ? (double)history->counts[LEDGER_RUNNING] : NAN;
	sample->values[DEAD] = known ? (double)history->counts[LEDGER_DEAD] : NAN;
	ask_counts(history);
}

static void on_timer(uv_timer_t *timer)
{
	history_sample(timer->data);
}

static void on_first(uv_timer_t *timer)
{
	struct history *history = timer->data;
	REQUIRE(uv_timer_start(timer, on_timer, HISTORY_INTERVAL_MS, HISTORY_INTERVAL_MS) == 0);
	ask_counts(history);
}

struct history *history_new(uv_loop_t *loop, const struct history_options *options)
{
	struct history *history = calloc(1, sizeof(*history));
	if (history == NULL)
		return NULL;
	history->options = *options;
	history->loop = loop;
	read_values(history, history->counters);
	REQUIRE(uv_timer_init(loop, &history->timer) == 0);
	history->timer.data = history;
	/* In the next turn: whoever makes us is not ready to be asked yet. */
	REQUIRE(uv_timer_start(&history->timer, on_first, 0, 0) == 0);
	return history;
}

void history_counted(struct history *history, const int64_t *counts)
{
	uint64_t now = uv_now(history->loop);
	if (history->asking) {
		uint64_t pause = COUNTS_SHARE * (now - history->asked_ms);
		history->ask_from_ms = now + (pause < COUNTS_PAUSE_MAX_MS ? pause : COUNTS_PAUSE_MAX_MS);
		history->asking = false;
	}
	if (counts == NULL)
		return;
	memcpy(history->counts, counts, sizeof(history->counts));
	history->counted = true;
	history->counted_ms = now;
}

static void append_number(struct buffer *out, double value)
{
	if (isnan(value))
		buffer_append_cstr(out, ",null");
	else
		buffer_printf(out, ",%.0f", value);
}

static void append_counts(const struct history *history, struct buffer *out)
{
	if (!counts_known(history)) {
		buffer_append_cstr(out, "\"counts\":null");
		return;
	}
	buffer_append_cstr(out, "\"counts\":{");
	for (int i = 0; i < LEDGER_STATUS_COUNT; i++)
		buffer_printf(out, "%s\"%s\":%lld", i == 0 ? "" : ",", ledger_status_name((enum ledger_status)i),
			      (long long)history->counts[i]);
	buffer_append_char(out, '}');
}

void history_append_json(const struct history *history, int64_t since_ms, struct buffer *out)
{
	char now[CLOCK_ISO8601_SIZE];
	clock_format_iso8601(clock_wall_ms(), now);
	buffer_printf(out, "\"intervalSeconds\":%d,\"now\":\"%s\",\"fields\":[", HISTORY_INTERVAL_MS / 1000, now);
	for (size_t i = 0; i < FIELD_COUNT; i++)
		buffer_printf(out, "%s\"%s\"", i == 0 ? "" : ",", field_names[i]);
	buffer_append_cstr(out, "],");
	append_counts(history, out);
	buffer_append_cstr(out, ",\"samples\":[");
	bool some = false;
	for (size_t i = 0; i < history->count; i++) {
		const struct sample *sample = &history->samples[(history->first + i) % HISTORY_SAMPLES];
		if (sample->at_ms <= since_ms)
			continue;
		buffer_printf(out, "%s[%lld", some ? "," : "", (long long)sample->at_ms);
		some = true;
		for (size_t field = 0; field < FIELD_COUNT; field++)
			append_number(out, sample->values[field]);
		buffer_append_char(out, ']');
	}
	buffer_append_char(out, ']');
}

static void on_closed(uv_handle_t *handle)
{
	struct history *history = handle->data;
	void (*closed)(void *data) = history->closed;
	void *data = history->closed_data;
	free(history);
	closed(data);
}

void history_close(struct history *history, void (*closed)(void *data), void *data)
{
	history->closed = closed;
	history->closed_data = data;
	uv_close((uv_handle_t *)&history->timer, on_closed);
}
