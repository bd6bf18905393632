/* SPDX-License-Identifier: MIT */
/*
 * AWS Signature Version 4: the Authorization header of a request, or a presigned URL.
 * Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and AWS's published cases
 * (tests/unit/data/sigv4).
 *
 * Pure: the time is a parameter, no I/O, and no allocation but a key's. A key is used by one thread at a time.
 */
#ifndef REELD_SIGV4_H
#define REELD_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The payload hash of a body that is not hashed (S3 over TLS, presigned S3 URLs). */
#define REELD_SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
/* Most headers and query parameters a request may have. */
#define REELD_SIGV4_MAX_HEADERS 32
#define REELD_SIGV4_MAX_QUERY 32
/* Enough for an S3 key of 1024 bytes, a session token of 2 KiB and a few headers, signed or presigned. */
#define REELD_SIGV4_SCRATCH_SIZE 49152
/* Longest validity of a presigned URL: seven days. */
#define REELD_SIGV4_EXPIRES_MAX 604800

struct reeld_sigv4_key;

struct reeld_sigv4_credentials {
	const char *access_key_id;
	const char *secret_access_key;
	const char *session_token; /* NULL or "": none */
};

/*
 * Copies all three. The signing key derived from them is kept until the UTC day changes. NULL when out of memory, and
 * when one is empty or has a control character, or region or service have a '/'.
 */
struct reeld_sigv4_key *reeld_sigv4_key_new(const struct reeld_sigv4_credentials *credentials, const char *region,
					    const char *service);
/* Wipes the secret. Accepts NULL, sets *key to NULL. */
void reeld_sigv4_key_free(struct reeld_sigv4_key **key);

/* A query parameter or a header. */
struct reeld_sigv4_pair {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

enum {
	/* `path` is percent-encoded already. It is decoded and encoded again, so that it is spelled as AWS spells it. */
	REELD_SIGV4_PATH_IS_ENCODED = 1,
	/* The signed path has no "//", "/./" and "/../" (what is sent keeps them). Every service but S3. */
	REELD_SIGV4_NORMALIZE_PATH = 2,
	/* The signed path is the encoded path encoded once more. Every service but S3. */
	REELD_SIGV4_ENCODE_PATH_TWICE = 4,
	/* Send and sign x-amz-content-sha256, which S3 requires. */
	REELD_SIGV4_HASH_HEADER = 8,
	/* Send the session token but leave it out of the signature: a few services want it so. */
	REELD_SIGV4_TOKEN_UNSIGNED = 16,

	REELD_SIGV4_S3 = REELD_SIGV4_HASH_HEADER,
	REELD_SIGV4_OTHER_SERVICE = REELD_SIGV4_NORMALIZE_PATH | REELD_SIGV4_ENCODE_PATH_TWICE,
};

struct reeld_sigv4_request {
	const char *method; /* upper case */
	const char *path;   /* raw bytes, begins with '/'; length 0 means "/" */
	size_t path_len;
	unsigned flags;
	/* Raw; any order. A parameter without a value ("?uploads") has value_len 0 and gets its '='. */
	const struct reeld_sigv4_pair *query;
	size_t query_count;
	/*
	 * All are signed, so Host must be among them, spelled as it will be sent (with its port unless it is the scheme's own).
	 * Values are trimmed and folded for signing, repeated names joined. Not among them: what signing adds (x-amz-date,
	 * x-amz-content-sha256, x-amz-security-token, Authorization).
	 */
	const struct reeld_sigv4_pair *headers;
	size_t header_count;
	/* SHA-256 of the body in lower-case hex, or REELD_SIGV4_UNSIGNED_PAYLOAD; NULL: computed from `body`. */
	const char *payload_hash;
	const char *body;
	size_t body_len;
	int64_t now_ms; /* epoch milliseconds */
};

/* Everything is NUL-terminated and lies in the scratch buffer, or in the struct. */
struct reeld_sigv4_signed {
	const char *target; /* path and query to send, encoded: "/bucket/key?uploads=" */
	/* Headers to send beside the caller's, as "name: value"; NULL ends. A presigned request has none. */
	const char *headers[5];
	const char *authorization; /* value of the last of them; NULL when presigned */
	char date[17];             /* "20150830T123600Z" */
	char signature[65];        /* lower-case hex */
	/* For those who look for why a signature was refused: S3 answers with its own of both. No secret in either. */
	const char *canonical_request;
	const char *string_to_sign;
};

enum reeld_sigv4_status {
	REELD_SIGV4_OK = 0,
	REELD_SIGV4_INVALID = -1, /* see the fields above; also a time outside the years 1970 to 9999 */
	REELD_SIGV4_NO_ROOM = -2, /* in the scratch buffer */
	REELD_SIGV4_CRYPTO = -3,  /* OpenSSL failed */
};

/* Signs for the headers. `out` is only good with REELD_SIGV4_OK. The scratch buffer holds the session token afterwards. */
enum reeld_sigv4_status reeld_sigv4_sign(struct reeld_sigv4_key *key, const struct reeld_sigv4_request *request, char *scratch,
					 size_t scratch_len, struct reeld_sigv4_signed *out);

/*
 * Signs for the URL: whoever has `target` may send this request until `expires_s` seconds (1 to REELD_SIGV4_EXPIRES_MAX) after
 * now_ms, with the same headers; so sign none but Host. For S3 the payload hash is REELD_SIGV4_UNSIGNED_PAYLOAD.
 * REELD_SIGV4_HASH_HEADER has no effect. The query must not hold X-Amz-* parameters of signing.
 */
enum reeld_sigv4_status reeld_sigv4_presign(struct reeld_sigv4_key *key, const struct reeld_sigv4_request *request,
					    unsigned expires_s, char *scratch, size_t scratch_len,
					    struct reeld_sigv4_signed *out);

/*
 * Percent-encodes all but A-Z a-z 0-9 - . _ ~ (and '/' when it is kept), in upper-case hex. Writes a NUL; returns the length
 * without it, or -1 when it does not fit.
 */
int reeld_sigv4_encode(const char *bytes, size_t len, bool keep_slash, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
