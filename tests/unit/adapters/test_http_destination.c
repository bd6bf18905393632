/* SPDX-License-Identifier: MIT */
/*
 * Which addresses a request may be connected to, as adapters/http_client.h promises it, without a network. The blocks are those of the IANA IPv4 and IPv6
 * Special-Purpose Address Registries (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry, as of October 2025) that are
 * not said to be globally reachable, and multicast.
 */
#include "adapters/http_internal.h"
#include "base/check.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC_PEER "93.184.216.34"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* First and last address of each block. */
static const char *const v4_blocks[][2] = {
	{"0.0.0.0", "0.255.255.255"},       /* this network */
	{"10.0.0.0", "10.255.255.255"},     /* private use */
	{"100.64.0.0", "100.127.255.255"},  /* shared: carrier-grade NAT */
	{"127.0.0.0", "127.255.255.255"},   /* loopback */
	{"169.254.0.0", "169.254.255.255"}, /* link-local, where clouds have their metadata */
	{"172.16.0.0", "172.31.255.255"},   /* private use */
	{"192.0.0.0", "192.0.0.255"},       /* protocol assignments */
	{"192.0.2.0", "192.0.2.255"},       /* documentation */
	{"192.88.99.0", "192.88.99.255"},   /* 6to4 relay anycast, deprecated */
	{"192.168.0.0", "192.168.255.255"}, /* private use */
	{"198.18.0.0", "198.19.255.255"},   /* benchmarking */
	{"198.51.100.0", "198.51.100.255"}, /* documentation */
	{"203.0.113.0", "203.0.113.255"},   /* documentation */
	{"224.0.0.0", "239.255.255.255"},   /* multicast */
	{"240.0.0.0", "255.255.255.255"},   /* reserved, limited broadcast */
};
static const char *const v6_blocks[][2] = {
	{"::", "::1"},                                            /* unspecified, loopback */
	{"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"},    /* translation, local use */
	{"100::", "100::ffff:ffff:ffff:ffff"},                    /* discard only */
	{"100:0:0:1::", "100::1:ffff:ffff:ffff:ffff"},            /* dummy prefix */
	{"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"},       /* Teredo */
	{"2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"},        /* benchmarking */
	{"2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"},   /* ORCHID, deprecated */
	{"2001:100::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"}, /* protocol assignments, the rest */
	{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"}, /* documentation */
	{"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"},     /* documentation */
	{"5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},    /* segment routing */
	{"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},    /* unique local */
	{"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},    /* link-local */
	{"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},    /* site-local, deprecated */
	{"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},    /* multicast */
};
/* What lies next to them, and blocks of the registries that are globally reachable. */
static const char *const reachable[] = {
	"1.0.0.0",          "9.255.255.255",   "11.0.0.0",        "100.63.255.255",  "100.128.0.0",   "126.255.255.255",
	"128.0.0.0",        "169.253.255.255", "169.255.0.0",     "172.15.255.255",  "172.32.0.0",    "191.255.255.255",
	"192.0.1.0",        "192.0.3.0",       "192.31.196.1",    "192.52.193.1",    "192.88.98.255", "192.88.100.0",
	"192.167.255.255",  "192.169.0.0",     "192.175.48.1",    "198.17.255.255",  "198.20.0.0",    "198.51.99.255",
	"198.51.101.0",     "203.0.112.255",   "203.0.114.0",     "223.255.255.255", "2000::",        "2001:200::",
	"2001:db7::",       "2001:db9::",      "2620:4f:8000::1", "3ffe:ffff::",     "3fff:1000::",   "::ffff:8.8.8.8",
	"64:ff9b::8.8.8.8", "2002:808:808::1",
};

static uv_loop_t loop;
static struct http_client *client;
static struct http_client_request request;
static struct http_transfer transfer;

static void set_up(void)
{
	static const char *const variables[] = {"http_proxy", "https_proxy", "all_proxy",
						"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
	const struct http_client_options options = {0};
	for (size_t i = 0; i < COUNT(variables); i++)
		unsetenv(variables[i]);
	REQUIRE(uv_loop_init(&loop) == 0);
	client = http_client_new(&loop, &options);
	REQUIRE(client != NULL);
	transfer = (struct http_transfer){.client = client, .request = &request};
}

static void on_closed(void *data)
{
	(void)data;
}

static void tear_down(void)
{
	curl_easy_cleanup(transfer.easy);
	http_client_close(client, on_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(http_destination, .init = set_up, .fini = tear_down, .timeout = 30);

/* A request to https://HOST/ begins. */
static void begin(const char *host)
{
	transfer.status = 0;
	transfer.redirecting = false;
	http_destination_begin(&transfer, "https", host);
}

/* As before each request on a connection to there. */
static bool may_send_to_port(const char *peer, int port)
{
	char address[64], local[] = "192.0.2.1";
	snprintf(address, sizeof(address), "%s", peer);
	return http_destination_prereq(&transfer, address, local, port, 40000) == CURL_PREREQFUNC_OK;
}

static bool may_send(const char *peer)
{
	return may_send_to_port(peer, 443);
}

/* As before a socket is opened. */
static bool may_connect(const char *text)
{
	static union {
		struct curl_sockaddr address;
		char room[sizeof(struct curl_sockaddr) + sizeof(struct sockaddr_in6)];
	} space;
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
	REQUIRE(is_v4 || inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
	space.address = (struct curl_sockaddr){
		.family = is_v4 ? AF_INET : AF_INET6, .socktype = SOCK_STREAM, .protocol = IPPROTO_TCP};
	memcpy(space.room + offsetof(struct curl_sockaddr, addr), is_v4 ? (void *)&v4 : (void *)&v6,
	       is_v4 ? sizeof(v4) : sizeof(v6));
	curl_socket_t fd = http_destination_open(&transfer, CURLSOCKTYPE_IPCXN, &space.address);
	if (fd == CURL_SOCKET_BAD)
		return false;
	http_client_socket_close(client, fd);
	return true;
}

/* As the first host of a request that wants a public one, and where a public host redirects to. */
static void check_refused(const char *address)
{
	request = (struct http_client_request){.public_only = true, .max_redirects = 3};
	begin("api.twilio.com");
	cr_assert(!may_connect(address), "%s", address);
	cr_assert(transfer.destination.refused);
	cr_assert(!may_send(address), "%s", address);
	cr_assert_eq(transfer.status, ERR_CONNECT);
	cr_assert_str_eq(http_destination_reason(&transfer), "the name leads to a private address: refused");

	request.public_only = false;
	begin("api.twilio.com");
	cr_assert(may_send(PUBLIC_PEER));
	transfer.redirecting = true;
	cr_assert(!may_connect(address), "%s", address);
	cr_assert(transfer.destination.refused);
	cr_assert(!may_send(address), "%s", address);
	cr_assert_eq(transfer.status, ERR_REDIRECT);
	cr_assert_str_eq(http_destination_reason(&transfer), "redirect to a private address refused");
}

Test(http_destination, no_block_that_is_not_globally_reachable_is_reached)
{
	for (size_t i = 0; i < COUNT(v4_blocks); i++) {
		check_refused(v4_blocks[i][0]);
		check_refused(v4_blocks[i][1]);
	}
	for (size_t i = 0; i < COUNT(v6_blocks); i++) {
		check_refused(v6_blocks[i][0]);
		check_refused(v6_blocks[i][1]);
	}
}

Test(http_destination, nor_are_the_ipv4_ones_in_ipv6_clothes)
{
	for (size_t i = 0; i < 2 * COUNT(v4_blocks); i++) {
		const char *v4 = v4_blocks[i / 2][i % 2];
		struct in_addr address;
		char text[64];
		inet_pton(AF_INET, v4, &address);
		unsigned bytes = ntohl(address.s_addr);
		snprintf(text, sizeof(text), "::ffff:%s", v4); /* mapped */
		check_refused(text);
		snprintf(text, sizeof(text), "64:ff9b::%s", v4); /* NAT64 */
		check_refused(text);
		snprintf(text, sizeof(text), "2002:%x:%x::1", bytes >> 16, bytes & 0xffff); /* 6to4 */
		check_refused(text);
		snprintf(text, sizeof(text), "::%s", v4); /* compatible, deprecated */
		check_refused(text);
		snprintf(text, sizeof(text), "::ffff:0:%s", v4); /* translated */
		check_refused(text);
	}
}

Test(http_destination, what_is_globally_reachable_is_reached)
{
	request = (struct http_client_request){.public_only = true, .max_redirects = 3};
	for (size_t i = 0; i < COUNT(reachable); i++) {
		begin("api.twilio.com");
		cr_assert(may_connect(reachable[i]) && may_send(reachable[i]), "%s", reachable[i]);
		transfer.redirecting = true;
		cr_assert(may_connect(reachable[i]) && may_send(reachable[i]), "%s", reachable[i]);
		cr_assert_eq(transfer.status, 0);
		cr_assert(!transfer.destination.refused);
	}
}

Test(http_destination, a_peer_that_is_no_address_is_not_public)
{
	static const char *const peers[] = {"", "/run/docker.sock", "localhost", "fe80::1%eth0", "127.1", "2130706433"};
	for (size_t i = 0; i < COUNT(peers); i++) {
		request = (struct http_client_request){.public_only = true};
		begin("api.twilio.com");
		cr_assert(!may_send(peers[i]), "%s", peers[i]);
		request.public_only = false;
		begin("api.twilio.com");
		cr_assert(may_send(PUBLIC_PEER));
		transfer.redirecting = true;
		cr_assert(!may_send(peers[i]), "%s", peers[i]);
	}
}

Test(http_destination, a_first_host_with_a_private_address_may_redirect_to_one)
{
	/* By the address that was connected to, whatever the name or the URL say. */
	request = (struct http_client_request){.max_redirects = 3};
	begin("storage.example");
	cr_assert(may_connect("10.0.0.1") && may_send("10.0.0.1"));
	transfer.redirecting = true;
	cr_assert(may_connect("192.168.7.7") && may_send("192.168.7.7"));
	/* And once it went out into the world it may come back: the operator's own host began it. */
	cr_assert(may_send(PUBLIC_PEER) && may_send("10.0.0.1"));

	begin("10.0.0.1");
	cr_assert(may_send(PUBLIC_PEER));
	transfer.redirecting = true;
	cr_assert(!may_connect("10.0.0.1") && !may_send("10.0.0.1"));
}

Test(http_destination, the_first_host_is_judged_again_with_each_connection)
{
	/* A kept connection was dead, and the name now leads elsewhere. */
	request = (struct http_client_request){.public_only = true};
	begin("api.twilio.com");
	cr_assert(may_send(PUBLIC_PEER));
	cr_assert(!may_connect("10.0.0.1") && !may_send("10.0.0.1"));
	cr_assert_eq(transfer.status, ERR_CONNECT);
	/* What was seen first stays what redirects are judged by. */
	request = (struct http_client_request){.max_redirects = 3};
	begin("storage.example");
	cr_assert(may_send(PUBLIC_PEER) && may_send("10.0.0.1"));
	transfer.redirecting = true;
	cr_assert(!may_connect("10.0.0.1") && !may_send("10.0.0.1"));
}

Test(http_destination, another_address_of_the_name_may_be_good)
{
	request = (struct http_client_request){.public_only = true};
	begin("api.twilio.com");
	cr_assert(!may_connect("fd00::1"));
	cr_assert(transfer.destination.refused);
	cr_assert(may_connect(PUBLIC_PEER) && may_send(PUBLIC_PEER));
	cr_assert(!transfer.destination.refused, "a later failure is not this one's");
}

/* ---- Proxies ---- */

Test(http_destination, a_proxy_is_what_the_environment_names_for_the_scheme)
{
	static const struct {
		const char *variable, *value, *scheme;
		bool direct, proxied;
	} cases[] = {
		{"http_proxy", "http://10.0.0.8:3128", "http", false, true},
		{"http_proxy", "http://10.0.0.8:3128", "https", false, false},
		{"https_proxy", "http://10.0.0.8:3128", "https", false, true},
		{"https_proxy", "http://10.0.0.8:3128", "http", false, false},
		{"HTTPS_PROXY", "http://10.0.0.8:3128", "https", false, true},
		{"all_proxy", "socks5h://10.0.0.8", "http", false, true},
		{"ALL_PROXY", "socks5h://10.0.0.8", "https", false, true},
		{"https_proxy", "", "https", false, false},
		{"HTTP_PROXY", "http://10.0.0.8:3128", "http", false, false}, /* a CGI's client can set it */
		{"https_proxy", "http://10.0.0.8:3128", "https", true, false},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		setenv(cases[i].variable, cases[i].value, 1);
		request = (struct http_client_request){.public_only = true, .direct = cases[i].direct};
		http_destination_begin(&transfer, cases[i].scheme, "api.twilio.com");
		/* `public_only` is without effect behind a proxy, whose address is what is connected to. */
		cr_assert_eq(may_connect("10.0.0.8"), cases[i].proxied, "%s", cases[i].variable);
		cr_assert_eq(may_send("10.0.0.8"), cases[i].proxied, "%s", cases[i].variable);
		unsetenv(cases[i].variable);
	}
}

Test(http_destination, behind_a_proxy_a_redirect_leads_to_the_proxy_or_the_public)
{
	static const char *const hosts[] = {"api.twilio.com",
					    "93.184.216.34",
					    "[2606:4700::1]",
					    "localhost.example",
					    "[",
					    "[]",
					    "",
					    "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]"};
	setenv("https_proxy", "http://10.0.0.8:3128", 1);
	request = (struct http_client_request){.max_redirects = 3};
	for (size_t i = 0; i < COUNT(hosts); i++) {
		begin(hosts[i]);
		cr_assert(may_send_to_port("10.0.0.8", 3128));
		transfer.redirecting = true;
		cr_assert(may_send_to_port("10.0.0.8", 3128), "%s: the proxy once more", hosts[i]);
		cr_assert(may_send(PUBLIC_PEER), "%s: past it by no_proxy", hosts[i]);
		cr_assert(!may_send_to_port("10.0.0.8", 80), "%s: the proxy's neighbour", hosts[i]);
		cr_assert(!may_send_to_port("10.0.0.9", 3128), "%s", hosts[i]);
		cr_assert(!may_send("169.254.169.254"), "%s", hosts[i]);
		cr_assert_eq(transfer.status, ERR_REDIRECT);
	}
}

Test(http_destination, behind_a_proxy_only_the_url_says_that_the_first_host_is_private)
{
	static const char *const hosts[] = {"localhost", "LocalHost", "10.1.2.3", "[::1]", "[fd00::7]", "[::ffff:192.168.0.1]"};
	setenv("https_proxy", "http://10.0.0.8:3128", 1);
	request = (struct http_client_request){.max_redirects = 3};
	for (size_t i = 0; i < COUNT(hosts); i++) {
		begin(hosts[i]);
		cr_assert(may_send(PUBLIC_PEER));
		transfer.redirecting = true;
		cr_assert(may_send("192.168.0.2"), "%s", hosts[i]);
	}
}

/* ---- Location ---- */

static bool brings_credentials(const char *base, const char *location)
{
	transfer.destination.with_credentials = false;
	curl_easy_setopt(transfer.easy, CURLOPT_URL, base);
	http_destination_location(&transfer, slice_from_cstr(location));
	return transfer.destination.with_credentials;
}

Test(http_destination, credentials_of_a_location_are_noticed_in_every_form)
{
	static const char *const with[] = {"https://user:pw@files.example/x", "https://user@files.example/",
					   "https://:pw@files.example/", "//user:pw@files.example/x",
					   "HTTPS://u%73er@files.example"};
	static const char *const without[] = {"https://files.example/x",     "//files.example/x",         "/x@y:z", "x?a=b@c", "",
					      "https://files.example/@user", "https://files.example/#u@h"};
	transfer.easy = curl_easy_init();
	for (size_t i = 0; i < COUNT(with); i++)
		cr_assert(brings_credentials("https://api.twilio.com/media", with[i]), "%s", with[i]);
	for (size_t i = 0; i < COUNT(without); i++) {
		cr_assert(!brings_credentials("https://api.twilio.com/media", without[i]), "%s", without[i]);
		cr_assert(!brings_credentials("https://AC1:token@api.twilio.com/media", without[i]),
			  "%s: those of the base are ours", without[i]);
	}
	cr_assert(brings_credentials("https://AC1:token@api.twilio.com/media", with[0]));
	cr_assert(brings_credentials("", "https://files.example/x"), "what cannot be read is refused");
	cr_assert_str_eq(http_destination_reason(&transfer), "redirect to a URL with credentials refused");
}
