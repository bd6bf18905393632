/* SPDX-License-Identifier: MIT */
/*
 * The answers of a webhook: the texts of the contract, formatted once, each with its counter. A connection gets one of them,
 * and is not touched afterwards. `received_ns` is when the request was complete, for the duration's histogram.
 */
#ifndef REELD_INTAKE_ANSWERS_H
#define REELD_INTAKE_ANSWERS_H

#include "base/metrics.h"
#include "intake/connection.h"
#include "twilio/event.h"

/* FIXED(ID, status, outcome, headers, body): the contract's answers that never vary. */
#define FIXED_ANSWERS                                                                                                       \
	FIXED(ACCEPTED, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording accepted\"}")                       \
	FIXED(DUPLICATE, 200, DUPLICATE, NULL, "{\"success\":true,\"message\":\"Recording accepted\"}")                     \
	FIXED(FAILURE, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording failure acknowledged\"}")            \
	FIXED(IN_PROGRESS, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording in progress acknowledged\"}")    \
	FIXED(ABSENT, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording absent acknowledged\"}")              \
	FIXED(UNKNOWN, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Unknown status acknowledged\"}")               \
	FIXED(SKIPPED, 200, ACCEPTED, NULL,                                                                                 \
	      "{\"success\":true,\"message\":\"Recording received but call not found in database\"}")                       \
	FIXED(MISSING, 400, BAD_REQUEST, NULL, "{\"error\":\"Missing required fields: CallSid or RecordingSid\"}")          \
	FIXED(FORBIDDEN, 403, INVALID_SIGNATURE, NULL, "{\"error\":\"Invalid request signature\"}")                         \
	FIXED(METHOD, 405, BAD_REQUEST, "Allow: GET, POST\r\n", "{\"error\":\"Method not allowed\"}")                       \
	FIXED(MEDIA_TYPE, 415, BAD_REQUEST, NULL, "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}") \
	FIXED(INTERNAL, 500, FAILED, NULL, "{\"error\":\"Internal server error processing recording\"}")                    \
	FIXED(FETCH_FAILED, 502, FAILED, NULL, "{\"error\":\"Failed to fetch recording from Twilio\"}")                     \
	FIXED(STORE_FAILED, 502, FAILED, NULL, "{\"error\":\"Failed to upload recording to storage\"}")                     \
	FIXED(UNAVAILABLE, 503, UNAVAILABLE, "Retry-After: 5\r\n", "{\"error\":\"Temporarily unable to store the event\"}")

enum answer {
#define FIXED(ID, status, outcome, headers, body) ANSWER_##ID,
	FIXED_ANSWERS
#undef FIXED
		ANSWER_COUNT
};

struct answers {
	struct reply_fixed fixed[ANSWER_COUNT];
	struct metric *fixed_count[ANSWER_COUNT];
	struct metric *now_count;
	struct metric *before_count;
	struct metric *malformed_count;
	struct histogram *duration;
};

/* 0 or ERR_NOMEM. The registry outlives it. */
int answers_init(struct answers *answers, struct metrics *metrics);

void answers_fixed(struct answers *answers, struct connection *connection, uint64_t received_ns, enum answer answer);
/* 400 with what is wrong. */
void answers_malformed(struct answers *answers, struct connection *connection, uint64_t received_ns, const char *message);
/* 200 with the URL of the stored recording. */
enum answered { ANSWERED_NOW, ANSWERED_BEFORE };
void answers_archived(struct answers *answers, struct connection *connection, uint64_t received_ns, enum answered when,
		      const char *url);

/* What acknowledges an event of this status. */
enum answer answer_for_status(enum recording_status status);

#endif
