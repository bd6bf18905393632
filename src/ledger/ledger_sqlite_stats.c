/* SPDX-License-Identifier: MIT */
/* STATS: figures over all calls. */
#include "ledger/ledger_impl.h"
#include "ledger/ledger_rules.h"
#include "ledger/ledger_sqlite.h"

#define DAY_MS INT64_C(86400000)

static int read_statuses(struct ledger_run *run, struct ledger_stats *stats)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_STATS_STATUS);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1) {
		char name[16];
		sqlite_column_text(stmt, 0, name, sizeof(name));
		stats->calls_by_status[call_status_from_name(name)] += sqlite_column_i64(stmt, 1, 0);
		stats->timed += sqlite_column_i64(stmt, 2, 0);
		stats->seconds += sqlite_column_i64(stmt, 3, 0);
	}
	sqlite_stmt_end(stmt);
	return row;
}

static int read_days(struct ledger_run *run, struct ledger_stats *stats)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_STATS_DAYS);
	sqlite_bind_i64(stmt, run->now / DAY_MS);
	int row;
	for (size_t i = 0; (row = sqlite_stmt_step(stmt)) == 1 && i < LEDGER_STATS_DAYS; i++) {
		sqlite_column_text(stmt, 0, stats->days[i].date, sizeof(stats->days[i].date));
		stats->days[i].calls = sqlite_column_i64(stmt, 1, 0);
	}
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

static void read_call(struct sqlite_stmt *stmt, struct ledger_call_row *call)
{
	call->id = sqlite_column_i64(stmt, 0, 0);
	sqlite_column_text(stmt, 1, call->twilio_sid, sizeof(call->twilio_sid));
	sqlite_column_text(stmt, 2, call->from, sizeof(call->from));
	sqlite_column_text(stmt, 3, call->to, sizeof(call->to));
	sqlite_column_text(stmt, 4, call->status, sizeof(call->status));
	call->duration_s = sqlite_column_i64(stmt, 5, -1);
	sqlite_column_text(stmt, 6, call->recording_url, sizeof(call->recording_url));
	sqlite_column_text(stmt, 7, call->transcript_url, sizeof(call->transcript_url));
	call->rating = (int)sqlite_column_i64(stmt, 8, 0);
	sqlite_column_text(stmt, 9, call->notes, sizeof(call->notes));
	sqlite_column_text(stmt, 10, call->tags, sizeof(call->tags));
	call->created_at_ms = sqlite_column_i64(stmt, 11, 0);
	call->updated_at_ms = sqlite_column_i64(stmt, 12, 0);
	call->segments = sqlite_column_i64(stmt, 13, 0);
}

static int read_calls(struct ledger_run *run, size_t statement, struct ledger_call_row *calls, size_t *count)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, statement);
	int row;
	while ((row = sqlite_stmt_step(stmt)) == 1 && *count < LEDGER_STATS_CALLS)
		read_call(stmt, &calls[(*count)++]);
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

int ledger_sqlite_stats(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	struct ledger_stats *stats = ledger_arena_alloc(request, 1, sizeof(*stats));
	if (stats == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for figures");
	request->stats = stats;
	int status = read_statuses(run, stats);
	if (status == 0)
		status = read_days(run, stats);
	if (status == 0)
		status = read_calls(run, STMT_STATS_RATED, stats->top_rated, &stats->top_rated_count);
	if (status == 0)
		status = read_calls(run, STMT_STATS_LONGEST, stats->longest, &stats->longest_count);
	return status;
}
