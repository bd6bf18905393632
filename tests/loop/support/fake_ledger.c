/* SPDX-License-Identifier: MIT */
#include "loop/support/fake_ledger.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sid fake_sid(const char *prefix, size_t n)
{
	struct sid sid;
	snprintf(sid.text, sizeof(sid.text), "%.2s%032zx", prefix, n);
	return sid;
}

struct fake_row *fake_ledger_row(struct fake_ledger *fake, const struct sid *recording_sid)
{
	for (size_t i = 0; i < fake->count; i++) {
		if (strcmp(fake->rows[i].job.recording_sid.text, recording_sid->text) == 0)
			return &fake->rows[i];
	}
	REQUIRE(false);
}

size_t fake_ledger_in(const struct fake_ledger *fake, enum ledger_status status)
{
	size_t found = 0;
	for (size_t i = 0; i < fake->count; i++)
		found += fake->rows[i].status == status;
	return found;
}

void fake_ledger_steal(struct fake_ledger *fake, size_t n)
{
	fake->rows[n].job.epoch++;
	fake->rows[n].status = LEDGER_PENDING;
	fake->rows[n].due_ms = 0;
}

static void lease(struct fake_row *row, struct ledger_request *request)
{
	row->status = LEDGER_RUNNING;
	row->waits_for[0] = '\0';
	row->job.epoch++;
	row->leases++;
	request->leased[request->leased_count++] = row->job;
}

static void claim(struct fake_ledger *fake, struct ledger_request *request)
{
	int64_t now = (int64_t)uv_now(fake->loop);
	int64_t next = -1;
	request->arena = calloc(request->lease_max > 0 ? request->lease_max : 1, sizeof(struct ledger_job));
	REQUIRE(request->arena != NULL);
	request->leased = request->arena;
	for (size_t i = 0; i < fake->count; i++) {
		struct fake_row *row = &fake->rows[i];
		if (row->status != LEDGER_PENDING)
			continue;
		if (!fake->locked && row->due_ms <= now && request->leased_count < request->lease_max) {
			lease(row, request);
		} else {
			int64_t delay = row->due_ms <= now ? 0 : row->due_ms - now;
			next = next < 0 || delay < next ? delay : next;
		}
	}
	request->next_due_ms = next;
}

static void claim_waiting(struct fake_ledger *fake, struct ledger_request *request)
{
	request->arena = calloc(request->lease_max, sizeof(struct ledger_job));
	REQUIRE(request->arena != NULL && request->lease_max > 0);
	request->leased = request->arena;
	for (size_t i = 0; i < fake->count && request->leased_count < request->lease_max; i++) {
		struct fake_row *row = &fake->rows[i];
		if (row->status == LEDGER_PENDING && strcmp(row->waits_for, request->waiting_for) == 0)
			lease(row, request);
	}
}

static bool is_held(const struct ledger_request *request, const struct ledger_job *job)
{
	for (size_t i = 0; i < request->count; i++) {
		if (request->jobs[i].epoch == job->epoch &&
		    strcmp(request->jobs[i].recording_sid.text, job->recording_sid.text) == 0)
			return true;
	}
	return false;
}

static void reclaim(struct fake_ledger *fake, struct ledger_request *request)
{
	request->arena = calloc(request->lease_max > 0 ? request->lease_max : 1, sizeof(struct ledger_job));
	REQUIRE(request->arena != NULL);
	request->leased = request->arena;
	for (size_t i = 0; i < fake->count && request->leased_count < request->lease_max; i++) {
		if (fake->rows[i].status == LEDGER_RUNNING && !is_held(request, &fake->rows[i].job))
			request->leased[request->leased_count++] = fake->rows[i].job;
	}
}

static void heartbeat(struct fake_ledger *fake, struct ledger_request *request)
{
	bool *lost = calloc(request->count, sizeof(*lost));
	REQUIRE(lost != NULL);
	for (size_t i = 0; i < request->count; i++) {
		const struct fake_row *row = fake_ledger_row(fake, &request->jobs[i].recording_sid);
		lost[i] = row->status != LEDGER_RUNNING || row->job.epoch != request->jobs[i].epoch;
	}
	request->arena = lost;
	request->lost = lost;
}

static int stored_object(struct fake_row *row, const struct ledger_request *request)
{
	const struct ledger_object *object = &request->object;
	if (row->job.epoch != request->epoch || (row->status != LEDGER_RUNNING && row->status != LEDGER_STORED))
		return ERR_LEASE_LOST;
	if (row->status == LEDGER_STORED)
		return 0;
	REQUIRE(row->job.key[0] == '\0' || strcmp(row->job.key, object->key) == 0);
	snprintf(row->job.key, sizeof(row->job.key), "%s", object->key);
	snprintf(row->job.url, sizeof(row->job.url), "%s", object->url);
	snprintf(row->job.sha256, sizeof(row->job.sha256), "%s", object->sha256);
	snprintf(row->md5, sizeof(row->md5), "%s", object->md5);
	row->job.bytes = object->bytes;
	if (object->encryption != NULL)
		snprintf(row->job.encryption, sizeof(row->job.encryption), "%s", object->encryption);
	snprintf(row->content_type, sizeof(row->content_type), "%s", object->content_type);
	row->recorded += !row->job.stored; /* after a lost reply it is told again */
	row->job.stored = true;
	row->status = object->keep_lease ? LEDGER_RUNNING : LEDGER_STORED;
	return 0;
}

static int finish(struct fake_ledger *fake, struct fake_row *row, const struct ledger_request *request)
{
	static const enum ledger_status ends[] = {
		[LEDGER_OUTCOME_DONE] = LEDGER_STORED,     [LEDGER_OUTCOME_SKIPPED] = LEDGER_SKIPPED,
		[LEDGER_OUTCOME_ABSENT] = LEDGER_ABSENT,   [LEDGER_OUTCOME_FAILED] = LEDGER_FAILED,
		[LEDGER_OUTCOME_RETRY] = LEDGER_PENDING,   [LEDGER_OUTCOME_WAIT] = LEDGER_PENDING,
		[LEDGER_OUTCOME_RELEASE] = LEDGER_PENDING, [LEDGER_OUTCOME_DEAD] = LEDGER_DEAD,
	};
	const struct ledger_finish *end = &request->finish;
	if (row->job.epoch != request->epoch || row->status != LEDGER_RUNNING)
		return ERR_LEASE_LOST;
	REQUIRE(end->outcome != LEDGER_OUTCOME_DONE || row->job.stored);
	REQUIRE(end->delay_ms >= 0);
	row->status = ends[end->outcome];
	row->outcomes[end->outcome]++;
	row->last_outcome = end->outcome;
	row->last_delay_ms = end->delay_ms;
	row->due_ms = (int64_t)uv_now(fake->loop) + end->delay_ms;
	row->deleted_at_twilio = row->deleted_at_twilio || end->deleted_at_twilio;
	if (end->outcome == LEDGER_OUTCOME_RETRY || end->outcome == LEDGER_OUTCOME_DEAD)
		row->job.attempts++;
	REQUIRE(end->waits_for == NULL || end->outcome == LEDGER_OUTCOME_WAIT);
	snprintf(row->waits_for, sizeof(row->waits_for), "%s", end->waits_for != NULL ? end->waits_for : "");
	snprintf(row->last_error, sizeof(row->last_error), "%s", end->error != NULL ? end->error : "");
	return 0;
}

static int get(struct fake_row *row, struct ledger_request *request)
{
	request->recordings = calloc(1, sizeof(*request->recordings));
	REQUIRE(request->recordings != NULL);
	request->arena = request->recordings;
	request->recording_count = 1;
	request->recordings[0].job = row->job;
	snprintf(request->recordings[0].md5, sizeof(request->recordings[0].md5), "%s", row->md5);
	return 0;
}

static int perform(struct fake_ledger *fake, struct ledger_request *request)
{
	if (request->op == LEDGER_CLAIM) {
		claim(fake, request);
		return 0;
	}
	if (request->op == LEDGER_CLAIM_WAITING) {
		claim_waiting(fake, request);
		return 0;
	}
	if (request->op == LEDGER_RECLAIM) {
		reclaim(fake, request);
		return 0;
	}
	if (request->op == LEDGER_HEARTBEAT) {
		heartbeat(fake, request);
		return 0;
	}
	struct fake_row *row = fake_ledger_row(fake, &request->recording_sid);
	int status;
	switch (request->op) {
	case LEDGER_LOOKUP_CALL:
		request->call_known = row->call_known;
		return 0;
	case LEDGER_CREATE_CALL:
		row->call_known = true;
		fake->calls_created++;
		return 0;
	case LEDGER_STORED_OBJECT:
		status = stored_object(row, request);
		break;
	case LEDGER_FINISH:
		status = finish(fake, row, request);
		break;
	case LEDGER_GET:
		return get(row, request);
	default:
		REQUIRE(false);
	}
	if (status == 0 && fake->changed != NULL)
		fake->changed(fake, row, request);
	return status;
}

static void answer_all(struct soon_item *item)
{
	struct fake_ledger *fake = CONTAINER_OF(item, struct fake_ledger, answer);
	struct list requests;
	struct list *link;
	if (fake->hold)
		return;
	list_move(&requests, &fake->requests);
	while ((link = list_take(&requests)) != NULL) {
		struct ledger_request *request = LIST_ENTRY(link, struct ledger_request, link);
		bool after = false;
		int fault = fake->fault != NULL ? fake->fault(fake, request, &after) : 0;
		int status = fault != 0 && !after ? fault : perform(fake, request);
		if (fault != 0)
			status = fault;
		if (status != 0)
			error_set(&request->error, status, "fake ledger: %s", err_name(status));
		request->done(request, status);
	}
}

static void submit(struct ledger *ledger, struct ledger_request *request)
{
	struct fake_ledger *fake = (struct fake_ledger *)ledger;
	fake->submitted[request->op]++;
	list_init(&request->link);
	list_append(&fake->requests, &request->link);
	soon_add(&fake->soon, &fake->answer);
}

static void release(struct ledger_request *request)
{
	free(request->arena);
	request->arena = NULL;
}

static bool up(const struct ledger *ledger)
{
	return true;
}

static const struct ledger_ops fake_ops = {.kind = "fake", .submit = submit, .up = up, .release = release};

void fake_ledger_go(struct fake_ledger *fake)
{
	soon_add(&fake->soon, &fake->answer);
}

void fake_ledger_init(struct fake_ledger *fake, uv_loop_t *loop, size_t count)
{
	*fake = (struct fake_ledger){.ledger.ops = &fake_ops, .loop = loop, .count = count};
	soon_init(&fake->soon, loop);
	soon_item_init(&fake->answer, answer_all);
	list_init(&fake->requests);
	fake->rows = calloc(count, sizeof(*fake->rows));
	REQUIRE(fake->rows != NULL);
	for (size_t i = 0; i < count; i++) {
		struct fake_row *row = &fake->rows[i];
		row->status = LEDGER_PENDING;
		row->call_known = true;
		row->job = (struct ledger_job){
			.recording_sid = fake_sid("RE", i),
			.account_sid = fake_sid("AC", 1),
			.call_sid = fake_sid("CA", i),
			.received_at_ms = 1650498325000,
			.start_time_ms = 1650498000000,
			.duration_s = 11,
			.channels = 2,
			.source = "DialVerb",
		};
	}
}

void fake_ledger_close(struct fake_ledger *fake, uv_close_cb closed)
{
	REQUIRE(list_empty(&fake->requests));
	free(fake->rows);
	soon_close(&fake->soon, closed);
}
