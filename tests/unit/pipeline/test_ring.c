/* SPDX-License-Identifier: MIT */
#include "pipeline/ring.h"

#include <criterion/criterion.h>
#include <string.h>

static char memory[RING_CHUNKS * 8];
static struct ring ring;

static void set_up(void)
{
	ring = (struct ring){.bytes = memory, .chunk_size = 8};
}

TestSuite(ring, .init = set_up);

Test(ring, takes_what_there_is_room_for_and_goes_on_when_a_chunk_is_free)
{
	char bytes[100];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	cr_assert_eq(ring_fill(&ring, slice_make(bytes, 3)), 3);
	cr_assert_eq(ring.filled, 0);
	cr_assert_eq(ring.fill, 3);
	cr_assert_eq(ring_fill(&ring, slice_make(bytes + 3, 97)), 29);
	cr_assert_eq(ring.filled, 4);
	cr_assert_not(ring_has_room(&ring));
	ring.hashed = 1;
	cr_assert_not(ring_has_room(&ring), "still to be written");
	ring.written = 1;
	cr_assert(ring_has_room(&ring));
	cr_assert_eq(ring_fill(&ring, slice_make(bytes + 32, 68)), 8);
	cr_assert_eq(ring_chunk(&ring, 4), ring_chunk(&ring, 0));
	cr_assert_eq(memcmp(ring_chunk(&ring, 4), bytes + 32, 8), 0);
	cr_assert_eq(memcmp(ring_chunk(&ring, 1), bytes + 8, 8), 0);
}

Test(ring, the_last_chunk_may_be_short)
{
	cr_assert_eq(ring_fill(&ring, SLICE("0123456789")), 10);
	ring_close_chunk(&ring);
	cr_assert_eq(ring.filled, 2);
	cr_assert_eq(*ring_len(&ring, 0), 8);
	cr_assert_eq(*ring_len(&ring, 1), 2);
	cr_assert_eq(ring.fill, 0);
	cr_assert_eq(ring_fill(&ring, SLICE("")), 0);
}
