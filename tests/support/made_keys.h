/* SPDX-License-Identifier: MIT */
/* PEM files with which something is wrong. Each text lives until the next one is made. */
#ifndef REELD_TESTS_SUPPORT_MADE_KEYS_H
#define REELD_TESTS_SUPPORT_MADE_KEYS_H

#include "support/sealed.h"

#include <criterion/criterion.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

static const char *const made_numbers[] = {OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
					   OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
					   OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
					   OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
#define MADE_NUMBERS (sizeof(made_numbers) / sizeof(made_numbers[0]))

static const char *made_text(EVP_PKEY *pkey, bool public_half)
{
	static char pem[16384];
	char *text;
	BIO *bio = BIO_new(BIO_s_mem());
	cr_assert_eq(public_half ? PEM_write_bio_PUBKEY(bio, pkey)
				 : PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL),
		     1);
	long len = BIO_get_mem_data(bio, &text);
	cr_assert_lt(len, (long)sizeof(pem));
	memcpy(pem, text, (size_t)len);
	pem[len] = '\0';
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	return pem;
}

static EVP_PKEY *made_sealed_key(void)
{
	BIO *bio = BIO_new_mem_buf(SEALED_KEY_PEM, -1);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	cr_assert_not_null(pkey);
	return pkey;
}

/* Nobody checks whether they fit. */
static EVP_PKEY *made_of_numbers(BIGNUM *const *numbers)
{
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	for (size_t i = 0; i < MADE_NUMBERS; i++)
		cr_assert_eq(OSSL_PARAM_BLD_push_BN(builder, made_numbers[i], numbers[i]), 1);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	cr_assert_eq(EVP_PKEY_fromdata_init(context), 1);
	cr_assert_eq(EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params), 1);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	return pkey;
}

static void made_numbers_of(EVP_PKEY *pkey, BIGNUM **numbers, size_t from)
{
	for (size_t i = from; i < MADE_NUMBERS; i++) {
		BN_free(numbers[i]);
		numbers[i] = NULL;
		cr_assert_eq(EVP_PKEY_get_bn_param(pkey, made_numbers[i], &numbers[i]), 1);
	}
	EVP_PKEY_free(pkey);
}

static const char *made_text_of(BIGNUM **numbers)
{
	const char *text = made_text(made_of_numbers(numbers), false);
	for (size_t i = 0; i < MADE_NUMBERS; i++)
		BN_free(numbers[i]);
	return text;
}

__attribute__((unused)) static const char *made_public_half(void)
{
	return made_text(made_sealed_key(), true);
}

/* The public numbers of one key and the private ones of another. */
__attribute__((unused)) static const char *made_of_two_halves(void)
{
	BIGNUM *numbers[MADE_NUMBERS] = {0};
	made_numbers_of(made_sealed_key(), numbers, 0);
	made_numbers_of(EVP_RSA_gen(2048), numbers, 2);
	return made_text_of(numbers);
}

/* Without the time that it takes to find a real one. */
__attribute__((unused)) static const char *made_of_bits(int bits)
{
	BIGNUM *numbers[MADE_NUMBERS] = {0};
	made_numbers_of(made_sealed_key(), numbers, 0);
	BN_set_bit(numbers[0], bits - 1);
	return made_text_of(numbers);
}

#endif
