/* SPDX-License-Identifier: MIT */
#include "sandbox/faults.h"

#include <criterion/criterion.h>

static struct fault_plan plan(const char *text)
{
	struct fault_plan result = {.attempts = FAULT_DEFAULT_ATTEMPTS};
	struct error error = {0};
	cr_assert_eq(fault_plan_parse(&result, slice_from_cstr(text), &error), 0, "%s: %s", text, error.detail);
	return result;
}

Test(faults, a_trailing_rate_holds_for_the_names_before_it)
{
	struct fault_plan result = plan("404-first,429,500,stall,truncate,xml-body,dup,reorder:0.25");
	static const enum fault named[] = {FAULT_404_FIRST, FAULT_429,      FAULT_500, FAULT_STALL,
					   FAULT_TRUNCATE,  FAULT_XML_BODY, FAULT_DUP, FAULT_REORDER};
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		cr_assert_float_eq(result.rate[named[i]], 0.25, 1e-9);
	cr_assert_eq(result.rate[FAULT_RESET], 0);
}

Test(faults, a_rate_of_its_own_is_not_changed_by_a_later_one)
{
	struct fault_plan result = plan("429:0.1,500,reset:0.3,slow");
	cr_assert_float_eq(result.rate[FAULT_429], 0.1, 1e-9);
	cr_assert_float_eq(result.rate[FAULT_500], 0.3, 1e-9);
	cr_assert_float_eq(result.rate[FAULT_RESET], 0.3, 1e-9);
	cr_assert_float_eq(result.rate[FAULT_SLOW], 1, 1e-9);
}

Test(faults, every_name_is_known_by_its_own_text)
{
	for (int i = 0; i < FAULT_COUNT; i++) {
		struct fault_plan result = plan(fault_name((enum fault)i));
		for (int k = 0; k < FAULT_COUNT; k++)
			cr_assert_eq(result.rate[k] > 0, k == i, "%s", fault_name((enum fault)k));
	}
	cr_assert_str_eq(fault_name(FAULT_NONE), "none");
}

Test(faults, a_wrong_text_is_refused_and_changes_nothing)
{
	static const char *const wrong[] = {"404",     "500:",    "500:1.1", "500:-1", "500:abc",
					    "500:0x1", "500:1e0", "500:nan", ":0.5",   "500:0.123456789012345678"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct fault_plan result = plan("dup:0.5");
		struct error error = {0};
		cr_assert_eq(fault_plan_parse(&result, slice_from_cstr(wrong[i]), &error), ERR_INVALID, "%s", wrong[i]);
		cr_assert_float_eq(result.rate[FAULT_DUP], 0.5, 1e-9);
		cr_assert_neq(error.detail[0], '\0');
	}
}

Test(faults, an_empty_text_means_no_faults)
{
	struct fault_plan result = plan("500");
	cr_assert_eq(fault_plan_parse(&result, SLICE(""), NULL), 0);
	for (uint64_t i = 0; i < 100; i++)
		cr_assert_eq(fault_decide(&result, 1, i, FAULT_REQUEST_MEDIA, 0), FAULT_NONE);
}

Test(faults, the_text_may_end_inside_a_longer_buffer)
{
	struct fault_plan result = {.attempts = 1};
	cr_assert_eq(fault_plan_parse(&result, slice_make("500:0.52345", 7), NULL), 0);
	cr_assert_float_eq(result.rate[FAULT_500], 0.5, 1e-9);
}

Test(faults, the_same_request_is_decided_the_same_way_again)
{
	struct fault_plan all = plan(
		"404-first,429,500,reset,stall,slow,truncate,wrong-length,xml-body,redirect,dup,reorder:0.3");
	unsigned differences = 0;
	for (uint64_t i = 0; i < 1000; i++) {
		for (unsigned attempt = 0; attempt < 2; attempt++) {
			enum fault fault = fault_decide(&all, 7, i, FAULT_REQUEST_MEDIA, attempt);
			cr_assert_eq(fault, fault_decide(&all, 7, i, FAULT_REQUEST_MEDIA, attempt));
			differences += fault != fault_decide(&all, 8, i, FAULT_REQUEST_MEDIA, attempt);
		}
		cr_assert_eq(fault_duplicates(&all, 7, i), fault_duplicates(&all, 7, i));
	}
	cr_assert_gt(differences, 500, "another seed must be another run");
}

Test(faults, strike_about_as_often_as_the_rate_says)
{
	struct fault_plan one = plan("500:0.2");
	unsigned hits = 0;
	unsigned doubled = 0;
	struct fault_plan dup = plan("dup:0.2");
	for (uint64_t i = 0; i < 10000; i++) {
		hits += fault_decide(&one, 3, i, FAULT_REQUEST_RECORDING, 0) == FAULT_500;
		doubled += fault_duplicates(&dup, 3, i) > 0;
		cr_assert_leq(fault_duplicates(&dup, 3, i), 3);
	}
	cr_assert(hits > 1800 && hits < 2200, "%u", hits);
	cr_assert(doubled > 1800 && doubled < 2200, "%u", doubled);
}

Test(faults, heal_after_the_given_number_of_attempts_and_never_with_0)
{
	struct fault_plan always = plan("500,reset");
	for (uint64_t i = 0; i < 100; i++) {
		cr_assert_neq(fault_decide(&always, 1, i, FAULT_REQUEST_MEDIA, 1), FAULT_NONE);
		cr_assert_eq(fault_decide(&always, 1, i, FAULT_REQUEST_MEDIA, 2), FAULT_NONE);
	}
	always.attempts = 0;
	cr_assert_neq(fault_decide(&always, 1, 5, FAULT_REQUEST_MEDIA, 60000), FAULT_NONE);
}

Test(faults, of_the_media_do_not_strike_descriptions_and_404_strikes_once)
{
	struct fault_plan media = plan("404-first,stall,slow,truncate,wrong-length,xml-body,redirect");
	struct fault_plan first = plan("404-first");
	for (uint64_t i = 0; i < 100; i++) {
		cr_assert_eq(fault_decide(&media, 1, i, FAULT_REQUEST_RECORDING, 0), FAULT_NONE);
		cr_assert_eq(fault_decide(&media, 1, i, FAULT_REQUEST_CALL, 0), FAULT_NONE);
		cr_assert_eq(fault_decide(&media, 1, i, FAULT_REQUEST_DELETE, 0), FAULT_NONE);
		cr_assert_eq(fault_decide(&first, 1, i, FAULT_REQUEST_MEDIA, 0), FAULT_404_FIRST);
		cr_assert_eq(fault_decide(&first, 1, i, FAULT_REQUEST_MEDIA, 1), FAULT_NONE);
	}
}

Test(faults, when_several_strike_each_gets_its_turn)
{
	struct fault_plan all = plan("404-first,429,500,reset,stall,slow,truncate,wrong-length,xml-body,redirect");
	unsigned seen[FAULT_COUNT] = {0};
	for (uint64_t i = 0; i < 1000; i++)
		seen[fault_decide(&all, 1, i, FAULT_REQUEST_MEDIA, 0)]++;
	for (int i = FAULT_404_FIRST; i <= FAULT_REDIRECT; i++)
		cr_assert_gt(seen[i], 50, "%s", fault_name((enum fault)i));
}
