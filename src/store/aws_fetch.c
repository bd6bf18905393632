/* SPDX-License-Identifier: MIT */
#include "store/aws_fetch.h"

#include "base/check.h"
#include "store/aws_answer.h"

#include <openssl/crypto.h>
#include <stdio.h>

#define ANSWER_MAX ((size_t)64 * 1024)
#define FORM_MAX ((size_t)128 * 1024)
#define TIMEOUT_MS 5000
#define STS_TIMEOUT_MS 15000
/* What answers from this machine or not at all. */
#define LOCAL_CONNECT_TIMEOUT_MS 1000
#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"

static void fetch_finish(struct aws_fetch *fetch, int status)
{
	fetch->kind = fetch->source.kind;
	aws_source_wipe(&fetch->source);
	OPENSSL_cleanse(fetch->metadata_token, sizeof(fetch->metadata_token));
	if (status != 0)
		aws_keys_wipe(&fetch->keys);
	fetch->done(fetch, status); /* may free the fetch */
}

static int fail(struct aws_fetch *fetch, int code, const char *problem)
{
	return error_set(&fetch->error, code, "%s: %s", aws_source_name(fetch->source.kind), problem);
}

/* ---- Requests ---- */

static void request_release(struct aws_fetch *fetch)
{
	struct slice collected = fetch->request.collected;

	/* The client's own memory, but nobody reads it any more, and it holds the secret. */
	if (collected.len > 0)
		OPENSSL_cleanse((char *)collected.ptr, collected.len);
	http_client_request_release(&fetch->request);
	if (fetch->body.data != NULL)
		OPENSSL_cleanse(fetch->body.data, fetch->body.capacity);
	buffer_free(&fetch->body);
}

static struct aws_answer_error refusal_of(const struct aws_fetch *fetch)
{
	struct aws_answer_error refusal;

	if (fetch->source.kind == AWS_SOURCE_WEB_IDENTITY)
		aws_answer_sts_error(fetch->request.collected, &refusal);
	else
		aws_answer_json_error(fetch->request.collected, &refusal);
	return refusal;
}

static void on_request_done(struct http_client_request *request, int status)
{
	struct aws_fetch *fetch = CONTAINER_OF(request, struct aws_fetch, request);
	const char *name = aws_source_name(fetch->source.kind);

	if (fetch->cancelled) {
		status = ERR_CANCELLED;
	} else if (status != 0) {
		error_set(&fetch->error, status, "%s: %.200s", name, request->error.detail);
	} else if (request->http_status != 200) {
		struct aws_answer_error refusal = refusal_of(fetch);
		status = http_status_error(request->http_status);
		if (status == 0)
			status = ERR_PROTOCOL;
		error_set(&fetch->error, status, "%s: HTTP %ld%s%s", name, request->http_status,
			  refusal.code[0] != '\0' ? ", " : "", refusal.code);
	}
	if (status == 0) {
		fetch->answered(fetch);
		return;
	}
	request_release(fetch);
	fetch_finish(fetch, status);
}

/* The URL, method and headers are set. Goes on in `answered`, or ends the fetch. */
static void request_start(struct aws_fetch *fetch, uint32_t timeout_ms, void (*answered)(struct aws_fetch *fetch))
{
	struct http_client_request *request = &fetch->request;
	bool is_local = fetch->source.kind != AWS_SOURCE_WEB_IDENTITY;

	if (fetch->timeout_ms != 0)
		timeout_ms = fetch->timeout_ms;
	request->total_timeout_ms = timeout_ms;
	request->stall_timeout_ms = timeout_ms;
	request->connect_timeout_ms = is_local && timeout_ms > LOCAL_CONNECT_TIMEOUT_MS ? LOCAL_CONNECT_TIMEOUT_MS : timeout_ms;
	request->direct = is_local;
	request->collect_max = ANSWER_MAX;
	request->done = on_request_done;
	fetch->answered = answered;
	int status = http_client_start(fetch->http, request);
	/* These pointed to what is the caller's; start() has copied them. */
	request->url = NULL;
	memset(request->headers, 0, sizeof(request->headers));
	if (status == 0)
		return;
	fail(fetch, status, "the request cannot be made");
	request_release(fetch);
	fetch_finish(fetch, status);
}

/* The last answer was good, or not: 0, ERR_DENIED, ERR_PROTOCOL. */
static void finish_with(struct aws_fetch *fetch, int status, const struct aws_answer_error *refusal)
{
	request_release(fetch);
	if (status == ERR_DENIED)
		fail(fetch, status, refusal->code[0] != '\0' ? refusal->code : "refused");
	else if (status != 0)
		fail(fetch, status, "the answer holds no credentials");
	fetch_finish(fetch, status);
}

static void take_json(struct aws_fetch *fetch)
{
	struct aws_answer_error refusal;
	int status = aws_answer_json(fetch->request.collected, &fetch->keys, &refusal);

	finish_with(fetch, status, &refusal);
}

/* ---- Web identity ---- */

static void take_sts(struct aws_fetch *fetch)
{
	const struct aws_answer_error none = {0};

	finish_with(fetch, aws_answer_sts(fetch->request.collected, &fetch->keys), &none);
}

static void put_parameter(struct buffer *body, const char *name, const char *value)
{
	buffer_append_cstr(body, name);
	buffer_append_percent(body, slice_from_cstr(value), false);
}

static void ask_sts(struct aws_fetch *fetch)
{
	const struct aws_source *source = &fetch->source;

	buffer_init(&fetch->body, FORM_MAX);
	/* At once as much as it can become: growing would leave copies of the token behind. */
	buffer_reserve(&fetch->body, 512 + 3 * (strlen(source->role_arn) + strlen(source->session_name) + strlen(source->token)));
	buffer_append_cstr(&fetch->body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
	put_parameter(&fetch->body, "&RoleArn=", source->role_arn);
	put_parameter(&fetch->body, "&RoleSessionName=", source->session_name);
	put_parameter(&fetch->body, "&WebIdentityToken=", source->token);
	if (fetch->body.failed) {
		request_release(fetch);
		fetch_finish(fetch, fail(fetch, ERR_NOMEM, "out of memory"));
		return;
	}
	fetch->request = (struct http_client_request){
		.method = HTTP_POST,
		.url = source->url,
		.headers = {"Content-Type: application/x-www-form-urlencoded", "Accept: application/xml"},
		.body = buffer_slice(&fetch->body),
	};
	request_start(fetch, STS_TIMEOUT_MS, take_sts);
}

/* ---- Container ---- */

static void ask_container(struct aws_fetch *fetch)
{
	const struct aws_source *source = &fetch->source;
	char authorization[AWS_SOURCE_TOKEN_SIZE + 16];

	(void)snprintf(authorization, sizeof(authorization), "Authorization: %s", source->token);
	fetch->request = (struct http_client_request){
		.method = HTTP_GET,
		.url = source->url,
		.headers = {"Accept: application/json", source->token[0] != '\0' ? authorization : NULL},
	};
	request_start(fetch, TIMEOUT_MS, take_json);
	OPENSSL_cleanse(authorization, sizeof(authorization));
}

/* ---- Instance role ---- */

static void get_metadata(struct aws_fetch *fetch, const char *role, void (*answered)(struct aws_fetch *fetch))
{
	char url[AWS_SOURCE_URL_SIZE + sizeof(ROLE_PATH) + 128];
	char header[sizeof(fetch->metadata_token) + 64];

	(void)snprintf(url, sizeof(url), "%s%s%s", fetch->source.url, ROLE_PATH, role);
	(void)snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s", fetch->metadata_token);
	fetch->request = (struct http_client_request){.method = HTTP_GET, .url = url, .headers = {header}};
	request_start(fetch, TIMEOUT_MS, answered);
	OPENSSL_cleanse(header, sizeof(header));
}

/* The first line of a plain text answer. False when it is empty, does not fit or has other than these characters. */
static bool take_word(struct slice text, const char *characters, char *out, size_t size)
{
	size_t len = 0;

	while (len < text.len && text.ptr[len] != '\n' && text.ptr[len] != '\r')
		len++;
	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text.ptr[i] == '\0' || strchr(characters, text.ptr[i]) == NULL)
			return false;
	}
	memcpy(out, text.ptr, len);
	out[len] = '\0';
	return true;
}

#define WORD_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-"

static void take_role(struct aws_fetch *fetch)
{
	char role[128];
	bool right = take_word(fetch->request.collected, WORD_CHARACTERS, role, sizeof(role));

	request_release(fetch);
	if (right)
		get_metadata(fetch, role, take_json);
	else
		fetch_finish(fetch, fail(fetch, ERR_PROTOCOL, "the metadata service names no role"));
}

static void take_metadata_token(struct aws_fetch *fetch)
{
	bool right = take_word(fetch->request.collected, WORD_CHARACTERS "/", fetch->metadata_token,
			       sizeof(fetch->metadata_token));

	request_release(fetch);
	if (right)
		get_metadata(fetch, "", take_role);
	else
		fetch_finish(fetch, fail(fetch, ERR_PROTOCOL, "the metadata service gives no session token"));
}

static void ask_metadata(struct aws_fetch *fetch)
{
	char url[AWS_SOURCE_URL_SIZE + 32];

	(void)snprintf(url, sizeof(url), "%s/latest/api/token", fetch->source.url);
	fetch->request = (struct http_client_request){
		.method = HTTP_PUT,
		.url = url,
		.headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"},
	};
	request_start(fetch, TIMEOUT_MS, take_metadata_token);
}

/* ---- The source ---- */

static void on_work(uv_work_t *work)
{
	struct aws_fetch *fetch = work->data;

	fetch->work_status = aws_source_find(&fetch->variables, fetch->instance_role, &fetch->source, &fetch->error);
	if (fetch->work_status == 0)
		fetch->work_status = aws_source_read_token(&fetch->source, &fetch->error);
}

static void on_work_done(uv_work_t *work, int status)
{
	struct aws_fetch *fetch = work->data;

	fetch->working = false;
	aws_variables_free(&fetch->variables);
	if (fetch->cancelled || status != 0) {
		fetch_finish(fetch, ERR_CANCELLED);
		return;
	}
	if (fetch->work_status != 0) {
		struct error cause = fetch->error;
		if (fetch->source.kind != AWS_SOURCE_NONE)
			fail(fetch, cause.code, cause.detail);
		fetch_finish(fetch, cause.code);
		return;
	}
	switch (fetch->source.kind) {
	case AWS_SOURCE_WEB_IDENTITY:
		ask_sts(fetch);
		return;
	case AWS_SOURCE_CONTAINER:
		ask_container(fetch);
		return;
	case AWS_SOURCE_INSTANCE:
		ask_metadata(fetch);
		return;
	case AWS_SOURCE_NONE:
	case AWS_SOURCE_ENVIRONMENT:
	case AWS_SOURCE_PROFILE:
		break;
	}
	fetch->keys = fetch->source.keys;
	fetch_finish(fetch, 0);
}

/* ---- Public ---- */

int aws_fetch_start(struct aws_fetch *fetch, const char *(*lookup)(void *data, const char *name), void *lookup_data)
{
	fetch->error = (struct error){0};
	fetch->cancelled = false;
	fetch->body = (struct buffer){0};
	fetch->request = (struct http_client_request){0};
	int status = aws_variables_read(&fetch->variables, lookup, lookup_data);
	if (status != 0)
		return status;
	fetch->work.data = fetch;
	status = uv_queue_work(fetch->loop, &fetch->work, on_work, on_work_done);
	REQUIRE(status == 0);
	fetch->working = true;
	return 0;
}

void aws_fetch_cancel(struct aws_fetch *fetch)
{
	if (fetch->cancelled)
		return;
	fetch->cancelled = true;
	if (fetch->working)
		(void)uv_cancel((uv_req_t *)&fetch->work); /* when it runs already, it ends by itself */
	else
		http_client_cancel(&fetch->request);
}
