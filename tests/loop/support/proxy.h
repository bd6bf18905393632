/* SPDX-License-Identifier: MIT */
/* A TCP proxy on the test's own loop, in front of a real server on 127.0.0.1: the network that fails. */
#ifndef REELD_TESTS_LOOP_SUPPORT_PROXY_H
#define REELD_TESTS_LOOP_SUPPORT_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct proxy;

struct proxy *proxy_new(uv_loop_t *loop, int target_port);
int proxy_port(const struct proxy *proxy);
unsigned proxy_accepted(const struct proxy *proxy); /* so far */
/* Cuts all connections. */
void proxy_cut(struct proxy *proxy);
/* Refuses new connections (and cuts those that are there) until it is told to listen again, on the same port. */
void proxy_down(struct proxy *proxy);
void proxy_up(struct proxy *proxy);
/* Hangs: accepts, and moves not one byte in either direction. */
void proxy_hang(struct proxy *proxy, bool hang);
/* Answers each new connection's first bytes with these, then closes it; NULL: the real server again. The bytes must live on. */
void proxy_answer(struct proxy *proxy, const char *bytes, size_t len);
/* Freed when the loop has turned until its handles are closed. */
void proxy_close(struct proxy *proxy);

#endif
