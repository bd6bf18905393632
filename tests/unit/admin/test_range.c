/* SPDX-License-Identifier: MIT */
#include "admin/range.h"

#include <criterion/criterion.h>

#define LENGTH 1000

Test(range, parts_of_a_file)
{
	static const struct {
		const char *header;
		int64_t from;
		int64_t to;
	} rows[] = {{"bytes=0-0", 0, 1},
		    {"bytes=0-999", 0, 1000},
		    {"bytes=0-1000", 0, 1000},
		    {"bytes=999-", 999, 1000},
		    {"bytes=0-", 0, 1000},
		    {"bytes=-1", 999, 1000},
		    {"bytes=-1000", 0, 1000},
		    {"bytes=-1001", 0, 1000},
		    {"BYTES=5-9", 5, 10},
		    {"bytes= 5-9 ", 5, 10},
		    {"bytes=007-8", 7, 9},
		    {"bytes=5-99999999999999999999999", 5, 1000},
		    {"bytes=-99999999999999999999999", 0, 1000}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t from = -1;
		int64_t to = -1;
		cr_expect_eq(range_parse(slice_from_cstr(rows[i].header), LENGTH, &from, &to), RANGE_PART, "%s", rows[i].header);
		cr_expect(from == rows[i].from && to == rows[i].to, "%s: %lld %lld", rows[i].header, (long long)from,
			  (long long)to);
	}
}

Test(range, outside_of_the_file)
{
	static const char *const headers[] = {"bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-"};
	int64_t from;
	int64_t to;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		cr_expect_eq(range_parse(slice_from_cstr(headers[i]), LENGTH, &from, &to), RANGE_UNSATISFIABLE, "%s", headers[i]);
	cr_expect_eq(range_parse(SLICE("bytes=0-"), 0, &from, &to), RANGE_UNSATISFIABLE);
	cr_expect_eq(range_parse(SLICE("bytes=-5"), 0, &from, &to), RANGE_UNSATISFIABLE);
}

Test(range, what_is_not_understood_is_all_of_it)
{
	static const char *const headers[] = {
		"",          "bytes",      "bytes=",      "bytes=-",     "bytes=a-b",  "bytes=1",  "bytes=2-1", "bytes=0-1,2-3",
		"items=0-1", "bytes=+1-2", "bytes=1-2-3", "bytes=0x1-2", "bytes=1 -2", "bytes 0-1"};
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		int64_t from = -1;
		int64_t to = -1;
		cr_expect_eq(range_parse(slice_from_cstr(headers[i]), LENGTH, &from, &to), RANGE_WHOLE, "%s", headers[i]);
		cr_expect(from == 0 && to == LENGTH, "%s", headers[i]);
	}
	int64_t from;
	int64_t to;
	cr_expect_eq(range_parse(slice_make(NULL, 0), LENGTH, &from, &to), RANGE_WHOLE);
}

Test(range, entity_tags)
{
	struct slice tag = SLICE("\"abc\"");
	static const char *const yes[] = {"\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\"", "\"x\",W/\"abc\",\"y\"", " \"abc\" "};
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_expect(etag_matches(slice_from_cstr(yes[i]), tag), "%s", yes[i]);
	static const char *const no[] = {"", "abc", "\"abcd\"", "\"ABC\"", "w/\"abc\"", ",", "\"x\", \"y\"", "**"};
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_expect_not(etag_matches(slice_from_cstr(no[i]), tag), "%s", no[i]);
	cr_expect_not(etag_matches(slice_make(NULL, 0), tag));
	cr_expect_not(etag_matches(SLICE("*"), slice_make("", 0)), "what has no tag matches nothing");
}
