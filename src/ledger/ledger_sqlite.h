/* SPDX-License-Identifier: MIT */
/*
 * The inside of the SQLite ledger: one function an operation, run on the SQLite thread inside the group's transaction (writing ones). Private to the
 * room. Each returns 0 or an error; one that the database did not cause sets request->error.
 */
#ifndef REELD_LEDGER_LEDGER_SQLITE_H
#define REELD_LEDGER_LEDGER_SQLITE_H

#include "adapters/sqlite_db.h"
#include "ledger/ledger.h"
#include "ledger/migrations.h"

enum ledger_stmt {
#define STMT(NAME, sql) STMT_##NAME,
#include "ledger/ledger_sqlite.def"
#undef STMT
	STMT_COUNT
};
extern const char *const ledger_sqlite_sql[STMT_COUNT];

/* One request being run. */
struct ledger_run {
	struct sqlite_db *db;
	struct ledger_request *request;
	const char *owner;
	int64_t now; /* ms; the same for all of the request */
};

/* What most operations need to know of a recording. Times are -1 when there is none. */
struct ledger_found {
	int64_t id;
	enum ledger_status status;
	int64_t epoch;
	bool completed_known;
	bool stored;
	bool due; /* there is a next attempt; of a running one: `completed` overtook it */
	bool has_error;
	bool deleted_at_twilio;
	struct sid recording_sid;
	struct sid call_sid;
	char url[LEDGER_URL_SIZE];
};

int ledger_sqlite_forward(struct ledger_run *run);
int ledger_sqlite_claim(struct ledger_run *run);
int ledger_sqlite_claim_waiting(struct ledger_run *run);
int ledger_sqlite_heartbeat(struct ledger_run *run);
int ledger_sqlite_reclaim(struct ledger_run *run);
int ledger_sqlite_stored_object(struct ledger_run *run);
int ledger_sqlite_finish(struct ledger_run *run);
int ledger_sqlite_lookup_call(struct ledger_run *run);
int ledger_sqlite_create_call(struct ledger_run *run);
int ledger_sqlite_counts(struct ledger_run *run);
int ledger_sqlite_list(struct ledger_run *run);
int ledger_sqlite_get(struct ledger_run *run);
int ledger_sqlite_retry(struct ledger_run *run);
int ledger_sqlite_drop(struct ledger_run *run);
int ledger_sqlite_deleted_object(struct ledger_run *run);
int ledger_sqlite_lacking(struct ledger_run *run);
int ledger_sqlite_reconcile_begin(struct ledger_run *run);
int ledger_sqlite_reconcile_save(struct ledger_run *run);
int ledger_sqlite_reconcile_load(struct ledger_run *run);
int ledger_sqlite_reconcile_end(struct ledger_run *run);
int ledger_sqlite_stats(struct ledger_run *run);

/* Shared by the files above. */

/* By sid: 0; ERR_NOT_FOUND, ERR_INVALID (no SID) with a message in the request; or the database's error. */
int ledger_sqlite_find(struct ledger_run *run, const struct sid *sid, struct ledger_found *found);
/* The columns of JOB_COLUMNS and RECORDING_COLUMNS of the current row. */
void ledger_sqlite_read_job(struct sqlite_stmt *stmt, struct ledger_job *job);
void ledger_sqlite_read_recording(struct sqlite_stmt *stmt, struct ledger_recording *recording);
/* Reads a job by id, with the lease it has now. */
int ledger_sqlite_load_job(struct ledger_run *run, int64_t id, struct ledger_job *job);
int ledger_sqlite_audit(struct ledger_run *run, int64_t id, const char *what, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The n-th row of a trail that has n - 1: spares looking for the last one. */
int ledger_sqlite_audit_first(struct ledger_run *run, int64_t id, int n, const char *what, const char *detail);
/* The row of an attempt that had to wait: replaces its "leased", and repeats are one row, so that a long outage does not fill the trail. */
int ledger_sqlite_audit_wait(struct ledger_run *run, int64_t id, const char *detail);
/* Appends to calls.notes; nothing when there is no such call. */
int ledger_sqlite_note(struct ledger_run *run, const struct sid *call_sid, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A call event or a fetched call. *changed: whether anything did. */
int ledger_sqlite_put_call(struct ledger_run *run, const struct ledger_call *call, int64_t seen_at_ms, bool *changed);

#endif
