/* SPDX-License-Identifier: MIT */
/* Pages as Twilio's OpenAPI document twilio_api_v2010 describes ListRecordingResponse and api.v2010.account.recording. */
#include "base/err.h"
#include "twilio/answer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AC "AC00000000000000000000000000000001"
#define OTHER "AC00000000000000000000000000000009"
#define RE1 "RE00000000000000000000000000000002"
#define RE2 "RE00000000000000000000000000000003"
#define CA "CA00000000000000000000000000000003"
#define CF "CF00000000000000000000000000000004"
#define LIST "/2010-04-01/Accounts/" AC "/Recordings.json"
#define NEXT LIST "?PageSize=2&Page=1&PageToken=PA" RE2
#define ENTRY(sid, more)                                                                                                       \
	"{\"account_sid\":\"" AC "\",\"api_version\":\"2010-04-01\",\"call_sid\":\"" CA "\",\"conference_sid\":null,"          \
	"\"date_created\":\"Fri, 14 Oct 2016 21:56:34 +0000\",\"date_updated\":\"Fri, 14 Oct 2016 21:56:38 +0000\","           \
	"\"start_time\":\"Fri, 14 Oct 2016 21:56:30 +0000\",\"price\":\"-0.00250\",\"price_unit\":\"USD\",\"duration\":\"4\"," \
	"\"sid\":\"" sid "\",\"source\":\"Trunking\",\"status\":\"completed\",\"error_code\":null,\"channels\":1,"             \
	"\"uri\":\"/2010-04-01/Accounts/" AC "/Recordings/" sid ".json\",\"media_url\":\"http://api.twilio.com/2010-04-01/"    \
	"Accounts/" AC "/Recordings/" sid "\"" more "}"
#define PAGE(entries, next)                                                                                               \
	"{\"end\":1,\"first_page_uri\":\"" LIST "?PageSize=2&Page=0\",\"next_page_uri\":" next                            \
	",\"page\":0,\"page_size\":2,\"previous_page_uri\":null,\"recordings\":[" entries "],\"start\":0,\"uri\":\"" LIST \
	"?PageSize=2&Page=0\"}"

static const struct sid account = {AC};

static int read_list(const char *json, struct twilio_answer_list *out)
{
	return twilio_answer_list(slice_from_cstr(json), &account, 2, out);
}

Test(twilio_answer_list, a_page_as_twilio_describes_it)
{
	struct twilio_answer_list list;
	cr_assert_eq(
		read_list(PAGE(ENTRY(RE1, ",\"encryption_details\":{\"encryption_public_key_sid\":\"CR1\",\"encryption_cek\":"
					  "\"a+/=\",\"encryption_iv\":\"b\"}") "," ENTRY(RE2, ",\"encryption_details\":null"),
			       "\"" NEXT "\""),
			  &list),
		0);
	cr_assert_eq(list.count, 2);
	const struct twilio_listed *first = &list.items[0];
	cr_assert_str_eq(first->recording_sid.text, RE1);
	cr_assert_str_eq(first->about.call_sid.text, CA);
	cr_assert(!sid_is_set(&first->about.conference_sid));
	cr_assert_str_eq(first->about.status, "completed");
	cr_assert_str_eq(first->about.source, "Trunking");
	cr_assert_eq(first->about.duration_s, 4);
	cr_assert_eq(first->about.channels, 1);
	cr_assert_eq(first->about.start_time_ms, 1476482190000);
	cr_assert_eq(first->created_ms, 1476482194000);
	cr_assert_eq(first->about.error_code, 0);
	cr_assert(!first->about.external);
	cr_assert_str_eq(first->encryption,
			 "{\"encryption_cek\":\"a+/=\",\"encryption_iv\":\"b\",\"encryption_public_key_sid\":\"CR1\"}");
	cr_assert_null(list.items[1].encryption);
	cr_assert_str_eq(list.next_page, NEXT);
	twilio_answer_list_free(&list);
	twilio_answer_list_free(&list);
}

Test(twilio_answer_list, null_ends_the_list_and_a_page_may_be_empty)
{
	struct twilio_answer_list list;
	cr_assert_eq(read_list(PAGE("", "null"), &list), 0);
	cr_assert_eq(list.count, 0);
	cr_assert_str_eq(list.next_page, "");
	twilio_answer_list_free(&list);
	/* An entry of which only the SIDs can be read is one all the same. */
	cr_assert_eq(read_list(PAGE("{\"sid\":\"" RE1 "\",\"account_sid\":\"" AC "\",\"date_created\":7}", "null"), &list), 0);
	cr_assert_eq(list.items[0].created_ms, -1);
	cr_assert_str_eq(list.items[0].about.status, "");
	twilio_answer_list_free(&list);
}

Test(twilio_answer_list, what_is_not_a_page_is_never_the_end_of_the_list)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"null",
		"{}",
		"{\"recordings\":[]}",
		"{\"recordings\":{},\"next_page_uri\":null}",
		"{\"recordings\":[],\"next_page_uri\":7}",
		"{\"next_page_uri\":null}",
		"{\"code\":20003,\"message\":\"Authenticate\",\"status\":401}",
		PAGE("7", "null"),
		PAGE("{}", "null"),
		PAGE("{\"sid\":\"" CA "\",\"account_sid\":\"" AC "\"}", "null"),
		PAGE("{\"sid\":\"" RE1 "\",\"account_sid\":\"" OTHER "\"}", "null"),
		PAGE("{\"sid\":\"" RE1 "\"}", "null"),
		PAGE(ENTRY(RE1, "") "," ENTRY(RE2, "") "," ENTRY(RE1, ""), "null"),
		PAGE(ENTRY(RE1, "") ",7", "null"),
	};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct twilio_answer_list list;
		cr_assert_eq(read_list(bodies[i], &list), ERR_PROTOCOL, "%s", bodies[i]);
		cr_assert_eq(list.count, 0);
		cr_assert_null(list.items);
		cr_assert_not_null(list.problem);
	}
}

Test(twilio_answer_list, the_next_page_is_on_the_same_list)
{
	static const char *const refused[] = {
		"",
		"http://evil.example" NEXT,
		"//evil.example" NEXT,
		"@evil.example" NEXT,
		".evil.example/",
		LIST,
		"/2010-04-01/Accounts/" OTHER "/Recordings.json?Page=1",
		"/2010-04-01/Accounts/" AC "/Recordings.json/../../Calls.json?Page=1",
		LIST "?Page=1#fragment",
		LIST "?Page=1 HTTP/1.1",
		LIST "?Page=\\r\\nHost: evil.example",
		LIST "?Page=\\u00e9",
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct twilio_answer_list list;
		char body[1024];
		snprintf(body, sizeof(body), "{\"recordings\":[],\"next_page_uri\":\"%s\"}", refused[i]);
		cr_assert_eq(read_list(body, &list), ERR_PROTOCOL, "%s", refused[i]);
	}
	char longest[TWILIO_NEXT_PAGE_SIZE + 1];
	int len = snprintf(longest, sizeof(longest), "%s?", LIST);
	memset(longest + len, 'x', sizeof(longest) - (size_t)len);
	cr_assert(twilio_answer_is_next_page(slice_make(longest, TWILIO_NEXT_PAGE_SIZE - 1), &account));
	cr_assert(!twilio_answer_is_next_page(slice_make(longest, TWILIO_NEXT_PAGE_SIZE), &account));
}
