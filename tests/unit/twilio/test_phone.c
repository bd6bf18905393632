/* SPDX-License-Identifier: MIT */
#include <reeld/phone.h>

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum reeld_phone_result parse(const char *text, const char *country, struct reeld_phone *phone)
{
	return reeld_phone_parse(text, strlen(text), country, phone);
}

static void expect_number(const char *text, const char *country, const char *number)
{
	struct reeld_phone phone;
	enum reeld_phone_result result = parse(text, country, &phone);

	cr_expect_eq(result, REELD_PHONE_OK, "%s: %s", text, reeld_phone_message(result));
	cr_expect_eq(phone.kind, REELD_PHONE_NUMBER, "%s", text);
	cr_expect_str_eq(phone.number, number, "%s gave %s", text, phone.number);
}

static void expect_error(const char *text, const char *country, enum reeld_phone_result expected)
{
	struct reeld_phone phone;
	enum reeld_phone_result result = parse(text, country, &phone);

	cr_expect_eq(result, expected, "%s: %s (%s)", text, reeld_phone_message(result), phone.number);
	cr_expect_eq(strlen(phone.number), 0);
}

static void expect_kind(const char *text, enum reeld_phone_kind kind)
{
	struct reeld_phone phone;

	cr_expect_eq(parse(text, "US", &phone), REELD_PHONE_OK, "%s", text);
	cr_expect_eq(phone.kind, kind, "%s is %d", text, (int)phone.kind);
	cr_expect_str_eq(phone.number, "");
}

/* A line of the file: country, text, what libphonenumber makes of it, what reeld does instead. */
static void check_vector(char *line)
{
	char *columns[4] = {line, NULL, NULL, NULL};
	struct reeld_phone phone, again;

	line[strcspn(line, "\n")] = '\0';
	for (int i = 1; i < 4; i++) {
		char *tab = strchr(columns[i - 1], '\t');
		if (tab == NULL)
			break;
		*tab = '\0';
		columns[i] = tab + 1;
	}
	cr_assert_not_null(columns[2], "%s", line);
	const char *expected = columns[3] != NULL ? columns[3] : columns[2];
	enum reeld_phone_result result = parse(columns[1], *columns[0] == '\0' ? NULL : columns[0], &phone);
	const char *got = result == REELD_PHONE_OK ? phone.number : "-";
	cr_expect_str_eq(got, expected, "%s %s: %s, expected %s (%s)", columns[0], columns[1], got, expected,
			 reeld_phone_message(result));
	if (result != REELD_PHONE_OK)
		return;
	cr_expect_eq(parse(phone.number, NULL, &again), REELD_PHONE_OK, "%s", phone.number);
	cr_expect_str_eq(again.number, phone.number);
}

Test(phone, as_libphonenumber)
{
	FILE *file = fopen(TEST_DATA_DIR "/phone/vectors.tsv", "r");
	char line[512];
	size_t count = 0;

	cr_assert_not_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (*line == '#')
			continue;
		check_vector(line);
		count++;
	}
	(void)fclose(file);
	cr_expect_gt(count, 1500);
}

Test(phone, what_is_no_number_is_passed_through)
{
	expect_kind("client:alice", REELD_PHONE_CLIENT);
	expect_kind("Client:joey_jr", REELD_PHONE_CLIENT);
	expect_kind("sip:alice@example.com", REELD_PHONE_SIP);
	expect_kind("sips:alice@example.com;transport=tls", REELD_PHONE_SIP);
	expect_kind("sip:+14155552671@example.com", REELD_PHONE_SIP);
	expect_kind("name@company.com", REELD_PHONE_SIP);
	expect_kind("sim:DE00112233445566778899aabbccddeeff", REELD_PHONE_SIM);
	expect_kind("whatsapp:+14155552671", REELD_PHONE_CHANNEL);
	expect_kind("messenger:1234", REELD_PHONE_CHANNEL);
}

Test(phone, the_text_is_kept_without_space_around_it)
{
	static const char text[] = " \r\n client:alice smith \t";
	struct reeld_phone phone;

	cr_assert_eq(parse(text, NULL, &phone), REELD_PHONE_OK);
	cr_expect_eq(phone.text, text + 4);
	cr_expect_eq(phone.text_len, strlen("client:alice smith"));
	cr_assert_eq(parse(" +1 650 253 0000 ", NULL, &phone), REELD_PHONE_OK);
	cr_expect_eq(phone.text_len, strlen("+1 650 253 0000"));
	cr_assert_eq(parse(" nobody ", "US", &phone), REELD_PHONE_BAD_CHARACTER);
	cr_expect_eq(phone.text_len, strlen("nobody"));
}

Test(phone, withheld)
{
	static const char *const texts[] = {
		"anonymous",
		"Anonymous",
		"RESTRICTED",
		"unknown",
		"unavailable",
		"Private",
		"blocked",
		"withheld",
		" anonymous ",
		"+266696687",
		"+7378742833",
		"+2562533",
		"+8656696",
		"+86282452253",
		"sip:anonymous@anonymous.invalid",
		"anonymous@Anonymous.Invalid",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		expect_kind(texts[i], REELD_PHONE_WITHHELD);
	/* the same digits with a US country code are somebody's number in Texas */
	expect_number("+17378742833", NULL, "+17378742833");
	expect_number("7378742833", "US", "+17378742833");
}

Test(phone, an_address_with_a_control_character_is_refused)
{
	expect_error("client:a\nb", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("sip:a@b\x7f.example", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("client:", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("sip:", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("@example.com", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("name@", NULL, REELD_PHONE_BAD_CHARACTER);
}

Test(phone, digits_and_separators_of_unicode)
{
	expect_number("\xef\xbc\x8b\xef\xbc\x91 \xef\xbc\x88\xef\xbc\x96\xef\xbc\x95\xef\xbc\x90\xef\xbc\x89 253\xef\xbc\x8d"
		      "0000",
		      NULL, "+16502530000");
	expect_number("+\xd9\xa1\xd9\xa6\xd9\xa5\xd9\xa0\xd9\xa2\xd9\xa5\xd9\xa3\xd9\xa0\xd9\xa0\xd9\xa0\xd9\xa0", NULL,
		      "+16502530000");
	expect_number("\xdb\xb0\xdb\xb2\xdb\xb1 \xdb\xb2\xdb\xb3\xdb\xb4\xdb\xb5 \xdb\xb6\xdb\xb7\xdb\xb8\xdb\xb9", "IR",
		      "+982123456789");
	/* as address books write it: marks of direction, hyphens that do not break, a no-break space */
	expect_number("\xe2\x80\xaa+1 650\xe2\x80\x91"
		      "253\xe2\x80\x91"
		      "0000\xe2\x80\xac",
		      NULL, "+16502530000");
	expect_number("+1\xc2\xa0"
		      "650\xe2\x80\xaf"
		      "253\xe3\x80\x80"
		      "0000\xef\xbb\xbf",
		      NULL, "+16502530000");
	/* Devanagari digits are none here, nor is what is no UTF-8 */
	expect_error("\xe0\xa5\xa7\xe0\xa5\xa8", "IN", REELD_PHONE_BAD_CHARACTER);
	expect_error("+1 650 253 000\xef\xbc", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("+1 650 253 000\xc0\xb0", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("+1 650 253 000\xe0\x80\xb0", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("+1 650 253 0000\xff", NULL, REELD_PHONE_BAD_CHARACTER);
}

static void expect_extension(const char *text, const char *extension)
{
	struct reeld_phone phone;

	cr_assert_eq(parse(text, "US", &phone), REELD_PHONE_OK, "%s", text);
	cr_expect_str_eq(phone.number, "+16502530000");
	cr_assert_not_null(phone.extension, "%s", text);
	cr_expect_eq(phone.extension_len, strlen(extension));
	cr_expect_eq(strncmp(phone.extension, extension, phone.extension_len), 0);
}

Test(phone, extensions)
{
	struct reeld_phone phone;

	expect_extension("650-253-0000 ext. 123", "123");
	expect_extension("650-253-0000 Extension: 0042", "0042");
	expect_extension("650-253-0000extn7", "7");
	expect_extension("650-253-0000x9", "9");
	expect_extension("650-253-0000 #9", "9");
	expect_extension("tel:+1-650-253-0000;ext=55;isub=1", "55");
	expect_extension("tel:650-253-0000;phone-context=+1;ext=55", "55");
	cr_expect_eq(parse("650-253-0000", "US", &phone), REELD_PHONE_OK);
	cr_expect_null(phone.extension);
	expect_error("650-253-0000 ext.", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("650-253-0000 x12a", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("650-253-0000 x1234567890123456", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("tel:650-253-0000;ext=a", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("tel:650-253-0000;ext=", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("x12", "US", REELD_PHONE_BAD_CHARACTER);
}

Test(phone, tel_uris)
{
	expect_number("tel:+1-201-555-0123", NULL, "+12015550123");
	expect_number("TEL:03-331-6005;phone-context=+64", NULL, "+6433316005");
	expect_number("tel:331-6005;phone-context=+64-3", NULL, "+6433316005");
	expect_number("tel:033316005;phone-context=example.com", "NZ", "+6433316005");
	expect_error("tel:", NULL, REELD_PHONE_TOO_SHORT);
	expect_error("tel:;ext=1", NULL, REELD_PHONE_TOO_SHORT);
	expect_error("tel:033316005;phone-context=+", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("tel:033316005;phone-context=+x", NULL, REELD_PHONE_BAD_CHARACTER);
}

Test(phone, errors)
{
	char longest[REELD_PHONE_TEXT_MAX + 2];

	expect_error("", "US", REELD_PHONE_EMPTY);
	expect_error(" \t\r\n", "US", REELD_PHONE_EMPTY);
	expect_error("650 253 0000", NULL, REELD_PHONE_NO_COUNTRY);
	expect_error("650 253 0000", "UK", REELD_PHONE_UNKNOWN_COUNTRY);
	expect_error("650 253 0000", "", REELD_PHONE_UNKNOWN_COUNTRY);
	expect_error("650 253 0000", "USA", REELD_PHONE_UNKNOWN_COUNTRY);
	expect_error("650 253 0000", "S ", REELD_PHONE_UNKNOWN_COUNTRY);
	expect_number("650 253 0000", "us", "+16502530000");
	expect_error("+999 1234567", NULL, REELD_PHONE_UNKNOWN_CODE);
	expect_error("+0 1234567", NULL, REELD_PHONE_UNKNOWN_CODE);
	expect_error("+99", NULL, REELD_PHONE_TOO_SHORT);
	expect_error("+", NULL, REELD_PHONE_TOO_SHORT);
	expect_error("-", NULL, REELD_PHONE_TOO_SHORT);
	expect_error("911", "US", REELD_PHONE_TOO_SHORT);
	expect_error("112", "DE", REELD_PHONE_TOO_SHORT);
	expect_error("+1 650 253 00000", NULL, REELD_PHONE_TOO_LONG);
	expect_error("+49 12345678901234", NULL, REELD_PHONE_TOO_LONG);
	expect_error("123456789012345678901", "DE", REELD_PHONE_TOO_LONG);
	expect_error("+44 1234 5678", NULL, REELD_PHONE_BAD_NUMBER);
	expect_error("+44 00 7946 0958", NULL, REELD_PHONE_BAD_NUMBER);
	expect_error("+1+650 253 0000", NULL, REELD_PHONE_BAD_CHARACTER);
	expect_error("650+2530000", "US", REELD_PHONE_BAD_CHARACTER);
	expect_error("*67 650 253 0000", "US", REELD_PHONE_BAD_CHARACTER);
	memset(longest, '-', sizeof(longest));
	memcpy(longest + REELD_PHONE_TEXT_MAX - 12, "+16502530000", 12);
	longest[REELD_PHONE_TEXT_MAX] = '\0';
	expect_number(longest, NULL, "+16502530000");
	strcpy(longest + REELD_PHONE_TEXT_MAX, "-");
	expect_error(longest, NULL, REELD_PHONE_TOO_LONG);
}

Test(phone, a_nul_is_no_digit)
{
	struct reeld_phone phone;

	cr_expect_eq(reeld_phone_parse("+1650253\0"
				       "0000",
				       13, NULL, &phone),
		     REELD_PHONE_BAD_CHARACTER);
}

Test(phone, reads_no_further_than_told)
{
	/* on the heap, so that a read past the end is seen by the sanitizer */
	static const char text[] = "tel:+1 (650) 253\xe2\x80\x91"
				   "0000;ext=12";

	for (size_t len = 0; len < sizeof(text); len++) {
		struct reeld_phone phone;
		char *copy = malloc(len == 0 ? 1 : len);
		cr_assert_not_null(copy);
		memcpy(copy, text, len);
		(void)reeld_phone_parse(copy, len, "US", &phone);
		free(copy);
	}
}

static void expect_mask(const char *text, size_t size, const char *expected)
{
	char *out = malloc(size == 0 ? 1 : size);

	cr_assert_not_null(out);
	reeld_phone_mask(text, strlen(text), out, size);
	if (size > 0)
		cr_expect_str_eq(out, expected, "%s gave %s", text, out);
	free(out);
}

Test(phone, masks_all_but_the_last_four)
{
	expect_mask("+15005550006", 32, "********0006");
	expect_mask("911", 32, "911");
	expect_mask("", 32, "");
	expect_mask("client:\xc3\xa9\xe2\x82\xac"
		    "ab",
		    32,
		    "*******\xc3\xa9\xe2\x82\xac"
		    "ab");
	expect_mask("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 32,
		    "*\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
	expect_mask("\x80\x80"
		    "12345",
		    32, "**2345");
	expect_mask("sip:somebody@example.com", 8, "*******");
	expect_mask("\xe2\x82\xac\xe2\x82\xac", 6, "\xe2\x82\xac"); /* no half character */
	expect_mask("x", 1, "");
	expect_mask("x", 0, NULL);
}

Test(phone, messages)
{
	for (int result = REELD_PHONE_UNKNOWN_CODE; result <= REELD_PHONE_OK; result++)
		cr_expect(strlen(reeld_phone_message((enum reeld_phone_result)result)) > 1);
	cr_expect_str_eq(reeld_phone_message((enum reeld_phone_result)77), "unknown result");
}
