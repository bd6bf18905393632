/* SPDX-License-Identifier: MIT */
/*
 * An HTTPS server on a thread of its own with a certificate made for the occasion. Each connection gets one request read
 * and the answer sent, then it is closed.
 */
#ifndef REELD_TESTS_LOOP_SUPPORT_TLS_PEER_H
#define REELD_TESTS_LOOP_SUPPORT_TLS_PEER_H

#include <stddef.h>

struct tls_peer;

/* `name`: whom the certificate is for, as in "IP:127.0.0.1" or "DNS:example.com". `answer` must live as long as the peer. */
struct tls_peer *tls_peer_new(const char *name, const char *answer);
int tls_peer_port(const struct tls_peer *peer);
/* A PEM file with the certificate, deleted with the peer. */
const char *tls_peer_certificate(const struct tls_peer *peer);
/* Copies the head of the last request that came. */
void tls_peer_request(struct tls_peer *peer, char *out, size_t size);
/* Stops the thread and frees the peer; how many requests it read. */
unsigned tls_peer_close(struct tls_peer *peer);

#endif
