/* SPDX-License-Identifier: MIT */
#include "twilio/client.h"

#include "base/check.h"
#include "base/clock.h"
#include "twilio/accounts.h"
#include "twilio/answer.h"
#include "twilio/explain.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_SIZE 2048
#define MEDIA_REDIRECTS 3
#define JSON_MAX ((size_t)256 * 1024)
/* A recording takes about 1.2 KiB in a list, an encrypted one 1 KiB more. */
#define LIST_JSON_MAX ((size_t)4 * 1024 * 1024)
#define ERROR_BODY_MAX ((size_t)16 * 1024)
/* A JSON answer is small: one that takes longer is not coming. Media may take as long as they like, as long as bytes move. */
#define JSON_TOTAL_TIMEOUT_MS 60000

struct twilio_client {
	struct http_client *http;
	struct twilio_accounts *accounts;
	size_t in_flight;
	char *base; /* without a slash at the end */
	bool twilios_own;
};

/* Is this Twilio itself, and not a stand-in or a relay of the operator's? */
static bool is_twilios_own(const char *base)
{
	static const char domain[] = "twilio.com";
	const char *host = strstr(base, "://");
	if (host == NULL)
		return false;
	host += 3;
	size_t len = strcspn(host, ":/?#");
	size_t tail = sizeof(domain) - 1;
	if (len < tail || strncasecmp(host + len - tail, domain, tail) != 0)
		return false;
	return len == tail || host[len - tail - 1] == '.';
}

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
	client->twilios_own = is_twilios_own(client->base);
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
	case TWILIO_LIST_RECORDINGS:
		return snprintf(out, size, "/Recordings.json");
	case TWILIO_MEDIA:
		if (request->channels != 0)
			return snprintf(out, size, "/Recordings/%s.%s?RequestedChannels=%d", recording,
					request->mp3 ? "mp3" : "wav", request->channels);
		return snprintf(out, size, "/Recordings/%s.%s", recording, request->mp3 ? "mp3" : "wav");
	}
	return -1;
}

#define DAY_MS INT64_C(86400000)

static void format_day(int64_t ms, char out[16])
{
	char text[CLOCK_ISO8601_SIZE];
	clock_format_iso8601(ms, text);
	snprintf(out, 16, "%.10s", text);
}

/*
 * Twilio's filters: DateCreated=YYYY-MM-DD, "DateCreated>=…", "DateCreated<=…" (the sign of equality ends the name), GMT. Whether "<=" includes its day is not
 * clear from "on or before midnight", so a range ends a day later and a single day is asked for by name.
 */
static int format_list_url(const struct twilio_client *client, const struct twilio_request *request, char out[URL_SIZE])
{
	char from[16], to[16];
	int len;
	if (request->next_page != NULL && request->next_page[0] != '\0') {
		if (!twilio_answer_is_next_page(slice_from_cstr(request->next_page), &request->account_sid))
			return ERR_INVALID;
		len = snprintf(out, URL_SIZE, "%s%s", client->base, request->next_page);
		return len > 0 && len < URL_SIZE ? 0 : ERR_INVALID;
	}
	if (request->page_size == 0 || request->page_size > TWILIO_LIST_MAX || request->from_ms < 0 ||
	    request->to_ms < request->from_ms)
		return ERR_INVALID;
	format_day(request->from_ms, from);
	format_day(request->to_ms, to);
	len = snprintf(out, URL_SIZE, "%s/2010-04-01/Accounts/%s/Recordings.json?PageSize=%zu", client->base,
		       request->account_sid.text, request->page_size);
	if (len < 0 || len > URL_SIZE - 80)
		return ERR_INVALID;
	if (strcmp(from, to) == 0) {
		snprintf(out + len, URL_SIZE - (size_t)len, "&DateCreated=%s", from);
	} else {
		format_day(request->to_ms + DAY_MS, to);
		snprintf(out + len, URL_SIZE - (size_t)len, "&DateCreated%%3E=%s&DateCreated%%3C=%s", from, to);
	}
	return 0;
}

static int format_url(const struct twilio_client *client, const struct twilio_request *request, char out[URL_SIZE])
{
	char resource[128];
	if (request->op == TWILIO_LIST_RECORDINGS)
		return format_list_url(client, request, out);
	format_resource(request, resource, sizeof(resource));
	/* What was deleted is still described for 40 days. */
	const char *query = request->op == TWILIO_RECORDING ? "?IncludeSoftDeleted=true" : "";
	int len = snprintf(out, URL_SIZE, "%s/2010-04-01/Accounts/%s%s%s", client->base, request->account_sid.text, resource,
			   query);
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
	if (request->op == TWILIO_ACCOUNT || request->op == TWILIO_LIST_RECORDINGS)
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

static void on_http_header(struct http_client_request *http, struct slice name, struct slice value)
{
	struct twilio_request *request = request_of(http);
	if (slice_equal_nocase(name, SLICE("Twilio-Concurrent-Requests"))) {
		int64_t count = 0;
		for (size_t i = 0; i < value.len; i++)
			count = count < 0 || value.ptr[i] < '0' || value.ptr[i] > '9' || count > 99999999
					? -1
					: count * 10 + value.ptr[i] - '0';
		request->concurrent = value.len == 0 ? -1 : count;
	} else if (slice_equal_nocase(name, SLICE("Twilio-Request-Id"))) {
		/* It goes into logs, so only what such an id is made of. */
		bool plain = value.len < sizeof(request->request_id);
		for (size_t i = 0; plain && i < value.len; i++)
			plain = isalnum((unsigned char)value.ptr[i]) || value.ptr[i] == '-';
		size_t len = plain ? value.len : 0;
		memcpy(request->request_id, value.ptr, len);
		request->request_id[len] = '\0';
	}
}

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
	memcpy(request->media_host, answer.media_host, sizeof(request->media_host));
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

static int take_list(struct twilio_request *request)
{
	request->list = calloc(1, sizeof(*request->list));
	if (request->list == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for a page of recordings");
	int status = twilio_answer_list(request->http.collected, &request->account_sid, TWILIO_LIST_MAX, request->list);
	if (status != 0)
		return error_set(&request->error, status,
				 "Twilio's list of recordings of %s is not the JSON expected: %s (%zu bytes of %s)",
				 request->account_sid.text,
				 request->list->problem != NULL ? request->list->problem : err_text(status),
				 request->http.collected.len,
				 request->http.content_type[0] != '\0' ? request->http.content_type : "no content type");
	request->listed = request->list->items;
	request->listed_count = request->list->count;
	request->listed_next = request->list->next_page;
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

/* "Twilio 20003: Authenticate", or what came instead. */
static int format_answer(const struct twilio_request *request, const struct twilio_answer_error *answer, const char *hint,
			 char *out, size_t size)
{
	const char *message = has_credentials(request, answer->message) ? "" : answer->message;
	/* Twilio's explanations are long; ours must not be cut off behind one. */
	int most = hint != NULL ? 70 : 120;
	if (answer->code != 0)
		return snprintf(out, size, ", Twilio %" PRId64 ": %.*s", answer->code, most, message);
	if (message[0] != '\0')
		return snprintf(out, size, ": %.*s", most, message);
	if (strncasecmp(request->http.content_type, "text/html", 9) == 0)
		return snprintf(out, size, ", in HTML, which is not Twilio's: a proxy, or a wrong TWILIO_API_BASE?");
	out[0] = '\0';
	return 0;
}

static int take_http_error(struct twilio_request *request, int status)
{
	const char *verb = request->op == TWILIO_DELETE_RECORDING ? "DELETE " : "GET ";
	struct twilio_answer_error answer;
	char resource[128], text[200], load[48] = "", id[64] = "";
	struct slice body = request->op == TWILIO_MEDIA ? buffer_slice(&request->error_body) : request->http.collected;
	twilio_answer_error(body, &answer);
	request->twilio_code = answer.code;
	request->account_refused = twilio_refuses_account(request->http.http_status, answer.code);
	format_resource(request, resource, sizeof(resource));
	const char *hint = twilio_explain_refusal(request->http.http_status, answer.code);
	format_answer(request, &answer, hint, text, sizeof(text));
	if (request->http.http_status == 429 && request->concurrent >= 0)
		snprintf(load, sizeof(load), ", %" PRId64 " running", request->concurrent);
	if (request->request_id[0] != '\0')
		snprintf(id, sizeof(id), ", %s", request->request_id);
	return error_set(&request->error, status, "%s/Accounts/%s%s: HTTP %ld%s%s%s%s%s%s", verb, request->account_sid.text,
			 resource, request->http.http_status, text, hint != NULL ? " (" : "", hint != NULL ? hint : "", load,
			 hint != NULL ? ")" : "", id);
}

/* What of a refusal depends on what was asked. */
static int status_of_refusal(const struct twilio_request *request, int status)
{
	long http_status = request->http.http_status;
	/* "Recordings with one channel answer 400": error 16113. */
	if (request->op == TWILIO_MEDIA &&
	    ((http_status == 400 && request->channels == 2) || (request->channels != 0 && request->twilio_code == 16113)))
		return ERR_MEDIA_CHANNELS;
	/* Only completed recordings can be deleted; this one was, and will be again once nothing works on it. */
	if (request->op == TWILIO_DELETE_RECORDING && (http_status == 400 || http_status == 409))
		return ERR_MEDIA_NOT_READY;
	return status;
}

/* 0 when the answer is what was asked for. */
static int take_answer(struct twilio_request *request)
{
	long http_status = request->http.http_status;
	int status = http_status_error(http_status);
	if (status != 0) {
		take_http_error(request, status);
		status = status_of_refusal(request, status);
		request->error.code = status;
		if (request->op != TWILIO_DELETE_RECORDING || http_status != 404 || request->twilio_code != 20404)
			return status;
		request->error = (struct error){0};
		return 0;
	}
	if (request->op == TWILIO_RECORDING)
		return take_recording(request);
	if (request->op == TWILIO_LIST_RECORDINGS)
		return take_list(request);
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
	request->account_refused = false;
	request->concurrent = -1;
	request->request_id[0] = '\0';
	request->recording_status[0] = '\0';
	request->duration_s = -1;
	request->channels_found = 0;
	request->start_time_ms = -1;
	request->source[0] = '\0';
	request->found_call_sid = (struct sid){0};
	request->found_conference_sid = (struct sid){0};
	request->recording_error_code = 0;
	request->external = false;
	request->media_host[0] = '\0';
	request->encryption[0] = '\0';
	request->from[0] = '\0';
	request->to[0] = '\0';
	request->call_status[0] = '\0';
	request->call_duration_s = -1;
	request->listed = NULL;
	request->listed_count = 0;
	request->listed_next = "";
	request->list = NULL;
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
		return error_set(&request->error, ERR_INVALID, "not a SID or not a page, or the base URL is too long");
	if (!twilio_accounts_credentials(client->accounts, &request->account_sid, &username, &password))
		return error_set(&request->error, ERR_CONFIG, "no credentials for account %s", request->account_sid.text);
	request->client = client;
	buffer_init(&request->error_body, ERROR_BODY_MAX);
	request->http = (struct http_client_request){
		.method = request->op == TWILIO_DELETE_RECORDING ? HTTP_DELETE : HTTP_GET,
		.url = url,
		.username = username,
		.password = password,
		.public_only = client->twilios_own,
		.on_header = on_http_header,
		.done = on_http_done,
	};
	if (request->op == TWILIO_MEDIA) {
		REQUIRE(request->on_receive != NULL);
		request->http.max_redirects = MEDIA_REDIRECTS;
		request->http.on_headers = media_on_headers;
		request->http.on_receive = media_on_receive;
	} else {
		request->http.headers[0] = "Accept: application/json";
		request->http.collect_max = request->op == TWILIO_LIST_RECORDINGS ? LIST_JSON_MAX : JSON_MAX;
		request->http.total_timeout_ms = JSON_TOTAL_TIMEOUT_MS;
	}
	int status = http_client_start(client->http, &request->http);
	/* These pointed to what is ours only during the call; start() has copied them. */
	request->next_page = NULL;
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
	if (request->list != NULL)
		twilio_answer_list_free(request->list);
	free(request->list);
	request->list = NULL;
	request->listed = NULL;
	request->listed_count = 0;
	request->listed_next = "";
}
