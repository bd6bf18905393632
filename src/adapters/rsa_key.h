/* SPDX-License-Identifier: MIT */
/*
 * RSA keys of PEM files, and sealing of short secrets with them: RSAES-OAEP with SHA-256 for both the label's hash and MGF1, no label (RFC 8017, 7.1), over
 * OpenSSL's EVP. A key never changes and may be used on any number of threads at the same time.
 */
#ifndef REELD_ADAPTERS_RSA_KEY_H
#define REELD_ADAPTERS_RSA_KEY_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSA_KEY_BITS_MIN 2048
#define RSA_KEY_BITS_MAX 4096
#define RSA_KEY_BYTES_MAX (RSA_KEY_BITS_MAX / 8)

struct rsa_key;

/*
 * A private key (PKCS#8 or PKCS#1) without a passphrase. 0; ERR_CONFIG, with words that say what the text is instead, never any of it; ERR_NOMEM. `public_too`:
 * a public key is as good (rsa_key_unseal then fails).
 */
int rsa_key_parse(struct rsa_key **ret, struct slice pem, bool public_too, struct error *error);
/* Another owner of the same key. NULL stays NULL; never fails. */
struct rsa_key *rsa_key_share(struct rsa_key *key);
/* Accepts NULL, sets *key to NULL. The secret is wiped with the last owner. */
void rsa_key_free(struct rsa_key **key);
int rsa_key_bits(const struct rsa_key *key);

/* The private operation takes milliseconds: not on the loop. *len is in: room in `out`, out: what was sealed. 0, ERR_ENCRYPTION_KEY (not sealed with it), ERR_NOMEM. */
int rsa_key_unseal(const struct rsa_key *key, const void *sealed, size_t sealed_len, void *out, size_t *len);
/* The public one, for the sandbox and for trying a key. *len is in: room (RSA_KEY_BYTES_MAX is enough), out: bytes. 0 or ERR_IO. */
int rsa_key_seal(const struct rsa_key *key, const void *secret, size_t secret_len, void *out, size_t *len);

#endif
