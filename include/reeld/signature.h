/* SPDX-License-Identifier: MIT */
/*
 * Twilio's X-Twilio-Signature: base64(HMAC-SHA1(auth token, URL + sorted parameters)).
 * Source: https://www.twilio.com/docs/usage/security and the SDKs' own test vectors (tests/unit/data/signature_vectors.json).
 *
 * A key is computed once per auth token and is used by one thread at a time. Comparisons take constant time.
 */
#ifndef REELD_SIGNATURE_H
#define REELD_SIGNATURE_H

#include <reeld/form.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* base64 of 20 bytes, with its NUL */
#define REELD_SIGNATURE_SIZE 29

struct reeld_signature_key;

/*
 * NULL when out of memory, and for an empty token, whose signatures anybody could make. The token goes into the HMAC
 * state and is not kept.
 */
struct reeld_signature_key *reeld_signature_key_new(const char *token, size_t len);
void reeld_signature_key_free(struct reeld_signature_key **key);

struct reeld_signature_request {
	/* The URL as Twilio was given it, in one or two pieces (base "https://host", target "/path?query"; an unused one has
	 * length 0). One of them holds scheme and host whole. A fragment ("#rc=5") is left out, as Twilio leaves it out:
	 * so never read parameters out of one, nobody vouches for them. */
	const char *base;
	size_t base_len;
	const char *target;
	size_t target_len;
	/* Decoded POST form parameters, any order; none for GET or a non-form body. Sorted in place by the call. */
	struct reeld_form_field *fields;
	size_t field_count;
	/* The raw body when it is not a form (JSON): the URL's bodySHA256 must match it. NULL: no such check. */
	const char *body;
	size_t body_len;
};

/*
 * Signs: writes the NUL-terminated base64 signature for the URL as given. Repeated names: distinct values sorted, the name
 * before each (the rule of Twilio's node, python and php SDKs). False only when the crypto library fails.
 */
bool reeld_signature_sign(struct reeld_signature_key *key, struct reeld_signature_request *request,
			  char out[REELD_SIGNATURE_SIZE]);

/*
 * True when `signature` is right for one of: the URL as given, without its port, with the scheme's standard port (443, 80)
 * added when it has none, and each of these without its userinfo; and, for a raw body, when the bodySHA256 in the query
 * matches. Anything malformed is false.
 */
bool reeld_signature_verify(struct reeld_signature_key *key, struct reeld_signature_request *request, const char *signature,
			    size_t signature_len);

#ifdef __cplusplus
}
#endif
#endif
