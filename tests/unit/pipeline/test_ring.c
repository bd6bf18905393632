/* SPDX-License-Identifier: MIT */
#include "pipeline/ring.h"

#include <criterion/criterion.h>
#include <string.h>

static struct chunk_pool pool;
static struct ring ring;

static void set_up(void)
{
	chunk_pool_init(&pool, 8);
	ring_init(&ring, &pool);
}

/* Frees what is spare and fails when the ring kept something. */
static void tear_down(void)
{
	ring_clear(&ring);
	cr_expect_eq(pool.in_use, 0);
	chunk_pool_free(&pool);
}

TestSuite(ring, .init = set_up, .fini = tear_down);

static size_t fill(const char *bytes, size_t len)
{
	size_t taken;
	cr_assert(ring_fill(&ring, slice_make(bytes, len), &taken));
	return taken;
}

Test(ring, takes_what_there_is_room_for_and_goes_on_when_a_chunk_is_free)
{
	char bytes[100];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	cr_assert_eq(fill(bytes, 3), 3);
	cr_assert_eq(ring.filled, 0);
	cr_assert_eq(ring.fill, 3);
	cr_assert_eq(fill(bytes + 3, 97), 29);
	cr_assert_eq(ring.filled, 4);
	cr_assert_not(ring_has_room(&ring));
	ring.hashed = 1;
	cr_assert_not(ring_has_room(&ring), "still to be written");
	ring_written(&ring);
	cr_assert(ring_has_room(&ring));
	cr_assert_eq(fill(bytes + 32, 68), 8);
	cr_assert_eq(memcmp(ring_chunk(&ring, 4), bytes + 32, 8), 0);
	cr_assert_eq(memcmp(ring_chunk(&ring, 1), bytes + 8, 8), 0);
}

Test(ring, the_last_chunk_may_be_short)
{
	cr_assert_eq(fill("0123456789", 10), 10);
	ring_close_chunk(&ring);
	cr_assert_eq(ring.filled, 2);
	cr_assert_eq(*ring_len(&ring, 0), 8);
	cr_assert_eq(*ring_len(&ring, 1), 2);
	cr_assert_eq(ring.fill, 0);
	cr_assert_eq(fill("", 0), 0);
}

Test(ring, a_chunk_is_held_from_its_first_byte_until_it_was_written)
{
	cr_assert_eq(pool.in_use, 0);
	fill("01234567", 8);
	cr_assert_eq(pool.in_use, 1, "the next one has no byte yet");
	fill("8", 1);
	cr_assert_eq(pool.in_use, 2);
	ring.hashed = 1;
	cr_assert_eq(pool.in_use, 2);
	ring_written(&ring);
	cr_assert_eq(pool.in_use, 1);
	ring_close_chunk(&ring);
	ring_written(&ring);
	cr_assert_eq(pool.in_use, 0);
}

Test(ring, cleared_in_the_middle_it_gives_everything_back)
{
	fill("0123456789abcdefghijklmnopqrstuvwxyz", 36);
	cr_assert_eq(pool.in_use, RING_CHUNKS);
	ring_written(&ring);
	ring_clear(&ring);
	cr_assert_eq(pool.in_use, 0);
	cr_assert_eq(fill("again", 5), 5);
	cr_assert_eq(memcmp(ring_chunk(&ring, 0), "again", 5), 0);
}

Test(ring, two_rings_share_what_one_gave_back)
{
	struct ring other;
	ring_init(&other, &pool);
	fill("01234567", 8);
	char *chunk = ring_chunk(&ring, 0);
	ring_written(&ring);
	size_t taken;
	cr_assert(ring_fill(&other, SLICE("x"), &taken));
	cr_assert_eq(ring_chunk(&other, 0), chunk, "the one that is still in the cache");
	ring_clear(&other);
}

Test(ring, a_pool_that_is_idle_keeps_only_a_few)
{
	char *chunks[3 * CHUNK_POOL_IDLE];
	for (size_t i = 0; i < 3 * CHUNK_POOL_IDLE; i++)
		cr_assert_not_null(chunks[i] = chunk_pool_take(&pool));
	for (size_t i = 0; i < 3 * CHUNK_POOL_IDLE; i++)
		chunk_pool_give(&pool, chunks[i]);
	cr_assert_eq(pool.spare_count, CHUNK_POOL_IDLE);
}
