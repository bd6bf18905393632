/* SPDX-License-Identifier: MIT */
#include "admin/page.h"

#include "base/buffer.h"

#include <string.h>

#define ORIGIN_SIZE 300
/* A link is signed only to see where it leads; nobody is given it. */
#define PROBE_KEY "x"
#define PROBE_VALID_S 1

void page_origin(const char *url, char *out, size_t size)
{
	out[0] = '\0';
	size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
	if (scheme == 0)
		return;
	/* Only what a host or a port is made of: nothing else may get into a header that separates by spaces and semicolons. */
	size_t host = strspn(url + scheme, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]");
	char end = url[scheme + host];
	if (host == 0 || scheme + host >= size || (end != '/' && end != '?' && end != '\0'))
		return;
	memcpy(out, url, scheme + host);
	out[scheme + host] = '\0';
}

static void store_origin(const struct store *store, char out[ORIGIN_SIZE])
{
	char link[4096];
	out[0] = '\0';
	if (store != NULL && store_link(store, PROBE_KEY, PROBE_VALID_S, link, sizeof(link)) == 0)
		page_origin(link, out, ORIGIN_SIZE);
}

/* RFC 9110 section 13.1.2: a list of tags, weak ones too, or "*". */
static bool tag_matches(struct slice list, const char *etag)
{
	return list.ptr != NULL && (slice_equal(list, SLICE("*")) || memmem(list.ptr, list.len, etag, strlen(etag)) != NULL);
}

bool page_reply(struct connection *connection, const struct request *request, const struct store *store)
{
	const struct page_file *file = NULL;
	for (size_t i = 0; i < page_files.count && file == NULL; i++)
		if (slice_equal(request->path, slice_from_cstr(page_files.files[i].path)))
			file = &page_files.files[i];
	if (file == NULL)
		return false;

	char origin[ORIGIN_SIZE];
	store_origin(store, origin);
	struct buffer headers;
	buffer_init(&headers, 2048);
	buffer_printf(&headers,
		      "ETag: %s\r\n"
		      "Cache-Control: no-cache\r\n"
		      "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
		      "img-src 'self' data:; "
		      "media-src 'self' blob:%s%s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
		      "Referrer-Policy: no-referrer\r\n"
		      "X-Content-Type-Options: nosniff\r\n"
		      "Cross-Origin-Opener-Policy: same-origin\r\n"
		      "Cross-Origin-Resource-Policy: same-origin\r\n",
		      file->etag, origin[0] == '\0' ? "" : " ", origin);
	const char *text = buffer_cstr(&headers);
	if (text == NULL)
		reply_error(connection, 500, "out of memory");
	else if (tag_matches(request_header(request, SLICE("If-None-Match")), file->etag))
		reply_send(connection, &(struct reply){.status = 304, .headers = text});
	else
		reply_send(connection, &(struct reply){.status = 200,
						       .content_type = file->content_type,
						       .headers = text,
						       .body = slice_make((const char *)file->bytes, file->len)});
	buffer_free(&headers);
	return true;
}
