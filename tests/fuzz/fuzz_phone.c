/* SPDX-License-Identifier: MIT */
/*
 * The phone number reader: a number is E.164 and reads as itself with any default country, what points into the text lies in it,
 * and a masked text is no longer than the text and ends with its last characters.
 */
#include "base/check.h"

#include <reeld/phone.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(const char *part, size_t len, const char *whole, size_t whole_len)
{
	return part >= whole && len <= whole_len && (size_t)(part - whole) <= whole_len - len;
}

static void check_number(const struct reeld_phone *phone)
{
	static const char *const countries[] = {NULL, "US", "DE", "RU", "HU", "CV", "IT", "ZZ"};
	size_t len = strlen(phone->number);
	struct reeld_phone again;

	REQUIRE(len >= 3 && len <= 16 && phone->number[0] == '+' && phone->number[1] != '0');
	REQUIRE(strspn(phone->number + 1, "0123456789") == len - 1);
	for (size_t i = 0; i < sizeof(countries) / sizeof(*countries); i++) {
		REQUIRE(reeld_phone_parse(phone->number, len, countries[i], &again) == REELD_PHONE_OK);
		REQUIRE(again.kind == REELD_PHONE_NUMBER && strcmp(again.number, phone->number) == 0);
	}
}

static void check_mask(const char *text, size_t len)
{
	char *out = malloc(len + 1);

	REQUIRE(out != NULL);
	reeld_phone_mask(text, len, out, len + 1);
	REQUIRE(memchr(out, '\0', len + 1) != NULL);
	reeld_phone_mask(text, len, out, len / 2 + 1);
	REQUIRE(memchr(out, '\0', len / 2 + 1) != NULL);
	free(out);
}

/* Two bytes of country, then the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char country[3] = "";
	struct reeld_phone phone;

	if (size < 2)
		return 0;
	memcpy(country, data, 2);
	const char *text = (const char *)data + 2;
	size_t len = size - 2;
	enum reeld_phone_result result = reeld_phone_parse(text, len, *country == '-' ? NULL : country, &phone);
	REQUIRE(lies_in(phone.text, phone.text_len, text, len));
	REQUIRE(phone.extension == NULL || lies_in(phone.extension, phone.extension_len, text, len));
	REQUIRE((phone.number[0] != '\0') == (result == REELD_PHONE_OK && phone.kind == REELD_PHONE_NUMBER));
	if (phone.number[0] != '\0')
		check_number(&phone);
	check_mask(text, len);
	return 0;
}
