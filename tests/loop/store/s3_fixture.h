/* SPDX-License-Identifier: MIT */
/* An HTTP client, credentials and an S3 store on the support's loop, for Swift (the environment says where) or a scripted peer. */
#ifndef REELD_TESTS_LOOP_STORE_S3_FIXTURE_H
#define REELD_TESTS_LOOP_STORE_S3_FIXTURE_H

#include "loop/store/store_support.h"
#include "store/store_s3.h"

/* What the credentials read in place of the environment; change them before s3_fixture_open. */
struct s3_fixture_variables {
	const char *key_id;
	const char *secret;
	const char *token;
};
extern struct s3_fixture_variables s3_variables;
extern struct http_client *s3_http;
extern struct aws_credentials *s3_credentials;

/* Options for the server of the environment; the prefix is another one each time. */
struct store_s3_options s3_fixture_options(void);
/* Client, credentials and `store`. */
void s3_fixture_open(const struct store_s3_options *options);
/* Closes what is open; the loop too. */
void s3_fixture_close(void);
/* Closes the store alone and opens another. */
void s3_fixture_reopen(const struct store_s3_options *options);
/* The prefix of this test, with a slash behind it. */
const char *s3_fixture_prefix(void);
/* PREFIX and name; valid until the fourth next call. */
const char *s3_key(const char *name);

/* Without the store under test: the answer of curl to a presigned GET of the key, its head and body. NUL-terminated; free it. */
char *s3_fetch(const char *key, size_t *len);
/* How many uploads in parts are open under the prefix. */
unsigned s3_open_uploads(void);

#endif
