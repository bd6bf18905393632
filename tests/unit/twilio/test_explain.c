/* SPDX-License-Identifier: MIT */
#include "twilio/explain.h"

#include <criterion/criterion.h>
#include <string.h>

Test(twilio_explain, codes_of_recordings_have_words)
{
	static const int64_t known[] = {16101, 16102, 16104, 16105, 16106, 16107, 16109, 16110, 16111, 16112, 16113};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const char *text = twilio_explain_code(known[i]);
		cr_assert_not_null(text, "%lld", (long long)known[i]);
		cr_assert_leq(strlen(text), 80, "%s", text);
	}
	cr_assert_null(twilio_explain_code(0));
	cr_assert_null(twilio_explain_code(20404));
	cr_assert_null(twilio_explain_code(-1));
}

Test(twilio_explain, refusals_say_what_to_look_at)
{
	cr_assert_not_null(strstr(twilio_explain_refusal(401, 20003), "suspended"));
	cr_assert_not_null(strstr(twilio_explain_refusal(401, 0), "another account or region"));
	cr_assert_not_null(strstr(twilio_explain_refusal(403, 0), "restricted API key"));
	cr_assert_not_null(strstr(twilio_explain_refusal(400, 20429), "too many requests"));
	cr_assert_not_null(strstr(twilio_explain_refusal(400, 16109), "mp3"));
	cr_assert_not_null(strstr(twilio_explain_refusal(407, 0), "proxy"));
	cr_assert_null(twilio_explain_refusal(404, 20404));
	cr_assert_null(twilio_explain_refusal(503, 0));
	for (long status = 400; status < 600; status++)
		cr_assert(twilio_explain_refusal(status, 0) == NULL || strlen(twilio_explain_refusal(status, 0)) <= 110);
}
