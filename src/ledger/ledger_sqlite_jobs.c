/* SPDX-License-Identifier: MIT */
/* Leases and the ends of attempts. Every write that a lease allows compares its epoch. */
#include "ledger/ledger_impl.h"
#include "ledger/ledger_rules.h"
#include "ledger/ledger_sqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

static int lease(struct ledger_run *run, int64_t id)
{
	struct ledger_request *request = run->request;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_LEASE);
	sqlite_bind_text(stmt, run->owner);
	sqlite_bind_i64(stmt, run->now + LEDGER_LEASE_MS);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, id);
	int status = sqlite_stmt_run(stmt);
	struct ledger_job *job = &request->leased[request->leased_count];
	if (status == 0)
		status = ledger_sqlite_load_job(run, id, job);
	if (status != 0)
		return status;
	request->leased_count++;
	return ledger_sqlite_audit(run, id, "leased", "%s, epoch %" PRId64, run->owner, job->epoch);
}

/* Room for as many leases as a request may get: *room of them, and of their rows' ids. */
static int make_room(struct ledger_request *request, int64_t **ids, size_t *room)
{
	*room = request->lease_max < LEDGER_LEASE_LIMIT ? request->lease_max : LEDGER_LEASE_LIMIT;
	request->leased = ledger_arena_alloc(request, *room, sizeof(*request->leased));
	*ids = ledger_arena_alloc(request, *room, sizeof(**ids));
	if (request->leased == NULL || *ids == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu jobs", *room);
	return 0;
}

/* Leases what `stmt` selects, whose last parameter is the room there is. */
static int lease_selected(struct ledger_run *run, struct sqlite_stmt *stmt, int64_t *ids, size_t room)
{
	size_t count = 0;
	sqlite_bind_i64(stmt, (int64_t)room);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1)
		ids[count++] = sqlite_column_i64(stmt, 0, 0);
	sqlite_stmt_end(stmt);
	for (size_t i = 0; row == 0 && i < count; i++)
		row = lease(run, ids[i]);
	return row;
}

/* Leases what `slot` selects, oldest first, as far as there is room. */
static int claim_from(struct ledger_run *run, enum ledger_stmt slot, int64_t *ids, size_t room)
{
	if (room == 0)
		return 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, slot);
	sqlite_bind_i64(stmt, run->now);
	return lease_selected(run, stmt, ids, room);
}

static int earliest(struct ledger_run *run, enum ledger_stmt slot, int64_t *at)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, slot);
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		int64_t found = sqlite_column_i64(stmt, 0, -1);
		if (found != -1 && (*at == -1 || found < *at))
			*at = found;
	}
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

int ledger_sqlite_claim(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	size_t room;
	int64_t *ids;
	int status = 0;
	if (request->lease_max > 0) {
		status = make_room(request, &ids, &room);
		if (status != 0)
			return status;
		/* What a dead replica left behind is older than anything that waits. */
		status = claim_from(run, STMT_EXPIRED, ids, room);
		if (status == 0)
			status = claim_from(run, STMT_DUE, ids, room - request->leased_count);
	}
	int64_t next = -1;
	if (status == 0)
		status = earliest(run, STMT_NEXT_DUE, &next);
	if (status == 0)
		status = earliest(run, STMT_NEXT_EXPIRY, &next);
	request->next_due_ms = next == -1 ? -1 : next > run->now ? next - run->now : 0;
	return status;
}

int ledger_sqlite_claim_waiting(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	size_t room;
	int64_t *ids;
	int status = make_room(request, &ids, &room);
	if (status != 0)
		return status;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_WAITING_FOR);
	sqlite_bind_text(stmt, request->waiting_for);
	return lease_selected(run, stmt, ids, room);
}

/* One job's lease, prolonged. */
static int renew(struct ledger_run *run, const struct ledger_job *job)
{
	uint8_t key[16];
	if (!sid_binary(&job->recording_sid, key))
		return error_set(&run->request->error, ERR_INVALID, "a lease without a RecordingSid");
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RENEW);
	sqlite_bind_i64(stmt, run->now + LEDGER_LEASE_MS);
	sqlite_bind_blob(stmt, key, sizeof(key));
	sqlite_bind_i64(stmt, job->epoch);
	return sqlite_stmt_run(stmt);
}

static bool is_held(const struct ledger_request *request, const char *recording_sid, int64_t epoch)
{
	for (size_t i = 0; i < request->count; i++) {
		if (request->jobs[i].epoch == epoch && strcasecmp(request->jobs[i].recording_sid.text, recording_sid) == 0)
			return true;
	}
	return false;
}

int ledger_sqlite_reclaim(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	size_t room;
	int64_t *ids;
	int status = make_room(request, &ids, &room);
	if (status != 0)
		return status;
	size_t count = 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_LEASED_TO);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_text(stmt, run->owner);
	while (count < room && (status = sqlite_stmt_step(stmt)) == 1) {
		char sid[sizeof(((struct sid *)NULL)->text)];
		sqlite_column_text(stmt, 1, sid, sizeof(sid));
		if (!is_held(request, sid, sqlite_column_i64(stmt, 2, 0)))
			ids[count++] = sqlite_column_i64(stmt, 0, 0);
	}
	sqlite_stmt_end(stmt);
	status = status < 0 ? status : 0;
	for (size_t i = 0; status == 0 && i < count; i++) {
		struct ledger_job *job = &request->leased[request->leased_count];
		status = ledger_sqlite_load_job(run, ids[i], job);
		if (status == 0)
			status = renew(run, job);
		request->leased_count += status == 0;
	}
	return status;
}

int ledger_sqlite_heartbeat(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	request->lost = ledger_arena_alloc(request, request->count, sizeof(*request->lost));
	if (request->lost == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu leases", request->count);
	for (size_t i = 0; i < request->count; i++) {
		int status = renew(run, &request->jobs[i]);
		if (status != 0)
			return status;
		request->lost[i] = sqlite_db_changes(run->db) == 0;
	}
	return 0;
}

/* The recording with this request's lease. ERR_LEASE_LOST when the lease is another's, or over. A stored one keeps its last epoch. */
static int find_leased(struct ledger_run *run, struct ledger_found *found)
{
	int status = ledger_sqlite_find(run, &run->request->recording_sid, found);
	if (status != 0)
		return status;
	if (found->epoch != run->request->epoch || (found->status != LEDGER_RUNNING && found->status != LEDGER_STORED))
		return error_set(&run->request->error, ERR_LEASE_LOST, "%s is %s with epoch %" PRId64 ", not %" PRId64,
				 found->recording_sid.text, ledger_status_name(found->status), found->epoch, run->request->epoch);
	return 0;
}

int ledger_sqlite_stored_object(struct ledger_run *run)
{
	const struct ledger_object *object = &run->request->object;
	struct ledger_found found;
	int status = find_leased(run, &found);
	if (status != 0 || found.status == LEDGER_STORED)
		return status;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_STORED);
	sqlite_bind_text(stmt, ledger_status_name(object->keep_lease ? LEDGER_RUNNING : LEDGER_STORED));
	sqlite_bind_i64(stmt, object->keep_lease);
	sqlite_bind_i64(stmt, object->keep_lease);
	sqlite_bind_text(stmt, object->key);
	sqlite_bind_text(stmt, object->url);
	sqlite_bind_i64(stmt, object->bytes);
	sqlite_bind_text(stmt, object->md5);
	sqlite_bind_text(stmt, object->sha256);
	sqlite_bind_text(stmt, object->content_type);
	sqlite_bind_i64_or_null(stmt, object->duration_s, -1);
	sqlite_bind_i64_or_null(stmt, object->channels, 0);
	sqlite_bind_text(stmt, object->encryption);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, found.id);
	sqlite_bind_i64(stmt, run->request->epoch);
	status = sqlite_stmt_run(stmt);
	if (status == 0 && sid_is_set(&found.call_sid)) {
		stmt = sqlite_stmt_begin(run->db, STMT_CALL_STORED);
		sqlite_bind_text(stmt, object->url);
		sqlite_bind_i64_or_null(stmt, object->duration_s, -1);
		sqlite_bind_i64(stmt, run->now);
		sqlite_bind_text(stmt, found.call_sid.text);
		status = sqlite_stmt_run(stmt);
	}
	return status == 0 ? ledger_sqlite_audit(run, found.id, "stored", "%" PRId64 " bytes as %s", object->bytes, object->key)
			   : status;
}

static int write_ending(struct ledger_run *run, const struct ledger_found *found, const struct ledger_ending *ending)
{
	const struct ledger_finish *finish = &run->request->finish;
	int64_t delay = ending->again || finish->outcome == LEDGER_OUTCOME_RELEASE ? 0 : finish->delay_ms;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_FINISH);
	sqlite_bind_text(stmt, ledger_status_name(ending->status));
	sqlite_bind_i64(stmt, ending->again);
	sqlite_bind_i64(stmt, ending->charged);
	sqlite_bind_i64_or_null(stmt, ending->due ? run->now + delay : -1, -1);
	sqlite_bind_text(stmt, ending->due && !ending->again ? finish->waits_for : NULL);
	sqlite_bind_i64(stmt, ending->error);
	sqlite_bind_text(stmt, finish->error);
	sqlite_bind_i64_or_null(stmt, finish->deleted_at_twilio ? run->now : -1, -1);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, found->id);
	sqlite_bind_i64(stmt, run->request->epoch);
	return sqlite_stmt_run(stmt);
}

static int trail_ending(struct ledger_run *run, const struct ledger_found *found, const struct ledger_ending *ending)
{
	const struct ledger_finish *finish = &run->request->finish;
	const char *error = finish->error == NULL ? "" : finish->error;
	int status = 0;
	if (finish->deleted_at_twilio && !found->deleted_at_twilio)
		status = ledger_sqlite_audit(run, found->id, "purged", "deleted at Twilio");
	if (status != 0 || ending->what == NULL)
		return status;
	if (ending->again)
		return ledger_sqlite_audit(run, found->id, ending->what, LEDGER_AGAIN_WORDS, error);
	if (finish->outcome == LEDGER_OUTCOME_WAIT)
		return ledger_sqlite_audit_wait(run, found->id, error);
	if (finish->outcome == LEDGER_OUTCOME_RETRY)
		return ledger_sqlite_audit(run, found->id, ending->what, "in %.1f s: %s", (double)finish->delay_ms / 1000, error);
	return ledger_sqlite_audit(run, found->id, ending->what, "%s", error);
}

int ledger_sqlite_finish(struct ledger_run *run)
{
	const struct ledger_finish *finish = &run->request->finish;
	struct ledger_found found;
	int status = find_leased(run, &found);
	if (status != 0)
		return status;
	if (finish->outcome == LEDGER_OUTCOME_DONE && !found.stored)
		return error_set(&run->request->error, ERR_INVALID, "%s is done without an object", found.recording_sid.text);
	/* Recorded as stored and its lease given back: only the purge can still be news. */
	if (found.status == LEDGER_STORED && !(finish->outcome == LEDGER_OUTCOME_DONE && finish->deleted_at_twilio))
		return 0;
	struct ledger_ending ending = ledger_rule_ending(finish->outcome, found.stored, found.due);
	status = write_ending(run, &found, &ending);
	if (status == 0)
		status = trail_ending(run, &found, &ending);
	if (status != 0 || (ending.status != LEDGER_DEAD && ending.status != LEDGER_FAILED && ending.status != LEDGER_ABSENT))
		return status;
	return ledger_sqlite_note(run, sid_is_set(&found.call_sid) ? &found.call_sid : &run->request->call_sid,
				  "Recording %s: %s: %s", found.recording_sid.text, ending.what,
				  finish->error == NULL ? "no reason given" : finish->error);
}
