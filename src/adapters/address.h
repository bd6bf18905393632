/* SPDX-License-Identifier: MIT */
/* Which addresses belong to this machine or a private network. Pure. */
#ifndef REELD_ADAPTERS_ADDRESS_H
#define REELD_ADAPTERS_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * True for every address that is not globally reachable unicast: loopback, private, link-local, shared, multicast,
 * reserved, unspecified (the IANA special-purpose registries, RFC 6890, but all of 192.0.0.0/24 and 2001::/23 without their few
 * exceptions), for an IPv6 address that only wraps such an IPv4 one (mapped, NAT64, 6to4), and for other families.
 */
bool address_is_private(const struct sockaddr *address);

#endif
