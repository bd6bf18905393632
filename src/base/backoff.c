/* SPDX-License-Identifier: MIT */
#include "base/backoff.h"

#include "base/clock.h"

uint64_t backoff_bound(uint64_t first, uint64_t most, unsigned doublings)
{
	if (first == 0)
		return 0;
	for (; doublings > 0 && first < most; doublings--)
		first = first > most / 2 ? most : first * 2;
	return first < most ? first : most;
}

uint64_t backoff_full_jitter(uint64_t first, uint64_t most, unsigned doublings)
{
	return 1 + random_below(backoff_bound(first, most, doublings));
}
