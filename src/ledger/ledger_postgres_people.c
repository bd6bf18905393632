/* SPDX-License-Identifier: MIT */
/* What people ask for: lists, one recording with its trail, counts; retry, drop, deletion from storage. And how rows are read. */
#include "ledger/ledger_impl.h"
#include "ledger/ledger_postgres.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- rows ---- */

static enum ledger_status read_status(const struct pg_result *result, size_t row, int column)
{
	char text[16];
	enum ledger_status status = LEDGER_PENDING;
	pg_text(result, row, column, text, sizeof(text));
	REQUIRE(ledger_status_parse(slice_from_cstr(text), &status)); /* the table's CHECK lets nothing else in */
	return status;
}

void ledger_postgres_read_job(const struct pg_result *result, size_t row, struct ledger_job *job)
{
	memset(job, 0, sizeof(*job));
	pg_text(result, row, 1, job->recording_sid.text, sizeof(job->recording_sid.text));
	pg_text(result, row, 2, job->account_sid.text, sizeof(job->account_sid.text));
	pg_text(result, row, 3, job->call_sid.text, sizeof(job->call_sid.text));
	pg_text(result, row, 4, job->conference_sid.text, sizeof(job->conference_sid.text));
	job->epoch = pg_i64(result, row, 5, 0);
	job->attempts = (int)pg_i64(result, row, 6, 0);
	job->received_at_ms = pg_time(result, row, 7);
	job->start_time_ms = pg_time(result, row, 8);
	job->duration_s = pg_i64(result, row, 9, -1);
	job->channels = (int)pg_i64(result, row, 10, 0);
	pg_text(result, row, 11, job->source, sizeof(job->source));
	pg_text(result, row, 12, job->key, sizeof(job->key));
	job->stored = !pg_is_null(result, row, 13);
	job->bytes = pg_i64(result, row, 14, 0);
	pg_text(result, row, 15, job->sha256, sizeof(job->sha256));
	pg_text(result, row, 16, job->url, sizeof(job->url));
	pg_text(result, row, 17, job->encryption, sizeof(job->encryption));
}

void ledger_postgres_read_recording(const struct pg_result *result, size_t row, struct ledger_recording *recording)
{
	ledger_postgres_read_job(result, row, &recording->job);
	recording->stored_at_ms = pg_time(result, row, 13);
	recording->status = read_status(result, row, 18);
	recording->next_attempt_ms = pg_time(result, row, 19);
	pg_text(result, row, 20, recording->lease_owner, sizeof(recording->lease_owner));
	recording->lease_expires_ms = pg_time(result, row, 21);
	pg_text(result, row, 22, recording->last_error, sizeof(recording->last_error));
	pg_text(result, row, 23, recording->md5, sizeof(recording->md5));
	pg_text(result, row, 24, recording->content_type, sizeof(recording->content_type));
	recording->deleted_at_twilio_ms = pg_time(result, row, 25);
	recording->error_code = pg_i64(result, row, 26, -1);
	recording->received_at_ms = pg_time(result, row, 27);
}

/* ---- counts ---- */

int ledger_postgres_send_counts(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	(void)request;
	pg_query(batch, QUERY_COUNTS);
	pg_query(batch, QUERY_OLDEST);
	return 0;
}

int ledger_postgres_receive_counts(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	memset(request->counts, 0, sizeof(request->counts));
	for (size_t row = 0; row < pg_rows(results[0]); row++)
		request->counts[read_status(results[0], row, 0)] = pg_i64(results[0], row, 1, 0);
	request->oldest_ms = pg_rows(results[1]) > 0 ? pg_time(results[1], 0, 0) : -1;
	return 0;
}

/* ---- lists ---- */

static void send_list_of(const struct ledger_request *request, enum ledger_of of, int64_t before, struct pg_batch *batch)
{
	static const enum ledger_query queries[] = {[LEDGER_OF_RECORDING] = QUERY_LIST_RECORDING,
						    [LEDGER_OF_CALL] = QUERY_LIST_CALL,
						    [LEDGER_OF_CONFERENCE] = QUERY_LIST_CONFERENCE};
	bool one = request->status_filter >= 0 && request->status_filter < LEDGER_STATUS_COUNT;
	uint8_t key[16];
	pg_query(batch, queries[of]);
	pg_bind_i64(batch, before);
	pg_bind_i64(batch, (int64_t)ledger_page_size(request));
	pg_bind_text(batch, one ? ledger_status_name((enum ledger_status)request->status_filter) : NULL);
	if (of == LEDGER_OF_RECORDING && sid_binary(&request->of, key))
		pg_bind_uuid(batch, key);
	else
		pg_bind_text(batch, request->of.text);
}

int ledger_postgres_send_list(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	size_t limit = ledger_page_size(request);
	int64_t before = INT64_MAX;
	(void)owner;
	int status = ledger_parse_cursor(request, &before);
	if (status != 0)
		return status;
	enum ledger_of of = ledger_list_of(request);
	if (of == LEDGER_OF_UNKNOWN)
		return request->error.code;
	request->recordings = ledger_arena_alloc(request, limit, sizeof(*request->recordings));
	if (request->recordings == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu rows", limit);
	if (of != LEDGER_OF_ALL) {
		send_list_of(request, of, before, batch);
		return 0;
	}
	bool one = request->status_filter >= 0 && request->status_filter < LEDGER_STATUS_COUNT;
	pg_query(batch, one ? QUERY_LIST_STATUS : request->status_filter == -2 ? QUERY_LIST_OPEN : QUERY_LIST_ANY);
	pg_bind_i64(batch, before);
	pg_bind_text(batch, request->key_prefix);
	pg_bind_i64(batch, (int64_t)limit);
	if (one)
		pg_bind_text(batch, ledger_status_name((enum ledger_status)request->status_filter));
	return 0;
}

int ledger_postgres_receive_list(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	size_t limit = ledger_page_size(request);
	size_t rows = pg_rows(results[0]);
	(void)count;
	for (size_t row = 0; row < rows && row < limit; row++)
		ledger_postgres_read_recording(results[0], row, &request->recordings[request->recording_count++]);
	if (rows == limit)
		snprintf(request->next_cursor, sizeof(request->next_cursor), "%" PRId64, pg_i64(results[0], rows - 1, 0, 0));
	return 0;
}

int ledger_postgres_send_get(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	uint8_t key[16];
	(void)owner;
	int status = ledger_postgres_key(request, &request->recording_sid, key);
	if (status != 0)
		return status;
	request->recordings = ledger_arena_alloc(request, 1, sizeof(*request->recordings));
	request->audit = ledger_arena_alloc(request, LEDGER_AUDIT_LIMIT, sizeof(*request->audit));
	if (request->recordings == NULL || request->audit == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for a row and its audit trail");
	pg_query(batch, QUERY_GET);
	pg_bind_uuid(batch, key);
	pg_query(batch, QUERY_TRAIL);
	pg_bind_uuid(batch, key);
	pg_bind_i64(batch, LEDGER_AUDIT_LIMIT);
	return 0;
}

int ledger_postgres_receive_get(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	if (pg_rows(results[0]) == 0)
		return error_set(&request->error, ERR_NOT_FOUND, "no recording %s in the ledger", request->recording_sid.text);
	ledger_postgres_read_recording(results[0], 0, request->recordings);
	request->recording_count = 1;
	for (size_t row = 0; row < pg_rows(results[1]) && row < LEDGER_AUDIT_LIMIT; row++) {
		struct ledger_audit *audit = &request->audit[request->audit_count++];
		audit->at_ms = pg_time(results[1], row, 0);
		pg_text(results[1], row, 1, audit->what, sizeof(audit->what));
		pg_text(results[1], row, 2, audit->detail, sizeof(audit->detail));
	}
	return 0;
}

/* ---- changes ---- */

static int send_change(struct ledger_request *request, struct pg_batch *batch, enum ledger_query query)
{
	uint8_t key[16];
	int status = ledger_postgres_key(request, &request->recording_sid, key);
	if (status != 0)
		return status;
	pg_query(batch, query);
	pg_bind_uuid(batch, key);
	return 0;
}

/* One whose trail says who asked. */
static int send_signed_change(struct ledger_request *request, struct pg_batch *batch, enum ledger_query query)
{
	int status = send_change(request, batch, query);
	if (status == 0)
		pg_bind_text(batch, ledger_by(request));
	return status;
}

int ledger_postgres_send_retry(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	if (!request->all_dead)
		return send_signed_change(request, batch, QUERY_RETRY);
	int64_t after = 0;
	int status = ledger_parse_cursor(request, &after);
	if (status != 0)
		return status;
	pg_query(batch, QUERY_RETRY_DEAD);
	pg_bind_i64(batch, (int64_t)ledger_page_size(request));
	pg_bind_text(batch, ledger_by(request));
	pg_bind_i64(batch, after);
	return 0;
}

int ledger_postgres_receive_retry(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	if (!request->all_dead)
		return ledger_postgres_receive_changed(request, results, count);
	request->changed = (size_t)pg_i64(results[0], 0, 0, 0);
	if (request->changed == ledger_page_size(request))
		snprintf(request->next_cursor, sizeof(request->next_cursor), "%" PRId64, pg_i64(results[0], 0, 1, 0));
	return 0;
}

int ledger_postgres_send_drop(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	return send_change(request, batch, QUERY_DROP);
}

int ledger_postgres_send_deleted_object(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	return send_signed_change(request, batch, QUERY_DELETED);
}

/* A row for each recording that was found: whether it was changed. */
int ledger_postgres_receive_changed(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	if (pg_rows(results[0]) == 0)
		return error_set(&request->error, ERR_NOT_FOUND, "no recording %s in the ledger", request->recording_sid.text);
	for (size_t row = 0; row < pg_rows(results[0]); row++)
		request->changed += pg_bool(results[0], row, 0);
	return 0;
}
