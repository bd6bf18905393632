/* SPDX-License-Identifier: MIT */
#include "twilio/error_code.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(error_code, has_words_for_every_code_about_recordings)
{
	static const int64_t codes[] = {16101, 16102, 16104, 16105, 16106, 16107, 16109, 16110, 16111, 16112, 16113};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[TWILIO_ERROR_TEXT_SIZE];
		char begin[32];
		const char *words = twilio_error_words(codes[i]);
		cr_assert_not_null(words, "%lld", (long long)codes[i]);
		snprintf(begin, sizeof(begin), "error %lld: ", (long long)codes[i]);
		cr_expect_eq(twilio_error_describe(codes[i], text), text);
		cr_expect_eq(strncmp(text, begin, strlen(begin)), 0, "%s", text);
		cr_expect_str_eq(text + strlen(begin), words, "whole, not cut");
		for (size_t k = 0; k < i; k++)
			cr_expect_str_neq(words, twilio_error_words(codes[k]), "%lld says what another says",
					  (long long)codes[i]);
	}
	cr_expect_not_null(strstr(twilio_error_words(16101), "shorter"));
	cr_expect_not_null(strstr(twilio_error_words(16102), "silent"));
	cr_expect_not_null(strstr(twilio_error_words(16107), "another public key"));
}

Test(error_code, points_to_twilios_page_for_any_other)
{
	static const int64_t codes[] = {0, 1, 16100, 16103, 16108, 2147483647, INT64_MAX};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[TWILIO_ERROR_TEXT_SIZE];
		char expected[TWILIO_ERROR_TEXT_SIZE];
		cr_expect_null(twilio_error_words(codes[i]));
		snprintf(expected, sizeof(expected), "error %lld, see https://www.twilio.com/docs/api/errors/%lld",
			 (long long)codes[i], (long long)codes[i]);
		cr_expect_str_eq(twilio_error_describe(codes[i], text), expected);
	}
}
