/* SPDX-License-Identifier: MIT */
#include "base/check.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>

/* No core file for a death that is wanted. */
static void no_core(void)
{
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
}

Test(check, a_broken_invariant_aborts, .signal = SIGABRT, .init = no_core)
{
	REQUIRE(1 + 1 == 3);
}

Test(check, a_held_invariant_goes_on)
{
	int evaluated = 0;
	REQUIRE(++evaluated == 1);
	cr_assert_eq(evaluated, 1);
}

Test(check, container_of_finds_the_struct_around_a_member)
{
	struct outer {
		int before;
		int member;
	} outer;
	cr_assert_eq(CONTAINER_OF(&outer.member, struct outer, member), &outer);
}
