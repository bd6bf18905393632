/* SPDX-License-Identifier: MIT */
/*
 * A cursor names the next event; a slot carries one event from its first try to its end. The pump moves events from the cursor into free slots as the rate
 * allows and repeats what waits for a retry; it runs from the timer and after each answer, never inside callbacks_start.
 *
 * Parameters, their order and the headers: as captured from Twilio (docs/sandbox.md names what was captured and what is a guess).
 */
#include "sandbox/callbacks.h"

#include "base/check.h"
#include "base/clock.h"
#include "sandbox/random.h"

#include <inttypes.h>
#include <reeld/signature.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW 32 /* recordings whose callbacks are mixed with each other */
#define MAX_BODY 4096
#define MAX_FIELDS 13
#define DEFAULT_CONCURRENCY 64
#define CONNECT_TIMEOUT_MS 5000
#define TOTAL_TIMEOUT_MS 15000
#define FIRST_RETRY_MS 100
#define NS_PER_MS UINT64_C(1000000)
#define BURST_SECONDS 0.05

enum { TOKEN_SALT = 77, ORDER_SALT = 78 };

struct callback_event {
	uint64_t index;
	unsigned copy; /* 0: the first of its recording */
	bool in_progress;
};

/*
 * Goes through the recordings in windows, each twice: first the callbacks and the duplicates that come at the same time, then the late duplicates and
 * the in-progress events that should have come before.
 */
struct callback_cursor {
	uint64_t next; /* first recording behind the window */
	uint64_t end;
	uint64_t order[WINDOW];
	size_t filled;
	size_t position;
	bool second_pass;
	unsigned copy;
};

struct callback_slot {
	struct http_client_request request;
	struct callbacks *owner;
	struct list link; /* in idle or waiting; in none while the request runs */
	bool running;
	struct callback_event event;
	struct model_recording recording;
	unsigned tries;
	uint64_t first_ns;
	uint64_t due_ns;
	struct buffer body;
};

struct callbacks {
	struct callbacks_options options;
	struct reeld_signature_key *key;
	struct callbacks_stats stats;
	uv_timer_t timer;
	struct callbacks_delivery delivery;
	char target[1024];
	bool running;
	bool stopping;
	struct callback_cursor cursor;
	struct callback_event ahead; /* taken from the cursor, not yet sent */
	bool has_ahead;
	struct callback_slot *slots;
	size_t slot_count;
	struct list idle;
	struct list waiting;
	size_t in_flight;
	double tokens;
	uint64_t refilled_ns;
	bool closing;
	unsigned open_handles;
	void (*closed)(void *data);
	void *closed_data;
};

static void pump(struct callbacks *callbacks);

/* ---- which event comes next ---- */

static void cursor_fill(struct callbacks *callbacks)
{
	struct callback_cursor *cursor = &callbacks->cursor;
	bool shuffle = callbacks->options.faults->rate[FAULT_REORDER] > 0;
	cursor->filled = 0;
	cursor->position = 0;
	cursor->copy = 0;
	cursor->second_pass = false;
	while (cursor->filled < WINDOW && cursor->next < cursor->end)
		cursor->order[cursor->filled++] = cursor->next++;
	for (size_t i = cursor->filled; shuffle && i > 1; i--) {
		size_t j = (size_t)(scramble3(callbacks->options.seed, cursor->order[i - 1], ORDER_SALT) % i);
		uint64_t swap = cursor->order[i - 1];
		cursor->order[i - 1] = cursor->order[j];
		cursor->order[j] = swap;
	}
}

/* The next event of the recording at the cursor in this pass; false when it has none left. */
static bool cursor_take_here(struct callbacks *callbacks, struct callback_event *event)
{
	struct callback_cursor *cursor = &callbacks->cursor;
	const struct callbacks_options *options = &callbacks->options;
	uint64_t index = cursor->order[cursor->position];
	if (fault_trunk(options->faults, options->seed, index))
		return false;
	unsigned copies = fault_lost(options->faults, options->seed, index)
				  ? 0
				  : 1 + fault_duplicates(options->faults, options->seed, index);
	while (cursor->copy < copies) {
		unsigned copy = cursor->copy++;
		bool late = copy > 0 && fault_duplicate_late(options->seed, index, copy - 1);
		if (late == cursor->second_pass) {
			*event = (struct callback_event){.index = index, .copy = copy};
			return true;
		}
	}
	if (cursor->second_pass && cursor->copy == copies) {
		cursor->copy++;
		*event = (struct callback_event){.index = index, .copy = copies, .in_progress = true};
		return fault_reordered(options->faults, options->seed, index);
	}
	return false;
}

static bool cursor_next(struct callbacks *callbacks, struct callback_event *event)
{
	struct callback_cursor *cursor = &callbacks->cursor;
	for (;;) {
		while (cursor->position < cursor->filled) {
			if (cursor_take_here(callbacks, event))
				return true;
			cursor->position++;
			cursor->copy = 0;
		}
		if (!cursor->second_pass && cursor->filled > 0) {
			cursor->second_pass = true;
			cursor->position = 0;
			continue;
		}
		if (cursor->next >= cursor->end)
			return false;
		cursor_fill(callbacks);
	}
}

/* ---- one event ---- */

static void add_field(struct reeld_form_field *fields, size_t *count, const char *name, const char *value)
{
	REQUIRE(*count < MAX_FIELDS);
	fields[(*count)++] = (struct reeld_form_field){name, strlen(name), value, strlen(value)};
}

/* The body in Twilio's order, and its signature (which sorts the fields, so it comes last). */
static int write_event(struct callback_slot *slot, char signature[REELD_SIGNATURE_SIZE])
{
	struct callbacks *callbacks = slot->owner;
	const struct model_recording *recording = &slot->recording;
	const char *account = callbacks->options.account_sid;
	struct reeld_form_field fields[MAX_FIELDS];
	size_t count = 0;
	char url[160];
	char start[CLOCK_RFC2822_SIZE];
	char duration[24];
	char encryption[TWILIO_ENCRYPTION_TEXT_SIZE];
	const struct sealing *sealing = model_sealing(callbacks->options.model);

	snprintf(url, sizeof(url), "https://api.twilio.com/2010-04-01/Accounts/%s/Recordings/%s", account,
		 recording->recording_sid.text);
	snprintf(duration, sizeof(duration), "%" PRIu64, recording->duration_s);
	clock_format_rfc2822(recording->start_ms, start);
	add_field(fields, &count, "RecordingSource", "StartCallRecordingAPI");
	add_field(fields, &count, "RecordingTrack", "both");
	add_field(fields, &count, "RecordingSid", recording->recording_sid.text);
	add_field(fields, &count, "RecordingUrl", url);
	add_field(fields, &count, "RecordingStatus", slot->event.in_progress ? "in-progress" : "completed");
	add_field(fields, &count, "RecordingChannels", recording->channels == 2 ? "2" : "1");
	add_field(fields, &count, "ErrorCode", "0");
	add_field(fields, &count, "CallSid", recording->call_sid.text);
	add_field(fields, &count, "RecordingStartTime", start);
	add_field(fields, &count, "AccountSid", account);
	if (!slot->event.in_progress)
		add_field(fields, &count, "RecordingDuration", duration);
	if (!slot->event.in_progress && sealing_applies(sealing, recording->index)) {
		struct twilio_encryption details;
		if (sealing_details(sealing, recording->index, &details) != 0)
			return ERR_IO;
		twilio_encryption_format(&details, encryption);
		add_field(fields, &count, "EncryptionDetails", encryption);
	}

	buffer_clear(&slot->body);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buffer_append_char(&slot->body, '&');
		buffer_append(&slot->body, fields[i].name, fields[i].name_len);
		buffer_append_char(&slot->body, '=');
		buffer_append_percent(&slot->body, slice_make(fields[i].value, fields[i].value_len), false);
	}
	struct reeld_signature_request request = {
		.base = callbacks->target,
		.base_len = strlen(callbacks->target),
		.fields = fields,
		.field_count = count,
	};
	if (slot->body.failed || !reeld_signature_sign(callbacks->key, &request, signature))
		return ERR_NOMEM;
	return 0;
}

/* Looks like a UUID; the retries of an event repeat it. */
static void write_token(const struct callback_slot *slot, char *out, size_t size)
{
	uint64_t a = scramble3(slot->owner->options.seed, slot->event.index, TOKEN_SALT + ((uint64_t)slot->event.copy << 8));
	uint64_t b = scramble(a);
	snprintf(out, size, "I-Twilio-Idempotency-Token: %08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(a >> 32),
		 (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff), (unsigned)(b >> 48 & 0xfff), b & UINT64_C(0xffffffffffff));
}

static void slot_answered(struct http_client_request *request, int status);

static int slot_send(struct callback_slot *slot)
{
	struct callbacks *callbacks = slot->owner;
	char signature[REELD_SIGNATURE_SIZE];
	char signature_line[sizeof("X-Twilio-Signature: ") + REELD_SIGNATURE_SIZE];
	char token_line[80];
	uint64_t spent_ms = (clock_mono_ns() - slot->first_ns) / NS_PER_MS;
	int code = write_event(slot, signature);
	if (code != 0)
		return code;
	snprintf(signature_line, sizeof(signature_line), "X-Twilio-Signature: %s", signature);
	write_token(slot, token_line, sizeof(token_line));
	slot->request = (struct http_client_request){
		.method = HTTP_POST,
		.url = callbacks->target,
		.headers = {"Content-Type: application/x-www-form-urlencoded; charset=UTF-8", "Accept: */*", "X-Home-Region: us1",
			    signature_line, token_line},
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.stall_timeout_ms = TOTAL_TIMEOUT_MS,
		.total_timeout_ms = spent_ms + 1 < TOTAL_TIMEOUT_MS ? TOTAL_TIMEOUT_MS - spent_ms : 1,
		.body = buffer_slice(&slot->body),
		.collect_max = 65536,
		.done = slot_answered,
		.data = slot,
	};
	code = http_client_start(callbacks->options.http, &slot->request);
	slot->running = code == 0;
	callbacks->in_flight += slot->running;
	return code;
}

/* The event is over: count it, tell, free the slot. */
static void slot_ended(struct callback_slot *slot, long status)
{
	struct callbacks *callbacks = slot->owner;
	struct model_recording recording = slot->recording;
	bool ok = status >= 200 && status <= 299;
	if (ok) {
		struct model_state *state = model_touch(callbacks->options.model, recording.index);
		callbacks->stats.acknowledged++;
		if (state != NULL && !slot->event.in_progress && state->callbacks_ok < UINT16_MAX)
			state->callbacks_ok++;
	} else if (status != 0) {
		callbacks->stats.refused++;
	} else {
		callbacks->stats.failed++;
	}
	list_append(&callbacks->idle, &slot->link);
	if (callbacks->delivery.event_cb != NULL && !callbacks->closing)
		callbacks->delivery.event_cb(callbacks->delivery.data, &recording, status);
}

/* Whether Twilio with #rc=5&rp=all would try again: a failure, a retry left, and time left of the 15 seconds for all tries. */
static bool slot_retries(struct callback_slot *slot, long status)
{
	struct callbacks *callbacks = slot->owner;
	uint64_t now = clock_mono_ns();
	bool ok = status >= 200 && status <= 299;
	uint64_t delay_ms = (uint64_t)FIRST_RETRY_MS << slot->tries;
	if (ok || !callbacks->delivery.retry || callbacks->closing || slot->tries >= CALLBACKS_RETRIES)
		return false;
	if ((now - slot->first_ns) / NS_PER_MS + delay_ms >= TOTAL_TIMEOUT_MS)
		return false;
	slot->tries++;
	callbacks->stats.retried++;
	slot->due_ns = now + delay_ms * NS_PER_MS;
	list_append(&callbacks->waiting, &slot->link);
	return true;
}

static void slot_answered(struct http_client_request *request, int status)
{
	struct callback_slot *slot = request->data;
	struct callbacks *callbacks = slot->owner;
	long http_status = status == 0 ? request->http_status : 0;
	http_client_request_release(request);
	slot->running = false;
	callbacks->in_flight--;
	if (!slot_retries(slot, http_status))
		slot_ended(slot, http_status);
	pump(callbacks);
}

static void slot_begin(struct callback_slot *slot, const struct callback_event *event)
{
	struct callbacks *callbacks = slot->owner;
	struct model_state *state = model_touch(callbacks->options.model, event->index);
	slot->event = *event;
	slot->tries = 0;
	slot->first_ns = clock_mono_ns();
	model_recording(callbacks->options.model, event->index, &slot->recording);
	callbacks->stats.sent++;
	if (event->in_progress)
		callbacks->stats.in_progress++;
	else if (event->copy > 0)
		callbacks->stats.duplicates++;
	if (state != NULL && !event->in_progress && state->callbacks_sent < UINT16_MAX)
		state->callbacks_sent++;
	if (slot_send(slot) != 0)
		slot_ended(slot, 0);
}

/* ---- the pump ---- */

static bool look_ahead(struct callbacks *callbacks)
{
	if (!callbacks->has_ahead && !callbacks->stopping)
		callbacks->has_ahead = cursor_next(callbacks, &callbacks->ahead);
	return callbacks->has_ahead && !callbacks->stopping;
}

static void refill(struct callbacks *callbacks)
{
	uint64_t now = clock_mono_ns();
	double rate = callbacks->delivery.rate;
	double burst = rate * BURST_SECONDS > 1 ? rate * BURST_SECONDS : 1;
	callbacks->tokens += rate * (double)(now - callbacks->refilled_ns) / 1e9;
	if (callbacks->tokens > burst)
		callbacks->tokens = burst;
	callbacks->refilled_ns = now;
}

static void send_retries(struct callbacks *callbacks)
{
	struct list waiting;
	uint64_t now = clock_mono_ns();
	struct list *link;
	list_move(&waiting, &callbacks->waiting);
	while ((link = list_take(&waiting)) != NULL) {
		struct callback_slot *slot = LIST_ENTRY(link, struct callback_slot, link);
		if (callbacks->stopping)
			slot_ended(slot, 0);
		else if (slot->due_ns > now)
			list_append(&callbacks->waiting, link);
		else if (slot_send(slot) != 0)
			slot_ended(slot, 0);
	}
}

static void pump_timer(uv_timer_t *timer)
{
	pump(timer->data);
}

/* Wakes the pump for the next retry or token. */
static void arm(struct callbacks *callbacks)
{
	uint64_t now = clock_mono_ns();
	uint64_t wait_ns = UINT64_MAX;
	for (struct list *link = callbacks->waiting.next; link != &callbacks->waiting; link = link->next) {
		uint64_t due = LIST_ENTRY(link, struct callback_slot, link)->due_ns;
		uint64_t wait = due > now ? due - now : 0;
		wait_ns = wait < wait_ns ? wait : wait_ns;
	}
	if (callbacks->delivery.rate > 0 && !list_empty(&callbacks->idle) && look_ahead(callbacks)) {
		double missing = callbacks->tokens >= 1 ? 0 : 1 - callbacks->tokens;
		uint64_t wait = (uint64_t)(missing / callbacks->delivery.rate * 1e9);
		wait_ns = wait < wait_ns ? wait : wait_ns;
	}
	if (wait_ns == UINT64_MAX)
		uv_timer_stop(&callbacks->timer);
	else
		uv_timer_start(&callbacks->timer, pump_timer, wait_ns / NS_PER_MS + 1, 0);
}

static void maybe_closed(struct callbacks *callbacks);

static void finish(struct callbacks *callbacks)
{
	void (*done_cb)(void *data) = callbacks->delivery.done_cb;
	uv_timer_stop(&callbacks->timer);
	for (size_t i = 0; i < callbacks->slot_count; i++)
		buffer_free(&callbacks->slots[i].body);
	free(callbacks->slots);
	callbacks->slots = NULL;
	callbacks->slot_count = 0;
	list_init(&callbacks->idle);
	callbacks->running = false;
	if (done_cb != NULL)
		done_cb(callbacks->delivery.data);
}

static void pump(struct callbacks *callbacks)
{
	bool limited = callbacks->delivery.rate > 0;
	REQUIRE(callbacks->running);
	if (limited)
		refill(callbacks);
	send_retries(callbacks);
	while (look_ahead(callbacks) && (!limited || callbacks->tokens >= 1)) {
		struct list *link = list_take(&callbacks->idle);
		if (link == NULL)
			break;
		callbacks->has_ahead = false;
		callbacks->tokens -= limited ? 1 : 0;
		slot_begin(LIST_ENTRY(link, struct callback_slot, link), &callbacks->ahead);
	}
	if (callbacks->in_flight == 0 && list_empty(&callbacks->waiting) && !look_ahead(callbacks)) {
		finish(callbacks);
		maybe_closed(callbacks);
		return;
	}
	if (!callbacks->closing)
		arm(callbacks);
}

/* ---- life ---- */

struct callbacks *callbacks_new(const struct callbacks_options *options)
{
	struct callbacks *callbacks = calloc(1, sizeof(*callbacks));
	if (callbacks == NULL)
		return NULL;
	callbacks->options = *options;
	callbacks->key = reeld_signature_key_new(options->auth_token, strlen(options->auth_token));
	if (callbacks->key == NULL) {
		free(callbacks);
		return NULL;
	}
	list_init(&callbacks->idle);
	list_init(&callbacks->waiting);
	REQUIRE(uv_timer_init(options->loop, &callbacks->timer) == 0);
	callbacks->timer.data = callbacks;
	callbacks->open_handles = 1;
	return callbacks;
}

static int check_target(const char *target, struct error *error)
{
	if (target == NULL || (strncmp(target, "http://", 7) != 0 && strncmp(target, "https://", 8) != 0))
		return error_set(error, ERR_INVALID,
				 "callbacks need a target URL, like http://127.0.0.1:8080/api/twilio/recording");
	if (strcspn(target, "#") >= sizeof(((struct callbacks *)NULL)->target))
		return error_set(error, ERR_LIMIT, "the target URL is longer than %zu bytes",
				 sizeof(((struct callbacks *)NULL)->target) - 1);
	return 0;
}

int callbacks_start(struct callbacks *callbacks, const struct callbacks_delivery *delivery, struct error *error)
{
	unsigned slots = delivery->concurrency == 0 ? DEFAULT_CONCURRENCY : delivery->concurrency;
	int code = check_target(delivery->target, error);
	if (code != 0)
		return code;
	if (callbacks->running || callbacks->closing)
		return error_set(error, ERR_LOCKED, "another delivery is running");
	if (slots > CALLBACKS_MAX_CONCURRENCY)
		return error_set(error, ERR_LIMIT, "at most %d callbacks at once", CALLBACKS_MAX_CONCURRENCY);
	if (delivery->from > model_count(callbacks->options.model) ||
	    delivery->count > model_count(callbacks->options.model) - delivery->from)
		return error_set(error, ERR_LIMIT, "there are only %" PRIu64 " recordings",
				 model_count(callbacks->options.model));
	callbacks->slots = calloc(slots, sizeof(*callbacks->slots));
	if (callbacks->slots == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	callbacks->slot_count = slots;
	for (size_t i = 0; i < slots; i++) {
		struct callback_slot *slot = &callbacks->slots[i];
		slot->owner = callbacks;
		buffer_init(&slot->body, MAX_BODY);
		list_append(&callbacks->idle, &slot->link);
	}
	callbacks->delivery = *delivery;
	/* The fragment holds Twilio's connection overrides; it is neither sent nor signed. */
	snprintf(callbacks->target, sizeof(callbacks->target), "%.*s", (int)strcspn(delivery->target, "#"), delivery->target);
	callbacks->cursor = (struct callback_cursor){.next = delivery->from, .end = delivery->from + delivery->count};
	callbacks->has_ahead = false;
	callbacks->stopping = false;
	callbacks->running = true;
	callbacks->tokens = 1;
	callbacks->refilled_ns = clock_mono_ns();
	uv_timer_start(&callbacks->timer, pump_timer, 0, 0);
	return 0;
}

bool callbacks_running(const struct callbacks *callbacks)
{
	return callbacks->running;
}

void callbacks_stop(struct callbacks *callbacks)
{
	if (!callbacks->running || callbacks->stopping)
		return;
	callbacks->stopping = true;
	uv_timer_start(&callbacks->timer, pump_timer, 0, 0);
}

struct callbacks_stats callbacks_get_stats(const struct callbacks *callbacks)
{
	return callbacks->stats;
}

static void maybe_closed(struct callbacks *callbacks)
{
	if (!callbacks->closing || callbacks->running || callbacks->open_handles > 0)
		return;
	void (*closed)(void *data) = callbacks->closed;
	void *data = callbacks->closed_data;
	reeld_signature_key_free(&callbacks->key);
	free(callbacks);
	closed(data);
}

static void timer_closed(uv_handle_t *handle)
{
	struct callbacks *callbacks = handle->data;
	callbacks->open_handles--;
	/* Nothing was under way, so no answer comes to end the delivery. */
	if (callbacks->running && callbacks->in_flight == 0)
		pump(callbacks);
	else
		maybe_closed(callbacks);
}

void callbacks_close(struct callbacks *callbacks, void (*closed)(void *data), void *data)
{
	REQUIRE(!callbacks->closing);
	callbacks->closing = true;
	callbacks->stopping = true;
	callbacks->closed = closed;
	callbacks->closed_data = data;
	for (size_t i = 0; i < callbacks->slot_count; i++) {
		if (callbacks->slots[i].running)
			http_client_cancel(&callbacks->slots[i].request);
	}
	uv_close((uv_handle_t *)&callbacks->timer, timer_closed);
}
