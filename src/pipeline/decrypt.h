/* SPDX-License-Identifier: MIT */
/*
 * Decrypts one recording, chunk by chunk and in place: the first chunk also unseals the content key, which takes milliseconds. All but new, begin and free
 * run on a pool thread, one call at a time (handed over and back).
 */
#ifndef REELD_PIPELINE_DECRYPT_H
#define REELD_PIPELINE_DECRYPT_H

#include "adapters/rsa_key.h"
#include "base/err.h"
#include "twilio/encryption.h"

struct decrypt;

/* 0 or ERR_NOMEM. */
int decrypt_new(struct decrypt **ret);
/* Accepts NULL, sets *decrypt to NULL. */
void decrypt_free(struct decrypt **decrypt);

/* For the next recording. Both are copied (the key is shared). */
void decrypt_begin(struct decrypt *decrypt, const struct twilio_encryption *encryption, struct rsa_key *key);
/* Gives back the key, wipes all secrets. Also what begin and free do first. */
void decrypt_wipe(struct decrypt *decrypt);

/*
 * *len bytes of ciphertext become *len bytes of plaintext, which must not be believed before decrypt_end. 0; ERR_ENCRYPTION_KEY (the key does not open the
 * content key), ERR_ENCRYPTION_DETAILS (what it opened is no AES-256 key), ERR_NOMEM, ERR_IO.
 */
int decrypt_chunk(struct decrypt *decrypt, char *bytes, size_t *len, struct error *error);
/* After the last chunk: is all of it what Twilio encrypted? 0, ERR_DECRYPT, ERR_MEDIA_LENGTH. */
int decrypt_end(struct decrypt *decrypt, struct error *error);

#endif
