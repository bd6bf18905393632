/* SPDX-License-Identifier: MIT */
/*
 * Who may use /api: a bearer token when one is configured (RFC 6750), and protection against web pages that make a browser ask.
 * A page elsewhere cannot change anything (Origin and Sec-Fetch-Site are looked at), and cannot have its own name resolve to this listener
 * (DNS rebinding: without a token the Host must be an address or localhost). Pure but for the state in struct guard.
 */
#ifndef REELD_ADMIN_GUARD_H
#define REELD_ADMIN_GUARD_H

#include "intake/request.h"

#include <stdbool.h>
#include <stdint.h>

#define GUARD_DIGEST_SIZE 32

/* The token itself is not kept. */
struct guard {
	bool has_token;
	uint8_t token_digest[GUARD_DIGEST_SIZE];
};

enum guard_verdict {
	GUARD_PASS,
	GUARD_NO_TOKEN,     /* 401: no token, a wrong one, or more than one */
	GUARD_FOREIGN_HOST, /* 403 */
	GUARD_CROSS_SITE,   /* 403 */
};

/* `token` NULL or "": none is wanted. 0 or ERR_IO (OpenSSL failed; the old one stays). */
int guard_set_token(struct guard *guard, const char *token);
/* True when the one Authorization header carries the token, in constant time; also when none is wanted. */
bool guard_token_holds(const struct guard *guard, const struct request *request);
/* What protects against web pages: PASS, FOREIGN_HOST or CROSS_SITE. */
enum guard_verdict guard_check_browser(const struct guard *guard, const struct request *request);
/* Both: the browser first. */
enum guard_verdict guard_check(const struct guard *guard, const struct request *request);

#endif
