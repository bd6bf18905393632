/* SPDX-License-Identifier: MIT */
#include "adapters/rsa_key.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL counts the owners; this is only its type by another name. */
static EVP_PKEY *pkey_of(const struct rsa_key *key)
{
	return (EVP_PKEY *)key;
}

/* Without it OpenSSL would ask the terminal. */
static int no_passphrase(char *out, int size, int writing, void *asked)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static EVP_PKEY *read_pem(struct slice pem, bool public_key, bool *asked)
{
	BIO *bio = pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
	if (bio == NULL)
		return NULL;
	EVP_PKEY *pkey = public_key ? PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, asked)
				    : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, asked);
	BIO_free(bio);
	ERR_clear_error();
	return pkey;
}

static int refuse(struct slice pem, bool asked, struct error *error)
{
	bool ignored = false;
	if (asked)
		return error_set(
			error, ERR_CONFIG,
			"the private key needs a passphrase, which cannot be given: remove it (openssl pkey -in FILE -out NEW)");
	EVP_PKEY *public_key = read_pem(pem, true, &ignored);
	bool is_public = public_key != NULL;
	EVP_PKEY_free(public_key);
	if (is_public)
		return error_set(error, ERR_CONFIG, "a public key, the private key is needed");
	if (memmem(pem.ptr, pem.len, "-----BEGIN CERTIFICATE", 22) != NULL)
		return error_set(error, ERR_CONFIG, "a certificate, the private key is needed");
	return error_set(error, ERR_CONFIG, "no PEM private key in it");
}

int rsa_key_parse(struct rsa_key **ret, struct slice pem, bool public_too, struct error *error)
{
	bool asked = false;
	bool ignored = false;
	EVP_PKEY *pkey = read_pem(pem, false, &asked);
	if (pkey == NULL && public_too && !asked)
		pkey = read_pem(pem, true, &ignored);
	if (pkey == NULL)
		return refuse(pem, asked, error);
	int status = 0;
	int bits = EVP_PKEY_get_bits(pkey);
	if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA)
		status = error_set(error, ERR_CONFIG, "not an RSA key");
	else if (bits < RSA_KEY_BITS_MIN || bits > RSA_KEY_BITS_MAX)
		status = error_set(error, ERR_CONFIG, "an RSA key of %d bits, wanted %d to %d", bits, RSA_KEY_BITS_MIN,
				   RSA_KEY_BITS_MAX);
	if (status != 0)
		EVP_PKEY_free(pkey);
	else
		*ret = (struct rsa_key *)pkey;
	return status;
}

struct rsa_key *rsa_key_share(struct rsa_key *key)
{
	if (key != NULL)
		EVP_PKEY_up_ref(pkey_of(key));
	return key;
}

void rsa_key_free(struct rsa_key **key)
{
	EVP_PKEY_free(pkey_of(*key));
	*key = NULL;
}

int rsa_key_bits(const struct rsa_key *key)
{
	return EVP_PKEY_get_bits(pkey_of(key));
}

static bool use_oaep(EVP_PKEY_CTX *ctx)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1;
}

int rsa_key_unseal(const struct rsa_key *key, const void *sealed, size_t sealed_len, void *out, size_t *len)
{
	uint8_t plain[RSA_KEY_BYTES_MAX]; /* OpenSSL wants room for a whole block */
	size_t plain_len = sizeof(plain);
	int status = ERR_ENCRYPTION_KEY;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey_of(key), NULL);
	if (ctx == NULL || EVP_PKEY_decrypt_init(ctx) != 1 || !use_oaep(ctx))
		status = ERR_NOMEM;
	else if (EVP_PKEY_decrypt(ctx, plain, &plain_len, sealed, sealed_len) == 1 && plain_len <= *len) {
		memcpy(out, plain, plain_len);
		*len = plain_len;
		status = 0;
	}
	OPENSSL_cleanse(plain, sizeof(plain));
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return status;
}

int rsa_key_seal(const struct rsa_key *key, const void *secret, size_t secret_len, void *out, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey_of(key), NULL);
	bool good = ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 && use_oaep(ctx) &&
		    EVP_PKEY_encrypt(ctx, out, len, secret, secret_len) == 1;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return good ? 0 : ERR_IO;
}
