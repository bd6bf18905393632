/* SPDX-License-Identifier: MIT */
/*
 * How old is the oldest event that was not forwarded yet? A bounded list of (sequence, time) marks answers that without a look at the
 * disk: at most one mark a `spacing`, and when the list is full every other mark goes and the spacing doubles. The answer is never
 * too young, and too old by at most the spacing (a 128th of what the list covers). Pure.
 */
#ifndef REELD_JOURNAL_AGE_H
#define REELD_JOURNAL_AGE_H

#include <stddef.h>
#include <stdint.h>

#define AGE_MARKS 256
#define AGE_SPACING_MS 1000

struct age {
	struct {
		uint64_t sequence;
		int64_t time_ms;
	} marks[AGE_MARKS];
	size_t count;
	int64_t spacing_ms;
};

void age_init(struct age *age);
/* Records from `sequence` on were appended at time_ms or later. Sequences come in rising order. */
void age_note(struct age *age, uint64_t sequence, int64_t time_ms);
/* Records up to and including `sequence` are no longer of interest. */
void age_forget(struct age *age, uint64_t sequence);
/* When the record after `sequence` was appended, at the earliest; -1 when nothing is known. */
int64_t age_of_next(const struct age *age, uint64_t sequence);

#endif
