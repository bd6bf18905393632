/* SPDX-License-Identifier: MIT */
/* A pipeline on a real loop between a ledger, a Twilio and a store in memory. One per test process. */
#ifndef REELD_TESTS_LOOP_PIPELINE_FIXTURE_H
#define REELD_TESTS_LOOP_PIPELINE_FIXTURE_H

#include "base/check.h"
#include "base/log.h"
#include "base/turn.h"
#include "loop/support/fake_ledger.h"
#include "loop/support/fake_store.h"
#include "loop/support/fake_twilio.h"
#include "pipeline/pipeline_impl.h"

#include <criterion/criterion.h>
#include <string.h>

static struct {
	uv_loop_t loop;
	struct fake_ledger ledger;
	struct fake_twilio twilio;
	struct fake_store store;
	struct idempotency *filter;
	struct metrics *metrics;
	struct pipeline_options options;
	struct pipeline *pipeline;
	bool closed;
	/* on_outcome */
	unsigned outcomes[LEDGER_OUTCOME_DEAD + 1];
	int last_code;
	char last_step[32];
	unsigned turned_away_by[2]; /* Twilio, the store */
	char last_url[LEDGER_URL_SIZE];
	/* scripts */
	struct fake_answer media;
	struct fake_answer json;
	struct fake_answer deletion;
} fx;

__attribute__((unused)) static void on_outcome(void *data, const struct sid *recording_sid, enum ledger_outcome outcome, int code,
					       const char *step, const char *url)
{
	fx.outcomes[outcome]++;
	fx.last_code = code;
	snprintf(fx.last_step, sizeof(fx.last_step), "%s", step != NULL ? step : "");
	snprintf(fx.last_url, sizeof(fx.last_url), "%s", url != NULL ? url : "");
	cr_assert_eq(code == 0, step == NULL);
	if (code == ERR_UNAVAILABLE) {
		cr_assert(strcmp(step, "transfer") == 0 || strcmp(step, "store") == 0, "%s", step);
		fx.turned_away_by[strcmp(step, "store") == 0]++;
	}
	if (code == ERR_ACCOUNT_HELD)
		cr_assert_str_eq(step, "transfer");
	cr_assert_eq(outcome == LEDGER_OUTCOME_DONE, url != NULL);
}

__attribute__((unused)) static struct fake_answer scripted(struct fake_twilio *fake, const struct twilio_request *request)
{
	return request->op == TWILIO_MEDIA ? fx.media : request->op == TWILIO_DELETE_RECORDING ? fx.deletion : fx.json;
}

/* Everything but the pipeline, so that a test can change options and scripts first. */
__attribute__((unused)) static void fixture_init(size_t recordings)
{
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	REQUIRE(uv_loop_init(&fx.loop) == 0);
	fake_ledger_init(&fx.ledger, &fx.loop, recordings);
	fake_twilio_init(&fx.twilio, &fx.loop);
	fake_store_init(&fx.store, &fx.loop);
	fx.filter = idempotency_local_new(&fx.loop, 64);
	fx.metrics = metrics_new();
	REQUIRE(fx.filter != NULL && fx.metrics != NULL);
	fx.media = fake_media(20000);
	fx.json = (struct fake_answer){.http_status = 200, .retry_after_ms = -1};
	fx.deletion = (struct fake_answer){.http_status = 204, .retry_after_ms = -1};
	fx.twilio.answer = scripted;
	fx.options = (struct pipeline_options){
		.ledger = &fx.ledger.ledger,
		.filter = fx.filter,
		.twilio = fake_twilio_client(&fx.twilio),
		.store = &fx.store.store,
		.metrics = fx.metrics,
		.max_transfers = 4,
		.transfer_buffer = 8192,
		.max_attempts = 4,
		.retry_base_ms = 1,
		.retry_max_ms = 4,
		.key_prefix = "rec/",
		.on_outcome = on_outcome,
	};
}

__attribute__((unused)) static void fixture_start(void)
{
	fx.pipeline = pipeline_new(&fx.loop, &fx.options);
	REQUIRE(fx.pipeline != NULL);
}

/* Turns the loop until `condition`; a test that cannot get there fails instead of hanging. */
#define RUN_UNTIL(condition)                                                           \
	do {                                                                           \
		uint64_t give_up = uv_hrtime() + 20000000000ULL;                       \
		while (!(condition)) {                                                 \
			turn_run(&fx.loop);                                            \
			cr_assert(uv_hrtime() < give_up, "still not: %s", #condition); \
		}                                                                      \
	} while (0)

#define ALL_ENDED() (fake_ledger_in(&fx.ledger, LEDGER_PENDING) == 0 && fake_ledger_in(&fx.ledger, LEDGER_RUNNING) == 0)

__attribute__((unused)) static void fixture_pipeline_closed(void *data)
{
	fx.closed = true;
}

__attribute__((unused)) static void fixture_closed(void *data) {}

__attribute__((unused)) static void fixture_handle_closed(uv_handle_t *handle) {}

__attribute__((unused)) static void fixture_close(void)
{
	if (fx.pipeline != NULL) {
		pipeline_close(fx.pipeline, fixture_pipeline_closed, NULL);
		cr_assert_not(fx.closed, "closed inside close");
		RUN_UNTIL(fx.closed);
	}
	cr_assert_eq(fx.store.open_puts, 0, "an upload was left open");
	cr_assert_eq(fx.twilio.in_flight, 0);
	idempotency_close(fx.filter, fixture_closed, NULL);
	fake_ledger_close(&fx.ledger, fixture_handle_closed);
	fake_twilio_close(&fx.twilio, fixture_handle_closed);
	fake_store_close(&fx.store, fixture_handle_closed);
	uv_run(&fx.loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&fx.loop), 0);
	metrics_free(&fx.metrics);
}

__attribute__((unused)) static double metric_value(enum metric_id id, size_t count, const char *const *values)
{
	return metrics_get_n(fx.metrics, id, count, values)->value;
}
#define METRIC_OF(id, ...) metric_value((id), METRICS_VALUES(__VA_ARGS__))

#endif
