/* SPDX-License-Identifier: MIT */
#include "env_file.h"

#include "base/buffer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* NULL, or what is wrong with the text that was read. */
static const char *text_problem(FILE *file, const char *text, size_t len, size_t max)
{
	if (ferror(file))
		return strerror(errno);
	if (len == max && fgetc(file) != EOF)
		return "longer than allowed";
	return strlen(text) != len ? "holds a NUL byte, is not a text file" : NULL;
}

int text_file_read(const char *path, size_t max, char **ret, size_t *len, struct error *error)
{
	FILE *file = fopen(path, "rbe");
	char *text = file == NULL ? NULL : malloc(max + 1);
	if (text == NULL) {
		error_set(error, ERR_CONFIG, "%s: %s", path, strerror(errno));
		if (file != NULL)
			fclose(file);
		return ERR_CONFIG;
	}
	*len = fread(text, 1, max, file);
	text[*len] = '\0';
	const char *problem = text_problem(file, text, *len, max);
	fclose(file);
	if (problem != NULL) {
		error_set(error, ERR_CONFIG, "%s: %s", path, problem);
		free(text);
		return ERR_CONFIG;
	}
	*ret = text;
	return 0;
}

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (!isalpha((unsigned char)c) && c != '_' && (i == 0 || !isdigit((unsigned char)c)))
			return false;
	}
	return s.len > 0;
}

static char unescape(char c)
{
	return c == 'n' ? '\n' : c;
}

/* The value between the quotes that `raw` begins and must end with. NULL, or what is wrong with it. */
static const char *unquote(struct slice raw, struct buffer *value)
{
	char quote = raw.ptr[0];
	size_t i = 1;
	for (; i < raw.len && raw.ptr[i] != quote; i++) {
		bool escape = quote == '"' && raw.ptr[i] == '\\' && i + 1 < raw.len && strchr("n\"\\$", raw.ptr[i + 1]) != NULL;
		if (escape)
			i++;
		buffer_append_char(value, escape ? unescape(raw.ptr[i]) : raw.ptr[i]);
	}
	if (i >= raw.len)
		return "the quote is not closed";
	return i + 1 == raw.len ? NULL : "there is text behind the closing quote";
}

static int add_pair(struct env_file *file, struct slice name, const char *value)
{
	struct env_pair *pairs = realloc(file->pairs, (file->count + 1) * sizeof(*pairs));
	if (pairs == NULL)
		return ERR_NOMEM;
	file->pairs = pairs;
	struct env_pair pair = {strndup(name.ptr, name.len), strdup(value)};
	if (pair.name == NULL || pair.value == NULL) {
		free(pair.name);
		free(pair.value);
		return ERR_NOMEM;
	}
	pairs[file->count++] = pair;
	return 0;
}

/* NULL, or what is wrong with the line. */
static const char *parse_line(struct env_file *file, struct slice line, struct buffer *value)
{
	line = slice_trim(line);
	if (line.len == 0 || line.ptr[0] == '#')
		return NULL;
	if (slice_starts_with(line, SLICE("export ")))
		line = slice_trim(slice_make(line.ptr + 7, line.len - 7));
	const char *equals = memchr(line.ptr, '=', line.len);
	if (equals == NULL)
		return "expected KEY=VALUE";
	struct slice name = {line.ptr, (size_t)(equals - line.ptr)};
	if (!is_name(name))
		return "the key may hold letters, digits and _ only, without space before the =";
	struct slice raw = slice_trim(slice_make(equals + 1, line.len - name.len - 1));
	const char *problem = NULL;
	buffer_clear(value);
	if (raw.len > 0 && (raw.ptr[0] == '"' || raw.ptr[0] == '\''))
		problem = unquote(raw, value);
	else
		buffer_append_slice(value, raw);
	if (problem != NULL)
		return problem;
	const char *text = value->failed ? NULL : buffer_cstr(value);
	return text == NULL || add_pair(file, name, text) != 0 ? "out of memory" : NULL;
}

int env_file_parse(struct env_file *file, struct slice text, const char *path, struct error *error)
{
	struct buffer value;
	buffer_init(&value, ENV_FILE_MAX);
	*file = (struct env_file){0};
	int rc = 0;
	for (size_t number = 1; rc == 0 && text.len > 0; number++) {
		const char *end = memchr(text.ptr, '\n', text.len);
		struct slice line = {text.ptr, end == NULL ? text.len : (size_t)(end - text.ptr)};
		const char *problem = parse_line(file, line, &value);
		if (problem != NULL)
			rc = error_set(error, ERR_CONFIG, "%s:%zu: %s; example: LISTEN=0.0.0.0:8080", path, number, problem);
		size_t used = line.len + (end != NULL);
		text = slice_make(text.ptr + used, text.len - used);
	}
	if (rc != 0)
		env_file_free(file);
	buffer_free(&value);
	return rc;
}

int env_file_read(struct env_file *file, const char *path, struct error *error)
{
	char *text = NULL;
	size_t len = 0;
	*file = (struct env_file){0};
	int rc = text_file_read(path, ENV_FILE_MAX, &text, &len, error);
	if (rc != 0)
		return rc;
	rc = env_file_parse(file, slice_make(text, len), path, error);
	if (text != NULL)
		explicit_bzero(text, len);
	free(text);
	return rc;
}

const char *env_file_get(const struct env_file *file, const char *name)
{
	for (size_t i = file->count; i > 0; i--) {
		if (strcmp(file->pairs[i - 1].name, name) == 0)
			return file->pairs[i - 1].value;
	}
	return NULL;
}

void env_file_free(struct env_file *file)
{
	for (size_t i = 0; i < file->count; i++) {
		free(file->pairs[i].name);
		explicit_bzero(file->pairs[i].value, strlen(file->pairs[i].value));
		free(file->pairs[i].value);
	}
	free(file->pairs);
	*file = (struct env_file){0};
}
