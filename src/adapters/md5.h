/* SPDX-License-Identifier: MIT */
/*
 * MD5 (RFC 1321) of several streams at once. MD5 is a chain: each step waits for the one before, so one stream leaves most of a core idle, and
 * no implementation can help that. Eight streams side by side in one AVX2 register do, and a busy reeld has as many transfers to hash.
 * Where the CPU has no AVX2, or there are too few streams, each is hashed by itself.
 *
 * S3's checksum, not a security measure. Pure; different states may be used on different threads at the same time.
 */
#ifndef REELD_ADAPTERS_MD5_H
#define REELD_ADAPTERS_MD5_H

#include <stddef.h>
#include <stdint.h>

#define MD5_SIZE 16
#define MD5_BLOCK_SIZE 64
#define MD5_LANES 8

/* Copied freely; nothing to free. */
struct md5 {
	uint32_t chain[4];
	uint64_t bytes;
	uint8_t block[MD5_BLOCK_SIZE]; /* the first bytes % MD5_BLOCK_SIZE of it wait for the rest */
};

/* What comes next of one stream. */
struct md5_input {
	struct md5 *md5;
	const void *bytes;
	size_t len;
};

void md5_init(struct md5 *md5);
/* Up to MD5_LANES different streams. */
void md5_update(const struct md5_input *inputs, size_t count);
/* Afterwards only good for md5_init. */
void md5_final(struct md5 *md5, uint8_t out[MD5_SIZE]);

#endif
