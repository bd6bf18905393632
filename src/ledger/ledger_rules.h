/* SPDX-License-Identifier: MIT */
/* What an event may change: the rules of the ledger that do not depend on the database. Pure. */
#ifndef REELD_LEDGER_LEDGER_RULES_H
#define REELD_LEDGER_LEDGER_RULES_H

#include "ledger/ledger.h"

enum ledger_change {
	LEDGER_CHANGE_NONE,
	LEDGER_CHANGE_START, /* work: pending and due now */
	LEDGER_CHANGE_END,   /* ends as absent or failed, as the event says */
	LEDGER_CHANGE_KEEP,  /* `completed` is kept in row and trail; status and lease stay */
};

/*
 * What a further event does to a recording that the ledger has. Twilio's order is not to be relied on: `completed` wins over whatever was
 * said before and is not undone by what comes later; the first one is never lost. `completed_known`: completed was forwarded before. `stored`: there is an object.
 *
 * KEEP of a running one marks it (next_attempt_at, which a running one has not else): the attempt began before there was anything to fetch, and is overtaken.
 */
enum ledger_change ledger_rule_event(enum ledger_status status, bool completed_known, bool stored, enum recording_status event);
/* The status of a new row after its first event. Pending without `completed` is not due. */
enum ledger_status ledger_rule_first(enum recording_status event);

#define LEDGER_DESCRIPTION_SIZE 256
/*
 * What an event says, for last_error and the call's note: "completed", "absent at Twilio, error 16101: shorter than …". A constant, or a
 * text in `space`.
 */
const char *ledger_event_words(const struct event *event, char space[LEDGER_DESCRIPTION_SIZE]);
/* The same for the trail, which also keeps the parameters that we do not know: "completed; also sent: New=x". */
const char *ledger_describe_event(const struct event *event, char space[LEDGER_DESCRIPTION_SIZE]);

/* What the end of an attempt means for the row. */
struct ledger_ending {
	enum ledger_status status;
	bool charged;
	bool due;         /* again, after delay_ms */
	bool again;       /* at once, with all attempts: this one does not count */
	bool error;       /* last_error is set from the request (or cleared) */
	const char *what; /* in the trail; NULL: nothing to say */
};

/* The trail's words for `again`, with the error. */
#define LEDGER_AGAIN_WORDS "at once, completed came meanwhile: %s"
/* `stored`: the recording has its object. `overtaken`: a first `completed` came during the attempt. */
struct ledger_ending ledger_rule_ending(enum ledger_outcome outcome, bool stored, bool overtaken);

/* calls.status in the order of a call's life. */
enum call_status { CALL_RINGING, CALL_IN_PROGRESS, CALL_COMPLETED, CALL_FAILED, CALL_NO_ANSWER, CALL_STATUS_COUNT };
const char *call_status_name(enum call_status status);
/* Of the database's word; RINGING for a stranger. */
enum call_status call_status_from_name(const char *name);
/* Of Twilio's word (https://www.twilio.com/docs/voice/api/call-resource, call status values); RINGING for a stranger. */
enum call_status call_status_from_twilio(const char *word);
/* Is it one of Twilio's words? */
bool call_status_known(const char *word);
/* True when `to` is later in the life of a call than `from`; the three ends are equal. */
bool call_status_advances(enum call_status from, enum call_status to);
/* COMPLETED, FAILED, NO_ANSWER. */
bool call_status_ends(enum call_status status);

/* A status callback with a word that we do not know changes nothing, not even by making a call that rings. */
bool ledger_rule_call_ignored(const struct event *event);
/*
 * Is the duration that comes with `said` taken although the call has one? That of an end is Twilio's own and counts: what was there before
 * came from a recording, which is mostly shorter. What comes late, or with another end than the call's, only fills a gap.
 */
bool ledger_rule_duration_wins(enum call_status now, enum call_status said);

#endif
