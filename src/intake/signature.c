/* SPDX-License-Identifier: MIT */
/*
 * The signed text is URL, name, value, name, value, … It is never built: the pieces run through a small staging buffer into the
 * HMAC, because one update a piece costs more than hashing its bytes.
 *
 * What Twilio signs of the URL's authority differs by product and age (userinfo and port kept or dropped, the standard port
 * added), so verify tries the few forms that are known, the likeliest first; a form equal to an earlier one is skipped.
 */
#include <reeld/signature.h>

#include <ctype.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HMAC_SHA1_SIZE 20
#define SHA256_SIZE 32
#define SIGNATURE_LEN (REELD_SIGNATURE_SIZE - 1)
/* Most forms have fewer; above it sorting by insertion would let a hostile request cost the square of its fields. */
#define INSERTION_SORT_MAX 24
#define STAGING_SIZE 1024

struct reeld_signature_key {
	EVP_MAC_CTX *mac; /* holds the keyed inner and outer state; each message starts from them again */
};

struct text {
	const char *ptr;
	size_t len;
};

#define TEXT(literal) ((struct text){(literal), sizeof(literal) - 1})

/* A URL cut where the candidates differ: scheme "https://", userinfo "user:pass@", host, port ":8080", and all behind them. */
struct url {
	struct text scheme;
	struct text userinfo;
	struct text host;
	struct text port;
	struct text rest; /* of the piece that holds the host */
	struct text target;
};

struct stage {
	EVP_MAC_CTX *mac;
	size_t used;
	bool failed;
	unsigned char bytes[STAGING_SIZE];
};

static bool text_equal(struct text a, struct text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static struct text text_between(const char *start, const char *end)
{
	return (struct text){start, (size_t)(end - start)};
}

/* Position of `c`, or the end. */
static const char *text_find(struct text t, char c)
{
	const char *found = memchr(t.ptr, c, t.len);

	return found == NULL ? t.ptr + t.len : found;
}

/* Keys */

struct reeld_signature_key *reeld_signature_key_new(const char *token, size_t len)
{
	if (len == 0)
		return NULL;
	struct reeld_signature_key *key = calloc(1, sizeof(*key));
	if (key == NULL)
		return NULL;

	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	char digest[] = "SHA1";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
	if (hmac != NULL)
		key->mac = EVP_MAC_CTX_new(hmac); /* takes its own reference */
	EVP_MAC_free(hmac);
	if (key->mac == NULL || EVP_MAC_init(key->mac, (const unsigned char *)token, len, params) != 1)
		reeld_signature_key_free(&key);
	return key;
}

void reeld_signature_key_free(struct reeld_signature_key **key)
{
	if (*key == NULL)
		return;
	EVP_MAC_CTX_free((*key)->mac);
	free(*key);
	*key = NULL;
}

/* Order of the fields */

/* By name and then by value, as bytes. Names are compared whole: "Sid" comes before "SidAccount" whatever their values are. */
static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t shorter = a_len < b_len ? a_len : b_len;
	if (shorter == 0)
		return (a_len > b_len) - (a_len < b_len);
	/* Most pairs differ in their first byte, and a call costs more than that. */
	if (a[0] != b[0])
		return (unsigned char)a[0] < (unsigned char)b[0] ? -1 : 1;
	int order = memcmp(a, b, shorter);

	if (order != 0)
		return order;
	return (a_len > b_len) - (a_len < b_len);
}

static int compare_fields(const void *left, const void *right)
{
	const struct reeld_form_field *a = left;
	const struct reeld_form_field *b = right;
	int order = compare_bytes(a->name, a->name_len, b->name, b->name_len);

	return order != 0 ? order : compare_bytes(a->value, a->value_len, b->value, b->value_len);
}

static void sort_fields(struct reeld_form_field *fields, size_t count)
{
	if (count > INSERTION_SORT_MAX) {
		qsort(fields, count, sizeof(*fields), compare_fields);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct reeld_form_field field = fields[i];
		size_t at = i;
		while (at > 0 && compare_fields(&fields[at - 1], &field) > 0) {
			fields[at] = fields[at - 1];
			at--;
		}
		fields[at] = field;
	}
}

/* The message */

static void stage_flush(struct stage *stage)
{
	if (stage->used > 0 && EVP_MAC_update(stage->mac, stage->bytes, stage->used) != 1)
		stage->failed = true;
	stage->used = 0;
}

static void stage_add(struct stage *stage, struct text t)
{
	if (t.len > STAGING_SIZE - stage->used) {
		stage_flush(stage);
		if (t.len > STAGING_SIZE) {
			if (EVP_MAC_update(stage->mac, (const unsigned char *)t.ptr, t.len) != 1)
				stage->failed = true;
			return;
		}
	}
	if (t.len > 0)
		memcpy(stage->bytes + stage->used, t.ptr, t.len);
	stage->used += t.len;
}

/* Adds the sorted fields; the same name with the same value counts once. */
static void stage_add_fields(struct stage *stage, const struct reeld_form_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i > 0 && compare_fields(&fields[i - 1], &fields[i]) == 0)
			continue;
		stage_add(stage, (struct text){fields[i].name, fields[i].name_len});
		stage_add(stage, (struct text){fields[i].value, fields[i].value_len});
	}
}

static bool sign_url(struct reeld_signature_key *key, const struct url *url, const struct reeld_signature_request *request,
		     char out[REELD_SIGNATURE_SIZE])
{
	/* Without a key: back to the keyed state, which is half the price of keying anew. */
	if (EVP_MAC_init(key->mac, NULL, 0, NULL) != 1)
		return false;

	struct stage stage;
	stage.mac = key->mac;
	stage.used = 0;
	stage.failed = false;
	const struct text pieces[] = {url->scheme, url->userinfo, url->host, url->port, url->rest, url->target};
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		stage_add(&stage, pieces[i]);
	stage_add_fields(&stage, request->fields, request->field_count);
	stage_flush(&stage);

	unsigned char digest[HMAC_SHA1_SIZE];
	size_t len = 0;
	if (stage.failed || EVP_MAC_final(key->mac, digest, &len, sizeof(digest)) != 1 || len != sizeof(digest))
		return false;
	return EVP_EncodeBlock((unsigned char *)out, digest, (int)len) == SIGNATURE_LEN;
}

/* The URL */

/* Splits "user@host:port" up. An IPv6 literal keeps the colons between its brackets. */
static void split_authority(struct url *url, struct text authority)
{
	const char *end = authority.ptr + authority.len;
	const char *at = memrchr(authority.ptr, '@', authority.len);
	const char *host = at == NULL ? authority.ptr : at + 1;
	const char *bracket = host < end && *host == '[' ? text_find(text_between(host, end), ']') : host;
	const char *colon = bracket < end ? memrchr(bracket, ':', (size_t)(end - bracket)) : NULL;

	if (colon == NULL)
		colon = end;
	url->userinfo = text_between(authority.ptr, host);
	url->host = text_between(host, colon);
	url->port = text_between(colon, end);
}

/* The part of `t` before a '#'. */
static struct text without_fragment(struct text t)
{
	return text_between(t.ptr, text_find(t, '#'));
}

/* Without "scheme://" there is nothing to vary: all is `rest`. */
static void split_url(struct url *url, const struct reeld_signature_request *request)
{
	struct text none = TEXT("");
	struct text given = request->base_len > 0 ? (struct text){request->base, request->base_len} : none;
	struct text target = request->target_len > 0 ? (struct text){request->target, request->target_len} : none;

	if (given.len == 0) {
		given = target;
		target = none;
	}
	struct text head = without_fragment(given);
	*url = (struct url){none, none, none, none, head, head.len < given.len ? none : without_fragment(target)};

	const char *end = head.ptr + head.len;
	const char *colon = head.ptr;
	while (colon < end && isalpha((unsigned char)*colon))
		colon++;
	if (end - colon < 3 || memcmp(colon, "://", 3) != 0)
		return;
	const char *authority = colon + 3;
	const char *authority_end = authority;
	while (authority_end < end && *authority_end != '/' && *authority_end != '?')
		authority_end++;
	url->scheme = text_between(head.ptr, authority);
	split_authority(url, text_between(authority, authority_end));
	url->rest = text_between(authority_end, end);
}

static struct text standard_port(struct text scheme)
{
	if (scheme.len == 8 && strncasecmp(scheme.ptr, "https://", 8) == 0)
		return TEXT(":443");
	if (scheme.len == 7 && strncasecmp(scheme.ptr, "http://", 7) == 0)
		return TEXT(":80");
	return TEXT("");
}

/* The raw body */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool hex_decode(struct text hex, unsigned char *out, size_t size)
{
	if (hex.len != size * 2)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(hex.ptr[2 * i]);
		int low = hex_digit(hex.ptr[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

/* The value of the first query parameter bodySHA256 in `t`, which may be a path with a query. */
static bool find_body_hash(struct text t, struct text *value)
{
	const char *end = t.ptr + t.len;
	const char *at = text_find(t, '?');

	while (at < end) {
		at++; /* over '?' or '&' */
		const char *stop = text_find(text_between(at, end), '&');
		struct text pair = text_between(at, stop);
		const char *equals = text_find(pair, '=');
		if (text_equal(text_between(at, equals), TEXT("bodySHA256")) && equals < stop) {
			*value = text_between(equals + 1, stop);
			return true;
		}
		at = stop;
	}
	return false;
}

static bool body_matches(const struct url *url, const struct reeld_signature_request *request)
{
	struct text hex;
	unsigned char expected[SHA256_SIZE];
	unsigned char actual[EVP_MAX_MD_SIZE];

	if (!find_body_hash(url->rest, &hex) && !find_body_hash(url->target, &hex))
		return false;
	if (!hex_decode(hex, expected, sizeof(expected)))
		return false;
	if (EVP_Digest(request->body, request->body_len, actual, NULL, EVP_sha256(), NULL) != 1)
		return false;
	return CRYPTO_memcmp(actual, expected, sizeof(expected)) == 0;
}

/* Public */

bool reeld_signature_sign(struct reeld_signature_key *key, struct reeld_signature_request *request,
			  char out[REELD_SIGNATURE_SIZE])
{
	struct url url;

	sort_fields(request->fields, request->field_count);
	split_url(&url, request);
	return sign_url(key, &url, request, out);
}

static bool try_url(struct reeld_signature_key *key, const struct url *url, const struct reeld_signature_request *request,
		    const char *signature)
{
	char expected[REELD_SIGNATURE_SIZE];

	return sign_url(key, url, request, expected) && CRYPTO_memcmp(expected, signature, SIGNATURE_LEN) == 0;
}

static bool try_ports(struct reeld_signature_key *key, const struct url *given, const struct reeld_signature_request *request,
		      const char *signature)
{
	struct url url = *given;
	struct text none = TEXT("");

	if (try_url(key, &url, request, signature))
		return true;
	if (url.scheme.len == 0)
		return false;
	if (given->port.len > 0) {
		url.port = none;
		if (try_url(key, &url, request, signature))
			return true;
	}
	/* An explicit port was part of the URL as given; a lone ':' is none. */
	url.port = standard_port(url.scheme);
	return given->port.len <= 1 && url.port.len > 0 && try_url(key, &url, request, signature);
}

bool reeld_signature_verify(struct reeld_signature_key *key, struct reeld_signature_request *request, const char *signature,
			    size_t signature_len)
{
	if (signature_len != SIGNATURE_LEN)
		return false;

	struct url url;
	sort_fields(request->fields, request->field_count);
	split_url(&url, request);
	bool right = try_ports(key, &url, request, signature);
	if (!right && url.userinfo.len > 0) {
		url.userinfo = TEXT("");
		right = try_ports(key, &url, request, signature);
	}
	/* The hash of the body comes last: nobody without the token can make us hash. */
	return right && (request->body == NULL || body_matches(&url, request));
}
