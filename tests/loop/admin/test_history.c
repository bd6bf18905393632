/* SPDX-License-Identifier: MIT */
/* The last hour: what a sample holds, what is left out, how often the ledger is asked. */
#include "admin/history.h"

#include "base/clock.h"
#include "loop/intake/fixture.h"

#include <jansson.h>
#include <string.h>

static struct history *history;
static unsigned asked;
static unsigned collected;
static bool history_is_closed;

static void collect(void *data)
{
	cr_assert_eq(data, &asked);
	collected++;
	metrics_get(fixture.metrics, METRIC_INBOX_EVENTS)->value = 17;
}

static void ask(void *data)
{
	cr_assert_eq(data, &asked);
	asked++;
}

static void setup(void)
{
	fixture_init();
	metrics_get(fixture.metrics, METRIC_WEBHOOKS, "recording", "200", "accepted")->value = 1000;
	history = history_new(&fixture.loop, &(struct history_options){
						     .metrics = fixture.metrics, .collect = collect, .ask = ask, .data = &asked});
	cr_assert_not_null(history);
	cr_assert_eq(asked, 0, "asked inside history_new");
}

static void on_closed(void *data)
{
	cr_assert_eq(data, &asked);
	history_is_closed = true;
}

static void teardown(void)
{
	history_close(history, on_closed, &asked);
	cr_assert_not(history_is_closed, "closed inside close");
	TURN_UNTIL(history_is_closed);
	fixture_fini();
}

TestSuite(history, .init = setup, .fini = teardown, .timeout = 60);

static json_t *history_json(int64_t since_ms)
{
	struct buffer out;
	buffer_init(&out, HISTORY_MAX_JSON);
	buffer_append_char(&out, '{');
	history_append_json(history, since_ms, &out);
	buffer_append_char(&out, '}');
	cr_assert_not(out.failed);
	json_t *json = json_loadb(out.data, out.len, 0, NULL);
	cr_assert_not_null(json, "%.*s", (int)out.len, out.data);
	buffer_free(&out);
	return json;
}

static void assert_sample(json_t *json, size_t at, const char *expected)
{
	json_t *sample = json_copy(json_array_get(json_object_get(json, "samples"), at));
	cr_assert_not_null(sample);
	json_array_remove(sample, 0);
	char *text = json_dumps(sample, JSON_COMPACT);
	cr_assert_str_eq(text, expected);
	free(text);
	json_decref(sample);
}

static const int64_t counts[LEDGER_STATUS_COUNT] = {
	[LEDGER_PENDING] = 7, [LEDGER_RUNNING] = 3, [LEDGER_DEAD] = 2, [LEDGER_STORED] = 123456789012};

Test(history, counters_are_differences_and_gauges_what_they_are)
{
	history_counted(history, counts);
	metrics_get(fixture.metrics, METRIC_WEBHOOKS, "recording", "200", "accepted")->value += 5;
	metrics_get(fixture.metrics, METRIC_WEBHOOKS, "status", "403", "invalid_signature")->value += 2;
	metrics_get(fixture.metrics, METRIC_JOBS_FINISHED, "stored")->value += 4;
	metrics_get(fixture.metrics, METRIC_JOBS_FINISHED, "dead")->value += 1;
	metrics_get(fixture.metrics, METRIC_JOBS_FINISHED, "failed")->value += 1;
	metrics_get(fixture.metrics, METRIC_JOBS_FINISHED, "skipped")->value += 9;
	metrics_get(fixture.metrics, METRIC_TRANSFER_BYTES, "out")->value += 1e13;
	history_sample(history);
	history_sample(history);
	json_t *json = history_json(-1);
	char *fields = json_dumps(json_object_get(json, "fields"), JSON_COMPACT);
	cr_assert_str_eq(fields,
			 "[\"webhooks\",\"archived\",\"failed\",\"inbox\",\"pending\",\"running\",\"dead\",\"bytesOut\"]");
	free(fields);
	assert_sample(json, 0, "[7,4,2,17,7,3,2,10000000000000]");
	assert_sample(json, 1, "[0,0,0,17,7,3,2,0]");
	cr_assert_eq(json_integer_value(json_object_get(json, "intervalSeconds")), 5);
	json_t *object = json_object_get(json, "counts");
	cr_assert_eq(json_object_size(object), LEDGER_STATUS_COUNT);
	cr_assert_eq(json_integer_value(json_object_get(object, "stored")), 123456789012);
	int64_t now;
	const char *text = json_string_value(json_object_get(json, "now"));
	cr_assert_eq(clock_parse_iso8601(text, strlen(text), &now), 0);
	json_decref(json);
	cr_assert_eq(collected, 3, "once for the first values, then with each sample");
}

Test(history, what_the_ledger_did_not_say_is_unknown)
{
	history_sample(history);
	history_counted(history, NULL);
	history_sample(history);
	json_t *json = history_json(-1);
	assert_sample(json, 0, "[0,0,0,17,null,null,null,0]");
	assert_sample(json, 1, "[0,0,0,17,null,null,null,0]");
	cr_assert(json_is_null(json_object_get(json, "counts")));
	json_decref(json);
}

/* uv_now() until the loop turns again. */
static void let_pass(uint64_t ms)
{
	fixture.loop.time += ms;
}

Test(history, counts_grow_old)
{
	history_counted(history, counts);
	let_pass(HISTORY_COUNTS_MS);
	history_sample(history);
	let_pass(1);
	history_sample(history);
	json_t *json = history_json(-1);
	assert_sample(json, 0, "[0,0,0,17,7,3,2,0]");
	assert_sample(json, 1, "[0,0,0,17,null,null,null,0]");
	cr_assert(json_is_null(json_object_get(json, "counts")));
	json_decref(json);
}

Test(history, the_first_counts_are_asked_for_at_once)
{
	TURN_UNTIL(asked == 1);
	cr_assert_eq(collected, 1, "but no sample is taken");
}

Test(history, a_ledger_that_counts_slowly_is_asked_less_often)
{
	history_sample(history);
	cr_assert_eq(asked, 1);
	let_pass(200);
	history_counted(history, counts); /* took 200 ms, so for 10 s not again */
	let_pass(9999);
	history_sample(history);
	cr_assert_eq(asked, 1);
	let_pass(1);
	history_sample(history);
	cr_assert_eq(asked, 2);
	let_pass(3600000);
	history_counted(history, NULL); /* an outage is no slow count: at most half a minute */
	let_pass(HISTORY_COUNTS_MS / 2 - 1);
	history_sample(history);
	cr_assert_eq(asked, 2);
	let_pass(1);
	history_sample(history);
	cr_assert_eq(asked, 3);
}

Test(history, the_timer_takes_samples)
{
	size_t taken = 0;
	TURN_UNTIL(asked == 1);
	uint64_t end = uv_hrtime() + UINT64_C(30000000000);
	while (taken == 0 && uv_hrtime() < end) {
		fixture_turn();
		json_t *json = history_json(-1);
		taken = json_array_size(json_object_get(json, "samples"));
		json_decref(json);
	}
	cr_assert_eq(taken, 1);
}

Test(history, the_ring_holds_an_hour_and_forgets_the_oldest)
{
	struct metric *stored = metrics_get(fixture.metrics, METRIC_JOBS_FINISHED, "stored");
	for (int i = 0; i < HISTORY_SAMPLES + 10; i++) {
		stored->value += i;
		history_sample(history);
	}
	json_t *json = history_json(-1);
	json_t *samples = json_object_get(json, "samples");
	cr_assert_eq(json_array_size(samples), HISTORY_SAMPLES);
	assert_sample(json, 0, "[0,10,0,17,null,null,null,0]");
	assert_sample(json, HISTORY_SAMPLES - 1, "[0,729,0,17,null,null,null,0]");
	int64_t before = 0;
	for (size_t i = 0; i < HISTORY_SAMPLES; i++) {
		int64_t at = json_integer_value(json_array_get(json_array_get(samples, i), 0));
		cr_assert_geq(at, before);
		before = at;
	}
	json_decref(json);
}

Test(history, the_longest_text_fits)
{
	struct metric *metric = metrics_get(fixture.metrics, METRIC_WEBHOOKS, "recording", "200", "accepted");
	int64_t most[LEDGER_STATUS_COUNT];
	for (size_t i = 0; i < LEDGER_STATUS_COUNT; i++)
		most[i] = INT64_MAX / 2;
	for (int i = 0; i < HISTORY_SAMPLES; i++) {
		metric->value += 4e15;
		metrics_get(fixture.metrics, METRIC_TRANSFER_BYTES, "out")->value += 4e15;
		metrics_get(fixture.metrics, METRIC_JOBS_FINISHED, "stored")->value += 4e15;
		history_counted(history, most);
		history_sample(history);
	}
	json_decref(history_json(-1));
}

Test(history, only_what_is_newer)
{
	history_sample(history);
	json_t *json = history_json(-1);
	int64_t at = json_integer_value(json_array_get(json_array_get(json_object_get(json, "samples"), 0), 0));
	json_decref(json);
	json = history_json(at - 1);
	cr_assert_eq(json_array_size(json_object_get(json, "samples")), 1);
	json_decref(json);
	json = history_json(at);
	cr_assert_eq(json_array_size(json_object_get(json, "samples")), 0);
	json_decref(json);
}
