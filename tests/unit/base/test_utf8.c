/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include <criterion/criterion.h>

/* The borders of RFC 3629, section 4. */
Test(utf8, every_border_of_the_grammar)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{"a", 1},
		{"\x7f", 1},
		{"\x80", 0},
		{"\xc1\xbf", 0},
		{"\xc2\x80", 2},
		{"\xdf\xbf", 2},
		{"\xdf", 0},
		{"\xc2 ", 0},
		{"\xe0\x9f\xbf", 0},
		{"\xe0\xa0\x80", 3},
		{"\xed\x9f\xbf", 3},
		{"\xed\xa0\x80", 0},
		{"\xef\xbf\xbf", 3},
		{"\xe2\x82", 0},
		{"\xf0\x8f\xbf\xbf", 0},
		{"\xf0\x90\x80\x80", 4},
		{"\xf4\x8f\xbf\xbf", 4},
		{"\xf4\x90\x80\x80", 0},
		{"\xf5\x80\x80\x80", 0},
		{"\xf0\x9f\x98", 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(utf8_char(slice_from_cstr(rows[i].bytes)), rows[i].len, "row %zu", i);
}

Test(utf8, repair_leaves_characters_alone_and_replaces_the_rest)
{
	char text[] = "a\xc3\xa9\xff\xe2\x82\xac\x80z\xf0\x9f";
	utf8_repair(text, sizeof(text) - 1);
	cr_expect_str_eq(text, "a\xc3\xa9?\xe2\x82\xac?z??");
	utf8_repair(text, 0);
}
