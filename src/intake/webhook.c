/* SPDX-License-Identifier: MIT */
/*
 * One request, happy path:  route ▶ form ▶ signature ▶ event ▶ filter ▶ journal_append … on disk ▶ answer.
 *
 * What must outlive on_request lives in struct call (the connection's per-request memory). The journal copies the parameters
 * during append, so nothing else of the request is kept.
 */
#include "intake/webhook_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <reeld/signature.h>
#include <stdlib.h>
#include <string.h>

#define JSON_TYPE "application/json"
#define REFUSALS_LOGGED_PER_SECOND 10
#define LOGGED_PATH_MAX 64

_Static_assert(sizeof(struct call_event) <= sizeof(struct call), "what calls need costs recordings nothing");

/* ---- answers ---- */

static const struct slice endpoint_paths[ENDPOINT_COUNT] = {
	[ENDPOINT_RECORDING] = SLICE("/api/twilio/recording"),
	[ENDPOINT_INCOMING] = SLICE("/api/twilio/incoming"),
	[ENDPOINT_STATUS] = SLICE("/api/twilio/status"),
};

/* ENDPOINT_COUNT when it is none of them. */
static enum endpoint endpoint_of(struct slice path)
{
	int endpoint = 0;
	while (endpoint < ENDPOINT_COUNT && !slice_equal(path, endpoint_paths[endpoint]))
		endpoint++;
	return (enum endpoint)endpoint;
}

/* NULL when it is not known any more. */
static const char *peer_text(const struct connection *connection, char text[INET6_ADDRSTRLEN])
{
	const struct sockaddr_storage *peer = connection_peer(connection);
	return uv_ip_name((const struct sockaddr *)peer, text, INET6_ADDRSTRLEN) == 0 ? text : NULL;
}

void webhook_log_refused(struct webhook *webhook, const struct refusal *refusal)
{
	char peer[INET6_ADDRSTRLEN];
	uint64_t second = refusal->now_ns / UINT64_C(1000000000);
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
	bool call = refusal->sid != NULL && refusal->sid[0] == 'C';
	struct slice path = slice_make(refusal->path.ptr,
				       refusal->path.len < LOGGED_PATH_MAX ? refusal->path.len : LOGGED_PATH_MAX);
	log_event(refusal->level, "webhook.refused", LOG_STR("reason", refusal->reason), LOG_STR("detail", refusal->detail),
		  LOG_STR("peer", peer_text(refusal->connection, peer)), LOG_SLICE("path", path),
		  LOG_STR("recording_sid", call ? NULL : refusal->sid), LOG_STR("call_sid", call ? refusal->sid : NULL),
		  LOG_STR("account_sid", refusal->account_sid));
}

void webhook_log_lost(const struct pending *pending, enum log_level level, const char *reason, const char *detail,
		      const char *sid)
{
	webhook_log_refused(pending->webhook, &(struct refusal){.level = level,
								.reason = reason,
								.detail = detail,
								.connection = pending->connection,
								.path = endpoint_paths[pending->endpoint],
								.now_ns = clock_mono_ns(),
								.sid = sid});
}

static void answer_malformed(struct webhook *webhook, enum endpoint endpoint, const struct checked *checked, const char *message)
{
	uint64_t received_ns = checked->request->received_ns;
	webhook_log_refused(webhook, &(struct refusal){.level = LOG_INFO,
						       .reason = "bad_request",
						       .detail = message,
						       .connection = checked->connection,
						       .path = checked->request->path,
						       .now_ns = received_ns});
	answers_malformed(&webhook->answers[endpoint], checked->connection, received_ns, message);
}

/* What the server answered by itself. */
static void webhook_on_refused(struct connection *connection, struct slice path, int status, const char *sentence, void *data)
{
	struct webhook *webhook = data;
	enum endpoint endpoint = endpoint_of(path);
	webhook_log_refused(webhook, &(struct refusal){.level = LOG_INFO,
						       .reason = "bad_request",
						       .detail = sentence,
						       .connection = connection,
						       .path = path,
						       .now_ns = clock_mono_ns()});
	if (endpoint != ENDPOINT_COUNT)
		answers_refused(&webhook->answers[endpoint], status);
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
	answers_fixed(&call->pending.webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
		      ANSWER_ACCEPTED);
}

static bool waits_for_archive(const struct webhook *webhook, enum recording_status status)
{
	return webhook->options.ack_archived && status == RECORDING_COMPLETED && webhook->closed == NULL;
}

static enum answer failed_answer(const char *step)
{
	if (step == NULL)
		return ANSWER_INTERNAL;
	if (strcmp(step, "store") == 0)
		return ANSWER_STORE_FAILED;
	if (strcmp(step, "transfer") == 0 || strcmp(step, "describe") == 0)
		return ANSWER_FETCH_FAILED;
	return ANSWER_INTERNAL;
}

static void answer_outcome(struct call *call, enum ledger_outcome outcome, const char *step, const char *url)
{
	struct webhook *webhook = call->pending.webhook;
	enum answer answer;
	switch (outcome) {
	case LEDGER_OUTCOME_DONE:
		answers_archived(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
				 ANSWERED_NOW, url == NULL ? "" : url);
		return;
	case LEDGER_OUTCOME_SKIPPED:
		answer = ANSWER_SKIPPED;
		break;
	case LEDGER_OUTCOME_RELEASE:
		answer = ANSWER_ACCEPTED;
		break;
	default:
		answer = failed_answer(step);
		break;
	}
	answers_fixed(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns, answer);
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

void webhook_archived_before(struct webhook *webhook, const struct sid *recording_sid, const char *url)
{
	struct waiter *waiter;
	while ((waiter = waiting_take(&webhook->waiting, recording_sid)) != NULL) {
		struct call *call = waiting_call(waiter);
		answers_archived(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
				 ANSWERED_BEFORE, url);
	}
}

static void wait_for_archive(struct webhook *webhook, struct call *call)
{
	waiting_add(&webhook->waiting, &call->waiter, &call->recording_sid);
	if (webhook->options.waits != NULL)
		webhook->options.waits(webhook->options.data, &call->recording_sid);
}

/* ---- after the disk ---- */

/* True when the filter knows that the recording is archived, and the request was answered with where. */
static bool answer_archived(struct call *call)
{
	struct webhook *webhook = call->pending.webhook;
	if (call->question.answer != IDEMPOTENCY_ARCHIVED || call->status != RECORDING_COMPLETED)
		return false;
	webhook->caught->value++;
	answers_archived(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
			 ANSWERED_BEFORE, call->question.url);
	return true;
}

/* It is as durable as configured. */
static void answer_durable(struct call *call)
{
	struct webhook *webhook = call->pending.webhook;
	if (answer_archived(call))
		return;
	if (waits_for_archive(webhook, call->status))
		wait_for_archive(webhook, call);
	else
		answers_fixed(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
			      answer_for_status(call->status));
}

static void commit_ended(struct commit_waiter *waiter, bool committed)
{
	struct pending *pending = CONTAINER_OF(waiter, struct pending, commit);
	struct webhook *webhook = pending->webhook;
	if (pending->endpoint != ENDPOINT_RECORDING) {
		webhook_call_committed(pending, committed);
		return;
	}
	struct call *call = CONTAINER_OF(pending, struct call, pending);
	if (committed) {
		answer_durable(call);
		return;
	}
	webhook_log_lost(pending, LOG_ERROR, "ledger_not_committed",
			 "the ledger refused the event, or did not commit it in time: 503 (ACK=ledger, ACK_TIMEOUT)",
			 call->recording_sid.text);
	answers_fixed(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
		      ANSWER_UNAVAILABLE);
}

void webhook_committed(struct webhook *webhook, uint64_t sequence)
{
	commit_queue_release(&webhook->commits, sequence);
}

void webhook_refused(struct webhook *webhook, uint64_t sequence)
{
	commit_queue_refuse(&webhook->commits, sequence);
}

static void webhook_durable(struct journal_append *append, int status)
{
	struct call *call = append->data;
	struct webhook *webhook = call->pending.webhook;
	idempotency_forget(&call->question);
	if (status != 0) {
		webhook_log_lost(&call->pending, LOG_ERROR, err_name(status), "the event could not be made durable: 503",
				 call->recording_sid.text);
		answers_fixed(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
			      ANSWER_UNAVAILABLE);
		return;
	}
	log_event(LOG_DEBUG, "webhook.accepted", LOG_STR("recording_sid", call->recording_sid.text),
		  LOG_STR("status", recording_status_name(call->status)), LOG_U64("sequence", append->sequence));
	if (!webhook->options.ack_ledger)
		answer_durable(call);
	else if (webhook->closed == NULL)
		commit_queue_add(&webhook->commits, &call->pending.commit, append->sequence);
	else /* nobody will tell any more, and this disk may not last */
		commit_ended(&call->pending.commit, false);
}

static void webhook_journal(struct webhook *webhook, struct call *call, struct slice params)
{
	unsigned char header[EVENT_HEADER_SIZE];
	event_encode_header(header, EVENT_RECORDING, clock_wall_ms(), params.len);
	const struct slice parts[] = {slice_make((const char *)header, sizeof(header)), params};
	call->pending.append.done = webhook_durable;
	call->pending.append.data = call;
	int err = journal_append(webhook->options.journal, &call->pending.append, parts, sizeof(parts) / sizeof(parts[0]));
	if (err == 0)
		return;
	idempotency_forget(&call->question);
	webhook_log_lost(&call->pending, LOG_WARN, err_name(err), "the journal takes no event: 503", call->recording_sid.text);
	answers_fixed(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
		      ANSWER_UNAVAILABLE);
}

/* This very event is in the ledger already, so there is nothing to make durable. */
static void webhook_seen(struct webhook *webhook, struct call *call)
{
	enum answer answer = answer_for_status(call->status);
	webhook->caught->value++;
	if (waits_for_archive(webhook, call->status))
		wait_for_archive(webhook, call);
	else
		answers_fixed(&webhook->answers[ENDPOINT_RECORDING], call->pending.connection, call->pending.received_ns,
			      answer == ANSWER_ACCEPTED ? ANSWER_DUPLICATE : answer);
}

/* Everything was checked. The filter may answer at once (local) or while the disk is at work (Redis). */
static void webhook_take(struct webhook *webhook, const struct checked *checked)
{
	struct call *call = connection_data(checked->connection);
	call->pending.webhook = webhook;
	call->pending.connection = checked->connection;
	call->pending.received_ns = checked->request->received_ns;
	call->recording_sid = checked->event.recording_sid;
	call->status = checked->event.status;
	idempotency_ask(webhook->options.filter, &call->question, &call->recording_sid, call->status);
	if (call->question.answer == IDEMPOTENCY_UNKNOWN) {
		webhook_journal(webhook, call, checked->params);
		return;
	}
	idempotency_forget(&call->question);
	if (answer_archived(call))
		return;
	if (call->question.answer == IDEMPOTENCY_SEEN)
		webhook_seen(webhook, call);
	else
		webhook_journal(webhook, call, checked->params);
}

/* ---- the checks ---- */

struct slice webhook_base(struct webhook *webhook, const struct checked *checked, char out[PUBLIC_URL_BASE_SIZE])
{
	return public_url_base(webhook->public_url, checked->request,
			       public_url_wants_peer(webhook->public_url) ? connection_peer(checked->connection) : NULL,
			       connection_is_tls(checked->connection), out);
}

static bool webhook_signature_holds(struct webhook *webhook, struct checked *checked)
{
	const struct request *request = checked->request;
	struct sid account = checked->event.account_sid;
	char base_space[PUBLIC_URL_BASE_SIZE];
	struct slice signature = request_header(request, SLICE("X-Twilio-Signature"));
	struct slice base = webhook_base(webhook, checked, base_space);
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
	const char *detail = "it does not match: check TWILIO_AUTH_TOKEN, and that PUBLIC_URL is the URL Twilio calls";
	if (signature.len == 0)
		detail = "no X-Twilio-Signature";
	else if (sid_is_set(&account) && !twilio_accounts_known(webhook->options.accounts, &account))
		detail = "the account is neither TWILIO_ACCOUNT_SID nor in TWILIO_ACCOUNTS_FILE";
	webhook_log_refused(webhook, &(struct refusal){.level = LOG_WARN,
						       .reason = "invalid_signature",
						       .detail = detail,
						       .connection = checked->connection,
						       .path = request->path,
						       .now_ns = request->received_ns,
						       .account_sid = sid_is_set(&account) ? account.text : NULL});
	return false;
}

static bool is_form(const struct request *request)
{
	static const struct slice form = {"application/x-www-form-urlencoded", 33};
	struct slice type = request_header(request, SLICE("Content-Type"));
	/* Nothing at all is an empty form, and so is judged by its signature. */
	if (type.ptr == NULL)
		return request->body.len == 0;
	const char *semicolon = memchr(type.ptr, ';', type.len);
	if (semicolon != NULL)
		type.len = (size_t)(semicolon - type.ptr);
	return slice_equal_nocase(slice_trim(type), form);
}

/* All checks of a request. False: it was answered. */
static bool webhook_check(struct webhook *webhook, enum endpoint endpoint, struct connection *connection,
			  const struct request *request, struct checked *checked)
{
	static const enum event_kind kinds[] = {
		[ENDPOINT_RECORDING] = EVENT_RECORDING,
		[ENDPOINT_INCOMING] = EVENT_CALL_INCOMING,
		[ENDPOINT_STATUS] = EVENT_CALL_STATUS,
	};
	struct answers *answers = &webhook->answers[endpoint];
	checked->connection = connection;
	checked->request = request;
	if (request->method != REQUEST_POST && request->method != REQUEST_GET) {
		answers_fixed(answers, connection, request->received_ns, ANSWER_METHOD);
		return false;
	}
	if (request->method == REQUEST_POST && !is_form(request)) {
		answers_fixed(answers, connection, request->received_ns, ANSWER_MEDIA_TYPE);
		return false;
	}
	checked->params = request->method == REQUEST_POST ? request->body : request->query;
	enum reeld_form_result parsed = reeld_form_parse(checked->params.ptr, checked->params.len, checked->fields,
							 EVENT_MAX_FIELDS, webhook->scratch, webhook->scratch_len,
							 &checked->field_count);
	if (parsed != REELD_FORM_OK) {
		answer_malformed(webhook, endpoint, checked, reeld_form_message(parsed));
		return false;
	}
	/* Before the signature, which is that of the event's account. What is wrong is told only after it. */
	enum event_problem problem;
	if (endpoint == ENDPOINT_RECORDING) {
		problem = event_identify(&checked->event, EVENT_RECORDING, checked->fields, checked->field_count);
		idempotency_expect(webhook->options.filter, &checked->event.recording_sid);
	} else {
		problem = event_from_form(&checked->event, kinds[endpoint], checked->fields, checked->field_count);
	}
	if (webhook->options.validate_signature && !webhook_signature_holds(webhook, checked)) {
		answers_fixed(answers, connection, request->received_ns, ANSWER_FORBIDDEN);
		return false;
	}
	if (problem == EVENT_MISSING_FIELDS)
		answers_fixed(answers, connection, request->received_ns,
			      endpoint == ENDPOINT_RECORDING ? ANSWER_MISSING : ANSWER_CALL_MISSING);
	else if (problem != EVENT_OK)
		answer_malformed(webhook, endpoint, checked, event_problem_message(problem));
	return problem == EVENT_OK;
}

static void webhook_on_recording(struct webhook *webhook, struct connection *connection, const struct request *request)
{
	struct checked checked;
	if (webhook_check(webhook, ENDPOINT_RECORDING, connection, request, &checked))
		webhook_take(webhook, &checked);
}

static void webhook_on_call(struct webhook *webhook, enum endpoint endpoint, struct connection *connection,
			    const struct request *request)
{
	struct checked checked;
	if (webhook_check(webhook, endpoint, connection, request, &checked))
		webhook_take_call(webhook, endpoint, &checked);
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
	enum endpoint endpoint = endpoint_of(request->path);
	if (endpoint == ENDPOINT_RECORDING)
		webhook_on_recording(webhook, connection, request);
	else if (endpoint != ENDPOINT_COUNT)
		webhook_on_call(webhook, endpoint, connection, request);
	else if (slice_equal(request->path, SLICE("/healthz")))
		on_health(webhook, connection, request, false);
	else if (slice_equal(request->path, SLICE("/readyz")))
		on_health(webhook, connection, request, true);
	else
		reply_error(connection, 404, "Not found");
}

/* ---- life ---- */

static void webhook_free(struct webhook *webhook)
{
	public_url_free(&webhook->public_url);
	incoming_fini(&webhook->incoming);
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
	if (err == 0)
		err = incoming_init(&webhook->incoming, options->greeting, options->stream_url,
				    public_url_fixed(webhook->public_url), error);
	for (int i = 0; err == 0 && i < ENDPOINT_COUNT; i++) {
		if (answers_init(&webhook->answers[i], (enum endpoint)i, options->metrics) != 0)
			err = error_set(error, ERR_NOMEM, "webhook: out of memory");
	}
	webhook->caught = metrics_get(options->metrics, METRIC_DUPLICATES, idempotency_kind(options->filter));
	if (err == 0) {
		struct server_options server_options = {
			.on_request = webhook_on_request,
			.on_refused = webhook_on_refused,
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
	commit_queue_init(&webhook->commits, loop, (uint64_t)options->ack_timeout_ms, commit_ended);
	webhook->commits.timer.data = webhook;
	webhook->open_timers = 2;
	*ret = webhook;
	return options->listen_fd > 0 ? server_listen_bound(webhook->server, options->listen, options->listen_fd, error)
				      : server_listen(webhook->server, options->listen, error);
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
	if (!webhook->server_closed || webhook->open_timers > 0)
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
	webhook->open_timers--;
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
	commit_queue_close(&webhook->commits, webhook_timer_closed);
	server_close(webhook->server, webhook_server_closed, webhook);
}
