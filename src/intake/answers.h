/* SPDX-License-Identifier: MIT */
/*
 * The answers of a webhook: texts formatted once, each with its counter. A connection gets one of them,
 * and is not touched afterwards. `received_ns` is when the request was complete, for the duration's histogram.
 */
#ifndef REELD_INTAKE_ANSWERS_H
#define REELD_INTAKE_ANSWERS_H

#include "base/metrics.h"
#include "intake/connection.h"
#include "twilio/event.h"

enum endpoint { ENDPOINT_RECORDING, ENDPOINT_INCOMING, ENDPOINT_STATUS, ENDPOINT_COUNT };

#define ON_RECORDING (1U << ENDPOINT_RECORDING)
#define ON_INCOMING (1U << ENDPOINT_INCOMING)
#define ON_STATUS (1U << ENDPOINT_STATUS)
#define ON_CALLS (ON_INCOMING | ON_STATUS)
#define ON_ALL (ON_RECORDING | ON_CALLS)

/* FIXED(ID, endpoints, status, outcome, headers, body): the answers that never vary, and where they are given; those of recordings are the contract's. */
#define FIXED_ANSWERS                                                                                                            \
	FIXED(ACCEPTED, ON_RECORDING, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording accepted\"}")              \
	FIXED(DUPLICATE, ON_RECORDING, 200, DUPLICATE, NULL, "{\"success\":true,\"message\":\"Recording accepted\"}")            \
	FIXED(FAILURE, ON_RECORDING, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording failure acknowledged\"}")   \
	FIXED(IN_PROGRESS, ON_RECORDING, 200, ACCEPTED, NULL,                                                                    \
	      "{\"success\":true,\"message\":\"Recording in progress acknowledged\"}")                                           \
	FIXED(ABSENT, ON_RECORDING, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Recording absent acknowledged\"}")     \
	FIXED(UNKNOWN, ON_RECORDING | ON_STATUS, 200, ACCEPTED, NULL,                                                            \
	      "{\"success\":true,\"message\":\"Unknown status acknowledged\"}")                                                  \
	FIXED(SKIPPED, ON_RECORDING, 200, ACCEPTED, NULL,                                                                        \
	      "{\"success\":true,\"message\":\"Recording received but call not found in database\"}")                            \
	FIXED(CALL_STATUS, ON_STATUS, 200, ACCEPTED, NULL, "{\"success\":true,\"message\":\"Call status accepted\"}")            \
	FIXED(MISSING, ON_RECORDING, 400, BAD_REQUEST, NULL, "{\"error\":\"Missing required fields: CallSid or RecordingSid\"}") \
	FIXED(CALL_MISSING, ON_CALLS, 400, BAD_REQUEST, NULL, "{\"error\":\"Missing required fields: CallSid\"}")                \
	FIXED(FORBIDDEN, ON_ALL, 403, INVALID_SIGNATURE, NULL, "{\"error\":\"Invalid request signature\"}")                      \
	FIXED(METHOD, ON_ALL, 405, BAD_REQUEST, "Allow: GET, POST\r\n", "{\"error\":\"Method not allowed\"}")                    \
	FIXED(MEDIA_TYPE, ON_ALL, 415, BAD_REQUEST, NULL,                                                                        \
	      "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}")                                          \
	FIXED(INTERNAL, ON_RECORDING, 500, FAILED, NULL, "{\"error\":\"Internal server error processing recording\"}")           \
	FIXED(CALL_INTERNAL, ON_INCOMING, 500, FAILED, NULL, "{\"error\":\"Internal server error processing call\"}")            \
	FIXED(FETCH_FAILED, ON_RECORDING, 502, FAILED, NULL, "{\"error\":\"Failed to fetch recording from Twilio\"}")            \
	FIXED(STORE_FAILED, ON_RECORDING, 502, FAILED, NULL, "{\"error\":\"Failed to upload recording to storage\"}")            \
	FIXED(UNAVAILABLE, ON_ALL, 503, UNAVAILABLE, "Retry-After: 5\r\n",                                                       \
	      "{\"error\":\"Temporarily unable to store the event\"}")

enum answer {
#define FIXED(ID, endpoints, status, outcome, headers, body) ANSWER_##ID,
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
	struct metrics *metrics;
	enum endpoint endpoint;
	struct histogram *duration;
};

/* 0 or ERR_NOMEM. The registry outlives it. Only the endpoint's own answers may be given. */
int answers_init(struct answers *answers, enum endpoint endpoint, struct metrics *metrics);

void answers_fixed(struct answers *answers, struct connection *connection, uint64_t received_ns, enum answer answer);
/* The server refused the request by itself, before there was one to answer: counts that. */
void answers_refused(struct answers *answers, int status);
/* 400 with what is wrong. */
void answers_malformed(struct answers *answers, struct connection *connection, uint64_t received_ns, const char *message);
/* 200 with a document for Twilio. */
void answers_twiml(struct answers *answers, struct connection *connection, uint64_t received_ns, struct slice document);
/* 200 with the URL of the stored recording. */
enum answered { ANSWERED_NOW, ANSWERED_BEFORE };
void answers_archived(struct answers *answers, struct connection *connection, uint64_t received_ns, enum answered when,
		      const char *url);

/* What acknowledges an event of this status. */
enum answer answer_for_status(enum recording_status status);

#endif
