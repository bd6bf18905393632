/* SPDX-License-Identifier: MIT */
/*
 * One pass over the text: a table tells the few bytes that mean something from the many that do not, so a field that needs no
 * decoding costs one table look-up a byte and is handed out where it lies. Only a token with an escape is copied.
 */
#include <reeld/form.h>

#include <stdbool.h>
#include <string.h>

enum byte_class { PLAIN = 0, EQUALS, AMPERSAND, ENCODED, NUL };

static const unsigned char byte_class[256] = {['='] = EQUALS, ['&'] = AMPERSAND, ['%'] = ENCODED, ['+'] = ENCODED, ['\0'] = NUL};

/* The free part of the caller's scratch. */
struct scratch {
	char *next;
	char *end;
};

/* A name or a value as it stands in the text. */
struct token {
	const char *start;
	const char *end;
	bool encoded;
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Runs to the '&' that ends the piece, or to the '=' that ends the name. False at a NUL. */
static bool scan_token(struct token *token, const char *at, const char *end, bool is_name)
{
	token->start = at;
	token->encoded = false;
	for (;; at++) {
		while (at < end && byte_class[(unsigned char)*at] == PLAIN)
			at++;
		if (at == end)
			break;
		unsigned char class = byte_class[(unsigned char)*at];
		if (class == NUL)
			return false;
		if (class == AMPERSAND || (class == EQUALS && is_name))
			break;
		if (class == ENCODED)
			token->encoded = true;
	}
	token->end = at;
	return true;
}

/* Decodes one token into the scratch and makes it point there. */
static enum reeld_form_result decode_token(struct token *token, struct scratch *scratch)
{
	char *start = scratch->next;
	char *out = start;

	for (const char *at = token->start; at < token->end; at++) {
		char c = *at;
		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			if (token->end - at < 3)
				return REELD_FORM_BAD_ESCAPE;
			int high = hex_digit(at[1]);
			int low = hex_digit(at[2]);
			if (high < 0 || low < 0)
				return REELD_FORM_BAD_ESCAPE;
			c = (char)(high << 4 | low);
			if (c == '\0')
				return REELD_FORM_NUL;
			at += 2;
		}
		if (out == scratch->end)
			return REELD_FORM_NO_ROOM;
		*out++ = c;
	}
	scratch->next = out;
	token->start = start;
	token->end = out;
	return REELD_FORM_OK;
}

static enum reeld_form_result take_token(struct token *token, const char *at, const char *end, bool is_name, struct scratch *scratch,
					 const char **next)
{
	if (!scan_token(token, at, end, is_name))
		return REELD_FORM_NUL;
	*next = token->end;
	return token->encoded ? decode_token(token, scratch) : REELD_FORM_OK;
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
		enum reeld_form_result result = take_token(&name, at, end, true, &room, &at);
		if (result != REELD_FORM_OK)
			return result;
		struct token value = {at, at, false};
		if (at < end && *at == '=') {
			result = take_token(&value, at + 1, end, false, &room, &at);
			if (result != REELD_FORM_OK)
				return result;
		}
		fields[(*count)++] = (struct reeld_form_field){name.start, (size_t)(name.end - name.start), value.start,
							       (size_t)(value.end - value.start)};
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
