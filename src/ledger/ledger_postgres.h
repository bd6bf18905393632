/* SPDX-License-Identifier: MIT */
/*
 * The inside of the Postgres ledger. Each operation has two halves: one writes its queries, one reads what they gave, after the commit. Private to the room.
 * Both return 0 or an error, and set request->error for one of their own. The first may come again: it begins anew.
 */
#ifndef REELD_LEDGER_LEDGER_POSTGRES_H
#define REELD_LEDGER_LEDGER_POSTGRES_H

#include "adapters/pg.h"
#include "base/buffer.h"
#include "ledger/ledger.h"
#include "ledger/migrations.h"

enum ledger_query {
#define QUERY(NAME, sql) QUERY_##NAME,
#include "ledger/ledger_postgres.def"
#undef QUERY
	QUERY_COUNT
};
extern const char *const ledger_postgres_sql[QUERY_COUNT];

typedef int ledger_postgres_send(struct ledger_request *request, const char *owner, struct pg_batch *batch);
typedef int ledger_postgres_receive(struct ledger_request *request, const struct pg_result *const *results, size_t count);

ledger_postgres_send ledger_postgres_send_forward, ledger_postgres_send_claim, ledger_postgres_send_claim_waiting,
	ledger_postgres_send_heartbeat, ledger_postgres_send_reclaim, ledger_postgres_send_lookup_call,
	ledger_postgres_send_create_call, ledger_postgres_send_stored_object, ledger_postgres_send_finish,
	ledger_postgres_send_counts, ledger_postgres_send_list, ledger_postgres_send_get, ledger_postgres_send_retry,
	ledger_postgres_send_drop, ledger_postgres_send_deleted_object, ledger_postgres_send_lacking,
	ledger_postgres_send_reconcile_begin, ledger_postgres_send_reconcile_save, ledger_postgres_send_reconcile_load,
	ledger_postgres_send_reconcile_end, ledger_postgres_send_stats;
ledger_postgres_receive ledger_postgres_receive_forward, ledger_postgres_receive_claim, ledger_postgres_receive_heartbeat,
	ledger_postgres_receive_reclaim, ledger_postgres_receive_lookup_call, ledger_postgres_receive_stored_object,
	ledger_postgres_receive_finish, ledger_postgres_receive_counts, ledger_postgres_receive_list, ledger_postgres_receive_get,
	ledger_postgres_receive_changed, ledger_postgres_receive_retry, ledger_postgres_receive_lacking,
	ledger_postgres_receive_reconcile_begin, ledger_postgres_receive_reconcile_load, ledger_postgres_receive_reconcile_lease,
	ledger_postgres_receive_stats;

/* Shared by the files above. */

/* The columns of JOB_COLUMNS from column 1 on; of RECORDING_COLUMNS. */
void ledger_postgres_read_job(const struct pg_result *result, size_t row, struct ledger_job *job);
void ledger_postgres_read_recording(const struct pg_result *result, size_t row, struct ledger_recording *recording);
/* The SID's key as a parameter. 0, or ERR_INVALID with words. Before any query is begun. */
int ledger_postgres_key(struct ledger_request *request, const struct sid *sid, uint8_t key[16]);
/* One parameter each of PUT_CALLS; `count` calls, the n-th from `call`. seen_at_ms -1: now. */
struct ledger_seen_call {
	const struct sid *call_sid;
	const char *from;
	const char *to;
	const char *status; /* Twilio's word */
	int64_t duration_s;
	int64_t seen_at_ms;
};
void ledger_postgres_put_calls(struct pg_batch *batch, const struct ledger_seen_call *calls, size_t count);

/* ---- greeting: the session's settings, and the schema ---- */

struct ledger_greeting {
	const struct migration_set *set;
	bool migrate;
	bool session;   /* settings of the session are allowed */
	size_t missing; /* migrations that are being applied */
	size_t applied;
	struct buffer sql;
};

void ledger_greeting_init(struct ledger_greeting *greeting, const struct migration_set *set, bool migrate, bool session);
void ledger_greeting_free(struct ledger_greeting *greeting);
/* pg_ops.greet */
int ledger_greeting_step(struct ledger_greeting *greeting, unsigned step, const struct pg_result *previous, const char **sql,
			 struct error *error);

#endif
