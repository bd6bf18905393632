/* SPDX-License-Identifier: MIT */
/* Percent encoding and the path: S3 signs it as it is sent, other services a normalized and once more encoded form. */
#include "store/sigv4_internal.h"

static bool is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
	       c == '~';
}

void reeld_sigv4_put_encoded(struct writer *writer, struct text text, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.len; i++) {
		unsigned char byte = (unsigned char)text.ptr[i];
		if (is_unreserved(text.ptr[i]) || (keep_slash && byte == '/')) {
			put_char(writer, text.ptr[i]);
			continue;
		}
		char escape[] = {'%', digits[byte >> 4], digits[byte & 15]};
		put(writer, escape, sizeof(escape));
	}
}

int reeld_sigv4_encode(const char *bytes, size_t len, bool keep_slash, char *out, size_t size)
{
	struct writer writer = {out, out + size, false};

	reeld_sigv4_put_encoded(&writer, (struct text){bytes, len}, keep_slash);
	struct text text = finish(&writer, out);
	return writer.full ? -1 : (int)text.len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False for a malformed escape. */
static bool put_decoded(struct writer *writer, struct text text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '%') {
			put_char(writer, text.ptr[i]);
			continue;
		}
		int high = text.len - i > 2 ? hex_digit(text.ptr[i + 1]) : -1;
		int low = text.len - i > 2 ? hex_digit(text.ptr[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		put_char(writer, (char)(high << 4 | low));
		i += 2;
	}
	return true;
}

/* RFC 3986, 5.2.4, and no empty segments. What is written since the call is a path that begins and may end with '/'. */
static void put_normalized(struct writer *writer, struct text path)
{
	const char *end = path.ptr + path.len;
	char *start = writer->at;

	put_char(writer, '/');
	for (const char *at = path.ptr; at < end;) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		struct text segment = {at, (size_t)((slash == NULL ? end : slash) - at)};
		at += segment.len + (slash != NULL);
		if (segment.len == 0 || (segment.len == 1 && segment.ptr[0] == '.'))
			continue;
		if (segment.len == 2 && segment.ptr[0] == '.' && segment.ptr[1] == '.') {
			/* back over the last segment, to the '/' before it */
			if (writer->at - start > 1)
				writer->at--;
			while (writer->at - start > 1 && writer->at[-1] != '/')
				writer->at--;
			continue;
		}
		put_text(writer, segment);
		if (slash != NULL)
			put_char(writer, '/');
	}
}

bool reeld_sigv4_write_path(struct writer *writer, const struct reeld_sigv4_request *request, struct text *path,
			    struct text *canonical)
{
	struct text raw = {request->path, request->path_len};
	const char *start = writer->at;

	if (raw.len == 0)
		raw = text_from("/");
	if (raw.ptr[0] != '/')
		return false;
	if ((request->flags & REELD_SIGV4_PATH_IS_ENCODED) != 0) {
		if (!put_decoded(writer, raw))
			return false;
		raw = finish(writer, start);
	}
	start = writer->at;
	reeld_sigv4_put_encoded(writer, raw, true);
	*path = finish(writer, start);

	*canonical = *path;
	if ((request->flags & REELD_SIGV4_NORMALIZE_PATH) != 0) {
		start = writer->at;
		put_normalized(writer, *path);
		*canonical = finish(writer, start);
	}
	if ((request->flags & REELD_SIGV4_ENCODE_PATH_TWICE) != 0) {
		start = writer->at;
		reeld_sigv4_put_encoded(writer, *canonical, true);
		*canonical = finish(writer, start);
	}
	return true;
}
