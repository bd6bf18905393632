/* SPDX-License-Identifier: MIT */
/*
 * One request, happy path:  route ▶ form ▶ signature ▶ event ▶ filter ▶ journal_append … on disk ▶ answer.
 *
 * What must outlive on_request lives in struct call (the connection's per-request memory). The journal copies the parameters during append, so nothing
 * else of the request is kept.
 */
#include "intake/webhook.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "intake/connection.h"
#include "intake/public_url.h"
#include "intake/waiting.h"
#include "twilio/event.h"

#include <reeld/form.h>
#include <reeld/signature.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_TYPE "application/json"
#define RETRY_AFTER "Retry-After: 5\r\n"
#define REFUSALS_LOGGED_PER_SECOND 10

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

/* FIXED(ID, status, outcome, headers, body): the contract's answers that never vary. */
#define FIXED_ANSWERS                                                                                                            \
	FIXED(ACCEPTED, 200, OUTCOME_ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording accepted\"}")                    \
	FIXED(DUPLICATE, 200, OUTCOME_DUPLICATE, NULL, "{\"success\":true,\"message\":\"Recording accepted\"}")                  \
	FIXED(FAILURE, 200, OUTCOME_ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording failure acknowledged\"}")         \
	FIXED(IN_PROGRESS, 200, OUTCOME_ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording in progress acknowledged\"}") \
	FIXED(ABSENT, 200, OUTCOME_ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording absent acknowledged\"}")           \
	FIXED(UNKNOWN, 200, OUTCOME_ACCEPTED, NULL, "{\"success\":true,\"message\":\"Unknown status acknowledged\"}")            \
	FIXED(SKIPPED, 200, OUTCOME_ACCEPTED, NULL,                                                                              \
	      "{\"success\":true,\"message\":\"Recording received but call not found in database\"}")                            \
	FIXED(MISSING, 400, OUTCOME_BAD_REQUEST, NULL, "{\"error\":\"Missing required fields: CallSid or RecordingSid\"}")       \
	FIXED(FORBIDDEN, 403, OUTCOME_INVALID_SIGNATURE, NULL, "{\"error\":\"Invalid request signature\"}")                      \
	FIXED(METHOD, 405, OUTCOME_BAD_REQUEST, "Allow: GET, POST\r\n", "{\"error\":\"Method not allowed\"}")                    \
	FIXED(MEDIA_TYPE, 415, OUTCOME_BAD_REQUEST, NULL,                                                                        \
	      "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}")                                          \
	FIXED(INTERNAL, 500, OUTCOME_FAILED, NULL, "{\"error\":\"Internal server error processing recording\"}")                 \
	FIXED(FETCH_FAILED, 502, OUTCOME_FAILED, NULL, "{\"error\":\"Failed to fetch recording from Twilio\"}")                  \
	FIXED(STORE_FAILED, 502, OUTCOME_FAILED, NULL, "{\"error\":\"Failed to upload recording to storage\"}")                  \
	FIXED(UNAVAILABLE, 503, OUTCOME_UNAVAILABLE, RETRY_AFTER, "{\"error\":\"Temporarily unable to store the event\"}")

enum answer {
#define FIXED(ID, status, outcome, headers, body) ANSWER_##ID,
	FIXED_ANSWERS
#undef FIXED
		ANSWER_COUNT
};

static const struct {
	int status;
	enum outcome outcome;
	const char *headers;
	struct slice body;
} answers[ANSWER_COUNT] = {
#define FIXED(ID, status, outcome, headers, body) [ANSWER_##ID] = {status, outcome, headers, {body, sizeof(body) - 1}},
	FIXED_ANSWERS
#undef FIXED
};

struct webhook {
	struct webhook_options options;
	struct server *server;
	struct public_url *public_url;
	struct reply_fixed fixed[ANSWER_COUNT];
	struct metric *fixed_count[ANSWER_COUNT];
	struct metric *stored_count;    /* 200 with the recording's URL, ACK=archived */
	struct metric *duplicate_count; /* 200 with the recording's URL, already processed */
	struct metric *malformed_count; /* 400 with a text of its own */
	struct metric *caught;          /* duplicates that the filter kept from the journal */
	struct histogram *duration;
	char *scratch; /* form_parse's, for the longest body or query */
	size_t scratch_len;
	struct waiting waiting;
	/* refusals are logged, but nobody shall fill the disk with them */
	int64_t refusals_second;
	unsigned refusals_logged;
	uint64_t refusals_suppressed;

	bool server_closed;
	bool timer_closed;
	void (*closed)(void *data);
	void *closed_data;
};

/* A webhook that waits for the disk, or for the pipeline. */
struct call {
	struct journal_append append;
	struct waiter waiter;
	struct webhook *webhook;
	struct connection *connection;
	uint64_t received_ns;
	struct sid recording_sid;
	enum recording_status status;
};

/* What is known of a request while it is checked. */
struct checked {
	struct connection *connection;
	const struct request *request;
	struct slice params; /* raw: body, or query of a GET */
	struct reeld_form_field fields[EVENT_MAX_FIELDS];
	size_t field_count;
	struct event event;
};

/* ---- answers ---- */

static void observe(struct webhook *webhook, uint64_t received_ns)
{
	histogram_observe(webhook->duration, (double)(clock_mono_ns() - received_ns) / 1e9);
}

static void answer_fixed(struct webhook *webhook, struct connection *connection, uint64_t received_ns, enum answer answer)
{
	reply_fixed_send(connection, &webhook->fixed[answer]);
	webhook->fixed_count[answer]->value++;
	observe(webhook, received_ns);
}

static void answer_malformed(struct webhook *webhook, struct checked *checked, const char *message)
{
	uint64_t received_ns = checked->request->received_ns;
	log_event(LOG_INFO, "webhook.refused", LOG_STR("reason", "bad_request"), LOG_STR("detail", message));
	reply_error(checked->connection, 400, message);
	webhook->malformed_count->value++;
	observe(webhook, received_ns);
}

static void answer_with_url(struct webhook *webhook, struct connection *connection, uint64_t received_ns, const char *message,
			    const char *url, struct metric *count)
{
	struct buffer body;
	buffer_init(&body, 4096 + 6 * IDEMPOTENCY_URL_SIZE);
	buffer_printf(&body, "{\"success\":true,\"message\":\"%s\",\"recordingUrl\":\"", message);
	buffer_append_json(&body, slice_from_cstr(url));
	buffer_append_cstr(&body, "\"}");
	if (body.failed)
		reply_error(connection, 500, "Internal server error processing recording");
	else
		reply_send(connection, &(struct reply){.status = 200, .content_type = JSON_TYPE, .body = buffer_slice(&body)});
	buffer_free(&body);
	count->value++;
	observe(webhook, received_ns);
}

static enum answer accepted_answer(enum recording_status status)
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

/* ---- waiting for the pipeline (ACK=archived) ---- */

static struct call *waiting_call(struct waiter *waiter)
{
	return CONTAINER_OF(waiter, struct call, waiter);
}

static void wait_expired(struct waiting *waiting, struct waiter *waiter)
{
	struct call *call = waiting_call(waiter);
	(void)waiting;
	answer_fixed(call->webhook, call->connection, call->received_ns, ANSWER_ACCEPTED);
}

static bool waits_for_archive(const struct webhook *webhook, enum recording_status status)
{
	return webhook->options.ack_archived && status == RECORDING_COMPLETED && webhook->closed == NULL;
}

static void answer_outcome(struct call *call, enum ledger_outcome outcome, const char *step, const char *url)
{
	struct webhook *webhook = call->webhook;
	enum answer answer;
	switch (outcome) {
	case LEDGER_OUTCOME_DONE:
		answer_with_url(webhook, call->connection, call->received_ns, "Recording processed successfully",
				url == NULL ? "" : url, webhook->stored_count);
		return;
	case LEDGER_OUTCOME_SKIPPED:
		answer = ANSWER_SKIPPED;
		break;
	case LEDGER_OUTCOME_RELEASE:
		answer = ANSWER_ACCEPTED;
		break;
	default:
		answer = step != NULL && strcmp(step, "store") == 0 ? ANSWER_STORE_FAILED : ANSWER_FETCH_FAILED;
		break;
	}
	answer_fixed(webhook, call->connection, call->received_ns, answer);
}

void webhook_outcome(struct webhook *webhook, const struct sid *recording_sid, enum ledger_outcome outcome, const char *step,
		     const char *url)
{
	struct waiter *waiter;
	if (list_empty(&webhook->waiting.queue))
		return;
	while ((waiter = waiting_take(&webhook->waiting, recording_sid)) != NULL)
		answer_outcome(waiting_call(waiter), outcome, step, url);
}

/* ---- after the disk ---- */

static void webhook_durable(struct journal_append *append, int status)
{
	struct call *call = append->data;
	struct webhook *webhook = call->webhook;
	if (status != 0) {
		log_event(LOG_ERROR, "webhook.not_durable", LOG_STR("recording_sid", call->recording_sid.text),
			  LOG_STR("reason", err_name(status)));
		answer_fixed(webhook, call->connection, call->received_ns, ANSWER_UNAVAILABLE);
		return;
	}
	log_event(LOG_DEBUG, "webhook.accepted", LOG_STR("recording_sid", call->recording_sid.text),
		  LOG_STR("status", recording_status_name(call->status)), LOG_U64("sequence", append->sequence));
	if (waits_for_archive(webhook, call->status))
		waiting_add(&webhook->waiting, &call->waiter, &call->recording_sid);
	else
		answer_fixed(webhook, call->connection, call->received_ns, accepted_answer(call->status));
}

static struct call *call_begin(struct webhook *webhook, const struct checked *checked)
{
	struct call *call = connection_data(checked->connection);
	call->webhook = webhook;
	call->connection = checked->connection;
	call->received_ns = checked->request->received_ns;
	call->recording_sid = checked->event.recording_sid;
	call->status = checked->event.status;
	return call;
}

static void webhook_journal(struct webhook *webhook, const struct checked *checked)
{
	unsigned char header[EVENT_HEADER_SIZE];
	struct call *call = call_begin(webhook, checked);
	event_encode_header(header, checked->event.kind, clock_wall_ms(), checked->params.len);
	const struct slice parts[] = {slice_make((const char *)header, sizeof(header)), checked->params};
	call->append.done = webhook_durable;
	call->append.data = call;
	int err = journal_append(webhook->options.journal, &call->append, parts, sizeof(parts) / sizeof(parts[0]));
	if (err == 0)
		return;
	log_event(LOG_WARN, "webhook.refused", LOG_STR("reason", err_name(err)),
		  LOG_STR("detail", "the event was not taken: 503"), LOG_STR("recording_sid", call->recording_sid.text));
	answer_fixed(webhook, call->connection, call->received_ns, ANSWER_UNAVAILABLE);
}

/* True when the filter answered for us: the event is in the ledger already, durable there. */
static bool webhook_is_duplicate(struct webhook *webhook, struct checked *checked)
{
	const struct event *event = &checked->event;
	struct idempotency_question question;
	memset(&question.pending, 0, sizeof(question.pending));
	idempotency_ask(webhook->options.filter, &question, &event->recording_sid, event->status);
	enum idempotency_answer answer = question.answer;
	idempotency_forget(&question);
	if (answer == IDEMPOTENCY_UNKNOWN)
		return false;
	uint64_t received_ns = checked->request->received_ns;
	if (event->status == RECORDING_COMPLETED && answer == IDEMPOTENCY_ARCHIVED) {
		webhook->caught->value++;
		answer_with_url(webhook, checked->connection, received_ns, "Recording already processed", question.url,
				webhook->duplicate_count);
		return true;
	}
	if (answer != IDEMPOTENCY_SEEN)
		return false;
	webhook->caught->value++;
	if (waits_for_archive(webhook, event->status)) {
		struct call *call = call_begin(webhook, checked);
		waiting_add(&webhook->waiting, &call->waiter, &call->recording_sid);
	} else {
		enum answer same = accepted_answer(event->status);
		answer_fixed(webhook, checked->connection, received_ns, same == ANSWER_ACCEPTED ? ANSWER_DUPLICATE : same);
	}
	return true;
}

/* ---- the checks ---- */

static void log_refused_signature(struct webhook *webhook, const struct checked *checked, const struct sid *account,
				  const char *why)
{
	int64_t second = (int64_t)(checked->request->received_ns / UINT64_C(1000000000));
	if (second != webhook->refusals_second) {
		if (webhook->refusals_suppressed > 0)
			log_event(LOG_WARN, "webhook.refusals_suppressed", LOG_U64("lines", webhook->refusals_suppressed));
		webhook->refusals_second = second;
		webhook->refusals_logged = 0;
		webhook->refusals_suppressed = 0;
	}
	if (webhook->refusals_logged == REFUSALS_LOGGED_PER_SECOND) {
		webhook->refusals_suppressed++;
		return;
	}
	webhook->refusals_logged++;
	log_event(LOG_WARN, "webhook.refused", LOG_STR("reason", "invalid_signature"), LOG_STR("detail", why),
		  LOG_STR("account_sid", account->text),
		  LOG_STR("advice", "check TWILIO_AUTH_TOKEN and that PUBLIC_URL is the URL Twilio calls"));
}

static bool webhook_signature_holds(struct webhook *webhook, struct checked *checked)
{
	const struct request *request = checked->request;
	struct sid account = {""};
	char base_space[PUBLIC_URL_BASE_SIZE];
	const struct reeld_form_field *field = reeld_form_find(checked->fields, checked->field_count, "AccountSid");
	if (field != NULL)
		(void)sid_parse(slice_make(field->value, field->value_len), "AC", &account);
	struct slice signature = request_header(request, SLICE("X-Twilio-Signature"));
	struct slice base = public_url_base(webhook->public_url, request, connection_peer(checked->connection),
					    connection_is_tls(checked->connection), base_space);
	struct reeld_signature_request signed_request = {
		.base = base.ptr,
		.base_len = base.len,
		.target = request->target.ptr,
		.target_len = request->target.len,
		.fields = checked->fields,
		.field_count = request->method == REQUEST_POST ? checked->field_count : 0,
	};
	if (twilio_accounts_verify(webhook->options.accounts, &account, &signed_request, signature.ptr, signature.len))
		return true;
	log_refused_signature(webhook, checked, &account,
			      signature.len == 0 ? "no X-Twilio-Signature" : "the signature does not match");
	return false;
}

static bool is_form(const struct request *request)
{
	static const struct slice form = {"application/x-www-form-urlencoded", 33};
	struct slice type = request_header(request, SLICE("Content-Type"));
	const char *semicolon = type.len == 0 ? NULL : memchr(type.ptr, ';', type.len);
	if (semicolon != NULL)
		type.len = (size_t)(semicolon - type.ptr);
	while (type.len > 0 && (type.ptr[type.len - 1] == ' ' || type.ptr[type.len - 1] == '\t'))
		type.len--;
	return slice_equal_nocase(type, form);
}

static void webhook_on_recording(struct webhook *webhook, struct connection *connection, const struct request *request)
{
	struct checked checked;
	checked.connection = connection;
	checked.request = request;
	if (request->method != REQUEST_POST && request->method != REQUEST_GET) {
		answer_fixed(webhook, connection, request->received_ns, ANSWER_METHOD);
		return;
	}
	if (request->method == REQUEST_POST && !is_form(request)) {
		answer_fixed(webhook, connection, request->received_ns, ANSWER_MEDIA_TYPE);
		return;
	}
	checked.params = request->method == REQUEST_POST ? request->body : request->query;
	enum reeld_form_result parsed = reeld_form_parse(checked.params.ptr, checked.params.len, checked.fields, EVENT_MAX_FIELDS,
							 webhook->scratch, webhook->scratch_len, &checked.field_count);
	if (parsed != REELD_FORM_OK) {
		answer_malformed(webhook, &checked, reeld_form_message(parsed));
		return;
	}
	if (webhook->options.validate_signature && !webhook_signature_holds(webhook, &checked)) {
		answer_fixed(webhook, connection, request->received_ns, ANSWER_FORBIDDEN);
		return;
	}
	enum event_problem problem = event_from_form(&checked.event, EVENT_RECORDING, checked.fields, checked.field_count);
	if (problem == EVENT_MISSING_FIELDS)
		answer_fixed(webhook, connection, request->received_ns, ANSWER_MISSING);
	else if (problem != EVENT_OK)
		answer_malformed(webhook, &checked, event_problem_message(problem));
	else if (!webhook_is_duplicate(webhook, &checked))
		webhook_journal(webhook, &checked);
}

/* ---- health ---- */

static void on_health(struct webhook *webhook, struct connection *connection, const struct request *request, bool ready_asked)
{
	struct buffer body;
	bool ready = true;
	if (request->method != REQUEST_GET && request->method != REQUEST_HEAD) {
		reply_send(connection, &(struct reply){.status = 405,
						       .content_type = JSON_TYPE,
						       .headers = "Allow: GET, HEAD\r\n",
						       .body = SLICE("{\"error\":\"Method not allowed\"}")});
		return;
	}
	buffer_init(&body, 16384);
	if (ready_asked)
		ready = webhook->options.health(webhook->options.data, &body);
	else
		buffer_append_cstr(&body, "{\"status\":\"ok\"}");
	reply_send(connection, &(struct reply){.status = ready ? 200 : 503,
					       .content_type = JSON_TYPE,
					       .headers = "Cache-Control: no-store\r\n",
					       .body = buffer_slice(&body)});
	buffer_free(&body);
}

static void webhook_on_request(struct connection *connection, struct request *request, void *data)
{
	struct webhook *webhook = data;
	if (slice_equal(request->path, SLICE("/api/twilio/recording")))
		webhook_on_recording(webhook, connection, request);
	else if (slice_equal(request->path, SLICE("/healthz")))
		on_health(webhook, connection, request, false);
	else if (slice_equal(request->path, SLICE("/readyz")))
		on_health(webhook, connection, request, true);
	else
		reply_error(connection, 404, "Not found");
}

/* ---- life ---- */

static struct metric *count_of(struct webhook *webhook, int status, enum outcome outcome)
{
	char text[8];
	snprintf(text, sizeof(text), "%d", status);
	return metrics_get(webhook->options.metrics, METRIC_WEBHOOKS, "recording", text, outcome_names[outcome]);
}

static int webhook_prepare(struct webhook *webhook)
{
	for (int i = 0; i < ANSWER_COUNT; i++) {
		int err = reply_fixed_build(&webhook->fixed[i], answers[i].status, JSON_TYPE, answers[i].headers,
					    answers[i].body);
		if (err != 0)
			return err;
		webhook->fixed_count[i] = count_of(webhook, answers[i].status, answers[i].outcome);
	}
	webhook->stored_count = count_of(webhook, 200, OUTCOME_ACCEPTED);
	webhook->duplicate_count = count_of(webhook, 200, OUTCOME_DUPLICATE);
	webhook->malformed_count = count_of(webhook, 400, OUTCOME_BAD_REQUEST);
	webhook->caught = metrics_get(webhook->options.metrics, METRIC_DUPLICATES, idempotency_kind(webhook->options.filter));
	webhook->duration = metrics_histogram(webhook->options.metrics, METRIC_WEBHOOK_DURATION);
	return 0;
}

static void webhook_free(struct webhook *webhook)
{
	public_url_free(&webhook->public_url);
	free(webhook->scratch);
	free(webhook);
}

#define MAX_HEADER ((size_t)16 * 1024)

int webhook_new(struct webhook **ret, uv_loop_t *loop, const struct webhook_options *options, struct error *error)
{
	struct webhook *webhook = calloc(1, sizeof(*webhook));
	if (webhook == NULL)
		return error_set(error, ERR_NOMEM, "webhook: out of memory");
	webhook->options = *options;
	webhook->scratch_len = options->max_body > MAX_HEADER ? options->max_body : MAX_HEADER;
	webhook->scratch = malloc(webhook->scratch_len);
	int err = webhook->scratch == NULL
			  ? error_set(error, ERR_NOMEM, "webhook: out of memory")
			  : public_url_new(&webhook->public_url, options->public_url, options->trusted_proxies, error);
	if (err == 0 && webhook_prepare(webhook) != 0)
		err = error_set(error, ERR_NOMEM, "webhook: out of memory");
	if (err == 0) {
		struct server_options server_options = {
			.on_request = webhook_on_request,
			.data = webhook,
			.max_connections = options->max_connections,
			.max_body = options->max_body,
			.max_header = MAX_HEADER,
			.header_timeout_ms = options->header_timeout_ms,
			.idle_timeout_ms = options->idle_timeout_ms,
			.tls = options->tls,
			.connections = metrics_get(options->metrics, METRIC_HTTP_CONNECTIONS),
			.metrics = options->metrics,
			.name = "public",
			.pool_data_size = sizeof(struct call),
		};
		webhook->server = server_new(loop, &server_options);
		if (webhook->server == NULL)
			err = error_set(error, ERR_NOMEM, "webhook: out of memory");
	}
	if (err != 0) {
		webhook_free(webhook);
		return err;
	}
	waiting_init(&webhook->waiting, loop, (uint64_t)options->ack_timeout_ms, wait_expired);
	webhook->waiting.timer.data = webhook;
	*ret = webhook;
	return server_listen(webhook->server, options->listen, error);
}

int webhook_port(const struct webhook *webhook)
{
	return server_port(webhook->server);
}

void webhook_set_accounts(struct webhook *webhook, struct twilio_accounts *accounts)
{
	webhook->options.accounts = accounts;
}

void webhook_drain(struct webhook *webhook)
{
	server_drain(webhook->server);
}

size_t webhook_busy(const struct webhook *webhook)
{
	return server_busy(webhook->server);
}

static void webhook_maybe_closed(struct webhook *webhook)
{
	if (!webhook->server_closed || !webhook->timer_closed)
		return;
	void (*closed)(void *data) = webhook->closed;
	void *data = webhook->closed_data;
	webhook_free(webhook);
	closed(data);
}

static void webhook_server_closed(void *data)
{
	struct webhook *webhook = data;
	webhook->server_closed = true;
	webhook_maybe_closed(webhook);
}

static void webhook_timer_closed(uv_handle_t *handle)
{
	struct webhook *webhook = handle->data;
	webhook->timer_closed = true;
	webhook_maybe_closed(webhook);
}

void webhook_close(struct webhook *webhook, void (*closed)(void *data), void *data)
{
	struct waiter *waiter;
	webhook->closed = closed;
	webhook->closed_data = data;
	while ((waiter = waiting_take_any(&webhook->waiting)) != NULL)
		wait_expired(&webhook->waiting, waiter);
	waiting_close(&webhook->waiting, webhook_timer_closed);
	server_close(webhook->server, webhook_server_closed, webhook);
}
