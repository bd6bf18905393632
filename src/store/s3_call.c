/* SPDX-License-Identifier: MIT */
/*
 * A call goes round: credentials → sign → HTTP → judge, until the judgement is final. What the server can teach (its region, its
 * time, that a session is over, that it does not know an extension) is learned by the store and tried once more at once; what may pass
 * (throttling, 5xx, a cut connection) is tried again after a pause, a few times. A streamed body can only be sent again while its
 * owner still has the first byte.
 */
#include "store/s3_internal.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S3_TRIES 4
#define BACKOFF_MAX_MS 5000
#define PATH_BYTES_MAX 2048
#define URL_BYTES_MAX 16384
#define CHANGE_OF_SKEW_MS 60000
#define LINE_MAX_BYTES 128

static void call_begin(struct s3_call *call);

static void call_finish(struct s3_call *call, int status)
{
	/* What was collected must outlive the call, which done may start again or free. */
	struct http_client_request http = call->http;
	call->http.impl = NULL;
	call->running = false;
	s3_store_note(call->store, status, call->error.detail);
	call->done(call, status);
	http_client_request_release(&http);
}

static void finish_later(struct soon_item *item)
{
	struct s3_call *call = CONTAINER_OF(item, struct s3_call, later);
	call_finish(call, call->status);
}

/* Ends from the loop, with call->error when it is set. */
static void call_fail_soon(struct s3_call *call, int status, const char *what)
{
	call->status = status;
	if (call->error.code == 0)
		error_set(&call->error, status, "%s: %s", what, err_text(status));
	soon_item_init(&call->later, finish_later);
	soon_add(&call->store->store.soon, &call->later);
}

/* ---- Signing ---- */

struct call_lines {
	char md5[LINE_MAX_BYTES];
	char checksum[LINE_MAX_BYTES];
	const char *lines[S3_CALL_HEADERS + 8];
	size_t count;
};

static void add_line(struct call_lines *lines, const char *line)
{
	REQUIRE(lines->count < sizeof(lines->lines) / sizeof(lines->lines[0]));
	lines->lines[lines->count++] = line;
}

/* The caller's headers and those that depend on what the server understands. All of them are signed. */
static void collect_lines(struct s3_call *call, struct call_lines *lines)
{
	const struct s3_store *store = call->store;
	char text[BASE64_LEN(32) + 1];
	lines->count = 0;
	for (size_t i = 0; i < S3_CALL_HEADERS && call->headers[i] != NULL; i++)
		add_line(lines, call->headers[i]);
	if (call->md5 != NULL) {
		base64_encode(call->md5, 16, text);
		snprintf(lines->md5, sizeof(lines->md5), "Content-MD5: %s", text);
		add_line(lines, lines->md5);
	}
	bool checksums = store->checksums && !call->without_checksum;
	call->sent_checksum = call->checksum && call->sha256 != NULL && checksums;
	call->sent_algorithm = call->checksum_algorithm && checksums;
	call->sent_conditional = call->conditional && store->conditional && !call->without_conditional;
	if (call->sent_checksum) {
		base64_encode(call->sha256, 32, text);
		snprintf(lines->checksum, sizeof(lines->checksum), "x-amz-checksum-sha256: %s", text);
		add_line(lines, lines->checksum);
	}
	if (call->sent_algorithm)
		add_line(lines, "x-amz-checksum-algorithm: SHA256");
	if (call->sent_conditional)
		add_line(lines, "If-None-Match: *");
}

static struct reeld_sigv4_pair pair_of_line(const char *line)
{
	const char *colon = strchr(line, ':');
	REQUIRE(colon != NULL && colon[1] == ' ');
	return (struct reeld_sigv4_pair){line, (size_t)(colon - line), colon + 2, strlen(colon + 2)};
}

static struct reeld_sigv4_pair pair_of(const char *name, const char *value)
{
	return (struct reeld_sigv4_pair){name, strlen(name), value, strlen(value)};
}

static const char *method_name(enum http_method method)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"};
	return names[method];
}

int s3_store_key(struct s3_store *store, const struct aws_credentials_value *value)
{
	if (store->key != NULL && store->key_generation == value->generation)
		return 0;
	reeld_sigv4_key_free(&store->key);
	const struct reeld_sigv4_credentials credentials = {value->access_key_id, value->secret_access_key, value->session_token};
	store->key = reeld_sigv4_key_new(&credentials, store->region, "s3");
	store->key_generation = value->generation;
	return store->key != NULL ? 0 : ERR_NOMEM;
}

static int sign(struct s3_call *call, const struct call_lines *lines, struct reeld_sigv4_signed *out)
{
	struct s3_store *store = call->store;
	struct reeld_sigv4_pair headers[REELD_SIGV4_MAX_HEADERS];
	struct reeld_sigv4_pair query[S3_CALL_QUERY];
	char hash[S3_SHA256_TEXT_SIZE];
	struct buffer path;
	size_t query_count = 0, header_count = 0;
	for (; query_count < S3_CALL_QUERY && call->query[query_count][0] != NULL; query_count++)
		query[query_count] = pair_of(call->query[query_count][0], call->query[query_count][1]);
	headers[header_count++] = pair_of("host", store->address.host);
	for (size_t i = 0; i < lines->count; i++)
		headers[header_count++] = pair_of_line(lines->lines[i]);
	const char *payload_hash = call->on_send != NULL ? REELD_SIGV4_UNSIGNED_PAYLOAD : NULL;
	if (call->sha256 != NULL) {
		hex_encode(call->sha256, 32, hash);
		payload_hash = hash;
	}
	buffer_init(&path, PATH_BYTES_MAX);
	int status = s3_address_path(&store->address, call->key, &path);
	const struct reeld_sigv4_request request = {
		.method = method_name(call->method),
		.path = path.data,
		.path_len = path.len,
		.flags = REELD_SIGV4_S3,
		.query = query,
		.query_count = query_count,
		.headers = headers,
		.header_count = header_count,
		.payload_hash = payload_hash,
		.body = call->body.ptr,
		.body_len = call->body.len,
		.now_ms = clock_wall_ms() + store->skew_ms,
	};
	if (status == 0) {
		enum reeld_sigv4_status made = reeld_sigv4_sign(store->key, &request, store->scratch, REELD_SIGV4_SCRATCH_SIZE,
								out);
		status = made == REELD_SIGV4_OK ? 0 : made == REELD_SIGV4_NO_ROOM ? ERR_LIMIT : ERR_INVALID;
	}
	buffer_free(&path);
	return status;
}

/* ---- HTTP ---- */

static size_t on_http_send(struct http_client_request *http, char *out, size_t cap)
{
	struct s3_call *call = http->data;
	return call->on_send(call, out, cap);
}

static bool on_http_rewind(struct http_client_request *http)
{
	struct s3_call *call = http->data;
	return call->on_rewind != NULL && call->on_rewind(call);
}

static void on_http_header(struct http_client_request *http, struct slice name, struct slice value)
{
	struct s3_call *call = http->data;
	s3_answer_header(&call->answer, name, value);
}

static size_t on_http_receive(struct http_client_request *http, const char *bytes, size_t len)
{
	struct s3_call *call = http->data;
	if (http->http_status >= 200 && http->http_status <= 299)
		return call->on_receive(call, bytes, len);
	size_t room = sizeof(call->refusal) - call->refusal_len;
	size_t part = len < room ? len : room;
	memcpy(call->refusal + call->refusal_len, bytes, part);
	call->refusal_len += part;
	return len;
}

static void on_http_done(struct http_client_request *http, int status);

static int start_http(struct s3_call *call, const struct call_lines *lines, const struct reeld_sigv4_signed *signed_)
{
	struct s3_store *store = call->store;
	struct http_client_request *http = &call->http;
	struct buffer url;
	size_t count = 0;
	http_client_request_release(http);
	*http = (struct http_client_request){
		.method = call->method,
		.body = call->body,
		.on_header = on_http_header,
		.stall_timeout_ms = call->stall_timeout_ms != 0 ? call->stall_timeout_ms : store->stall_timeout_ms,
		.done = on_http_done,
		.data = call,
	};
	for (size_t i = 0; i < lines->count; i++)
		http->headers[count++] = lines->lines[i];
	for (size_t i = 0; signed_->headers[i] != NULL; i++)
		http->headers[count++] = signed_->headers[i];
	if (call->on_send != NULL) {
		http->on_send = on_http_send;
		http->on_rewind = on_http_rewind;
		http->send_length = call->send_length;
		/* A body that cannot be sent twice waits for the server's consent until we know that the signature pleases. */
		if (!store->proven)
			http->headers[count++] = "Expect: 100-continue";
	}
	if (call->on_receive != NULL)
		http->on_receive = on_http_receive;
	REQUIRE(count < HTTP_CLIENT_MAX_HEADERS);
	buffer_init(&url, URL_BYTES_MAX);
	s3_address_origin(&store->address, &url);
	buffer_append_cstr(&url, signed_->target);
	http->url = buffer_cstr(&url);
	int status = http->url == NULL || url.failed ? ERR_LIMIT : http_client_start(store->http, http);
	buffer_free(&url);
	http->url = NULL;
	return status;
}

static void call_send(struct s3_call *call, const struct aws_credentials_value *value)
{
	struct s3_store *store = call->store;
	struct call_lines lines;
	struct reeld_sigv4_signed signed_;
	int status = s3_store_key(store, value);
	if (status == 0) {
		call->generation = value->generation;
		call->region_version = store->region_version;
		collect_lines(call, &lines);
		status = sign(call, &lines, &signed_);
	}
	s3_answer_reset(&call->answer);
	call->refusal_len = 0;
	if (status == 0)
		status = start_http(call, &lines, &signed_);
	/* The session token is in there. */
	explicit_bzero(store->scratch, REELD_SIGV4_SCRATCH_SIZE);
	if (status != 0) {
		call_fail_soon(call, status, "a request could not be made");
		return;
	}
	call->in_flight = true;
	call->tried++;
}

static void credentials_done(struct aws_credentials_request *request, int status, const struct aws_credentials_value *value)
{
	struct s3_call *call = request->data;
	call->waiting = false;
	if (call->cancelled)
		status = ERR_CANCELLED;
	if (status == 0) {
		call_send(call, value);
		return;
	}
	if (request->error.code != 0)
		call->error = request->error;
	else
		error_set(&call->error, status, "credentials: %s", err_text(status));
	call_finish(call, status);
}

static void call_begin(struct s3_call *call)
{
	struct s3_store *store = call->store;
	const struct aws_credentials_value *value = aws_credentials_now(store->credentials);
	call->error = (struct error){0};
	if (value != NULL) {
		call_send(call, value);
		return;
	}
	call->credentials = (struct aws_credentials_request){.done = credentials_done, .data = call};
	int status = aws_credentials_get(store->credentials, &call->credentials);
	if (status != 0)
		call_fail_soon(call, status, "credentials");
	else
		call->waiting = true;
}

static void begin_later(struct soon_item *item)
{
	call_begin(CONTAINER_OF(item, struct s3_call, later));
}

/* ---- The judgement ---- */

static bool can_send_again(struct s3_call *call)
{
	return !call->cancelled && (call->on_send == NULL || (call->on_rewind != NULL && call->on_rewind(call)));
}

static bool learn_once(struct s3_call *call, enum s3_action action)
{
	bool first = (call->learned & (1U << action)) == 0;
	call->learned |= 1U << action;
	return first;
}

static bool learn_region(struct s3_call *call)
{
	char region[S3_REGION_SIZE];
	struct s3_store *store = call->store;
	if (!s3_answer_region(&call->answer, region, sizeof(region)))
		return false;
	if (strcmp(region, store->region) != 0) {
		log_event(LOG_WARN, "store.region", LOG_STR("bucket", store->bucket), LOG_STR("configured", store->region),
			  LOG_STR("region", region));
		s3_store_set_region(store, region);
	}
	return call->region_version != store->region_version;
}

static bool learn_time(struct s3_call *call)
{
	struct s3_store *store = call->store;
	if (call->answer.date_ms < 0)
		return false;
	int64_t skew_ms = call->answer.date_ms - clock_wall_ms();
	if (llabs(skew_ms - store->skew_ms) > CHANGE_OF_SKEW_MS)
		log_event(LOG_WARN, "store.clock", LOG_STR("detail", "this machine's clock differs from the store's"),
			  LOG_I64("skew_ms", skew_ms));
	store->skew_ms = skew_ms;
	return true;
}

static bool renew_credentials(struct s3_call *call)
{
	struct aws_credentials *credentials = call->store->credentials;
	aws_credentials_invalidate(credentials, call->generation);
	const struct aws_credentials_value *value = aws_credentials_now(credentials);
	return value == NULL || value->generation != call->generation;
}

/* Only this call does without for now: an answer "400" may have other reasons. Its success makes it a rule. */
static bool do_without(struct s3_call *call)
{
	if (call->sent_conditional)
		call->without_conditional = true;
	else if (call->sent_checksum || call->sent_algorithm)
		call->without_checksum = true;
	else
		return false;
	return true;
}

static void remember_unsupported(struct s3_call *call)
{
	struct s3_store *store = call->store;
	if (call->without_conditional && store->conditional)
		log_event(LOG_INFO, "store.without", LOG_STR("feature", "If-None-Match"));
	if (call->without_checksum && store->checksums)
		log_event(LOG_INFO, "store.without", LOG_STR("feature", "x-amz-checksum"));
	store->conditional &= !call->without_conditional;
	store->checksums &= !call->without_checksum;
}

/* True when the server taught us something that makes another try worthwhile, at once. */
static bool learn(struct s3_call *call, enum s3_action action)
{
	switch (action) {
	case S3_LEARN_REGION:
		return learn_once(call, action) && learn_region(call);
	case S3_LEARN_TIME:
		return learn_once(call, action) && learn_time(call);
	case S3_RENEW_CREDENTIALS:
		return learn_once(call, action) && renew_credentials(call);
	case S3_UNSUPPORTED:
		return do_without(call);
	case S3_OK:
	case S3_FAIL:
	case S3_AGAIN:
		break;
	}
	return false;
}

static uint64_t backoff_ms(const struct s3_call *call)
{
	uint64_t pause = random_upper_half(backoff_bound(call->store->retry_ms, BACKOFF_MAX_MS, call->tried - 1));
	if (call->answer.retry_after_ms > (int64_t)pause)
		pause = (uint64_t)call->answer.retry_after_ms;
	return pause;
}

/* True when it will be tried again after a pause. */
static bool again(struct s3_call *call)
{
	unsigned tries = call->tries != 0 ? call->tries : S3_TRIES;
	bool patient = call->answer.retry_after_ms <= BACKOFF_MAX_MS; /* else the job waits, not its transfer */
	if (call->tried >= tries || !patient || call->store->store.closing || !can_send_again(call))
		return false;
	soon_item_init(&call->later, begin_later);
	soon_add_after(&call->store->store.soon, &call->later, backoff_ms(call));
	return true;
}

static void read_refusal(struct s3_call *call, struct slice body)
{
	long status = call->answer.http_status;
	bool success = status >= 200 && status <= 299;
	/* Of the successes only those of POST can turn out to be an error: CompleteMultipartUpload. */
	if (success && call->method != HTTP_POST)
		return;
	if (s3_xml_read_error(body, &call->answer.error) != 0)
		call->answer.error = (struct s3_xml_error){0};
}

static void call_answered(struct s3_call *call)
{
	struct s3_store *store = call->store;
	char reason[80];
	int code;
	enum s3_action action = s3_answer_judge(&call->answer, clock_wall_ms(), &code);
	if (action == S3_OK) {
		store->proven = true;
		remember_unsupported(call);
		call_finish(call, 0);
		return;
	}
	if (code == ERR_HTTP_FORBIDDEN || action == S3_LEARN_REGION)
		store->proven = false;
	if (learn(call, action)) {
		if (can_send_again(call)) {
			call_begin(call);
			return;
		}
		/* The next call shall have learned it. */
		remember_unsupported(call);
	}
	if (action == S3_AGAIN && again(call))
		return;
	s3_answer_reason(&call->answer, reason, sizeof(reason));
	error_set(&call->error, code, "%s %s/%s: %s%s%s", method_name(call->method), store->bucket,
		  call->key != NULL ? call->key : "", reason, call->answer.error.message[0] != '\0' ? ": " : "",
		  call->answer.error.message);
	call_finish(call, code);
}

static bool may_pass(int status)
{
	return status == ERR_RESET || status == ERR_TIMEOUT || status == ERR_PROTOCOL;
}

static void on_http_done(struct http_client_request *http, int status)
{
	struct s3_call *call = http->data;
	call->in_flight = false;
	call->cut = status != 0 && status != ERR_CONNECT && status != ERR_RESOLVE && status != ERR_TLS;
	if (status == 0) {
		struct slice body = call->on_receive != NULL ? slice_make(call->refusal, call->refusal_len) : http->collected;
		call->collected = http->collected;
		call->answer.http_status = http->http_status;
		call->answer.retry_after_ms = http->retry_after_ms;
		if (call->method == HTTP_HEAD || call->method == HTTP_GET)
			call->answer.length = http->content_length;
		read_refusal(call, body);
		call_answered(call);
		return;
	}
	call->error = http->error;
	if (call->cancelled)
		status = ERR_CANCELLED;
	else if (may_pass(status) && again(call))
		return;
	call_finish(call, status);
}

/* ---- For the rest of the store ---- */

void s3_call_start(struct s3_call *call)
{
	REQUIRE(!call->running);
	call->running = true;
	call->cancelled = false;
	call->tried = 0;
	call->learned = 0;
	call->without_conditional = false;
	call->without_checksum = false;
	call->cut = false;
	call->error = (struct error){0};
	call->status = 0;
	call_begin(call);
}

void s3_call_cancel(struct s3_call *call)
{
	if (!call->running || call->cancelled)
		return;
	call->cancelled = true;
	if (call->waiting) {
		aws_credentials_cancel(&call->credentials);
	} else if (call->in_flight) {
		http_client_cancel(&call->http);
	} else {
		soon_cancel(&call->later);
		call->error = (struct error){0};
		call_fail_soon(call, ERR_CANCELLED, "a request");
	}
}

void s3_call_resume_send(struct s3_call *call)
{
	if (call->in_flight)
		http_client_resume_send(&call->http);
}

void s3_call_resume_receive(struct s3_call *call)
{
	if (call->in_flight)
		http_client_resume_receive(&call->http);
}
