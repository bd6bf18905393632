/* SPDX-License-Identifier: MIT */
/*
 * Fetches AWS credentials once: finds the source anew (files on libuv's pool) and asks it. Embedded by its owner, zeroed; it
 * belongs to this module from start to `done`, which comes exactly once, from the loop, never inside start or cancel.
 *
 * Web identity: one POST to STS. Container: one GET. Instance role (IMDSv2 only): a session token by PUT, the role's name, its
 * credentials; a new token for each fetch, for they are hours apart. No redirect is followed; only STS is asked through a proxy.
 */
#ifndef REELD_STORE_AWS_FETCH_H
#define REELD_STORE_AWS_FETCH_H

#include "adapters/http_client.h"
#include "base/buffer.h"
#include "store/aws_source.h"

#include <uv.h>

struct aws_fetch;
/* 0: keys are those; ERR_CANCELLED; or why there are none, with a message that begins with the source. */
typedef void aws_fetch_cb(struct aws_fetch *fetch, int status);

struct aws_fetch {
	/* in */
	uv_loop_t *loop;
	struct http_client *http;
	bool instance_role;  /* as in aws_source_find */
	uint32_t timeout_ms; /* of one request; 0: 5 s, STS 15 s */
	aws_fetch_cb *done;
	void *data;
	/* out */
	enum aws_source_kind kind; /* of the source that was asked */
	struct aws_keys keys;
	struct error error;
	/* private */
	struct aws_variables variables;
	struct aws_source source;
	uv_work_t work;
	bool working;
	bool cancelled;
	int work_status;
	void (*answered)(struct aws_fetch *fetch); /* takes the answer of the request under way */
	char metadata_token[1024];
	struct buffer body;
	struct http_client_request request;
};

/* `lookup` is called before it returns. 0; ERR_NOMEM when nothing was started. */
int aws_fetch_start(struct aws_fetch *fetch, const char *(*lookup)(void *data, const char *name), void *lookup_data);
/* Between start and `done`; `done` follows with ERR_CANCELLED. */
void aws_fetch_cancel(struct aws_fetch *fetch);

#endif
