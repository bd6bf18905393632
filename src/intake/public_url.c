/* SPDX-License-Identifier: MIT */
#include "intake/public_url.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRUSTED 64

struct network {
	int family;
	unsigned char address[16];
	unsigned bits;
};

struct public_url {
	char *fixed; /* NULL: from the request */
	size_t fixed_len;
	struct network trusted[MAX_TRUSTED];
	size_t trusted_count;
};

static int parse_network(struct network *network, struct slice text)
{
	char address[INET6_ADDRSTRLEN + 1];
	const char *slash = memchr(text.ptr, '/', text.len);
	size_t len = slash == NULL ? text.len : (size_t)(slash - text.ptr);
	if (len == 0 || len >= sizeof(address))
		return ERR_MALFORMED;
	memcpy(address, text.ptr, len);
	address[len] = '\0';
	network->family = strchr(address, ':') == NULL ? AF_INET : AF_INET6;
	if (inet_pton(network->family, address, network->address) != 1)
		return ERR_MALFORMED;
	unsigned max = network->family == AF_INET ? 32 : 128;
	network->bits = max;
	if (slash == NULL)
		return 0;
	const char *digits = slash + 1;
	size_t digit_count = text.len - len - 1;
	if (digit_count == 0 || digit_count > 3)
		return ERR_MALFORMED;
	network->bits = 0;
	for (size_t i = 0; i < digit_count; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return ERR_MALFORMED;
		network->bits = network->bits * 10 + (unsigned)(digits[i] - '0');
	}
	return network->bits <= max ? 0 : ERR_MALFORMED;
}

/* The part of a comma list before the first comma; moves `list` behind it. */
static struct slice take_item(struct slice *list)
{
	const char *comma = list->len == 0 ? NULL : memchr(list->ptr, ',', list->len);
	size_t len = comma == NULL ? list->len : (size_t)(comma - list->ptr);
	struct slice item = slice_make(list->ptr, len);
	size_t over = comma == NULL ? len : len + 1;
	list->ptr += over;
	list->len -= over;
	return slice_trim(item);
}

static int parse_trusted(struct public_url *url, const char *text, struct error *error)
{
	struct slice list = slice_from_cstr(text);
	while (list.len > 0) {
		struct slice item = take_item(&list);
		if (item.len == 0)
			continue;
		if (url->trusted_count == MAX_TRUSTED)
			return error_set(error, ERR_CONFIG, "TRUSTED_PROXIES: more than %d entries", MAX_TRUSTED);
		if (parse_network(&url->trusted[url->trusted_count], item) != 0)
			return error_set(error, ERR_CONFIG,
					 "TRUSTED_PROXIES: '%.*s' is not an address or CIDR block, for example 10.0.0.0/8",
					 SLICE_FMT(item));
		url->trusted_count++;
	}
	return 0;
}

int public_url_new(struct public_url **ret, const char *fixed, const char *trusted, struct error *error)
{
	struct public_url *url = calloc(1, sizeof(*url));
	if (url == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	int err = trusted == NULL ? 0 : parse_trusted(url, trusted, error);
	if (err == 0 && fixed != NULL) {
		size_t len = strlen(fixed);
		while (len > 0 && fixed[len - 1] == '/')
			len--;
		url->fixed = strndup(fixed, len);
		url->fixed_len = len;
		if (url->fixed == NULL)
			err = error_set(error, ERR_NOMEM, "out of memory");
	}
	if (err != 0) {
		public_url_free(&url);
		return err;
	}
	*ret = url;
	return 0;
}

void public_url_free(struct public_url **url)
{
	if (*url == NULL)
		return;
	free((*url)->fixed);
	free(*url);
	*url = NULL;
}

static bool network_holds(const struct network *network, int family, const unsigned char *address)
{
	if (network->family != family)
		return false;
	unsigned whole = network->bits / 8;
	unsigned rest = network->bits % 8;
	if (memcmp(network->address, address, whole) != 0)
		return false;
	return rest == 0 || ((network->address[whole] ^ address[whole]) & (0xff << (8 - rest))) == 0;
}

bool public_url_trusts(const struct public_url *url, const struct sockaddr_storage *peer)
{
	int family = peer->ss_family;
	const unsigned char *address;
	if (family == AF_INET) {
		address = (const unsigned char *)&((const struct sockaddr_in *)peer)->sin_addr;
	} else if (family == AF_INET6) {
		const struct in6_addr *six = &((const struct sockaddr_in6 *)peer)->sin6_addr;
		address = six->s6_addr;
		if (IN6_IS_ADDR_V4MAPPED(six)) {
			family = AF_INET;
			address += 12;
		}
	} else {
		return false;
	}
	for (size_t i = 0; i < url->trusted_count; i++)
		if (network_holds(&url->trusted[i], family, address))
			return true;
	return false;
}

bool public_url_wants_peer(const struct public_url *url)
{
	return url->fixed == NULL && url->trusted_count > 0;
}

struct slice public_url_fixed(const struct public_url *url)
{
	return slice_make(url->fixed == NULL ? "" : url->fixed, url->fixed_len);
}

static bool is_host(struct slice host)
{
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.ptr[i];
		if (c <= ' ' || c == '/' || c == '?' || c == '#' || c == '@' || c == '\\' || c >= 0x7f)
			return false;
	}
	return host.len > 0;
}

/* A proxy's header; the first of a list is what the client had called. */
static struct slice forwarded(const struct request *request, struct slice name)
{
	struct slice list = request_header(request, name);
	return take_item(&list);
}

struct slice public_url_base(const struct public_url *url, const struct request *request, const struct sockaddr_storage *peer,
			     bool tls, char out[PUBLIC_URL_BASE_SIZE])
{
	if (url->fixed != NULL)
		return slice_make(url->fixed, url->fixed_len);
	struct slice scheme = tls ? SLICE("https") : SLICE("http");
	struct slice host = slice_trim(request_header(request, SLICE("Host")));
	if (public_url_wants_peer(url) && public_url_trusts(url, peer)) {
		struct slice proto = forwarded(request, SLICE("X-Forwarded-Proto"));
		struct slice proxied = forwarded(request, SLICE("X-Forwarded-Host"));
		if (slice_equal_nocase(proto, SLICE("https")))
			scheme = SLICE("https");
		else if (slice_equal_nocase(proto, SLICE("http")))
			scheme = SLICE("http");
		if (proxied.len > 0)
			host = proxied;
	}
	if (!is_host(host) || scheme.len + 3 + host.len >= PUBLIC_URL_BASE_SIZE)
		return slice_make(out, 0);
	int len = snprintf(out, PUBLIC_URL_BASE_SIZE, "%.*s://%.*s", SLICE_FMT(scheme), SLICE_FMT(host));
	REQUIRE(len > 0 && len < PUBLIC_URL_BASE_SIZE);
	return slice_make(out, (size_t)len);
}
