/* SPDX-License-Identifier: MIT */
#include "sandbox/call_script.h"

#include "base/check.h"
#include "sandbox/random.h"

enum { SALT_KIND = 401, SALT_ORDER };

static const enum callback_kind order[] = {
	CALLBACK_CALL_INCOMING, CALLBACK_CALL_RINGING, CALLBACK_CALL_ANSWERED,
	CALLBACK_IN_PROGRESS,   CALLBACK_CALL_ENDED,   CALLBACK_COMPLETED,
};
#define KINDS (sizeof(order) / sizeof(order[0]))

/* Each webhook of a call has its own luck; a recording's end has the one that it has without a call. */
static uint64_t seed_of(uint64_t seed, enum callback_kind kind)
{
	return kind == CALLBACK_COMPLETED ? seed : scramble3(seed, (uint64_t)kind, SALT_KIND);
}

static void add(struct call_script *script, enum callback_kind kind, unsigned copy)
{
	REQUIRE(script->count < CALL_SCRIPT_MAX);
	script->steps[script->count++] = (struct call_step){kind, copy};
}

static void add_duplicates(struct call_script *script, const struct fault_plan *plan, uint64_t seed, uint64_t index,
			   enum callback_kind kind, bool late)
{
	unsigned copies = fault_duplicates(plan, seed_of(seed, kind), index);
	for (unsigned copy = 1; copy <= copies; copy++)
		if (fault_duplicate_late(seed_of(seed, kind), index, copy - 1) == late)
			add(script, kind, copy);
}

static void shuffle(struct call_script *script, uint64_t seed, uint64_t index)
{
	for (size_t i = script->count - 1; i > 1; i--) {
		size_t j = 1 + (size_t)(scramble3(seed, index, (uint64_t)SALT_ORDER + (i << 16)) % i);
		struct call_step swap = script->steps[i];
		script->steps[i] = script->steps[j];
		script->steps[j] = swap;
	}
}

void call_script_make(struct call_script *script, const struct fault_plan *plan, uint64_t seed, uint64_t index)
{
	size_t kinds = KINDS - fault_lost(plan, seed, index);
	*script = (struct call_script){.reordered = fault_reordered(plan, seed, index)};
	for (size_t i = 0; i < kinds; i++) {
		add(script, order[i], 0);
		add_duplicates(script, plan, seed, index, order[i], false);
	}
	for (size_t i = 0; i < kinds; i++)
		add_duplicates(script, plan, seed, index, order[i], true);
	if (script->reordered)
		shuffle(script, seed, index);
}
