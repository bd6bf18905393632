/* SPDX-License-Identifier: MIT */
/*
 * Private to the HTTP client. http_client.c owns the multi handle, the loop's handles and the life of requests;
 * http_transfer.c the easy handle of one request and curl's callbacks; http_answer.c is pure: header lines and status
 * codes.
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
	bool first_hop;
	bool first_private; /* the first host's address was private */
	bool address_refused;
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

/* A Location with a value, even if it is too long for the request's field. */
bool http_answer_is_location(struct slice line);

#endif
