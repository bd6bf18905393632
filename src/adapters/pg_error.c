/* SPDX-License-Identifier: MIT */
/* The server's errors in our words. */
#include "adapters/pg_internal.h"

#include <string.h>

/*
 * By code or by class (two characters), the first that fits. What is not here says nothing about the item (a missing table, a right not given, a bug of
 * ours): the ledger is then as good as down, and no event is given up for it.
 */
static const struct {
	const char *state;
	enum pg_failure failure;
	int code;
} table[] = {
	{"08", PG_FAILURE_LOST, ERR_LEDGER},     /* connection exceptions */
	{"22", PG_FAILURE_ITEM, ERR_INVALID},    /* data exceptions */
	{"23", PG_FAILURE_ITEM, ERR_INVALID},    /* constraints */
	{"25006", PG_FAILURE_LOST, ERR_LEDGER},  /* read-only: the other half of a failover is the primary now */
	{"25P03", PG_FAILURE_LOST, ERR_LEDGER},  /* idle_in_transaction_session_timeout */
	{"26000", PG_FAILURE_LOST, ERR_LEDGER},  /* a prepared statement that is not there: a pooler is in between */
	{"28", PG_FAILURE_LOST, ERR_LEDGER},     /* authorization */
	{"40001", PG_FAILURE_AGAIN, ERR_LEDGER}, /* serialization failure */
	{"40P01", PG_FAILURE_AGAIN, ERR_LEDGER}, /* deadlock */
	{"42P05", PG_FAILURE_LOST, ERR_LEDGER},  /* a prepared statement that is there already: as 26000 */
	{"53100", PG_FAILURE_DOWN, ERR_NO_SPACE}, {"54", PG_FAILURE_ITEM, ERR_INVALID}, /* program limits */
	{"57P", PG_FAILURE_LOST, ERR_LEDGER},   /* shutdown, crash, cannot connect now, database dropped */
	{"0A000", PG_FAILURE_LOST, ERR_LEDGER}, /* a cached plan that a newer schema broke */
};

enum pg_failure pg_error_classify(const char *sqlstate, int *code)
{
	*code = ERR_LEDGER;
	if (sqlstate == NULL || sqlstate[0] == '\0')
		return PG_FAILURE_LOST;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strncmp(sqlstate, table[i].state, strlen(table[i].state)) == 0) {
			*code = table[i].code;
			return table[i].failure;
		}
	}
	return PG_FAILURE_DOWN;
}

enum pg_failure pg_error_of_result(const PGresult *result, struct error *error)
{
	int code;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	enum pg_failure failure = pg_error_classify(state, &code);
	if (state == NULL)
		error_set(error, code, "Postgres: the connection was lost");
	else
		error_set(error, code, "Postgres: %s (%s)", text == NULL ? "error" : text, state);
	return failure;
}
