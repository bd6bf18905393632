/* SPDX-License-Identifier: MIT */
#include "adapters/address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const struct {
	uint32_t network;
	unsigned bits;
} private_v4[] = {
	{0x00000000, 8},  /* 0.0.0.0/8 this network */
	{0x0a000000, 8},  /* 10.0.0.0/8 private */
	{0x64400000, 10}, /* 100.64.0.0/10 shared (carrier NAT) */
	{0x7f000000, 8},  /* 127.0.0.0/8 loopback */
	{0xa9fe0000, 16}, /* 169.254.0.0/16 link-local, cloud metadata */
	{0xac100000, 12}, /* 172.16.0.0/12 private */
	{0xc0000000, 24}, /* 192.0.0.0/24 protocol assignments */
	{0xc0000200, 24}, /* 192.0.2.0/24 documentation */
	{0xc0586300, 24}, /* 192.88.99.0/24 6to4 relay anycast, given up */
	{0xc0a80000, 16}, /* 192.168.0.0/16 private */
	{0xc6120000, 15}, /* 198.18.0.0/15 benchmarking */
	{0xc6336400, 24}, /* 198.51.100.0/24 documentation */
	{0xcb007100, 24}, /* 203.0.113.0/24 documentation */
	{0xe0000000, 3},  /* 224.0.0.0/4 multicast, 240.0.0.0/4 reserved, broadcast */
};

static bool v4_is_private(uint32_t address)
{
	for (size_t i = 0; i < sizeof(private_v4) / sizeof(private_v4[0]); i++) {
		uint32_t mask = UINT32_MAX << (32 - private_v4[i].bits);
		if ((address & mask) == private_v4[i].network)
			return true;
	}
	return false;
}

static uint32_t v4_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool v6_is_private(const uint8_t address[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	if (memcmp(address, mapped, sizeof(mapped)) == 0 || memcmp(address, nat64, sizeof(nat64)) == 0)
		return v4_is_private(v4_at(address + 12));
	if (address[0] == 0x20 && address[1] == 0x02) /* 2002::/16, 6to4 */
		return v4_is_private(v4_at(address + 2));
	/* 2001::/23, protocol assignments, of which Teredo wraps an IPv4 address; 2001:db8::/32 and 3fff::/20, documentation */
	if (address[0] == 0x20 && address[1] == 0x01 && (address[2] < 0x02 || (address[2] == 0x0d && address[3] == 0xb8)))
		return true;
	if (address[0] == 0x3f && address[1] == 0xff && address[2] < 0x10)
		return true;
	/* Only 2000::/3 is global unicast: that leaves out ::, ::1, unique local, link-local, site-local and multicast. */
	return (address[0] & 0xe0) != 0x20;
}

bool address_is_private(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, address, sizeof(v4));
		return v4_is_private(ntohl(v4.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, address, sizeof(v6));
		return v6_is_private(v6.sin6_addr.s6_addr);
	}
	return true;
}
