/* SPDX-License-Identifier: MIT */
/*
 * Bytes that a connection must keep between two reads: a request that came in part, or pipelined ones that wait. Blocks come in
 * a few sizes and are reused; all blocks of a pool together are bounded. Loop thread only.
 */
#ifndef REELD_INTAKE_MESSAGE_H
#define REELD_INTAKE_MESSAGE_H

#include <stddef.h>

struct request_parser;

struct message {
	struct message *next_free;
	struct request_parser *parser; /* of the request that begins at bytes[0]; NULL: not begun */
	size_t parsed;                 /* what the parser has seen of it */
	size_t len;
	size_t capacity;
	char bytes[];
};

#define MESSAGE_CLASSES 3

struct message_pool {
	struct message *free[MESSAGE_CLASSES];
	size_t free_count[MESSAGE_CLASSES];
	size_t max_len;  /* of one message */
	size_t held;     /* bytes in messages that are in use */
	size_t max_held; /* bound on it */
};

void message_pool_init(struct message_pool *pool, size_t max_len, size_t max_held);
/* Every message must have been given back. */
void message_pool_free(struct message_pool *pool);

/*
 * Appends to *message, which is created when NULL and may move. 0; ERR_TOO_LARGE beyond max_len; ERR_LIMIT beyond max_held;
 * ERR_NOMEM. On an error *message is as before.
 */
int message_append(struct message_pool *pool, struct message **message, const char *bytes, size_t len);
/* Gives the block back; the parser must be gone. Sets *message to NULL. */
void message_release(struct message_pool *pool, struct message **message);

#endif
