/* SPDX-License-Identifier: MIT */
/*
 * How the pipeline gets work: one request at a time. Due work and orphans (CLAIM), leases whose answer was lost (RECLAIM), and what waits in the ledger for an account
 * or a key that there is again (CLAIM_WAITING), in turn with due work.
 *
 * Leased work is bounded by twice the limit: one half runs, the other waits so that a free place is filled at once. While the breaker of Twilio or of the store is
 * open nothing is claimed; when its interval is over, one job. While every account is restricted, as much as their gates let through.
 */
#include "pipeline/pipeline_impl.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "twilio/private_keys.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* After a failed claim, and after one that was given nothing of what is due; doubled up to PIPELINE_POLL_MS. */
#define CLAIM_BACKOFF_MS 100

/* Jobs that may run at a time. */
static size_t limit_now(const struct pipeline *pipeline)
{
	size_t limit = gates_limit(&pipeline->env.gates);
	return limit < pipeline->options.max_transfers ? limit : pipeline->options.max_transfers;
}

size_t pipeline_capacity(const struct pipeline *pipeline)
{
	int64_t now = pipeline_now_ms(pipeline);
	if (pipeline->draining || pipeline->closing || pipeline_blocked_by(pipeline) != DEPENDENCY_NONE ||
	    breaker_permits(&pipeline->env.breakers[DEPENDENCY_LEDGER], now) == 0)
		return 0;
	size_t taken = pipeline_running(pipeline) + (pipeline->claiming ? pipeline->claim.lease_max : 0);
	size_t most = 2 * limit_now(pipeline);
	if (taken >= most)
		return 0;
	size_t room = gates_room(&pipeline->env.gates, now);
	size_t coming = pipeline->claiming ? pipeline->claim.lease_max : 0;
	if (room != SIZE_MAX)
		room = room > coming ? room - coming : 0;
	if (room > most - taken)
		room = most - taken;
	bool probing = breaker_permits(&pipeline->env.breakers[DEPENDENCY_TWILIO], now) == 1 ||
		       breaker_permits(&pipeline->env.breakers[DEPENDENCY_STORE], now) == 1;
	if (probing)
		return pipeline->queued == 0 && !pipeline->claiming && room > 0 ? 1 : 0;
	return room;
}

/* What was leased to us without our knowledge. An answer that came meanwhile may have brought the same: add_job knows it. */
static void reclaimed(struct pipeline *pipeline, const struct ledger_request *request)
{
	pipeline->reclaim = request->leased_count == request->lease_max;
	pipeline->due = true;
	if (request->leased_count > 0)
		log_event(LOG_INFO, "lease.reclaimed", LOG_U64("recordings", request->leased_count));
	for (size_t i = 0; i < request->leased_count; i++)
		pipeline_add_job(pipeline, &request->leased[i]);
}

/* ---- what waits for an account or a key ---- */

void claim_format_key(const struct sid *key, char out[LEDGER_WAITS_FOR_SIZE])
{
	snprintf(out, LEDGER_WAITS_FOR_SIZE, "%s", key->text);
	for (char *at = out + strnlen(out, 2); *at != '\0'; at++)
		*at = (char)tolower((unsigned char)*at);
}

static void note_awaited(struct pipeline *pipeline, const char *name)
{
	struct gates *gates = &pipeline->env.gates;
	const struct private_keys *keys = pipeline->options.keys;
	struct sid sid;
	if (sid_parse(slice_from_cstr(name), "AC", &sid)) {
		gates_set_waiting(gates, gates_find(gates, &sid), true);
		return;
	}
	if (!sid_parse(slice_from_cstr(name), "CR", &sid)) {
		gates_set_waiting(gates, &gates->others, true);
		return;
	}
	for (size_t i = 0; keys != NULL && i < private_keys_count(keys); i++) {
		if (strcasecmp(private_keys_sid(keys, i)->text, name) == 0)
			pipeline->keys_awaited |= UINT64_C(1) << i;
	}
}

void claim_note_waiting(struct pipeline *pipeline, const struct job *job)
{
	/* Keys that came while the recording was on its way back were asked for too early. */
	if (job->held_back || (job->status == ERR_ENCRYPTION_KEY && job->keys != pipeline->options.keys))
		note_awaited(pipeline, job->waits_for);
}

void claim_for_keys(struct pipeline *pipeline)
{
	_Static_assert(PRIVATE_KEYS_MAX <= 64, "keys_awaited has a bit for each");
	size_t count = pipeline->options.keys != NULL ? private_keys_count(pipeline->options.keys) : 0;
	pipeline->keys_awaited = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* Makes the claim one for what waits for something that has come, if there may be such. */
static bool ask_for_awaited(struct pipeline *pipeline)
{
	struct ledger_request *claim = &pipeline->claim;
	struct gates *gates = &pipeline->env.gates;
	size_t room;
	struct gate *gate = gates_hungry(gates, pipeline_now_ms(pipeline), &room);
	if (pipeline->keys_awaited != 0) {
		size_t key = (size_t)__builtin_ctzll(pipeline->keys_awaited);
		pipeline->keys_awaited &= pipeline->keys_awaited - 1;
		claim_format_key(private_keys_sid(pipeline->options.keys, key), pipeline->claim_for);
	} else if (gate != NULL) {
		gates_set_waiting(gates, gate, false);
		snprintf(pipeline->claim_for, sizeof(pipeline->claim_for), "%s", gate_name(gate));
		claim->lease_max = room < claim->lease_max ? room : claim->lease_max;
	} else {
		return false;
	}
	claim->op = LEDGER_CLAIM_WAITING;
	claim->waiting_for = pipeline->claim_for;
	return true;
}

/* What a claim for an account or a key gave. More may be left than there was room for; one that failed is made again. */
static void awaited_came(struct pipeline *pipeline, const struct ledger_request *request, int status)
{
	if (status != 0 || request->leased_count == request->lease_max)
		note_awaited(pipeline, pipeline->claim_for);
	if (status == 0 && request->leased_count > 0)
		log_event(LOG_DEBUG, "lease.fetched", LOG_STR("waited_for", pipeline->claim_for),
			  LOG_U64("recordings", request->leased_count));
	for (size_t i = 0; i < request->leased_count; i++)
		pipeline_add_job(pipeline, &request->leased[i]);
}

/* How long to leave alone what is due but locked by somebody else, a replica for a moment or an operator for hours; 0: it can be had. */
static int64_t held_up_ms(struct pipeline *pipeline, const struct ledger_request *request)
{
	if (request->next_due_ms != 0 || request->leased_count > 0) {
		pipeline->held_up = 0;
		return 0;
	}
	return (int64_t)backoff_bound(CLAIM_BACKOFF_MS, PIPELINE_POLL_MS, pipeline->held_up++);
}

static void claimed(struct pipeline *pipeline, const struct ledger_request *request)
{
	pipeline->poll_at_ms = pipeline_now_ms(pipeline) + PIPELINE_POLL_MS;
	int64_t pause = held_up_ms(pipeline, request);
	if (request->next_due_ms >= 0 && request->next_due_ms < PIPELINE_POLL_MS)
		pipeline_look_again_in(pipeline, request->next_due_ms + pause);
	if (request->leased_count == request->lease_max || pipeline->reclaim)
		pipeline->due = true;
	for (size_t i = 0; i < request->leased_count; i++)
		pipeline_add_job(pipeline, &request->leased[i]);
}

static void claim_failed(struct pipeline *pipeline, const struct ledger_request *request, int status)
{
	int64_t base = pipeline->env.policy.base_ms < CLAIM_BACKOFF_MS ? pipeline->env.policy.base_ms : CLAIM_BACKOFF_MS;
	uint64_t backoff = backoff_bound((uint64_t)base, PIPELINE_POLL_MS, pipeline->env.breakers[DEPENDENCY_LEDGER].failures);
	pipeline->due = true;
	pipeline->reclaim = true;
	pipeline->claim_after_ms = pipeline_now_ms(pipeline) + (int64_t)random_upper_half(backoff);
	log_event(LOG_DEBUG, "claim.failed", LOG_STR("reason", err_name(status)), LOG_STR("detail", request->error.detail));
}

static void claim_done(struct ledger_request *request, int status)
{
	struct pipeline *pipeline = request->data;
	pipeline->claiming = false;
	job_env_learned(&pipeline->env, DEPENDENCY_LEDGER, 0, status, status == 0, request->error.detail);
	if (status != 0)
		breaker_probe_abandoned(&pipeline->env.breakers[DEPENDENCY_LEDGER], pipeline_now_ms(pipeline));
	free(pipeline->claim_jobs);
	pipeline->claim_jobs = NULL;
	pipeline->claim_worked = status == 0;
	if (request->op == LEDGER_CLAIM_WAITING)
		awaited_came(pipeline, request, status);
	else if (status == 0 && request->op == LEDGER_RECLAIM)
		reclaimed(pipeline, request);
	else if (status == 0)
		claimed(pipeline, request);
	if (status != 0)
		claim_failed(pipeline, request, status);
	ledger_request_release(request);
	pipeline_work_soon(pipeline);
}

/* Makes the claim one for leases of ours that are not held. */
static void ask_back(struct pipeline *pipeline)
{
	size_t count;
	pipeline->claim_jobs = lease_list(pipeline, &count);
	if (pipeline->claim_jobs == NULL && pipeline_running(pipeline) > 0)
		return; /* out of memory: it was a help, the leases run out by themselves */
	pipeline->claim.op = LEDGER_RECLAIM;
	pipeline->claim.jobs = pipeline->claim_jobs;
	pipeline->claim.count = count;
}

void claim_work(struct pipeline *pipeline)
{
	size_t limit = limit_now(pipeline);
	size_t low_water = limit + limit / 2;
	if (pipeline->claiming || pipeline_now_ms(pipeline) < pipeline->claim_after_ms || pipeline_running(pipeline) > low_water)
		return;
	size_t room = pipeline_capacity(pipeline);
	if (room == 0)
		return;
	pipeline->claim = (struct ledger_request){
		.op = LEDGER_CLAIM, .lease_max = room, .done = claim_done, .data = pipeline, .next_due_ms = -1};
	/* Only a claim that worked is followed by one of another kind: else the one that works would hide from the breaker that the other does not. */
	bool turn = pipeline->claim_worked && !(pipeline->due && pipeline->fetched);
	pipeline->fetched = turn && ask_for_awaited(pipeline);
	if (!pipeline->fetched && !pipeline->due)
		return;
	if (!pipeline->fetched) {
		pipeline->due = false;
		if (pipeline->reclaim && pipeline->claim_worked)
			ask_back(pipeline);
	}
	breaker_start(&pipeline->env.breakers[DEPENDENCY_LEDGER],
		      pipeline_now_ms(pipeline)); /* the claim itself is the ledger's probe */
	pipeline->claiming = true;
	ledger_submit(pipeline->options.ledger, &pipeline->claim);
}
