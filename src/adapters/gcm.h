/* SPDX-License-Identifier: MIT */
/*
 * AES-256-GCM (NIST SP 800-38D) of a stream whose last 16 bytes are the tag, without additional data, over OpenSSL's EVP. Where the stream ends is not known
 * before its end, so the last 16 bytes seen are held back. Nothing that came out may be believed before gcm_open_end gave 0.
 *
 * One thread at a time (handed over and back).
 */
#ifndef REELD_ADAPTERS_GCM_H
#define REELD_ADAPTERS_GCM_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define GCM_KEY_SIZE 32
#define GCM_TAG_SIZE 16

struct gcm;

/* 0 or ERR_NOMEM. */
int gcm_new(struct gcm **ret);
/* Accepts NULL, sets *gcm to NULL, wipes. */
void gcm_free(struct gcm **gcm);
/* Forgets key, counter and what was held back. */
void gcm_wipe(struct gcm *gcm);

/* Begins a stream to be decrypted. 0 or ERR_IO. */
int gcm_open_begin(struct gcm *gcm, const uint8_t key[GCM_KEY_SIZE], const uint8_t *iv, size_t iv_len);
/* Decrypts `len` bytes in place: the plaintext begins at `bytes` too, and *len becomes its length (up to 16 less, never more). 0 or ERR_IO. */
int gcm_open_update(struct gcm *gcm, uint8_t *bytes, size_t *len);
/* The stream is over: compares the tag. 0, ERR_DECRYPT (wrong tag), ERR_MEDIA_LENGTH (shorter than a tag). */
int gcm_open_end(struct gcm *gcm);

/* The other way, for the sandbox: encrypts in place; then the tag. 0 or ERR_IO. */
int gcm_seal_begin(struct gcm *gcm, const uint8_t key[GCM_KEY_SIZE], const uint8_t *iv, size_t iv_len);
int gcm_seal_update(struct gcm *gcm, uint8_t *bytes, size_t len);
int gcm_seal_end(struct gcm *gcm, uint8_t tag[GCM_TAG_SIZE]);

#endif
