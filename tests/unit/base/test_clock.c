/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/err.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

static void cr_date(const char *text, const char *iso)
{
	int64_t wall_ms;
	char formatted[CLOCK_ISO8601_SIZE];
	cr_assert_eq(clock_parse_rfc2822(text, strlen(text), &wall_ms), 0, "%s", text);
	clock_format_iso8601(wall_ms, formatted);
	cr_expect_str_eq(formatted, iso, "%s: %s", text, formatted);
}

Test(clock, rfc2822_dates_of_every_accepted_spelling)
{
	cr_date("Wed, 20 Apr 2022 23:45:25 +0000", "2022-04-20T23:45:25.000Z");
	cr_date("20 Apr 2022 23:45:25 GMT", "2022-04-20T23:45:25.000Z");
	cr_date("20 Apr 2022 23:45 UT", "2022-04-20T23:45:00.000Z");
	cr_date("  Fri,  1 Jan 2021  00:00:00  +0530 ", "2020-12-31T18:30:00.000Z");
	cr_date("1 Jan 2021 00:00:00 -0830", "2021-01-01T08:30:00.000Z");
	cr_date("thu, 29 FEB 2024 12:00:00 utc", "2024-02-29T12:00:00.000Z");
	cr_date("31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00.000Z");
	cr_date("Sat, 01 Jan 0000 00:00:00 +0000", "0000-01-01T00:00:00.000Z");
}

Test(clock, rfc2822_refuses_what_is_no_date)
{
	static const char *const rows[] = {
		"",
		"Wed",
		"Wed 20 Apr 2022 23:45:25 +0000",
		"Wed, 32 Apr 2022 23:45:25 +0000",
		"Wed, 31 Apr 2022 23:45:25 +0000",
		"29 Feb 2023 00:00:00 +0000",
		"29 Feb 2100 00:00:00 +0000",
		"0 Jan 2022 00:00:00 +0000",
		"20 Foo 2022 23:45:25 +0000",
		"20 Apr 22 23:45:25 +0000",
		"20 Apr 2022 24:00:00 +0000",
		"20 Apr 2022 23:60:00 +0000",
		"20 Apr 2022 23:45:61 +0000",
		"20 Apr 2022 23:45:25",
		"20 Apr 2022 23:45:25 ",
		"20 Apr 2022 23:45:25 PST",
		"20 Apr 2022 23:45:25 +00",
		"20 Apr 2022 23:45:25 +2400",
		"20 Apr 2022 23:45:25 +0000x",
		"2022-04-20T23:45:25Z",
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t wall_ms;
		cr_expect_eq(clock_parse_rfc2822(rows[i], strlen(rows[i]), &wall_ms), ERR_MALFORMED, "%s", rows[i]);
	}
}

Test(clock, rfc2822_reads_nothing_behind_its_length)
{
	const char text[] = "20 Apr 2022 23:45:25 +00009";
	int64_t wall_ms;
	cr_assert_eq(clock_parse_rfc2822(text, sizeof(text) - 2, &wall_ms), 0);
	cr_assert_eq(wall_ms, INT64_C(1650498325000));
}

Test(clock, agrees_with_the_c_library_on_every_day_of_nine_centuries)
{
	for (int64_t day = -130000; day < 200000; day++) {
		int64_t wall_ms = day * INT64_C(86400000) + INT64_C(86399999);
		time_t seconds = (time_t)(day * 86400);
		struct tm tm;
		gmtime_r(&seconds, &tm);
		char expected[40];
		char got[CLOCK_RFC2822_SIZE];
		strftime(expected, sizeof(expected), "%a, %d %b %Y 23:59:59 +0000", &tm);
		clock_format_rfc2822(wall_ms, got);
		cr_assert_str_eq(got, expected, "day %lld", (long long)day);
		int64_t again;
		cr_assert_eq(clock_parse_rfc2822(got, strlen(got), &again), 0);
		cr_assert_eq(again, wall_ms - 999);
	}
}

Test(clock, instants_outside_of_four_digit_years_are_clamped_not_overrun)
{
	char iso[CLOCK_ISO8601_SIZE];
	clock_format_iso8601(INT64_MAX, iso);
	cr_expect_str_eq(iso, "9999-12-31T23:59:59.999Z");
	clock_format_iso8601(INT64_MIN, iso);
	cr_expect_str_eq(iso, "0000-01-01T00:00:00.000Z");
	clock_format_iso8601(-1, iso);
	cr_expect_str_eq(iso, "1969-12-31T23:59:59.999Z");
}

Test(clock, wall_time_is_today_and_monotonic_time_does_not_go_back)
{
	cr_expect_gt(clock_wall_ms(), INT64_C(1700000000000));
	uint64_t last = clock_mono_ns();
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_mono_ns();
		cr_assert(now >= last);
		last = now;
	}
}

Test(clock, the_upper_half_reaches_both_its_ends_and_nothing_else)
{
	bool seen[9] = {false};
	for (int i = 0; i < 1000; i++) {
		uint64_t value = random_upper_half(8);
		cr_assert(value >= 4 && value <= 8);
		seen[value] = true;
	}
	for (int value = 4; value <= 8; value++)
		cr_expect(seen[value], "%d", value);
	cr_expect_eq(random_upper_half(0), 0);
}

Test(clock, random_below_stays_below_and_reaches_every_value)
{
	unsigned seen = 0;
	for (int i = 0; i < 2000; i++) {
		uint64_t value = random_below(7);
		cr_assert_lt(value, 7);
		seen |= 1U << value;
	}
	cr_expect_eq(seen, 0x7F);
	cr_expect_eq(random_below(0), 0);
	cr_expect_eq(random_below(1), 0);
	/* A bound for which almost half of all draws are rejected. */
	for (int i = 0; i < 100; i++)
		cr_assert_lt(random_below((UINT64_C(1) << 63) + 1), (UINT64_C(1) << 63) + 1);
}

Test(clock, random_bytes_fills_all_of_a_large_block)
{
	static unsigned char block[4096];
	int zeros = 0;
	random_bytes(block, sizeof(block));
	for (size_t i = 0; i < sizeof(block); i++)
		zeros += block[i] == 0;
	cr_expect_lt(zeros, 64);
}

static void cr_iso(const char *text, const char *iso)
{
	int64_t wall_ms;
	char formatted[CLOCK_ISO8601_SIZE];
	cr_assert_eq(clock_parse_iso8601(text, strlen(text), &wall_ms), 0, "%s", text);
	clock_format_iso8601(wall_ms, formatted);
	cr_expect_str_eq(formatted, iso, "%s: %s", text, formatted);
}

Test(clock, iso8601_dates_of_every_accepted_spelling)
{
	cr_iso("2026-11-23T23:10:05Z", "2026-11-23T23:10:05.000Z");
	cr_iso("2026-11-23t23:10:05.1z", "2026-11-23T23:10:05.100Z");
	cr_iso("2026-11-23 23:10:05.123999Z", "2026-11-23T23:10:05.123Z");
	cr_iso("2026-11-23T23:10:05+01:30", "2026-11-23T21:40:05.000Z");
	cr_iso("2026-12-31T23:10:05-01:30", "2027-01-01T00:40:05.000Z");
	cr_iso("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z");
	cr_iso("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z");
	cr_iso("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z");
	cr_iso("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
}

Test(clock, iso8601_refuses_what_is_no_date)
{
	static const char *const rows[] = {
		"",
		"2026",
		"2026-11-23",
		"2026-11-23T23:10:05",
		"2026-11-23T23:10Z",
		"2026-11-23T23:10:05.Z",
		"2026-11-23T23:10:05Zx",
		"2026-11-23T23:10:05+0100",
		"2026-11-23T23:10:05+24:00",
		"2026-11-23T24:10:05Z",
		"2026-11-23T23:60:05Z",
		"2026-11-23T23:10:61Z",
		"2026-13-23T23:10:05Z",
		"2026-00-23T23:10:05Z",
		"2026-11-31T23:10:05Z",
		"2023-02-29T23:10:05Z",
		"26-11-23T23:10:05Z",
		"-2026-11-23T23:10:05Z",
		" 2026-11-23T23:10:05Z",
		"2026-11-23  23:10:05Z",
		"Wed, 20 Apr 2022 23:45:25 +0000",
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t wall_ms;
		cr_expect_eq(clock_parse_iso8601(rows[i], strlen(rows[i]), &wall_ms), ERR_MALFORMED, "%s", rows[i]);
	}
}
