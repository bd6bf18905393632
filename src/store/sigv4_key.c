/* SPDX-License-Identifier: MIT */
/* Credentials for one region and service, and the signing key derived from them for the current day. */
#include "store/sigv4_internal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <stdlib.h>

static void hex(const unsigned char *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

bool reeld_sigv4_is_printable(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

/* A part of the scope: neither empty nor able to change its structure. */
static bool is_scope_part(const char *text)
{
	return text[0] != '\0' && strchr(text, '/') == NULL && reeld_sigv4_is_printable(text);
}

static char *copy_text(char **at, const char *prefix, const char *text)
{
	char *start = *at;
	size_t prefix_len = strlen(prefix);
	size_t len = strlen(text) + 1;

	memcpy(start, prefix, prefix_len);
	memcpy(start + prefix_len, text, len);
	*at = start + prefix_len + len;
	return start;
}

struct reeld_sigv4_key *reeld_sigv4_key_new(const struct reeld_sigv4_credentials *credentials, const char *region,
					    const char *service)
{
	const char *token = credentials->session_token == NULL ? "" : credentials->session_token;
	const char *id = credentials->access_key_id;
	const char *secret = credentials->secret_access_key;

	if (id[0] == '\0' || !reeld_sigv4_is_printable(id) || secret[0] == '\0' || !reeld_sigv4_is_printable(secret) ||
	    !reeld_sigv4_is_printable(token))
		return NULL;
	if (!is_scope_part(region) || !is_scope_part(service))
		return NULL;

	size_t len = strlen(id) + strlen("AWS4") + strlen(secret) + strlen(token) + strlen(region) + strlen(service) + 5;
	struct reeld_sigv4_key *key = calloc(1, sizeof(*key) + len);
	if (key == NULL)
		return NULL;
	char *at = key->texts;
	key->texts_len = len;
	key->access_key_id = copy_text(&at, "", id);
	key->secret = copy_text(&at, "AWS4", secret);
	key->session_token = copy_text(&at, "", token);
	key->region = copy_text(&at, "", region);
	key->service = copy_text(&at, "", service);

	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (hmac != NULL)
		key->mac = EVP_MAC_CTX_new(hmac); /* takes its own reference */
	EVP_MAC_free(hmac);
	key->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (key->mac == NULL || key->sha256 == NULL)
		reeld_sigv4_key_free(&key);
	return key;
}

void reeld_sigv4_key_free(struct reeld_sigv4_key **key)
{
	if (*key == NULL)
		return;
	EVP_MAC_CTX_free((*key)->mac);
	EVP_MD_free((*key)->sha256);
	OPENSSL_cleanse((*key)->texts, (*key)->texts_len);
	free(*key);
	*key = NULL;
}

static bool rekey(struct reeld_sigv4_key *key, const void *bytes, size_t len)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};

	return EVP_MAC_init(key->mac, bytes, len, params) == 1;
}

static bool hmac_finish(struct reeld_sigv4_key *key, const char *text, size_t text_len, unsigned char out[SHA256_SIZE])
{
	size_t len;

	return EVP_MAC_update(key->mac, (const unsigned char *)text, text_len) == 1 &&
	       EVP_MAC_final(key->mac, out, &len, SHA256_SIZE) == 1;
}

/* Keys the MAC with HMAC(HMAC(HMAC(HMAC("AWS4" secret, day), region), service), "aws4_request"). */
static bool derive(struct reeld_sigv4_key *key, const char *day)
{
	const char *parts[] = {day, key->region, key->service, "aws4_request"};
	unsigned char link[SHA256_SIZE];

	if (strcmp(key->day, day) == 0)
		return EVP_MAC_init(key->mac, NULL, 0, NULL) == 1;
	key->day[0] = '\0';
	bool right = rekey(key, key->secret, strlen(key->secret));
	for (size_t i = 0; right && i < sizeof(parts) / sizeof(parts[0]); i++)
		right = hmac_finish(key, parts[i], strlen(parts[i]), link) && rekey(key, link, sizeof(link));
	OPENSSL_cleanse(link, sizeof(link));
	if (right)
		memcpy(key->day, day, sizeof(key->day));
	return right;
}

/* Public within the module */

bool reeld_sigv4_sha256(struct reeld_sigv4_key *key, const char *bytes, size_t len, char out[SHA256_HEX_SIZE])
{
	unsigned char digest[SHA256_SIZE];

	if (EVP_Digest(bytes, len, digest, NULL, key->sha256, NULL) != 1)
		return false;
	hex(digest, sizeof(digest), out);
	return true;
}

bool reeld_sigv4_mac(struct reeld_sigv4_key *key, const char *day, struct text text, char out[SHA256_HEX_SIZE])
{
	unsigned char mac[SHA256_SIZE];

	if (!derive(key, day) || !hmac_finish(key, text.ptr, text.len, mac))
		return false;
	hex(mac, sizeof(mac), out);
	return true;
}
