/* SPDX-License-Identifier: MIT */
#include "pipeline/witness.h"

#include "base/check.h"

#include <string.h>

void witness_init(struct witness *witness)
{
	memset(witness, 0, sizeof(*witness));
}

/* Somebody tried after that failure, and succeeded. */
static bool is_known(const struct witness *witness, const struct witnessed *suspect)
{
	return witness->passed[suspect->step] > suspect->failed;
}

static struct witnessed *find(struct witness *witness, uint64_t subject, unsigned step)
{
	for (size_t i = 0; i < witness->count; i++) {
		struct witnessed *suspect = &witness->suspects[i];
		if (suspect->subject == subject && suspect->step == step)
			return suspect;
	}
	return NULL;
}

struct trial witness_begin(struct witness *witness, uint64_t subject, unsigned step)
{
	REQUIRE(step < WITNESS_STEPS);
	const struct witnessed *suspect = find(witness, subject, step);
	return (struct trial){subject, ++witness->moment, step, suspect != NULL && is_known(witness, suspect)};
}

void witness_passed(struct witness *witness, const struct trial *trial)
{
	if (witness->passed[trial->step] < trial->began)
		witness->passed[trial->step] = trial->began;
}

/* Whom to forget: the oldest of those that nobody got past, who lose nothing, else the oldest. */
static struct witnessed *least_missed(struct witness *witness)
{
	struct witnessed *least = &witness->suspects[0];
	for (size_t i = 1; i < witness->count; i++) {
		struct witnessed *suspect = &witness->suspects[i];
		bool known = is_known(witness, suspect);
		bool least_known = is_known(witness, least);
		if (known == least_known ? suspect->failed < least->failed : least_known)
			least = suspect;
	}
	return least;
}

bool witness_failed(struct witness *witness, const struct trial *trial)
{
	bool own = trial->accused;
	struct witnessed *suspect = find(witness, trial->subject, trial->step);
	if (suspect == NULL && witness->count < WITNESS_MAX) {
		suspect = &witness->suspects[witness->count++];
	} else if (suspect == NULL) {
		suspect = least_missed(witness);
		/* Else those that are forgotten each time before they fail again would never end. */
		own = own || is_known(witness, suspect);
	}
	*suspect = (struct witnessed){trial->subject, ++witness->moment, trial->step};
	return own;
}

void witness_forget(struct witness *witness, uint64_t subject)
{
	for (size_t i = 0; i < witness->count;) {
		if (witness->suspects[i].subject == subject)
			witness->suspects[i] = witness->suspects[--witness->count];
		else
			i++;
	}
}
