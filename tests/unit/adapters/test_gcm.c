/* SPDX-License-Identifier: MIT */
/*
 * Vectors: McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)" (submission to NIST, 2005), appendix B, test cases 13 to 15: those of AES-256 with a
 * 96-bit IV and no additional data.
 */
#include "adapters/gcm.h"

#include "base/hex.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *key, *iv, *plain, *cipher, *tag;
} vectors[] = {
	{"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
	 "530f8afbc74536b9a963b4f1c4cb738b"},
	{"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
	 "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
	{"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
	 "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b3"
	 "91a"
	 "afd255",
	 "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66"
	 "289"
	 "8015ad",
	 "b094dac5d93471bdec1a502270e3cc6c"},
};

static size_t bytes_of(const char *hex, uint8_t *out)
{
	cr_assert(hex_decode(slice_from_cstr(hex), out));
	return strlen(hex) / 2;
}

static struct gcm *gcm;
static uint8_t key[GCM_KEY_SIZE];
static uint8_t iv[16];

static void set_up(void)
{
	cr_assert_eq(gcm_new(&gcm), 0);
}

static void tear_down(void)
{
	gcm_free(&gcm);
}

TestSuite(gcm, .init = set_up, .fini = tear_down);

Test(gcm, published_vectors_both_ways)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t bytes[128], expected[128], tag[16], made[16];
		size_t iv_len = bytes_of(vectors[i].iv, iv);
		size_t len = bytes_of(vectors[i].plain, bytes);
		bytes_of(vectors[i].key, key);
		bytes_of(vectors[i].cipher, expected);
		bytes_of(vectors[i].tag, tag);
		cr_assert_eq(gcm_seal_begin(gcm, key, iv, iv_len), 0);
		cr_assert_eq(gcm_seal_update(gcm, bytes, len), 0);
		cr_assert_eq(gcm_seal_end(gcm, made), 0);
		cr_assert_eq(memcmp(bytes, expected, len), 0, "vector %zu", i);
		cr_assert_eq(memcmp(made, tag, 16), 0, "vector %zu", i);

		memcpy(bytes + len, tag, 16);
		size_t whole = len + 16;
		cr_assert_eq(gcm_open_begin(gcm, key, iv, iv_len), 0);
		cr_assert_eq(gcm_open_update(gcm, bytes, &whole), 0);
		cr_assert_eq(whole, len);
		bytes_of(vectors[i].plain, expected);
		cr_assert_eq(memcmp(bytes, expected, len), 0, "vector %zu", i);
		cr_assert_eq(gcm_open_end(gcm), 0);
	}
}

/* A stream of `len` bytes and its tag. */
static size_t make_stream(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(i * 7 + 3);
	cr_assert_eq(gcm_seal_begin(gcm, key, iv, 12), 0);
	cr_assert_eq(gcm_seal_update(gcm, out, len), 0);
	cr_assert_eq(gcm_seal_end(gcm, out + len), 0);
	return len + GCM_TAG_SIZE;
}

/* Opens it in pieces that end at `first`, `second` and the end; compares what came out so far. The answer of the end. */
static int open_in_pieces(const uint8_t *stream, size_t total, size_t first, size_t second)
{
	const size_t ends[] = {first, second, total};
	uint8_t piece[256], out[256];
	size_t at = 0, made = 0;
	cr_assert_eq(gcm_open_begin(gcm, key, iv, 12), 0);
	for (size_t i = 0; i < 3; i++) {
		size_t len = ends[i] - at;
		size_t given = len;
		memcpy(piece, stream + at, len);
		memset(piece + len, 0x55, 16);
		cr_assert_eq(gcm_open_update(gcm, piece, &len), 0);
		cr_assert_leq(len, given, "more came out than went in");
		for (size_t j = 0; j < 16; j++)
			cr_assert_eq(piece[given + j], 0x55, "written behind the piece");
		memcpy(out + made, piece, len);
		made += len;
		at = ends[i];
		cr_assert_eq(made, at > GCM_TAG_SIZE ? at - GCM_TAG_SIZE : 0, "the last 16 bytes are held back");
	}
	for (size_t i = 0; i < made; i++)
		cr_assert_eq(out[i], (uint8_t)(i * 7 + 3), "byte %zu of %zu, cut at %zu and %zu", i, made, first, second);
	return gcm_open_end(gcm);
}

Test(gcm, every_way_to_cut_a_stream_into_three_gives_the_same)
{
	uint8_t stream[80];
	for (size_t len = 0; len <= 40; len++) {
		size_t total = make_stream(stream, len);
		for (size_t first = 0; first <= total; first++) {
			for (size_t second = first; second <= total; second++)
				cr_assert_eq(open_in_pieces(stream, total, first, second), 0);
		}
	}
}

Test(gcm, byte_by_byte_too)
{
	uint8_t stream[80], out[80];
	size_t total = make_stream(stream, 33), made = 0;
	cr_assert_eq(gcm_open_begin(gcm, key, iv, 12), 0);
	for (size_t i = 0; i < total; i++) {
		size_t len = 1;
		uint8_t byte = stream[i];
		cr_assert_eq(gcm_open_update(gcm, &byte, &len), 0);
		if (len == 1)
			out[made++] = byte;
	}
	cr_assert_eq(made, 33);
	cr_assert_eq(out[32], (uint8_t)(32 * 7 + 3));
	cr_assert_eq(gcm_open_end(gcm), 0);
}

Test(gcm, one_wrong_bit_anywhere_is_noticed)
{
	uint8_t stream[80], copy[80];
	size_t total = make_stream(stream, 40);
	for (size_t bit = 0; bit < total * 8; bit++) {
		size_t len = total;
		memcpy(copy, stream, total);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_eq(gcm_open_begin(gcm, key, iv, 12), 0);
		cr_assert_eq(gcm_open_update(gcm, copy, &len), 0);
		cr_assert_eq(gcm_open_end(gcm), ERR_DECRYPT);
	}
}

Test(gcm, a_stream_that_was_cut_is_noticed)
{
	uint8_t stream[80], copy[80];
	size_t total = make_stream(stream, 40);
	for (size_t len = 0; len < total; len++) {
		size_t given = len;
		memcpy(copy, stream, total);
		cr_assert_eq(gcm_open_begin(gcm, key, iv, 12), 0);
		cr_assert_eq(gcm_open_update(gcm, copy, &given), 0);
		cr_assert_eq(gcm_open_end(gcm), len < GCM_TAG_SIZE ? ERR_MEDIA_LENGTH : ERR_DECRYPT);
	}
}

Test(gcm, another_iv_and_longer_ones)
{
	uint8_t stream[80], copy[80];
	size_t total = make_stream(stream, 20);
	memcpy(copy, stream, total);
	iv[3] ^= 1;
	size_t len = total;
	cr_assert_eq(gcm_open_begin(gcm, key, iv, 12), 0);
	cr_assert_eq(gcm_open_update(gcm, copy, &len), 0);
	cr_assert_eq(gcm_open_end(gcm), ERR_DECRYPT);
	for (size_t i = 0; i < 20; i++)
		stream[i] = (uint8_t)i;
	cr_assert_eq(gcm_seal_begin(gcm, key, iv, 16), 0);
	cr_assert_eq(gcm_seal_update(gcm, stream, 20), 0);
	cr_assert_eq(gcm_seal_end(gcm, stream + 20), 0);
	len = 36;
	cr_assert_eq(gcm_open_begin(gcm, key, iv, 16), 0);
	cr_assert_eq(gcm_open_update(gcm, stream, &len), 0);
	cr_assert_eq(gcm_open_end(gcm), 0);
	cr_assert_eq(stream[19], 19);
}
