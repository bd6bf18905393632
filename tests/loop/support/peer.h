/* SPDX-License-Identifier: MIT */
/*
 * A scripted HTTP/1.1 server on the test's own loop: each request that arrives gets the next script, the last script
 * repeats. It can be slow, wrong, silent or gone, as real servers are. Everything it was sent can be looked at.
 */
#ifndef REELD_TESTS_LOOP_SUPPORT_PEER_H
#define REELD_TESTS_LOOP_SUPPORT_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct peer;

struct peer_script {
	const char *answer; /* sent as it is: status line, headers, blank line, perhaps a body */
	size_t body_bytes;  /* this many bytes of peer_body() behind it */
	size_t cut_after;   /* close after so many bytes of all that; 0: do not */
	unsigned slow_ms;   /* send slow_bytes at a time, so far apart; 0: as fast as it goes */
	size_t slow_bytes;
	bool close; /* close afterwards */
	bool reset; /* the closing is a reset */
	bool hang;  /* read the request, answer nothing */
	bool early; /* answer when the head is there, before the body */
	bool deaf;  /* stop reading after the head */
};

/* Listens on a free port of `address` ("127.0.0.1"). The scripts must live as long as the peer. */
struct peer *peer_new(uv_loop_t *loop, const char *address, const struct peer_script *scripts, size_t count);
int peer_port(const struct peer *peer);
unsigned peer_connections(const struct peer *peer); /* accepted so far */
unsigned peer_requests(const struct peer *peer);    /* whose head arrived */
size_t peer_sent(const struct peer *peer);          /* bytes given to the kernel */
size_t peer_received(const struct peer *peer);
/* The n-th request, head and body (up to 64 KiB), NUL-terminated. */
const char *peer_request(const struct peer *peer, unsigned n);
/* Byte `offset` of a generated body. */
char peer_body(size_t offset);
/* Closes everything; freed when the loop has turned until its handles are closed. */
void peer_close(struct peer *peer);

#endif
