/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "intake/message.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define BIG ((size_t)1 << 30)

Test(message, grows_and_keeps_its_bytes)
{
	struct message_pool pool;
	struct message *message = NULL;
	char piece[1000];
	message_pool_init(&pool, 400000, BIG);
	for (int i = 0; i < 300; i++) {
		memset(piece, i, sizeof(piece));
		cr_assert_eq(message_append(&pool, &message, piece, sizeof(piece)), 0);
	}
	cr_assert_eq(message->len, 300000);
	for (size_t i = 0; i < message->len; i++)
		cr_assert_eq((unsigned char)message->bytes[i], (unsigned char)(i / 1000));
	message_release(&pool, &message);
	cr_assert_null(message);
	cr_assert_eq(pool.held, 0);
	message_pool_free(&pool);
}

Test(message, length_is_bounded_and_a_refused_append_changes_nothing)
{
	struct message_pool pool;
	struct message *message = NULL;
	char piece[5000] = {0};
	message_pool_init(&pool, 9000, BIG);
	cr_assert_eq(message_append(&pool, &message, piece, 5000), 0);
	cr_assert_eq(message_append(&pool, &message, piece, 4001), ERR_TOO_LARGE);
	cr_assert_eq(message->len, 5000);
	cr_assert_eq(message_append(&pool, &message, piece, 4000), 0);
	message_release(&pool, &message);
	message_pool_free(&pool);
}

Test(message, all_messages_together_are_bounded)
{
	struct message_pool pool;
	struct message *messages[4] = {NULL};
	message_pool_init(&pool, 9000, 3 * 4096);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(message_append(&pool, &messages[i], "x", 1), 0);
	cr_assert_eq(message_append(&pool, &messages[3], "x", 1), ERR_LIMIT);
	cr_assert_null(messages[3]);
	message_release(&pool, &messages[0]);
	cr_assert_eq(message_append(&pool, &messages[3], "x", 1), 0);
	for (int i = 1; i < 4; i++)
		message_release(&pool, &messages[i]);
	message_pool_free(&pool);
}

Test(message, blocks_are_reused)
{
	struct message_pool pool;
	struct message *message = NULL;
	message_pool_init(&pool, 9000, BIG);
	cr_assert_eq(message_append(&pool, &message, "x", 1), 0);
	struct message *first = message;
	message_release(&pool, &message);
	cr_assert_eq(message_append(&pool, &message, "y", 1), 0);
	cr_assert_eq(message, first);
	cr_assert_eq(message->len, 1);
	message_release(&pool, &message);
	message_pool_free(&pool);
}
