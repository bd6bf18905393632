/* SPDX-License-Identifier: MIT */
#include "intake/message.h"

#include "base/check.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

/* Together with malloc's own header a block fills whole pages. */
static const size_t class_size[MESSAGE_CLASSES] = {4096 - 32, 16384 - 32, 131072 - 32};
/* So many free ones are kept per class: a burst's memory goes back. */
static const size_t class_keep[MESSAGE_CLASSES] = {256, 64, 8};

void message_pool_init(struct message_pool *pool, size_t max_len, size_t max_held)
{
	*pool = (struct message_pool){.max_len = max_len, .max_held = max_held};
}

void message_pool_free(struct message_pool *pool)
{
	REQUIRE(pool->held == 0);
	for (size_t class = 0; class < MESSAGE_CLASSES; class ++) {
		while (pool->free[class] != NULL) {
			struct message *message = pool->free[class];
			pool->free[class] = message->next_free;
			free(message);
		}
	}
}

static size_t class_for(size_t size)
{
	size_t class = 0;
	while (class < MESSAGE_CLASSES && class_size[class] < size)
		class ++;
	return class;
}

static struct message *take(struct message_pool *pool, size_t capacity, int *error)
{
	size_t size = sizeof(struct message) + capacity;
	size_t class = class_for(size);
	if (class < MESSAGE_CLASSES)
		size = class_size[class];
	*error = ERR_LIMIT;
	if (size > pool->max_held - pool->held)
		return NULL;
	struct message *message;
	if (class < MESSAGE_CLASSES && pool->free[class] != NULL) {
		message = pool->free[class];
		pool->free[class] = message->next_free;
		pool->free_count[class]--;
	} else {
		message = malloc(size);
	}
	*error = ERR_NOMEM;
	if (message == NULL)
		return NULL;
	*message = (struct message){.capacity = size - sizeof(struct message)};
	pool->held += size;
	*error = 0;
	return message;
}

void message_release(struct message_pool *pool, struct message **message)
{
	struct message *old = *message;
	*message = NULL;
	if (old == NULL)
		return;
	REQUIRE(old->parser == NULL);
	size_t size = sizeof(struct message) + old->capacity;
	pool->held -= size;
	size_t class = class_for(size);
	if (class < MESSAGE_CLASSES && pool->free_count[class] < class_keep[class]) {
		old->next_free = pool->free[class];
		pool->free[class] = old;
		pool->free_count[class]++;
	} else {
		free(old);
	}
}

int message_append(struct message_pool *pool, struct message **message, const char *bytes, size_t len)
{
	struct message *old = *message;
	size_t have = old == NULL ? 0 : old->len;
	if (len > pool->max_len - have)
		return ERR_TOO_LARGE;
	if (old == NULL || len > old->capacity - have) {
		int error;
		/* Doubling keeps the copying of a long body linear. */
		size_t capacity = have + len < 2 * have ? 2 * have : have + len;
		struct message *grown = take(pool, capacity < pool->max_len ? capacity : pool->max_len, &error);
		if (grown == NULL)
			return error;
		if (old != NULL) {
			memcpy(grown->bytes, old->bytes, have);
			grown->len = have;
			grown->parsed = old->parsed;
			grown->parser = old->parser;
			old->parser = NULL;
			message_release(pool, message);
		}
		*message = grown;
	}
	memcpy((*message)->bytes + have, bytes, len);
	(*message)->len = have + len;
	return 0;
}
