/* SPDX-License-Identifier: MIT */
/* What people ask for: lists, one recording with its trail, counts; retry, drop, deletion from storage. */
#include "base/check.h"
#include "ledger/ledger_impl.h"
#include "ledger/ledger_sqlite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ledger_sqlite_counts(struct ledger_run *run)
{
	int64_t *counts = run->request->counts;
	memset(counts, 0, sizeof(run->request->counts));
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_COUNTS);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1) {
		char name[16];
		enum ledger_status status;
		sqlite_column_text(stmt, 0, name, sizeof(name));
		REQUIRE(ledger_status_parse(slice_from_cstr(name), &status)); /* the table's CHECK lets nothing else in */
		counts[status] += sqlite_column_i64(stmt, 1, 0);
		if (status != LEDGER_STORED)
			counts[LEDGER_STORED] -= counts[status];
	}
	sqlite_stmt_end(stmt);
	if (row < 0)
		return row;
	stmt = sqlite_stmt_begin(run->db, STMT_COUNT_WAITING);
	row = sqlite_stmt_step(stmt);
	if (row == 1)
		counts[LEDGER_PENDING] -= sqlite_column_i64(stmt, 0, 0);
	sqlite_stmt_end(stmt);
	if (row < 0)
		return row;
	stmt = sqlite_stmt_begin(run->db, STMT_OLDEST);
	row = sqlite_stmt_step(stmt);
	run->request->oldest_ms = row == 1 ? sqlite_column_i64(stmt, 0, -1) : -1;
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

/* Stored ones are nearly all: found by going down the ids. The others have an index. */
static size_t list_statement(int status_filter)
{
	if (status_filter == LEDGER_STORED)
		return STMT_LIST_STORED;
	if (status_filter >= 0 && status_filter < LEDGER_STATUS_COUNT)
		return STMT_LIST_STATUS;
	return status_filter == -2 ? STMT_LIST_OPEN : STMT_LIST_ANY;
}

static struct sqlite_stmt *begin_list(struct ledger_run *run, int64_t before, size_t limit)
{
	const struct ledger_request *request = run->request;
	size_t list = list_statement(request->status_filter);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, list);
	sqlite_bind_i64(stmt, before);
	sqlite_bind_text(stmt, request->key_prefix);
	sqlite_bind_i64(stmt, (int64_t)limit);
	if (list == STMT_LIST_STATUS)
		sqlite_bind_text(stmt, ledger_status_name((enum ledger_status)request->status_filter));
	return stmt;
}

/* `key` is used until the statement's end. */
static struct sqlite_stmt *begin_list_of(struct ledger_run *run, enum ledger_of of, int64_t before, size_t limit, uint8_t key[16])
{
	static const size_t statements[] = {[LEDGER_OF_RECORDING] = STMT_LIST_RECORDING,
					    [LEDGER_OF_CALL] = STMT_LIST_CALL,
					    [LEDGER_OF_CONFERENCE] = STMT_LIST_CONFERENCE};
	const struct ledger_request *request = run->request;
	bool one = request->status_filter >= 0 && request->status_filter < LEDGER_STATUS_COUNT;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, statements[of]);
	sqlite_bind_i64(stmt, before);
	sqlite_bind_i64(stmt, (int64_t)limit);
	sqlite_bind_text(stmt, one ? ledger_status_name((enum ledger_status)request->status_filter) : NULL);
	if (of == LEDGER_OF_RECORDING && sid_binary(&request->of, key))
		sqlite_bind_blob(stmt, key, 16);
	else
		sqlite_bind_text(stmt, request->of.text);
	return stmt;
}

int ledger_sqlite_list(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	size_t limit = ledger_page_size(request);
	int64_t before = INT64_MAX;
	int status = ledger_parse_cursor(request, &before);
	if (status != 0)
		return status;
	enum ledger_of of = ledger_list_of(request);
	if (of == LEDGER_OF_UNKNOWN)
		return request->error.code;
	request->recordings = ledger_arena_alloc(request, limit, sizeof(*request->recordings));
	if (request->recordings == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu rows", limit);
	uint8_t key[16];
	struct sqlite_stmt *stmt = of == LEDGER_OF_ALL ? begin_list(run, before, limit)
						       : begin_list_of(run, of, before, limit, key);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1 && request->recording_count < limit) {
		ledger_sqlite_read_recording(stmt, &request->recordings[request->recording_count++]);
		if (request->recording_count == limit)
			snprintf(request->next_cursor, sizeof(request->next_cursor), "%" PRId64, sqlite_column_i64(stmt, 0, 0));
	}
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

static int read_trail(struct ledger_run *run, int64_t id)
{
	struct ledger_request *request = run->request;
	request->audit = ledger_arena_alloc(request, LEDGER_AUDIT_LIMIT, sizeof(*request->audit));
	if (request->audit == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for the audit trail");
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_TRAIL);
	sqlite_bind_i64(stmt, id);
	sqlite_bind_i64(stmt, LEDGER_AUDIT_LIMIT);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1) {
		struct ledger_audit *audit = &request->audit[request->audit_count++];
		audit->at_ms = sqlite_column_i64(stmt, 0, 0);
		sqlite_column_text(stmt, 1, audit->what, sizeof(audit->what));
		sqlite_column_text(stmt, 2, audit->detail, sizeof(audit->detail));
	}
	sqlite_stmt_end(stmt);
	return row;
}

int ledger_sqlite_get(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	uint8_t key[16];
	if (!sid_binary(&request->recording_sid, key))
		return error_set(&request->error, ERR_INVALID, "not a recording SID: \"%s\"", request->recording_sid.text);
	request->recordings = ledger_arena_alloc(request, 1, sizeof(*request->recordings));
	if (request->recordings == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for a row");
	int64_t id = 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_GET);
	sqlite_bind_blob(stmt, key, sizeof(key));
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		id = sqlite_column_i64(stmt, 0, 0);
		ledger_sqlite_read_recording(stmt, request->recordings);
		request->recording_count = 1;
	}
	sqlite_stmt_end(stmt);
	if (row == 0)
		return error_set(&request->error, ERR_NOT_FOUND, "no recording %s in the ledger", request->recording_sid.text);
	return row < 0 ? row : read_trail(run, id);
}

static int retry_one(struct ledger_run *run, int64_t id)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RETRY);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, id);
	int status = sqlite_stmt_run(stmt);
	run->request->changed++;
	return status == 0 ? ledger_sqlite_audit(run, id, "requeued", "by %s", ledger_by(run->request)) : status;
}

static int retry_dead(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	size_t limit = ledger_page_size(request);
	int64_t after = 0;
	int status = ledger_parse_cursor(request, &after);
	if (status != 0)
		return status;
	int64_t *ids = ledger_arena_alloc(request, limit, sizeof(*ids));
	if (ids == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu rows", limit);
	size_t count = 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_DEAD);
	sqlite_bind_i64(stmt, after);
	sqlite_bind_i64(stmt, (int64_t)limit);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1)
		ids[count++] = sqlite_column_i64(stmt, 0, 0);
	sqlite_stmt_end(stmt);
	for (size_t i = 0; row == 0 && i < count; i++)
		row = retry_one(run, ids[i]);
	if (row == 0 && count == limit)
		snprintf(request->next_cursor, sizeof(request->next_cursor), "%" PRId64, ids[count - 1]);
	return row;
}

int ledger_sqlite_retry(struct ledger_run *run)
{
	if (run->request->all_dead)
		return retry_dead(run);
	struct ledger_found found;
	int status = ledger_sqlite_find(run, &run->request->recording_sid, &found);
	if (status != 0)
		return status;
	switch (found.status) {
	case LEDGER_RUNNING:
	case LEDGER_DELETED:
		return 0;
	case LEDGER_STORED:
		/* Only a purge at Twilio that failed is left to do. */
		return found.has_error && !found.deleted_at_twilio ? retry_one(run, found.id) : 0;
	case LEDGER_PENDING:
		/* Before Twilio says completed there is nothing to fetch. */
		return found.due ? retry_one(run, found.id) : 0;
	default:
		return retry_one(run, found.id);
	}
}

int ledger_sqlite_drop(struct ledger_run *run)
{
	struct ledger_found found;
	int status = ledger_sqlite_find(run, &run->request->recording_sid, &found);
	if (status != 0)
		return status;
	/* What is stored is not forgotten, also while its purge is still running. */
	if (found.stored || found.status == LEDGER_SKIPPED || found.status == LEDGER_DELETED)
		return 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_DROP);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, found.id);
	status = sqlite_stmt_run(stmt);
	run->request->changed = 1;
	return status == 0 ? ledger_sqlite_audit(run, found.id, "dropped", "was %s", ledger_status_name(found.status)) : status;
}

int ledger_sqlite_deleted_object(struct ledger_run *run)
{
	struct ledger_found found;
	int status = ledger_sqlite_find(run, &run->request->recording_sid, &found);
	if (status != 0 || found.status != LEDGER_STORED)
		return status;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_DELETED);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, found.id);
	status = sqlite_stmt_run(stmt);
	if (status == 0 && sid_is_set(&found.call_sid) && found.url[0] != '\0') {
		stmt = sqlite_stmt_begin(run->db, STMT_CALL_UNSTORED);
		sqlite_bind_i64(stmt, run->now);
		sqlite_bind_text(stmt, found.call_sid.text);
		sqlite_bind_text(stmt, found.url);
		status = sqlite_stmt_run(stmt);
	}
	run->request->changed = 1;
	return status == 0 ? ledger_sqlite_audit(run, found.id, "deleted", "from storage, by %s", ledger_by(run->request))
			   : status;
}
