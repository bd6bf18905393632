/* SPDX-License-Identifier: MIT */
#include "journal/age.h"

#include <stdlib.h>
#include <string.h>

void age_init(struct age *age)
{
	age->count = 0;
	age->spacing_ms = AGE_SPACING_MS;
}

void age_note(struct age *age, uint64_t sequence, int64_t time_ms)
{
	if (age->count == 0)
		age->spacing_ms = AGE_SPACING_MS;
	/* The clock may have been set back: then a mark, too, when it is by more than the spacing. */
	if (age->count > 0 && llabs(time_ms - age->marks[age->count - 1].time_ms) < age->spacing_ms)
		return;
	if (age->count == AGE_MARKS) {
		for (size_t i = 0; i < AGE_MARKS / 2; i++)
			age->marks[i] = age->marks[2 * i];
		age->count = AGE_MARKS / 2;
		age->spacing_ms *= 2;
	}
	age->marks[age->count].sequence = sequence;
	age->marks[age->count].time_ms = time_ms;
	age->count++;
}

/* Index of the last mark that is not behind the record after `sequence`; count when there is none. */
static size_t age_find(const struct age *age, uint64_t sequence)
{
	size_t found = age->count;
	for (size_t i = 0; i < age->count && age->marks[i].sequence <= sequence + 1; i++)
		found = i;
	return found;
}

void age_forget(struct age *age, uint64_t sequence)
{
	size_t found = age_find(age, sequence);
	if (found == age->count || found == 0)
		return;
	age->count -= found;
	memmove(age->marks, age->marks + found, age->count * sizeof(age->marks[0]));
}

int64_t age_of_next(const struct age *age, uint64_t sequence)
{
	size_t found = age_find(age, sequence);
	if (found < age->count)
		return age->marks[found].time_ms;
	return age->count > 0 ? age->marks[0].time_ms : -1;
}
