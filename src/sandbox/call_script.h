/* SPDX-License-Identifier: MIT */
/*
 * The webhooks of one call in the order in which they are sent: incoming, ringing, answered, the recording's in-progress, the call's end, the recording's
 * completed. dup repeats any of them, at once or at the end; reorder shuffles all but the first, without whose answer nothing else could be known; lost
 * takes the last away. Pure.
 */
#ifndef REELD_SANDBOX_CALL_SCRIPT_H
#define REELD_SANDBOX_CALL_SCRIPT_H

#include "sandbox/callback_form.h"
#include "sandbox/faults.h"

#include <stdbool.h>
#include <stdint.h>

/* Six, each with up to three duplicates. */
#define CALL_SCRIPT_MAX 24

struct call_step {
	enum callback_kind kind;
	unsigned copy; /* 0: the first of its kind */
};

struct call_script {
	struct call_step steps[CALL_SCRIPT_MAX];
	size_t count;
	size_t next;
	bool reordered;
};

/* The script of recording `index`'s call. */
void call_script_make(struct call_script *script, const struct fault_plan *plan, uint64_t seed, uint64_t index);

#endif
