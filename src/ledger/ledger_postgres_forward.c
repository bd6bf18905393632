/* SPDX-License-Identifier: MIT */
/*
 * FORWARD: a batch of events is a few statements in one transaction. A statement can change a row once, so events of the same recording (or call) go into
 * successive rounds; nearly always there is one round.
 */
#include "ledger/ledger_impl.h"
#include "ledger/ledger_postgres.h"
#include "ledger/ledger_rules.h"

#include <stdlib.h>
#include <string.h>

struct item {
	const struct event *event;
	uint8_t key[16]; /* of the recording */
	size_t round;    /* SIZE_MAX: says nothing that an earlier one of the batch does not say */
};

struct forward {
	struct ledger_request *request;
	const char *owner;
	struct pg_batch *batch;
	struct item *items; /* in the batch's order */
	struct item **sorted;
	size_t rounds;
	const struct item **chosen; /* scratch: of the statement being written */
	size_t chosen_count;
	size_t completed; /* in earlier rounds: each may have taken a lease */
};

static int compare(const void *left, const void *right)
{
	const struct item *a = *(struct item *const *)left;
	const struct item *b = *(struct item *const *)right;
	bool a_call = a->event->kind != EVENT_RECORDING;
	bool b_call = b->event->kind != EVENT_RECORDING;
	int order = a_call - b_call;
	if (order == 0)
		order = a_call ? strcmp(a->event->call_sid.text, b->event->call_sid.text)
			       : memcmp(a->key, b->key, sizeof(a->key));
	return order != 0 ? order : (a->event > b->event) - (a->event < b->event);
}

static bool same(const struct item *a, const struct item *b)
{
	if ((a->event->kind == EVENT_RECORDING) != (b->event->kind == EVENT_RECORDING))
		return false;
	if (a->event->kind == EVENT_RECORDING)
		return memcmp(a->key, b->key, sizeof(a->key)) == 0;
	return strcmp(a->event->call_sid.text, b->event->call_sid.text) == 0;
}

/*
 * The second `completed` (absent, …) of a recording never changes anything, whatever came in between: ledger_rule_event. Nor does a
 * call's event with a word that nobody knows.
 */
static bool says_nothing(struct item *const *first, struct item *const *at)
{
	if ((*at)->event->kind != EVENT_RECORDING)
		return ledger_rule_call_ignored((*at)->event);
	if ((*at)->event->status == RECORDING_UNKNOWN)
		return false;
	for (; first < at; first++) {
		if ((*first)->event->status == (*at)->event->status)
			return true;
	}
	return false;
}

/* Numbers the events of each recording and call. */
static void set_rounds(struct forward *forward)
{
	size_t count = forward->request->count;
	qsort(forward->sorted, count, sizeof(*forward->sorted), compare);
	for (size_t first = 0; first < count;) {
		size_t round = 0;
		size_t at = first;
		for (; at < count && same(forward->sorted[first], forward->sorted[at]); at++)
			forward->sorted[at]->round = says_nothing(&forward->sorted[first], &forward->sorted[at]) ? SIZE_MAX
														 : round++;
		if (round > forward->rounds)
			forward->rounds = round;
		first = at;
	}
}

static int prepare(struct forward *forward)
{
	struct ledger_request *request = forward->request;
	size_t count = request->count;
	forward->items = ledger_arena_alloc(request, count, sizeof(*forward->items));
	forward->sorted = ledger_arena_alloc(request, count, sizeof(*forward->sorted));
	forward->chosen = ledger_arena_alloc(request, count, sizeof(*forward->chosen));
	size_t room = request->lease_max < count ? request->lease_max : count;
	if (room > LEDGER_LEASE_LIMIT)
		room = LEDGER_LEASE_LIMIT;
	request->leased = ledger_arena_alloc(request, room, sizeof(*request->leased));
	if (forward->items == NULL || forward->sorted == NULL || forward->chosen == NULL || request->leased == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu events", count);
	for (size_t i = 0; i < count; i++) {
		struct item *item = &forward->items[i];
		item->event = &request->events[i];
		forward->sorted[i] = item;
		if (item->event->kind != EVENT_RECORDING && !sid_is_set(&item->event->call_sid))
			return error_set(&request->error, ERR_INVALID, "a call without a CallSid");
		if (item->event->kind == EVENT_RECORDING && !sid_binary(&item->event->recording_sid, item->key))
			return error_set(&request->error, ERR_INVALID, "a recording event without a RecordingSid");
	}
	set_rounds(forward);
	return 0;
}

/* ---- columns ---- */

static void bind_texts(struct forward *forward, size_t offset)
{
	pg_bind_array(forward->batch, PG_TEXT, forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++)
		pg_bind_text(forward->batch, (const char *)forward->chosen[i]->event + offset);
}

static void bind_keys(struct forward *forward)
{
	pg_bind_array(forward->batch, PG_UUID, forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++)
		pg_bind_uuid(forward->batch, forward->chosen[i]->key);
}

static void bind_details(struct forward *forward)
{
	char space[LEDGER_DESCRIPTION_SIZE];
	pg_bind_array(forward->batch, PG_TEXT, forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++)
		pg_bind_text(forward->batch, ledger_describe_event(forward->chosen[i]->event, space));
}

/* Why there is nothing to fetch; NULL for all others. */
static void bind_reasons(struct forward *forward)
{
	char space[LEDGER_DESCRIPTION_SIZE];
	pg_bind_array(forward->batch, PG_TEXT, forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++) {
		const struct event *event = forward->chosen[i]->event;
		bool ended = event->status == RECORDING_ABSENT || event->status == RECORDING_FAILED;
		pg_bind_text(forward->batch, ended ? ledger_event_words(event, space) : NULL);
	}
}

static void bind_encryptions(struct forward *forward)
{
	char text[TWILIO_ENCRYPTION_TEXT_SIZE];
	pg_bind_array(forward->batch, PG_TEXT, forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++) {
		event_encryption(forward->chosen[i]->event, text);
		pg_bind_text(forward->batch, text);
	}
}

static void bind_times(struct forward *forward, size_t offset)
{
	pg_bind_array(forward->batch, PG_TIME, forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++) {
		int64_t ms;
		memcpy(&ms, (const char *)forward->chosen[i]->event + offset, sizeof(ms));
		pg_bind_time(forward->batch, ms);
	}
}

static void bind_numbers(struct forward *forward)
{
	const struct item *const *chosen = forward->chosen;
	size_t count = forward->chosen_count;
	pg_bind_array(forward->batch, PG_I64, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_i64_or_null(forward->batch, chosen[i]->event->error_code, 0);
	pg_bind_array(forward->batch, PG_I64, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_i64_or_null(forward->batch, chosen[i]->event->duration_s, -1);
	pg_bind_array(forward->batch, PG_I64, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_i64_or_null(forward->batch, chosen[i]->event->channels, 0);
}

/* ---- statements ---- */

/* Those of the round that are recordings (with an unknown status only), or calls. False when there are none. */
static bool choose(struct forward *forward, size_t round, bool recordings, bool unknown)
{
	forward->chosen_count = 0;
	for (size_t i = 0; i < forward->request->count; i++) {
		const struct item *item = &forward->items[i];
		if (item->round != round || (item->event->kind == EVENT_RECORDING) != recordings)
			continue;
		if (!unknown || item->event->status == RECORDING_UNKNOWN)
			forward->chosen[forward->chosen_count++] = item;
	}
	return forward->chosen_count > 0;
}

static void put_recordings(struct forward *forward)
{
	struct pg_batch *batch = forward->batch;
	const struct item *const *chosen = forward->chosen;
	size_t count = forward->chosen_count;
	size_t lease_max = forward->request->lease_max < LEDGER_LEASE_LIMIT ? forward->request->lease_max : LEDGER_LEASE_LIMIT;
	pg_query_fresh(batch, QUERY_FORWARD_RECORDINGS); /* its joins of what was sent with what was written */
	pg_bind_text(batch, forward->owner);
	pg_bind_i64(batch, LEDGER_LEASE_MS);
	pg_bind_i64(batch, lease_max > forward->completed ? (int64_t)(lease_max - forward->completed) : 0);
	bind_texts(forward, offsetof(struct event, recording_sid));
	bind_keys(forward);
	bind_texts(forward, offsetof(struct event, account_sid));
	bind_texts(forward, offsetof(struct event, call_sid));
	bind_texts(forward, offsetof(struct event, conference_sid));
	pg_bind_array(batch, PG_TEXT, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_text(batch, ledger_status_name(ledger_rule_first(chosen[i]->event->status)));
	pg_bind_array(batch, PG_BOOL, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_bool(batch, chosen[i]->event->status == RECORDING_COMPLETED);
	bind_times(forward, offsetof(struct event, received_at_ms));
	bind_numbers(forward);
	bind_texts(forward, offsetof(struct event, source));
	bind_texts(forward, offsetof(struct event, track));
	bind_times(forward, offsetof(struct event, start_time_ms));
	bind_details(forward);
	bind_reasons(forward);
	bind_encryptions(forward);
	for (size_t i = 0; i < count; i++)
		forward->completed += chosen[i]->event->status == RECORDING_COMPLETED;
}

static void put_unknown(struct forward *forward)
{
	pg_query(forward->batch, QUERY_FORWARD_UNKNOWN);
	bind_keys(forward);
	bind_details(forward);
}

static int put_calls(struct forward *forward)
{
	struct ledger_seen_call *calls = ledger_arena_alloc(forward->request, forward->chosen_count, sizeof(*calls));
	if (calls == NULL)
		return error_set(&forward->request->error, ERR_NOMEM, "out of memory for %zu calls", forward->chosen_count);
	for (size_t i = 0; i < forward->chosen_count; i++) {
		const struct event *event = forward->chosen[i]->event;
		calls[i] = (struct ledger_seen_call){.call_sid = &event->call_sid,
						     .from = event->from,
						     .to = event->to,
						     .status = event->call_status,
						     .duration_s = event->duration_s,
						     .seen_at_ms = event->received_at_ms};
	}
	ledger_postgres_put_calls(forward->batch, calls, forward->chosen_count);
	return 0;
}

static int put_all_calls(struct forward *forward)
{
	int status = 0;
	for (size_t round = 0; status == 0 && round < forward->rounds; round++) {
		if (choose(forward, round, false, false))
			status = put_calls(forward);
	}
	return status;
}

/* An end leaves a note on the call, which must be there then. */
static bool has_ends(const struct ledger_request *request)
{
	for (size_t i = 0; i < request->count; i++) {
		const struct event *event = &request->events[i];
		if (event->kind == EVENT_RECORDING && (event->status == RECORDING_ABSENT || event->status == RECORDING_FAILED))
			return true;
	}
	return false;
}

int ledger_postgres_send_forward(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	struct forward forward = {.request = request, .owner = owner, .batch = batch};
	int status = prepare(&forward);
	/* Recordings before calls is the order of locks everywhere else; the other way round may meet a deadlock, which is run again. */
	bool calls_first = has_ends(request);
	if (status == 0 && calls_first)
		status = put_all_calls(&forward);
	for (size_t round = 0; status == 0 && round < forward.rounds; round++) {
		if (choose(&forward, round, true, false))
			put_recordings(&forward);
		if (choose(&forward, round, true, true))
			put_unknown(&forward);
	}
	if (status == 0 && !calls_first)
		status = put_all_calls(&forward);
	return status;
}

/* Each row is an event that changed something; the first column says whether it is leased, and then a job follows. */
int ledger_postgres_receive_forward(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	size_t changed = 0;
	for (size_t i = 0; i < count; i++) {
		for (size_t row = 0; row < pg_rows(results[i]); row++) {
			changed++;
			if (pg_bool(results[i], row, 0))
				ledger_postgres_read_job(results[i], row, &request->leased[request->leased_count++]);
		}
	}
	request->duplicates = request->count - changed;
	return 0;
}
