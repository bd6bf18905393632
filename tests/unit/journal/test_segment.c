/* SPDX-License-Identifier: MIT */
#include "journal/segment.h"

#include <criterion/criterion.h>
#include <string.h>

Test(segment, names_come_back_as_ids)
{
	const uint64_t ids[] = {0, 1, 0xabc, UINT64_MAX};
	for (size_t i = 0; i < 4; i++) {
		char name[SEGMENT_NAME_SIZE];
		uint64_t id;
		bool temporary;
		segment_name(ids[i], name);
		cr_assert(segment_parse_name(name, &id, &temporary));
		cr_assert_eq(id, ids[i]);
		cr_assert_not(temporary);
		segment_temporary_name(ids[i], name);
		cr_assert(segment_parse_name(name, &id, &temporary));
		cr_assert_eq(id, ids[i]);
		cr_assert(temporary);
	}
}

Test(segment, other_names_are_not_ours)
{
	const char *names[] = {"",
			       ".",
			       "lock",
			       "checkpoint",
			       "segment-",
			       "segment-1",
			       "segment-000000000000000g",
			       "segment-000000000000000A",
			       "segment-0000000000000001x",
			       "segment-0000000000000001.tmpx",
			       "segment-0000000000000001.bak",
			       "xsegment-0000000000000001"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint64_t id;
		bool temporary;
		cr_assert_not(segment_parse_name(names[i], &id, &temporary), "%s", names[i]);
	}
}
