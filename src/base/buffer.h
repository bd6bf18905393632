/* SPDX-License-Identifier: MIT */
/* A growing byte buffer with a maximum set at creation. Not thread-safe. */
#ifndef REELD_BASE_BUFFER_H
#define REELD_BASE_BUFFER_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct buffer {
	char *data;
	size_t len;
	size_t capacity;
	size_t max;
	bool failed; /* an append did not fit or memory ran out; sticky, so that builders check once at the end */
};

void buffer_init(struct buffer *buffer, size_t max);
/* Frees the memory; the buffer can be used again. */
void buffer_free(struct buffer *buffer);
/* Empties it and clears `failed`, keeping the memory. */
void buffer_clear(struct buffer *buffer);

/* Each returns 0, or ERR_LIMIT / ERR_NOMEM and sets `failed`; a failed append leaves the contents as they were. */
int buffer_reserve(struct buffer *buffer, size_t extra);
int buffer_append(struct buffer *buffer, const void *data, size_t len);
int buffer_append_slice(struct buffer *buffer, struct slice s);
int buffer_append_cstr(struct buffer *buffer, const char *text);
int buffer_append_char(struct buffer *buffer, char c);
int buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends s as the inside of a JSON string (RFC 8259): quotes, backslash and control characters escaped; bytes that are not valid UTF-8 become U+FFFD. */
int buffer_append_json(struct buffer *buffer, struct slice s);
/* Percent-encodes everything but RFC 3986 unreserved characters (and '/' when keep_slash). */
int buffer_append_percent(struct buffer *buffer, struct slice s, bool keep_slash);

static inline struct slice buffer_slice(const struct buffer *buffer)
{
	return slice_make(buffer->data, buffer->len);
}

/* NUL-terminated view (adds a NUL behind len); NULL when that fails. */
const char *buffer_cstr(struct buffer *buffer);

#endif
