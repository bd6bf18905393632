/* SPDX-License-Identifier: MIT */
/* Encryption details: what is read is whole and bounded, and its canonical text reads as the same. */
#include "base/check.h"
#include "twilio/encryption.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct twilio_encryption first, second;
	char text[TWILIO_ENCRYPTION_TEXT_SIZE];
	struct error error = {0};
	int status = twilio_encryption_parse(slice_make((const char *)data, size), &first, &error);
	REQUIRE(status == 0 || (status == ERR_ENCRYPTION_DETAILS && error.code == status && error.detail[0] != '\0'));
	if (status != 0)
		return 0;
	REQUIRE(first.sealed_len >= TWILIO_ENCRYPTION_SEALED_MIN && first.sealed_len <= TWILIO_ENCRYPTION_SEALED_MAX);
	REQUIRE(first.iv_len >= TWILIO_ENCRYPTION_IV_MIN && first.iv_len <= TWILIO_ENCRYPTION_IV_MAX);
	twilio_encryption_format(&first, text);
	REQUIRE(twilio_encryption_parse(slice_from_cstr(text), &second, NULL) == 0);
	REQUIRE(memcmp(&first, &second, sizeof(first)) == 0);
	return 0;
}
