/* SPDX-License-Identifier: MIT */
/*
 * What is said on each new connection: settings, then a look at schema_migrations. What is missing there is applied in one transaction that holds an advisory
 * lock, so that of several replicas starting at once one does it and the others find it done.
 *
 * Step 0 the session; 1 what is applied; 2 nothing, or the lock and what is applied under it; 3 what is missing; 4 nothing.
 */
#include "ledger/ledger_postgres.h"

#include <string.h>

/* Any number that other programs on the same database are not likely to use: "reeld" in ASCII. */
#define LOCK "491260046436"
#define SQL_MAX (4U << 20)

/*
 * Deadlines a little below ours, so that the server ends what we give up; plans that were made while the tables were empty must not last, and every statement
 * finds its rows by an index; the journal moves on when a commit was answered, so it has to be durable.
 */
#define SESSION                                                                                                      \
	"SET statement_timeout = '14s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '30s'; " \
	"SET enable_seqscan = off; SET jit = off; "                                                                  \
	"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; "
#define STATE "SELECT current_setting('transaction_read_only') = 'on', to_regclass('schema_migrations') IS NOT NULL"
#define APPLIED "SELECT number, sha256 FROM schema_migrations ORDER BY number"
#define NONE_APPLIED "SELECT 0, '' WHERE false"
#define BEGIN                                                                                                                 \
	"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT "          \
	"pg_advisory_xact_lock(" LOCK "); "                                                                                   \
	"CREATE TABLE IF NOT EXISTS schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, " \
	"applied_at timestamptz NOT NULL DEFAULT now()); "

void ledger_greeting_init(struct ledger_greeting *greeting, const struct migration_set *set, bool migrate, bool session)
{
	*greeting = (struct ledger_greeting){.set = set, .migrate = migrate, .session = session};
	buffer_init(&greeting->sql, SQL_MAX);
}

void ledger_greeting_free(struct ledger_greeting *greeting)
{
	buffer_free(&greeting->sql);
}

static int count_applied(const struct migration_set *set, const struct pg_result *result, size_t *have, struct error *error)
{
	char sha256[65];
	int status = 0;
	*have = 0;
	for (size_t row = 0; status == 0 && row < pg_rows(result); row++) {
		pg_text(result, row, 1, sha256, sizeof(sha256));
		status = migrations_check_next(set, have, pg_i64(result, row, 0, 0), sha256, error);
	}
	return status;
}

/* All that is missing as one text. */
static int write_missing(struct ledger_greeting *greeting, size_t have, const char **sql, struct error *error)
{
	struct buffer *text = &greeting->sql;
	buffer_clear(text);
	for (size_t i = have; i < greeting->set->count; i++) {
		const struct migration *migration = &greeting->set->list[i];
		buffer_append_cstr(text, migration->sql);
		buffer_printf(text, "; INSERT INTO schema_migrations (number, name, sha256) VALUES (%lld, '%s', '%s'); ",
			      (long long)migration->number, migration->name, migration->sha256);
	}
	buffer_append_cstr(text, "COMMIT");
	greeting->missing = greeting->set->count - have;
	*sql = buffer_cstr(text);
	return *sql == NULL || text->failed ? error_set(error, ERR_NOMEM, "out of memory for the migrations") : 0;
}

int ledger_greeting_step(struct ledger_greeting *greeting, unsigned step, const struct pg_result *previous, const char **sql,
			 struct error *error)
{
	size_t have;
	int status;
	switch (step) {
	case 0:
		*sql = greeting->session ? SESSION STATE : STATE;
		return 0;
	case 1:
		if (pg_bool(previous, 0, 0))
			return error_set(error, ERR_LEDGER,
					 "the database is read-only: a standby, or default_transaction_read_only");
		*sql = pg_bool(previous, 0, 1) ? APPLIED : NONE_APPLIED;
		return 0;
	case 2:
		status = count_applied(greeting->set, previous, &have, error);
		if (status != 0 || have == greeting->set->count)
			return status;
		if (!greeting->migrate)
			return migrations_missing(greeting->set, have, error);
		*sql = BEGIN APPLIED;
		return 0;
	case 3:
		status = count_applied(greeting->set, previous, &have, error);
		return status == 0 ? write_missing(greeting, have, sql, error) : status;
	default:
		greeting->applied += greeting->missing;
		greeting->missing = 0;
		return 0;
	}
}
