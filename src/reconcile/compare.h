/* SPDX-License-Identifier: MIT */
/* One recording of Twilio's list against what the ledger knows of it, and the event that a webhook would have been. Pure. */
#ifndef REELD_RECONCILE_COMPARE_H
#define REELD_RECONCILE_COMPARE_H

#include "base/buffer.h"
#include "ledger/ledger.h"
#include "twilio/answer.h"

enum reconcile_verdict {
	RECONCILE_KNOWN,      /* the ledger has what there is to know */
	RECONCILE_MISSING,    /* completed at Twilio, no row in the ledger: its callback was lost, or never sent */
	RECONCILE_INCOMPLETE, /* the ledger waits for an end that Twilio's list has, or was told of another one */
	RECONCILE_RECENT,     /* complete for less than young_ms: its callback may be on its way */
	RECONCILE_EXTERNAL,   /* Twilio has uploaded it to a bucket of the account: there is nothing to fetch */
	RECONCILE_OTHER,      /* not completed, or belongs to neither a call nor a conference */
	RECONCILE_VERDICT_COUNT
};
const char *reconcile_verdict_name(enum reconcile_verdict verdict); /* "missing" */
/* It takes an event. */
static inline bool reconcile_verdict_lacks(enum reconcile_verdict verdict)
{
	return verdict == RECONCILE_MISSING || verdict == RECONCILE_INCOMPLETE;
}

enum reconcile_verdict reconcile_compare(const struct twilio_listed *listed, enum ledger_standing standing, int64_t now_ms,
					 int64_t young_ms);

/*
 * The payload of the event (as in twilio/event.h) behind `out`: the parameters that the recording's callback has, from the fields of the list. 0 or the
 * buffer's error.
 */
int reconcile_encode(const struct twilio_listed *listed, const struct sid *account_sid, int64_t now_ms, struct buffer *out);

#endif
