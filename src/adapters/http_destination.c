/* SPDX-License-Identifier: MIT */
/*
 * Where a request may go, judged by the address that is really connected to: a name may lead anywhere, and elsewhere a moment
 * later.
 *
 * Behind a proxy of the environment that address is the proxy's, and the proxy decides what can be reached. What no_proxy sends
 * past it is still judged: the first host counts as private only when its URL says so, and the one private address that a
 * redirect may lead to is the one already talked to, the proxy's.
 */
#include "adapters/http_internal.h"

#include "adapters/address.h"
#include "base/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum literal { LITERAL_NONE, LITERAL_PUBLIC, LITERAL_PRIVATE };

static enum literal judge_literal(const struct http_client *client, const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	bool is_private;
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		is_private = client->address_is_private((const struct sockaddr *)&v4);
	else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
		is_private = client->address_is_private((const struct sockaddr *)&v6);
	else
		return LITERAL_NONE;
	return is_private ? LITERAL_PRIVATE : LITERAL_PUBLIC;
}

/* "[::1]", "10.0.0.1", "localhost": what needs no name server to be known as private. */
static bool host_says_private(const struct http_client *client, const char *host)
{
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(host);
	if (host[0] == '[' && len >= 2 && len - 2 < sizeof(text)) {
		memcpy(text, host + 1, len - 2);
		text[len - 2] = '\0';
		host = text;
	}
	return strcasecmp(host, "localhost") == 0 || judge_literal(client, host) == LITERAL_PRIVATE;
}

/* The variables that curl looks at; HTTP_PROXY is not one of them, since a CGI's client can set it. */
static bool environment_has_proxy(const char *scheme)
{
	static const char *const for_http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
	static const char *const for_https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
	const char *const *names = strcmp(scheme, "https") == 0 ? for_https : for_http;
	for (; *names != NULL; names++) {
		const char *value = getenv(*names);
		if (value != NULL && value[0] != '\0')
			return true;
	}
	return false;
}

void http_destination_begin(struct http_transfer *transfer, const char *scheme, const char *host)
{
	struct http_destination *destination = &transfer->destination;
	*destination = (struct http_destination){.first_hop = true};
	destination->proxied = !transfer->request->direct && environment_has_proxy(scheme);
	if (destination->proxied)
		destination->first_private = host_says_private(transfer->client, host);
}

/* May this hop lead to a private address? `peer`: that address and its port, or NULL when it is not known yet. */
static bool private_allowed(const struct http_transfer *transfer, const char *peer)
{
	const struct http_destination *destination = &transfer->destination;
	/* The first host, once more when a kept connection to it turned out to be dead. */
	if (!transfer->redirecting)
		return destination->proxied || !transfer->request->public_only;
	if (destination->first_private)
		return true;
	return destination->proxied && (peer == NULL || strcmp(peer, destination->first_peer) == 0);
}

/*
 * Connected and about to send a request: the first one, one after a redirect, or one on a kept connection, for which no
 * socket is opened. So the rule about private addresses is held here; http_destination_open only saves the connection.
 */
int http_destination_prereq(void *data, char *peer, char *local, int peer_port, int local_port)
{
	struct http_transfer *transfer = data;
	struct http_destination *destination = &transfer->destination;
	char text[sizeof(destination->first_peer)];
	(void)local;
	(void)local_port;
	snprintf(text, sizeof(text), "%.*s %d", INET6_ADDRSTRLEN, peer, peer_port);
	bool is_private = judge_literal(transfer->client, peer) != LITERAL_PUBLIC;
	if (is_private && !private_allowed(transfer, text)) {
		transfer->status = transfer->redirecting ? ERR_REDIRECT : ERR_CONNECT;
		destination->refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	if (destination->first_hop) {
		destination->first_hop = false;
		if (!destination->proxied)
			destination->first_private = is_private;
		memcpy(destination->first_peer, text, sizeof(text));
	}
	/* A name may have several addresses, of which another one was good. */
	destination->refused = false;
	transfer->begun = true;
	transfer->idle_ms = 0;
	return CURL_PREREQFUNC_OK;
}

curl_socket_t http_destination_open(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_transfer *transfer = data;
	(void)purpose;
	if (transfer->client->address_is_private(&address->addr) && !private_allowed(transfer, NULL)) {
		transfer->destination.refused = true;
		return CURL_SOCKET_BAD;
	}
	return http_client_socket_open(transfer->client, address);
}

/* What curl makes of it is what counts, so curl's own parser reads it. */
void http_destination_location(struct http_transfer *transfer, struct slice location)
{
	char *base = NULL;
	char *user = NULL;
	char *text = strndup(location.ptr, location.len);
	CURLU *url = curl_url();
	bool parsed = text != NULL && url != NULL &&
		      curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &base) == CURLE_OK && base != NULL &&
		      curl_url_set(url, CURLUPART_URL, base, CURLU_PATH_AS_IS) == CURLUE_OK;
	if (parsed) {
		/* For a redirect within the host curl's base has those that were sent. */
		curl_url_set(url, CURLUPART_USER, NULL, 0);
		curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
		if (curl_url_set(url, CURLUPART_URL, text, CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_PATH_AS_IS) == CURLUE_OK &&
		    (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK ||
		     curl_url_get(url, CURLUPART_PASSWORD, &user, 0) == CURLUE_OK))
			transfer->destination.with_credentials = true;
	} else {
		transfer->destination.with_credentials = true; /* fail closed */
	}
	curl_free(user);
	curl_url_cleanup(url);
	free(text);
}

const char *http_destination_reason(const struct http_transfer *transfer)
{
	if (transfer->destination.with_credentials)
		return "redirect to a URL with credentials refused";
	return transfer->redirecting ? "redirect to a private address refused" : "the name leads to a private address: refused";
}
