/* SPDX-License-Identifier: MIT */
#include "pipeline/decrypt.h"

#include "adapters/gcm.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>

struct decrypt {
	struct gcm *gcm;
	struct rsa_key *key;
	struct twilio_encryption encryption;
	bool opened; /* the content key, into gcm */
};

int decrypt_new(struct decrypt **ret)
{
	struct decrypt *decrypt = calloc(1, sizeof(*decrypt));
	if (decrypt == NULL || gcm_new(&decrypt->gcm) != 0) {
		free(decrypt);
		return ERR_NOMEM;
	}
	*ret = decrypt;
	return 0;
}

void decrypt_free(struct decrypt **decrypt)
{
	if (*decrypt == NULL)
		return;
	decrypt_wipe(*decrypt);
	gcm_free(&(*decrypt)->gcm);
	free(*decrypt);
	*decrypt = NULL;
}

void decrypt_wipe(struct decrypt *decrypt)
{
	gcm_wipe(decrypt->gcm);
	rsa_key_free(&decrypt->key);
	decrypt->opened = false;
}

void decrypt_begin(struct decrypt *decrypt, const struct twilio_encryption *encryption, struct rsa_key *key)
{
	decrypt_wipe(decrypt);
	decrypt->encryption = *encryption;
	decrypt->key = rsa_key_share(key);
}

static int open_content_key(struct decrypt *decrypt, struct error *error)
{
	const struct twilio_encryption *encryption = &decrypt->encryption;
	const char *sid = encryption->public_key_sid.text;
	uint8_t secret[RSA_KEY_BYTES_MAX];
	size_t len = sizeof(secret);
	int status = rsa_key_unseal(decrypt->key, encryption->sealed, encryption->sealed_len, secret, &len);
	if (status == ERR_ENCRYPTION_KEY)
		error_set(error, status,
			  "the private key in TWILIO_ENCRYPTION_KEYS for %s does not open this recording: is it another key's "
			  "file?",
			  sid);
	else if (status != 0)
		error_set(error, status, "out of memory for the key of %s", sid);
	else if (len != GCM_KEY_SIZE)
		status = error_set(error, ERR_ENCRYPTION_DETAILS,
				   "encrypted_cek, opened with %s, is %zu bytes long, an AES-256 key has %d", sid, len,
				   GCM_KEY_SIZE);
	else if (gcm_open_begin(decrypt->gcm, secret, encryption->iv, encryption->iv_len) != 0)
		status = error_set(error, ERR_IO, "OpenSSL does not begin AES-256-GCM");
	OPENSSL_cleanse(secret, sizeof(secret));
	decrypt->opened = status == 0;
	return status;
}

int decrypt_chunk(struct decrypt *decrypt, char *bytes, size_t *len, struct error *error)
{
	int status = decrypt->opened ? 0 : open_content_key(decrypt, error);
	if (status == 0 && gcm_open_update(decrypt->gcm, (uint8_t *)bytes, len) != 0)
		status = error_set(error, ERR_IO, "OpenSSL does not decrypt");
	return status;
}

int decrypt_end(struct decrypt *decrypt, struct error *error)
{
	int status = decrypt->opened ? gcm_open_end(decrypt->gcm) : ERR_MEDIA_LENGTH;
	if (status == ERR_MEDIA_LENGTH)
		error_set(error, status, "the encrypted recording is shorter than its authentication tag");
	else if (status != 0)
		error_set(error, status,
			  "the authentication tag does not fit: the encrypted recording was damaged on its way, or is not the "
			  "one its details describe");
	return status;
}
