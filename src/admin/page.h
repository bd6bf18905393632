/* SPDX-License-Identifier: MIT */
/*
 * The page for people and what it loads: `/`, `/page.css`, `/page.js`, from files that are compiled in (src/admin/page). It holds no data; what it shows it asks
 * of /api with the token that was typed into it. Loop thread only.
 */
#ifndef REELD_ADMIN_PAGE_H
#define REELD_ADMIN_PAGE_H

#include "intake/connection.h"
#include "store/store.h"

#include <stdbool.h>

/* One compiled-in file. */
struct page_file {
	const char *path; /* "/page.css" */
	const char *content_type;
	const char *etag; /* with its quotes */
	const unsigned char *bytes;
	size_t len;
};

struct page_files {
	const struct page_file *files;
	size_t count;
};
extern const struct page_files page_files; /* made by page/embed.py */

/*
 * Answers a GET or HEAD of one of the files, with 304 where If-None-Match has its tag; false, and nothing is answered, for any other path. `store` (NULL: none)
 * is where recordings are played from: its origin goes into the Content-Security-Policy.
 */
bool page_reply(struct connection *connection, const struct request *request, const struct store *store);

/* scheme://host[:port] of an http or https URL into out; "" when it is none, or has characters that no origin has. For tests. */
void page_origin(const char *url, char *out, size_t size);

#endif
