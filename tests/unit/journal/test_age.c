/* SPDX-License-Identifier: MIT */
#include "journal/age.h"

#include <criterion/criterion.h>

static struct age age;

Test(age, nothing_is_known_at_first)
{
	age_init(&age);
	cr_assert_eq(age_of_next(&age, 0), -1);
}

Test(age, the_oldest_is_exact_for_marks_apart_and_never_too_young_between)
{
	age_init(&age);
	for (uint64_t i = 0; i < 100; i++)
		age_note(&age, 1 + 10 * i, (int64_t)i * AGE_SPACING_MS);
	for (uint64_t sequence = 0; sequence < 990; sequence++) {
		int64_t appended = (int64_t)(sequence / 10) * AGE_SPACING_MS;
		cr_assert_eq(age_of_next(&age, sequence), appended);
	}
}

Test(age, forgetting_keeps_the_mark_that_covers_the_next)
{
	age_init(&age);
	age_note(&age, 1, 1000);
	age_note(&age, 11, 5000);
	age_note(&age, 21, 9000);
	age_forget(&age, 14);
	cr_assert_eq(age.count, 2);
	cr_assert_eq(age_of_next(&age, 14), 5000);
	age_forget(&age, 20);
	cr_assert_eq(age_of_next(&age, 20), 9000);
	cr_assert_eq(age_of_next(&age, 500), 9000);
}

Test(age, a_long_backlog_thins_out_and_stays_within_its_spacing)
{
	age_init(&age);
	for (uint64_t i = 0; i < 100000; i++)
		age_note(&age, i + 1, (int64_t)i * 1000);
	cr_assert_leq(age.count, AGE_MARKS);
	for (uint64_t sequence = 0; sequence < 100000; sequence += 37) {
		int64_t known = age_of_next(&age, sequence);
		int64_t appended = (int64_t)sequence * 1000;
		cr_assert_leq(known, appended);
		cr_assert_leq(appended - known, age.spacing_ms);
	}
	cr_assert_leq(age.spacing_ms, 100000 * 1000 / (AGE_MARKS / 2) * 2);
}

Test(age, a_clock_that_was_set_back_is_followed)
{
	age_init(&age);
	age_note(&age, 1, 100000000);
	age_note(&age, 2, 5000);
	cr_assert_eq(age_of_next(&age, 1), 5000);
}
