/* SPDX-License-Identifier: MIT */
/*
 * Which recordings of the sandbox are encrypted, and how, as Twilio does it (twilio/encryption.h). Content key and IV follow from the seed and the recording's
 * number; the sealed key differs from time to time, since sealing draws random bytes, and opens to the same.
 */
#ifndef REELD_SANDBOX_SEALING_H
#define REELD_SANDBOX_SEALING_H

#include "adapters/gcm.h"
#include "adapters/rsa_key.h"
#include "base/err.h"
#include "twilio/encryption.h"

#include <stdbool.h>
#include <stdint.h>

/* Of a key file whose name is no SID. */
#define SANDBOX_PUBLIC_KEY_SID "CR5a4db0c50000000000000000000000ed"

struct sealing;

/* `path`: a PEM file with a private or a public key; its name, CR….pem, is the SID. `rate`: the part of the recordings that is encrypted. Blocking. */
int sealing_load(struct sealing **ret, const char *path, double rate, uint64_t seed, struct error *error);
/* Accepts NULL, sets *sealing to NULL. */
void sealing_free(struct sealing **sealing);
const char *sealing_public_key_sid(const struct sealing *sealing);

/* False for NULL. */
bool sealing_applies(const struct sealing *sealing, uint64_t index);
/* Of an encrypted recording. 0 or ERR_IO. */
int sealing_details(const struct sealing *sealing, uint64_t index, struct twilio_encryption *out);
int sealing_begin(const struct sealing *sealing, uint64_t index, struct gcm *gcm);

#endif
