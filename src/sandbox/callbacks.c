/* SPDX-License-Identifier: MIT */
/*
 * A cursor names the next event; a slot carries one event from its first try to its end. The pump moves events from the cursor into free slots as the rate
 * allows and repeats what waits for a retry; it runs from the timer and after each answer, never inside callbacks_start. With whole calls a slot carries a call:
 * each webhook of its script follows when the one before has ended.
 */
#include "sandbox/callbacks.h"

#include "base/check.h"
#include "base/clock.h"
#include "sandbox/call_script.h"
#include "sandbox/callback_cursor.h"
#include "sandbox/callback_form.h"
#include "sandbox/callback_url.h"
#include "sandbox/random.h"
#include "sandbox/twiml_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_BODY 4096
#define DEFAULT_CONCURRENCY 64
#define CONNECT_TIMEOUT_MS 5000
#define TOTAL_TIMEOUT_MS 15000
#define FIRST_RETRY_MS 100
#define NS_PER_MS UINT64_C(1000000)
#define BURST_SECONDS 0.05

enum { TOKEN_SALT = 77 };

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
	/* of a call */
	struct call_script script;
	struct callback_url recording_url; /* as the TwiML named it; "" before, and when it named none */
	bool wants_in_progress;
	bool wants_completed;
};

struct callbacks {
	struct callbacks_options options;
	struct reeld_signature_key *key;
	struct callbacks_stats stats;
	uv_timer_t timer;
	struct callbacks_delivery delivery;
	struct callback_url target;
	struct callback_url status_target; /* of calls */
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

/* ---- one event ---- */

static const struct callback_url *slot_url(const struct callback_slot *slot)
{
	const struct callbacks *callbacks = slot->owner;
	if (!callbacks->delivery.calls || slot->event.kind == CALLBACK_CALL_INCOMING)
		return &callbacks->target;
	return callback_is_of_recording(slot->event.kind) ? &slot->recording_url : &callbacks->status_target;
}

/* Looks like a UUID; the retries of an event repeat it. */
static void write_token(const struct callback_slot *slot, char *out, size_t size)
{
	uint64_t a = scramble3(slot->owner->options.seed, slot->event.index,
			       TOKEN_SALT + ((uint64_t)slot->event.copy << 8) + ((uint64_t)slot->event.kind << 16));
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
	const struct callback_url *url = slot_url(slot);
	const struct callback_form form = {callbacks->options.model, callbacks->key, callbacks->options.account_sid};
	int code = callback_form_write(&form, slot->event.kind, &slot->recording, url->text, &slot->body, signature);
	if (code != 0)
		return code;
	snprintf(signature_line, sizeof(signature_line), "X-Twilio-Signature: %s", signature);
	write_token(slot, token_line, sizeof(token_line));
	slot->request = (struct http_client_request){
		.method = HTTP_POST,
		.url = url->text,
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

/* The event is over: count it and tell. */
static void slot_ended(struct callback_slot *slot, long status)
{
	struct callbacks *callbacks = slot->owner;
	struct model_recording recording = slot->recording;
	bool ok = status >= 200 && status <= 299;
	if (ok) {
		struct model_state *state = model_touch(callbacks->options.model, recording.index);
		callbacks->stats.acknowledged++;
		if (state != NULL && slot->event.kind == CALLBACK_COMPLETED && state->callbacks_ok < UINT16_MAX)
			state->callbacks_ok++;
	} else if (status != 0) {
		callbacks->stats.refused++;
	} else {
		callbacks->stats.failed++;
	}
	/* Nobody knows how to go on with a call that was not answered. */
	if (!ok && slot->event.kind == CALLBACK_CALL_INCOMING && slot->event.copy == 0)
		slot->script.count = 0;
	if (callbacks->delivery.event_cb != NULL && !callbacks->closing)
		callbacks->delivery.event_cb(callbacks->delivery.data, &recording, status);
}

/* Whether Twilio would try again: a failure that its URL names, a retry left, and time left of the 15 seconds for all tries. */
static bool slot_retries(struct callback_slot *slot, long status)
{
	struct callbacks *callbacks = slot->owner;
	uint64_t now = clock_mono_ns();
	bool ok = status >= 200 && status <= 299;
	uint64_t delay_ms = (uint64_t)FIRST_RETRY_MS << slot->tries;
	if (ok || callbacks->closing || !callback_url_tries_again(slot_url(slot), slot->tries, status))
		return false;
	if ((now - slot->first_ns) / NS_PER_MS + delay_ms >= TOTAL_TIMEOUT_MS)
		return false;
	slot->tries++;
	callbacks->stats.retried++;
	slot->due_ns = now + delay_ms * NS_PER_MS;
	list_append(&callbacks->waiting, &slot->link);
	return true;
}

/* False when it could not be sent, and is over. */
static bool slot_begin(struct callback_slot *slot, const struct callback_event *event)
{
	struct callbacks *callbacks = slot->owner;
	struct model_state *state = model_touch(callbacks->options.model, event->index);
	slot->event = *event;
	slot->tries = 0;
	slot->first_ns = clock_mono_ns();
	model_recording(callbacks->options.model, event->index, &slot->recording);
	callbacks->stats.sent++;
	/* Without a call an in-progress comes last of its recording, behind the copies of its end, because of reorder alone. */
	bool late_begin = !callbacks->delivery.calls && event->kind == CALLBACK_IN_PROGRESS;
	callbacks->stats.in_progress += event->kind == CALLBACK_IN_PROGRESS;
	callbacks->stats.reordered += late_begin;
	callbacks->stats.duplicates += event->copy > 0 && !late_begin;
	callbacks->stats.calls += event->kind == CALLBACK_CALL_INCOMING && event->copy == 0;
	if (state != NULL && event->kind == CALLBACK_COMPLETED && state->callbacks_sent < UINT16_MAX)
		state->callbacks_sent++;
	if (slot_send(slot) == 0)
		return true;
	slot_ended(slot, 0);
	return false;
}

static bool slot_wants(const struct callback_slot *slot, enum callback_kind kind)
{
	if (!callback_is_of_recording(kind))
		return true;
	return slot->recording_url.text[0] != '\0' &&
	       (kind == CALLBACK_COMPLETED ? slot->wants_completed : slot->wants_in_progress);
}

/* The next webhook of the slot's call; false when there is none. */
static bool slot_step(struct callback_slot *slot, struct callback_event *event)
{
	const struct callbacks *callbacks = slot->owner;
	struct call_script *script = &slot->script;
	while (callbacks->delivery.calls && !callbacks->stopping && script->next < script->count) {
		const struct call_step *step = &script->steps[script->next++];
		*event = (struct callback_event){slot->recording.index, step->copy, step->kind};
		if (slot_wants(slot, step->kind))
			return true;
	}
	return false;
}

/* Goes on with the call, or frees the slot. */
static void slot_continue(struct callback_slot *slot)
{
	struct callback_event event;
	while (slot_step(slot, &event))
		if (slot_begin(slot, &event))
			return;
	list_append(&slot->owner->idle, &slot->link);
}

static void slot_open(struct callback_slot *slot, const struct callback_event *event)
{
	struct callbacks *callbacks = slot->owner;
	if (callbacks->delivery.calls) {
		call_script_make(&slot->script, callbacks->options.faults, callbacks->options.seed, event->index);
		slot->script.next = 1; /* the event at hand */
		slot->recording_url.text[0] = '\0';
		callbacks->stats.reordered += slot->script.reordered;
	}
	if (!slot_begin(slot, event))
		slot_continue(slot);
}

/* What the answer to a call tells about its recording; false when Twilio would play "an application error has occurred". */
static bool take_twiml(struct callback_slot *slot, const struct http_client_request *request)
{
	struct callbacks *callbacks = slot->owner;
	struct twiml_recording twiml;
	bool xml = strncmp(request->content_type, "text/xml", 8) == 0 ||
		   strncmp(request->content_type, "application/xml", 15) == 0;
	if (!xml || twiml_read(request->collected, &twiml) != 0)
		return false;
	slot->wants_in_progress = twiml.in_progress;
	slot->wants_completed = twiml.completed;
	slot->recording_url.text[0] = '\0';
	if (twiml.callback[0] == '\0')
		return true;
	if (callback_url_resolve(&slot->recording_url, twiml.callback, &callbacks->target, NULL) != 0)
		return false;
	if (callbacks->delivery.retry)
		callback_url_retry_all(&slot->recording_url);
	return true;
}

static void slot_answered(struct http_client_request *request, int status)
{
	struct callback_slot *slot = request->data;
	struct callbacks *callbacks = slot->owner;
	long http_status = status == 0 ? request->http_status : 0;
	bool call_answered = slot->event.kind == CALLBACK_CALL_INCOMING && http_status >= 200 && http_status <= 299;
	bool twiml = call_answered && take_twiml(slot, request);
	http_client_request_release(request);
	slot->running = false;
	callbacks->in_flight--;
	callbacks->stats.bad_twiml += call_answered && !twiml;
	if (call_answered || !slot_retries(slot, http_status)) {
		slot_ended(slot, call_answered && !twiml ? 0 : http_status);
		slot_continue(slot);
	}
	pump(callbacks);
}

/* ---- the pump ---- */

static bool look_ahead(struct callbacks *callbacks)
{
	if (!callbacks->has_ahead && !callbacks->stopping)
		callbacks->has_ahead = callback_cursor_next(&callbacks->cursor, &callbacks->ahead);
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
		if (!callbacks->stopping && slot->due_ns > now) {
			list_append(&callbacks->waiting, link);
		} else if (callbacks->stopping || slot_send(slot) != 0) {
			slot_ended(slot, 0);
			slot_continue(slot);
		}
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
		slot_open(LIST_ENTRY(link, struct callback_slot, link), &callbacks->ahead);
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

static int take_targets(struct callbacks *callbacks, const struct callbacks_delivery *delivery, struct error *error)
{
	struct callback_url target;
	int code = callback_url_parse(&target, delivery->target, error);
	if (code != 0)
		return code;
	if (delivery->retry)
		callback_url_retry_all(&target);
	struct callback_url status_target = target;
	if (delivery->calls && !callback_url_replace_end(&status_target, SLICE("/incoming"), SLICE("/status")))
		return error_set(
			error, ERR_INVALID,
			"calls need the URL that answers them as their target, like http://127.0.0.1:8080/api/twilio/incoming");
	callbacks->target = target;
	callbacks->status_target = status_target;
	return 0;
}

int callbacks_start(struct callbacks *callbacks, const struct callbacks_delivery *delivery, struct error *error)
{
	unsigned slots = delivery->concurrency == 0 ? DEFAULT_CONCURRENCY : delivery->concurrency;
	if (callbacks->running || callbacks->closing)
		return error_set(error, ERR_LOCKED, "another delivery is running");
	if (slots > CALLBACKS_MAX_CONCURRENCY)
		return error_set(error, ERR_LIMIT, "at most %d callbacks at once", CALLBACKS_MAX_CONCURRENCY);
	if (delivery->from > model_count(callbacks->options.model) ||
	    delivery->count > model_count(callbacks->options.model) - delivery->from)
		return error_set(error, ERR_LIMIT, "there are only %" PRIu64 " recordings",
				 model_count(callbacks->options.model));
	int code = take_targets(callbacks, delivery, error);
	if (code != 0)
		return code;
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
	callbacks->cursor = (struct callback_cursor){
		.faults = callbacks->options.faults,
		.seed = callbacks->options.seed,
		.calls = delivery->calls,
		.next = delivery->from,
		.end = delivery->from + delivery->count,
	};
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
