/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include "base/check.h"
#include "base/turn.h"

#include <reeld/form.h>
#include <reeld/signature.h>
#include <stdio.h>
#include <stdlib.h>

static void copy_field(char *out, size_t size, const struct reeld_form_field *fields, size_t count, const char *name)
{
	const struct reeld_form_field *field = reeld_form_find(fields, count, name);
	snprintf(out, size, "%.*s", field == NULL ? 0 : (int)field->value_len, field == NULL ? "" : field->value);
}

static void target_request(struct connection *connection, struct request *request, void *data)
{
	struct fixture *fixture = data;
	struct reeld_form_field fields[32];
	char scratch[4096];
	size_t count;
	struct target_event *event = &fixture->events[fixture->event_count];
	struct slice signature = request_header(request, SLICE("X-Twilio-Signature"));
	struct slice token = request_header(request, SLICE("I-Twilio-Idempotency-Token"));
	struct reeld_signature_key *key = reeld_signature_key_new(SANDBOX_AUTH_TOKEN, strlen(SANDBOX_AUTH_TOKEN));

	REQUIRE(fixture->event_count < TARGET_MAX);
	fixture->event_count++;
	cr_assert(slice_equal(request_header(request, SLICE("User-Agent")), SLICE("TwilioProxy/1.1")));
	cr_assert_eq(reeld_form_parse(request->body.ptr, request->body.len, fields, 32, scratch, sizeof(scratch), &count),
		     REELD_FORM_OK);
	copy_field(event->recording_sid, sizeof(event->recording_sid), fields, count, "RecordingSid");
	copy_field(event->status, sizeof(event->status), fields, count, "RecordingStatus");
	copy_field(event->call_sid, sizeof(event->call_sid), fields, count, "CallSid");
	copy_field(event->call_status, sizeof(event->call_status), fields, count, "CallStatus");
	copy_field(event->call_duration, sizeof(event->call_duration), fields, count, "CallDuration");
	snprintf(event->path, sizeof(event->path), "%.*s", SLICE_FMT(request->path));
	snprintf(event->token, sizeof(event->token), "%.*s", SLICE_FMT(token));
	char url[256];
	int url_len = snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", server_port(fixture->target), event->path);
	struct reeld_signature_request signed_request = {
		.base = url, .base_len = (size_t)url_len, .fields = fields, .field_count = count};
	event->signed_right = reeld_signature_verify(key, &signed_request, signature.ptr, signature.len);
	reeld_signature_key_free(&key);

	int status = fixture->target_status;
	if (fixture->event_count <= fixture->target_refuse)
		status = 500;
	if (status == 0) {
		reply_abort(connection);
		return;
	}
	bool twiml = fixture->twiml != NULL && slice_equal(request->path, SLICE("/api/twilio/incoming"));
	const struct reply reply = {
		.status = status,
		.content_type = !twiml                        ? "text/plain"
				: fixture->twiml_type == NULL ? "text/xml"
							      : fixture->twiml_type,
		.body = twiml ? slice_from_cstr(fixture->twiml) : SLICE("ok"),
	};
	reply_send(connection, &reply);
}

void fixture_start(struct fixture *fixture, struct sandbox_options options)
{
	const struct http_client_options client = {.user_agent = "test"};
	const struct server_options target = {
		.on_request = target_request,
		.data = fixture,
		.max_connections = 256,
		.max_body = 65536,
		.header_timeout_ms = 10000,
		.idle_timeout_ms = 10000,
		.name = "target",
	};
	struct error error = {0};
	memset(fixture, 0, sizeof(*fixture));
	fixture->target_status = 200;
	cr_assert_eq(uv_loop_init(&fixture->loop), 0);
	fixture->target = server_new(&fixture->loop, &target);
	cr_assert_eq(server_listen(fixture->target, "127.0.0.1:0", &error), 0, "%s", error.detail);
	snprintf(fixture->target_url, sizeof(fixture->target_url), "http://127.0.0.1:%d/api/twilio/recording",
		 server_port(fixture->target));
	fixture->client = http_client_new(&fixture->loop, &client);
	cr_assert_eq(sandbox_new(&fixture->sandbox, &fixture->loop, &options, &error), 0, "%s", error.detail);
}

static void note_closed(void *data)
{
	*(bool *)data = true;
}

void fixture_stop(struct fixture *fixture)
{
	bool target_closed = false, client_closed = false;
	if (fixture->sandbox != NULL)
		sandbox_close(fixture->sandbox, note_closed, &fixture->sandbox_closed);
	server_close(fixture->target, note_closed, &target_closed);
	http_client_close(fixture->client, note_closed, &client_closed);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	cr_assert(fixture->sandbox_closed && target_closed && client_closed);
	cr_assert_eq(uv_loop_close(&fixture->loop), 0);
}

static void answered(struct http_client_request *request, int status)
{
	struct answer *answer = request->data;
	answer->code = status;
	answer->status = request->http_status;
	answer->content_length = request->content_length;
	answer->retry_after_ms = request->retry_after_ms;
	snprintf(answer->content_type, sizeof(answer->content_type), "%s", request->content_type);
	answer->len = request->collected.len;
	answer->body = calloc(1, answer->len + 1);
	if (answer->len > 0)
		memcpy(answer->body, request->collected.ptr, answer->len);
	http_client_request_release(request);
}

struct answer ask(struct fixture *fixture, enum http_method method, const char *target, const char *password)
{
	struct answer answer = {0};
	char url[1024];
	const char *root = target[0] == '@' ? "/2010-04-01/Accounts/" SANDBOX_ACCOUNT_SID : "";
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s%s", sandbox_port(fixture->sandbox), root, target + (target[0] == '@'));
	struct http_client_request request = {
		.method = method,
		.url = url,
		.username = SANDBOX_ACCOUNT_SID,
		.password = password,
		.collect_max = 8u << 20,
		.max_redirects = 3,
		.total_timeout_ms = 20000,
		.done = answered,
		.data = &answer,
	};
	cr_assert_eq(http_client_start(fixture->client, &request), 0);
	while (answer.body == NULL)
		turn_run(&fixture->loop);
	return answer;
}

struct answer get(struct fixture *fixture, const char *target)
{
	return ask(fixture, HTTP_GET, target, SANDBOX_AUTH_TOKEN);
}

const char *recording_path(struct fixture *fixture, uint64_t index, const char *end)
{
	static char path[256];
	struct model_recording recording;
	model_recording(sandbox_model(fixture->sandbox), index, &recording);
	snprintf(path, sizeof(path), "@/Recordings/%s%s", recording.recording_sid.text, end);
	return path;
}

static void event_ended(void *data, const struct model_recording *recording, long status)
{
	struct fixture *fixture = data;
	(void)recording;
	(void)status;
	cr_assert_eq(fixture->done, 0, "no event after the end of the delivery");
	fixture->ended++;
}

static void delivery_done(void *data)
{
	struct fixture *fixture = data;
	fixture->done++;
}

int deliver(struct fixture *fixture, struct callbacks_delivery delivery)
{
	delivery.event_cb = event_ended;
	delivery.done_cb = delivery_done;
	delivery.data = fixture;
	if (delivery.target == NULL)
		delivery.target = fixture->target_url;
	fixture->done = 0;
	fixture->ended = 0;
	return sandbox_start_callbacks(fixture->sandbox, &delivery, NULL);
}

void run_until_done(struct fixture *fixture)
{
	while (fixture->done == 0)
		turn_run(&fixture->loop);
}
