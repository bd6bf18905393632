/* SPDX-License-Identifier: MIT */
#include "adapters/crypto.h"

#include "base/check.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct crypto_digest {
	bool with_md5;
	struct md5 md5;
	EVP_MD *sha256_type; /* fetched once: an implicit fetch takes OpenSSL's lock at every reset */
	EVP_MD_CTX *sha256;
	uint64_t bytes;
};

static int fetch_failed(struct error *error)
{
	char reason[128] = "no reason given";
	unsigned long code = ERR_peek_last_error();
	if (code != 0)
		ERR_error_string_n(code, reason, sizeof(reason));
	ERR_clear_error();
	return error_set(error, ERR_CONFIG,
			 "OpenSSL offers no SHA-256 (%s): activate its default provider or the FIPS provider in openssl.cnf",
			 reason);
}

int crypto_digest_reset(struct crypto_digest *digest)
{
	digest->bytes = 0;
	md5_init(&digest->md5);
	return EVP_DigestInit_ex2(digest->sha256, digest->sha256_type, NULL) == 1 ? 0 : ERR_IO;
}

static int digest_new(struct crypto_digest **ret, bool with_md5, struct error *error)
{
	int status;
	struct crypto_digest *digest = calloc(1, sizeof(*digest));
	if (digest == NULL)
		return error_set(error, ERR_NOMEM, "out of memory for a digest");
	digest->with_md5 = with_md5;
	digest->sha256_type = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (digest->sha256_type == NULL) {
		status = fetch_failed(error);
		goto failed;
	}
	digest->sha256 = EVP_MD_CTX_new();
	if (digest->sha256 == NULL || crypto_digest_reset(digest) != 0) {
		status = error_set(error, ERR_NOMEM, "out of memory for a digest");
		goto failed;
	}
	*ret = digest;
	return 0;
failed:
	crypto_digest_free(&digest);
	return status;
}

int crypto_digest_new(struct crypto_digest **ret, struct error *error)
{
	return digest_new(ret, true, error);
}

int crypto_digest_new_sha256(struct crypto_digest **ret, struct error *error)
{
	return digest_new(ret, false, error);
}

void crypto_digest_free(struct crypto_digest **digest)
{
	if (*digest == NULL)
		return;
	EVP_MD_CTX_free((*digest)->sha256);
	EVP_MD_free((*digest)->sha256_type);
	free(*digest);
	*digest = NULL;
}

void crypto_digest_update_many(struct crypto_digest_input *inputs, size_t count)
{
	struct md5_input lanes[CRYPTO_DIGEST_LANES];
	size_t lane_count = 0;
	REQUIRE(count <= CRYPTO_DIGEST_LANES);
	for (size_t i = 0; i < count; i++) {
		struct crypto_digest *digest = inputs[i].digest;
		if (digest->with_md5)
			lanes[lane_count++] = (struct md5_input){&digest->md5, inputs[i].bytes, inputs[i].len};
		inputs[i].status = EVP_DigestUpdate(digest->sha256, inputs[i].bytes, inputs[i].len) == 1 ? 0 : ERR_IO;
		digest->bytes += inputs[i].len;
	}
	md5_update(lanes, lane_count);
}

int crypto_digest_update(struct crypto_digest *digest, const void *bytes, size_t len)
{
	struct crypto_digest_input input = {.digest = digest, .bytes = bytes, .len = len};
	crypto_digest_update_many(&input, 1);
	return input.status;
}

int crypto_digest_final(struct crypto_digest *digest, struct crypto_digest_result *result)
{
	memset(result, 0, sizeof(*result));
	result->bytes = digest->bytes;
	if (digest->with_md5)
		md5_final(&digest->md5, result->md5);
	return EVP_DigestFinal_ex(digest->sha256, result->sha256, NULL) == 1 ? 0 : ERR_IO;
}

int crypto_sha256(const void *bytes, size_t len, uint8_t out[CRYPTO_SHA256_SIZE])
{
	return EVP_Digest(bytes, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_IO;
}
