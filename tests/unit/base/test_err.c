/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

Test(err, every_code_has_its_own_name_and_a_text)
{
	cr_expect_str_eq(err_name(0), "ok");
	for (int i = 1; i < ERR_ORDINAL_COUNT; i++) {
		cr_expect_gt(strlen(err_text(-i)), 0);
		cr_expect_eq(strspn(err_name(-i), "abcdefghijklmnopqrstuvwxyz_"), strlen(err_name(-i)), "%s", err_name(-i));
		for (int k = 0; k < i; k++)
			cr_expect_str_neq(err_name(-i), err_name(-k));
	}
}

Test(err, strangers_are_unknown_and_worth_a_retry)
{
	static const int strangers[] = {1, INT_MAX, INT_MIN + 1, -ERR_ORDINAL_COUNT};
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		cr_expect_str_eq(err_name(strangers[i]), "unknown");
		cr_expect_eq(err_class(strangers[i]), ERR_CLASS_RETRY);
	}
}

Test(err, errno_is_translated_by_meaning)
{
	static const struct {
		int errnum;
		int code;
	} rows[] = {{0, 0},
		    {ENOSPC, ERR_NO_SPACE},
		    {EDQUOT, ERR_NO_SPACE},
		    {EACCES, ERR_DENIED},
		    {EROFS, ERR_DENIED},
		    {ENOENT, ERR_NOT_FOUND},
		    {ENOMEM, ERR_NOMEM},
		    {EIO, ERR_IO},
		    {ECONNRESET, ERR_RESET},
		    {ECONNREFUSED, ERR_CONNECT},
		    {ETIMEDOUT, ERR_TIMEOUT},
		    {12345, ERR_IO}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(err_from_errno(rows[i].errnum), rows[i].code, "errno %d", rows[i].errnum);
}

Test(err, error_set_formats_cuts_and_returns_the_code)
{
	struct error error;
	cr_expect_eq(error_set(&error, ERR_IO, "%s: %d", "data", 7), ERR_IO);
	cr_expect_eq(error.code, ERR_IO);
	cr_expect_str_eq(error.detail, "data: 7");
	error_set(&error, ERR_IO, "%0999d", 1);
	cr_expect_eq(strlen(error.detail), sizeof(error.detail) - 1);
	cr_expect_eq(error_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

Test(err, what_an_error_quotes_is_valid_utf8_also_where_it_was_cut)
{
	struct error error;
	char text[sizeof(error.detail) + 4];
	error_set(&error, ERR_IO, "said \"%s\"", "caf\xc3\xa9 \xff\xe2\x82");
	cr_expect_str_eq(error.detail, "said \"caf\xc3\xa9 ???\"");
	memset(text, 'x', sizeof(text));
	memcpy(text + sizeof(error.detail) - 3, "\xe2\x82\xac", 4);
	error_set(&error, ERR_IO, "%s", text);
	cr_expect_eq(strlen(error.detail), sizeof(error.detail) - 1);
	cr_expect_str_eq(error.detail + sizeof(error.detail) - 4, "x??");
}
