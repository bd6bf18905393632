/* SPDX-License-Identifier: MIT */
/* The list of recordings over HTTP: what is asked for, page by page, and what an answer may not be. */
#include "base/check.h"
#include "base/turn.h"
#include "loop/support/peer.h"
#include "twilio/accounts.h"
#include "twilio/answer.h"
#include "twilio/client.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AC "AC00000000000000000000000000000001"
#define RE "RE00000000000000000000000000000002"
#define TOKEN "0123456789abcdef0123456789abcdef"
#define LIST "/2010-04-01/Accounts/" AC "/Recordings.json"
#define DAY INT64_C(86400000)
#define MAY_FIRST INT64_C(1777593600000) /* 2026-05-01 */

static uv_loop_t loop;
static struct http_client *http;
static struct twilio_accounts *accounts;
static struct twilio_client *client;
static struct peer *peer;

static void set_up(void)
{
	const struct http_client_options options = {0};
	struct error error;
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	REQUIRE(uv_loop_init(&loop) == 0);
	http = http_client_new(&loop, &options);
	accounts = twilio_accounts_new();
	REQUIRE(http != NULL && accounts != NULL && twilio_accounts_add(accounts, AC, TOKEN, NULL, NULL, &error) == 0);
}

static void on_closed(void *data)
{
	(void)data;
}

static void tear_down(void)
{
	peer_close(peer);
	twilio_client_free(&client);
	twilio_accounts_free(&accounts);
	http_client_close(http, on_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
}

TestSuite(twilio_list, .init = set_up, .fini = tear_down, .timeout = 30);

static void serve(const struct peer_script *scripts, size_t count)
{
	char base[64];
	peer = peer_new(&loop, "127.0.0.1", scripts, count);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d/", peer_port(peer));
	const struct twilio_client_options options = {.http = http, .base = base, .accounts = accounts};
	client = twilio_client_new(&options);
	REQUIRE(client != NULL);
}

static const char *page(char *out, size_t size, const char *entries, const char *next)
{
	char body[2048];
	int len = snprintf(body, sizeof(body), "{\"recordings\":[%s],\"next_page_uri\":%s}", entries, next);
	snprintf(out, size, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len, body);
	return out;
}

static void on_done(struct twilio_request *request, int status)
{
	int *answer = request->data;
	*answer = status;
}

static int run(struct twilio_request *request)
{
	int answer = -1;
	request->op = TWILIO_LIST_RECORDINGS;
	memcpy(request->account_sid.text, AC, sizeof(AC));
	request->done = on_done;
	request->data = &answer;
	int status = twilio_start(client, request);
	if (status != 0)
		return status;
	for (unsigned turns = 0; answer == -1; turns++) {
		cr_assert_lt(turns, 100000);
		turn_run(&loop);
	}
	return answer;
}

static void check_asked(unsigned n, const char *target)
{
	char line[512];
	snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n", target);
	const char *text = peer_request(peer, n);
	cr_assert(strncmp(text, line, strlen(line)) == 0, "%s", text);
	/* base64("AC…01:0123…") */
	cr_assert(strstr(text, "\r\nAuthorization: Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTow") != NULL, "%s", text);
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
	serve(scripts, 2);
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
	check_asked(0, LIST "?PageSize=3&DateCreated=2026-05-01");
	check_asked(1, LIST "?DateCreated=2026-05-01&PageSize=3&Page=1&PageToken=PA" RE);
	check_asked(2, LIST "?PageSize=1000&DateCreated%3E=2026-05-01&DateCreated%3C=2026-05-03");
}

Test(twilio_list, a_page_elsewhere_is_neither_asked_for_nor_believed)
{
	char answer[4096];
	const struct peer_script scripts[] = {
		{.answer = page(answer, sizeof(answer), "", "\"https://evil.example" LIST "?Page=1\"")}};
	serve(scripts, 1);
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
	cr_assert_eq(peer_requests(peer), 1);
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
	serve(scripts, 3);
	for (size_t i = 0; i < 3; i++) {
		struct twilio_request request = {.from_ms = MAY_FIRST, .to_ms = MAY_FIRST, .page_size = 50};
		cr_assert_eq(run(&request), expected[i], "%zu: %s", i, request.error.detail);
		if (i == 0)
			cr_assert_eq(request.http.retry_after_ms, 7000);
		cr_assert_eq(request.listed_count, 0);
		twilio_request_release(&request);
	}
}
