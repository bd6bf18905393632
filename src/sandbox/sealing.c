/* SPDX-License-Identifier: MIT */
#include "sandbox/sealing.h"

#include "sandbox/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IV_SIZE 12
#define FILE_MAX 65536

enum { SALT_CHOICE = 301, SALT_KEY, SALT_IV = 311 };

struct sealing {
	struct rsa_key *key;
	struct sid sid;
	double rate;
	uint64_t seed;
};

static int read_key(struct sealing *sealing, const char *path, struct error *error)
{
	char text[FILE_MAX];
	struct error why = {0};
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return error_set(error, ERR_CONFIG, "%s: %s", path, strerror(errno));
	size_t len = fread(text, 1, sizeof(text), file);
	fclose(file);
	int status = rsa_key_parse(&sealing->key, slice_make(text, len), true, &why);
	explicit_bzero(text, len);
	return status == 0 ? 0 : error_set(error, status, "%s: %s", path, why.detail);
}

int sealing_load(struct sealing **ret, const char *path, double rate, uint64_t seed, struct error *error)
{
	struct sealing *sealing = calloc(1, sizeof(*sealing));
	const char *slash = strrchr(path, '/');
	struct slice name = slice_from_cstr(slash != NULL ? slash + 1 : path);
	if (sealing == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	int status = read_key(sealing, path, error);
	if (status != 0) {
		free(sealing);
		return status;
	}
	if (name.len > SID_LEN)
		name.len = SID_LEN;
	if (!sid_parse(name, "CR", &sealing->sid))
		(void)sid_parse(SLICE(SANDBOX_PUBLIC_KEY_SID), "CR", &sealing->sid);
	sealing->rate = rate;
	sealing->seed = seed;
	*ret = sealing;
	return 0;
}

void sealing_free(struct sealing **sealing)
{
	if (*sealing == NULL)
		return;
	rsa_key_free(&(*sealing)->key);
	free(*sealing);
	*sealing = NULL;
}

const char *sealing_public_key_sid(const struct sealing *sealing)
{
	return sealing->sid.text;
}

bool sealing_applies(const struct sealing *sealing, uint64_t index)
{
	if (sealing == NULL)
		return false;
	return (double)(scramble3(sealing->seed, index, SALT_CHOICE) >> 11) * 0x1p-53 < sealing->rate;
}

static void draw(const struct sealing *sealing, uint64_t index, uint64_t salt, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = scramble3(sealing->seed, index, salt + i / 8);
		memcpy(out + i, &word, len - i < 8 ? len - i : 8);
	}
}

int sealing_details(const struct sealing *sealing, uint64_t index, struct twilio_encryption *out)
{
	uint8_t key[GCM_KEY_SIZE];
	*out = (struct twilio_encryption){.public_key_sid = sealing->sid, .sealed_len = sizeof(out->sealed), .iv_len = IV_SIZE};
	draw(sealing, index, SALT_KEY, key, sizeof(key));
	draw(sealing, index, SALT_IV, out->iv, IV_SIZE);
	if (rsa_key_seal(sealing->key, key, sizeof(key), out->sealed, &out->sealed_len) != 0)
		return ERR_IO;
	base64_encode(out->sealed, out->sealed_len, out->encrypted_cek);
	base64_encode(out->iv, out->iv_len, out->iv_text);
	return 0;
}

int sealing_begin(const struct sealing *sealing, uint64_t index, struct gcm *gcm)
{
	uint8_t key[GCM_KEY_SIZE];
	uint8_t iv[IV_SIZE];
	draw(sealing, index, SALT_KEY, key, sizeof(key));
	draw(sealing, index, SALT_IV, iv, sizeof(iv));
	return gcm_seal_begin(gcm, key, iv, sizeof(iv));
}
