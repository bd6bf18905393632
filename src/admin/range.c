/* SPDX-License-Identifier: MIT */
#include "admin/range.h"

/* Digits only, at least one; what is too large becomes INT64_MAX. */
static bool parse_number(struct slice text, int64_t *number)
{
	*number = 0;
	if (text.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, text.ptr[i] - '0', number))
			*number = INT64_MAX;
	}
	return true;
}

enum range_result range_parse(struct slice header, int64_t length, int64_t *from, int64_t *to)
{
	struct slice unit = SLICE("bytes=");
	int64_t first;
	int64_t last;
	*from = 0;
	*to = length;
	if (header.len < unit.len || !slice_equal_nocase(slice_make(header.ptr, unit.len), unit))
		return RANGE_WHOLE;
	struct slice set = slice_trim(slice_make(header.ptr + unit.len, header.len - unit.len));
	const char *dash = set.len == 0 ? NULL : memchr(set.ptr, '-', set.len);
	if (dash == NULL)
		return RANGE_WHOLE;
	struct slice before = slice_make(set.ptr, (size_t)(dash - set.ptr));
	struct slice behind = slice_make(dash + 1, (size_t)(set.ptr + set.len - dash - 1));
	if (before.len == 0) { /* the last so many */
		if (!parse_number(behind, &last))
			return RANGE_WHOLE;
		if (last == 0 || length == 0)
			return RANGE_UNSATISFIABLE;
		*from = last >= length ? 0 : length - last;
		return RANGE_PART;
	}
	if (!parse_number(before, &first) || (behind.len > 0 && (!parse_number(behind, &last) || last < first)))
		return RANGE_WHOLE;
	if (first >= length)
		return RANGE_UNSATISFIABLE;
	*from = first;
	if (behind.len > 0 && last < length - 1)
		*to = last + 1;
	return RANGE_PART;
}

bool etag_matches(struct slice header, struct slice tag)
{
	if (header.ptr == NULL || tag.len == 0)
		return false;
	if (slice_equal(header, SLICE("*")))
		return true;
	/* Tags hold no commas of ours, so a foreign one with a comma in it is only not found. */
	while (header.len > 0) {
		const char *comma = memchr(header.ptr, ',', header.len);
		size_t len = comma == NULL ? header.len : (size_t)(comma - header.ptr);
		struct slice one = slice_trim(slice_make(header.ptr, len));
		if (slice_starts_with(one, SLICE("W/")))
			one = slice_make(one.ptr + 2, one.len - 2);
		if (slice_equal(one, tag))
			return true;
		len += comma != NULL;
		header = slice_make(header.ptr + len, header.len - len);
	}
	return false;
}
