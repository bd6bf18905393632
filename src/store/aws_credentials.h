/* SPDX-License-Identifier: MIT */
/*
 * AWS credentials from the standard chain, kept fresh. The first source that is configured is the source; its failure is an
 * error and not a reason to try the next (store/aws_source.h has the order). Temporary credentials are fetched when first asked for
 * and from then on again before they expire; a refresh that fails keeps the old ones until they expire. Files are read on
 * libuv's pool, answers fetched through the HTTP client.
 *
 * Loop thread only. A request is embedded by the caller and belongs to the callee from aws_credentials_get to `done`, which
 * comes exactly once, never inside get or cancel, also on close. Secrets are in no error text and no log line, and wiped
 * from what this module owns when they are replaced or freed.
 *
 * Sources: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html and the pages it links to.
 */
#ifndef REELD_STORE_AWS_CREDENTIALS_H
#define REELD_STORE_AWS_CREDENTIALS_H

#include "adapters/http_client.h"
#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct aws_credentials;

struct aws_credentials_options {
	uv_loop_t *loop;
	struct http_client *http; /* must live until `closed` */
	/*
	 * The value of an environment variable, NULL when it is not set. Called by new, find_region and can, and on the loop
	 * before each fetch. The text must be good until the next call. NULL: getenv.
	 */
	const char *(*variable)(void *data, const char *name);
	void *variable_data;
	/* Ask EC2's metadata service when nothing else is configured. It costs a few seconds where there is none. */
	bool instance_role;

	/* The rest is for tests; zero means the default. */
	int64_t (*wall_ms)(void);
	uint32_t retry_ms;    /* first backoff after a failure: 1 s */
	uint32_t timeout_ms;  /* of one request: 5 s, STS 15 s */
	unsigned max_waiting; /* 1024 */
	uint32_t hold_ms;     /* how long credentials must have been in use before they can be invalidated: 10 s */
};

/* Valid during the callback, or until the loop turns. */
struct aws_credentials_value {
	const char *access_key_id;
	const char *secret_access_key;
	const char *session_token; /* "": none */
	int64_t expires_ms;        /* epoch milliseconds; -1: they do not expire */
	uint64_t generation;       /* changes whenever they do, never 0: for caches of what is derived from them */
};

struct aws_credentials_request;
/* `value` is NULL when status is not 0. */
typedef void aws_credentials_cb(struct aws_credentials_request *request, int status, const struct aws_credentials_value *value);

struct aws_credentials_request {
	aws_credentials_cb *done;
	void *data;
	struct error error; /* out: why there are none */
	/* private */
	struct list link;
	struct aws_credentials *credentials;
	int status;
};

/*
 * Reads the configuration, and profile files where they are the source; blocking, so before the loop runs. 0; ERR_NOMEM;
 * ERR_CONFIG with a message when no source is configured or the configured one is unusable (half of a key pair, a profile that
 * does not exist, …).
 */
int aws_credentials_new(struct aws_credentials **ret, const struct aws_credentials_options *options, struct error *error);

/*
 * 0 and `done` follows: with 0, ERR_CREDENTIALS (none can be had now; error.detail says from where and why) or ERR_CANCELLED.
 * Or nothing was started: ERR_CANCELLED (closing), ERR_UNAVAILABLE (too many are waiting). After a failure others fail
 * without a fetch until the backoff (1 s, growing to 60 s) is over.
 */
int aws_credentials_get(struct aws_credentials *credentials, struct aws_credentials_request *request);
/* `done` follows with ERR_CANCELLED. Between get and `done` only. */
void aws_credentials_cancel(struct aws_credentials_request *request);

/* What is valid now, NULL when nothing is: for the fast way and for callers who cannot wait. Good until the loop turns. */
const struct aws_credentials_value *aws_credentials_now(struct aws_credentials *credentials);

/*
 * S3 refused the credentials of that generation (ExpiredToken, InvalidAccessKeyId, …): they are not given out again, and the
 * source is asked, or the files and variables read, anew by the next get. Without effect when they are no longer the current
 * ones or have been for less than 10 s, so that a wrong policy does not turn into a storm of fetches.
 */
void aws_credentials_invalidate(struct aws_credentials *credentials, uint64_t generation);

/* Variables or files may have changed (SIGHUP): asks the source anew. What is valid stays so until the answer is there. */
void aws_credentials_reload(struct aws_credentials *credentials);

/* "environment", "profile", "web identity", "container", "instance role": where they come from, for logs. */
const char *aws_credentials_source(const struct aws_credentials *credentials);

/* Whoever waits gets ERR_CANCELLED, then `closed` comes, from the loop; credentials is gone then. */
void aws_credentials_close(struct aws_credentials *credentials, void (*closed)(void *data), void *data);

/*
 * Whether a source is configured: a look at variables and profile files, not at the network; with options->instance_role true in
 * any case. Blocking. loop and http are not used. A source that is configured but unusable counts: aws_credentials_new has the
 * message. *source (may be NULL): as aws_credentials_source, NULL when there is none.
 */
bool aws_credentials_can(const struct aws_credentials_options *options, const char **source);

/*
 * The region that variables (AWS_REGION, AWS_DEFAULT_REGION) or the profile name. False when none does, or it does not fit.
 * Blocking; as above.
 */
bool aws_credentials_find_region(const struct aws_credentials_options *options, char *out, size_t size);

#endif
