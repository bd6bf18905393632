/* SPDX-License-Identifier: MIT */
#include "ledger/ledger_rules.h"

#include "base/check.h"
#include "twilio/error_code.h"

#include <stdio.h>
#include <string.h>

enum ledger_change ledger_rule_event(enum ledger_status status, bool completed_known, bool stored, enum recording_status event)
{
	if (completed_known)
		return LEDGER_CHANGE_NONE;
	switch (event) {
	case RECORDING_COMPLETED:
		return status == LEDGER_PENDING || status == LEDGER_ABSENT || status == LEDGER_FAILED || status == LEDGER_DEAD
			       ? LEDGER_CHANGE_START
			       : LEDGER_CHANGE_KEEP;
	case RECORDING_ABSENT:
	case RECORDING_FAILED:
		return status == LEDGER_PENDING && !stored ? LEDGER_CHANGE_END : LEDGER_CHANGE_NONE;
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

static bool read_word(const char *word, enum call_status *status)
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
		if (strcmp(word, map[i].word) == 0) {
			*status = map[i].status;
			return true;
		}
	}
	return false;
}

enum call_status call_status_from_twilio(const char *word)
{
	enum call_status status = CALL_RINGING;
	read_word(word, &status);
	return status;
}

bool call_status_known(const char *word)
{
	enum call_status status;
	return read_word(word, &status);
}

bool call_status_advances(enum call_status from, enum call_status to)
{
	return call_statuses[to].rank > call_statuses[from].rank;
}

bool call_status_ends(enum call_status status)
{
	return call_statuses[status].rank == call_statuses[CALL_COMPLETED].rank;
}

bool ledger_rule_call_ignored(const struct event *event)
{
	return event->kind == EVENT_CALL_STATUS && !call_status_known(event->call_status);
}

bool ledger_rule_duration_wins(enum call_status now, enum call_status said)
{
	return call_status_advances(now, said) || (now == said && call_status_ends(said));
}

/* The word that we do not know, for the trail. Only what cannot do harm there is kept of it. */
static void unknown_word(const struct event *event, char *out, size_t size)
{
	static const char name[] = "RecordingStatus=";
	size_t len = 0;
	const char *at = event->params.len == 0 ? NULL : memmem(event->params.ptr, event->params.len, name, sizeof(name) - 1);
	const char *end = event->params.ptr + event->params.len;
	for (at = at == NULL ? end : at + sizeof(name) - 1; at < end && *at != '&' && len < 32 && len < size - 1; at++)
		out[len++] = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '-'
				     ? *at
				     : '_';
	out[len] = '\0';
}

const char *ledger_event_words(const struct event *event, char space[LEDGER_DESCRIPTION_SIZE])
{
	char word[40];
	char error[TWILIO_ERROR_TEXT_SIZE];
	bool ended = event->status == RECORDING_ABSENT || event->status == RECORDING_FAILED;
	if (event->status == RECORDING_UNKNOWN) {
		unknown_word(event, word, sizeof(word));
		snprintf(space, LEDGER_DESCRIPTION_SIZE, "unknown status \"%s\"", word);
		return space;
	}
	if (event->error_code == 0 && !ended)
		return recording_status_name(event->status);
	snprintf(space, LEDGER_DESCRIPTION_SIZE, "%s%s%s%s", recording_status_name(event->status), ended ? " at Twilio" : "",
		 event->error_code == 0 ? "" : ", ",
		 event->error_code == 0 ? "" : twilio_error_describe(event->error_code, error));
	return space;
}

const char *ledger_describe_event(const struct event *event, char space[LEDGER_DESCRIPTION_SIZE])
{
	const char *words = ledger_event_words(event, space);
	if (event->unknown[0] == '\0' && !event->reconciled)
		return words;
	if (words != space)
		snprintf(space, LEDGER_DESCRIPTION_SIZE, "%s", words);
	size_t len = strlen(space);
	snprintf(space + len, LEDGER_DESCRIPTION_SIZE - len, "%s%s%s", event->reconciled ? ", reconciled" : "",
		 event->unknown[0] == '\0' ? "" : "; also sent: ", event->unknown);
	return space;
}

struct ledger_ending ledger_rule_ending(enum ledger_outcome outcome, bool stored, bool overtaken)
{
	if (overtaken && !stored && outcome != LEDGER_OUTCOME_DONE && outcome != LEDGER_OUTCOME_SKIPPED)
		return (struct ledger_ending){.status = LEDGER_PENDING,
					      .due = true,
					      .again = true,
					      .error = outcome != LEDGER_OUTCOME_RELEASE,
					      .what = "retry"};
	struct ledger_ending ending = {.status = LEDGER_PENDING};
	switch (outcome) {
	case LEDGER_OUTCOME_DONE:
		return (struct ledger_ending){.status = LEDGER_STORED, .error = true};
	case LEDGER_OUTCOME_SKIPPED:
		ending = (struct ledger_ending){.status = LEDGER_SKIPPED, .error = true, .what = "skipped"};
		break;
	case LEDGER_OUTCOME_ABSENT:
		ending = (struct ledger_ending){.status = LEDGER_ABSENT, .error = true, .what = "absent"};
		break;
	case LEDGER_OUTCOME_FAILED:
		ending = (struct ledger_ending){.status = LEDGER_FAILED, .error = true, .what = "failed"};
		break;
	case LEDGER_OUTCOME_RETRY:
		return (struct ledger_ending){
			.status = LEDGER_PENDING, .charged = true, .due = true, .error = true, .what = "retry"};
	case LEDGER_OUTCOME_WAIT:
		return (struct ledger_ending){.status = LEDGER_PENDING, .due = true, .error = true, .what = "wait"};
	case LEDGER_OUTCOME_RELEASE:
		return (struct ledger_ending){.status = LEDGER_PENDING, .due = true, .what = "released"};
	case LEDGER_OUTCOME_DEAD:
		ending = (struct ledger_ending){.status = LEDGER_DEAD, .charged = true, .error = true, .what = "dead"};
		break;
	}
	/* The archive is complete; what could not be done is the purge, and last_error says so. */
	if (stored)
		ending.status = LEDGER_STORED;
	return ending;
}
