/* SPDX-License-Identifier: MIT */
/* Pages of Twilio's list of recordings: whatever a server answers, what is taken from it is whole, and the next page is nowhere else. */
#include "base/check.h"
#include "base/err.h"
#include "twilio/answer.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sid account = {"AC00000000000000000000000000000001"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct twilio_answer_list list;
	struct sid again;
	int status = twilio_answer_list(slice_make((const char *)data, size), &account, 4, &list);
	REQUIRE(status == 0 || status == ERR_PROTOCOL || status == ERR_NOMEM);
	REQUIRE(status == 0 || (list.count == 0 && list.items == NULL));
	REQUIRE(list.count <= 4);
	if (list.next_page[0] != '\0')
		REQUIRE(twilio_answer_is_next_page(slice_from_cstr(list.next_page), &account));
	for (size_t i = 0; i < list.count; i++) {
		const struct twilio_listed *item = &list.items[i];
		REQUIRE(sid_parse(slice_from_cstr(item->recording_sid.text), "RE", &again));
		REQUIRE(!sid_is_set(&item->about.call_sid) ||
			sid_parse(slice_from_cstr(item->about.call_sid.text), "CA", &again));
		REQUIRE(item->created_ms >= -1 && item->about.duration_s >= -1 && item->about.channels >= 0);
		REQUIRE(item->encryption == NULL || item->encryption[0] == '{');
	}
	twilio_answer_list_free(&list);
	return 0;
}
