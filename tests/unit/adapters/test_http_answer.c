/* SPDX-License-Identifier: MIT */
#include "adapters/http_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct http_client_request request;

static int line(const char *text)
{
	return http_answer_header(&request, slice_from_cstr(text), 1650498325000);
}

static void set_up(void)
{
	http_answer_reset(&request);
}

TestSuite(http_answer, .init = set_up);

Test(http_answer, names_are_compared_without_case_and_values_trimmed)
{
	cr_assert_eq(line("CONTENT-LENGTH:\t 42 \r\n"), 0);
	cr_assert_eq(line("content-type:audio/x-wav\r\n"), 0);
	cr_assert_eq(line("eTag: \"x\"\n"), 0);
	cr_assert_eq(request.content_length, 42);
	cr_assert_str_eq(request.content_type, "audio/x-wav");
	cr_assert_str_eq(request.etag, "\"x\"");
	http_answer_reset(&request);
	cr_assert_eq(request.content_length, -1);
	cr_assert_str_eq(request.etag, "");
}

Test(http_answer, lines_of_no_interest_and_of_no_sense_are_passed_over)
{
	cr_assert_eq(line(""), 0);
	cr_assert_eq(line("HTTP/1.1 200 OK"), 0);
	cr_assert_eq(line(": x"), 0);
	cr_assert_eq(line("X-Content-Length: 5"), 0);
	cr_assert_eq(line("Content-Length : 5"), 0);
	cr_assert_eq(request.content_length, -1);
}

Test(http_answer, lengths_must_be_numbers_and_agree)
{
	cr_assert_eq(line("Content-Length: 5"), 0);
	cr_assert_eq(line("Content-Length: 5"), 0);
	cr_assert_eq(line("Content-Length: 6"), ERR_PROTOCOL);
	const char *const bad[] = {"Content-Length:", "Content-Length: +5", "Content-Length: 5 5", "Content-Length: 5,5",
				   "Content-Length: 9223372036854775808"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		http_answer_reset(&request);
		cr_assert_eq(line(bad[i]), ERR_PROTOCOL, "%s", bad[i]);
	}
	cr_assert_eq(line("Content-Length: 9223372036854775807"), 0);
	cr_assert_eq(request.content_length, INT64_MAX);
}

Test(http_answer, retry_after_in_both_forms_and_within_reason)
{
	cr_assert_eq(line("Retry-After: 120"), 0);
	cr_assert_eq(request.retry_after_ms, 120000);
	line("Retry-After: Wed, 20 Apr 2022 23:45:35 GMT");
	cr_assert_eq(request.retry_after_ms, 10000);
	line("Retry-After: Wed, 20 Apr 2022 23:45:15 GMT");
	cr_assert_eq(request.retry_after_ms, 0, "a date that has passed");
	line("Retry-After: 99999999999999");
	cr_assert_eq(request.retry_after_ms, 7 * 86400 * INT64_C(1000));
	line("Retry-After: Wed, 20 Apr 2122 23:45:15 GMT");
	cr_assert_eq(request.retry_after_ms, 7 * 86400 * INT64_C(1000));
	line("Retry-After: soon");
	cr_assert_eq(request.retry_after_ms, -1);
	line("Retry-After: -1");
	cr_assert_eq(request.retry_after_ms, -1);
}

Test(http_answer, a_value_that_does_not_fit_is_left_out_whole)
{
	char text[1200] = "Location: ";
	memset(text + 10, 'a', 1023);
	cr_assert_eq(line(text), 0);
	cr_assert_eq(strlen(request.location), 1023);
	memset(text + 10, 'a', 1024);
	cr_assert_eq(line(text), 0);
	cr_assert_str_eq(request.location, "");
}
