/* SPDX-License-Identifier: MIT */
/*
 * TLS for the server: certificate and key from PEM files, TLS 1.2 and later, session tickets, HTTP/1.1 by ALPN. OpenSSL sees no
 * socket: records come from and go to buffers of the caller, so an idle connection keeps nothing but its session. Loop thread
 * only.
 */
#ifndef REELD_INTAKE_TLS_H
#define REELD_INTAKE_TLS_H

#include "base/buffer.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>

struct tls_context;

/* `certificate`: PEM, the leaf first, then its chain. NULL with a message that names the file and what to do. Blocking. */
struct tls_context *tls_context_new(const char *certificate, const char *key, struct error *error);
/* New connections use the new files, open ones go on as they are. On an error the old ones stay. Blocking. */
int tls_context_reload(struct tls_context *context, const char *certificate, const char *key, struct error *error);
/* No session may be left: close the server first. */
void tls_context_free(struct tls_context **context);

struct tls_session;

/* NULL when out of memory. */
struct tls_session *tls_session_new(struct tls_context *context);
void tls_session_free(struct tls_session **session);
/* The handshake is complete. */
bool tls_session_established(const struct tls_session *session);
/*
 * Takes records from *input (which is moved on) and gives up to `cap` plain bytes; *len 0: it wants more input, and all of it
 * was taken. What must go to the peer (handshake, alerts) is appended to `output`, also on an error. 0; ERR_RESET: the peer
 * closed in order; ERR_TLS: handshake or record refused, logged at debug.
 */
int tls_session_read(struct tls_session *session, struct slice *input, char *plain, size_t cap, size_t *len,
		     struct buffer *output);
/* Appends the records for these bytes to `output`. 0 or ERR_TLS. */
int tls_session_write(struct tls_session *session, const char *plain, size_t len, struct buffer *output);
/* Appends the orderly end. */
void tls_session_close_notify(struct tls_session *session, struct buffer *output);

#endif
