/* SPDX-License-Identifier: MIT */
/*
 * A Redis client over hiredis on the loop: one connection that is kept up in the background, commands pipelined. Nothing waits for it:
 * what cannot be asked now is refused at once.
 *
 * Adapter rules: the request is embedded by the caller and belongs to the client from redis_start() to `done`; `done` comes exactly once,
 * never inside start(), cancel() or close(), also on cancel and close (ERR_CANCELLED).
 *
 * The connection. Host names are resolved anew for every attempt, by libuv's pool. An attempt (resolving, connecting, AUTH, SELECT, PING) has
 * connect_timeout_ms. After a failure the next one comes at random between nothing and backoff_min_ms, then twice that, … up to backoff_max_ms
 * (full jitter). An answer like WRONGPASS will not change by itself: it is retried at random between half of refused_ms and all of it.
 * Redis answers in order, so one answer that takes longer than command_timeout_ms holds back all others: then the connection is given up, and
 * every request on its way ends with ERR_TIMEOUT. A connection that has nothing to do is asked PING. What a peer may make this
 * process hold is bounded, whatever it sends: 1 MiB of an unfinished answer; arrays of more than REDIS_MAX_ELEMENTS, nested ones and answers
 * to no question end the connection.
 *
 * All changes of the connection are logged once ("redis.up", "redis.down" with reason), never with the password.
 * SIGPIPE must be ignored by the process.
 */
#ifndef REELD_ADAPTERS_REDIS_H
#define REELD_ADAPTERS_REDIS_H

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define REDIS_MAX_ARGUMENTS 16
#define REDIS_MAX_ELEMENTS 4

struct redis;

struct redis_options {
	const char *url;     /* see adapters/redis_url.h; copied */
	size_t max_requests; /* on their way at the same time; 0: 1024 */
	/* milliseconds; 0 is the default */
	uint32_t connect_timeout_ms; /* 5000 */
	uint32_t command_timeout_ms; /* 1000 */
	uint32_t backoff_min_ms;     /* 100 */
	uint32_t backoff_max_ms;     /* 30000 */
	uint32_t refused_ms;         /* 60000 */
	uint32_t ping_ms;            /* 5000: so long without an answer, and PING is sent */
};

enum redis_answer_kind {
	REDIS_ANSWER_NIL,
	REDIS_ANSWER_TEXT, /* bulk or simple string: `text` */
	REDIS_ANSWER_INTEGER,
	REDIS_ANSWER_LIST, /* `elements`: texts; one that is anything else has ptr NULL */
	REDIS_ANSWER_ERROR /* Redis refused the command: `text`, as in "OOM command not allowed …" */
};

/* Valid during the callback. Texts are bytes of a stranger, not NUL-terminated. */
struct redis_answer {
	enum redis_answer_kind kind;
	struct slice text;
	int64_t integer;
	struct slice elements[REDIS_MAX_ELEMENTS];
	size_t count;
};

struct redis_request;
/* status 0: answer is there (an error too is an answer). Else ERR_TIMEOUT, ERR_RESET, ERR_PROTOCOL or ERR_CANCELLED, and answer is NULL. */
typedef void redis_cb(struct redis_request *request, int status, const struct redis_answer *answer);

struct redis_request {
	redis_cb *done;
	void *data;
	/* private */
	struct redis *redis; /* NULL: not on its way */
	uint64_t slot;
	int status;
	struct list link;
};

/*
 * Never fails because Redis is not there: connecting goes on in the background. ERR_CONFIG: the URL is wrong, or asks for TLS that this
 * build does not have; ERR_NOMEM. Blocks for nothing.
 */
int redis_open(struct redis **ret, uv_loop_t *loop, const struct redis_options *options, struct error *error);
/*
 * Every request on its way gets its `done` (ERR_CANCELLED), then `closed` comes, from the loop. A name that is being resolved is waited
 * for: getaddrinfo cannot be interrupted once it runs.
 */
void redis_close(struct redis *redis, void (*closed)(void *data), void *data);

/*
 * Sends one command with 1 to REDIS_MAX_ARGUMENTS arguments; they are copied. What one turn of the loop starts leaves in one write.
 * 0; or, when nothing was started: ERR_UNAVAILABLE (no connection), ERR_LIMIT (max_requests are on their way), ERR_NOMEM, ERR_CANCELLED (closing).
 */
int redis_start(struct redis *redis, struct redis_request *request, const struct slice *arguments, size_t count);
/* `done` follows with ERR_CANCELLED (unless it was on its way already). The answer finds nothing. Safe any time between start and done. */
void redis_cancel(struct redis_request *request);

/* The connection is there and was let in, and nothing says otherwise yet. */
bool redis_up(const struct redis *redis);
/* Why it is down: code and a text without secrets; code 0 when it is up, or was not tried yet. Valid until the loop turns. */
const struct error *redis_problem(const struct redis *redis);

#endif
