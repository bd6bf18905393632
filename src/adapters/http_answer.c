/* SPDX-License-Identifier: MIT */
#include "adapters/http_internal.h"
#include "base/clock.h"

#include <string.h>

/* More than a week of patience is a mistake of the sender's. */
#define RETRY_AFTER_MAX_MS ((int64_t)7 * 24 * 3600 * 1000)

/* Digits only; -1 when it is something else or too large. */
static int64_t parse_number(struct slice s)
{
	int64_t value = 0;
	if (s.len == 0)
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return -1;
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, s.ptr[i] - '0', &value))
			return -1;
	}
	return value;
}

/* RFC 9110, 10.2.3: delay-seconds or an HTTP date. */
static int64_t parse_retry_after(struct slice value, int64_t now_wall_ms)
{
	int64_t seconds = parse_number(value);
	if (seconds >= 0)
		return seconds > RETRY_AFTER_MAX_MS / 1000 ? RETRY_AFTER_MAX_MS : seconds * 1000;
	int64_t at;
	if (clock_parse_rfc2822(value.ptr, value.len, &at) != 0)
		return -1;
	int64_t wait = at <= now_wall_ms ? 0 : at - now_wall_ms;
	return wait > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : wait;
}

/* A value that does not fit is left out: half an ETag or URL is worse than none. */
static void keep(char *out, size_t size, struct slice value)
{
	if (value.len >= size)
		value.len = 0;
	if (value.len > 0)
		memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
}

void http_answer_reset(struct http_client_request *request)
{
	request->http_status = 0;
	request->content_length = -1;
	request->retry_after_ms = -1;
	request->content_type[0] = '\0';
	request->etag[0] = '\0';
	request->location[0] = '\0';
}

bool http_answer_split(struct slice line, struct slice *name, struct slice *value)
{
	const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
	if (colon == NULL)
		return false;
	size_t name_len = (size_t)(colon - line.ptr);
	*name = slice_make(line.ptr, name_len);
	*value = slice_trim(slice_make(colon + 1, line.len - name_len - 1));
	return true;
}

int http_answer_header(struct http_client_request *request, struct slice line, int64_t now_wall_ms)
{
	struct slice name, value;
	if (!http_answer_split(line, &name, &value))
		return 0;
	if (slice_equal_nocase(name, SLICE("Content-Length"))) {
		int64_t length = parse_number(value);
		if (length < 0 || (request->content_length >= 0 && request->content_length != length))
			return ERR_PROTOCOL;
		request->content_length = length;
	} else if (slice_equal_nocase(name, SLICE("Content-Type"))) {
		keep(request->content_type, sizeof(request->content_type), value);
	} else if (slice_equal_nocase(name, SLICE("ETag"))) {
		keep(request->etag, sizeof(request->etag), value);
	} else if (slice_equal_nocase(name, SLICE("Location"))) {
		keep(request->location, sizeof(request->location), value);
	} else if (slice_equal_nocase(name, SLICE("Retry-After"))) {
		request->retry_after_ms = parse_retry_after(value, now_wall_ms);
	}
	return 0;
}

int http_status_error(long status)
{
	if (status >= 200 && status <= 299)
		return 0;
	if (status >= 300 && status <= 399)
		return ERR_REDIRECT;
	switch (status) {
	case 401:
		return ERR_HTTP_UNAUTHORIZED;
	case 403:
		return ERR_HTTP_FORBIDDEN;
	case 404:
		return ERR_HTTP_NOT_FOUND;
	case 408:
		return ERR_TIMEOUT;
	case 410:
		return ERR_HTTP_GONE;
	case 429:
		return ERR_HTTP_THROTTLED;
	default:
		break;
	}
	if (status >= 400 && status <= 499)
		return ERR_HTTP_CLIENT;
	if (status >= 500 && status <= 599)
		return ERR_HTTP_SERVER;
	return ERR_PROTOCOL;
}
