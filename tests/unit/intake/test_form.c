/* SPDX-License-Identifier: MIT */
#include <reeld/form.h>

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 16

struct parsed {
	enum reeld_form_result result;
	struct reeld_form_field fields[MAX_FIELDS];
	size_t count;
	char *text; /* exactly len bytes on the heap, so that a read past the end is seen by the sanitizer */
	char *scratch;
};

static struct parsed parse_bytes(const char *text, size_t len)
{
	struct parsed p = {0};

	p.text = malloc(len + (len == 0));
	p.scratch = malloc(len + (len == 0));
	cr_assert(p.text != NULL && p.scratch != NULL);
	memcpy(p.text, text, len);
	p.result = reeld_form_parse(p.text, len, p.fields, MAX_FIELDS, p.scratch, len, &p.count);
	return p;
}

static struct parsed parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void release(struct parsed *p)
{
	free(p->text);
	free(p->scratch);
}

/* "name=value|name=value", with what was decoded. */
static void expect_fields(const char *text, const char *expected)
{
	struct parsed p = parse(text);
	char got[512] = "";
	size_t used = 0;

	cr_assert_eq(p.result, REELD_FORM_OK, "%s: %s", text, reeld_form_message(p.result));
	for (size_t i = 0; i < p.count; i++)
		used += (size_t)snprintf(got + used, sizeof(got) - used, "%s%.*s=%.*s", i == 0 ? "" : "|",
					 (int)p.fields[i].name_len, p.fields[i].name, (int)p.fields[i].value_len,
					 p.fields[i].value);
	cr_expect_str_eq(got, expected, "%s gave %s", text, got);
	release(&p);
}

static void expect_error(const char *text, size_t len, enum reeld_form_result expected, size_t fields_before)
{
	struct parsed p = parse_bytes(text, len);

	cr_expect_eq(p.result, expected, "%.*s gave %d", (int)len, text, p.result);
	cr_expect_eq(p.count, fields_before, "%.*s kept %zu fields", (int)len, text, p.count);
	release(&p);
}

#define EXPECT_ERROR(literal, result, fields) expect_error(literal, sizeof(literal) - 1, result, fields)

Test(form, decodes_percent_escapes_and_plus)
{
	expect_fields("a=1&b=2", "a=1|b=2");
	expect_fields("From=%2B14158675309&Body=It%27s+amazing", "From=+14158675309|Body=It's amazing");
	expect_fields("RecordingStartTime=Wed%2C%2020%20Apr%202022%2023%3A45%3A25%20%2B0000",
		      "RecordingStartTime=Wed, 20 Apr 2022 23:45:25 +0000");
	expect_fields("%61%5b%5D=%e2%82%ac%E2%82%AC", "a[]=\xe2\x82\xac\xe2\x82\xac");
	expect_fields("a%3Db=c%26d%3d", "a=b=c&d=");
}

Test(form, keeps_order_repeats_and_the_equals_signs_of_a_value)
{
	expect_fields("b=2&a=1&b=1&b=2", "b=2|a=1|b=1|b=2");
	expect_fields("sig=abc==&x=a=b", "sig=abc==|x=a=b");
}

Test(form, skips_empty_pieces_and_reads_a_bare_name_as_empty_value)
{
	expect_fields("", "");
	expect_fields("&", "");
	expect_fields("&&a=1&&b=2&&", "a=1|b=2");
	expect_fields("a&b=&c", "a=|b=|c=");
	expect_fields("=", "=");
	expect_fields("=x&y", "=x|y=");
}

Test(form, refuses_malformed_escapes)
{
	EXPECT_ERROR("a=%", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%4", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%4&b=1", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%&41", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%G1", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%1g", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%-1", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=1&b=2&%zz=3", REELD_FORM_BAD_ESCAPE, 2);
	/* the characters beside the digits and letters in ASCII */
	EXPECT_ERROR("a=%/0", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%:0", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%@0", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%`0", REELD_FORM_BAD_ESCAPE, 0);
	EXPECT_ERROR("a=%\xff\xff", REELD_FORM_BAD_ESCAPE, 0);
}

Test(form, does_not_read_an_escape_past_the_end)
{
	struct reeld_form_field fields[1];
	char scratch[8];
	size_t count;

	/* the digits that follow belong to somebody else */
	cr_expect_eq(reeld_form_parse("a=%41", 4, fields, 1, scratch, sizeof(scratch), &count), REELD_FORM_BAD_ESCAPE);
	cr_expect_eq(reeld_form_parse("a=%41", 3, fields, 1, scratch, sizeof(scratch), &count), REELD_FORM_BAD_ESCAPE);
	cr_expect_eq(reeld_form_parse("a=%41", 5, fields, 1, scratch, sizeof(scratch), &count), REELD_FORM_OK);
}

Test(form, refuses_nul_raw_and_escaped)
{
	EXPECT_ERROR("a=1&b\0=2", REELD_FORM_NUL, 1);
	EXPECT_ERROR("a=1\0", REELD_FORM_NUL, 0);
	EXPECT_ERROR("\0", REELD_FORM_NUL, 0);
	EXPECT_ERROR("a=%00", REELD_FORM_NUL, 0);
	EXPECT_ERROR("a=1&x%00y=2", REELD_FORM_NUL, 1);
}

Test(form, stops_at_the_field_limit)
{
	struct reeld_form_field fields[2];
	char scratch[16];
	size_t count;

	cr_expect_eq(reeld_form_parse("a=1&b=2&&", 9, fields, 2, scratch, sizeof(scratch), &count), REELD_FORM_OK);
	cr_expect_eq(count, 2);
	cr_expect_eq(reeld_form_parse("a=1&b=2&c", 9, fields, 2, scratch, sizeof(scratch), &count), REELD_FORM_TOO_MANY_FIELDS);
	cr_expect_eq(count, 2);
	cr_expect_eq(reeld_form_parse("a", 1, NULL, 0, NULL, 0, &count), REELD_FORM_TOO_MANY_FIELDS);
	cr_expect_eq(reeld_form_parse(NULL, 0, NULL, 0, NULL, 0, &count), REELD_FORM_OK);
}

Test(form, uses_scratch_only_for_what_needs_decoding)
{
	static const char text[] = "Plain=value&Coded=a%20b";
	struct reeld_form_field fields[2];
	char scratch[4];
	size_t count;

	cr_assert_eq(reeld_form_parse(text, sizeof(text) - 1, fields, 2, scratch, 3, &count), REELD_FORM_OK);
	cr_expect(fields[0].name == text && fields[0].value == text + 6, "a plain field stays where it is");
	cr_expect(fields[1].value == scratch && fields[1].value_len == 3);
	cr_expect_eq(reeld_form_parse(text, sizeof(text) - 1, fields, 2, scratch, 2, &count), REELD_FORM_NO_ROOM);
	cr_expect_eq(reeld_form_parse(text, sizeof(text) - 1, fields, 2, NULL, 0, &count), REELD_FORM_NO_ROOM);
}

Test(form, finds_the_first_field_of_a_name)
{
	struct parsed p = parse("Sid=1&SidAccount=2&Sid=3&sid=4");

	cr_assert_eq(p.count, 4);
	cr_expect(reeld_form_find(p.fields, p.count, "Sid") == &p.fields[0]);
	cr_expect(reeld_form_find(p.fields, p.count, "SidAccount") == &p.fields[1]);
	cr_expect(reeld_form_find(p.fields, p.count, "sid") == &p.fields[3]);
	cr_expect(reeld_form_find(p.fields, p.count, "SidA") == NULL);
	cr_expect(reeld_form_find(p.fields, 0, "Sid") == NULL);
	release(&p);
}

Test(form, has_a_message_for_every_result)
{
	for (int result = REELD_FORM_OK; result >= REELD_FORM_NO_ROOM; result--)
		cr_expect(strlen(reeld_form_message((enum reeld_form_result)result)) > 0);
	cr_expect_str_eq(reeld_form_message(REELD_FORM_BAD_ESCAPE), "malformed percent escape");
	cr_expect_str_eq(reeld_form_message((enum reeld_form_result) - 99), "unknown form error");
}

/* Encodes each byte in one of the ways the format allows and must get it back. */
Test(form, decodes_whatever_was_encoded)
{
	srand(7);
	for (int round = 0; round < 3000; round++) {
		char plain[2][20];
		size_t plain_len[2];
		char text[256];
		size_t len = 0;

		for (int part = 0; part < 2; part++) {
			plain_len[part] = (size_t)rand() % sizeof(plain[part]) + 1;
			for (size_t i = 0; i < plain_len[part]; i++) {
				unsigned char c = (unsigned char)(rand() % 255 + 1);
				plain[part][i] = (char)c;
				if (c == ' ' && rand() % 2 == 0)
					text[len++] = '+';
				else if (strchr("&=%+", c) != NULL || rand() % 3 == 0)
					len += (size_t)snprintf(text + len, 4, rand() % 2 == 0 ? "%%%02x" : "%%%02X", c);
				else
					text[len++] = (char)c;
			}
			if (part == 0)
				text[len++] = '=';
		}
		struct parsed p = parse_bytes(text, len);
		cr_assert_eq(p.result, REELD_FORM_OK, "round %d: %.*s", round, (int)len, text);
		cr_assert_eq(p.count, 1);
		cr_assert(p.fields[0].name_len == plain_len[0] && memcmp(p.fields[0].name, plain[0], plain_len[0]) == 0);
		cr_assert(p.fields[0].value_len == plain_len[1] && memcmp(p.fields[0].value, plain[1], plain_len[1]) == 0);
		release(&p);
	}
}

/*
 * The inputs of web-platform-tests' url/resources/urlencoded-parser-data.json (3-Clause BSD License). Here names and values stay
 * bytes, so what is no UTF-8 is not replaced; and where a browser keeps a malformed escape as text, it is an error.
 */
Test(form, as_browsers_but_stricter)
{
	static const char *const same[][2] = {
		{"test", "test="},
		{"\xef\xbb\xbftest=\xef\xbb\xbf", "\xef\xbb\xbftest=\xef\xbb\xbf"},
		{"%EF%BB%BFtest=%EF%BB%BF", "\xef\xbb\xbftest=\xef\xbb\xbf"},
		{"%EF%BF%BF=%EF%BF%BF", "\xef\xbf\xbf=\xef\xbf\xbf"},
		{"%FE%FF", "\xfe\xff="},
		{"%FF%FE", "\xff\xfe="},
		{"\xe2\x80\xa0&\xe2\x80\xa0=x", "\xe2\x80\xa0=|\xe2\x80\xa0=x"},
		{"%C2", "\xc2="},
		{"%C2x", "\xc2x="},
		{"_charset_=windows-1252&test=%C2x", "_charset_=windows-1252|test=\xc2x"},
		{"", ""},
		{"a", "a="},
		{"a=b", "a=b"},
		{"a=", "a="},
		{"=b", "=b"},
		{"&", ""},
		{"&a", "a="},
		{"a&", "a="},
		{"a&a", "a=|a="},
		{"a&b&c", "a=|b=|c="},
		{"a=b&c=d", "a=b|c=d"},
		{"a=b&c=d&", "a=b|c=d"},
		{"&&&a=b&&&&c=d&", "a=b|c=d"},
		{"a=a&a=b&a=c", "a=a|a=b|a=c"},
		{"a==a", "a==a"},
		{"a=a+b+c+d", "a=a b c d"},
		{"%61=a", "a=a"},
		{"%61+%4d%4D=", "a MM="},
	};
	static const char *const malformed[] = {
		"%=a", "%a=a", "%a_=a", "id=0&value=%", "b=%2sf%2a", "b=%2%2af%2a", "b=%%2a",
	};

	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		expect_fields(same[i][0], same[i][1]);
	for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++) {
		struct parsed p = parse(malformed[i]);
		cr_expect_eq(p.result, REELD_FORM_BAD_ESCAPE, "%s", malformed[i]);
		release(&p);
	}
}
