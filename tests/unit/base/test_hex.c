/* SPDX-License-Identifier: MIT */
/* Base64 vectors: RFC 4648 section 10. */
#include "base/hex.h"

#include <criterion/criterion.h>

static const char *const vectors[][2] = {{"", ""},
					 {"f", "Zg=="},
					 {"fo", "Zm8="},
					 {"foo", "Zm9v"},
					 {"foob", "Zm9vYg=="},
					 {"fooba", "Zm9vYmE="},
					 {"foobar", "Zm9vYmFy"}};

Test(hex, base64_encodes_and_decodes_the_vectors_of_rfc_4648)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		char encoded[16];
		uint8_t decoded[16] = {0};
		size_t len;
		base64_encode(vectors[i][0], strlen(vectors[i][0]), encoded);
		cr_expect_str_eq(encoded, vectors[i][1]);
		cr_assert(base64_decode(slice_from_cstr(vectors[i][1]), decoded, &len));
		cr_expect(slice_equal(slice_make((char *)decoded, len), slice_from_cstr(vectors[i][0])));
		cr_expect_leq(len, BASE64_DECODED_MAX(strlen(encoded)));
	}
}

Test(hex, base64_refuses_every_second_spelling)
{
	static const char *const rows[] = {"Z",      "Zg",   "Zg=",  "Zh==",  "Zm9=", "Z===", "====",  "Zg==Zg==",
					   "Zm9v\n", "Zm-v", "Zm_v", "Zm9v=", "Zm=v", "=m9v", " Zm9v", "Zm9 "};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t out[16];
		size_t len;
		cr_expect_not(base64_decode(slice_from_cstr(rows[i]), out, &len), "%s", rows[i]);
		cr_expect_eq(len, 0);
	}
}

Test(hex, base64_uses_the_standard_alphabet_for_all_bytes)
{
	uint8_t all[256];
	uint8_t back[BASE64_DECODED_MAX(BASE64_LEN(256))];
	char encoded[BASE64_LEN(256) + 1];
	size_t len;
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	base64_encode(all, sizeof(all), encoded);
	cr_expect_not_null(strchr(encoded, '+'));
	cr_expect_not_null(strchr(encoded, '/'));
	cr_assert(base64_decode(slice_from_cstr(encoded), back, &len));
	cr_assert_eq(len, sizeof(all));
	cr_assert_eq(memcmp(all, back, sizeof(all)), 0);
}

Test(hex, encodes_lower_case_and_decodes_both_cases)
{
	char text[9];
	uint8_t bytes[4];
	hex_encode("\x00\x9f\xab\xff", 4, text);
	cr_expect_str_eq(text, "009fabff");
	cr_assert(hex_decode(SLICE("009FabFF"), bytes));
	cr_expect_eq(memcmp(bytes, "\x00\x9f\xab\xff", 4), 0);
	cr_expect(hex_decode(SLICE(""), bytes));
}

Test(hex, refuses_odd_lengths_and_other_characters)
{
	uint8_t bytes[4];
	cr_expect_not(hex_decode(SLICE("abc"), bytes));
	cr_expect_not(hex_decode(SLICE("0g"), bytes));
	cr_expect_not(hex_decode(SLICE("g0"), bytes));
	cr_expect_not(hex_decode(SLICE("0x"), bytes));
	cr_expect_not(hex_decode(SLICE(" 1"), bytes));
}
