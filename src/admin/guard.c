/* SPDX-License-Identifier: MIT */
#include "admin/guard.h"

#include "adapters/crypto.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <string.h>

int guard_set_token(struct guard *guard, const char *token)
{
	if (token == NULL || token[0] == '\0') {
		guard->has_token = false;
		return 0;
	}
	uint8_t digest[GUARD_DIGEST_SIZE];
	int err = crypto_sha256(token, strlen(token), digest);
	if (err != 0)
		return err;
	memcpy(guard->token_digest, digest, sizeof(digest));
	guard->has_token = true;
	return 0;
}

/* The value of the only header of that name; ptr NULL when there is none or more than one. */
static struct slice only_header(const struct request *request, struct slice name, size_t *count)
{
	struct slice value = {NULL, 0};
	*count = 0;
	for (size_t i = 0; i < request->header_count; i++) {
		if (!slice_equal_nocase(request->headers[i].name, name))
			continue;
		value = (*count)++ == 0 ? request->headers[i].value : (struct slice){NULL, 0};
	}
	return value;
}

bool guard_token_holds(const struct guard *guard, const struct request *request)
{
	if (!guard->has_token)
		return true;
	size_t count;
	struct slice value = only_header(request, SLICE("Authorization"), &count);
	struct slice scheme = SLICE("Bearer ");
	if (value.ptr == NULL || value.len <= scheme.len || !slice_equal_nocase(slice_make(value.ptr, scheme.len), scheme))
		return false;
	struct slice token = slice_trim(slice_make(value.ptr + scheme.len, value.len - scheme.len));
	/* Digests have one length, so that comparing them tells nothing about the token's. */
	uint8_t digest[GUARD_DIGEST_SIZE];
	return crypto_sha256(token.ptr, token.len, digest) == 0 &&
	       CRYPTO_memcmp(digest, guard->token_digest, sizeof(digest)) == 0;
}

/* ---- browsers ---- */

static bool is_digits(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
	}
	return true;
}

/* "host", "host:port" or "[address]:port" without the port and brackets; *bracketed says which. False when it is none of them. */
static bool split_host(struct slice authority, struct slice *host, bool *bracketed)
{
	*bracketed = authority.len > 0 && authority.ptr[0] == '[';
	const char *end = authority.ptr + authority.len;
	const char *host_end;
	if (authority.len == 0)
		return false;
	if (*bracketed) {
		const char *bracket = memchr(authority.ptr, ']', authority.len);
		if (bracket == NULL)
			return false;
		*host = slice_make(authority.ptr + 1, (size_t)(bracket - authority.ptr - 1));
		host_end = bracket + 1;
	} else {
		const char *colon = memchr(authority.ptr, ':', authority.len);
		host_end = colon == NULL ? end : colon;
		*host = slice_make(authority.ptr, (size_t)(host_end - authority.ptr));
	}
	return host_end == end || (*host_end == ':' && is_digits(slice_make(host_end + 1, (size_t)(end - host_end - 1))));
}

/* An address, or a name that no resolver makes point elsewhere. */
static bool host_is_fixed(struct slice authority)
{
	struct slice host;
	bool bracketed;
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];
	if (!split_host(authority, &host, &bracketed))
		return false;
	if (!bracketed && slice_equal_nocase(host, SLICE("localhost")))
		return true;
	if (host.len == 0 || host.len >= sizeof(text) || memchr(host.ptr, '\0', host.len) != NULL)
		return false;
	memcpy(text, host.ptr, host.len);
	text[host.len] = '\0';
	return inet_pton(bracketed ? AF_INET6 : AF_INET, text, address) == 1;
}

/* "http://host:port" (RFC 6454, 6.2) names the host that was asked. "null" names none. */
static bool origin_is_ours(struct slice origin, struct slice host)
{
	static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (slice_starts_with(origin, schemes[i]))
			return slice_equal_nocase(slice_make(origin.ptr + schemes[i].len, origin.len - schemes[i].len), host);
	}
	return false;
}

enum guard_verdict guard_check_browser(const struct guard *guard, const struct request *request)
{
	size_t count;
	struct slice host = only_header(request, SLICE("Host"), &count);
	if (!guard->has_token && (host.ptr == NULL || !host_is_fixed(host)))
		return GUARD_FOREIGN_HOST;
	if (request->method == REQUEST_GET || request->method == REQUEST_HEAD)
		return GUARD_PASS;
	struct slice site = only_header(request, SLICE("Sec-Fetch-Site"), &count);
	if (count > 1 || slice_equal_nocase(site, SLICE("cross-site")))
		return GUARD_CROSS_SITE;
	struct slice origin = only_header(request, SLICE("Origin"), &count);
	return count == 0 || (count == 1 && origin_is_ours(origin, host)) ? GUARD_PASS : GUARD_CROSS_SITE;
}

enum guard_verdict guard_check(const struct guard *guard, const struct request *request)
{
	enum guard_verdict verdict = guard_check_browser(guard, request);
	if (verdict != GUARD_PASS)
		return verdict;
	return guard_token_holds(guard, request) ? GUARD_PASS : GUARD_NO_TOKEN;
}
