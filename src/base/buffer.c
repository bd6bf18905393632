/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include "base/err.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_MIN_CAPACITY 128

static const char hex_upper[] = "0123456789ABCDEF";
static const char hex_lower[] = "0123456789abcdef";

void buffer_init(struct buffer *buffer, size_t max)
{
	*buffer = (struct buffer){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	buffer_init(buffer, buffer->max);
}

void buffer_clear(struct buffer *buffer)
{
	buffer->len = 0;
	buffer->failed = false;
}

static int buffer_fail(struct buffer *buffer, int code)
{
	buffer->failed = true;
	return code;
}

/* One byte more than asked for is always kept, so that buffer_cstr can add its NUL to a full buffer. */
int buffer_reserve(struct buffer *buffer, size_t extra)
{
	if (extra > buffer->max - buffer->len)
		return buffer_fail(buffer, ERR_LIMIT);
	size_t need = buffer->len + extra + 1;
	if (need <= buffer->capacity)
		return 0;
	size_t capacity = buffer->capacity < BUFFER_MIN_CAPACITY ? BUFFER_MIN_CAPACITY : buffer->capacity;
	while (capacity < need)
		capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
	if (capacity > buffer->max + 1)
		capacity = buffer->max + 1;
	char *data = realloc(buffer->data, capacity);
	if (data == NULL)
		return buffer_fail(buffer, ERR_NOMEM);
	buffer->data = data;
	buffer->capacity = capacity;
	return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t len)
{
	int rc = buffer_reserve(buffer, len);
	if (rc != 0)
		return rc;
	if (len > 0)
		memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
	return 0;
}

int buffer_append_slice(struct buffer *buffer, struct slice s)
{
	return buffer_append(buffer, s.ptr, s.len);
}

int buffer_append_cstr(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

int buffer_append_char(struct buffer *buffer, char c)
{
	return buffer_append(buffer, &c, 1);
}

int buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return buffer_fail(buffer, ERR_INVALID);
	int rc = buffer_reserve(buffer, (size_t)len);
	if (rc != 0)
		return rc;
	va_start(args, format);
	vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, args);
	va_end(args);
	buffer->len += (size_t)len;
	return 0;
}

static int append_json_escape(struct buffer *buffer, unsigned char c)
{
	switch (c) {
	case '"':
		return buffer_append(buffer, "\\\"", 2);
	case '\\':
		return buffer_append(buffer, "\\\\", 2);
	case '\n':
		return buffer_append(buffer, "\\n", 2);
	case '\r':
		return buffer_append(buffer, "\\r", 2);
	case '\t':
		return buffer_append(buffer, "\\t", 2);
	default: {
		char escape[6] = {'\\', 'u', '0', '0', hex_lower[c >> 4], hex_lower[c & 15]};
		return buffer_append(buffer, escape, sizeof(escape));
	}
	}
}

int buffer_append_json(struct buffer *buffer, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	size_t start_len = buffer->len;
	size_t plain = 0; /* start of the run that needs no escape and is not yet copied */
	size_t i = 0;
	int rc = 0;
	while (i < s.len && rc == 0) {
		bool escape = p[i] < 0x20 || p[i] == '"' || p[i] == '\\';
		size_t sequence = escape ? 0 : utf8_char(slice_make(s.ptr + i, s.len - i));
		if (sequence > 0) {
			i += sequence;
			continue;
		}
		rc = buffer_append(buffer, p + plain, i - plain);
		if (rc == 0)
			rc = escape ? append_json_escape(buffer, p[i]) : buffer_append(buffer, "\xEF\xBF\xBD", 3);
		i++;
		plain = i;
	}
	if (rc == 0)
		rc = buffer_append(buffer, s.len > 0 ? p + plain : p, s.len - plain);
	if (rc != 0)
		buffer->len = start_len;
	return rc;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
	       c == '~';
}

int buffer_append_percent(struct buffer *buffer, struct slice s, bool keep_slash)
{
	size_t start_len = buffer->len;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		char escape[3] = {'%', hex_upper[c >> 4], hex_upper[c & 15]};
		int rc = is_unreserved(c) || (keep_slash && c == '/') ? buffer_append_char(buffer, (char)c)
								      : buffer_append(buffer, escape, sizeof(escape));
		if (rc != 0) {
			buffer->len = start_len;
			return rc;
		}
	}
	return 0;
}

const char *buffer_cstr(struct buffer *buffer)
{
	bool failed_before = buffer->failed;
	if (buffer_reserve(buffer, 0) != 0) {
		buffer->failed = failed_before;
		return NULL;
	}
	buffer->data[buffer->len] = '\0';
	return buffer->data;
}
