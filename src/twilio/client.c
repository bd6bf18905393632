/* SPDX-License-Identifier: MIT */
#include "twilio/client.h"

#include "base/check.h"
#include "twilio/accounts.h"
#include "twilio/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_SIZE 1024
#define MEDIA_REDIRECTS 3
#define JSON_MAX ((size_t)256 * 1024)
#define ERROR_BODY_MAX ((size_t)16 * 1024)
/* A JSON answer is small: one that takes longer is not coming. Media may take as long as they like, as long as bytes move. */
#define JSON_TOTAL_TIMEOUT_MS 60000

struct twilio_client {
	struct http_client *http;
	struct twilio_accounts *accounts;
	size_t in_flight;
	char *base; /* without a slash at the end */
};

struct twilio_client *twilio_client_new(const struct twilio_client_options *options)
{
	struct twilio_client *client = calloc(1, sizeof(*client));
	if (client == NULL)
		return NULL;
	client->base = strdup(options->base);
	if (client->base == NULL) {
		free(client);
		return NULL;
	}
	for (size_t len = strlen(client->base); len > 0 && client->base[len - 1] == '/'; len--)
		client->base[len - 1] = '\0';
	client->http = options->http;
	client->accounts = options->accounts;
	return client;
}

void twilio_client_free(struct twilio_client **client)
{
	if (*client == NULL)
		return;
	REQUIRE((*client)->in_flight == 0);
	free((*client)->base);
	free(*client);
	*client = NULL;
}

void twilio_client_set_accounts(struct twilio_client *client, struct twilio_accounts *accounts)
{
	client->accounts = accounts;
}

/* ---- Requests ---- */

static struct twilio_request *request_of(struct http_client_request *http)
{
	return CONTAINER_OF(http, struct twilio_request, http);
}

/* The resource below the account: "/Recordings/RE….wav?RequestedChannels=2". */
static int format_resource(const struct twilio_request *request, char *out, size_t size)
{
	const char *recording = request->recording_sid.text;
	switch (request->op) {
	case TWILIO_RECORDING:
	case TWILIO_DELETE_RECORDING:
		return snprintf(out, size, "/Recordings/%s.json", recording);
	case TWILIO_CALL:
		return snprintf(out, size, "/Calls/%s.json", request->call_sid.text);
	case TWILIO_ACCOUNT:
		return snprintf(out, size, ".json");
	case TWILIO_MEDIA:
		if (request->channels != 0)
			return snprintf(out, size, "/Recordings/%s.%s?RequestedChannels=%d", recording,
					request->mp3 ? "mp3" : "wav", request->channels);
		return snprintf(out, size, "/Recordings/%s.%s", recording, request->mp3 ? "mp3" : "wav");
	}
	return -1;
}

static int format_url(const struct twilio_client *client, const struct twilio_request *request, char out[URL_SIZE])
{
	char resource[128];
	format_resource(request, resource, sizeof(resource));
	int len = snprintf(out, URL_SIZE, "%s/2010-04-01/Accounts/%s%s", client->base, request->account_sid.text, resource);
	return len > 0 && len < URL_SIZE ? 0 : ERR_INVALID;
}

static bool is_sid(const struct sid *sid, const char prefix[2])
{
	struct sid parsed;
	return sid_parse(slice_make(sid->text, strnlen(sid->text, SID_LEN + 1)), prefix, &parsed);
}

static bool has_sids(const struct twilio_request *request)
{
	if (!is_sid(&request->account_sid, "AC"))
		return false;
	if (request->op == TWILIO_ACCOUNT)
		return true;
	return request->op == TWILIO_CALL ? is_sid(&request->call_sid, "CA") : is_sid(&request->recording_sid, "RE");
}

/* ---- Media ---- */

static bool media_on_headers(struct http_client_request *http)
{
	struct twilio_request *request = request_of(http);
	if (http->http_status == 200)
		return request->on_headers == NULL || request->on_headers(request);
	/* No other 2xx has a recording in it. */
	return http->http_status < 200 || http->http_status > 299;
}

static size_t media_on_receive(struct http_client_request *http, const char *bytes, size_t len)
{
	struct twilio_request *request = request_of(http);
	if (http->http_status == 200)
		return request->on_receive(request, bytes, len);
	if (buffer_append(&request->error_body, bytes, len) != 0)
		return HTTP_CLIENT_ABORT;
	return len;
}

/* ---- Answers ---- */

static int json_failed(struct twilio_request *request)
{
	return error_set(&request->error, ERR_PROTOCOL, "Twilio's answer about %s is not the JSON expected (%zu bytes of %s)",
			 request->op == TWILIO_CALL ? request->call_sid.text : request->recording_sid.text,
			 request->http.collected.len,
			 request->http.content_type[0] != '\0' ? request->http.content_type : "no content type");
}

static int take_recording(struct twilio_request *request)
{
	struct twilio_answer_recording answer;
	if (twilio_answer_recording(request->http.collected, &request->account_sid, &request->recording_sid, &answer) != 0)
		return json_failed(request);
	memcpy(request->recording_status, answer.status, sizeof(request->recording_status));
	memcpy(request->source, answer.source, sizeof(request->source));
	request->duration_s = answer.duration_s;
	request->channels_found = answer.channels;
	request->start_time_ms = answer.start_time_ms;
	request->found_call_sid = answer.call_sid;
	request->found_conference_sid = answer.conference_sid;
	request->recording_error_code = answer.error_code;
	request->external = answer.external;
	if (answer.encrypted)
		twilio_encryption_format(&answer.encryption, request->encryption);
	return 0;
}

static int take_call(struct twilio_request *request)
{
	struct twilio_answer_call answer;
	if (twilio_answer_call(request->http.collected, &request->call_sid, &answer) != 0)
		return json_failed(request);
	memcpy(request->from, answer.from, sizeof(request->from));
	memcpy(request->to, answer.to, sizeof(request->to));
	memcpy(request->call_status, answer.status, sizeof(request->call_status));
	request->call_duration_s = answer.duration_s;
	return 0;
}

/* A server may repeat what it was sent. */
static bool has_credentials(const struct twilio_request *request, const char *message)
{
	const char *username, *password;
	if (!twilio_accounts_credentials(request->client->accounts, &request->account_sid, &username, &password))
		return false;
	return password[0] != '\0' && strstr(message, password) != NULL;
}

static int take_http_error(struct twilio_request *request, int status)
{
	const char *verb = request->op == TWILIO_DELETE_RECORDING ? "DELETE " : "GET ";
	struct twilio_answer_error answer;
	char resource[128];
	struct slice body = request->op == TWILIO_MEDIA ? buffer_slice(&request->error_body) : request->http.collected;
	twilio_answer_error(body, &answer);
	request->twilio_code = answer.code;
	format_resource(request, resource, sizeof(resource));
	const char *message = has_credentials(request, answer.message) ? "" : answer.message;
	if (answer.code == 0)
		return error_set(&request->error, status, "%s/Accounts/%s%s: HTTP %ld", verb, request->account_sid.text, resource,
				 request->http.http_status);
	return error_set(&request->error, status, "%s/Accounts/%s%s: HTTP %ld, Twilio %" PRId64 ": %s", verb,
			 request->account_sid.text, resource, request->http.http_status, answer.code, message);
}

/* 0 when the answer is what was asked for. */
static int take_answer(struct twilio_request *request)
{
	long http_status = request->http.http_status;
	int status = http_status_error(http_status);
	if (status != 0) {
		if (request->op == TWILIO_MEDIA && http_status == 400 && request->channels != 0)
			status = ERR_MEDIA_CHANNELS;
		take_http_error(request, status);
		if (request->op != TWILIO_DELETE_RECORDING || http_status != 404 || request->twilio_code != 20404)
			return status;
		request->error = (struct error){0};
		return 0;
	}
	if (request->op == TWILIO_RECORDING)
		return take_recording(request);
	return request->op == TWILIO_CALL ? take_call(request) : 0;
}

static void on_http_done(struct http_client_request *http, int status)
{
	struct twilio_request *request = request_of(http);
	long http_status = http->http_status;
	bool was_media = request->op == TWILIO_MEDIA;
	request->client->in_flight--;
	if (was_media && status == ERR_CANCELLED && http->refused && http_status != 200) {
		http->refused = false;
		status = error_set(&request->error, ERR_MEDIA_TYPE, "GET /Accounts/%s/Recordings/%s: HTTP %ld is not a recording",
				   request->account_sid.text, request->recording_sid.text, http_status);
	} else if (status == ERR_TOO_LARGE && http_status_error(http_status) != 0) {
		/* The status says enough when its explanation is too long. */
		status = take_answer(request);
	} else if (was_media && request->error_body.failed) {
		status = take_answer(request);
	} else if (status != 0) {
		request->error = http->error;
	} else {
		status = take_answer(request);
	}
	request->done(request, status); /* may free the request */
}

/* ---- Public ---- */

static void clear_answer(struct twilio_request *request)
{
	request->error = (struct error){0};
	request->twilio_code = 0;
	request->recording_status[0] = '\0';
	request->duration_s = -1;
	request->channels_found = 0;
	request->start_time_ms = -1;
	request->source[0] = '\0';
	request->found_call_sid = (struct sid){0};
	request->found_conference_sid = (struct sid){0};
	request->recording_error_code = 0;
	request->external = false;
	request->encryption[0] = '\0';
	request->from[0] = '\0';
	request->to[0] = '\0';
	request->call_status[0] = '\0';
	request->call_duration_s = -1;
}

int twilio_start(struct twilio_client *client, struct twilio_request *request)
{
	char url[URL_SIZE];
	const char *username, *password;
	clear_answer(request);
	/* A callback that named no account carried a signature of ours; with several accounts the first is the best guess. */
	if (!sid_is_set(&request->account_sid))
		(void)sid_parse(slice_from_cstr(twilio_accounts_first(client->accounts)), "AC", &request->account_sid);
	if (!sid_is_set(&request->account_sid))
		return error_set(&request->error, ERR_CONFIG, "the event names no account, and TWILIO_ACCOUNT_SID is unset");
	if (!has_sids(request) || format_url(client, request, url) != 0)
		return error_set(&request->error, ERR_INVALID, "not a SID, or the base URL is too long");
	if (!twilio_accounts_credentials(client->accounts, &request->account_sid, &username, &password))
		return error_set(&request->error, ERR_CONFIG, "no credentials for account %s", request->account_sid.text);
	request->client = client;
	buffer_init(&request->error_body, ERROR_BODY_MAX);
	request->http = (struct http_client_request){
		.method = request->op == TWILIO_DELETE_RECORDING ? HTTP_DELETE : HTTP_GET,
		.url = url,
		.username = username,
		.password = password,
		.done = on_http_done,
	};
	if (request->op == TWILIO_MEDIA) {
		REQUIRE(request->on_receive != NULL);
		request->http.max_redirects = MEDIA_REDIRECTS;
		request->http.on_headers = media_on_headers;
		request->http.on_receive = media_on_receive;
	} else {
		request->http.headers[0] = "Accept: application/json";
		request->http.collect_max = JSON_MAX;
		request->http.total_timeout_ms = JSON_TOTAL_TIMEOUT_MS;
	}
	int status = http_client_start(client->http, &request->http);
	/* These pointed to what is ours only during the call; start() has copied them. */
	request->http.url = NULL;
	request->http.username = NULL;
	request->http.password = NULL;
	if (status != 0)
		return error_set(&request->error, status, "request to Twilio not started: %s", err_text(status));
	client->in_flight++;
	return 0;
}

void twilio_resume(struct twilio_request *request)
{
	http_client_resume_receive(&request->http);
}

void twilio_cancel(struct twilio_request *request)
{
	http_client_cancel(&request->http);
}

void twilio_request_release(struct twilio_request *request)
{
	http_client_request_release(&request->http);
	buffer_free(&request->error_body);
}
