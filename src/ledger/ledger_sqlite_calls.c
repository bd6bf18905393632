/* SPDX-License-Identifier: MIT */
/* Calls: events about them, looking one up, creating one that was fetched from Twilio. */
#include "ledger/ledger_rules.h"
#include "ledger/ledger_sqlite.h"

#include <string.h>

struct call_row {
	int64_t id;
	enum call_status status;
	int64_t duration_s; /* -1: none */
	bool lacks_from;
	bool lacks_to;
};

/* 1: found, 0: none, or an error. */
static int find_call(struct ledger_run *run, const struct sid *sid, struct call_row *call)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_CALL_FIND);
	sqlite_bind_text(stmt, sid->text);
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		char status[16];
		call->id = sqlite_column_i64(stmt, 0, 0);
		sqlite_column_text(stmt, 1, status, sizeof(status));
		call->status = call_status_from_name(status);
		call->duration_s = sqlite_column_i64(stmt, 2, -1);
		call->lacks_from = sqlite_column_i64(stmt, 3, 0) != 0;
		call->lacks_to = sqlite_column_i64(stmt, 4, 0) != 0;
	}
	sqlite_stmt_end(stmt);
	return row;
}

static int add_call(struct ledger_run *run, const struct ledger_call *call, enum call_status status, int64_t seen_at_ms)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_CALL_ADD);
	sqlite_bind_text(stmt, call->call_sid.text);
	sqlite_bind_text(stmt, call->from);
	sqlite_bind_text(stmt, call->to);
	sqlite_bind_text(stmt, call_status_name(status));
	sqlite_bind_i64_or_null(stmt, call->duration_s, -1);
	sqlite_bind_i64(stmt, seen_at_ms);
	sqlite_bind_i64(stmt, run->now);
	return sqlite_stmt_run(stmt);
}

int ledger_sqlite_put_call(struct ledger_run *run, const struct ledger_call *call, int64_t seen_at_ms, bool *changed)
{
	if (!sid_is_set(&call->call_sid))
		return error_set(&run->request->error, ERR_INVALID, "a call without a CallSid");
	enum call_status status = call_status_from_twilio(call->status);
	struct call_row row = {0};
	int found = find_call(run, &call->call_sid, &row);
	*changed = true;
	if (found < 0)
		return found;
	if (found == 0)
		return add_call(run, call, status, seen_at_ms);

	bool advances = call_status_advances(row.status, status);
	bool taken = row.duration_s == -1 || ledger_rule_duration_wins(row.status, status);
	int64_t duration = taken && call->duration_s != row.duration_s ? call->duration_s : -1;
	*changed = advances || duration != -1 || (row.lacks_from && call->from[0] != '\0') ||
		   (row.lacks_to && call->to[0] != '\0');
	if (!*changed)
		return 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_CALL_UPDATE);
	sqlite_bind_text(stmt, call_status_name(advances ? status : row.status));
	sqlite_bind_i64_or_null(stmt, duration, -1);
	sqlite_bind_text(stmt, call->from);
	sqlite_bind_text(stmt, call->to);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, row.id);
	return sqlite_stmt_run(stmt);
}

int ledger_sqlite_lookup_call(struct ledger_run *run)
{
	struct call_row row = {0};
	int found = find_call(run, &run->request->call_sid, &row);
	run->request->call_known = found == 1;
	return found < 0 ? found : 0;
}

int ledger_sqlite_create_call(struct ledger_run *run)
{
	bool changed;
	return ledger_sqlite_put_call(run, &run->request->call, run->now, &changed);
}
