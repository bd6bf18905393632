/* SPDX-License-Identifier: MIT */
/* STATS: figures over all calls. */
#include "ledger/ledger_impl.h"
#include "ledger/ledger_postgres.h"
#include "ledger/ledger_rules.h"

int ledger_postgres_send_stats(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	request->stats = ledger_arena_alloc(request, 1, sizeof(*request->stats));
	if (request->stats == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for figures");
	pg_query(batch, QUERY_STATS_FOLD);
	pg_query(batch, QUERY_STATS_STATUS);
	pg_query(batch, QUERY_STATS_DAYS);
	pg_query(batch, QUERY_STATS_RATED);
	pg_query(batch, QUERY_STATS_LONGEST);
	return 0;
}

static void read_call(const struct pg_result *result, size_t row, struct ledger_call_row *call)
{
	call->id = pg_i64(result, row, 0, 0);
	pg_text(result, row, 1, call->twilio_sid, sizeof(call->twilio_sid));
	pg_text(result, row, 2, call->from, sizeof(call->from));
	pg_text(result, row, 3, call->to, sizeof(call->to));
	pg_text(result, row, 4, call->status, sizeof(call->status));
	call->duration_s = pg_i64(result, row, 5, -1);
	pg_text(result, row, 6, call->recording_url, sizeof(call->recording_url));
	pg_text(result, row, 7, call->transcript_url, sizeof(call->transcript_url));
	call->rating = (int)pg_i64(result, row, 8, 0);
	pg_text(result, row, 9, call->notes, sizeof(call->notes));
	pg_text(result, row, 10, call->tags, sizeof(call->tags));
	call->created_at_ms = pg_time(result, row, 11);
	call->updated_at_ms = pg_time(result, row, 12);
	call->segments = pg_i64(result, row, 13, 0);
}

static size_t read_calls(const struct pg_result *result, struct ledger_call_row *calls)
{
	size_t count = 0;
	for (; count < pg_rows(result) && count < LEDGER_STATS_CALLS; count++)
		read_call(result, count, &calls[count]);
	return count;
}

int ledger_postgres_receive_stats(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	struct ledger_stats *stats = request->stats;
	(void)count;
	for (size_t row = 0; row < pg_rows(results[1]); row++) {
		char name[16];
		pg_text(results[1], row, 0, name, sizeof(name));
		stats->calls_by_status[call_status_from_name(name)] += pg_i64(results[1], row, 1, 0);
		stats->timed += pg_i64(results[1], row, 2, 0);
		stats->seconds += pg_i64(results[1], row, 3, 0);
	}
	for (size_t row = 0; row < pg_rows(results[2]) && row < LEDGER_STATS_DAYS; row++) {
		pg_text(results[2], row, 0, stats->days[row].date, sizeof(stats->days[row].date));
		stats->days[row].calls = pg_i64(results[2], row, 1, 0);
	}
	stats->top_rated_count = read_calls(results[3], stats->top_rated);
	stats->longest_count = read_calls(results[4], stats->longest);
	return 0;
}
