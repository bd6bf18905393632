/* SPDX-License-Identifier: MIT */
/*
 * The URL that Twilio called, as far as the server's own part of it goes ("https://calls.example.com"): what Twilio signed
 * begins with it. PUBLIC_URL when set, else scheme and Host of the request, X-Forwarded-Proto and -Host only from a trusted
 * peer. Pure.
 */
#ifndef REELD_INTAKE_PUBLIC_URL_H
#define REELD_INTAKE_PUBLIC_URL_H

#include "base/err.h"
#include "base/slice.h"
#include "intake/request.h"

#include <stdbool.h>
#include <sys/socket.h>

struct public_url;

#define PUBLIC_URL_BASE_SIZE 512

/*
 * `fixed`: PUBLIC_URL or NULL; a slash at its end does not count. `trusted`: comma list of addresses and CIDR blocks, or NULL.
 * Both are copied. 0; ERR_CONFIG with the one line naming the variable; ERR_NOMEM.
 */
int public_url_new(struct public_url **ret, const char *fixed, const char *trusted, struct error *error);
void public_url_free(struct public_url **url);

/* Is this peer one of TRUSTED_PROXIES? IPv4 inside IPv6 counts as IPv4. */
bool public_url_trusts(const struct public_url *url, const struct sockaddr_storage *peer);

/* PUBLIC_URL without a slash at its end; empty when it is not set. */
struct slice public_url_fixed(const struct public_url *url);

/* public_url_base() depends on who the peer is; asking costs a system call. */
bool public_url_wants_peer(const struct public_url *url);

/*
 * The base for this request; points to PUBLIC_URL or into `out`. `peer` may be NULL when it is not wanted. Empty when the
 * request does not tell its host, or tells one that is none.
 */
struct slice public_url_base(const struct public_url *url, const struct request *request, const struct sockaddr_storage *peer,
			     bool tls, char out[PUBLIC_URL_BASE_SIZE]);

#endif
