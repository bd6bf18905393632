/* SPDX-License-Identifier: MIT */
/*
 * Numbers that only depend on what goes in: everything the sandbox makes up comes from here, so that a run can be repeated by its seed.
 * Not for secrets.
 */
#ifndef REELD_SANDBOX_RANDOM_H
#define REELD_SANDBOX_RANDOM_H

#include <stdint.h>

/* A permutation of 64-bit numbers that looks random (the finaliser of splitmix64, Steele et al., OOPSLA 2014). */
static inline uint64_t scramble(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

/* Its inverse: unscramble(scramble(x)) == x. */
uint64_t unscramble(uint64_t x);

/* One number of three; the order matters. */
static inline uint64_t scramble3(uint64_t a, uint64_t b, uint64_t c)
{
	return scramble(scramble(scramble(a + UINT64_C(0x9e3779b97f4a7c15)) ^ b) + c * UINT64_C(0x9e3779b97f4a7c15));
}

/* Uniform in [0, 1). */
static inline double scramble_unit(uint64_t x)
{
	return (double)(x >> 11) * 0x1p-53;
}

#endif
