/* SPDX-License-Identifier: MIT */
#include <reeld/storage_key.h>

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CALL "CA0123456789abcdef0123456789abcdef"
#define CONFERENCE "CF0123456789abcdef0123456789abcdef"
#define RECORDING "RE0123456789abcdef0123456789ABCDEF"

static int make(char *out, size_t size, int64_t ms)
{
	return reeld_storage_key(out, size, "recordings/", ms, CALL, RECORDING, "wav");
}

Test(key, names_prefix_date_parent_recording_and_format)
{
	char key[160];

	int len = reeld_storage_key(key, sizeof(key), "recordings/", 1650498325000, CALL, RECORDING, "wav");
	cr_expect_str_eq(key, "recordings/2022/04/20/" CALL "/" RECORDING ".wav");
	cr_expect_eq(len, (int)strlen(key));
	reeld_storage_key(key, sizeof(key), "", 0, CONFERENCE, RECORDING, "mp3");
	cr_expect_str_eq(key, "1970/01/01/" CONFERENCE "/" RECORDING ".mp3");
}

Test(key, takes_the_utc_date_up_to_the_last_millisecond_of_the_day)
{
	char key[160];

	make(key, sizeof(key), 1709164799999); /* 2024-02-28T23:59:59.999Z, a leap year */
	cr_expect_str_eq(key, "recordings/2024/02/28/" CALL "/" RECORDING ".wav");
	make(key, sizeof(key), 1709164800000);
	cr_expect_str_eq(key, "recordings/2024/02/29/" CALL "/" RECORDING ".wav");
	make(key, sizeof(key), 1709251200000);
	cr_expect_str_eq(key, "recordings/2024/03/01/" CALL "/" RECORDING ".wav");
}

Test(key, agrees_with_the_c_library_on_every_day_of_four_centuries)
{
	for (int64_t day = 0; day < 146097 + 400; day++) {
		time_t seconds = (time_t)(day * 86400 + day % 86400);
		struct tm tm;
		char expected[40];
		char key[160];

		cr_assert(gmtime_r(&seconds, &tm) != NULL);
		strftime(expected, sizeof(expected), "recordings/%Y/%m/%d/", &tm);
		cr_assert(make(key, sizeof(key), (int64_t)seconds * 1000) > 0);
		cr_assert_eq(strncmp(key, expected, strlen(expected)), 0, "day %lld: %s, not %s", (long long)day, key, expected);
	}
}

Test(key, refuses_instants_that_have_no_four_digit_year)
{
	char key[160];

	cr_expect_eq(make(key, sizeof(key), -1), -1);
	cr_expect_eq(make(key, sizeof(key), INT64_MIN), -1);
	cr_expect_gt(make(key, sizeof(key), 253402300799999), 0);
	cr_expect_eq(strncmp(key, "recordings/9999/12/31/", 22), 0);
	cr_expect_eq(make(key, sizeof(key), 253402300800000), -1);
	cr_expect_eq(make(key, sizeof(key), INT64_MAX), -1);
}

Test(key, refuses_anything_that_is_no_sid_or_format)
{
	static const char *const parents[] = {
		"",
		"CA",
		"CA0123456789abcdef0123456789abcde",
		CALL "0",
		"CA0123456789abcdef0123456789abcdeg",
		"ca0123456789abcdef0123456789abcdef",
		RECORDING,
		"CA../../../../../../../../../../etc",
		"CA0123456789abcdef/123456789abcdef",
		CALL "/",
		NULL,
	};
	char key[160];

	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++)
		cr_expect_eq(reeld_storage_key(key, sizeof(key), "", 0, parents[i], RECORDING, "wav"), -1, "%s", parents[i]);
	cr_expect_eq(reeld_storage_key(key, sizeof(key), "", 0, CALL, CALL, "wav"), -1);
	cr_expect_eq(reeld_storage_key(key, sizeof(key), "", 0, CALL, "RE", "wav"), -1);
	cr_expect_eq(reeld_storage_key(key, sizeof(key), "", 0, CALL, RECORDING, "wav/.."), -1);
	cr_expect_eq(reeld_storage_key(key, sizeof(key), "", 0, CALL, RECORDING, ""), -1);
}

Test(key, refuses_a_buffer_that_is_one_byte_short)
{
	char key[160];
	int len = make(key, sizeof(key), 0);

	cr_expect_eq(make(key, (size_t)len, 0), -1);
	cr_expect_eq(make(key, (size_t)len + 1, 0), len);
}
