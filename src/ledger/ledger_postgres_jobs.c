/* SPDX-License-Identifier: MIT */
/* What jobs ask for: leases, calls, the ends of attempts. Every write that a lease allows compares its epoch, in the statement itself. */
#include "ledger/ledger_impl.h"
#include "ledger/ledger_postgres.h"
#include "ledger/ledger_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int ledger_postgres_key(struct ledger_request *request, const struct sid *sid, uint8_t key[16])
{
	return sid_binary(sid, key) ? 0 : error_set(&request->error, ERR_INVALID, "not a recording SID: \"%s\"", sid->text);
}

/* ---- leases ---- */

/* The statement that leases, for how long and how many. */
static int send_lease(struct ledger_request *request, unsigned query, const char *owner, struct pg_batch *batch)
{
	size_t room = request->lease_max < LEDGER_LEASE_LIMIT ? request->lease_max : LEDGER_LEASE_LIMIT;
	request->leased = ledger_arena_alloc(request, room, sizeof(*request->leased));
	if (request->leased == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu jobs", room);
	pg_query(batch, query);
	pg_bind_text(batch, owner);
	pg_bind_i64(batch, LEDGER_LEASE_MS);
	pg_bind_i64(batch, (int64_t)room);
	return 0;
}

/* Two arrays: keys and epochs of the jobs. Their SIDs were looked at. */
static void bind_jobs(const struct ledger_request *request, struct pg_batch *batch)
{
	uint8_t key[16];
	pg_bind_array(batch, PG_UUID, request->count);
	for (size_t i = 0; i < request->count; i++) {
		sid_binary(&request->jobs[i].recording_sid, key);
		pg_bind_uuid(batch, key);
	}
	pg_bind_array(batch, PG_I64, request->count);
	for (size_t i = 0; i < request->count; i++)
		pg_bind_i64(batch, request->jobs[i].epoch);
}

static int check_jobs(struct ledger_request *request)
{
	uint8_t key[16];
	int status = 0;
	for (size_t i = 0; status == 0 && i < request->count; i++)
		status = ledger_postgres_key(request, &request->jobs[i].recording_sid, key);
	return status;
}

int ledger_postgres_send_claim(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	int status = send_lease(request, QUERY_CLAIM, owner, batch);
	if (status == 0)
		pg_query(batch, QUERY_NEXT_DUE);
	return status;
}

int ledger_postgres_send_claim_waiting(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	int status = send_lease(request, QUERY_CLAIM_WAITING, owner, batch);
	if (status == 0)
		pg_bind_text(batch, request->waiting_for);
	return status;
}

int ledger_postgres_send_reclaim(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	int status = check_jobs(request);
	if (status == 0)
		status = send_lease(request, QUERY_RECLAIM, owner, batch);
	if (status == 0)
		bind_jobs(request, batch);
	return status;
}

int ledger_postgres_receive_reclaim(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	for (size_t row = 0; row < pg_rows(results[0]); row++)
		ledger_postgres_read_job(results[0], row, &request->leased[request->leased_count++]);
	return 0;
}

int ledger_postgres_receive_claim(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	ledger_postgres_receive_reclaim(request, results, count);
	request->next_due_ms = pg_i64(results[1], 0, 0, -1);
	return 0;
}

int ledger_postgres_send_heartbeat(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	request->lost = ledger_arena_alloc(request, request->count, sizeof(*request->lost));
	if (request->lost == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu leases", request->count);
	int status = check_jobs(request);
	if (status != 0)
		return status;
	pg_query(batch, QUERY_RENEW);
	pg_bind_i64(batch, LEDGER_LEASE_MS);
	bind_jobs(request, batch);
	return 0;
}

int ledger_postgres_receive_heartbeat(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	for (size_t i = 0; i < request->count; i++)
		request->lost[i] = true;
	for (size_t row = 0; row < pg_rows(results[0]); row++) {
		int64_t ord = pg_i64(results[0], row, 0, 0);
		if (ord >= 1 && (size_t)ord <= request->count)
			request->lost[ord - 1] = false;
	}
	return 0;
}

/* ---- calls ---- */

static void bind_call_texts(struct pg_batch *batch, const struct ledger_seen_call *calls, size_t count,
			    const char *(*text)(const struct ledger_seen_call *call))
{
	pg_bind_array(batch, PG_TEXT, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_text(batch, text(&calls[i]));
}

static const char *call_sid(const struct ledger_seen_call *call)
{
	return call->call_sid->text;
}

static const char *call_from(const struct ledger_seen_call *call)
{
	return call->from;
}

static const char *call_to(const struct ledger_seen_call *call)
{
	return call->to;
}

static const char *call_word(const struct ledger_seen_call *call)
{
	return call_status_name(call_status_from_twilio(call->status));
}

void ledger_postgres_put_calls(struct pg_batch *batch, const struct ledger_seen_call *calls, size_t count)
{
	pg_query(batch, QUERY_PUT_CALLS);
	bind_call_texts(batch, calls, count, call_sid);
	bind_call_texts(batch, calls, count, call_from);
	bind_call_texts(batch, calls, count, call_to);
	bind_call_texts(batch, calls, count, call_word);
	pg_bind_array(batch, PG_I64, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_i64_or_null(batch, calls[i].duration_s, -1);
	pg_bind_array(batch, PG_TIME, count);
	for (size_t i = 0; i < count; i++)
		pg_bind_time(batch, calls[i].seen_at_ms);
}

int ledger_postgres_send_lookup_call(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	pg_query(batch, QUERY_CALL_FIND);
	pg_bind_text(batch, request->call_sid.text);
	return 0;
}

int ledger_postgres_receive_lookup_call(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	request->call_known = pg_rows(results[0]) > 0;
	return 0;
}

int ledger_postgres_send_create_call(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	const struct ledger_call *call = &request->call;
	(void)owner;
	if (!sid_is_set(&call->call_sid))
		return error_set(&request->error, ERR_INVALID, "a call without a CallSid");
	ledger_postgres_put_calls(batch,
				  &(struct ledger_seen_call){.call_sid = &call->call_sid,
							     .from = call->from,
							     .to = call->to,
							     .status = call->status,
							     .duration_s = call->duration_s,
							     .seen_at_ms = -1},
				  1);
	return 0;
}

/* ---- the ends of attempts ---- */

/* What the recording was before: ERR_LEASE_LOST when the lease is another's, or over. A stored one keeps its last epoch. */
static int check_lease(struct ledger_request *request, const struct pg_result *result)
{
	char status[16];
	if (pg_rows(result) == 0)
		return error_set(&request->error, ERR_NOT_FOUND, "no recording %s in the ledger", request->recording_sid.text);
	pg_text(result, 0, 0, status, sizeof(status));
	int64_t epoch = pg_i64(result, 0, 1, 0);
	if (epoch != request->epoch ||
	    (strcmp(status, ledger_status_name(LEDGER_RUNNING)) != 0 && strcmp(status, ledger_status_name(LEDGER_STORED)) != 0))
		return error_set(&request->error, ERR_LEASE_LOST, "%s is %s with epoch %" PRId64 ", not %" PRId64,
				 request->recording_sid.text, status, epoch, request->epoch);
	return 0;
}

int ledger_postgres_send_stored_object(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	const struct ledger_object *object = &request->object;
	uint8_t key[16];
	char detail[256];
	(void)owner;
	int status = ledger_postgres_key(request, &request->recording_sid, key);
	if (status != 0)
		return status;
	snprintf(detail, sizeof(detail), "%" PRId64 " bytes as %s", object->bytes, object->key);
	pg_query(batch, QUERY_STORED);
	pg_bind_uuid(batch, key);
	pg_bind_i64(batch, request->epoch);
	pg_bind_bool(batch, object->keep_lease);
	pg_bind_text(batch, object->key);
	pg_bind_text(batch, object->url);
	pg_bind_i64(batch, object->bytes);
	pg_bind_text(batch, object->md5);
	pg_bind_text(batch, object->sha256);
	pg_bind_text(batch, object->content_type);
	pg_bind_i64_or_null(batch, object->duration_s, -1);
	pg_bind_i64_or_null(batch, object->channels, 0);
	pg_bind_text(batch, detail);
	pg_bind_text(batch, object->encryption);
	return 0;
}

int ledger_postgres_receive_stored_object(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	return check_lease(request, results[0]);
}

int ledger_postgres_send_finish(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	const struct ledger_finish *finish = &request->finish;
	struct ledger_ending stored = ledger_rule_ending(finish->outcome, true, false);
	struct ledger_ending ending = ledger_rule_ending(finish->outcome, false, false);
	uint8_t key[16];
	char detail[256];
	char again[256];
	(void)owner;
	int status = ledger_postgres_key(request, &request->recording_sid, key);
	if (status != 0)
		return status;
	const char *error = finish->error == NULL ? "" : finish->error;
	if (finish->outcome == LEDGER_OUTCOME_RETRY)
		snprintf(detail, sizeof(detail), "in %.1f s: %s", (double)finish->delay_ms / 1000, error);
	else
		snprintf(detail, sizeof(detail), "%s", error);
	snprintf(again, sizeof(again), LEDGER_AGAIN_WORDS, error);
	pg_query(batch, QUERY_FINISH);
	pg_bind_uuid(batch, key);
	pg_bind_i64(batch, request->epoch);
	pg_bind_text(batch, ledger_status_name(stored.status));
	pg_bind_text(batch, ledger_status_name(ending.status));
	pg_bind_bool(batch, ending.charged);
	int64_t delay = finish->outcome == LEDGER_OUTCOME_RELEASE ? 0 : finish->delay_ms;
	pg_bind_i64_or_null(batch, ending.due ? delay : -1, -1);
	pg_bind_bool(batch, ending.error);
	pg_bind_text(batch, finish->error);
	pg_bind_bool(batch, finish->deleted_at_twilio);
	pg_bind_bool(batch, finish->outcome == LEDGER_OUTCOME_DONE);
	pg_bind_text(batch, ending.what);
	pg_bind_text(batch, detail);
	pg_bind_text(batch, request->call_sid.text);
	pg_bind_text(batch, ending.due ? finish->waits_for : NULL);
	pg_bind_text(batch, ledger_rule_ending(finish->outcome, false, true).again ? again : NULL);
	return 0;
}

int ledger_postgres_receive_finish(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	int status = check_lease(request, results[0]);
	if (status == 0 && request->finish.outcome == LEDGER_OUTCOME_DONE && !pg_bool(results[0], 0, 2))
		return error_set(&request->error, ERR_INVALID, "%s is done without an object", request->recording_sid.text);
	return status;
}
