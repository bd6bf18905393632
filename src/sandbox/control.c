/* SPDX-License-Identifier: MIT */
/* The sandbox's own endpoints, for tests and for people who want to look. */
#include "sandbox/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Room for the deletes of some hundred thousand recordings; beyond that the answer is a 500. */
#define MAX_STATS (16u << 20)

static const char *const request_names[SANDBOX_REQUEST_KINDS] = {
	[SANDBOX_ACCOUNT] = "account", [SANDBOX_RECORDING] = "recording", [SANDBOX_MEDIA] = "media",     [SANDBOX_CALL] = "call",
	[SANDBOX_LIST] = "list",       [SANDBOX_DELETE] = "delete",       [SANDBOX_UNKNOWN] = "unknown",
};

static void write_faults(const struct sandbox *sandbox, struct buffer *out)
{
	buffer_printf(out, "{\"attempts\":%u", sandbox->faults.attempts);
	for (int i = 0; i < FAULT_COUNT; i++)
		buffer_printf(out, ",\"%s\":%g", fault_name((enum fault)i), sandbox->faults.rate[i]);
	buffer_append_char(out, '}');
}

/* {"RE…":1}: the deletions that took effect. */
static void write_deletes(const struct sandbox *sandbox, struct buffer *out)
{
	struct model_recording recording;
	uint64_t left = sandbox->stats.deleted;
	bool first = true;
	buffer_append_char(out, '{');
	for (uint64_t i = 0; left > 0 && i < model_count(sandbox->model); i++) {
		struct model_state state = model_look(sandbox->model, i);
		if (state.deletes == 0)
			continue;
		left--;
		model_recording(sandbox->model, i, &recording);
		buffer_printf(out, "%s\"%s\":%u", first ? "" : ",", recording.recording_sid.text, state.deletes);
		first = false;
	}
	buffer_append_char(out, '}');
}

static void get_stats(struct sandbox *sandbox, struct connection *connection, const struct query *query)
{
	(void)query;
	struct sandbox_stats stats;
	struct buffer body;
	sandbox_stats(sandbox, &stats);
	buffer_init(&body, MAX_STATS);
	buffer_append_cstr(&body, "{\"requests\":{");
	for (int i = 0; i < SANDBOX_REQUEST_KINDS; i++)
		buffer_printf(&body, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", request_names[i], stats.requests[i]);
	buffer_printf(&body, "},\"unauthorized\":%" PRIu64 ",\"not_found\":%" PRIu64 ",\"faults\":{", stats.unauthorized,
		      stats.not_found);
	for (int i = 0; i < FAULT_COUNT; i++)
		buffer_printf(&body, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", fault_name((enum fault)i), stats.faults[i]);
	buffer_printf(&body, "},\"plan\":");
	write_faults(sandbox, &body);
	buffer_append_cstr(&body, ",\"deletes\":");
	write_deletes(sandbox, &body);
	buffer_printf(&body,
		      ",\"recordings\":%" PRIu64 ",\"deleted\":%" PRIu64 ",\"media_bytes\":%" PRIu64
		      ",\"downloads_open\":%zu,\"callbacks\":{\"running\":%s,"
		      "\"sent\":%" PRIu64 ",\"retried\":%" PRIu64 ",\"acknowledged\":%" PRIu64 ",\"refused\":%" PRIu64
		      ",\"failed\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"in_progress\":%" PRIu64 ",\"calls\":%" PRIu64
		      ",\"bad_twiml\":%" PRIu64 "}}",
		      model_count(sandbox->model), stats.deleted, stats.media_bytes, sandbox->open_streams,
		      callbacks_running(sandbox->callbacks) ? "true" : "false", stats.callbacks.sent, stats.callbacks.retried,
		      stats.callbacks.acknowledged, stats.callbacks.refused, stats.callbacks.failed, stats.callbacks.duplicates,
		      stats.callbacks.in_progress, stats.callbacks.calls, stats.callbacks.bad_twiml);
	reply_json(sandbox, connection, 200, &body);
	buffer_free(&body);
}

static bool parse_rate(const struct query *query, double *rate)
{
	char text[32];
	char *end;
	struct slice value = query_get(query, "rate");
	*rate = 0;
	if (value.ptr == NULL)
		return true;
	if (value.len == 0 || value.len >= sizeof(text))
		return false;
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	*rate = strtod(text, &end);
	return *end == '\0' && *rate >= 0 && *rate <= 1e6;
}

static void post_deliver(struct sandbox *sandbox, struct connection *connection, const struct query *query)
{
	struct callbacks_delivery delivery = {0};
	struct error error = {0};
	struct buffer body;
	uint64_t concurrency, retry, calls;
	char target[1024];
	struct slice url = query_get(query, "target");
	if (!query_number(query, "count", 1, MODEL_MAX_RECORDINGS, &delivery.count) ||
	    !query_number(query, "from", CALLBACKS_FROM_NEW, MODEL_MAX_RECORDINGS, &delivery.from) ||
	    !query_number(query, "concurrency", 0, CALLBACKS_MAX_CONCURRENCY, &concurrency) ||
	    !query_number(query, "retry", 0, 1, &retry) || !query_number(query, "calls", 0, 1, &calls) ||
	    !parse_rate(query, &delivery.rate) || url.len >= sizeof(target)) {
		reply_error(connection, 400, "malformed parameter; known: count, from, rate, concurrency, retry, calls, target");
		return;
	}
	if (url.len > 0) {
		memcpy(target, url.ptr, url.len);
		target[url.len] = '\0';
		delivery.target = target;
	}
	delivery.concurrency = (unsigned)concurrency;
	delivery.retry = retry != 0;
	delivery.calls = calls != 0;
	uint64_t first = delivery.from == CALLBACKS_FROM_NEW ? model_count(sandbox->model) : delivery.from;
	int code = sandbox_start_callbacks(sandbox, &delivery, &error);
	if (code != 0) {
		reply_error(connection, code == ERR_LOCKED ? 409 : code == ERR_NOMEM ? 503 : 400, error.detail);
		return;
	}
	buffer_init(&body, 256);
	buffer_printf(&body, "{\"from\":%" PRIu64 ",\"count\":%" PRIu64 "}", first, delivery.count);
	reply_json(sandbox, connection, 202, &body);
	buffer_free(&body);
}

static void post_faults(struct sandbox *sandbox, struct connection *connection, const struct query *query)
{
	struct fault_plan plan = sandbox->faults;
	struct error error = {0};
	struct buffer body;
	uint64_t attempts, stall_ms;
	if (!query_number(query, "attempts", plan.attempts, UINT16_MAX, &attempts) ||
	    !query_number(query, "stall_ms", sandbox->options.stall_ms, UINT32_MAX, &stall_ms)) {
		reply_error(connection, 400, "malformed parameter; known: fault, attempts, stall_ms");
		return;
	}
	if (query_get(query, "fault").ptr != NULL && fault_plan_parse(&plan, query_get(query, "fault"), &error) != 0) {
		reply_error(connection, 400, error.detail);
		return;
	}
	plan.attempts = (unsigned)attempts;
	sandbox->options.stall_ms = (uint32_t)stall_ms;
	sandbox_set_faults(sandbox, &plan);
	buffer_init(&body, 2048);
	write_faults(sandbox, &body);
	reply_json(sandbox, connection, 200, &body);
	buffer_free(&body);
}

static const struct {
	struct slice path;
	enum request_method method;
	void (*handle)(struct sandbox *sandbox, struct connection *connection, const struct query *query);
} controls[] = {
	{{"/sandbox/stats", sizeof("/sandbox/stats") - 1}, REQUEST_GET, get_stats},
	{{"/sandbox/recordings", sizeof("/sandbox/recordings") - 1}, REQUEST_GET, listing_reply},
	{{"/sandbox/deliver", sizeof("/sandbox/deliver") - 1}, REQUEST_POST, post_deliver},
	{{"/sandbox/faults", sizeof("/sandbox/faults") - 1}, REQUEST_POST, post_faults},
};

void control_handle(struct sandbox *sandbox, struct connection *connection, struct request *request)
{
	struct query query;
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		if (!slice_equal(request->path, controls[i].path))
			continue;
		if (request->method != controls[i].method)
			reply_error(connection, 405, controls[i].method == REQUEST_GET ? "use GET" : "use POST");
		else if (!query_parse(&query, request->query))
			reply_error(connection, 400, "malformed query");
		else
			controls[i].handle(sandbox, connection, &query);
		return;
	}
	reply_error(connection, 404,
		    "no such path; known: /sandbox/stats, /sandbox/recordings, /sandbox/deliver, /sandbox/faults");
}
