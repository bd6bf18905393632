/* SPDX-License-Identifier: MIT */
#include "adapters/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

static bool is_private(const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return address_is_private((const struct sockaddr *)&v4);
	cr_assert_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1, "%s", text);
	return address_is_private((const struct sockaddr *)&v6);
}

Test(address, private_ones)
{
	const char *const texts[] = {"0.0.0.0",
				     "10.0.0.1",
				     "10.255.255.255",
				     "100.64.0.1",
				     "100.127.255.255",
				     "127.0.0.1",
				     "127.255.255.255",
				     "169.254.169.254",
				     "172.16.0.1",
				     "172.31.255.255",
				     "192.0.0.8",
				     "192.168.1.1",
				     "198.19.0.1",
				     "203.0.113.5",
				     "224.0.0.1",
				     "240.0.0.1",
				     "255.255.255.255",
				     "::",
				     "::1",
				     "fe80::1",
				     "fec0::1",
				     "fc00::1",
				     "fd12:3456::1",
				     "ff02::1",
				     "::ffff:127.0.0.1",
				     "::ffff:10.1.2.3",
				     "64:ff9b::a9fe:a9fe",
				     "2002:7f00:1::1",
				     "2001:db8::1",
				     "2001:0:7f00:1::1",
				     "2001:1ff::1",
				     "3fff:fff::1",
				     "64:ff9b:1::1",
				     "ff0e::1",
				     "::127.0.0.1"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert(is_private(texts[i]), "%s", texts[i]);
}

Test(address, public_ones)
{
	const char *const texts[] = {"1.1.1.1",          "9.255.255.255",  "11.0.0.1",       "100.63.255.255",  "100.128.0.1",
				     "126.255.255.255",  "128.0.0.1",      "172.15.0.1",     "172.32.0.1",      "192.0.1.1",
				     "192.167.0.1",      "192.169.0.1",    "198.17.255.255", "198.20.0.1",      "223.255.0.1",
				     "2606:4700::1",     "2001:200::1",    "3fff:1000::1",   "2a00:1450::200e", "::ffff:1.1.1.1",
				     "64:ff9b::101:101", "2002:101:101::1"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert(!is_private(texts[i]), "%s", texts[i]);
}

Test(address, other_families_are_not_the_internet)
{
	struct sockaddr local = {.sa_family = AF_UNIX};
	cr_assert(address_is_private(&local));
}
