/* SPDX-License-Identifier: MIT */
/*
 * One pass over the text: a table tells the few bytes that mean something from the many that do not, so a token without an escape
 * costs one look-up a byte and is handed out where it lies. From its first escape on a token is decoded into the scratch.
 */
#include <reeld/form.h>

#include <stdbool.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum byte_class { PLAIN = 0, EQUALS, AMPERSAND, ENCODED, NUL };

static const unsigned char byte_class[256] = {['='] = EQUALS, ['&'] = AMPERSAND, ['%'] = ENCODED, ['+'] = ENCODED, ['\0'] = NUL};

/* The free part of the caller's scratch. */
struct scratch {
	char *next;
	char *end;
};

/* A name or a value. */
struct token {
	const char *start;
	size_t len;
};

/* The value of a hex digit and 1; 0 for any other byte. */
static const unsigned char hex_digit[256] = {
	['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
	['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static bool ends_token(unsigned char class, bool is_name)
{
	return class == AMPERSAND || (class == EQUALS && is_name);
}

/* "%41" at `at`; the byte goes to *decoded. */
static enum reeld_form_result decode_escape(const char *at, const char *end, char *decoded)
{
	if (end - at < 3)
		return REELD_FORM_BAD_ESCAPE;
	unsigned int high = hex_digit[(unsigned char)at[1]];
	unsigned int low = hex_digit[(unsigned char)at[2]];
	if (high == 0 || low == 0)
		return REELD_FORM_BAD_ESCAPE;
	*decoded = (char)((high - 1) << 4 | (low - 1));
	return *decoded == '\0' ? REELD_FORM_NUL : REELD_FORM_OK;
}

/* Decodes from *at, where the first escape is, to the end of the token. */
static enum reeld_form_result decode_tail(const char **at, const char *end, bool is_name, struct scratch *scratch)
{
	const char *in = *at;
	char *out = scratch->next;

	for (; in < end; in++) {
		char c = *in;
		unsigned char class = byte_class[(unsigned char)c];
		if (class != PLAIN) {
			if (ends_token(class, is_name))
				break;
			if (class == NUL)
				return REELD_FORM_NUL;
			if (c == '+') {
				c = ' ';
			} else if (c == '%') {
				enum reeld_form_result result = decode_escape(in, end, &c);
				if (result != REELD_FORM_OK)
					return result;
				in += 2;
			}
		}
		if (out == scratch->end)
			return REELD_FORM_NO_ROOM;
		*out++ = c;
	}
	*at = in;
	scratch->next = out;
	return REELD_FORM_OK;
}

/* The first byte from `at` on that is not plain, or the end. */
static const char *skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
	while (end - at >= 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
		__m128i found = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('='));
		found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('&')));
		found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('%')));
		found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('+')));
		found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
		unsigned mask = (unsigned)_mm_movemask_epi8(found);
		if (mask != 0)
			return at + __builtin_ctz(mask);
		at += 16;
	}
#endif
	while (at < end && byte_class[(unsigned char)*at] == PLAIN)
		at++;
	return at;
}

/* Takes the token at *at and leaves *at at what ended it. */
static enum reeld_form_result take_token(struct token *token, const char **at, const char *end, bool is_name,
					 struct scratch *scratch)
{
	const char *start = *at;
	const char *stop = skip_plain(start, end);

	while (stop < end && *stop == '=' && !is_name)
		stop = skip_plain(stop + 1, end);
	*at = stop;
	*token = (struct token){start, (size_t)(stop - start)};
	if (stop == end || *stop == '&' || *stop == '=')
		return REELD_FORM_OK;
	if (*stop == '\0')
		return REELD_FORM_NUL;

	if (token->len > (size_t)(scratch->end - scratch->next))
		return REELD_FORM_NO_ROOM;
	token->start = scratch->next;
	if (token->len > 0)
		memcpy(scratch->next, start, token->len);
	scratch->next += token->len;
	enum reeld_form_result result = decode_tail(at, end, is_name, scratch);
	token->len = (size_t)(scratch->next - token->start);
	return result;
}

enum reeld_form_result reeld_form_parse(const char *text, size_t len, struct reeld_form_field *fields, size_t max_fields,
					char *scratch, size_t scratch_len, size_t *count)
{
	*count = 0;
	if (len == 0)
		return REELD_FORM_OK;

	struct scratch room = {scratch, scratch_len == 0 ? scratch : scratch + scratch_len};
	const char *end = text + len;
	const char *at = text;
	while (at < end) {
		if (*at == '&') {
			at++;
			continue;
		}
		if (*count == max_fields)
			return REELD_FORM_TOO_MANY_FIELDS;

		struct token name;
		enum reeld_form_result result = take_token(&name, &at, end, true, &room);
		if (result != REELD_FORM_OK)
			return result;
		struct token value = {at, 0};
		if (at < end && *at == '=') {
			at++;
			result = take_token(&value, &at, end, false, &room);
			if (result != REELD_FORM_OK)
				return result;
		}
		fields[(*count)++] = (struct reeld_form_field){name.start, name.len, value.start, value.len};
	}
	return REELD_FORM_OK;
}

const struct reeld_form_field *reeld_form_find(const struct reeld_form_field *fields, size_t count, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < count; i++) {
		if (fields[i].name_len == len && memcmp(fields[i].name, name, len) == 0)
			return &fields[i];
	}
	return NULL;
}

const char *reeld_form_message(enum reeld_form_result result)
{
	switch (result) {
	case REELD_FORM_OK:
		return "no error";
	case REELD_FORM_BAD_ESCAPE:
		return "malformed percent escape";
	case REELD_FORM_NUL:
		return "NUL byte in a parameter";
	case REELD_FORM_TOO_MANY_FIELDS:
		return "too many parameters";
	case REELD_FORM_NO_ROOM:
		return "parameters do not fit the buffer";
	}
	return "unknown form error";
}
