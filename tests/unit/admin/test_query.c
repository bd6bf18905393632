/* SPDX-License-Identifier: MIT */
#include "admin/query.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static char value[16];

static enum admin_query_result get(const char *query, const char *name)
{
	memset(value, 'x', sizeof(value));
	return admin_query_get(query == NULL ? slice_make(NULL, 0) : slice_from_cstr(query), name, value, sizeof(value));
}

Test(query, a_parameter_is_found_and_decoded)
{
	cr_expect_eq(get("a=1&b=2", "b"), QUERY_FOUND);
	cr_expect_str_eq(value, "2");
	cr_expect_eq(get("q=%52E+1", "q"), QUERY_FOUND);
	cr_expect_str_eq(value, "RE 1");
	cr_expect_eq(get("a=123456789012345", "a"), QUERY_FOUND);
	cr_expect_str_eq(value, "123456789012345");
	cr_expect_eq(get("ab=1&a=2", "a"), QUERY_FOUND);
	cr_expect_str_eq(value, "2");
}

Test(query, absent_is_not_an_error)
{
	static const char *const queries[] = {NULL, "", "b=1", "a=", "a", "&&", "A=1"};
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		cr_expect_eq(get(queries[i], "a"), QUERY_ABSENT, "%zu", i);
		cr_expect_str_eq(value, "");
	}
}

Test(query, what_is_ambiguous_or_malformed_is_bad)
{
	static const char *const queries[] = {"a=1&a=2", "a=1&a", "a=1&a=1", "a=%zz", "b=%1&a=1", "a=%00", "a=1234567890123456"};
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		cr_expect_eq(get(queries[i], "a"), QUERY_BAD, "%s", queries[i]);
		cr_expect_str_eq(value, "");
	}
	char many[256] = "";
	for (int i = 0; i < 33; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "b%d&", i);
	cr_expect_eq(get(many, "a"), QUERY_BAD);
}

Test(query, the_longest_head_fits)
{
	char *query = malloc(16384);
	memset(query, '+', 16384);
	memcpy(query, "a=1&b=", 6);
	cr_expect_eq(admin_query_get(slice_make(query, 16384), "a", value, sizeof(value)), QUERY_FOUND);
	free(query);
}
