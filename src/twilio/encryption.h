/* SPDX-License-Identifier: MIT */
/*
 * What Twilio says about an encrypted recording: with which of the customer's public keys its content key was sealed. Pure; the input may be anything.
 *
 * Format: https://www.twilio.com/docs/voice/tutorials/voice-recording-encryption. The callback's EncryptionDetails is JSON with `type`, `public_key_sid`,
 * `encrypted_cek` and `iv`; the recording resource has the same as `encryption_public_key_sid`, `encryption_cek` and `encryption_iv` (or `iv`). Both are
 * read. The content key (CEK) is sealed with RSAES-OAEP (SHA-256, MGF1 with SHA-256, no label); the recording is AES-256-GCM, its last 16 bytes the tag.
 */
#ifndef REELD_TWILIO_ENCRYPTION_H
#define REELD_TWILIO_ENCRYPTION_H

#include "base/err.h"
#include "base/hex.h"
#include "base/sid.h"
#include "base/slice.h"

#include <stdint.h>

#define TWILIO_ENCRYPTION_TYPE "rsa-aes"
#define TWILIO_ENCRYPTION_SEALED_MIN 256 /* bytes of an RSA block: 2048 bits */
#define TWILIO_ENCRYPTION_SEALED_MAX 512 /* 4096 bits */
#define TWILIO_ENCRYPTION_IV_MIN 12
#define TWILIO_ENCRYPTION_IV_MAX 16
#define TWILIO_ENCRYPTION_TAG_SIZE 16
/* Text of the details as the ledger keeps them, with its NUL. */
#define TWILIO_ENCRYPTION_TEXT_SIZE 1024

struct twilio_encryption {
	struct sid public_key_sid; /* CR… */
	/* base64, as Twilio sent it */
	char encrypted_cek[BASE64_LEN(TWILIO_ENCRYPTION_SEALED_MAX) + 1];
	char iv_text[BASE64_LEN(TWILIO_ENCRYPTION_IV_MAX) + 1];
	/* decoded */
	uint8_t sealed[TWILIO_ENCRYPTION_SEALED_MAX];
	size_t sealed_len;
	uint8_t iv[TWILIO_ENCRYPTION_IV_MAX];
	size_t iv_len;
};

/*
 * Reads the JSON object `text`. 0; ERR_ENCRYPTION_DETAILS with *error saying which field is missing or unusable. A `type` that is there must be
 * "rsa-aes"; base64 is strict (RFC 4648, section 4, padded).
 */
int twilio_encryption_parse(struct slice text, struct twilio_encryption *out, struct error *error);
/* The same of the value `encryption_details` of a recording, as a jansson object; NULL, null and {} are ERR_NOT_FOUND: not encrypted. */
struct json_t;
int twilio_encryption_from_json(const struct json_t *object, struct twilio_encryption *out, struct error *error);
/* The callback's form of it into `out`, in a fixed order. */
void twilio_encryption_format(const struct twilio_encryption *encryption, char out[TWILIO_ENCRYPTION_TEXT_SIZE]);

#endif
