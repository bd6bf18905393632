/* SPDX-License-Identifier: MIT */
/* Byte ranges and entity tags of a request for a file (RFC 9110, 13 and 14). Pure. */
#ifndef REELD_ADMIN_RANGE_H
#define REELD_ADMIN_RANGE_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum range_result {
	RANGE_WHOLE,         /* none asked for, several, another unit or malformed: all of it, 200 */
	RANGE_PART,          /* 206 */
	RANGE_UNSATISFIABLE, /* 416 */
};

/* What "bytes=…" means for a file of `length` bytes: [*from, *to) in every case but UNSATISFIABLE. */
enum range_result range_parse(struct slice header, int64_t length, int64_t *from, int64_t *to);
/* True when If-None-Match names the tag (with its quotes), by weak comparison, or is "*". */
bool etag_matches(struct slice header, struct slice tag);

#endif
