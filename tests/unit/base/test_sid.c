/* SPDX-License-Identifier: MIT */
#include "base/sid.h"

#include <criterion/criterion.h>

#define DIGITS "0123456789abcdefABCDEF0123456789"

Test(sid, takes_its_prefix_and_32_hex_digits_as_they_came)
{
	struct sid sid;
	uint8_t binary[16];
	cr_assert(sid_parse(SLICE("RE" DIGITS), "RE", &sid));
	cr_expect_str_eq(sid.text, "RE" DIGITS);
	cr_assert(sid_is_set(&sid));
	cr_assert(sid_binary(&sid, binary));
	cr_expect_eq(memcmp(binary, "\x01\x23\x45\x67\x89\xab\xcd\xef\xab\xcd\xef\x01\x23\x45\x67\x89", 16), 0);
}

Test(sid, everything_else_is_no_sid_and_leaves_none)
{
	static const char *const rows[] = {
		"",
		"RE",
		"CA" DIGITS,
		"re" DIGITS,
		"RE" DIGITS "0",
		"RE0123456789abcdefABCDEF012345678",
		"RE0123456789abcdefABCDEF012345678g",
		" RE123456789abcdefABCDEF0123456789",
		"RE../../../../../../../../../../e",
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sid sid = {"RE" DIGITS};
		uint8_t binary[16];
		cr_expect_not(sid_parse(slice_from_cstr(rows[i]), "RE", &sid), "%s", rows[i]);
		cr_expect_not(sid_is_set(&sid));
		cr_expect_not(sid_binary(&sid, binary));
	}
}

Test(sid, a_nul_inside_is_no_digit)
{
	char text[SID_LEN + 1] = "RE" DIGITS;
	struct sid sid;
	text[10] = '\0';
	cr_expect_not(sid_parse(slice_make(text, SID_LEN), "RE", &sid));
}
