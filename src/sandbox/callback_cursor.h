/* SPDX-License-Identifier: MIT */
/*
 * Which event comes next. Goes through the recordings in windows, each twice: first the callbacks and the duplicates that come at the same time, then the late
 * duplicates and the in-progress events that should have come before. reorder shuffles a window. Of calls only the first webhook comes from here. Pure.
 */
#ifndef REELD_SANDBOX_CALLBACK_CURSOR_H
#define REELD_SANDBOX_CALLBACK_CURSOR_H

#include "sandbox/callback_form.h"
#include "sandbox/faults.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALLBACK_WINDOW 32 /* recordings whose callbacks are mixed with each other */

struct callback_event {
	uint64_t index;
	unsigned copy; /* 0: the first of its recording */
	enum callback_kind kind;
};

struct callback_cursor {
	/* in */
	const struct fault_plan *faults; /* borrowed */
	uint64_t seed;
	bool calls;
	uint64_t next; /* first recording; then the first behind the window */
	uint64_t end;
	/* private */
	uint64_t order[CALLBACK_WINDOW];
	size_t filled;
	size_t position;
	bool second_pass;
	unsigned copy;
};

/* False when there is no further one. */
bool callback_cursor_next(struct callback_cursor *cursor, struct callback_event *event);

#endif
