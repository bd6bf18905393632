/* SPDX-License-Identifier: MIT */
/*
 * FORWARD: events become rows. Most are the first and only one of their recording: one insert, already leased. What the ledger has already goes by
 * the rules of ledger_rules.h.
 */
#include "base/check.h"
#include "ledger/ledger_impl.h"
#include "ledger/ledger_rules.h"
#include "ledger/ledger_sqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct forward {
	struct ledger_run *run;
	size_t lease_max;
	char first_lease[128]; /* the trail's words for a lease with epoch 1 */
};

static bool may_lease(const struct forward *forward)
{
	return forward->run->request->leased_count < forward->lease_max;
}

static void job_from_event(struct ledger_job *job, const struct event *event)
{
	memset(job, 0, sizeof(*job));
	job->recording_sid = event->recording_sid;
	job->account_sid = event->account_sid;
	job->call_sid = event->call_sid;
	job->conference_sid = event->conference_sid;
	job->epoch = 1;
	job->received_at_ms = event->received_at_ms;
	job->start_time_ms = event->start_time_ms;
	job->duration_s = event->duration_s;
	job->channels = event->channels;
	memcpy(job->source, event->source, sizeof(job->source));
	event_encryption(event, job->encryption);
}

static int note_end(struct ledger_run *run, const struct event *event, const struct sid *call_sid)
{
	char space[LEDGER_DESCRIPTION_SIZE];
	return ledger_sqlite_note(run, call_sid, "Recording %s: %s", event->recording_sid.text, ledger_event_words(event, space));
}

/* Tries the insert. *added: it was the first event of its recording. */
static int add_recording(struct forward *forward, const struct event *event, const uint8_t key[16], bool *added)
{
	struct ledger_run *run = forward->run;
	bool completed = event->status == RECORDING_COMPLETED;
	bool lease = completed && may_lease(forward);
	enum ledger_status status = lease ? LEDGER_RUNNING : ledger_rule_first(event->status);
	bool ended = status == LEDGER_ABSENT || status == LEDGER_FAILED;
	char space[LEDGER_DESCRIPTION_SIZE];
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RECORDING_ADD);
	sqlite_bind_text(stmt, event->recording_sid.text);
	sqlite_bind_blob(stmt, key, 16);
	sqlite_bind_text(stmt, event->account_sid.text);
	sqlite_bind_text(stmt, event->call_sid.text);
	sqlite_bind_text(stmt, event->conference_sid.text);
	sqlite_bind_text(stmt, ledger_status_name(status));
	sqlite_bind_i64_or_null(stmt, completed && !lease ? run->now : -1, -1);
	sqlite_bind_text(stmt, lease ? run->owner : NULL);
	sqlite_bind_i64(stmt, lease ? 1 : 0);
	sqlite_bind_i64_or_null(stmt, lease ? run->now + LEDGER_LEASE_MS : -1, -1);
	sqlite_bind_text(stmt, ended ? ledger_event_words(event, space) : NULL);
	sqlite_bind_i64_or_null(stmt, event->error_code, 0);
	sqlite_bind_i64_or_null(stmt, event->duration_s, -1);
	sqlite_bind_i64_or_null(stmt, event->channels, 0);
	sqlite_bind_text(stmt, event->source);
	sqlite_bind_text(stmt, event->track);
	sqlite_bind_i64_or_null(stmt, event->start_time_ms, -1);
	sqlite_bind_i64(stmt, event->received_at_ms);
	sqlite_bind_i64_or_null(stmt, completed ? event->received_at_ms : -1, -1);
	sqlite_bind_i64(stmt, run->now);
	char encryption[TWILIO_ENCRYPTION_TEXT_SIZE];
	event_encryption(event, encryption);
	sqlite_bind_text(stmt, encryption);
	int result = sqlite_stmt_run(stmt);
	*added = result == 0 && sqlite_db_changes(run->db) == 1;
	if (!*added)
		return result;

	int64_t id = sqlite_db_last_id(run->db);
	result = ledger_sqlite_audit_first(run, id, 1, "received", ledger_describe_event(event, space));
	if (result == 0 && lease) {
		job_from_event(&run->request->leased[run->request->leased_count++], event);
		result = ledger_sqlite_audit_first(run, id, 2, "leased", forward->first_lease);
	}
	if (result == 0 && ended)
		result = note_end(run, event, &event->call_sid);
	return result;
}

/* A statement that writes what a first `completed` says. `encryption` is used until its end. */
static struct sqlite_stmt *begin_completed(struct ledger_run *run, enum ledger_stmt slot, const struct event *event, int64_t id,
					   char encryption[TWILIO_ENCRYPTION_TEXT_SIZE])
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, slot);
	sqlite_bind_i64(stmt, event->received_at_ms);
	sqlite_bind_text(stmt, event->account_sid.text);
	sqlite_bind_text(stmt, event->call_sid.text);
	sqlite_bind_text(stmt, event->conference_sid.text);
	sqlite_bind_i64_or_null(stmt, event->duration_s, -1);
	sqlite_bind_i64_or_null(stmt, event->channels, 0);
	sqlite_bind_text(stmt, event->source);
	sqlite_bind_text(stmt, event->track);
	sqlite_bind_i64_or_null(stmt, event->start_time_ms, -1);
	event_encryption(event, encryption);
	sqlite_bind_text(stmt, encryption);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, id);
	return stmt;
}

/* `completed` of a recording that waited for it, or that was given up too early. */
static int start_recording(struct forward *forward, const struct event *event, const struct ledger_found *found)
{
	struct ledger_run *run = forward->run;
	char encryption[TWILIO_ENCRYPTION_TEXT_SIZE];
	char space[LEDGER_DESCRIPTION_SIZE];
	bool lease = may_lease(forward);
	struct sqlite_stmt *stmt = begin_completed(run, STMT_RECORDING_START, event, found->id, encryption);
	sqlite_bind_text(stmt, ledger_status_name(lease ? LEDGER_RUNNING : LEDGER_PENDING));
	sqlite_bind_i64_or_null(stmt, lease ? -1 : run->now, -1);
	sqlite_bind_text(stmt, lease ? run->owner : NULL);
	sqlite_bind_i64(stmt, lease ? 1 : 0);
	sqlite_bind_i64_or_null(stmt, lease ? run->now + LEDGER_LEASE_MS : -1, -1);
	int result = sqlite_stmt_run(stmt);
	if (result == 0)
		result = ledger_sqlite_audit(run, found->id, "received", "%s", ledger_describe_event(event, space));
	if (result != 0 || !lease)
		return result;
	result = ledger_sqlite_load_job(run, found->id, &run->request->leased[run->request->leased_count++]);
	return result == 0 ? ledger_sqlite_audit(run, found->id, "leased", "%s, epoch %" PRId64, run->owner, found->epoch + 1)
			   : result;
}

static int keep_completed(struct ledger_run *run, const struct event *event, const struct ledger_found *found)
{
	char encryption[TWILIO_ENCRYPTION_TEXT_SIZE];
	char space[LEDGER_DESCRIPTION_SIZE];
	int result = sqlite_stmt_run(begin_completed(run, STMT_RECORDING_KEEP, event, found->id, encryption));
	return result == 0 ? ledger_sqlite_audit(run, found->id, "received", "%s", ledger_describe_event(event, space)) : result;
}

static int end_recording(struct ledger_run *run, const struct event *event, const struct ledger_found *found)
{
	char space[LEDGER_DESCRIPTION_SIZE];
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RECORDING_END);
	sqlite_bind_text(stmt, ledger_status_name(ledger_rule_first(event->status)));
	sqlite_bind_i64_or_null(stmt, event->error_code, 0);
	sqlite_bind_text(stmt, ledger_event_words(event, space));
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, found->id);
	int result = sqlite_stmt_run(stmt);
	if (result == 0)
		result = ledger_sqlite_audit(run, found->id, "received", "%s", ledger_describe_event(event, space));
	return result == 0 ? note_end(run, event, sid_is_set(&found->call_sid) ? &found->call_sid : &event->call_sid) : result;
}

/* Never dropped from the trail; once each, since a repeated one says nothing new. */
static int trail_unknown(struct ledger_run *run, const struct event *event, int64_t id, bool *changed)
{
	char space[LEDGER_DESCRIPTION_SIZE];
	const char *what = ledger_describe_event(event, space);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_AUDIT_EXISTS);
	sqlite_bind_i64(stmt, id);
	sqlite_bind_text(stmt, "received");
	sqlite_bind_text(stmt, what);
	int row = sqlite_stmt_step(stmt);
	sqlite_stmt_end(stmt);
	*changed = row == 0;
	return row == 0 ? ledger_sqlite_audit(run, id, "received", "%s", what) : row < 0 ? row : 0;
}

static int forward_recording(struct forward *forward, const struct event *event, bool *changed)
{
	struct ledger_run *run = forward->run;
	uint8_t key[16];
	if (!sid_binary(&event->recording_sid, key))
		return error_set(&run->request->error, ERR_INVALID, "a recording event without a RecordingSid");
	int result = add_recording(forward, event, key, changed);
	if (result != 0 || *changed)
		return result;
	struct ledger_found found;
	result = ledger_sqlite_find(run, &event->recording_sid, &found);
	if (result != 0)
		return result;
	if (event->status == RECORDING_UNKNOWN)
		return trail_unknown(run, event, found.id, changed);
	enum ledger_change change = ledger_rule_event(found.status, found.completed_known, found.stored, event->status);
	*changed = change != LEDGER_CHANGE_NONE;
	switch (change) {
	case LEDGER_CHANGE_START:
		return start_recording(forward, event, &found);
	case LEDGER_CHANGE_END:
		return end_recording(run, event, &found);
	case LEDGER_CHANGE_KEEP:
		return keep_completed(run, event, &found);
	case LEDGER_CHANGE_NONE:
		break;
	}
	return 0;
}

static int forward_call(struct ledger_run *run, const struct event *event, bool *changed)
{
	if (ledger_rule_call_ignored(event))
		return 0;
	struct ledger_call call = {.call_sid = event->call_sid, .duration_s = event->duration_s};
	memcpy(call.from, event->from, sizeof(call.from));
	memcpy(call.to, event->to, sizeof(call.to));
	memcpy(call.status, event->call_status, sizeof(call.status));
	return ledger_sqlite_put_call(run, &call, event->received_at_ms, changed);
}

int ledger_sqlite_forward(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	struct forward forward = {.run = run,
				  .lease_max = request->lease_max < request->count ? request->lease_max : request->count};
	snprintf(forward.first_lease, sizeof(forward.first_lease), "%s, epoch 1", run->owner);
	if (forward.lease_max > LEDGER_LEASE_LIMIT)
		forward.lease_max = LEDGER_LEASE_LIMIT;
	if (forward.lease_max > 0) {
		request->leased = ledger_arena_alloc(request, forward.lease_max, sizeof(*request->leased));
		if (request->leased == NULL)
			return error_set(&request->error, ERR_NOMEM, "out of memory for %zu jobs", forward.lease_max);
	}
	for (size_t i = 0; i < request->count; i++) {
		const struct event *event = &request->events[i];
		bool changed = false;
		int result = event->kind == EVENT_RECORDING ? forward_recording(&forward, event, &changed)
							    : forward_call(run, event, &changed);
		if (result != 0)
			return result;
		if (!changed)
			request->duplicates++;
	}
	return 0;
}
