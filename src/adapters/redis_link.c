/* SPDX-License-Identifier: MIT */
/*
 * What hiredis needs besides a glue of its own:
 *   - It calls addWrite for every command. Answering that with uv_poll_start would be a system call each; instead the owner flushes once a turn,
 *     and the poll waits for writability only while connecting and when the kernel took less than all.
 *   - uv_poll tells an error (a refused connection) by a status and no events: then hiredis must read to learn of it.
 *   - An answer that was not asked for is an assertion in hiredis, and a peer must not be able to end this process: the functions that make the
 *     objects of an answer refuse what was never asked for.
 *   - It frees its context when the connection ends; `cleanup` is the one call that comes then in every case.
 */
#include "adapters/redis_internal.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_UNFINISHED ((size_t)1024 * 1024) /* bytes of one answer */

struct redis_link {
	const struct redis_link_ops *ops;
	void *owner;
	redisAsyncContext *context; /* NULL: hiredis has freed it */
	uv_poll_t poll;
	int wanted; /* events that hiredis wants */
	int polled; /* and those that the loop was told */
	bool connected;
	bool flushing;
	bool dropped;
	bool overfull;      /* MAX_UNFINISHED exceeded */
	bool unasked;       /* an object was refused */
	size_t owed;        /* answers */
	char last_word[96]; /* an error without a command, as in "ERR max number of clients reached" */
	redisReplyObjectFunctions functions;
	const redisReplyObjectFunctions *original;
};

/* ---- what the loop waits for ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct redis_link *link)
{
	if (link->context == NULL || link->polled == link->wanted)
		return;
	link->polled = link->wanted;
	if (link->wanted != 0)
		uv_poll_start(&link->poll, link->wanted, on_poll);
	else
		uv_poll_stop(&link->poll);
}

static void add_read(void *data)
{
	struct redis_link *link = data;
	link->wanted |= UV_READABLE;
	update_poll(link);
}

static void del_read(void *data)
{
	struct redis_link *link = data;
	link->wanted &= ~UV_READABLE;
	update_poll(link);
}

static void add_write(void *data)
{
	struct redis_link *link = data;
	if (link->connected && !link->flushing) {
		link->ops->unflushed(link->owner);
		return;
	}
	link->wanted |= UV_WRITABLE;
	update_poll(link);
}

static void del_write(void *data)
{
	struct redis_link *link = data;
	link->wanted &= ~UV_WRITABLE;
	update_poll(link);
}

static void link_closed(uv_handle_t *handle)
{
	struct redis_link *link = handle->data;
	const struct redis_link_ops *ops = link->ops;
	void *owner = link->owner;
	free(link);
	ops->closed(owner);
}

static int err_from_hiredis(const redisAsyncContext *context)
{
	switch (context->c.err) {
	case REDIS_ERR_EOF:
		return ERR_RESET;
	case REDIS_ERR_PROTOCOL:
	case REDIS_ERR_OOM: /* also what a refused object looks like */
		return ERR_PROTOCOL;
	default:
		return context->c.flags & REDIS_CONNECTED ? ERR_RESET : ERR_CONNECT;
	}
}

/* From hiredis, exactly once for a context. The context is still there, its descriptor is open. */
static void cleanup(void *data)
{
	struct redis_link *link = data;
	char detail[192];
	int err = err_from_hiredis(link->context);
	if (link->overfull)
		snprintf(detail, sizeof(detail), "an answer longer than %zu bytes", MAX_UNFINISHED);
	else if (link->last_word[0] != '\0')
		snprintf(detail, sizeof(detail), "%s", link->last_word);
	else if (link->unasked)
		snprintf(detail, sizeof(detail), "an answer to no question of ours");
	else
		snprintf(detail, sizeof(detail), "%s", link->context->c.errstr);
	if (link->overfull)
		err = ERR_PROTOCOL;
	link->context = NULL;
	uv_close((uv_handle_t *)&link->poll, link_closed);
	if (!link->dropped)
		link->ops->lost(link->owner, err, detail);
}

static void check_unfinished(struct redis_link *link)
{
	const redisReader *reader = link->context->c.reader;
	if (reader->len - reader->pos <= MAX_UNFINISHED)
		return;
	link->overfull = true;
	redisAsyncFree(link->context);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct redis_link *link = poll->data;
	if (status < 0) {
		link->polled = 0; /* libuv has stopped it */
		redisAsyncHandleRead(link->context);
		if (link->context != NULL)
			redisAsyncFree(link->context);
		return;
	}
	if ((events & UV_READABLE) != 0) {
		redisAsyncHandleRead(link->context);
		if (link->context != NULL)
			check_unfinished(link);
	}
	if (link->context != NULL && (events & UV_WRITABLE) != 0)
		redis_link_flush(link);
}

/* ---- the objects of an answer ---- */

static bool admit(const redisReadTask *task)
{
	struct redis_link *link = task->privdata;
	if (task->parent == NULL && link->owed > 0) {
		link->owed--;
		return true;
	}
	if (task->parent != NULL)
		return true;
	link->unasked = true;
	return false;
}

static const redisReplyObjectFunctions *original(const redisReadTask *task)
{
	const struct redis_link *link = task->privdata;
	return link->original;
}

static void *make_string(const redisReadTask *task, char *text, size_t len)
{
	struct redis_link *link = task->privdata;
	if (admit(task))
		return original(task)->createString(task, text, len);
	if (task->type == REDIS_REPLY_ERROR)
		snprintf(link->last_word, sizeof(link->last_word), "%.*s", (int)(len < 80 ? len : 80), text);
	return NULL;
}

static void *make_integer(const redisReadTask *task, long long value)
{
	return admit(task) ? original(task)->createInteger(task, value) : NULL;
}

static void *make_nil(const redisReadTask *task)
{
	return admit(task) ? original(task)->createNil(task) : NULL;
}

static bool admit_array(const redisReadTask *task, size_t elements)
{
	struct redis_link *link = task->privdata;
	if (task->type == REDIS_REPLY_ARRAY && task->parent == NULL && elements <= REDIS_MAX_ELEMENTS && admit(task))
		return true;
	link->unasked = true;
	return false;
}

#if HIREDIS_MAJOR < 1
static void *make_array(const redisReadTask *task, int elements)
{
	return admit_array(task, (size_t)elements) ? original(task)->createArray(task, elements) : NULL;
}
#else
static void *make_array(const redisReadTask *task, size_t elements)
{
	return admit_array(task, elements) ? original(task)->createArray(task, elements) : NULL;
}

/* Of RESP3, which is never asked for. */
static void *make_double(const redisReadTask *task, double value, char *text, size_t len)
{
	(void)value, (void)text, (void)len;
	((struct redis_link *)task->privdata)->unasked = true;
	return NULL;
}

static void *make_bool(const redisReadTask *task, int value)
{
	(void)value;
	((struct redis_link *)task->privdata)->unasked = true;
	return NULL;
}
#endif

static void set_functions(struct redis_link *link)
{
	redisReader *reader = link->context->c.reader;
	link->original = reader->fn;
	link->functions = *reader->fn;
	link->functions.createString = make_string;
	link->functions.createInteger = make_integer;
	link->functions.createNil = make_nil;
	link->functions.createArray = make_array;
#if HIREDIS_MAJOR >= 1
	link->functions.createDouble = make_double;
	link->functions.createBool = make_bool;
#endif
	reader->fn = &link->functions;
	reader->privdata = link;
}

static bool is_text(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

static void convert(struct redis_answer *answer, const redisReply *reply)
{
	*answer = (struct redis_answer){.kind = REDIS_ANSWER_NIL};
	if (is_text(reply) || reply->type == REDIS_REPLY_ERROR) {
		answer->kind = reply->type == REDIS_REPLY_ERROR ? REDIS_ANSWER_ERROR : REDIS_ANSWER_TEXT;
		answer->text = slice_make(reply->str, (size_t)reply->len);
	} else if (reply->type == REDIS_REPLY_INTEGER) {
		answer->kind = REDIS_ANSWER_INTEGER;
		answer->integer = reply->integer;
	} else if (reply->type == REDIS_REPLY_ARRAY) {
		answer->kind = REDIS_ANSWER_LIST;
		answer->count = reply->elements;
		for (size_t i = 0; i < reply->elements; i++) {
			const redisReply *element = reply->element[i];
			if (is_text(element))
				answer->elements[i] = slice_make(element->str, (size_t)element->len);
		}
	}
}

static void on_reply(redisAsyncContext *context, void *reply, void *data)
{
	struct redis_link *link = data;
	struct redis_answer answer;
	(void)context;
	/* Without a reply: hiredis is ending. cleanup tells the owner. */
	if (reply == NULL || link->dropped)
		return;
	convert(&answer, reply);
	link->ops->answer(link->owner, &answer);
}

/* ---- life ---- */

static void on_connect(const redisAsyncContext *context, int status)
{
	struct redis_link *link = context->data;
	if (status != REDIS_OK || link->dropped)
		return;
	link->connected = true;
	link->ops->connected(link->owner);
}

static redisAsyncContext *connect_context(const struct redis_target *target, struct error *error)
{
	/* Both begin to connect and return; the address is numeric, so getaddrinfo inside resolves nothing. */
	redisAsyncContext *context = target->path != NULL ? redisAsyncConnectUnix(target->path)
							  : redisAsyncConnect(target->address, target->port);
	if (context == NULL) {
		error_set(error, ERR_NOMEM, "out of memory");
		return NULL;
	}
	if (context->err != 0) {
		error_set(error, ERR_CONNECT, "%s", context->errstr);
		redisAsyncFree(context);
		return NULL;
	}
	if (target->tls != NULL && redis_tls_start(target->tls, context, error) != 0) {
		redisAsyncFree(context);
		return NULL;
	}
	return context;
}

int redis_link_open(struct redis_link **ret, uv_loop_t *loop, const struct redis_target *target, const struct redis_link_ops *ops,
		    void *owner, struct error *error)
{
	*ret = NULL;
	struct redis_link *link = calloc(1, sizeof(*link));
	if (link == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	redisAsyncContext *context = connect_context(target, error);
	if (context == NULL) {
		free(link);
		return error->code;
	}
	int rc = uv_poll_init(loop, &link->poll, context->c.fd);
	if (rc != 0) {
		redisAsyncFree(context);
		free(link);
		return error_set(error, ERR_IO, "%s", uv_strerror(rc));
	}
	(void)fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
	link->ops = ops;
	link->owner = owner;
	link->context = context;
	link->poll.data = link;
	context->data = link;
	context->ev.data = link;
	context->ev.addRead = add_read;
	context->ev.delRead = del_read;
	context->ev.addWrite = add_write;
	context->ev.delWrite = del_write;
	context->ev.cleanup = cleanup;
	set_functions(link);
	redisAsyncSetConnectCallback(context, on_connect); /* waits for writability */
	*ret = link;
	return 0;
}

int redis_link_send(struct redis_link *link, const struct slice *arguments, size_t count)
{
	const char *texts[REDIS_MAX_ARGUMENTS];
	size_t lengths[REDIS_MAX_ARGUMENTS];
	REQUIRE(count > 0 && count <= REDIS_MAX_ARGUMENTS);
	for (size_t i = 0; i < count; i++) {
		texts[i] = arguments[i].ptr;
		lengths[i] = arguments[i].len;
	}
	if (redisAsyncCommandArgv(link->context, on_reply, link, (int)count, texts, lengths) != REDIS_OK)
		return ERR_NOMEM;
	link->owed++;
	return 0;
}

void redis_link_flush(struct redis_link *link)
{
	link->flushing = true;
	redisAsyncHandleWrite(link->context);
	link->flushing = false;
}

void redis_link_drop(struct redis_link *link)
{
	link->dropped = true;
	redisAsyncFree(link->context);
}
