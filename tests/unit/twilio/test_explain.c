/* SPDX-License-Identifier: MIT */
#include "twilio/explain.h"

#include <criterion/criterion.h>
#include <string.h>

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

Test(twilio_explain, which_refusals_are_about_the_account)
{
	cr_assert(twilio_refuses_account(401, 20003));
	cr_assert(twilio_refuses_account(401, 0));
	cr_assert(twilio_refuses_account(403, 20403));
	cr_assert_not(twilio_refuses_account(403, 0), "a proxy's, or of this machine");
	cr_assert(twilio_refuses_account(429, 20429));
	cr_assert(twilio_refuses_account(429, 0));
	cr_assert_not(twilio_refuses_account(404, 20404));
	cr_assert_not(twilio_refuses_account(503, 20503));
	cr_assert_not(twilio_refuses_account(0, 0));
}
