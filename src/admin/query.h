/* SPDX-License-Identifier: MIT */
/* Parameters of a request's query ("status=dead&limit=10"). Pure. */
#ifndef REELD_ADMIN_QUERY_H
#define REELD_ADMIN_QUERY_H

#include "base/slice.h"

enum admin_query_result { QUERY_ABSENT, QUERY_FOUND, QUERY_BAD };

/*
 * The decoded value of the parameter `name` as a string. ABSENT (also for an empty value): `out` is "". BAD: it is there twice, does not fit into
 * `size` bytes, has a malformed escape or a NUL, or the query has more than 32 parameters.
 */
enum admin_query_result admin_query_get(struct slice query, const char *name, char *out, size_t size);

#endif
