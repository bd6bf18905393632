/* SPDX-License-Identifier: MIT */
/*
 * Streaming MD5 (RFC 1321, md5.h) and SHA-256 (FIPS 180-4, over OpenSSL's EVP) of the same bytes. A digest carries its own state
 * and nothing is shared: different digests may be used on different threads at the same time, one digest by one thread at a
 * time (a pool thread, handed over and back).
 *
 * MD5 is S3's checksum, not a security measure, and is not asked of OpenSSL: one restricted to FIPS algorithms refuses it.
 */
#ifndef REELD_ADAPTERS_CRYPTO_H
#define REELD_ADAPTERS_CRYPTO_H

#include "adapters/md5.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define CRYPTO_MD5_SIZE MD5_SIZE
#define CRYPTO_SHA256_SIZE 32
/* So many digests are updated together at most. */
#define CRYPTO_DIGEST_LANES MD5_LANES

struct crypto_digest;

struct crypto_digest_result {
	uint64_t bytes; /* how many were hashed */
	uint8_t md5[CRYPTO_MD5_SIZE];
	uint8_t sha256[CRYPTO_SHA256_SIZE];
};

/* A digest of nothing yet. 0; ERR_NOMEM; ERR_CONFIG with a message when this OpenSSL has no SHA-256. Any thread. */
int crypto_digest_new(struct crypto_digest **ret, struct error *error);
/* The same without MD5 (its result is zeros), more than three times as fast for one digest alone. */
int crypto_digest_new_sha256(struct crypto_digest **ret, struct error *error);
/* Accepts NULL, sets *digest to NULL. */
void crypto_digest_free(struct crypto_digest **digest);

/* Adds bytes. 0 or ERR_IO (OpenSSL failed; the digest is then only good for reset and free). */
int crypto_digest_update(struct crypto_digest *digest, const void *bytes, size_t len);

struct crypto_digest_input {
	struct crypto_digest *digest;
	const void *bytes;
	size_t len;
	int status; /* out: as crypto_digest_update returns it */
};

/* The same for up to CRYPTO_DIGEST_LANES different digests: eight cost little more than two. */
void crypto_digest_update_many(struct crypto_digest_input *inputs, size_t count);
/* The digest of all bytes since new or reset. Call once, then reset or free. 0 or ERR_IO. */
int crypto_digest_final(struct crypto_digest *digest, struct crypto_digest_result *result);
/* Back to nothing yet, for the next use. 0 or ERR_IO. */
int crypto_digest_reset(struct crypto_digest *digest);

/* SHA-256 of one buffer. 0 or ERR_IO. */
int crypto_sha256(const void *bytes, size_t len, uint8_t out[CRYPTO_SHA256_SIZE]);

#endif
