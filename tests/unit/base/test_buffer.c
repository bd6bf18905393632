/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/err.h"

#include <criterion/criterion.h>

static struct slice s(const char *text)
{
	return slice_from_cstr(text);
}

Test(buffer, grows_up_to_its_maximum_and_not_a_byte_further)
{
	struct buffer buffer;
	buffer_init(&buffer, 300);
	for (int i = 0; i < 300; i++)
		cr_assert_eq(buffer_append_char(&buffer, 'x'), 0);
	cr_assert_not(buffer.failed);
	cr_assert_eq(buffer_append_char(&buffer, 'y'), ERR_LIMIT);
	cr_assert(buffer.failed);
	cr_assert_eq(buffer.len, 300);
	buffer_free(&buffer);
}

Test(buffer, a_failed_append_leaves_the_contents_and_the_mark_stays)
{
	struct buffer buffer;
	buffer_init(&buffer, 8);
	buffer_append_cstr(&buffer, "1234567");
	cr_assert_eq(buffer_append_cstr(&buffer, "89"), ERR_LIMIT);
	cr_assert_eq(buffer_printf(&buffer, "%d", 89), ERR_LIMIT);
	cr_assert_eq(buffer_append_json(&buffer, s("a\n")), ERR_LIMIT);
	cr_assert_eq(buffer_append_percent(&buffer, s("a b"), false), ERR_LIMIT);
	cr_assert_eq(buffer_append_char(&buffer, '8'), 0);
	cr_assert(slice_equal(buffer_slice(&buffer), SLICE("12345678")));
	cr_assert(buffer.failed);
	buffer_clear(&buffer);
	cr_assert_not(buffer.failed);
	cr_assert_eq(buffer.len, 0);
	buffer_free(&buffer);
}

Test(buffer, a_huge_reservation_is_a_limit_and_not_an_overflow)
{
	struct buffer buffer;
	buffer_init(&buffer, SIZE_MAX);
	buffer_append_char(&buffer, 'x');
	cr_assert_eq(buffer_reserve(&buffer, SIZE_MAX), ERR_LIMIT);
	cr_assert_eq(buffer_reserve(&buffer, SIZE_MAX / 2), ERR_NOMEM);
	cr_assert_eq(buffer.data[0], 'x');
	buffer_free(&buffer);
}

Test(buffer, cstr_ends_a_full_buffer_and_does_not_touch_the_failed_mark)
{
	struct buffer buffer;
	buffer_init(&buffer, 4);
	cr_assert_str_eq(buffer_cstr(&buffer), "");
	buffer_append_cstr(&buffer, "full");
	cr_assert_str_eq(buffer_cstr(&buffer), "full");
	cr_assert_eq(buffer.len, 4);
	cr_assert_not(buffer.failed);
	buffer_free(&buffer);
}

Test(buffer, is_usable_after_free)
{
	struct buffer buffer;
	buffer_init(&buffer, 16);
	buffer_append_cstr(&buffer, "one");
	buffer_free(&buffer);
	buffer_append_cstr(&buffer, "two");
	cr_assert_str_eq(buffer_cstr(&buffer), "two");
	buffer_free(&buffer);
	buffer_free(&buffer);
}

Test(buffer, printf_appends_longer_texts_than_the_first_allocation)
{
	struct buffer buffer;
	buffer_init(&buffer, 4096);
	cr_assert_eq(buffer_printf(&buffer, "%0500d|%s", 7, "end"), 0);
	cr_assert_eq(buffer.len, 504);
	cr_assert_str_eq(buffer_cstr(&buffer) + 499, "7|end");
	buffer_free(&buffer);
}

Test(buffer, json_escapes_what_rfc_8259_wants_and_replaces_broken_utf8)
{
	static const struct {
		const char *in;
		const char *out;
	} rows[] = {
		{"", ""},
		{"plain", "plain"},
		{"a\"b\\c", "a\\\"b\\\\c"},
		{"\n\r\t\x01\x1f", "\\n\\r\\t\\u0001\\u001f"},
		{"\x7f/", "\x7f/"},
		{"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
		{"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                 /* overlong NUL */
		{"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* surrogate */
		{"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* above U+10FFFF */
		{"x\xE2\x82", "x\xEF\xBF\xBD\xEF\xBF\xBD"},                               /* cut short */
		{"\xFFz", "\xEF\xBF\xBDz"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer buffer;
		buffer_init(&buffer, 256);
		cr_assert_eq(buffer_append_json(&buffer, s(rows[i].in)), 0);
		cr_expect_str_eq(buffer_cstr(&buffer), rows[i].out, "row %zu", i);
		buffer_free(&buffer);
	}
}

Test(buffer, json_keeps_a_nul_byte_as_an_escape)
{
	struct buffer buffer;
	buffer_init(&buffer, 64);
	buffer_append_json(&buffer, slice_make("a\0b", 3));
	cr_assert_str_eq(buffer_cstr(&buffer), "a\\u0000b");
	buffer_free(&buffer);
}

Test(buffer, percent_encodes_all_but_unreserved_characters)
{
	struct buffer buffer;
	buffer_init(&buffer, 256);
	buffer_append_percent(&buffer, s("AZaz09-._~ /+%\xC3\xA9"), false);
	buffer_append_char(&buffer, '|');
	buffer_append_percent(&buffer, s("a/b c"), true);
	cr_assert_str_eq(buffer_cstr(&buffer), "AZaz09-._~%20%2F%2B%25%C3%A9|a/b%20c");
	buffer_free(&buffer);
}
