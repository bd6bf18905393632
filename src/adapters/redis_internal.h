/* SPDX-License-Identifier: MIT */
/* One connection: hiredis' async context on a uv_poll. It reports to its owner by `ops`; whether and when to connect is the owner's business. */
#ifndef REELD_ADAPTERS_REDIS_INTERNAL_H
#define REELD_ADAPTERS_REDIS_INTERNAL_H

#include "adapters/redis.h"
#include "adapters/redis_url.h"

#include <hiredis/async.h>

struct redis_link;
struct redis_tls; /* redis_tls.c */

/* Called from the loop (connected, answer, lost), or from redis_link_send (unflushed). */
struct redis_link_ops {
	void (*connected)(void *owner); /* must not drop the link; hiredis would not survive it */
	/* The answers come in the order of the commands. May drop the link and send commands. */
	void (*answer)(void *owner, const struct redis_answer *answer);
	void (*unflushed)(void *owner); /* there is something to write: call redis_link_flush when there will be no more of it */
	void (*lost)(void *owner, int err, const char *detail); /* not after redis_link_drop */
	void (*closed)(void *owner);                            /* last, always: the link is freed */
};

/* Where to: `path`, or the numeric `address` and `port`, and TLS when tls is not NULL. Copied. */
struct redis_target {
	const char *address;
	int port;
	const char *path;
	struct redis_tls *tls;
};

/* 0; or an error and no callback will come. */
int redis_link_open(struct redis_link **ret, uv_loop_t *loop, const struct redis_target *target, const struct redis_link_ops *ops,
		    void *owner, struct error *error);
/* Exactly one answer is owed for each. 0 or ERR_NOMEM. */
int redis_link_send(struct redis_link *link, const struct slice *arguments, size_t count);
void redis_link_flush(struct redis_link *link);
/* Gives it up, from anywhere but `connected`. Only `closed` comes afterwards. */
void redis_link_drop(struct redis_link *link);

/*
 * TLS for rediss://, when hiredis_ssl is there (HAVE_HIREDIS_SSL): TLS 1.2 or later, the system's authorities (SSL_CERT_FILE and SSL_CERT_DIR
 * are obeyed), the peer's name verified. Without it redis_tls_new is ERR_CONFIG with a message that says what to do.
 */
int redis_tls_new(struct redis_tls **ret, const char *host, struct error *error);
void redis_tls_free(struct redis_tls **tls);
int redis_tls_start(struct redis_tls *tls, redisAsyncContext *context, struct error *error);

/* ---- the texts of errors (redis_error.c), pure ---- */

/* It begins with this word, as in "READONLY You can't write …". */
bool redis_error_is(struct slice text, struct slice word);
/* Passes by itself: a server that starts, is full of clients, or whose master is away. */
bool redis_error_passes(struct slice text);
/* The first word when it is one of Redis' own, else "an error": some servers go on with the arguments, which may be AUTH's. */
const char *redis_error_word(struct slice text);

#endif
