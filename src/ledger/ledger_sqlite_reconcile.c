/* SPDX-License-Identifier: MIT */
/* What reconciling asks for: which recordings of a page are lacking, the lease of who walks, how far it came. */
#include "base/check.h"
#include "ledger/ledger_impl.h"
#include "ledger/ledger_sqlite.h"

#include <stdio.h>
#include <string.h>

static int find_standing(struct ledger_run *run, size_t i)
{
	uint8_t key[16];
	char name[16];
	enum ledger_status status;
	if (!sid_binary(&run->request->sids[i], key))
		return error_set(&run->request->error, ERR_INVALID, "not a recording SID: \"%s\"", run->request->sids[i].text);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_STANDING);
	sqlite_bind_blob(stmt, key, sizeof(key));
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		sqlite_column_text(stmt, 0, name, sizeof(name));
		REQUIRE(ledger_status_parse(slice_from_cstr(name), &status)); /* the table's CHECK lets nothing else in */
		run->request->standings[i] = ledger_standing_of(status, sqlite_column_i64(stmt, 1, -1) != -1);
	}
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

int ledger_sqlite_lacking(struct ledger_run *run)
{
	struct ledger_request *request = run->request;
	int status = ledger_alloc_standings(request);
	for (size_t i = 0; status == 0 && i < request->count; i++)
		status = find_standing(run, i);
	if (status != 0)
		return status;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_WAITING);
	sqlite_bind_i64(stmt, (int64_t)ledger_page_size(request));
	int row = sqlite_stmt_step(stmt);
	if (row == 1)
		request->waiting = sqlite_column_i64(stmt, 0, 0);
	sqlite_stmt_end(stmt);
	if (row < 0)
		return row;
	stmt = sqlite_stmt_begin(run->db, STMT_WORKING);
	sqlite_bind_i64(stmt, run->now);
	row = sqlite_stmt_step(stmt);
	request->working = row == 1;
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

int ledger_sqlite_reconcile_begin(struct ledger_run *run)
{
	struct ledger_reconcile *reconcile = &run->request->reconcile;
	char holder[LEDGER_OWNER_SIZE] = "";
	int64_t expires_ms = -1;
	reconcile->granted = false;
	reconcile->holder[0] = '\0';
	reconcile->wait_ms = 0;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RECONCILE_FIND);
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		sqlite_column_text(stmt, 0, holder, sizeof(holder));
		reconcile->epoch = sqlite_column_i64(stmt, 1, 0) + 1;
		expires_ms = sqlite_column_i64(stmt, 2, -1);
		reconcile->finished_at_ms = sqlite_column_i64(stmt, 3, -1);
	}
	sqlite_stmt_end(stmt);
	if (row < 0)
		return row;
	REQUIRE(row == 1); /* the migration has put it there */
	int64_t due_ms = reconcile->finished_at_ms == -1 ? run->now : reconcile->finished_at_ms + reconcile->apart_ms;
	if (expires_ms > run->now)
		snprintf(reconcile->holder, sizeof(reconcile->holder), "%s", holder);
	if (expires_ms > run->now || due_ms > run->now) {
		reconcile->wait_ms = (expires_ms > due_ms ? expires_ms : due_ms) - run->now;
		return 0;
	}
	reconcile->granted = true;
	stmt = sqlite_stmt_begin(run->db, STMT_RECONCILE_LEASE);
	sqlite_bind_text(stmt, run->owner);
	sqlite_bind_i64(stmt, reconcile->epoch);
	sqlite_bind_i64(stmt, run->now + LEDGER_RECONCILE_LEASE_MS);
	return sqlite_stmt_run(stmt);
}

static int lease_lost(struct ledger_run *run)
{
	return error_set(&run->request->error, ERR_LEASE_LOST, "another process has taken over reconciling");
}

int ledger_sqlite_reconcile_save(struct ledger_run *run)
{
	const struct ledger_reconcile *reconcile = &run->request->reconcile;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RECONCILE_RENEW);
	sqlite_bind_i64(stmt, run->now + LEDGER_RECONCILE_LEASE_MS);
	sqlite_bind_i64(stmt, reconcile->epoch);
	int status = sqlite_stmt_run(stmt);
	if (status == 0 && sqlite_db_changes(run->db) == 0)
		return lease_lost(run);
	if (status != 0 || !sid_is_set(&reconcile->account_sid))
		return status;
	stmt = sqlite_stmt_begin(run->db, STMT_PROGRESS_PUT);
	sqlite_bind_text(stmt, ledger_reconcile_kind_name(reconcile->kind));
	sqlite_bind_text(stmt, reconcile->account_sid.text);
	sqlite_bind_i64(stmt, reconcile->walked_from_ms);
	sqlite_bind_i64(stmt, reconcile->walked_to_ms);
	sqlite_bind_i64(stmt, run->now);
	return sqlite_stmt_run(stmt);
}

int ledger_sqlite_reconcile_load(struct ledger_run *run)
{
	struct ledger_reconcile *reconcile = &run->request->reconcile;
	reconcile->walked_from_ms = -1;
	reconcile->walked_to_ms = -1;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_PROGRESS_GET);
	sqlite_bind_text(stmt, ledger_reconcile_kind_name(reconcile->kind));
	sqlite_bind_text(stmt, reconcile->account_sid.text);
	sqlite_bind_i64(stmt, run->now - LEDGER_RECONCILE_KEEP_MS);
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		reconcile->walked_from_ms = sqlite_column_i64(stmt, 0, -1);
		reconcile->walked_to_ms = sqlite_column_i64(stmt, 1, -1);
	}
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

int ledger_sqlite_reconcile_end(struct ledger_run *run)
{
	const struct ledger_reconcile *reconcile = &run->request->reconcile;
	bool scheduled = reconcile->kind == LEDGER_RECONCILE_SCHEDULED;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_RECONCILE_RELEASE);
	sqlite_bind_i64_or_null(stmt, reconcile->finished && scheduled ? run->now : -1, -1);
	sqlite_bind_i64(stmt, reconcile->epoch);
	int status = sqlite_stmt_run(stmt);
	if (status == 0 && sqlite_db_changes(run->db) == 0)
		return lease_lost(run);
	if (status != 0 || !reconcile->finished)
		return status;
	stmt = sqlite_stmt_begin(run->db, STMT_PROGRESS_END);
	sqlite_bind_text(stmt, ledger_reconcile_kind_name(reconcile->kind));
	return sqlite_stmt_run(stmt);
}
