/* SPDX-License-Identifier: MIT */
#include "adapters/crypto.h"
#include "base/hex.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <string.h>

static void expect(const struct crypto_digest_result *result, const char *md5, const char *sha256)
{
	char text[65];
	hex_encode(result->md5, sizeof(result->md5), text);
	cr_assert_str_eq(text, md5);
	hex_encode(result->sha256, sizeof(result->sha256), text);
	cr_assert_str_eq(text, sha256);
}

/* RFC 1321, A.5 and FIPS 180-4's published examples. */
static const struct {
	const char *text;
	const char *md5;
	const char *sha256;
} vectors[] = {
	{"", "d41d8cd98f00b204e9800998ecf8427e", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc", "900150983cd24fb0d6963f7d28e17f72", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "8215ef0796a20bcaaae116d3876c664a",
	 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

Test(crypto, published_vectors_hold_however_the_bytes_are_cut)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t len = strlen(vectors[i].text);
		for (size_t cut = 0; cut <= len; cut++) {
			struct crypto_digest *digest = NULL;
			struct crypto_digest_result result;
			cr_assert_eq(crypto_digest_new(&digest, NULL), 0);
			cr_assert_eq(crypto_digest_update(digest, vectors[i].text, cut), 0);
			cr_assert_eq(crypto_digest_update(digest, vectors[i].text + cut, len - cut), 0);
			cr_assert_eq(crypto_digest_final(digest, &result), 0);
			cr_assert_eq(result.bytes, len);
			expect(&result, vectors[i].md5, vectors[i].sha256);
			crypto_digest_free(&digest);
			cr_assert_null(digest);
		}
	}
}

Test(crypto, reset_forgets_what_was_hashed)
{
	struct crypto_digest *digest = NULL;
	struct crypto_digest_result result;
	cr_assert_eq(crypto_digest_new(&digest, NULL), 0);
	cr_assert_eq(crypto_digest_update(digest, "other", 5), 0);
	cr_assert_eq(crypto_digest_reset(digest), 0);
	cr_assert_eq(crypto_digest_update(digest, "abc", 3), 0);
	cr_assert_eq(crypto_digest_final(digest, &result), 0);
	cr_assert_eq(result.bytes, 3);
	expect(&result, vectors[1].md5, vectors[1].sha256);
	cr_assert_eq(crypto_digest_reset(digest), 0);
	cr_assert_eq(crypto_digest_final(digest, &result), 0);
	expect(&result, vectors[0].md5, vectors[0].sha256);
	crypto_digest_free(&digest);
}

Test(crypto, md5_is_had_where_fips_is_the_default_property)
{
	/*
	 * As with fips=yes in openssl.cnf, but no FIPS provider is loaded here: MD5 is not asked for, and it is SHA-256 that
	 * is missing.
	 */
	cr_assert_eq(EVP_set_default_properties(NULL, "fips=yes"), 1);
	EVP_MD *plain = EVP_MD_fetch(NULL, "MD5", NULL);
	cr_assert_null(plain);
	struct crypto_digest *digest = NULL;
	struct error error = {0};
	cr_assert_eq(crypto_digest_new(&digest, &error), ERR_CONFIG);
	cr_assert(strstr(error.detail, "no SHA-256") != NULL, "%s", error.detail);
}

Test(crypto, without_an_algorithm_the_error_says_what_to_do)
{
	cr_assert_eq(EVP_set_default_properties(NULL, "provider=absent"), 1);
	struct crypto_digest *digest = NULL;
	struct error error = {0};
	cr_assert_eq(crypto_digest_new(&digest, &error), ERR_CONFIG);
	cr_assert_null(digest);
	cr_assert(strstr(error.detail, "openssl.cnf") != NULL, "%s", error.detail);
}

Test(crypto, sha256_of_one_buffer)
{
	uint8_t out[CRYPTO_SHA256_SIZE];
	char text[65];
	cr_assert_eq(crypto_sha256("abc", 3, out), 0);
	hex_encode(out, sizeof(out), text);
	cr_assert_str_eq(text, vectors[1].sha256);
}
