/* SPDX-License-Identifier: MIT */
/* The list of recordings over HTTP: what is asked for, page by page, and what an answer may not be. */
#include "loop/twilio/fixture.h"
#include "twilio/answer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define LIST "/2010-04-01/Accounts/" AC "/Recordings.json"
#define DAY INT64_C(86400000)
#define MAY_FIRST INT64_C(1777593600000) /* 2026-05-01 */

TestSuite(twilio_list, .init = fixture_init, .fini = fixture_end, .timeout = 30);

static const char *page(char *out, size_t size, const char *entries, const char *next)
{
	char body[2048];
	int len = snprintf(body, sizeof(body), "{\"recordings\":[%s],\"next_page_uri\":%s}", entries, next);
	snprintf(out, size, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len, body);
	return out;
}

struct answer {
	unsigned done;
	int status;
};

static void on_done(struct twilio_request *request, int status)
{
	struct answer *answer = request->data;
	answer->done++;
	answer->status = status;
}

static int run(struct twilio_request *request)
{
	struct answer answer = {0};
	request->op = TWILIO_LIST_RECORDINGS;
	memcpy(request->account_sid.text, AC, sizeof(AC));
	request->done = on_done;
	request->data = &answer;
	int status = twilio_start(fx.client, request);
	if (status != 0)
		return status;
	fixture_wait(&answer.done);
	cr_assert_eq(answer.done, 1);
	return answer.status;
}

Test(twilio_list, one_day_by_its_name_several_as_a_range_and_the_next_page_as_it_was_said)
{
	char first[4096], last[4096];
	const struct peer_script scripts[] = {
		{.answer = page(first, sizeof(first), "{\"sid\":\"" RE "\",\"account_sid\":\"" AC "\",\"status\":\"completed\"}",
				"\"" LIST "?DateCreated=2026-05-01&PageSize=3&Page=1&PageToken=PA" RE "\"")},
		{.answer = page(last, sizeof(last), "", "null")},
	};
	char next[TWILIO_NEXT_PAGE_SIZE];
	fixture_serve(scripts, 2);
	struct twilio_request request = {.from_ms = MAY_FIRST, .to_ms = MAY_FIRST + DAY - 1, .page_size = 3};
	cr_assert_eq(run(&request), 0, "%s", request.error.detail);
	cr_assert_eq(request.listed_count, 1);
	cr_assert_str_eq(request.listed[0].recording_sid.text, RE);
	snprintf(next, sizeof(next), "%s", request.listed_next);
	twilio_request_release(&request);
	cr_assert_eq(request.listed_count, 0);

	request = (struct twilio_request){.next_page = next};
	cr_assert_eq(run(&request), 0, "%s", request.error.detail);
	cr_assert_eq(request.listed_count, 0);
	cr_assert_str_eq(request.listed_next, "");
	twilio_request_release(&request);

	request = (struct twilio_request){.from_ms = MAY_FIRST + 5, .to_ms = MAY_FIRST + DAY, .page_size = 1000};
	cr_assert_eq(run(&request), 0, "%s", request.error.detail);
	twilio_request_release(&request);
	fixture_check_request(0, "GET " LIST "?PageSize=3&DateCreated=2026-05-01"
				 " HTTP/1.1\r\n");
	fixture_check_request(1, "GET " LIST "?DateCreated=2026-05-01&PageSize=3&Page=1&PageToken=PA" RE " HTTP/1.1\r\n");
	fixture_check_request(2, "GET " LIST "?PageSize=1000&DateCreated%3E=2026-05-01&DateCreated%3C=2026-05-03"
				 " HTTP/1.1\r\n");
}

Test(twilio_list, a_page_elsewhere_is_neither_asked_for_nor_believed)
{
	char answer[4096];
	const struct peer_script scripts[] = {
		{.answer = page(answer, sizeof(answer), "", "\"https://evil.example" LIST "?Page=1\"")}};
	fixture_serve(scripts, 1);
	struct twilio_request request = {.from_ms = MAY_FIRST, .to_ms = MAY_FIRST, .page_size = 50};
	cr_assert_eq(run(&request), ERR_PROTOCOL);
	cr_assert(strstr(request.error.detail, "next_page_uri does not lead to this account's list") != NULL, "%s",
		  request.error.detail);
	cr_assert_eq(request.listed_count, 0);
	twilio_request_release(&request);
	request = (struct twilio_request){.next_page = "@evil.example/"};
	cr_assert_eq(run(&request), ERR_INVALID);
	request = (struct twilio_request){.from_ms = MAY_FIRST, .to_ms = MAY_FIRST, .page_size = 1001};
	cr_assert_eq(run(&request), ERR_INVALID);
	request = (struct twilio_request){.from_ms = MAY_FIRST, .to_ms = MAY_FIRST - 1, .page_size = 50};
	cr_assert_eq(run(&request), ERR_INVALID);
	cr_assert_eq(peer_requests(fx.peer), 1);
}

Test(twilio_list, an_answer_that_is_no_page_is_an_error)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: "
			   "28\r\n\r\n{\"code\":20429,\"message\":\"x\"}"},
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<TwilioResponse></Tw"},
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", .body_bytes = 5000000},
	};
	static const int expected[] = {ERR_HTTP_THROTTLED, ERR_PROTOCOL, ERR_TOO_LARGE};
	fixture_serve(scripts, 3);
	for (size_t i = 0; i < 3; i++) {
		struct twilio_request request = {.from_ms = MAY_FIRST, .to_ms = MAY_FIRST, .page_size = 50};
		cr_assert_eq(run(&request), expected[i], "%zu: %s", i, request.error.detail);
		if (i == 0)
			cr_assert_eq(request.http.retry_after_ms, 7000);
		cr_assert_eq(request.listed_count, 0);
		twilio_request_release(&request);
	}
}
