/* SPDX-License-Identifier: MIT */
#include "intake/answers.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "ledger/idempotency.h"

#include <stdio.h>

#define JSON_TYPE "application/json"
/* No charset: the document says its own. */
#define TWIML_TYPE "text/xml"
/* Everything but quotes and control characters passes JSON as it is; those become six characters. */
#define ARCHIVED_BODY_MAX (256 + 6 * IDEMPOTENCY_URL_SIZE)

enum outcome {
	OUTCOME_ACCEPTED,
	OUTCOME_DUPLICATE,
	OUTCOME_INVALID_SIGNATURE,
	OUTCOME_BAD_REQUEST,
	OUTCOME_UNAVAILABLE,
	OUTCOME_FAILED,
	OUTCOME_COUNT
};
static const char *const outcome_names[OUTCOME_COUNT] = {"accepted",    "duplicate",   "invalid_signature",
							 "bad_request", "unavailable", "failed"};

static const char *const endpoint_names[ENDPOINT_COUNT] = {"recording", "incoming", "status"};

static const struct {
	unsigned endpoints;
	int status;
	enum outcome outcome;
	const char *headers;
	struct slice body;
} texts[ANSWER_COUNT] = {
#define FIXED(ID, endpoints, status, outcome, headers, body) \
	[ANSWER_##ID] = {endpoints, status, OUTCOME_##outcome, headers, {body, sizeof(body) - 1}},
	FIXED_ANSWERS
#undef FIXED
};

static void observe(struct answers *answers, uint64_t received_ns)
{
	histogram_observe(answers->duration, (double)(clock_mono_ns() - received_ns) / 1e9);
}

static struct metric *count_of(struct metrics *metrics, enum endpoint endpoint, int status, enum outcome outcome)
{
	char text[8];
	snprintf(text, sizeof(text), "%d", status);
	return metrics_get(metrics, METRIC_WEBHOOKS, endpoint_names[endpoint], text, outcome_names[outcome]);
}

int answers_init(struct answers *answers, enum endpoint endpoint, struct metrics *metrics)
{
	for (int i = 0; i < ANSWER_COUNT; i++) {
		if ((texts[i].endpoints & (1U << endpoint)) == 0)
			continue;
		if (reply_fixed_build(&answers->fixed[i], texts[i].status, JSON_TYPE, texts[i].headers, texts[i].body) != 0)
			return ERR_NOMEM;
		answers->fixed_count[i] = count_of(metrics, endpoint, texts[i].status, texts[i].outcome);
	}
	answers->now_count = count_of(metrics, endpoint, 200, OUTCOME_ACCEPTED);
	if (endpoint == ENDPOINT_RECORDING)
		answers->before_count = count_of(metrics, endpoint, 200, OUTCOME_DUPLICATE);
	answers->malformed_count = count_of(metrics, endpoint, 400, OUTCOME_BAD_REQUEST);
	answers->metrics = metrics;
	answers->endpoint = endpoint;
	answers->duration = metrics_histogram(metrics, METRIC_WEBHOOK_DURATION);
	return 0;
}

void answers_fixed(struct answers *answers, struct connection *connection, uint64_t received_ns, enum answer answer)
{
	reply_fixed_send(connection, &answers->fixed[answer]);
	answers->fixed_count[answer]->value++;
	observe(answers, received_ns);
}

void answers_refused(struct answers *answers, int status)
{
	enum outcome outcome = status == 503 ? OUTCOME_UNAVAILABLE : OUTCOME_BAD_REQUEST;
	count_of(answers->metrics, answers->endpoint, status, outcome)->value++;
}

void answers_malformed(struct answers *answers, struct connection *connection, uint64_t received_ns, const char *message)
{
	reply_error(connection, 400, message);
	answers->malformed_count->value++;
	observe(answers, received_ns);
}

void answers_twiml(struct answers *answers, struct connection *connection, uint64_t received_ns, struct slice document)
{
	reply_send(connection, &(struct reply){.status = 200, .content_type = TWIML_TYPE, .body = document});
	answers->now_count->value++;
	observe(answers, received_ns);
}

void answers_archived(struct answers *answers, struct connection *connection, uint64_t received_ns, enum answered when,
		      const char *url)
{
	struct buffer body;
	buffer_init(&body, ARCHIVED_BODY_MAX);
	buffer_printf(&body, "{\"success\":true,\"message\":\"%s\",\"recordingUrl\":\"",
		      when == ANSWERED_BEFORE ? "Recording already processed" : "Recording processed successfully");
	buffer_append_json(&body, slice_from_cstr(url));
	buffer_append_cstr(&body, "\"}");
	if (body.failed) {
		buffer_free(&body);
		answers_fixed(answers, connection, received_ns, ANSWER_INTERNAL);
		return;
	}
	reply_send(connection, &(struct reply){.status = 200, .content_type = JSON_TYPE, .body = buffer_slice(&body)});
	buffer_free(&body);
	(when == ANSWERED_BEFORE ? answers->before_count : answers->now_count)->value++;
	observe(answers, received_ns);
}

enum answer answer_for_status(enum recording_status status)
{
	switch (status) {
	case RECORDING_COMPLETED:
		return ANSWER_ACCEPTED;
	case RECORDING_FAILED:
		return ANSWER_FAILURE;
	case RECORDING_IN_PROGRESS:
		return ANSWER_IN_PROGRESS;
	case RECORDING_ABSENT:
		return ANSWER_ABSENT;
	case RECORDING_UNKNOWN:
		break;
	}
	return ANSWER_UNKNOWN;
}
