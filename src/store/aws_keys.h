/* SPDX-License-Identifier: MIT */
/* One set of AWS credentials, by value and without pointers, so that wiping it leaves nothing behind. Pure. */
#ifndef REELD_STORE_AWS_KEYS_H
#define REELD_STORE_AWS_KEYS_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* A session token goes into a header, and S3 takes 8 KiB of those. */
#define AWS_KEY_ID_SIZE 257
#define AWS_SECRET_SIZE 257
#define AWS_TOKEN_SIZE 8193

struct aws_keys {
	char access_key_id[AWS_KEY_ID_SIZE];
	char secret_access_key[AWS_SECRET_SIZE];
	char session_token[AWS_TOKEN_SIZE]; /* "": none */
	int64_t expires_ms;                 /* epoch milliseconds; -1: never */
};

void aws_keys_wipe(struct aws_keys *keys);
/* Key id and secret are there. */
bool aws_keys_complete(const struct aws_keys *keys);
/* Copies with a NUL. False, and out is "", when it does not fit or has a byte that cannot be in a header (or a space). */
bool aws_keys_set(char *out, size_t size, struct slice text);

#endif
