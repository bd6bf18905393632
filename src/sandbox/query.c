/* SPDX-License-Identifier: MIT */
#include "sandbox/internal.h"

bool query_parse(struct query *query, struct slice text)
{
	query->count = 0;
	return text.len <= sizeof(query->scratch) &&
	       reeld_form_parse(text.ptr, text.len, query->fields, SANDBOX_MAX_PARAMETERS, query->scratch, sizeof(query->scratch),
				&query->count) == REELD_FORM_OK;
}

struct slice query_get(const struct query *query, const char *name)
{
	const struct reeld_form_field *field = reeld_form_find(query->fields, query->count, name);
	return field == NULL ? slice_make(NULL, 0) : slice_make(field->value, field->value_len);
}

bool slice_number(struct slice text, uint64_t max, uint64_t *value)
{
	uint64_t number = 0;
	if (text.len == 0 || text.len > 19)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*value = number;
	return number <= max;
}

bool query_number(const struct query *query, const char *name, uint64_t fallback, uint64_t max, uint64_t *value)
{
	struct slice text = query_get(query, name);
	*value = fallback;
	return text.ptr == NULL || slice_number(text, max, value);
}
