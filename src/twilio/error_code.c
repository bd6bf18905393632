/* SPDX-License-Identifier: MIT */
#include "twilio/error_code.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
	int64_t code;
	const char *words;
} errors[] = {
	{16101, "shorter than the least that Twilio keeps"},
	{16102, "silent, and the account deletes silent recordings"},
	{16104, "not stored: encrypting it with the account's public key failed"},
	{16105, "not stored: the account has no valid public key to encrypt it with"},
	{16106, "not stored: an internal error at Twilio while encrypting it"},
	{16107, "encrypted with another public key than the configured one, which is invalid or deleted"},
	{16109, "encrypted recordings cannot be had as mp3"},
	{16110, "Twilio could not delete it"},
	{16111, "lost by Twilio's external storage: wrong bucket URL or credentials, or none for the call's region"},
	{16112, "lost by Twilio's external storage: the bucket refused it, or its encryption is not SSE-KMS"},
	{16113, "it has one channel only"},
};

const char *twilio_error_words(int64_t code)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].code == code)
			return errors[i].words;
	}
	return NULL;
}

const char *twilio_error_describe(int64_t code, char out[TWILIO_ERROR_TEXT_SIZE])
{
	const char *words = twilio_error_words(code);
	if (words != NULL)
		snprintf(out, TWILIO_ERROR_TEXT_SIZE, "error %" PRId64 ": %s", code, words);
	else
		snprintf(out, TWILIO_ERROR_TEXT_SIZE, "error %" PRId64 ", see https://www.twilio.com/docs/api/errors/%" PRId64,
			 code, code);
	return out;
}
