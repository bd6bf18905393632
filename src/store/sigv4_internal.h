/* SPDX-License-Identifier: MIT */
/* What the parts of the SigV4 module share. */
#ifndef REELD_STORE_SIGV4_INTERNAL_H
#define REELD_STORE_SIGV4_INTERNAL_H

#include <openssl/evp.h>
#include <reeld/sigv4.h>
#include <string.h>

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE (2 * SHA256_SIZE + 1)
#define DAY_LEN 8 /* "20150830" */

struct reeld_sigv4_key {
	EVP_MAC_CTX *mac; /* keyed with the signing key of `day` */
	EVP_MD *sha256;
	char day[DAY_LEN + 1]; /* "": none yet */
	/* in `texts` */
	char *access_key_id;
	char *secret; /* "AWS4" and the secret */
	char *session_token;
	char *region;
	char *service;
	size_t texts_len;
	char texts[];
};

struct text {
	const char *ptr;
	size_t len;
};

/* Writes into a buffer of fixed size. That something did not fit is remembered, so that only the ends of the steps look. */
struct writer {
	char *at;
	char *end;
	bool full;
};

static inline struct text text_from(const char *cstr)
{
	return (struct text){cstr, strlen(cstr)};
}

/* Writing */

static inline void put(struct writer *writer, const char *bytes, size_t len)
{
	if ((size_t)(writer->end - writer->at) < len) {
		writer->full = true;
		return;
	}
	if (len > 0)
		memcpy(writer->at, bytes, len);
	writer->at += len;
}

static inline void put_char(struct writer *writer, char c)
{
	put(writer, &c, 1);
}

static inline void put_text(struct writer *writer, struct text text)
{
	put(writer, text.ptr, text.len);
}

static inline void put_cstr(struct writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

/* Ends the text that began at `start`, with a NUL behind it. */
static inline struct text finish(struct writer *writer, const char *start)
{
	struct text text = {start, (size_t)(writer->at - start)};

	put_char(writer, '\0');
	return text;
}

/* In a shared library these are nobody else's. */
#pragma GCC visibility push(hidden)

/* Percent-encodes as reeld_sigv4_encode does. */
void reeld_sigv4_put_encoded(struct writer *writer, struct text text, bool keep_slash);

/* The path as sent and as signed. False when it does not begin with '/' or holds a malformed escape. */
bool reeld_sigv4_write_path(struct writer *writer, const struct reeld_sigv4_request *request, struct text *path,
			    struct text *canonical);

/* No control characters. */
bool reeld_sigv4_is_printable(const char *text);

/* SHA-256 in hex. False when OpenSSL fails. */
bool reeld_sigv4_sha256(struct reeld_sigv4_key *key, const char *bytes, size_t len, char out[SHA256_HEX_SIZE]);

/* HMAC-SHA-256 of `text` with the signing key of that day ("20150830"), in hex. False when OpenSSL fails. */
bool reeld_sigv4_mac(struct reeld_sigv4_key *key, const char *day, struct text text, char out[SHA256_HEX_SIZE]);

#pragma GCC visibility pop

#endif
