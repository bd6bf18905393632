/* SPDX-License-Identifier: MIT */
#include "sandbox/random.h"

uint64_t unscramble(uint64_t x)
{
	/* The multiplicative inverses modulo 2^64 of the two factors, and each xor-shift undone by repeating it. */
	x ^= (x >> 31) ^ (x >> 62);
	x *= UINT64_C(0x319642b2d24d8ec3);
	x ^= (x >> 27) ^ (x >> 54);
	x *= UINT64_C(0x96de1b173f119089);
	x ^= (x >> 30) ^ (x >> 60);
	return x;
}
