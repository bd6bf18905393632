/* SPDX-License-Identifier: MIT */
/*
 * Where a Redis is and how to get in, from one URL. Pure.
 *
 *   redis://[user[:password]@]host[:port][/db]       also ?db=, ?user=, ?password=; port 6379, db 0
 *   rediss://…                                       the same over TLS
 *   unix:/path/to/socket[?db=n&user=u&password=p]    also unix:///path, redis+unix:…
 *
 * (the provisional URI schemes "redis" and "rediss" of IANA; the unix form as other clients have it). Percent-encoding in user, password and
 * path; an IPv6 address in brackets.
 */
#ifndef REELD_ADAPTERS_REDIS_URL_H
#define REELD_ADAPTERS_REDIS_URL_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define REDIS_URL_MAX_DB 65535

struct redis_url {
	bool tls;
	char host[256]; /* name or address without brackets; "" with a path */
	uint16_t port;
	char path[108];     /* of the unix socket (sun_path), absolute; "" with a host */
	char user[128];     /* "": the default user */
	char password[512]; /* "": none needed */
	int db;
};

/* 0, or ERR_CONFIG; the message never holds any part of the URL. *url is wiped then. */
int redis_url_parse(struct redis_url *url, struct slice text, struct error *error);
/* Where it is, for logs: "127.0.0.1:6379", "[::1]:6379", "unix:/run/redis.sock"; never user or password. Cut to fit. */
void redis_url_describe(const struct redis_url *url, char *out, size_t size);
/* Overwrites everything, the password first of all. */
void redis_url_wipe(struct redis_url *url);

#endif
