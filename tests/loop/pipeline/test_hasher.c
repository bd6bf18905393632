/* SPDX-License-Identifier: MIT */
/* Chunks of many digests on the pool, beside each digest made alone. */
#include "pipeline/hasher.h"

#include "base/check.h"
#include "support/sealed.h"

#include <criterion/criterion.h>
#include <string.h>

#define STREAMS 40
#define CHUNK 5000

static uv_loop_t loop;
static struct soon soon;
static struct hasher hasher;
static struct decrypt *decrypt;

/* One transfer's side: as many chunks as it likes, one after the other. */
struct stream {
	struct hasher_item item;
	struct crypto_digest *digest;
	char bytes[CHUNK];
	size_t len;
	unsigned chunks; /* still to come */
	unsigned done;
	int status;
};

static struct stream streams[STREAMS];
static bool inside;

static void set_up(void)
{
	REQUIRE(uv_loop_init(&loop) == 0);
	soon_init(&soon, &loop);
	hasher_init(&hasher, &loop, &soon);
	for (size_t i = 0; i < STREAMS; i++) {
		streams[i] = (struct stream){.len = CHUNK - 7 * i};
		memset(streams[i].bytes, (int)i + 1, CHUNK);
		REQUIRE(crypto_digest_new(&streams[i].digest, NULL) == 0);
	}
}

static void tear_down(void)
{
	hasher_close(&hasher);
	soon_close(&soon, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	decrypt_free(&decrypt);
	for (size_t i = 0; i < STREAMS; i++)
		crypto_digest_free(&streams[i].digest);
}

TestSuite(hasher, .init = set_up, .fini = tear_down, .timeout = 60);

static void add(struct stream *stream);

static void on_done(struct hasher_item *item, int status)
{
	struct stream *stream = CONTAINER_OF(item, struct stream, item);
	cr_assert_not(inside, "called back from inside a call");
	stream->done++;
	stream->status = status;
	if (status == 0 && stream->chunks > 0)
		add(stream);
}

static void add(struct stream *stream)
{
	stream->chunks--;
	stream->item.digest = stream->digest;
	stream->item.bytes = stream->bytes;
	stream->item.len = &stream->len;
	stream->item.done = on_done;
	inside = true;
	hasher_add(&hasher, &stream->item);
	inside = false;
}

static void expect_digest(const struct stream *stream, unsigned chunks)
{
	struct crypto_digest *alone = NULL;
	struct crypto_digest_result expected, got;
	REQUIRE(crypto_digest_new(&alone, NULL) == 0);
	for (unsigned i = 0; i < chunks; i++)
		REQUIRE(crypto_digest_update(alone, stream->bytes, stream->len) == 0);
	REQUIRE(crypto_digest_final(alone, &expected) == 0);
	REQUIRE(crypto_digest_final(stream->digest, &got) == 0);
	cr_expect_eq(memcmp(&expected, &got, sizeof(got)), 0, "%zu bytes, %u chunks", stream->len, chunks);
	crypto_digest_free(&alone);
}

static size_t started_batches(size_t *items)
{
	size_t batches = 0;
	*items = 0;
	for (size_t i = 0; i < HASHER_BATCHES; i++) {
		batches += hasher.batches[i].count > 0;
		*items += hasher.batches[i].count;
	}
	return batches;
}

Test(hasher, many_streams_of_many_chunks_each_have_their_own_digest)
{
	for (size_t i = 0; i < STREAMS; i++) {
		streams[i].chunks = 1 + (unsigned)i % 5;
		add(&streams[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < STREAMS; i++) {
		cr_expect_eq(streams[i].done, 1 + (unsigned)i % 5);
		expect_digest(&streams[i], streams[i].done);
	}
}

Test(hasher, what_is_ready_in_one_turn_goes_together_and_the_rest_waits_for_a_thread)
{
	size_t items;
	for (size_t i = 0; i < STREAMS; i++) {
		streams[i].chunks = 1;
		add(&streams[i]);
	}
	cr_expect_eq(started_batches(&items), 0, "not before the turn");
	hasher.turn.run(&hasher.turn);
	cr_expect_eq(started_batches(&items), hasher.batches_max);
	cr_expect_eq(items, hasher.batches_max * CRYPTO_DIGEST_LANES);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < STREAMS; i++)
		cr_expect_eq(streams[i].done, 1);
}

Test(hasher, what_waits_can_be_cancelled_and_what_is_under_way_ends)
{
	size_t items;
	for (size_t i = 0; i < STREAMS; i++) {
		streams[i].chunks = 1;
		add(&streams[i]);
	}
	hasher.turn.run(&hasher.turn);
	started_batches(&items);
	cr_expect_not(hasher_cancel(&streams[0].item), "it has begun");
	cr_expect(hasher_cancel(&streams[STREAMS - 1].item));
	cr_expect_not(hasher_cancel(&streams[STREAMS - 1].item), "once is enough");
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(streams[0].done, 1);
	cr_expect_eq(streams[STREAMS - 1].done, 0);
	expect_digest(&streams[0], 1);
	expect_digest(&streams[STREAMS - 1], 0);
}

Test(hasher, a_chunk_that_cannot_be_decrypted_fails_alone)
{
	REQUIRE(decrypt_new(&decrypt) == 0);
	/* Details without a sealed key: nothing can be opened. */
	struct twilio_encryption details = {0};
	struct rsa_key *key = NULL;
	REQUIRE(rsa_key_parse(&key, slice_from_cstr(SEALED_KEY_PEM), false, NULL) == 0);
	decrypt_begin(decrypt, &details, key);
	rsa_key_free(&key);
	for (size_t i = 0; i < 3; i++) {
		streams[i].chunks = 1;
		streams[i].item.decrypt = i == 1 ? decrypt : NULL;
		add(&streams[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(streams[0].status, 0);
	cr_expect_lt(streams[1].status, 0);
	cr_expect_eq(streams[2].status, 0);
	expect_digest(&streams[0], 1);
	expect_digest(&streams[1], 0);
	expect_digest(&streams[2], 1);
}
