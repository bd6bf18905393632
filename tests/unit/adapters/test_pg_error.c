/* SPDX-License-Identifier: MIT */
#include "adapters/pg_internal.h"

#include <criterion/criterion.h>

Test(pg_error, each_sqlstate_means_what_it_says)
{
	static const struct {
		const char *state;
		enum pg_failure failure;
		int code;
		enum err_class class;
	} rows[] = {
		{NULL, PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},          {"", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},
		{"08006", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* connection failure */
		{"57P01", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* admin shutdown */
		{"57P02", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* crash shutdown */
		{"57P03", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* cannot connect now */
		{"25006", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* read-only */
		{"28P01", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* wrong password */
		{"26000", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* no such prepared statement */
		{"42P05", PG_FAILURE_LOST, ERR_LEDGER, ERR_CLASS_WAIT},       /* there is one */
		{"40001", PG_FAILURE_AGAIN, ERR_LEDGER, ERR_CLASS_WAIT},      /* serialization */
		{"40P01", PG_FAILURE_AGAIN, ERR_LEDGER, ERR_CLASS_WAIT},      /* deadlock */
		{"53300", PG_FAILURE_DOWN, ERR_LEDGER, ERR_CLASS_WAIT},       /* too many connections */
		{"53100", PG_FAILURE_DOWN, ERR_NO_SPACE, ERR_CLASS_WAIT},     /* disk full */
		{"57014", PG_FAILURE_DOWN, ERR_LEDGER, ERR_CLASS_WAIT},       /* statement timeout */
		{"55P03", PG_FAILURE_DOWN, ERR_LEDGER, ERR_CLASS_WAIT},       /* lock timeout */
		{"42P01", PG_FAILURE_DOWN, ERR_LEDGER, ERR_CLASS_WAIT},       /* no such table: not the event's fault */
		{"42501", PG_FAILURE_DOWN, ERR_LEDGER, ERR_CLASS_WAIT},       /* no right to it */
		{"XX000", PG_FAILURE_DOWN, ERR_LEDGER, ERR_CLASS_WAIT},       /* internal error */
		{"23505", PG_FAILURE_ITEM, ERR_INVALID, ERR_CLASS_PERMANENT}, /* unique violation */
		{"22P02", PG_FAILURE_ITEM, ERR_INVALID, ERR_CLASS_PERMANENT}, /* not a value of the type */
		{"22021", PG_FAILURE_ITEM, ERR_INVALID, ERR_CLASS_PERMANENT}, /* bytes that are no character */
		{"54000", PG_FAILURE_ITEM, ERR_INVALID, ERR_CLASS_PERMANENT}, /* program limit */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int code = 1;
		cr_expect_eq(pg_error_classify(rows[i].state, &code), rows[i].failure, "%s", rows[i].state);
		cr_expect_eq(code, rows[i].code, "%s", rows[i].state);
		cr_expect_eq(err_class(code), rows[i].class, "%s", rows[i].state);
	}
}
