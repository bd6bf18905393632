/* SPDX-License-Identifier: MIT */
#include "adapters/gcm.h"

#include "base/check.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct gcm {
	EVP_CIPHER_CTX *ctx;
	uint8_t held[GCM_TAG_SIZE]; /* the last bytes seen: perhaps the tag */
	size_t held_len;
};

int gcm_new(struct gcm **ret)
{
	struct gcm *gcm = calloc(1, sizeof(*gcm));
	if (gcm == NULL)
		return ERR_NOMEM;
	gcm->ctx = EVP_CIPHER_CTX_new();
	if (gcm->ctx == NULL) {
		free(gcm);
		return ERR_NOMEM;
	}
	*ret = gcm;
	return 0;
}

void gcm_free(struct gcm **gcm)
{
	if (*gcm == NULL)
		return;
	gcm_wipe(*gcm);
	EVP_CIPHER_CTX_free((*gcm)->ctx);
	free(*gcm);
	*gcm = NULL;
}

void gcm_wipe(struct gcm *gcm)
{
	EVP_CIPHER_CTX_reset(gcm->ctx); /* cleanses the key schedule */
	OPENSSL_cleanse(gcm->held, sizeof(gcm->held));
	gcm->held_len = 0;
}

static int begin(struct gcm *gcm, const uint8_t *key, const uint8_t *iv, size_t iv_len, int encrypt)
{
	gcm_wipe(gcm);
	bool good = iv_len <= INT_MAX && EVP_CipherInit_ex(gcm->ctx, EVP_aes_256_gcm(), NULL, NULL, NULL, encrypt) == 1 &&
		    EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv_len, NULL) == 1 &&
		    EVP_CipherInit_ex(gcm->ctx, NULL, NULL, key, iv, encrypt) == 1;
	ERR_clear_error();
	return good ? 0 : ERR_IO;
}

static int update(struct gcm *gcm, uint8_t *bytes, size_t len)
{
	int done = 0;
	if (len == 0)
		return 0;
	if (len > INT_MAX || EVP_CipherUpdate(gcm->ctx, bytes, &done, bytes, (int)len) != 1 || (size_t)done != len)
		return ERR_IO;
	return 0;
}

int gcm_open_begin(struct gcm *gcm, const uint8_t key[GCM_KEY_SIZE], const uint8_t *iv, size_t iv_len)
{
	return begin(gcm, key, iv, iv_len, 0);
}

int gcm_open_update(struct gcm *gcm, uint8_t *bytes, size_t *len)
{
	uint8_t last[GCM_TAG_SIZE];
	size_t total = gcm->held_len + *len;
	if (total <= GCM_TAG_SIZE) {
		memcpy(gcm->held + gcm->held_len, bytes, *len);
		gcm->held_len = total;
		*len = 0;
		return 0;
	}
	/* What was held back goes in front; the last 16 of all stay back, part of which may be among those held. */
	size_t out = total - GCM_TAG_SIZE;
	size_t from_held = out < gcm->held_len ? out : gcm->held_len;
	size_t kept_of_held = gcm->held_len - from_held;
	size_t kept_of_bytes = GCM_TAG_SIZE - kept_of_held;
	memcpy(last, gcm->held + from_held, kept_of_held);
	memcpy(last + kept_of_held, bytes + *len - kept_of_bytes, kept_of_bytes);
	memmove(bytes + from_held, bytes, out - from_held);
	memcpy(bytes, gcm->held, from_held);
	memcpy(gcm->held, last, sizeof(last));
	gcm->held_len = GCM_TAG_SIZE;
	*len = out;
	return update(gcm, bytes, out);
}

int gcm_open_end(struct gcm *gcm)
{
	uint8_t nothing[GCM_TAG_SIZE];
	int done = 0;
	if (gcm->held_len < GCM_TAG_SIZE)
		return ERR_MEDIA_LENGTH;
	bool good = EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_SIZE, gcm->held) == 1 &&
		    EVP_DecryptFinal_ex(gcm->ctx, nothing, &done) == 1;
	ERR_clear_error();
	return good ? 0 : ERR_DECRYPT;
}

int gcm_seal_begin(struct gcm *gcm, const uint8_t key[GCM_KEY_SIZE], const uint8_t *iv, size_t iv_len)
{
	return begin(gcm, key, iv, iv_len, 1);
}

int gcm_seal_update(struct gcm *gcm, uint8_t *bytes, size_t len)
{
	return update(gcm, bytes, len);
}

int gcm_seal_end(struct gcm *gcm, uint8_t tag[GCM_TAG_SIZE])
{
	uint8_t nothing[GCM_TAG_SIZE];
	int done = 0;
	bool good = EVP_EncryptFinal_ex(gcm->ctx, nothing, &done) == 1 &&
		    EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_SIZE, tag) == 1;
	ERR_clear_error();
	return good ? 0 : ERR_IO;
}
