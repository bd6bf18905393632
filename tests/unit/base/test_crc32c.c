/* SPDX-License-Identifier: MIT */
/* Published values: RFC 3720 appendix B.4 and the check value of the CRC catalogue (CRC-32/ISCSI). */
#include "base/clock.h"
#include "base/crc32c.h"

#include <criterion/criterion.h>
#include <string.h>

Test(crc32c, published_values)
{
	unsigned char block[32];
	cr_expect_eq(crc32c(0, "123456789", 9), 0xE3069283U);
	cr_expect_eq(crc32c_portable(0, "123456789", 9), 0xE3069283U);
	cr_expect_eq(crc32c(0, NULL, 0), 0);
	memset(block, 0, sizeof(block));
	cr_expect_eq(crc32c(0, block, sizeof(block)), 0x8A9136AAU);
	memset(block, 0xFF, sizeof(block));
	cr_expect_eq(crc32c(0, block, sizeof(block)), 0x62A8AB43U);
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)i;
	cr_expect_eq(crc32c(0, block, sizeof(block)), 0x46DD794EU);
	cr_expect_eq(crc32c_portable(0, block, sizeof(block)), 0x46DD794EU);
}

Test(crc32c, instruction_and_table_agree_on_every_length_and_alignment)
{
	unsigned char block[200];
	random_bytes(block, sizeof(block));
	for (size_t start = 0; start < 16; start++) {
		for (size_t len = 0; start + len <= sizeof(block); len++)
			cr_assert_eq(crc32c(7, block + start, len), crc32c_portable(7, block + start, len));
	}
}

Test(crc32c, goes_on_from_an_earlier_part)
{
	for (size_t cut = 0; cut <= 9; cut++)
		cr_assert_eq(crc32c(crc32c(0, "123456789", cut), "123456789" + cut, 9 - cut), 0xE3069283U);
}

Test(crc32c, sees_every_single_flipped_bit)
{
	unsigned char block[64] = {0};
	uint32_t clean = crc32c(0, block, sizeof(block));
	for (size_t bit = 0; bit < sizeof(block) * 8; bit++) {
		block[bit / 8] ^= (unsigned char)(1U << bit % 8);
		cr_assert_neq(crc32c(0, block, sizeof(block)), clean);
		block[bit / 8] ^= (unsigned char)(1U << bit % 8);
	}
}
