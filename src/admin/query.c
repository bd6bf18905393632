/* SPDX-License-Identifier: MIT */
#include "admin/query.h"

#include <reeld/form.h>

#define QUERY_FIELDS 32
#define QUERY_SIZE 16384 /* a request's head has no more */

enum admin_query_result admin_query_get(struct slice query, const char *name, char *out, size_t size)
{
	struct reeld_form_field fields[QUERY_FIELDS];
	char scratch[QUERY_SIZE];
	size_t count = 0;
	const struct reeld_form_field *found = NULL;
	out[0] = '\0';
	if (query.ptr == NULL)
		return QUERY_ABSENT;
	if (reeld_form_parse(query.ptr, query.len, fields, QUERY_FIELDS, scratch, sizeof(scratch), &count) != REELD_FORM_OK)
		return QUERY_BAD;
	for (size_t i = 0; i < count; i++) {
		if (!slice_equal(slice_make(fields[i].name, fields[i].name_len), slice_from_cstr(name)))
			continue;
		if (found != NULL)
			return QUERY_BAD;
		found = &fields[i];
	}
	if (found == NULL || found->value_len == 0)
		return QUERY_ABSENT;
	if (found->value_len >= size)
		return QUERY_BAD;
	memcpy(out, found->value, found->value_len);
	out[found->value_len] = '\0';
	return QUERY_FOUND;
}
