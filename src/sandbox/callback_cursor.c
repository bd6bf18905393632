/* SPDX-License-Identifier: MIT */
#include "sandbox/callback_cursor.h"

#include "sandbox/random.h"

enum { ORDER_SALT = 78 };

static void fill(struct callback_cursor *cursor)
{
	bool shuffle = cursor->faults->rate[FAULT_REORDER] > 0;
	cursor->filled = 0;
	cursor->position = 0;
	cursor->copy = 0;
	cursor->second_pass = false;
	while (cursor->filled < CALLBACK_WINDOW && cursor->next < cursor->end)
		cursor->order[cursor->filled++] = cursor->next++;
	for (size_t i = cursor->filled; shuffle && i > 1; i--) {
		size_t j = (size_t)(scramble3(cursor->seed, cursor->order[i - 1], ORDER_SALT) % i);
		uint64_t swap = cursor->order[i - 1];
		cursor->order[i - 1] = cursor->order[j];
		cursor->order[j] = swap;
	}
}

static bool take_call(struct callback_cursor *cursor, uint64_t index, struct callback_event *event)
{
	*event = (struct callback_event){index, 0, CALLBACK_CALL_INCOMING};
	return !cursor->second_pass && cursor->copy++ == 0;
}

static bool take_recording(struct callback_cursor *cursor, uint64_t index, struct callback_event *event)
{
	bool lost = fault_lost(cursor->faults, cursor->seed, index);
	unsigned copies = lost ? 0 : 1 + fault_duplicates(cursor->faults, cursor->seed, index);
	while (cursor->copy < copies) {
		unsigned copy = cursor->copy++;
		bool late = copy > 0 && fault_duplicate_late(cursor->seed, index, copy - 1);
		if (late == cursor->second_pass) {
			*event = (struct callback_event){index, copy, CALLBACK_COMPLETED};
			return true;
		}
	}
	if (cursor->second_pass && cursor->copy == copies) {
		cursor->copy++;
		*event = (struct callback_event){index, copies, CALLBACK_IN_PROGRESS};
		return fault_reordered(cursor->faults, cursor->seed, index);
	}
	return false;
}

/* The next event of the recording at the cursor in this pass; false when it has none left. */
static bool take_here(struct callback_cursor *cursor, struct callback_event *event)
{
	uint64_t index = cursor->order[cursor->position];
	if (fault_trunk(cursor->faults, cursor->seed, index))
		return false;
	return cursor->calls ? take_call(cursor, index, event) : take_recording(cursor, index, event);
}

bool callback_cursor_next(struct callback_cursor *cursor, struct callback_event *event)
{
	for (;;) {
		while (cursor->position < cursor->filled) {
			if (take_here(cursor, event))
				return true;
			cursor->position++;
			cursor->copy = 0;
		}
		if (!cursor->second_pass && cursor->filled > 0) {
			cursor->second_pass = true;
			cursor->position = 0;
			continue;
		}
		if (cursor->next >= cursor->end)
			return false;
		fill(cursor);
	}
}
