/* SPDX-License-Identifier: MIT */
#include "adapters/md5.h"
#include "base/hex.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static void expect_text(struct md5 *md5, const char *text)
{
	uint8_t out[MD5_SIZE];
	char hex[2 * MD5_SIZE + 1];
	md5_final(md5, out);
	hex_encode(out, sizeof(out), hex);
	cr_expect_str_eq(hex, text);
}

/* RFC 1321, A.5. */
Test(md5, the_test_suite_of_the_rfc)
{
	static const char *const vectors[][2] = {
		{"", "d41d8cd98f00b204e9800998ecf8427e"},
		{"a", "0cc175b9c0f1b6a831c399e269772661"},
		{"abc", "900150983cd24fb0d6963f7d28e17f72"},
		{"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
		{"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
		{"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
		 "57edf4a22be3c955ac49da2e2107b67a"},
	};
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct md5 md5;
		md5_init(&md5);
		md5_update(&(struct md5_input){&md5, vectors[i][0], strlen(vectors[i][0])}, 1);
		expect_text(&md5, vectors[i][1]);
	}
}

/* Streams of random lengths, fed in random pieces, some of them together, beside OpenSSL's MD5 of each. */
static void compare(unsigned seed)
{
	enum { STREAMS = MD5_LANES };
	static uint8_t bytes[STREAMS][3000];
	struct md5 md5[STREAMS];
	size_t len[STREAMS], at[STREAMS] = {0};
	unsigned left = STREAMS;
	srand(seed);
	for (size_t i = 0; i < STREAMS; i++) {
		md5_init(&md5[i]);
		len[i] = (size_t)rand() % sizeof(bytes[i]);
		for (size_t j = 0; j < len[i]; j++)
			bytes[i][j] = (uint8_t)rand();
	}
	while (left > 0) {
		struct md5_input inputs[STREAMS];
		size_t count = 0;
		left = 0;
		for (size_t i = 0; i < STREAMS; i++) {
			size_t piece = (size_t)rand() % 700;
			if (piece > len[i] - at[i])
				piece = len[i] - at[i];
			left += at[i] < len[i];
			if (rand() % 4 == 0)
				continue;
			inputs[count++] = (struct md5_input){&md5[i], bytes[i] + at[i], piece};
			at[i] += piece;
		}
		md5_update(inputs, count);
	}
	for (size_t i = 0; i < STREAMS; i++) {
		uint8_t ours[MD5_SIZE], theirs[MD5_SIZE];
		md5_final(&md5[i], ours);
		cr_assert_eq(EVP_Digest(bytes[i], len[i], theirs, NULL, EVP_md5(), NULL), 1);
		cr_assert_arr_eq(ours, theirs, MD5_SIZE, "seed %u, stream %zu of %zu bytes", seed, i, len[i]);
	}
}

Test(md5, any_number_of_streams_together_are_what_each_is_alone)
{
	for (unsigned seed = 1; seed <= 500; seed++)
		compare(seed);
}

Test(md5, every_length_of_the_last_block)
{
	static const uint8_t bytes[3 * MD5_BLOCK_SIZE];
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		struct md5 md5;
		uint8_t ours[MD5_SIZE], theirs[MD5_SIZE];
		md5_init(&md5);
		md5_update(&(struct md5_input){&md5, bytes, len}, 1);
		md5_final(&md5, ours);
		cr_assert_eq(EVP_Digest(bytes, len, theirs, NULL, EVP_md5(), NULL), 1);
		cr_assert_arr_eq(ours, theirs, MD5_SIZE, "%zu bytes", len);
	}
}
