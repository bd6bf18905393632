/* SPDX-License-Identifier: MIT */
#include "adapters/md5.h"

#include "base/check.h"

#include <endian.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

/* With fewer, a register full of lanes is slower than one after the other. */
#define LANES_LEAST 3

/* What is left of one input in whole blocks. */
struct lane {
	uint32_t *chain;
	const uint8_t *at;
	size_t blocks;
};

#define ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
/* A sum, not an "or": the half that does not wait for the last step is then added early. */
#define G(x, y, z) (((x) & (z)) + ((y) & ~(z)))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))
#define STEP(f, a, b, c, d, word, constant, rotation) \
	a += (words[word] + (constant)) + f(b, c, d); \
	a = ROTATE(a, rotation) + b;

static void hash_blocks(uint32_t chain[4], const uint8_t *at, size_t blocks)
{
	for (; blocks > 0; blocks--, at += MD5_BLOCK_SIZE) {
		uint32_t words[16];
		uint32_t a = chain[0], b = chain[1], c = chain[2], d = chain[3];
		memcpy(words, at, sizeof(words));
		for (int i = 0; i < 16; i++)
			words[i] = le32toh(words[i]);
#include "adapters/md5.def"
		chain[0] += a;
		chain[1] += b;
		chain[2] += c;
		chain[3] += d;
	}
}

#undef STEP
#undef F
#undef G
#undef H
#undef I
#undef ROTATE

#ifdef __x86_64__
#define WITH_AVX2 __attribute__((target("avx2")))
#define ADD(x, y) _mm256_add_epi32(x, y)
#define ROTATE(x, n) _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - (n)))
#define F(x, y, z) _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
#define G(x, y, z) ADD(_mm256_and_si256(x, z), _mm256_andnot_si256(z, y))
#define H(x, y, z) _mm256_xor_si256(_mm256_xor_si256(x, y), z)
#define I(x, y, z) _mm256_xor_si256(y, _mm256_or_si256(x, _mm256_xor_si256(z, ones)))
#define STEP(f, a, b, c, d, word, constant, rotation)                                      \
	a = ADD(ADD(a, ADD(words[word], _mm256_set1_epi32((int)(constant)))), f(b, c, d)); \
	a = ADD(ROTATE(a, rotation), b);

/* rows[lane] holds eight words of that lane; afterwards rows[word] holds that word of eight lanes. */
WITH_AVX2 static inline void transpose(__m256i rows[MD5_LANES])
{
	__m256i pairs[8];
	__m256i fours[8];
	for (int i = 0; i < 8; i += 2) {
		pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
		pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
	}
	for (int i = 0; i < 8; i += 4) {
		fours[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
		fours[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
		fours[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
		fours[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
	}
	for (int i = 0; i < 4; i++) {
		rows[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
		rows[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
	}
}

/* The same number of blocks of each. */
WITH_AVX2 static void hash_lanes(const struct lane lanes[MD5_LANES], size_t blocks)
{
	const __m256i ones = _mm256_set1_epi32(-1);
	__m256i chain[4];
	for (int i = 0; i < 4; i++)
		chain[i] = _mm256_set_epi32((int)lanes[7].chain[i], (int)lanes[6].chain[i], (int)lanes[5].chain[i],
					    (int)lanes[4].chain[i], (int)lanes[3].chain[i], (int)lanes[2].chain[i],
					    (int)lanes[1].chain[i], (int)lanes[0].chain[i]);
	for (size_t offset = 0; offset < blocks * MD5_BLOCK_SIZE; offset += MD5_BLOCK_SIZE) {
		__m256i words[16];
		__m256i a = chain[0], b = chain[1], c = chain[2], d = chain[3];
		for (int i = 0; i < MD5_LANES; i++) {
			const uint8_t *at = lanes[i].at + offset;
			words[i] = _mm256_loadu_si256((const __m256i_u *)at);
			words[i + 8] = _mm256_loadu_si256((const __m256i_u *)(at + 32));
		}
		transpose(words);
		transpose(words + 8);
#include "adapters/md5.def"
		chain[0] = ADD(chain[0], a);
		chain[1] = ADD(chain[1], b);
		chain[2] = ADD(chain[2], c);
		chain[3] = ADD(chain[3], d);
	}
	uint32_t out[4][MD5_LANES];
	for (int i = 0; i < 4; i++)
		_mm256_storeu_si256((__m256i_u *)out[i], chain[i]);
	for (int lane = 0; lane < MD5_LANES; lane++) {
		for (int i = 0; i < 4; i++)
			lanes[lane].chain[i] = out[i][lane];
	}
}

/* Takes from the lanes what all have in common, until too few are left. Returns how many lanes still have blocks. */
static size_t hash_together(struct lane lanes[MD5_LANES], size_t count)
{
	while (count >= LANES_LEAST) {
		struct lane full[MD5_LANES];
		uint32_t nobody[4] = {0};
		size_t blocks = lanes[0].blocks;
		for (size_t i = 1; i < count; i++)
			blocks = lanes[i].blocks < blocks ? lanes[i].blocks : blocks;
		for (size_t i = 0; i < MD5_LANES; i++)
			full[i] = i < count ? lanes[i] : (struct lane){nobody, lanes[0].at, blocks};
		hash_lanes(full, blocks);
		size_t kept = 0;
		for (size_t i = 0; i < count; i++) {
			if (lanes[i].blocks > blocks)
				lanes[kept++] = (struct lane){lanes[i].chain, lanes[i].at + blocks * MD5_BLOCK_SIZE,
							      lanes[i].blocks - blocks};
		}
		count = kept;
	}
	return count;
}
#endif

void md5_init(struct md5 *md5)
{
	*md5 = (struct md5){.chain = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

/* Takes the first bytes into the block that waits, the last into the next one; what is whole in between is the lane. */
static struct lane take(const struct md5_input *input)
{
	struct md5 *md5 = input->md5;
	const uint8_t *at = input->bytes;
	size_t len = input->len;
	size_t waiting = (size_t)(md5->bytes % MD5_BLOCK_SIZE);
	md5->bytes += len;
	if (waiting > 0) {
		size_t part = len < MD5_BLOCK_SIZE - waiting ? len : MD5_BLOCK_SIZE - waiting;
		memcpy(md5->block + waiting, at, part);
		at += part;
		len -= part;
		if (waiting + part < MD5_BLOCK_SIZE)
			return (struct lane){0};
		hash_blocks(md5->chain, md5->block, 1);
	}
	size_t blocks = len / MD5_BLOCK_SIZE;
	if (len % MD5_BLOCK_SIZE > 0)
		memcpy(md5->block, at + blocks * MD5_BLOCK_SIZE, len % MD5_BLOCK_SIZE);
	return (struct lane){md5->chain, at, blocks};
}

void md5_update(const struct md5_input *inputs, size_t count)
{
	struct lane lanes[MD5_LANES];
	size_t left = 0;
	REQUIRE(count <= MD5_LANES);
	for (size_t i = 0; i < count; i++) {
		lanes[left] = inputs[i].len > 0 ? take(&inputs[i]) : (struct lane){0};
		left += lanes[left].blocks > 0;
	}
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		left = hash_together(lanes, left);
#endif
	for (size_t i = 0; i < left; i++)
		hash_blocks(lanes[i].chain, lanes[i].at, lanes[i].blocks);
}

void md5_final(struct md5 *md5, uint8_t out[MD5_SIZE])
{
	size_t waiting = (size_t)(md5->bytes % MD5_BLOCK_SIZE);
	uint64_t bits = htole64(md5->bytes * 8);
	md5->block[waiting++] = 0x80;
	if (waiting > MD5_BLOCK_SIZE - sizeof(bits)) {
		memset(md5->block + waiting, 0, MD5_BLOCK_SIZE - waiting);
		hash_blocks(md5->chain, md5->block, 1);
		waiting = 0;
	}
	memset(md5->block + waiting, 0, MD5_BLOCK_SIZE - sizeof(bits) - waiting);
	memcpy(md5->block + MD5_BLOCK_SIZE - sizeof(bits), &bits, sizeof(bits));
	hash_blocks(md5->chain, md5->block, 1);
	for (int i = 0; i < 4; i++) {
		uint32_t word = htole32(md5->chain[i]);
		memcpy(out + 4 * i, &word, sizeof(word));
	}
}
