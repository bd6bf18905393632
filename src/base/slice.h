/* SPDX-License-Identifier: MIT */
/* A view of bytes owned by somebody else. Passed by value, never NUL-terminated, never freed. */
#ifndef REELD_BASE_SLICE_H
#define REELD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
	const char *ptr;
	size_t len;
};

/* SLICE("literal"): the literal without its NUL. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

/* printf("%.*s", SLICE_FMT(s)) for logs and messages; the slice must be shorter than INT_MAX. */
#define SLICE_FMT(s) (int)(s).len, (s).ptr

static inline struct slice slice_make(const char *ptr, size_t len)
{
	return (struct slice){ptr, len};
}

static inline struct slice slice_from_cstr(const char *text)
{
	return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-insensitive comparison. */
static inline bool slice_equal_nocase(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without white space around it. */
static inline struct slice slice_trim(struct slice s)
{
	while (s.len > 0 && slice_is_blank(s.ptr[0]))
		s = slice_make(s.ptr + 1, s.len - 1);
	while (s.len > 0 && slice_is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

#endif
