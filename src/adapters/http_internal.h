/* SPDX-License-Identifier: MIT */
/*
 * Private to the HTTP client. http_client.c owns the multi handle, the loop's handles and the life of requests;
 * http_transfer.c the easy handle of one request and curl's callbacks; http_destination.c which addresses it may reach;
 * http_answer.c is pure: header lines and status codes.
 *
 * Life of a request: start() puts it on `waiting`; the client's next turn adds it to the multi handle and to `active`; when
 * curl is done with it, or it is cancelled, it goes to `finished`; the end of the turn calls `done`. Nothing of curl's
 * multi interface is called from inside start, resume, cancel or a curl callback (curl refuses that): those only leave a
 * note and ask for a turn.
 */
#ifndef REELD_ADAPTERS_HTTP_INTERNAL_H
#define REELD_ADAPTERS_HTTP_INTERNAL_H

#include "adapters/http_client.h"
#include "base/buffer.h"

#include <curl/curl.h>

struct http_socket;

struct http_client {
	uv_loop_t *loop;
	CURLM *multi;
	size_t buffer_bytes;
	char *ca_file; /* or NULL */
	char *user_agent;
	bool unverified;
	bool (*address_is_private)(const struct sockaddr *address);

	uv_timer_t timer;    /* curl's timeout */
	uv_timer_t watchdog; /* stalls */
	uv_idle_t turn;      /* runs client_turn once in the coming loop iteration */
	uint64_t watchdog_ms;
	bool timeout_due; /* curl asked for a timeout of 0 ms */
	bool noted;       /* a request wants to be cancelled or resumed */

	struct list waiting; /* requests by `link` */
	struct list active;
	struct list finished;
	struct list spare; /* transfers that were used before */
	size_t spare_count;

	struct http_socket **sockets; /* by descriptor */
	size_t socket_limit;
	struct list dirty; /* sockets whose poll mask is to be looked at */

	bool closing;
	bool torn_down;
	unsigned open_handles;
	void (*closed)(void *data);
	void *closed_data;
};

/* http_destination.c */
struct http_destination {
	bool first_hop;        /* no request was sent yet */
	bool first_private;    /* the first host's address was private, or behind a proxy: its URL says so */
	bool proxied;          /* the environment names a proxy; whether it is used, no_proxy decides */
	bool refused;          /* the last address that was looked at, or the Location */
	bool with_credentials; /* this header section's Location has some of its own */
	char first_peer[64];   /* address and port */
};

struct http_transfer {
	struct list link; /* in client->spare */
	struct http_client *client;
	struct http_client_request *request;
	CURL *easy;
	struct curl_slist *headers;
	char host[128]; /* for messages */
	char curl_error[CURL_ERROR_SIZE];

	size_t sent; /* of request->body */
	struct buffer collected;

	bool added; /* to the multi handle */
	bool cancelled;
	bool resume_receive; /* noted for the next turn */
	bool resume_send;
	bool paused_receive;
	bool paused_send;
	int status; /* why a callback of ours stopped curl; 0: it did not */

	bool headers_done; /* of the final answer */
	bool has_location; /* this header section says where to go */
	bool redirecting;  /* the last header section was a redirect to be followed */
	struct http_destination destination;
	size_t header_bytes; /* of this header section */

	bool begun; /* connected, the stall clock runs */
	/* How long the watchdog has seen no byte move; counted in its looks, so that a blocked loop is not a stall. */
	uint64_t idle_ms;
	curl_off_t uploaded; /* what curl had sent at the last look */
};

/* http_transfer.c */

/* A transfer for `request`, from the spare ones or a new one, with its easy handle set up. 0, ERR_NOMEM, ERR_INVALID. */
int http_transfer_open(struct http_client *client, struct http_client_request *request, struct http_transfer **ret);
/* Back to the spare ones, or freed; not added to the multi handle any more. The collected bytes stay with the request. */
void http_transfer_recycle(struct http_transfer *transfer);
void http_transfer_free(struct http_transfer *transfer);
/* Fills in the request's status-independent out fields and its error; returns the status. */
int http_transfer_result(struct http_transfer *transfer, CURLcode code);

/* http_destination.c */

/* A new request to this scheme and host. */
void http_destination_begin(struct http_transfer *transfer, const char *scheme, const char *host);
/* For CURLOPT_PREREQFUNCTION and CURLOPT_OPENSOCKETFUNCTION; `data` is the transfer. */
int http_destination_prereq(void *data, char *peer, char *local, int peer_port, int local_port);
curl_socket_t http_destination_open(void *data, curlsocktype purpose, struct curl_sockaddr *address);
/* A Location of the header section being read. */
void http_destination_location(struct http_transfer *transfer, struct slice location);
/* Why an address or a Location was refused. */
const char *http_destination_reason(const struct http_transfer *transfer);

/* http_client.c: where curl gets its sockets from and gives them back to. */
curl_socket_t http_client_socket_open(struct http_client *client, const struct curl_sockaddr *address);
int http_client_socket_close(struct http_client *client, curl_socket_t fd);

/* A request's cancelled, resume_receive or resume_send was set: look at it in the coming turn. */
void http_client_note(struct http_client *client);

/* http_answer.c */

/* Forgets what an earlier answer left in the out fields. */
void http_answer_reset(struct http_client_request *request);
/*
 * Takes what is of interest from one header line, with or without its CRLF. 0, or ERR_PROTOCOL when lengths contradict each
 * other.
 */
int http_answer_header(struct http_client_request *request, struct slice line, int64_t now_wall_ms);

/* Name and value of a header line. False when it has no colon. */
bool http_answer_split(struct slice line, struct slice *name, struct slice *value);

#endif
