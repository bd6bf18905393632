/* SPDX-License-Identifier: MIT */
/*
 * application/x-www-form-urlencoded, strictly: "%XX" and "+" decoded; a malformed escape, a NUL (raw or %00) or too many
 * fields is an error. Pure: no allocation, no state. Source: WHATWG URL, "application/x-www-form-urlencoded parsing".
 */
#ifndef REELD_FORM_H
#define REELD_FORM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct reeld_form_field {
	const char *name; /* decoded, not NUL-terminated */
	size_t name_len;
	const char *value;
	size_t value_len;
};

enum reeld_form_result {
	REELD_FORM_OK = 0,
	REELD_FORM_BAD_ESCAPE = -1,
	REELD_FORM_NUL = -2,
	REELD_FORM_TOO_MANY_FIELDS = -3,
	REELD_FORM_NO_ROOM = -4,
};

/*
 * Decodes `len` bytes at `text` into at most `max_fields` entries of `fields`, in order of appearance. Empty pieces
 * ("a=1&&b=2") are skipped; a piece without '=' is a name with an empty value. Names and values point into `text`
 * where nothing had to be decoded and into `scratch` otherwise; `scratch_len` of `len` bytes always suffices. Sets
 * *count (also on error: the fields so far).
 */
enum reeld_form_result reeld_form_parse(const char *text, size_t len, struct reeld_form_field *fields, size_t max_fields,
					char *scratch, size_t scratch_len, size_t *count);

/* The first field of that name, or NULL. */
const struct reeld_form_field *reeld_form_find(const struct reeld_form_field *fields, size_t count, const char *name);

/* A sentence for the client: "malformed percent escape". */
const char *reeld_form_message(enum reeld_form_result result);

#ifdef __cplusplus
}
#endif
#endif
