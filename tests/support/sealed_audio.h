/* SPDX-License-Identifier: MIT */
/* Recordings as Twilio sends them: encrypted under the content key that SEALED_CEK_BASE64 opens to. */
#ifndef REELD_TESTS_SUPPORT_SEALED_AUDIO_H
#define REELD_TESTS_SUPPORT_SEALED_AUDIO_H

#include "adapters/gcm.h"
#include "base/check.h"
#include "support/sealed.h"

#include <stddef.h>
#include <stdint.h>

#define SEALED_IV "AAECAwQFBgcICQoL"
#define SEALED_DETAILS(sid)                                                                                                    \
	"{\"type\":\"rsa-aes\",\"public_key_sid\":\"" sid "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"" SEALED_IV \
	"\"}"

/* Encrypts `len` bytes in place and puts the tag behind them, for which there must be room. Returns the whole length. */
static inline size_t sealed_encrypt(uint8_t *bytes, size_t len)
{
	uint8_t cek[GCM_KEY_SIZE], iv[12];
	struct gcm *gcm;
	for (size_t i = 0; i < sizeof(cek); i++)
		cek[i] = (uint8_t)(0xe0 + i);
	for (size_t i = 0; i < sizeof(iv); i++)
		iv[i] = (uint8_t)i;
	REQUIRE(gcm_new(&gcm) == 0 && gcm_seal_begin(gcm, cek, iv, sizeof(iv)) == 0 && gcm_seal_update(gcm, bytes, len) == 0 &&
		gcm_seal_end(gcm, bytes + len) == 0);
	gcm_free(&gcm);
	return len + GCM_TAG_SIZE;
}

#endif
