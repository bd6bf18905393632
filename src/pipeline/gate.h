/* SPDX-License-Identifier: MIT */
/*
 * The gates of Twilio's accounts: what Twilio refuses one account (credentials, too many requests at once) must not hold up the recordings of others. Each
 * configured account has a gate with a circuit breaker and an adaptive limit of its own; all other recordings share one. Pure: the caller brings clock and chance.
 *
 * What a gate does not let through goes back to the ledger, where it waits for the account (gate_name, LEDGER_CLAIM_WAITING) and is fetched from as soon as the
 * gate has room: one recording for a probe, as many as the limit allows afterwards. So a held back account costs a lease once a recording, whatever the time.
 */
#ifndef REELD_PIPELINE_GATE_H
#define REELD_PIPELINE_GATE_H

#include "base/list.h"
#include "base/sid.h"
#include "pipeline/breaker.h"
#include "pipeline/limit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct twilio_accounts; /* twilio/accounts.h */

/* Fields are for reading, but for queued and running. */
struct gate {
	struct list link;       /* in gates->watched while it restricts, or the ledger may have something that waits for it */
	struct sid account;     /* "": of those that are not configured */
	struct breaker breaker; /* what Twilio refuses the account altogether */
	struct limit limit;     /* how many of its recordings are moved at a time: Twilio's limit is per account */
	int reason;             /* enum err: the last refusal */
	size_t queued;          /* jobs in this process: kept by the pipeline */
	size_t running;
	bool waiting; /* the ledger may have recordings that wait for it */
	bool known;   /* is of those that are configured */
	bool held;    /* as counted in gates */
	bool restricting;
};

struct gates {
	struct breaker_options breaker;
	size_t max;           /* of each limit */
	struct gate **by_sid; /* `count`, sorted */
	size_t count;
	struct gate others;
	struct gate *first; /* of events that name no account */
	struct list watched;
	struct list leaving; /* gates of accounts that are configured no more, until their last job ended */
	size_t held;         /* how many hold their account back: the gauge */
	size_t restricting;  /* how many known ones let less than `max` through */
};

/* Without accounts: all recordings share one gate. `max`: jobs at a time, at least 1. */
void gates_init(struct gates *gates, size_t max, const struct breaker_options *breaker);
/* No job may be left. */
void gates_free(struct gates *gates);
/*
 * One gate for each of these accounts from now on; those that stay keep what they learned. Something is new, so every held back account may be tried at once, and
 * may have recordings that wait in the ledger. 0, or ERR_NOMEM: all is as before.
 */
int gates_set_accounts(struct gates *gates, const struct twilio_accounts *accounts, int64_t now_ms);

/* The gate of recordings of this account. It stays until gates_let_go. */
struct gate *gates_find(struct gates *gates, const struct sid *account_sid);
/* A job of this gate has ended and was counted out. */
void gates_let_go(struct gates *gates, struct gate *gate);

/* For the ledger's waits_for, log and messages: the SID, or "other accounts". */
const char *gate_name(const struct gate *gate);

enum gate_verdict {
	GATE_ADMITS, /* start it (breaker_start) */
	GATE_QUEUES, /* its turn comes soon */
	GATE_REFUSES /* nobody of this account, or not so many: back to the ledger */
};
/* Of a job that is counted as queued. */
enum gate_verdict gate_verdict(const struct gate *gate, int64_t now_ms);

enum gate_change { GATE_AS_BEFORE, GATE_HELD, GATE_RELEASED, GATE_THROTTLED };

struct gate_refusal {
	int code;               /* enum err */
	int64_t retry_after_ms; /* what Twilio asked for; -1: nothing. The next probe is not before, as far as a breaker's interval may be */
};
/* Twilio refused the account: 429 halves its limit; refused credentials, and 429 at a limit of one, several times in a row hold it back. */
enum gate_change gates_refused(struct gates *gates, struct gate *gate, struct gate_refusal refusal, int64_t now_ms,
			       uint64_t random);
/* Twilio answered a request with its credentials. */
enum gate_change gates_accepted(struct gates *gates, struct gate *gate);
/* One of its recordings was moved. */
void gates_moved(struct gates *gates, struct gate *gate);
/* The ledger may have recordings that wait for it; false: it was asked and had less than there was room for. */
void gates_set_waiting(struct gates *gates, struct gate *gate, bool waiting);

/* How many recordings are worth having at once, running: SIZE_MAX unless every known account is restricted. */
size_t gates_limit(const struct gates *gates);
/* How many more are worth leasing, whosever they are: SIZE_MAX unless every known account is restricted. */
size_t gates_room(const struct gates *gates, int64_t now_ms);
/* A gate with room for something that may wait for it in the ledger, `*room` of them; in turn. NULL: none. */
struct gate *gates_hungry(struct gates *gates, int64_t now_ms, size_t *room);
/* When the next held back account may be tried, after now_ms; INT64_MAX: none. */
int64_t gates_next_probe_ms(const struct gates *gates, int64_t now_ms);

#endif
