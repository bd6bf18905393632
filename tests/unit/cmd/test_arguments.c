/* SPDX-License-Identifier: MIT */
#include "cmd/arguments.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *count;
static const char *size;
static bool retry;
static char problem[128];

static int parse(int argc, const char *const *words)
{
	const struct argument table[] = {{"--count", &count, NULL}, {"--size", &size, NULL}, {"--retry", NULL, &retry}};
	count = NULL;
	size = NULL;
	retry = false;
	problem[0] = '\0';
	return arguments_parse(argc, (char **)words, table, sizeof(table) / sizeof(table[0]), problem, sizeof(problem));
}

#define PARSE(...)                                                                         \
	parse((int)(sizeof((const char *const[]){"reeld", __VA_ARGS__}) / sizeof(char *)), \
	      (const char *const[]){"reeld", __VA_ARGS__})

Test(arguments, values_come_behind_a_blank_or_an_equals_sign)
{
	cr_assert_eq(PARSE("--count", "3", "--retry", "--size=1MB"), 0);
	cr_assert_str_eq(count, "3");
	cr_assert_str_eq(size, "1MB");
	cr_assert(retry);
	cr_assert_eq(PARSE("--count=", "--size", "--retry"), 0);
	cr_assert_str_eq(count, "");
	cr_assert_str_eq(size, "--retry", "what follows is the value, whatever it looks like");
	cr_assert_not(retry);
}

Test(arguments, the_last_of_two_wins)
{
	cr_assert_eq(PARSE("--count", "3", "--count=4"), 0);
	cr_assert_str_eq(count, "4");
}

Test(arguments, what_is_wrong_is_said)
{
	cr_assert_eq(PARSE("--cout", "3"), -1);
	cr_assert_not_null(strstr(problem, "unknown option '--cout'"));
	cr_assert_eq(PARSE("word"), -1);
	cr_assert_not_null(strstr(problem, "unknown argument 'word'"));
	cr_assert_eq(PARSE("--count"), -1);
	cr_assert_not_null(strstr(problem, "--count needs a value"));
	cr_assert_eq(PARSE("--retry=yes"), -1);
	cr_assert_not_null(strstr(problem, "--retry takes no value"));
}

Test(arguments, numbers_are_whole_and_bounded)
{
	uint64_t value = 7;
	cr_assert(argument_number(NULL, 10, &value));
	cr_assert_eq(value, 7, "no text leaves the default");
	cr_assert(argument_number("10", 10, &value));
	cr_assert_eq(value, 10);
	cr_assert(argument_number("18446744073709551615", UINT64_MAX, &value));
	cr_assert_eq(value, UINT64_MAX);
	static const char *const wrong[] = {"", "11", "-1", "+1", "1.5", " 1", "1 ", "x", "18446744073709551616"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_not(argument_number(wrong[i], 10, &value), "'%s'", wrong[i]);
	cr_assert_not(argument_number("18446744073709551616", UINT64_MAX, &value));
}

Test(arguments, sizes_have_units_of_a_thousand_or_1024)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} right[] = {{"0", 0},
		     {"12B", 12},
		     {"1KB", 1000},
		     {"2MB", 2000000},
		     {"3GB", 3000000000},
		     {"1KiB", 1024},
		     {"1MiB", 1048576},
		     {"2GiB", UINT64_C(1) << 31}};
	uint64_t value;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		cr_assert(argument_size(right[i].text, &value), "%s", right[i].text);
		cr_assert_eq(value, right[i].bytes, "%s", right[i].text);
	}
	static const char *const wrong[] = {"", "MB", "1mb", "1 MB", "1M", "1.5MB", "-1", "18446744073709551615KB"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_not(argument_size(wrong[i], &value), "'%s'", wrong[i]);
}

Test(arguments, a_range_has_two_ends_in_order)
{
	uint64_t min = 1, max = 2;
	cr_assert(argument_size_range(NULL, &min, &max));
	cr_assert(min == 1 && max == 2);
	cr_assert(argument_size_range("10KB-2MB", &min, &max));
	cr_assert(min == 10000 && max == 2000000);
	cr_assert(argument_size_range("5MB", &min, &max));
	cr_assert(min == 5000000 && max == 5000000);
	cr_assert_not(argument_size_range("2MB-1MB", &min, &max));
	cr_assert_not(argument_size_range("-2MB", &min, &max));
	cr_assert_not(argument_size_range("2MB-", &min, &max));
	cr_assert_not(argument_size_range("0", &min, &max));
	cr_assert_not(argument_size_range("0-2MB", &min, &max));
}
