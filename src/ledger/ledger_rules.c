/* SPDX-License-Identifier: MIT */
#include "ledger/ledger_rules.h"

#include "base/check.h"

#include <string.h>

enum ledger_change ledger_rule_event(enum ledger_status status, bool completed_known, enum recording_status event)
{
	if (completed_known)
		return LEDGER_CHANGE_NONE;
	switch (event) {
	case RECORDING_COMPLETED:
		return status == LEDGER_PENDING || status == LEDGER_ABSENT || status == LEDGER_FAILED ? LEDGER_CHANGE_START
												      : LEDGER_CHANGE_NONE;
	case RECORDING_ABSENT:
	case RECORDING_FAILED:
		return status == LEDGER_PENDING ? LEDGER_CHANGE_END : LEDGER_CHANGE_NONE;
	case RECORDING_IN_PROGRESS:
	case RECORDING_UNKNOWN:
		return LEDGER_CHANGE_NONE;
	}
	return LEDGER_CHANGE_NONE;
}

enum ledger_status ledger_rule_first(enum recording_status event)
{
	if (event == RECORDING_ABSENT)
		return LEDGER_ABSENT;
	return event == RECORDING_FAILED ? LEDGER_FAILED : LEDGER_PENDING;
}

static const struct {
	const char *name;
	int rank;
} call_statuses[CALL_STATUS_COUNT] = {
	[CALL_RINGING] = {"RINGING", 0}, [CALL_IN_PROGRESS] = {"IN_PROGRESS", 1}, [CALL_COMPLETED] = {"COMPLETED", 2},
	[CALL_FAILED] = {"FAILED", 2},   [CALL_NO_ANSWER] = {"NO_ANSWER", 2},
};

const char *call_status_name(enum call_status status)
{
	REQUIRE(status < CALL_STATUS_COUNT);
	return call_statuses[status].name;
}

enum call_status call_status_from_name(const char *name)
{
	for (int i = 0; i < CALL_STATUS_COUNT; i++) {
		if (strcmp(name, call_statuses[i].name) == 0)
			return (enum call_status)i;
	}
	return CALL_RINGING;
}

enum call_status call_status_from_twilio(const char *word)
{
	static const struct {
		const char *word;
		enum call_status status;
	} map[] = {
		{"queued", CALL_RINGING},          {"initiated", CALL_RINGING},    {"ringing", CALL_RINGING},
		{"in-progress", CALL_IN_PROGRESS}, {"answered", CALL_IN_PROGRESS}, {"completed", CALL_COMPLETED},
		{"busy", CALL_NO_ANSWER},          {"no-answer", CALL_NO_ANSWER},  {"failed", CALL_FAILED},
		{"canceled", CALL_FAILED},
	};
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		if (strcmp(word, map[i].word) == 0)
			return map[i].status;
	}
	return CALL_RINGING;
}

bool call_status_advances(enum call_status from, enum call_status to)
{
	return call_statuses[to].rank > call_statuses[from].rank;
}
