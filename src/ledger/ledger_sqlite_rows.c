/* SPDX-License-Identifier: MIT */
/* Rows that several operations read and write: recordings, their audit trail, notes on calls. */
#include "ledger/ledger_sqlite.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum ledger_status read_status(struct sqlite_stmt *stmt, int column)
{
	char text[16];
	enum ledger_status status = LEDGER_PENDING;
	sqlite_column_text(stmt, column, text, sizeof(text));
	REQUIRE(ledger_status_parse(slice_from_cstr(text), &status)); /* the table's CHECK lets nothing else in */
	return status;
}

int ledger_sqlite_find(struct ledger_run *run, const struct sid *sid, struct ledger_found *found)
{
	uint8_t key[16];
	if (!sid_binary(sid, key))
		return error_set(&run->request->error, ERR_INVALID, "not a recording SID: \"%s\"", sid->text);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_FIND);
	sqlite_bind_blob(stmt, key, sizeof(key));
	int row = sqlite_stmt_step(stmt);
	if (row == 1) {
		found->id = sqlite_column_i64(stmt, 0, 0);
		found->status = read_status(stmt, 1);
		found->epoch = sqlite_column_i64(stmt, 2, 0);
		found->completed_known = sqlite_column_i64(stmt, 3, -1) != -1;
		found->stored = sqlite_column_i64(stmt, 4, -1) != -1;
		sqlite_column_text(stmt, 5, found->recording_sid.text, sizeof(found->recording_sid.text));
		sqlite_column_text(stmt, 6, found->call_sid.text, sizeof(found->call_sid.text));
		char error[2];
		sqlite_column_text(stmt, 7, error, sizeof(error));
		found->has_error = error[0] != '\0';
		found->deleted_at_twilio = sqlite_column_i64(stmt, 8, -1) != -1;
		sqlite_column_text(stmt, 9, found->url, sizeof(found->url));
		found->due = sqlite_column_i64(stmt, 10, -1) != -1;
	}
	sqlite_stmt_end(stmt);
	if (row == 0)
		return error_set(&run->request->error, ERR_NOT_FOUND, "no recording %s in the ledger", sid->text);
	return row < 0 ? row : 0;
}

void ledger_sqlite_read_job(struct sqlite_stmt *stmt, struct ledger_job *job)
{
	memset(job, 0, sizeof(*job));
	sqlite_column_text(stmt, 1, job->recording_sid.text, sizeof(job->recording_sid.text));
	sqlite_column_text(stmt, 2, job->account_sid.text, sizeof(job->account_sid.text));
	sqlite_column_text(stmt, 3, job->call_sid.text, sizeof(job->call_sid.text));
	sqlite_column_text(stmt, 4, job->conference_sid.text, sizeof(job->conference_sid.text));
	job->epoch = sqlite_column_i64(stmt, 5, 0);
	job->attempts = (int)sqlite_column_i64(stmt, 6, 0);
	job->received_at_ms = sqlite_column_i64(stmt, 7, 0);
	job->start_time_ms = sqlite_column_i64(stmt, 8, -1);
	job->duration_s = sqlite_column_i64(stmt, 9, -1);
	job->channels = (int)sqlite_column_i64(stmt, 10, 0);
	sqlite_column_text(stmt, 11, job->source, sizeof(job->source));
	sqlite_column_text(stmt, 12, job->key, sizeof(job->key));
	job->stored = sqlite_column_i64(stmt, 13, -1) != -1;
	job->bytes = sqlite_column_i64(stmt, 14, 0);
	sqlite_column_text(stmt, 15, job->sha256, sizeof(job->sha256));
	sqlite_column_text(stmt, 16, job->url, sizeof(job->url));
	sqlite_column_text(stmt, 17, job->encryption, sizeof(job->encryption));
}

void ledger_sqlite_read_recording(struct sqlite_stmt *stmt, struct ledger_recording *recording)
{
	ledger_sqlite_read_job(stmt, &recording->job);
	recording->stored_at_ms = sqlite_column_i64(stmt, 13, -1);
	recording->status = read_status(stmt, 18);
	recording->next_attempt_ms = sqlite_column_i64(stmt, 19, -1);
	sqlite_column_text(stmt, 20, recording->lease_owner, sizeof(recording->lease_owner));
	recording->lease_expires_ms = sqlite_column_i64(stmt, 21, -1);
	sqlite_column_text(stmt, 22, recording->last_error, sizeof(recording->last_error));
	sqlite_column_text(stmt, 23, recording->md5, sizeof(recording->md5));
	sqlite_column_text(stmt, 24, recording->content_type, sizeof(recording->content_type));
	recording->deleted_at_twilio_ms = sqlite_column_i64(stmt, 25, -1);
	recording->error_code = sqlite_column_i64(stmt, 26, -1);
	recording->received_at_ms = sqlite_column_i64(stmt, 27, -1);
}

int ledger_sqlite_load_job(struct ledger_run *run, int64_t id, struct ledger_job *job)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_JOB);
	sqlite_bind_i64(stmt, id);
	int row = sqlite_stmt_step(stmt);
	REQUIRE(row != 0);
	if (row == 1)
		ledger_sqlite_read_job(stmt, job);
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

static int audit_add(struct ledger_run *run, int64_t id, const char *what, const char *detail)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_AUDIT);
	sqlite_bind_i64(stmt, id);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_text(stmt, what);
	sqlite_bind_text(stmt, detail);
	return sqlite_stmt_run(stmt);
}

int ledger_sqlite_audit(struct ledger_run *run, int64_t id, const char *what, const char *format, ...)
{
	char detail[256];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	return audit_add(run, id, what, len < 0 ? NULL : detail);
}

int ledger_sqlite_audit_first(struct ledger_run *run, int64_t id, int n, const char *what, const char *detail)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_AUDIT_FIRST);
	sqlite_bind_i64(stmt, id);
	sqlite_bind_i64(stmt, n);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_text(stmt, what);
	sqlite_bind_text(stmt, detail);
	return sqlite_stmt_run(stmt);
}

int ledger_sqlite_audit_wait(struct ledger_run *run, int64_t id, const char *detail)
{
	struct {
		int64_t n;
		char what[32];
		char detail[256];
	} last[2];
	int count = 0;
	int row;
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_AUDIT_LAST);
	sqlite_bind_i64(stmt, id);
	while ((row = sqlite_stmt_step(stmt)) == 1 && count < 2) {
		last[count].n = sqlite_column_i64(stmt, 0, 0);
		sqlite_column_text(stmt, 1, last[count].what, sizeof(last[count].what));
		sqlite_column_text(stmt, 2, last[count].detail, sizeof(last[count].detail));
		count++;
	}
	sqlite_stmt_end(stmt);
	if (row < 0)
		return row;
	bool again = count == 2 && strcmp(last[0].what, "leased") == 0 && strcmp(last[1].what, "wait") == 0 &&
		     strcmp(last[1].detail, detail) == 0;
	if (!again)
		return audit_add(run, id, "wait", detail);
	stmt = sqlite_stmt_begin(run->db, STMT_AUDIT_REMOVE);
	sqlite_bind_i64(stmt, id);
	sqlite_bind_i64(stmt, last[0].n);
	int status = sqlite_stmt_run(stmt);
	if (status != 0)
		return status;
	stmt = sqlite_stmt_begin(run->db, STMT_AUDIT_AGAIN);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_i64(stmt, id);
	sqlite_bind_i64(stmt, last[1].n);
	return sqlite_stmt_run(stmt);
}

int ledger_sqlite_note(struct ledger_run *run, const struct sid *call_sid, const char *format, ...)
{
	if (!sid_is_set(call_sid))
		return 0;
	char note[512];
	clock_format_iso8601(run->now, note);
	size_t at = strlen(note);
	note[at++] = ' ';
	va_list args;
	va_start(args, format);
	vsnprintf(note + at, sizeof(note) - at, format, args);
	va_end(args);
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_CALL_NOTE);
	sqlite_bind_text(stmt, note);
	sqlite_bind_i64(stmt, run->now);
	sqlite_bind_text(stmt, call_sid->text);
	return sqlite_stmt_run(stmt);
}
