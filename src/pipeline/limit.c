/* SPDX-License-Identifier: MIT */
#include "pipeline/limit.h"

#include "base/check.h"

#include <limits.h>

void limit_init(struct limit *limit, size_t max)
{
	REQUIRE(max > 0);
	*limit = (struct limit){.max = max, .current = max, .cut_at_ms = INT64_MIN};
}

bool limit_throttled(struct limit *limit, int64_t now_ms)
{
	if (limit->cut_at_ms != INT64_MIN && now_ms - limit->cut_at_ms < LIMIT_CUT_EVERY_MS)
		return false;
	limit->cut_at_ms = now_ms;
	limit->current = limit->current > 1 ? limit->current / 2 : 1;
	if (limit->cuts < UINT_MAX)
		limit->cuts++;
	return true;
}

void limit_succeeded(struct limit *limit)
{
	limit->cuts = 0;
	if (limit->current < limit->max)
		limit->current++;
}
