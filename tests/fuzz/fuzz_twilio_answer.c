/* SPDX-License-Identifier: MIT */
/* What may answer in Twilio's place: every reader takes any bytes and ends its strings, and what it could not read is unknown. */
#include "base/check.h"
#include "twilio/answer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IS_ENDED(array) (memchr((array), '\0', sizeof(array)) != NULL)

/* Goes into logs as it is. */
static void check_plain(const char *text)
{
	for (; *text != '\0'; text++)
		REQUIRE((unsigned char)*text >= 0x20 && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sid account = {"AC00000000000000000000000000000001"};
	static const struct sid recording_sid = {"RE00000000000000000000000000000002"};
	static const struct sid call_sid = {"CA00000000000000000000000000000003"};
	const struct slice body = slice_make((const char *)data, size);
	struct twilio_answer_recording recording;
	struct twilio_answer_call call;
	struct twilio_answer_error error;

	int status = twilio_answer_recording(body, &account, &recording_sid, &recording);
	REQUIRE(IS_ENDED(recording.status) && IS_ENDED(recording.source) && IS_ENDED(recording.media_host));
	check_plain(recording.status);
	check_plain(recording.media_host);
	REQUIRE(recording.external || recording.media_host[0] == '\0');
	REQUIRE(recording.duration_s >= -1 && recording.channels >= 0 && recording.error_code >= 0);
	REQUIRE(status == 0 || (recording.status[0] == '\0' && recording.duration_s == -1 && !recording.external));

	status = twilio_answer_call(body, &call_sid, &call);
	REQUIRE(IS_ENDED(call.from) && IS_ENDED(call.to) && IS_ENDED(call.status) && call.duration_s >= -1);
	REQUIRE(status == 0 || (call.from[0] == '\0' && call.duration_s == -1));

	twilio_answer_error(body, &error);
	REQUIRE(IS_ENDED(error.message) && error.code >= 0);
	check_plain(error.message);
	return 0;
}
