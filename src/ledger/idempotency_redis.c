/* SPDX-License-Identifier: MIT */
/*
 * The filter in Redis.
 *
 *   PREFIXseen:RE0123…:completed   "1"    EX ttl_seen_s
 *   PREFIXurl:RE0123…              URL    EX ttl_archived_s
 *
 * Two keys instead of one, since each is then written whole by one command with its expiry, and SEEN never overwrites where something is archived.
 * A question is one MGET of both. The hexadecimal digits of the SID are written in lower case.
 */
#include "ledger/idempotency.h"

#include "adapters/redis.h"
#include "base/check.h"
#include "base/hex.h"
#include "base/list.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_QUESTIONS 1024 /* about what one group commit of the journal acknowledges at most */
#define MAX_CHANGES 4096   /* eight batches of the forwarder */
#define MAX_PREFIX 64
#define KEY_SIZE (MAX_PREFIX + 64)
#define SEEN "1"
#define REFUSALS_LOGGED_EVERY_MS 60000

/* A question or a change on its way. */
struct operation {
	struct idempotency_pending pending; /* first */
	struct redis_request request;
	struct idempotency_question *question; /* NULL: a change, or forgotten */
	struct list link;
};

/* A fixed number of them, whose memory is touched as far as it was ever needed. */
struct pool {
	struct operation *operations;
	size_t size;
	size_t touched;
	struct list free;
};

struct redis_filter {
	struct idempotency base; /* first */
	struct redis *redis;
	uv_loop_t *loop;
	struct pool questions;
	struct pool changes;
	char prefix[MAX_PREFIX + 1];
	char ttl_seen[16];
	char ttl_archived[16];
	struct idempotency_redis_counts counts;
	bool refusal_logged;
	uint64_t refusal_logged_ms;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- operations ---- */

static bool pool_init(struct pool *pool, size_t size)
{
	list_init(&pool->free);
	pool->size = size;
	pool->operations = calloc(size, sizeof(*pool->operations));
	return pool->operations != NULL;
}

static struct operation *pool_take(struct pool *pool)
{
	struct list *link = list_take(&pool->free);
	if (link != NULL)
		return LIST_ENTRY(link, struct operation, link);
	return pool->touched < pool->size ? &pool->operations[pool->touched++] : NULL;
}

static void pool_give_back(struct pool *pool, struct operation *operation)
{
	list_append(&pool->free, &operation->link);
}

/* ---- keys ---- */

static bool sid_hex(const struct sid *sid, char out[33])
{
	uint8_t key[16];
	if (!sid_binary(sid, key))
		return false;
	hex_encode(key, sizeof(key), out);
	return true;
}

static struct slice seen_key(const struct redis_filter *filter, const char *hex, enum recording_status status, char out[KEY_SIZE])
{
	int len = snprintf(out, KEY_SIZE, "%sseen:RE%s:%s", filter->prefix, hex, recording_status_name(status));
	return slice_make(out, (size_t)len);
}

static struct slice url_key(const struct redis_filter *filter, const char *hex, char out[KEY_SIZE])
{
	int len = snprintf(out, KEY_SIZE, "%surl:RE%s", filter->prefix, hex);
	return slice_make(out, (size_t)len);
}

/* ---- answers ---- */

/* What set_archived wrote, or at least looks like it: whatever else stands there goes into no answer of ours. */
static bool is_url(struct slice text)
{
	if (text.ptr == NULL || text.len >= IDEMPOTENCY_URL_SIZE || memmem(text.ptr, text.len, "://", 3) == NULL)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c < ' ' || c == 0x7f)
			return false;
	}
	return text.ptr[0] >= 'a' && text.ptr[0] <= 'z';
}

static void log_refusal(struct redis_filter *filter, struct slice text)
{
	char shown[100];
	uint64_t now_ms = uv_now(filter->loop);
	filter->counts.refused++;
	if (filter->refusal_logged && now_ms - filter->refusal_logged_ms < REFUSALS_LOGGED_EVERY_MS)
		return;
	filter->refusal_logged = true;
	filter->refusal_logged_ms = now_ms;
	snprintf(shown, sizeof(shown), "%.*s", (int)(text.len < sizeof(shown) ? text.len : sizeof(shown) - 1), text.ptr);
	log_event(LOG_WARN, "redis.refused", LOG_STR("detail", shown), LOG_U64("refused", filter->counts.refused));
}

static enum idempotency_answer judge(const struct redis_answer *answer, char url[IDEMPOTENCY_URL_SIZE])
{
	if (answer->kind != REDIS_ANSWER_LIST || answer->count != 2)
		return IDEMPOTENCY_UNKNOWN;
	struct slice archived = answer->elements[0];
	if (is_url(archived)) {
		memcpy(url, archived.ptr, archived.len);
		url[archived.len] = '\0';
		return IDEMPOTENCY_ARCHIVED;
	}
	return slice_equal(answer->elements[1], SLICE(SEEN)) ? IDEMPOTENCY_SEEN : IDEMPOTENCY_UNKNOWN;
}

static void question_done(struct redis_request *request, int status, const struct redis_answer *answer)
{
	struct operation *operation = CONTAINER_OF(request, struct operation, request);
	struct redis_filter *filter = request->data;
	struct idempotency_question *question = operation->question;
	if (status == 0 && answer->kind == REDIS_ANSWER_ERROR)
		log_refusal(filter, answer->text);
	if (question != NULL) {
		question->pending = NULL;
		if (status == 0)
			question->answer = judge(answer, question->url);
		if (question->answer != IDEMPOTENCY_UNKNOWN)
			filter->counts.known++;
	}
	pool_give_back(&filter->questions, operation);
}

static void change_done(struct redis_request *request, int status, const struct redis_answer *answer)
{
	struct redis_filter *filter = request->data;
	if (status != 0)
		filter->counts.dropped_changes++;
	else if (answer->kind == REDIS_ANSWER_ERROR)
		log_refusal(filter, answer->text);
	pool_give_back(&filter->changes, CONTAINER_OF(request, struct operation, request));
}

/* ---- the filter ---- */

static void redis_filter_ask(struct idempotency *base, struct idempotency_question *question, const struct sid *sid,
			     enum recording_status status)
{
	struct redis_filter *filter = (struct redis_filter *)base;
	char hex[33];
	char url_space[KEY_SIZE];
	char seen_space[KEY_SIZE];
	if (!sid_hex(sid, hex))
		return;
	struct operation *operation = redis_up(filter->redis) ? pool_take(&filter->questions) : NULL;
	if (operation == NULL) {
		filter->counts.dropped_questions++;
		return;
	}
	operation->pending.filter = base;
	operation->question = question;
	operation->request = (struct redis_request){.done = question_done, .data = filter};
	const struct slice arguments[] = {SLICE("MGET"), url_key(filter, hex, url_space),
					  seen_key(filter, hex, status, seen_space)};
	if (redis_start(filter->redis, &operation->request, arguments, 3) != 0) {
		filter->counts.dropped_questions++;
		pool_give_back(&filter->questions, operation);
		return;
	}
	filter->counts.asked++;
	question->pending = &operation->pending;
}

/* The operation goes on without it: its answer must be taken from the connection anyway. */
static void redis_filter_forget(struct idempotency_question *question)
{
	struct operation *operation = (struct operation *)question->pending;
	operation->question = NULL;
}

static void change(struct redis_filter *filter, const struct slice *arguments, size_t count)
{
	struct operation *operation = redis_up(filter->redis) ? pool_take(&filter->changes) : NULL;
	if (operation == NULL) {
		filter->counts.dropped_changes++;
		return;
	}
	operation->question = NULL;
	operation->request = (struct redis_request){.done = change_done, .data = filter};
	if (redis_start(filter->redis, &operation->request, arguments, count) != 0) {
		filter->counts.dropped_changes++;
		pool_give_back(&filter->changes, operation);
	}
}

static void set(struct redis_filter *filter, struct slice key, struct slice value, const char *ttl)
{
	const struct slice arguments[] = {SLICE("SET"), key, value, SLICE("EX"), slice_from_cstr(ttl)};
	change(filter, arguments, 5);
}

static void redis_filter_set_seen(struct idempotency *base, const struct sid *sid, enum recording_status status)
{
	struct redis_filter *filter = (struct redis_filter *)base;
	char hex[33];
	char space[KEY_SIZE];
	/* Two words that we do not know are not the same word. */
	if (status != RECORDING_UNKNOWN && sid_hex(sid, hex))
		set(filter, seen_key(filter, hex, status, space), SLICE(SEEN), filter->ttl_seen);
}

static void redis_filter_set_archived(struct idempotency *base, const struct sid *sid, const char *url)
{
	struct redis_filter *filter = (struct redis_filter *)base;
	char hex[33];
	char space[KEY_SIZE];
	/* What would not be believed when it is read is not written. */
	if (!is_url(slice_from_cstr(url)))
		redis_filter_set_seen(base, sid, RECORDING_COMPLETED);
	else if (sid_hex(sid, hex))
		set(filter, url_key(filter, hex, space), slice_from_cstr(url), filter->ttl_archived);
}

static void redis_filter_clear(struct idempotency *base, const struct sid *sid)
{
	static const enum recording_status statuses[] = {RECORDING_IN_PROGRESS, RECORDING_COMPLETED, RECORDING_ABSENT,
							 RECORDING_FAILED};
	enum { STATUSES = sizeof(statuses) / sizeof(statuses[0]) };
	struct redis_filter *filter = (struct redis_filter *)base;
	char hex[33];
	char spaces[STATUSES + 1][KEY_SIZE];
	struct slice arguments[STATUSES + 2] = {SLICE("DEL")};
	if (!sid_hex(sid, hex))
		return;
	arguments[1] = url_key(filter, hex, spaces[STATUSES]);
	for (size_t i = 0; i < STATUSES; i++)
		arguments[2 + i] = seen_key(filter, hex, statuses[i], spaces[i]);
	change(filter, arguments, STATUSES + 2);
}

static bool redis_filter_up(const struct idempotency *base)
{
	return redis_up(((const struct redis_filter *)base)->redis);
}

/* ---- life ---- */

static void free_filter(struct redis_filter *filter)
{
	free(filter->questions.operations);
	free(filter->changes.operations);
	free(filter);
}

static void client_closed(void *data)
{
	struct redis_filter *filter = data;
	void (*closed)(void *data) = filter->closed;
	void *closed_data = filter->closed_data;
	free_filter(filter);
	closed(closed_data);
}

static void redis_filter_close(struct idempotency *base, void (*closed)(void *data), void *data)
{
	struct redis_filter *filter = (struct redis_filter *)base;
	filter->closed = closed;
	filter->closed_data = data;
	redis_close(filter->redis, client_closed, filter);
}

static const struct idempotency_ops redis_ops = {
	.kind = "redis",
	.ask = redis_filter_ask,
	.forget = redis_filter_forget,
	.set_seen = redis_filter_set_seen,
	.set_archived = redis_filter_set_archived,
	.clear = redis_filter_clear,
	.up = redis_filter_up,
	.close = redis_filter_close,
};

static int take_options(struct redis_filter *filter, const struct idempotency_redis_options *options, struct error *error)
{
	const char *prefix = options->prefix == NULL ? "reeld:" : options->prefix;
	if (strlen(prefix) > MAX_PREFIX)
		return error_set(error, ERR_CONFIG, "REDIS_PREFIX: longer than %d bytes", MAX_PREFIX);
	snprintf(filter->prefix, sizeof(filter->prefix), "%s", prefix);
	snprintf(filter->ttl_seen, sizeof(filter->ttl_seen), "%u", options->ttl_seen_s == 0 ? 86400 : options->ttl_seen_s);
	snprintf(filter->ttl_archived, sizeof(filter->ttl_archived), "%u",
		 options->ttl_archived_s == 0 ? 604800 : options->ttl_archived_s);
	return 0;
}

int idempotency_redis_open(struct idempotency **ret, uv_loop_t *loop, const struct idempotency_redis_options *options,
			   struct error *error)
{
	*ret = NULL;
	struct redis_filter *filter = calloc(1, sizeof(*filter));
	if (filter == NULL)
		return error_set(error, ERR_NOMEM, "Redis: out of memory");
	filter->base.ops = &redis_ops;
	filter->loop = loop;
	int err = take_options(filter, options, error);
	if (err == 0 && (!pool_init(&filter->questions, MAX_QUESTIONS) || !pool_init(&filter->changes, MAX_CHANGES)))
		err = error_set(error, ERR_NOMEM, "Redis: out of memory");
	const struct redis_options client = {
		.url = options->url,
		.max_requests = MAX_QUESTIONS + MAX_CHANGES,
		.command_timeout_ms = options->timeout_ms,
	};
	if (err == 0)
		err = redis_open(&filter->redis, loop, &client, error);
	if (err != 0) {
		free_filter(filter);
		return err;
	}
	*ret = &filter->base;
	return 0;
}

void idempotency_redis_counts(const struct idempotency *filter, struct idempotency_redis_counts *counts)
{
	*counts = ((const struct redis_filter *)filter)->counts;
}

const struct error *idempotency_redis_problem(const struct idempotency *filter)
{
	return redis_problem(((const struct redis_filter *)filter)->redis);
}
