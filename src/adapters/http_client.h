/* SPDX-License-Identifier: MIT */
/*
 * HTTP client over curl's multi interface on the loop: connection reuse, HTTP/2 where offered, streaming both ways with
 * backpressure. Only http and https; redirects only as the request allows. Adapter rules: the request is embedded by the
 * caller and belongs to the client from http_client_start() to `done`; `done` comes exactly once, never inside start() or
 * cancel(), also on close (ERR_CANCELLED).
 *
 * start, resume, cancel and close may be called from any callback on the loop, also from on_* callbacks of this or another
 * client's requests.
 *
 * What is sent and trusted: TLS 1.2 or later with the peer's certificate and name verified; no netrc, no cookies, no
 * compression (the bytes are hashed as they are), no "Expect: 100-continue" unless the caller's headers have it. Proxies:
 * as the environment says (http_proxy, https_proxy, all_proxy, no_proxy), since that is where operators of closed networks
 * put them; behind one the proxy decides which addresses can be reached, except for what no_proxy sends past it (`direct`: no
 * proxy). A proxy gets no credentials but its own, and what is https stays encrypted up to the server (CONNECT). HTTP/2 is used for requests whose answers are
 * collected; a body that streams (on_receive, on_send) has an HTTP/1.1 connection of its own, because with curl 7.88 one
 * paused stream stops every other of its HTTP/2 connection.
 *
 * SIGPIPE must be ignored by the process.
 */
#ifndef REELD_ADAPTERS_HTTP_CLIENT_H
#define REELD_ADAPTERS_HTTP_CLIENT_H

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

struct http_client;
struct http_client_request;

struct http_client_options {
	size_t max_connections; /* in all; 0: 256 */
	size_t buffer_bytes;    /* curl's receive and upload buffers per request; 0: 64 KiB */
	const char *ca_file;    /* PEM bundle instead of the system's; NULL: system */
	const char *user_agent; /* copied; NULL: "reeld/VERSION" */
	/* Any certificate will do: for asking our own listener by its local address, which no certificate names. */
	bool unverified;
	/* Which addresses a redirect may not lead to. NULL: address_is_private(); tests have their own idea. */
	bool (*address_is_private)(const struct sockaddr *address);
};

/* NULL when out of memory. */
struct http_client *http_client_new(uv_loop_t *loop, const struct http_client_options *options);
/*
 * Every request in flight gets its `done` (ERR_CANCELLED), then `closed` comes, from the loop. Nothing may be started any
 * more.
 */
void http_client_close(struct http_client *client, void (*closed)(void *data), void *data);

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE };

typedef void http_client_cb(struct http_client_request *request, int status);

#define HTTP_CLIENT_MAX_HEADERS 32

struct http_client_request {
	/* in; strings are copied by start() */
	enum http_method method;
	const char *url;
	const char *username; /* Basic auth, sent at once; never to another host after a redirect. NULL: none */
	const char *password;
	const char *headers[HTTP_CLIENT_MAX_HEADERS]; /* "Name: value"; NULL ends */
	/*
	 * 0: a 3xx is an answer like any other. Else https only (http only when the request was http), no credentials to another
	 * host, port or scheme, none that the Location brings along, and private addresses (adapters/address.h) refused unless
	 * the first host was one. What is refused is ERR_REDIRECT.
	 */
	unsigned max_redirects;
	bool public_only; /* not even the first host may be a private address: ERR_CONNECT. Without effect behind a proxy */
	/* Name, TCP and TLS together: ERR_CONNECT. 0: 10 s. Waiting for one of max_connections does not count. */
	uint32_t connect_timeout_ms;
	uint32_t stall_timeout_ms; /* no byte either way for so long: ERR_TIMEOUT. 0: 30 s. Paused time does not count */
	uint64_t total_timeout_ms; /* 0: none */
	bool direct;               /* no proxy, whatever the environment says: for addresses of this machine alone */

	/* request body: either fixed bytes (must live until done) or pulled */
	struct slice body;
	/*
	 * Fill up to cap bytes, return how many; 0: end; HTTP_CLIENT_PAUSE: call http_client_resume_send later;
	 * HTTP_CLIENT_ABORT.
	 */
	size_t (*on_send)(struct http_client_request *request, char *out, size_t cap);
	int64_t send_length; /* of a pulled body; -1: chunked */
	/*
	 * The body is wanted once more from its first byte: a kept connection turned out to be dead, or a redirect leads
	 * elsewhere. Return false when it cannot be had (NULL: never), and the request fails.
	 */
	bool (*on_rewind)(struct http_client_request *request);

	/*
	 * One header of the answer, name and value as they came; before on_headers, and also of an answer that is not the final
	 * one (1xx, a redirect that is followed): a later value of the same name replaces the earlier. NULL: not wanted.
	 */
	void (*on_header)(struct http_client_request *request, struct slice name, struct slice value);

	/*
	 * The final answer's header section is complete (http_status and the fields below are set). Return false to refuse
	 * the body: `done` with ERR_CANCELLED and refused set.
	 */
	bool (*on_headers)(struct http_client_request *request);
	/*
	 * Body bytes. Return len when taken; HTTP_CLIENT_PAUSE to get the same bytes again after
	 * http_client_resume_receive; HTTP_CLIENT_ABORT. NULL: collected into `collected` up to collect_max.
	 */
	size_t (*on_receive)(struct http_client_request *request, const char *bytes, size_t len);
	size_t collect_max; /* 0: 1 MiB; more: ERR_TOO_LARGE */

	/*
	 * Status 0: a complete answer of whatever http_status; else a transport error (error.detail says more, without
	 * credentials).
	 */
	http_client_cb *done;
	void *data;

	/* out */
	long http_status;       /* 0 before an answer */
	int64_t content_length; /* -1: not announced */
	char content_type[96];
	char etag[96];
	int64_t retry_after_ms; /* -1: none; seconds and HTTP dates understood */
	char location[1024];
	bool refused;
	struct slice collected; /* valid until http_client_request_release */
	struct error error;
	uint64_t received_bytes;

	/* private */
	struct list link;
	void *impl;
};

#define HTTP_CLIENT_PAUSE ((size_t)-1)
#define HTTP_CLIENT_ABORT ((size_t)-2)

/*
 * 0; or, when nothing was started, ERR_NOMEM, ERR_INVALID (URL, scheme, credentials in the URL, line breaks in a header) or
 * ERR_CANCELLED (closing). The request must be zeroed or released before it is used again.
 */
int http_client_start(struct http_client *client, struct http_client_request *request);
/* The on_* callback follows from the loop, not inside. A resume of what is not paused, or not paused yet, is remembered once. */
void http_client_resume_receive(struct http_client_request *request);
void http_client_resume_send(struct http_client_request *request);
/* `done` follows with ERR_CANCELLED (unless it was on its way already). Safe any time between start and done. */
void http_client_cancel(struct http_client_request *request);
/* Frees what an answered request holds. */
void http_client_request_release(struct http_client_request *request);

/*
 * Error for an HTTP status: 0 for 2xx, ERR_HTTP_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _THROTTLED, _CLIENT, _SERVER;
 * ERR_REDIRECT for 3xx, ERR_TIMEOUT for 408 (the server waited too long for us), ERR_PROTOCOL for what is no final status.
 * Pure.
 */
int http_status_error(long status);

#endif
