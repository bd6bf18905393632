/* SPDX-License-Identifier: MIT */
#include "pipeline/witness.h"

#include <criterion/criterion.h>

enum { STEP_A = 1, STEP_B = 2 };
static struct witness witness;

static void setup(void)
{
	witness_init(&witness);
}

TestSuite(witness, .init = setup);

static void pass(unsigned step)
{
	struct trial trial = witness_begin(&witness, 99999, step);
	witness_passed(&witness, &trial);
}

static bool fail(uint64_t subject, unsigned step)
{
	struct trial trial = witness_begin(&witness, subject, step);
	return witness_failed(&witness, &trial);
}

Test(witness, a_first_failure_accuses_nobody)
{
	for (int i = 0; i < 100; i++)
		pass(STEP_A);
	cr_assert_not(fail(1, STEP_A));
}

Test(witness, while_nobody_gets_past_nobody_is_accused)
{
	for (int round = 0; round < 50; round++) {
		for (uint64_t subject = 0; subject < 20; subject++)
			cr_assert_not(fail(subject, STEP_A), "round %d", round);
	}
}

Test(witness, who_fails_again_after_somebody_got_past_is_accused_each_time)
{
	cr_assert_not(fail(1, STEP_A));
	for (int i = 0; i < 5; i++) {
		pass(STEP_A);
		cr_assert(fail(1, STEP_A));
		cr_assert_not(fail(1, STEP_A), "one that got past accuses once");
	}
}

Test(witness, an_outage_charges_one_that_had_failed_before_once)
{
	fail(1, STEP_A);
	pass(STEP_A);
	int accused = 0;
	for (int i = 0; i < 100; i++)
		accused += fail(1, STEP_A);
	cr_assert_eq(accused, 1);
}

/* The outage begins while others are half done; they end well. */
Test(witness, who_began_before_the_failure_is_no_witness)
{
	struct trial other = witness_begin(&witness, 2, STEP_A);
	cr_assert_not(fail(1, STEP_A));
	witness_passed(&witness, &other);
	cr_assert_not(fail(1, STEP_A));
}

/* The outage ends while this one is still being refused. */
Test(witness, who_got_past_during_the_try_is_no_witness)
{
	fail(1, STEP_A);
	struct trial trial = witness_begin(&witness, 1, STEP_A);
	pass(STEP_A);
	cr_assert_not(witness_failed(&witness, &trial));
}

Test(witness, one_that_is_slow_to_get_past_does_not_hide_a_quick_one)
{
	struct trial slow = witness_begin(&witness, 2, STEP_A);
	fail(1, STEP_A);
	pass(STEP_A);
	witness_passed(&witness, &slow);
	cr_assert(fail(1, STEP_A));
}

Test(witness, another_step_is_no_witness)
{
	fail(1, STEP_A);
	pass(STEP_B);
	cr_assert_not(fail(1, STEP_A));
	cr_assert_not(fail(1, STEP_B));
	pass(STEP_A);
	cr_assert_not(fail(1, STEP_B));
	cr_assert(fail(1, STEP_A));
}

Test(witness, what_is_forgotten_fails_for_the_first_time_again)
{
	for (uint64_t subject = 1; subject <= 3; subject++) {
		fail(subject, STEP_A);
		fail(subject, STEP_B);
	}
	witness_forget(&witness, 2);
	witness_forget(&witness, 77);
	cr_assert_eq(witness.count, 4);
	pass(STEP_A);
	pass(STEP_B);
	cr_assert_not(fail(2, STEP_A));
	cr_assert_not(fail(2, STEP_B));
	cr_assert(fail(1, STEP_A));
	cr_assert(fail(3, STEP_B));
}

Test(witness, an_outage_with_more_recordings_than_it_remembers_accuses_nobody)
{
	for (int round = 0; round < 3; round++) {
		for (uint64_t subject = 0; subject < WITNESS_MAX + 500; subject++)
			cr_assert_not(fail(subject, STEP_A));
	}
	cr_assert_eq(witness.count, WITNESS_MAX);
}

Test(witness, those_that_fail_alone_are_remembered_through_an_outage_of_many)
{
	for (uint64_t subject = 0; subject < 10; subject++)
		fail(subject, STEP_A);
	pass(STEP_A);
	for (uint64_t subject = 100; subject < 100 + 3 * WITNESS_MAX; subject++)
		cr_assert_not(fail(subject, STEP_A));
	for (uint64_t subject = 0; subject < 10; subject++)
		cr_assert(fail(subject, STEP_A));
}

Test(witness, more_than_can_be_remembered_that_fail_alone_come_to_an_end_all_the_same)
{
	unsigned accused = 0, rounds = 20, many = 2 * WITNESS_MAX;
	for (unsigned round = 0; round < rounds; round++) {
		for (uint64_t subject = 0; subject < many; subject++) {
			pass(STEP_A);
			accused += fail(subject, STEP_A);
		}
	}
	cr_assert_geq(accused, (rounds - 1) * many);
}
