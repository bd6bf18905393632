/* SPDX-License-Identifier: MIT */
#include "twilio/explain.h"

#include "twilio/error_code.h"

#include <stddef.h>

bool twilio_refuses_account(long http_status, int64_t code)
{
	return http_status == 401 || http_status == 429 || (http_status == 403 && code != 0);
}

const char *twilio_explain_refusal(long http_status, int64_t code)
{
	switch (code) {
	case 20403:
		http_status = 403;
		break;
	case 20429:
		http_status = 429;
		break;
	default:
		if (twilio_error_words(code) != NULL)
			return twilio_error_words(code);
	}
	switch (http_status) {
	case 401:
		return "changed token, suspended account, or API key of another account or region";
	case 403:
		return "these credentials may not do this: a restricted API key, or another account's";
	case 407:
		return "the proxy of https_proxy wants credentials of its own";
	case 410:
		return "gone for good";
	case 429:
		return "too many requests at once for this account";
	default:
		return NULL;
	}
}
