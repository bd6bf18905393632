/* SPDX-License-Identifier: MIT */
#include "twilio/encryption.h"

#include "base/check.h"
#include "base/hex.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Longer ones are not details of a key that we take. */
#define TEXT_MAX 4096

static int bad(struct error *error, const char *what)
{
	return error_set(error, ERR_ENCRYPTION_DETAILS, "encryption details: %s", what);
}

/* The first of the names that is there and is not null; NULL: none. */
static const json_t *pick(const json_t *object, const char *const *names)
{
	for (; *names != NULL; names++) {
		const json_t *value = json_object_get(object, *names);
		if (value != NULL && !json_is_null(value))
			return value;
	}
	return NULL;
}

static struct slice text_of(const json_t *value)
{
	return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : slice_make("", 0);
}

/* The decoded length; 0 when it is not base64 or does not fit. */
static size_t decode(struct slice text, uint8_t *out, size_t cap)
{
	uint8_t bytes[BASE64_DECODED_MAX(BASE64_LEN(TWILIO_ENCRYPTION_SEALED_MAX))];
	size_t len = 0;
	if (text.len > BASE64_LEN(cap) || !base64_decode(text, bytes, &len) || len > cap)
		return 0;
	memcpy(out, bytes, len);
	return len;
}

/* ---- the object ---- */

int twilio_encryption_from_json(const struct json_t *object, struct twilio_encryption *out, struct error *error)
{
	static const char *const type_names[] = {"type", "encryption_type", NULL};
	static const char *const sid_names[] = {"public_key_sid", "encryption_public_key_sid", NULL};
	static const char *const cek_names[] = {"encrypted_cek", "encryption_cek", NULL};
	static const char *const iv_names[] = {"iv", "encryption_iv", NULL};
	*out = (struct twilio_encryption){0};
	if (object == NULL || json_is_null(object) || (json_is_object(object) && json_object_size(object) == 0))
		return error_set(error, ERR_NOT_FOUND, "no encryption details");
	if (!json_is_object(object))
		return bad(error, "not a JSON object");
	const json_t *type = pick(object, type_names);
	struct slice sid = text_of(pick(object, sid_names));
	struct slice cek = text_of(pick(object, cek_names));
	struct slice iv = text_of(pick(object, iv_names));
	if (type != NULL && !slice_equal(text_of(type), SLICE(TWILIO_ENCRYPTION_TYPE)))
		return bad(error, "the type is not \"" TWILIO_ENCRYPTION_TYPE "\", the only one that this version knows");
	if (!sid_parse(sid, "CR", &out->public_key_sid))
		return bad(error, "public_key_sid is not CR and 32 hex digits");
	out->sealed_len = decode(cek, out->sealed, sizeof(out->sealed));
	if (out->sealed_len < TWILIO_ENCRYPTION_SEALED_MIN)
		return bad(error, "encrypted_cek is not base64 of 256 to 512 bytes (RSA of 2048 to 4096 bits)");
	out->iv_len = decode(iv, out->iv, sizeof(out->iv));
	if (out->iv_len < TWILIO_ENCRYPTION_IV_MIN)
		return bad(error, "iv is not base64 of 12 to 16 bytes");
	REQUIRE(cek.len < sizeof(out->encrypted_cek) && iv.len < sizeof(out->iv_text));
	memcpy(out->encrypted_cek, cek.ptr, cek.len);
	memcpy(out->iv_text, iv.ptr, iv.len);
	return 0;
}

int twilio_encryption_parse(struct slice text, struct twilio_encryption *out, struct error *error)
{
	json_error_t ignored;
	*out = (struct twilio_encryption){0};
	if (text.len == 0 || text.len > TEXT_MAX)
		return bad(error, text.len == 0 ? "empty" : "too long");
	json_t *root = json_loadb(text.ptr, text.len, 0, &ignored);
	if (root == NULL)
		return bad(error, "not JSON");
	int status = twilio_encryption_from_json(root, out, error);
	json_decref(root);
	return status == ERR_NOT_FOUND ? bad(error, "empty") : status;
}

void twilio_encryption_format(const struct twilio_encryption *encryption, char out[TWILIO_ENCRYPTION_TEXT_SIZE])
{
	int len = snprintf(out, TWILIO_ENCRYPTION_TEXT_SIZE,
			   "{\"type\":\"" TWILIO_ENCRYPTION_TYPE
			   "\",\"public_key_sid\":\"%s\",\"encrypted_cek\":\"%s\",\"iv\":\"%s\"}",
			   encryption->public_key_sid.text, encryption->encrypted_cek, encryption->iv_text);
	REQUIRE(len > 0 && len < TWILIO_ENCRYPTION_TEXT_SIZE);
}
