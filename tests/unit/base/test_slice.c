/* SPDX-License-Identifier: MIT */
#include "base/slice.h"

#include <criterion/criterion.h>

Test(slice, compares_bytes_not_texts)
{
	cr_expect(slice_equal(SLICE("a\0b"), slice_make("a\0b", 3)));
	cr_expect_not(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
	cr_expect_not(slice_equal(SLICE("ab"), SLICE("abc")));
	cr_expect(slice_equal((struct slice){NULL, 0}, SLICE("")));
}

Test(slice, nothing_and_null_are_empty)
{
	cr_expect_eq(slice_from_cstr(NULL).len, 0);
	cr_expect(slice_starts_with(SLICE("abc"), (struct slice){NULL, 0}));
	cr_expect(slice_equal_nocase((struct slice){NULL, 0}, SLICE("")));
}

Test(slice, ignores_case_only_where_it_says_so)
{
	cr_expect(slice_equal_nocase(SLICE("Content-Type"), SLICE("content-tYPE")));
	cr_expect_not(slice_equal(SLICE("A"), SLICE("a")));
}

Test(slice, starts_with_needs_the_whole_prefix)
{
	cr_expect(slice_starts_with(SLICE("RE01"), SLICE("RE")));
	cr_expect_not(slice_starts_with(SLICE("R"), SLICE("RE")));
	cr_expect_not(slice_starts_with(SLICE("re01"), SLICE("RE")));
}

Test(slice, trim_takes_white_space_from_both_ends_only)
{
	static const char *const rows[][2] = {{"", ""}, {" \t\r\n", ""}, {"a", "a"}, {" a b\t\r\n", "a b"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect(slice_equal(slice_trim(slice_from_cstr(rows[i][0])), slice_from_cstr(rows[i][1])), "row %zu", i);
}
