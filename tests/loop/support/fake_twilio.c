/* SPDX-License-Identifier: MIT */
#include "loop/support/fake_twilio.h"

#include "base/check.h"
#include "twilio/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAV_HEADER 44

/* Hangs on request->http.impl. */
struct fake_state {
	struct fake_answer answer;
	size_t sent;
	size_t refused; /* bytes at `sent` that were refused once: cut them differently the next time */
	bool paused;
	bool cancelled;
};

struct twilio_client *fake_twilio_client(struct fake_twilio *fake)
{
	return (struct twilio_client *)fake;
}

struct fake_answer fake_media(size_t bytes)
{
	return (struct fake_answer){.http_status = 200, .retry_after_ms = -1, .bytes = bytes};
}

struct fake_answer fake_failure(long status)
{
	struct fake_answer answer = {.retry_after_ms = -1};
	answer.status = status < 0 ? (int)status : http_status_error(status);
	answer.http_status = status < 0 ? 0 : status;
	return answer;
}

static void put_u32(unsigned char *out, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (unsigned char)(value >> (8 * i));
}

static char body_byte(const struct fake_answer *answer, size_t offset)
{
	if (answer->raw != NULL)
		return answer->raw[offset];
	if (answer->text != NULL)
		return answer->text[offset];
	if (offset >= WAV_HEADER)
		return (char)(offset * 31 + (offset >> 8) * 7);
	unsigned char header[WAV_HEADER] = "RIFF....WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\x00\x7d\0\0\x04\0\x10\0data....";
	int64_t size = answer->riff_bytes != 0 ? answer->riff_bytes : (int64_t)answer->bytes;
	put_u32(header + 4, (uint32_t)(size - 8));
	put_u32(header + 40, (uint32_t)(size - WAV_HEADER));
	return (char)header[offset];
}

static void request_over(struct fake_twilio *fake, struct twilio_request *request, int status)
{
	struct fake_state *state = request->http.impl;
	request->http.http_status = state->answer.http_status;
	request->http.retry_after_ms = state->answer.retry_after_ms;
	if (request->op == TWILIO_MEDIA && request->channels == 2 && state->answer.http_status == 400)
		status = ERR_MEDIA_CHANNELS;
	request->twilio_code = state->answer.foreign              ? 0
			       : state->answer.http_status == 404 ? 20404
			       : state->answer.http_status == 403 ? 20403
								  : 0;
	request->account_refused = twilio_refuses_account(state->answer.http_status, request->twilio_code);
	if (status != 0)
		error_set(&request->error, status, "fake Twilio: %s", err_name(status));
	else if (request->op == TWILIO_DELETE_RECORDING && state->answer.http_status != 404 && fake->deleted != NULL)
		fake->deleted(fake, &request->recording_sid);
	fake->in_flight--;
	request->done(request, status);
}

static void media_headers(struct twilio_request *request, const struct fake_answer *answer)
{
	request->http.http_status = answer->http_status;
	request->http.content_length = answer->content_length == 0 ? (int64_t)answer->bytes : answer->content_length;
	snprintf(request->http.content_type, sizeof(request->http.content_type), "%s",
		 answer->content_type != NULL ? answer->content_type : "audio/x-wav");
}

/* One block. True when the request is over. */
static bool media_step(struct fake_twilio *fake, struct twilio_request *request, struct fake_state *state)
{
	struct fake_answer *answer = &state->answer;
	if (answer->text != NULL)
		answer->bytes = strlen(answer->text);
	if (answer->http_status >= 200 && answer->http_status < 300 && state->sent == 0) {
		media_headers(request, answer);
		if (request->on_headers != NULL)
			REQUIRE(request->on_headers(request));
	}
	size_t left = answer->bytes - state->sent;
	if (answer->http_status >= 200 && answer->http_status < 300 && left > 0) {
		size_t len = left < fake->block ? left : fake->block;
		if (state->refused > 2)
			len = state->refused - 1; /* curl may cut the same bytes in another way */
		char *bytes = malloc(len);
		REQUIRE(bytes != NULL);
		for (size_t i = 0; i < len; i++)
			bytes[i] = body_byte(answer, state->sent + i);
		size_t taken = request->on_receive(request, bytes, len);
		free(bytes);
		if (taken == HTTP_CLIENT_PAUSE) {
			fake->paused++;
			state->paused = true;
			state->refused = len;
			return false;
		}
		if (taken == HTTP_CLIENT_ABORT) {
			request_over(fake, request, ERR_CANCELLED);
			return true;
		}
		REQUIRE(taken == len);
		state->refused = 0;
		state->sent += len;
		return false;
	}
	if (answer->hang_after)
		return false;
	request_over(fake, request, answer->status);
	return true;
}

static bool json_step(struct fake_twilio *fake, struct twilio_request *request, struct fake_state *state)
{
	const struct fake_answer *answer = &state->answer;
	if (answer->status == 0) {
		snprintf(request->recording_status, sizeof(request->recording_status), "%s",
			 answer->recording_status != NULL ? answer->recording_status : "completed");
		request->external = answer->external;
		snprintf(request->media_host, sizeof(request->media_host), "%s", answer->external ? "bucket.s3.test" : "");
		request->recording_error_code = answer->error_code;
		snprintf(request->encryption, sizeof(request->encryption), "%s",
			 answer->encryption != NULL ? answer->encryption : "");
		snprintf(request->from, sizeof(request->from), "+15005550006");
		snprintf(request->call_status, sizeof(request->call_status), "completed");
	}
	request_over(fake, request, answer->status);
	return true;
}

static void tick(struct soon_item *item)
{
	struct fake_twilio *fake = CONTAINER_OF(item, struct fake_twilio, tick);
	struct list requests;
	struct list *link;
	bool busy = false;
	list_move(&requests, &fake->requests);
	while ((link = list_take(&requests)) != NULL) {
		struct twilio_request *request = LIST_ENTRY(link, struct twilio_request, http.link);
		struct fake_state *state = request->http.impl;
		bool over = false;
		if (state->cancelled) {
			request_over(fake, request, ERR_CANCELLED);
			continue;
		}
		if (state->answer.turns > 0)
			state->answer.turns--;
		else if (!state->paused && !state->answer.hang)
			over = request->op == TWILIO_MEDIA ? media_step(fake, request, state) : json_step(fake, request, state);
		if (over)
			continue;
		list_append(&fake->requests, link);
		busy = busy ||
		       !(state->paused || state->answer.hang || (state->answer.hang_after && state->sent == state->answer.bytes));
	}
	if (busy)
		soon_add(&fake->soon, &fake->tick);
}

int twilio_start(struct twilio_client *client, struct twilio_request *request)
{
	struct fake_twilio *fake = (struct fake_twilio *)client;
	struct fake_state *state = calloc(1, sizeof(*state));
	REQUIRE(state != NULL);
	request->client = client;
	request->http.impl = state;
	request->http.retry_after_ms = -1;
	request->http.content_length = -1;
	request->call_duration_s = -1;
	request->duration_s = -1;
	fake->started[request->op]++;
	if (request->op == TWILIO_MEDIA)
		fake->last_media_channels = request->channels;
	state->answer = fake->answer(fake, request);
	if (request->op == TWILIO_DELETE_RECORDING && state->answer.http_status == 404)
		state->answer.status = 0;
	fake->in_flight++;
	if (fake->in_flight > fake->most_in_flight)
		fake->most_in_flight = fake->in_flight;
	list_init(&request->http.link);
	list_append(&fake->requests, &request->http.link);
	soon_add(&fake->soon, &fake->tick);
	return 0;
}

void twilio_resume(struct twilio_request *request)
{
	struct fake_twilio *fake = (struct fake_twilio *)request->client;
	struct fake_state *state = request->http.impl;
	state->paused = false;
	soon_add(&fake->soon, &fake->tick);
}

void twilio_cancel(struct twilio_request *request)
{
	struct fake_twilio *fake = (struct fake_twilio *)request->client;
	struct fake_state *state = request->http.impl;
	state->cancelled = true;
	soon_add(&fake->soon, &fake->tick);
}

void twilio_request_release(struct twilio_request *request)
{
	free(request->http.impl);
	request->http.impl = NULL;
}

void fake_twilio_init(struct fake_twilio *fake, uv_loop_t *loop)
{
	*fake = (struct fake_twilio){.loop = loop, .block = 4096};
	soon_init(&fake->soon, loop);
	soon_item_init(&fake->tick, tick);
	list_init(&fake->requests);
}

void fake_twilio_close(struct fake_twilio *fake, uv_close_cb closed)
{
	REQUIRE(list_empty(&fake->requests) && fake->in_flight == 0);
	soon_close(&fake->soon, closed);
}
