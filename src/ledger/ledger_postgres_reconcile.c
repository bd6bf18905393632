/* SPDX-License-Identifier: MIT */
/* What reconciling asks for: which recordings of a page are lacking, the lease of who walks, how far it came. */
#include "base/check.h"
#include "ledger/ledger_impl.h"
#include "ledger/ledger_postgres.h"

#include <stdio.h>
#include <string.h>

int ledger_postgres_send_lacking(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	uint8_t key[16];
	(void)owner;
	int status = ledger_alloc_standings(request);
	for (size_t i = 0; status == 0 && i < request->count; i++)
		status = ledger_postgres_key(request, &request->sids[i], key);
	if (status != 0)
		return status;
	pg_query(batch, QUERY_STANDINGS);
	pg_bind_array(batch, PG_UUID, request->count);
	for (size_t i = 0; i < request->count; i++) {
		sid_binary(&request->sids[i], key);
		pg_bind_uuid(batch, key);
	}
	pg_query(batch, QUERY_WAITING);
	pg_bind_i64(batch, (int64_t)ledger_page_size(request));
	return 0;
}

int ledger_postgres_receive_lacking(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	for (size_t row = 0; row < pg_rows(results[0]); row++) {
		int64_t ord = pg_i64(results[0], row, 0, 0);
		char name[16];
		enum ledger_status status;
		pg_text(results[0], row, 1, name, sizeof(name));
		REQUIRE(ledger_status_parse(slice_from_cstr(name), &status)); /* the table's CHECK lets nothing else in */
		if (ord >= 1 && (size_t)ord <= request->count)
			request->standings[ord - 1] = ledger_standing_of(status, pg_bool(results[0], row, 2));
	}
	request->waiting = pg_i64(results[1], 0, 0, 0);
	request->working = pg_bool(results[1], 0, 1);
	return 0;
}

int ledger_postgres_send_reconcile_begin(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	pg_query(batch, QUERY_RECONCILE_BEGIN);
	pg_bind_text(batch, owner);
	pg_bind_i64(batch, LEDGER_RECONCILE_LEASE_MS);
	pg_bind_i64(batch, request->reconcile.apart_ms);
	return 0;
}

int ledger_postgres_receive_reconcile_begin(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	struct ledger_reconcile *reconcile = &request->reconcile;
	(void)count;
	if (pg_rows(results[0]) == 0)
		return error_set(&request->error, ERR_CORRUPT, "the row of the table reconcile is missing");
	reconcile->granted = !pg_is_null(results[0], 0, 0);
	reconcile->epoch = pg_i64(results[0], 0, 0, 0);
	pg_text(results[0], 0, 1, reconcile->holder, sizeof(reconcile->holder));
	reconcile->wait_ms = reconcile->granted ? 0 : pg_i64(results[0], 0, 2, 0);
	reconcile->finished_at_ms = pg_time(results[0], 0, 3);
	return 0;
}

int ledger_postgres_send_reconcile_save(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	const struct ledger_reconcile *reconcile = &request->reconcile;
	bool progress = sid_is_set(&reconcile->account_sid);
	(void)owner;
	pg_query(batch, QUERY_RECONCILE_SAVE);
	pg_bind_i64(batch, reconcile->epoch);
	pg_bind_i64(batch, LEDGER_RECONCILE_LEASE_MS);
	pg_bind_text(batch, ledger_reconcile_kind_name(reconcile->kind));
	pg_bind_text(batch, reconcile->account_sid.text);
	pg_bind_time(batch, progress ? reconcile->walked_from_ms : -1);
	pg_bind_time(batch, progress ? reconcile->walked_to_ms : -1);
	return 0;
}

int ledger_postgres_send_reconcile_load(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)owner;
	pg_query(batch, QUERY_RECONCILE_LOAD);
	pg_bind_text(batch, ledger_reconcile_kind_name(request->reconcile.kind));
	pg_bind_text(batch, request->reconcile.account_sid.text);
	pg_bind_i64(batch, LEDGER_RECONCILE_KEEP_MS);
	return 0;
}

int ledger_postgres_receive_reconcile_load(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	bool found = pg_rows(results[0]) > 0;
	(void)count;
	request->reconcile.walked_from_ms = found ? pg_time(results[0], 0, 0) : -1;
	request->reconcile.walked_to_ms = found ? pg_time(results[0], 0, 1) : -1;
	return 0;
}

int ledger_postgres_send_reconcile_end(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	const struct ledger_reconcile *reconcile = &request->reconcile;
	(void)owner;
	pg_query(batch, QUERY_RECONCILE_END);
	pg_bind_i64(batch, reconcile->epoch);
	pg_bind_text(batch, reconcile->finished ? ledger_reconcile_kind_name(reconcile->kind) : NULL);
	pg_bind_bool(batch, reconcile->finished && reconcile->kind == LEDGER_RECONCILE_SCHEDULED);
	return 0;
}

/* A row when the lease was still the caller's. */
int ledger_postgres_receive_reconcile_lease(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)count;
	if (pg_rows(results[0]) == 0)
		return error_set(&request->error, ERR_LEASE_LOST, "another process has taken over reconciling");
	return 0;
}
