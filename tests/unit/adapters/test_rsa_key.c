/* SPDX-License-Identifier: MIT */
#include "adapters/rsa_key.h"

#include "base/hex.h"
#include "support/made_keys.h"
#include "support/sealed.h"

#include <criterion/criterion.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

static struct rsa_key *key;
static char pem[8192];

static void set_up(void)
{
	cr_assert_eq(rsa_key_parse(&key, SLICE(SEALED_KEY_PEM), false, NULL), 0);
}

static void tear_down(void)
{
	rsa_key_free(&key);
	cr_assert_null(key);
}

TestSuite(rsa_key, .init = set_up, .fini = tear_down);

Test(rsa_key, opens_what_others_sealed)
{
	uint8_t sealed[256], out[64];
	size_t len = sizeof(out);
	cr_assert_eq(rsa_key_bits(key), 2048);
	cr_assert(hex_decode(SLICE(SEALED_CEK_HEX), sealed));
	cr_assert_eq(rsa_key_unseal(key, sealed, sizeof(sealed), out, &len), 0);
	cr_assert_eq(len, 32);
	for (size_t i = 0; i < 32; i++)
		cr_assert_eq(out[i], 0xe0 + i);
}

Test(rsa_key, opens_nothing_that_was_changed_cut_or_does_not_fit)
{
	uint8_t sealed[257] = {0}, out[64];
	cr_assert(hex_decode(SLICE(SEALED_CEK_HEX), sealed));
	for (size_t i = 0; i < 256; i += 15) {
		size_t len = sizeof(out);
		sealed[i] ^= 4;
		cr_assert_eq(rsa_key_unseal(key, sealed, 256, out, &len), ERR_ENCRYPTION_KEY, "byte %zu", i);
		sealed[i] ^= 4;
	}
	size_t len = sizeof(out);
	cr_assert_eq(rsa_key_unseal(key, sealed, 255, out, &len), ERR_ENCRYPTION_KEY);
	cr_assert_eq(rsa_key_unseal(key, sealed, 257, out, &len), ERR_ENCRYPTION_KEY);
	len = 31;
	cr_assert_eq(rsa_key_unseal(key, sealed, 256, out, &len), ERR_ENCRYPTION_KEY);
}

Test(rsa_key, seals_and_opens_and_lives_as_long_as_its_last_owner)
{
	uint8_t sealed[RSA_KEY_BYTES_MAX], out[64];
	size_t sealed_len = sizeof(sealed), len = sizeof(out);
	struct rsa_key *other = rsa_key_share(key);
	rsa_key_free(&key);
	cr_assert_eq(rsa_key_seal(other, "secret", 6, sealed, &sealed_len), 0);
	cr_assert_eq(sealed_len, 256);
	cr_assert_eq(rsa_key_unseal(other, sealed, sealed_len, out, &len), 0);
	cr_assert_eq(len, 6);
	cr_assert_eq(memcmp(out, "secret", 6), 0);
	rsa_key_free(&other);
	cr_assert_null(rsa_key_share(NULL));
}

/* ---- files ---- */

static struct slice write_pem(EVP_PKEY *pkey, const char *passphrase, bool public_half)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	if (public_half)
		PEM_write_bio_PUBKEY(bio, pkey);
	else
		PEM_write_bio_PKCS8PrivateKey(bio, pkey, passphrase != NULL ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
					      (void *)passphrase);
	long len = BIO_get_mem_data(bio, &text);
	memcpy(pem, text, (size_t)len);
	BIO_free(bio);
	return slice_make(pem, (size_t)len);
}

static void expect_refusal(struct slice text, const char *word)
{
	struct error error = {0};
	struct rsa_key *refused = NULL;
	cr_assert_eq(rsa_key_parse(&refused, text, false, &error), ERR_CONFIG);
	cr_assert_null(refused);
	cr_assert_not_null(strstr(error.detail, word), "%s", error.detail);
}

Test(rsa_key, says_what_is_wrong_with_a_file)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	EVP_PKEY *small = EVP_RSA_gen(1024);
	EVP_PKEY *good = EVP_RSA_gen(2048);
	struct rsa_key *taken = NULL;
	expect_refusal(write_pem(good, "swordfish", false), "passphrase");
	expect_refusal(write_pem(good, NULL, true), "public key");
	expect_refusal(write_pem(ec, NULL, false), "not an RSA key");
	expect_refusal(write_pem(small, NULL, false), "1024 bits");
	expect_refusal(slice_from_cstr(made_of_bits(4097)), "4097 bits");
	expect_refusal(SLICE("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), "certificate");
	expect_refusal(SLICE(""), "no PEM private key");
	expect_refusal(SLICE("hello"), "no PEM private key");
	cr_assert_eq(rsa_key_parse(&taken, write_pem(good, NULL, false), false, NULL), 0, "PKCS#8");
	rsa_key_free(&taken);
	cr_assert_eq(rsa_key_parse(&taken, write_pem(good, NULL, true), true, NULL), 0);
	uint8_t sealed[RSA_KEY_BYTES_MAX], out[64];
	size_t sealed_len = sizeof(sealed), len = sizeof(out);
	cr_assert_eq(rsa_key_seal(taken, "x", 1, sealed, &sealed_len), 0);
	cr_assert_neq(rsa_key_unseal(taken, sealed, sealed_len, out, &len), 0);
	rsa_key_free(&taken);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(small);
	EVP_PKEY_free(good);
}

/* ---- secrets ---- */

static unsigned wiped;

/* Instead of OpenSSL's own, which is also called with nothing. */
void OPENSSL_cleanse(void *memory, size_t len)
{
	if (len == 0)
		return;
	if (memmem(memory, len, "\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7", 8) == memory)
		wiped++;
	explicit_bzero(memory, len);
}

Test(rsa_key, no_copy_of_what_was_opened_stays_behind)
{
	uint8_t sealed[256], out[64];
	size_t len = sizeof(out);
	cr_assert(hex_decode(SLICE(SEALED_CEK_HEX), sealed));
	wiped = 0;
	cr_assert_eq(rsa_key_unseal(key, sealed, sizeof(sealed), out, &len), 0);
	cr_assert_gt(wiped, 0);
}
