/* SPDX-License-Identifier: MIT */
/* An HTTP proxy for CONNECT on a thread of its own. It takes one connection after the other, wherever it leads, to 127.0.0.1. */
#ifndef REELD_TESTS_LOOP_SUPPORT_CONNECT_PROXY_H
#define REELD_TESTS_LOOP_SUPPORT_CONNECT_PROXY_H

#include <stddef.h>

struct connect_proxy;

/* Every connection ends at this port, whatever CONNECT says. */
struct connect_proxy *connect_proxy_new(int target_port);
int connect_proxy_port(const struct connect_proxy *proxy);
/* Stops the thread; how many tunnels there were, and the last CONNECT's head. */
unsigned connect_proxy_close(struct connect_proxy *proxy, char *head, size_t size);

#endif
