/* SPDX-License-Identifier: MIT */
#include "twilio/explain.h"

#include <stddef.h>

const char *twilio_explain_code(int64_t code)
{
	switch (code) {
	case 16101:
		return "shorter than the shortest recording Twilio keeps";
	case 16102:
		return "nothing but silence";
	case 16104:
		return "Twilio could not encrypt it: the account's public key failed";
	case 16105:
		return "Twilio could not encrypt it: the account has no valid public key";
	case 16106:
		return "Twilio could not encrypt it: an internal error of Twilio's; it was not kept";
	case 16107:
		return "encrypted with another of the account's public keys";
	case 16109:
		return "encrypted recordings cannot be had as mp3";
	case 16110:
		return "Twilio could not delete it";
	case 16111:
		return "Twilio could not reach the external storage (URL, credentials or region); lost";
	case 16112:
		return "the external storage refused Twilio's upload; lost";
	case 16113:
		return "it has one channel only";
	default:
		return NULL;
	}
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
		if (twilio_explain_code(code) != NULL)
			return twilio_explain_code(code);
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
