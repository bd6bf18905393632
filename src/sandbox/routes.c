/* SPDX-License-Identifier: MIT */
/* Twilio's REST API, as far as a recording needs it: who may ask, what was asked for, and answers in Twilio's form. */
#include "base/check.h"
#include "sandbox/internal.h"
#include "sandbox/random.h"

#include <inttypes.h>
#include <stdio.h>

#define MAX_SEGMENTS 4
#define ROOT "/2010-04-01/Accounts/"

/* ---- answers ---- */

const char *reply_headers(struct sandbox *sandbox, char out[REPLY_HEADERS_SIZE], const char *more)
{
	uint64_t number = scramble3(sandbox->options.seed, ++sandbox->request_number, 0);
	snprintf(out, REPLY_HEADERS_SIZE,
		 "Twilio-Request-Id: RQ%016" PRIx64 "%016" PRIx64
		 "\r\nTwilio-Request-Duration: 0.004\r\nTwilio-Concurrent-Requests: %zu\r\n"
		 "X-Home-Region: us1\r\nX-API-Domain: api.twilio.com\r\n%s",
		 number, scramble(number), server_busy(sandbox->server), more == NULL ? "" : more);
	return out;
}

static bool ends_with(struct slice text, struct slice end)
{
	return text.len >= end.len && memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0;
}

void reply_twilio_error(struct sandbox *sandbox, struct connection *connection, const struct request *request, int status,
			int code, const char *message, const char *more)
{
	char headers[REPLY_HEADERS_SIZE];
	struct buffer body;
	bool json = ends_with(request->path, SLICE(".json"));
	buffer_init(&body, 4096);
	if (json)
		buffer_printf(
			&body,
			"{\"code\":%d,\"message\":\"%s\",\"more_info\":\"https://www.twilio.com/docs/errors/%d\",\"status\":%d}",
			code, message, code, status);
	else
		buffer_printf(&body,
			      "<?xml version='1.0' "
			      "encoding='UTF-8'?>\n<TwilioResponse><RestException><Code>%d</Code><Message>%s</Message>"
			      "<MoreInfo>https://www.twilio.com/docs/errors/%d</MoreInfo><Status>%d</Status></RestException></"
			      "TwilioResponse>",
			      code, message, code, status);
	const struct reply reply = {
		.status = status,
		.content_type = json ? "application/json" : "application/xml",
		.headers = reply_headers(sandbox, headers, more),
		.body = buffer_slice(&body),
	};
	reply_send(connection, &reply);
	buffer_free(&body);
}

void reply_not_found(struct sandbox *sandbox, struct connection *connection, const struct request *request)
{
	sandbox->stats.not_found++;
	reply_twilio_error(sandbox, connection, request, 404, 20404, "The requested resource was not found", NULL);
}

void reply_json(struct sandbox *sandbox, struct connection *connection, int status, const struct buffer *body)
{
	char headers[REPLY_HEADERS_SIZE];
	if (body->failed) {
		reply_error(connection, 500, "the sandbox ran out of memory");
		return;
	}
	const struct reply reply = {
		.status = status,
		.content_type = "application/json",
		.headers = reply_headers(sandbox, headers, NULL),
		.body = buffer_slice(body),
	};
	reply_send(connection, &reply);
}

bool reply_fault(struct sandbox *sandbox, struct connection *connection, const struct request *request, enum fault fault,
		 bool variant)
{
	switch (fault) {
	case FAULT_404_FIRST:
		reply_twilio_error(sandbox, connection, request, 404, 20404, "The requested resource was not found", NULL);
		return true;
	case FAULT_429:
		reply_twilio_error(sandbox, connection, request, 429, 20429, "Too Many Requests",
				   variant ? "Retry-After: 1\r\n" : NULL);
		return true;
	case FAULT_500:
		reply_twilio_error(sandbox, connection, request, 500, 20500, "An internal server error has occurred", NULL);
		return true;
	case FAULT_RESET:
		reply_abort(connection);
		return true;
	default:
		return false;
	}
}

/* ---- resources ---- */

/* Splits "name.ext" at the last dot; SIDs have none. */
static struct slice take_extension(struct slice *name)
{
	for (size_t i = name->len; i > 0; i--) {
		if (name->ptr[i - 1] == '.') {
			struct slice extension = slice_make(name->ptr + i, name->len - i);
			name->len = i - 1;
			return extension;
		}
	}
	return slice_make(NULL, 0);
}

static bool wants_soft_deleted(const struct request *request)
{
	struct query query;
	return query_parse(&query, request->query) && slice_equal(query_get(&query, "IncludeSoftDeleted"), SLICE("true"));
}

/* 404-first means that the recording is still being made: the first look at it says so, unless its media was already waited for. */
static const char *recording_status(struct sandbox *sandbox, uint64_t index)
{
	struct model_state state = model_look(sandbox->model, index);
	if (state.deleted)
		return "deleted";
	bool early = state.requests[FAULT_REQUEST_MEDIA] <= 1 && state.requests[FAULT_REQUEST_RECORDING] <= 1 &&
		     state.media_complete == 0 &&
		     fault_decide(&sandbox->faults, sandbox->options.seed, index, FAULT_REQUEST_MEDIA, 0) == FAULT_404_FIRST;
	return early ? "processing" : "completed";
}

static void get_recording(struct sandbox *sandbox, struct connection *connection, const struct request *request,
			  const struct model_recording *recording)
{
	struct buffer body;
	unsigned attempt;
	enum fault fault;
	sandbox->stats.requests[SANDBOX_RECORDING]++;
	if (model_look(sandbox->model, recording->index).deleted && !wants_soft_deleted(request)) {
		reply_not_found(sandbox, connection, request);
		return;
	}
	fault = sandbox_strike(sandbox, recording->index, FAULT_REQUEST_RECORDING, &attempt);
	if (reply_fault(sandbox, connection, request, fault, fault_variant(sandbox->options.seed, recording->index, attempt)))
		return;
	buffer_init(&body, 8192);
	model_write_recording(sandbox->model, recording, recording_status(sandbox, recording->index), &body);
	reply_json(sandbox, connection, 200, &body);
	buffer_free(&body);
}

static void delete_recording(struct sandbox *sandbox, struct connection *connection, const struct request *request,
			     const struct model_recording *recording)
{
	unsigned attempt;
	char headers[REPLY_HEADERS_SIZE];
	struct model_state *state = model_touch(sandbox->model, recording->index);
	sandbox->stats.requests[SANDBOX_DELETE]++;
	if (state == NULL || state->deleted) {
		reply_not_found(sandbox, connection, request);
		return;
	}
	if (strcmp(recording_status(sandbox, recording->index), "completed") != 0) {
		reply_twilio_error(sandbox, connection, request, 409, 20409, "Only completed recordings can be deleted", NULL);
		return;
	}
	enum fault fault = sandbox_strike(sandbox, recording->index, FAULT_REQUEST_DELETE, &attempt);
	/* A reset loses the answer, not the deletion: the harder case for who asked. */
	if (fault == FAULT_NONE || fault == FAULT_RESET) {
		state->deleted = true;
		state->deletes++;
		sandbox->stats.deleted++;
	}
	if (reply_fault(sandbox, connection, request, fault, fault_variant(sandbox->options.seed, recording->index, attempt)))
		return;
	const struct reply reply = {.status = 204, .headers = reply_headers(sandbox, headers, NULL)};
	reply_send(connection, &reply);
}

static void handle_recording(struct sandbox *sandbox, struct connection *connection, const struct request *request,
			     struct slice name)
{
	struct model_recording recording;
	uint64_t index;
	struct slice extension = take_extension(&name);
	bool json = slice_equal(extension, SLICE("json"));
	enum audio_format format = slice_equal(extension, SLICE("mp3"))   ? AUDIO_MP3
				   : slice_equal(extension, SLICE("wav")) ? AUDIO_WAV
									  : sandbox->options.format;
	if (!json && extension.ptr != NULL && !slice_equal(extension, SLICE("mp3")) && !slice_equal(extension, SLICE("wav"))) {
		sandbox->stats.requests[SANDBOX_UNKNOWN]++;
		reply_not_found(sandbox, connection, request);
		return;
	}
	if (!model_find(sandbox->model, name, "RE", &index)) {
		sandbox->stats.requests[request->method == REQUEST_DELETE ? SANDBOX_DELETE
					: json                            ? SANDBOX_RECORDING
									  : SANDBOX_MEDIA]++;
		reply_not_found(sandbox, connection, request);
		return;
	}
	sandbox_recording(sandbox, index, &recording);
	if (request->method == REQUEST_DELETE)
		delete_recording(sandbox, connection, request, &recording);
	else if (json)
		get_recording(sandbox, connection, request, &recording);
	else
		media_reply(sandbox, connection, request, &recording, format);
}

static void get_call(struct sandbox *sandbox, struct connection *connection, const struct request *request, struct slice name)
{
	struct model_recording recording;
	struct buffer body;
	uint64_t index;
	unsigned attempt;
	enum fault fault;
	sandbox->stats.requests[SANDBOX_CALL]++;
	take_extension(&name);
	if (!model_find(sandbox->model, name, "CA", &index)) {
		reply_not_found(sandbox, connection, request);
		return;
	}
	fault = sandbox_strike(sandbox, index, FAULT_REQUEST_CALL, &attempt);
	if (reply_fault(sandbox, connection, request, fault, fault_variant(sandbox->options.seed, index, attempt)))
		return;
	sandbox_recording(sandbox, index, &recording);
	buffer_init(&body, 8192);
	model_write_call(sandbox->model, &recording, &body);
	reply_json(sandbox, connection, 200, &body);
	buffer_free(&body);
}

static void get_account(struct sandbox *sandbox, struct connection *connection)
{
	struct buffer body;
	sandbox->stats.requests[SANDBOX_ACCOUNT]++;
	buffer_init(&body, 8192);
	model_write_account(sandbox->model, &body);
	reply_json(sandbox, connection, 200, &body);
	buffer_free(&body);
}

/* ---- dispatch ---- */

static bool authorized(const struct sandbox *sandbox, const struct request *request)
{
	static const struct slice scheme = {"Basic ", 6};
	struct slice value = request_header(request, SLICE("Authorization"));
	if (value.len < scheme.len || !slice_equal_nocase(slice_make(value.ptr, scheme.len), scheme))
		return false;
	value = slice_make(value.ptr + scheme.len, value.len - scheme.len);
	for (size_t i = 0; i < sandbox->credential_count; i++)
		if (slice_equal(value, slice_from_cstr(sandbox->credentials[i])))
			return true;
	return false;
}

/* The parts of the path behind ROOT; 0 when there are too many or it is another path. */
static size_t split_path(struct slice path, struct slice segments[MAX_SEGMENTS])
{
	size_t count = 0;
	if (!slice_starts_with(path, SLICE(ROOT)))
		return 0;
	path = slice_make(path.ptr + strlen(ROOT), path.len - strlen(ROOT));
	for (;;) {
		const char *slash = memchr(path.ptr, '/', path.len);
		size_t len = slash == NULL ? path.len : (size_t)(slash - path.ptr);
		if (count == MAX_SEGMENTS)
			return 0;
		segments[count++] = slice_make(path.ptr, len);
		if (slash == NULL)
			return count;
		path = slice_make(slash + 1, path.len - len - 1);
	}
}

static void list_call(struct sandbox *sandbox, struct connection *connection, const struct request *request,
		      struct slice call_sid)
{
	uint64_t index;
	if (model_find(sandbox->model, call_sid, "CA", &index)) {
		list_reply(sandbox, connection, request, &index);
		return;
	}
	sandbox->stats.requests[SANDBOX_LIST]++;
	reply_not_found(sandbox, connection, request);
}

static void dispatch(struct sandbox *sandbox, struct connection *connection, const struct request *request,
		     const struct slice *segments, size_t count)
{
	bool read = request->method == REQUEST_GET || request->method == REQUEST_HEAD;
	bool list = read && count > 1 && slice_equal(segments[count - 1], SLICE("Recordings.json"));
	if (count == 1 && read)
		get_account(sandbox, connection);
	else if (count == 2 && list)
		list_reply(sandbox, connection, request, NULL);
	else if (count == 4 && list && slice_equal(segments[1], SLICE("Calls")))
		list_call(sandbox, connection, request, segments[2]);
	else if (count == 3 && (read || request->method == REQUEST_DELETE) && slice_equal(segments[1], SLICE("Recordings")))
		handle_recording(sandbox, connection, request, segments[2]);
	else if (count == 3 && read && slice_equal(segments[1], SLICE("Calls")))
		get_call(sandbox, connection, request, segments[2]);
	else {
		sandbox->stats.requests[SANDBOX_UNKNOWN]++;
		reply_not_found(sandbox, connection, request);
	}
}

void routes_handle(struct sandbox *sandbox, struct connection *connection, struct request *request)
{
	struct slice segments[MAX_SEGMENTS];
	struct slice account;
	size_t count = split_path(request->path, segments);
	if (!authorized(sandbox, request)) {
		sandbox->stats.requests[SANDBOX_UNKNOWN]++;
		sandbox->stats.unauthorized++;
		reply_twilio_error(sandbox, connection, request, 401, 20003, "Authenticate",
				   "WWW-Authenticate: Basic realm=\"Twilio API\"\r\n");
		return;
	}
	account = count > 0 ? segments[0] : slice_make(NULL, 0);
	if (count == 1)
		take_extension(&account);
	if (!slice_equal(account, slice_from_cstr(sandbox->account_sid))) {
		sandbox->stats.requests[SANDBOX_UNKNOWN]++;
		reply_not_found(sandbox, connection, request);
		return;
	}
	dispatch(sandbox, connection, request, segments, count);
}
