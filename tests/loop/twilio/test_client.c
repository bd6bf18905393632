/* SPDX-License-Identifier: MIT */
#include "loop/twilio/fixture.h"

#include "base/turn.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define CA "CA00000000000000000000000000000003"
#define JSON_HEAD(length) "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " length "\r\n\r\n"

#define JSON_STATUS(status, length) \
	"HTTP/1.1 " status " X\r\nContent-Type: application/json\r\nContent-Length: " length "\r\n\r\n"

TestSuite(twilio_client, .init = fixture_init, .fini = fixture_end, .timeout = 30);

struct call {
	struct twilio_request request;
	unsigned done;
	int status;
	unsigned headers_seen;
	size_t received;
	bool pause;
	bool refuse;
};

static bool inside;

static void on_done(struct twilio_request *request, int status)
{
	struct call *call = request->data;
	cr_assert(!inside);
	call->done++;
	call->status = status;
}

static bool on_headers(struct twilio_request *request)
{
	struct call *call = request->data;
	call->headers_seen++;
	cr_assert_eq(request->http.http_status, 200);
	return !call->refuse;
}

static size_t on_receive(struct twilio_request *request, const char *bytes, size_t len)
{
	struct call *call = request->data;
	(void)bytes;
	if (call->pause) {
		call->pause = false;
		return HTTP_CLIENT_PAUSE;
	}
	call->received += len;
	return len;
}

static int start(struct call *call, enum twilio_op op)
{
	call->request.op = op;
	memcpy(call->request.account_sid.text, AC, sizeof(AC));
	memcpy(call->request.recording_sid.text, RE, sizeof(RE));
	memcpy(call->request.call_sid.text, CA, sizeof(CA));
	call->request.done = on_done;
	call->request.on_headers = on_headers;
	call->request.on_receive = on_receive;
	call->request.data = call;
	inside = true;
	int status = twilio_start(fx.client, &call->request);
	inside = false;
	return status;
}

static void finish(struct call *call)
{
	fixture_wait(&call->done);
	cr_assert_eq(call->done, 1);
}

static int run(struct call *call, enum twilio_op op)
{
	cr_assert_eq(start(call, op), 0, "%s", call->request.error.detail);
	finish(call);
	return call->status;
}

static const char *json_answer(char *out, size_t size, int status, const char *body)
{
	snprintf(out, size, "HTTP/1.1 %d Status\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
		 strlen(body), body);
	return out;
}

Test(twilio_client, urls_are_built_from_sids_and_answers_are_read)
{
	char recording[512], called[512], account[512];
	const struct peer_script scripts[] = {
		{.answer = json_answer(recording, sizeof(recording), 200,
				       "{\"sid\":\"" RE "\",\"status\":\"completed\",\"duration\":\"5\",\"channels\":1,"
				       "\"source\":\"RecordVerb\",\"call_sid\":\"" CA "\"}")},
		{.answer = json_answer(called, sizeof(called), 200,
				       "{\"sid\":\"" CA
				       "\",\"from\":\"+1\",\"to\":\"+2\",\"status\":\"completed\",\"duration\":\"9\"}")},
		{.answer = json_answer(account, sizeof(account), 200, "{\"sid\":\"" AC "\"}")},
	};
	fixture_serve(scripts, 3);
	struct call call = {0};
	cr_assert_eq(run(&call, TWILIO_RECORDING), 0, "%s", call.request.error.detail);
	cr_assert_str_eq(call.request.recording_status, "completed");
	cr_assert_str_eq(call.request.source, "RecordVerb");
	cr_assert_str_eq(call.request.found_call_sid.text, CA);
	cr_assert_eq(call.request.duration_s, 5);
	cr_assert_eq(call.request.channels_found, 1);
	twilio_request_release(&call.request);
	call = (struct call){0};
	cr_assert_eq(run(&call, TWILIO_CALL), 0, "%s", call.request.error.detail);
	cr_assert_str_eq(call.request.from, "+1");
	cr_assert_str_eq(call.request.to, "+2");
	cr_assert_eq(call.request.call_duration_s, 9);
	twilio_request_release(&call.request);
	call = (struct call){0};
	cr_assert_eq(run(&call, TWILIO_ACCOUNT), 0);
	twilio_request_release(&call.request);
	fixture_check_request(0, "GET /2010-04-01/Accounts/" AC "/Recordings/" RE ".json?IncludeSoftDeleted=true HTTP/1.1\r\n");
	fixture_check_request(1, "GET /2010-04-01/Accounts/" AC "/Calls/" CA ".json HTTP/1.1\r\n");
	fixture_check_request(2, "GET /2010-04-01/Accounts/" AC ".json HTTP/1.1\r\n");
}

Test(twilio_client, media_in_each_form)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nContent-Type: audio/x-wav\r\nContent-Length: 5000\r\n\r\n", .body_bytes = 5000}};
	fixture_serve(scripts, 1);
	struct call call = {.pause = true};
	cr_assert_eq(start(&call, TWILIO_MEDIA), 0);
	while (call.headers_seen == 0 || call.pause)
		turn_run(&fx.loop);
	twilio_resume(&call.request);
	finish(&call);
	cr_assert_eq(call.status, 0);
	cr_assert_eq(call.received, 5000);
	cr_assert_eq(call.headers_seen, 1);
	cr_assert_eq(call.request.http.content_length, 5000);
	cr_assert_str_eq(call.request.http.content_type, "audio/x-wav");
	twilio_request_release(&call.request);
	call = (struct call){.request = {.mp3 = true, .channels = 2}};
	cr_assert_eq(run(&call, TWILIO_MEDIA), 0);
	twilio_request_release(&call.request);
	fixture_check_request(0, "GET /2010-04-01/Accounts/" AC "/Recordings/" RE ".wav HTTP/1.1\r\n");
	fixture_check_request(1, "GET /2010-04-01/Accounts/" AC "/Recordings/" RE ".mp3?RequestedChannels=2 HTTP/1.1\r\n");
}

Test(twilio_client, an_error_in_xml_is_never_audio)
{
	static const char xml[] = "<?xml version='1.0'?><TwilioResponse><RestException><Code>20404</Code><Message>Not "
				  "here</Message></RestException></TwilioResponse>";
	char answer[512];
	snprintf(answer, sizeof(answer), "HTTP/1.1 404 Not Found\r\nContent-Type: audio/x-wav\r\nContent-Length: %zu\r\n\r\n%s",
		 strlen(xml), xml);
	const struct peer_script scripts[] = {{.answer = answer}};
	fixture_serve(scripts, 1);
	struct call call = {0};
	cr_assert_eq(run(&call, TWILIO_MEDIA), ERR_HTTP_NOT_FOUND);
	cr_assert_eq(call.headers_seen, 0);
	cr_assert_eq(call.received, 0);
	cr_assert_eq(call.request.twilio_code, 20404);
	cr_assert(strstr(call.request.error.detail, "HTTP 404, Twilio 20404: Not here") != NULL, "%s", call.request.error.detail);
	cr_assert(strstr(call.request.error.detail, RE ".wav") != NULL);
	twilio_request_release(&call.request);
}

Test(twilio_client, statuses_of_media)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"},
		{.answer = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"},
		{.answer = "HTTP/1.1 204 None\r\n\r\n"},
		{.answer = "HTTP/1.1 206 Part\r\nContent-Length: 5\r\n\r\n", .body_bytes = 5},
		{.answer = "HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"},
		{.answer = "HTTP/1.1 503 Gone\r\nContent-Length: 40000\r\n\r\n", .body_bytes = 40000},
		{.answer = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"},
		{.answer = JSON_STATUS("422", "14") "{\"code\":16113}"},
		{.answer = JSON_STATUS("400", "14") "{\"code\":16113}"},
		{.answer = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"},
	};
	static const struct {
		int channels;
		int status;
	} wanted[] = {{2, ERR_MEDIA_CHANNELS}, {0, ERR_HTTP_CLIENT}, {0, ERR_MEDIA_TYPE},  {0, ERR_MEDIA_TYPE},
		      {0, ERR_HTTP_THROTTLED}, {0, ERR_HTTP_SERVER}, {1, ERR_HTTP_CLIENT}, {2, ERR_MEDIA_CHANNELS},
		      {0, ERR_HTTP_CLIENT},    {0, ERR_HTTP_GONE}};
	fixture_serve(scripts, 10);
	for (size_t i = 0; i < 10; i++) {
		struct call call = {.request = {.channels = wanted[i].channels}};
		cr_assert_eq(run(&call, TWILIO_MEDIA), wanted[i].status, "%zu: %d %s", i, call.status, call.request.error.detail);
		cr_assert_eq(call.request.error.code, wanted[i].status);
		cr_assert_eq(call.headers_seen + call.received, 0);
		cr_assert(!call.request.http.refused);
		cr_assert_eq(call.request.http.retry_after_ms, i == 4 ? 3000 : -1);
		twilio_request_release(&call.request);
	}
}

Test(twilio_client, media_follows_three_redirects_and_not_four)
{
	char hops[5][256];
	struct peer_script scripts[9];
	for (int i = 0; i < 4; i++) {
		snprintf(hops[i], sizeof(hops[i]), "HTTP/1.1 307 There\r\nLocation: /hop%d\r\nContent-Length: 0\r\n\r\n", i);
		scripts[i] = (struct peer_script){.answer = hops[i]};
		scripts[4 + i] = (struct peer_script){.answer = hops[i]};
	}
	scripts[3] = (struct peer_script){.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", .body_bytes = 5};
	fixture_serve(scripts, 8);
	struct call call = {0};
	cr_assert_eq(run(&call, TWILIO_MEDIA), 0, "%s", call.request.error.detail);
	cr_assert_eq(call.received, 5);
	cr_assert_eq(call.headers_seen, 1);
	twilio_request_release(&call.request);
	call = (struct call){0};
	cr_assert_eq(run(&call, TWILIO_MEDIA), ERR_REDIRECT);
	cr_assert_eq(call.headers_seen + call.received, 0);
	twilio_request_release(&call.request);
	cr_assert_eq(peer_requests(fx.peer), 8);
}

Test(twilio_client, json_is_never_fetched_by_redirect)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 302 There\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"}};
	fixture_serve(scripts, 1);
	struct call call = {0};
	cr_assert_eq(run(&call, TWILIO_RECORDING), ERR_REDIRECT);
	cr_assert_eq(peer_requests(fx.peer), 1);
	twilio_request_release(&call.request);
}

Test(twilio_client, a_deleted_recording_is_deleted_and_a_404_of_somebody_else_is_not)
{
	char twilio[512], other[512];
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 204 No Content\r\n\r\n"},
		{.answer = json_answer(twilio, sizeof(twilio), 404,
				       "{\"code\":20404,\"message\":\"was not found\",\"status\":404}")},
		{.answer = json_answer(other, sizeof(other), 404, "<html>nginx</html>")},
		{.answer = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"},
		{.answer = "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"},
		{.answer = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"},
		{.answer = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"},
	};
	/* Not completed yet (409, 400): worth another try. 410 is about the resource, not about this recording. */
	static const int wanted[] = {
		0, 0, ERR_HTTP_NOT_FOUND, ERR_HTTP_SERVER, ERR_MEDIA_NOT_READY, ERR_MEDIA_NOT_READY, ERR_HTTP_GONE};
	fixture_serve(scripts, 7);
	for (size_t i = 0; i < 7; i++) {
		struct call call = {0};
		cr_assert_eq(run(&call, TWILIO_DELETE_RECORDING), wanted[i], "%zu: %s", i, call.request.error.detail);
		cr_assert_eq(call.request.error.code, wanted[i]);
		twilio_request_release(&call.request);
	}
	fixture_check_request(0, "DELETE /2010-04-01/Accounts/" AC "/Recordings/" RE ".json HTTP/1.1\r\n");
}

Test(twilio_client, an_answer_about_something_else_is_refused)
{
	char answer[512], huge[256];
	const struct peer_script scripts[] = {
		{.answer = json_answer(answer, sizeof(answer), 200, "{\"sid\":\"RE00000000000000000000000000000009\"}")},
		{.answer = JSON_HEAD("4") "null"},
		{.answer = JSON_HEAD("1000000"), .body_bytes = 1000000},
		{.answer = huge, .body_bytes = 1000000}};
	snprintf(huge, sizeof(huge), "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1000000\r\n\r\n");
	fixture_serve(scripts, 4);
	static const int wanted[] = {ERR_PROTOCOL, ERR_PROTOCOL, ERR_TOO_LARGE, ERR_HTTP_SERVER};
	for (size_t i = 0; i < 4; i++) {
		struct call call = {0};
		cr_assert_eq(run(&call, TWILIO_RECORDING), wanted[i], "%zu: %d", i, call.status);
		cr_assert_neq(call.request.error.detail[0], '\0');
		twilio_request_release(&call.request);
	}
}

Test(twilio_client, credentials_that_a_server_repeats_do_not_reach_the_error)
{
	char answer[512];
	const struct peer_script scripts[] = {
		{.answer = json_answer(answer, sizeof(answer), 401,
				       "{\"code\":20003,\"message\":\"wrong token " TOKEN " given\"}")}};
	fixture_serve(scripts, 1);
	struct call call = {0};
	cr_assert_eq(run(&call, TWILIO_ACCOUNT), ERR_HTTP_UNAUTHORIZED);
	cr_assert_eq(call.request.twilio_code, 20003);
	cr_assert(strstr(call.request.error.detail, TOKEN) == NULL, "%s", call.request.error.detail);
	cr_assert(strstr(call.request.error.detail, "20003") != NULL);
	twilio_request_release(&call.request);
}

Test(twilio_client, what_cannot_be_asked_is_refused_at_once)
{
	const struct peer_script scripts[] = {{.answer = ""}};
	fixture_serve(scripts, 1);
	struct call call = {0};
	cr_assert_eq(start(&call, TWILIO_ACCOUNT), 0);
	twilio_cancel(&call.request);
	finish(&call);
	cr_assert_eq(call.status, ERR_CANCELLED);
	twilio_request_release(&call.request);

	struct call bad = {
		.request = {.op = TWILIO_RECORDING, .account_sid = {AC}, .recording_sid = {"RE/../../x"}, .done = on_done}};
	cr_assert_eq(twilio_start(fx.client, &bad.request), ERR_INVALID);
	struct call stranger = {
		.request = {.op = TWILIO_ACCOUNT, .account_sid = {"AC00000000000000000000000000000009"}, .done = on_done}};
	cr_assert_eq(twilio_start(fx.client, &stranger.request), ERR_CONFIG);
	cr_assert(strstr(stranger.request.error.detail, "AC00000000000000000000000000000009") != NULL);
	/* Which account an event without one is of is not known either where any account's requests are taken. */
	struct error error;
	struct twilio_accounts *any = twilio_accounts_new();
	cr_assert_eq(twilio_accounts_add(any, "", TOKEN, NULL, NULL, &error), 0);
	twilio_client_set_accounts(fx.client, any);
	struct call nameless = {.request = {.op = TWILIO_ACCOUNT, .done = on_done}};
	cr_assert_eq(twilio_start(fx.client, &nameless.request), ERR_CONFIG);
	cr_assert(strstr(nameless.request.error.detail, "TWILIO_ACCOUNT_SID") != NULL);
	twilio_client_set_accounts(fx.client, fx.accounts);
	twilio_accounts_free(&any);
	uv_run(&fx.loop, UV_RUN_NOWAIT);
	cr_assert_eq(bad.done + stranger.done + nameless.done, 0);
	cr_assert_eq(peer_requests(fx.peer), 0);
}

Test(twilio_client, without_an_account_it_is_the_configured_one)
{
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"}};
	fixture_serve(scripts, 1);
	struct call call = {.request = {.op = TWILIO_ACCOUNT, .done = on_done}};
	call.request.data = &call;
	cr_assert_eq(twilio_start(fx.client, &call.request), 0);
	cr_assert_str_eq(call.request.account_sid.text, AC);
	finish(&call);
	cr_assert_eq(peer_requests(fx.peer), 1);
	twilio_request_release(&call.request);
}

Test(twilio_client, media_may_be_refused_at_its_headers)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n", .body_bytes = 5}};
	fixture_serve(scripts, 1);
	struct call call = {.refuse = true};
	cr_assert_eq(run(&call, TWILIO_MEDIA), ERR_CANCELLED);
	cr_assert(call.request.http.refused);
	cr_assert_eq(call.received, 0);
	twilio_request_release(&call.request);
}

Test(twilio_client, a_server_that_went_away_is_a_transport_error_without_credentials)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", .body_bytes = 100, .cut_after = 60}};
	fixture_serve(scripts, 1);
	struct call call = {0};
	cr_assert_eq(run(&call, TWILIO_MEDIA), ERR_RESET);
	cr_assert_eq(call.request.error.code, ERR_RESET);
	cr_assert(strstr(call.request.error.detail, "127.0.0.1") != NULL && strstr(call.request.error.detail, TOKEN) == NULL);
	twilio_request_release(&call.request);
}

/* ---- What a refusal says ---- */

static void check_refusal(const char *answer, enum twilio_op op, int status, const char *const *texts)
{
	const struct peer_script scripts[] = {{.answer = answer, .close = true}};
	fixture_serve(scripts, 1);
	struct call call = {0};
	cr_assert_eq(run(&call, op), status, "%s", call.request.error.detail);
	for (; *texts != NULL; texts++)
		cr_assert(strstr(call.request.error.detail, *texts) != NULL, "%s: %s", *texts, call.request.error.detail);
	twilio_request_release(&call.request);
	twilio_client_free(&fx.client);
	peer_close(fx.peer);
	fx.peer = NULL;
}

Test(twilio_client, a_refusal_names_what_is_likely_and_twilios_request)
{
	check_refusal("HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 39\r\n"
		      "Twilio-Request-Id: RQ0123456789abcdef0123456789abcdef\r\n\r\n"
		      "{\"code\":20003,\"message\":\"Authenticate\"}",
		      TWILIO_CALL, ERR_HTTP_UNAUTHORIZED,
		      (const char *[]){"/Calls/" CA ".json: HTTP 401, Twilio 20003: Authenticate (", "suspended account",
				       "another account or region", "region), RQ0123456789abcdef0123456789abcdef", NULL});
	check_refusal("HTTP/1.1 429 Slow\r\nTwilio-Concurrent-Requests: 107\r\nContent-Length: 0\r\n\r\n", TWILIO_RECORDING,
		      ERR_HTTP_THROTTLED,
		      (const char *[]){"HTTP 429 (too many requests at once for this account, 107 running)", NULL});
	check_refusal("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", TWILIO_RECORDING, ERR_HTTP_FORBIDDEN,
		      (const char *[]){"HTTP 403 (these credentials may not do this", NULL});
	check_refusal("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 32\r\n\r\n"
		      "<html><h1>squid says</h1></html>",
		      TWILIO_RECORDING, ERR_HTTP_SERVER,
		      (const char *[]){"HTTP 502, in HTML, which is not Twilio's: a proxy", NULL});
	check_refusal("HTTP/1.1 404 No\r\nContent-Type: application/problem+json\r\nContent-Length: 88\r\n\r\n"
		      "{\"type\":\"https://www.twilio.com/docs/api/errors/20404\",\"title\":\"No\",\"detail\":\"Not here\"}",
		      TWILIO_RECORDING, ERR_HTTP_NOT_FOUND, (const char *[]){"HTTP 404, Twilio 20404: Not here", NULL});
	check_refusal("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", TWILIO_RECORDING, ERR_HTTP_SERVER,
		      (const char *[]){"/Recordings/" RE ".json: HTTP 500", NULL});
}

Test(twilio_client, what_twilio_says_about_a_request_is_kept_if_it_is_sane)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTwilio-Concurrent-Requests: 3\r\nTwilio-Request-Id: "
			   "RQ12\r\n\r\n{}"},
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTwilio-Concurrent-Requests: 99999999999999999999\r\n"
			   "Twilio-Request-Id: a\"b\r\n\r\n{}"},
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTwilio-Concurrent-Requests: 1x2\r\nTwilio-Request-Id: "
			   "RQ012345678901234567890123456789012345678901234567890123456789\r\n\r\n{}"},
	};
	fixture_serve(scripts, 3);
	for (int i = 0; i < 3; i++) {
		struct call call = {0};
		cr_assert_eq(run(&call, TWILIO_ACCOUNT), 0);
		cr_assert_eq(call.request.concurrent, i == 0 ? 3 : -1);
		cr_assert_str_eq(call.request.request_id, i == 0 ? "RQ12" : "");
		twilio_request_release(&call.request);
	}
}

/* ---- Whose credentials, and where to ---- */

#define AC2 "AC00000000000000000000000000000022"
#define TOKEN2 "fedcba9876543210fedcba9876543210"

/* An API key belongs to one account: Twilio refuses it for a subaccount. */
Test(twilio_client, an_api_key_is_used_for_its_own_account_only)
{
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"}};
	struct error error;
	struct twilio_accounts *both = twilio_accounts_new();
	cr_assert_eq(twilio_accounts_add(both, AC, TOKEN, "SK1", "secret", &error), 0);
	cr_assert_eq(twilio_accounts_add(both, AC2, TOKEN2, NULL, NULL, &error), 0);
	fixture_serve(scripts, 1);
	twilio_client_set_accounts(fx.client, both);
	struct call first = {0};
	cr_assert_eq(run(&first, TWILIO_ACCOUNT), 0);
	twilio_request_release(&first.request);
	struct call second = {.request = {.op = TWILIO_ACCOUNT, .account_sid = {AC2}, .done = on_done}};
	second.request.data = &second;
	cr_assert_eq(twilio_start(fx.client, &second.request), 0);
	finish(&second);
	twilio_request_release(&second.request);
	/* base64("SK1:secret"), base64("AC…22:fedc…") */
	cr_assert(strstr(peer_request(fx.peer, 0), "\r\nAuthorization: Basic U0sxOnNlY3JldA==\r\n") != NULL, "%s",
		  peer_request(fx.peer, 0));
	cr_assert(strstr(peer_request(fx.peer, 1),
			 "\r\nAuthorization: Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAyMjpmZWRj") != NULL,
		  "%s", peer_request(fx.peer, 1));
	cr_assert(strstr(peer_request(fx.peer, 1), "GET /2010-04-01/Accounts/" AC2 ".json ") == peer_request(fx.peer, 1));
	twilio_client_set_accounts(fx.client, fx.accounts);
	twilio_accounts_free(&both);
}

Test(twilio_client, only_twilios_own_name_must_lead_to_a_public_address)
{
	static const struct {
		const char *base;
		bool public_only;
	} cases[] = {
		{"https://api.twilio.com", true},
		{"https://API.Dublin.IE1.twilio.com:443/", true},
		{"https://twilio.com", true},
		{"https://nottwilio.com", false},
		{"https://twilio.com.internal.example", false},
		{"http://sandbox:8081", false},
		{"http://127.0.0.1:1/twilio.com", false},
		{"https://relay.example.com?x=.twilio.com", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct twilio_client_options options = {.http = fx.http, .base = cases[i].base, .accounts = fx.accounts};
		fx.client = twilio_client_new(&options);
		struct call call = {0};
		cr_assert_eq(start(&call, TWILIO_ACCOUNT), 0);
		cr_assert_eq(call.request.http.public_only, cases[i].public_only, "%s", cases[i].base);
		/* Cancelled before the loop turns: nothing is looked up. */
		twilio_cancel(&call.request);
		finish(&call);
		twilio_request_release(&call.request);
		twilio_client_free(&fx.client);
	}
}
