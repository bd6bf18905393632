/* SPDX-License-Identifier: MIT */
/*
 * The idempotency filter: what was already seen or stored, so that duplicates are answered and dropped early. A filter, never the authority
 * (promise P7): it may forget anything at any time. In-process table, or Redis with REDIS_URL.
 *
 * Entries are set only after the fact is durable: SEEN once the event is committed to the ledger, ARCHIVED once the recording is recorded as stored.
 */
#ifndef REELD_LEDGER_IDEMPOTENCY_H
#define REELD_LEDGER_IDEMPOTENCY_H

#include "base/err.h"
#include "base/sid.h"
#include "twilio/event.h"

#include <stdbool.h>
#include <uv.h>

#define IDEMPOTENCY_URL_SIZE 768

enum idempotency_answer {
	IDEMPOTENCY_UNKNOWN,  /* not known, or not answered yet */
	IDEMPOTENCY_SEEN,     /* this status of this recording is in the ledger */
	IDEMPOTENCY_ARCHIVED, /* the recording is stored; url is set */
};

struct idempotency;

/*
 * Asking never makes anybody wait: start the question, do the durable work, then look at `answer`. A local filter has filled it when
 * idempotency_ask returns; Redis may fill it later, on the loop. No callback. End every question with idempotency_forget before freeing it.
 */
struct idempotency_question {
	enum idempotency_answer answer;
	char url[IDEMPOTENCY_URL_SIZE];
	struct idempotency_pending *pending; /* private; NULL once answered */
};
/* A question that is under way; an implementation embeds this first. */
struct idempotency_pending {
	struct idempotency *filter;
};

/* A question about this recording may come soon: a large table fetches its place from memory meanwhile. Changes nothing. */
void idempotency_expect(const struct idempotency *filter, const struct sid *recording_sid);
void idempotency_ask(struct idempotency *filter, struct idempotency_question *question, const struct sid *recording_sid,
		     enum recording_status status);
void idempotency_forget(struct idempotency_question *question);

void idempotency_set_seen(struct idempotency *filter, const struct sid *recording_sid, enum recording_status status);
void idempotency_set_archived(struct idempotency *filter, const struct sid *recording_sid, const char *url);
/*
 * The object is not where it was: deleted from storage, or found missing there. A retry clears nothing: what was seen is in the ledger for good, and what is archived
 * stays so. A command clears Redis; the table of a daemon beside it answers with the old URL until it forgets.
 */
void idempotency_clear(struct idempotency *filter, const struct sid *recording_sid);

const char *idempotency_kind(const struct idempotency *filter); /* "local" or "redis" */
bool idempotency_up(const struct idempotency *filter);
void idempotency_close(struct idempotency *filter, void (*closed)(void *data), void *data);

struct idempotency_ops {
	const char *kind;
	void (*expect)(const struct idempotency *, const struct sid *); /* NULL: nothing to prepare */
	void (*ask)(struct idempotency *, struct idempotency_question *, const struct sid *, enum recording_status);
	void (*forget)(struct idempotency_question *); /* of one that is pending; NULL: none ever is */
	void (*set_seen)(struct idempotency *, const struct sid *, enum recording_status);
	void (*set_archived)(struct idempotency *, const struct sid *, const char *url);
	void (*clear)(struct idempotency *, const struct sid *);
	bool (*up)(const struct idempotency *);
	void (*close)(struct idempotency *, void (*closed)(void *data), void *data);
};
struct idempotency {
	const struct idempotency_ops *ops;
};

/*
 * A fixed-size table of `entries` (rounded up to a power of two, at least 4) and 192 bytes of room for URLs for each, 14.7 MB in all for 65536; memory is
 * touched only as it fills. When full, old ones make room. Answers are there when idempotency_ask returns. NULL when out of memory.
 */
struct idempotency *idempotency_local_new(uv_loop_t *loop, size_t entries);

/*
 * Redis, shared by all replicas. docs/redis.md has the keys, what they cost and what each failure costs.
 *
 * idempotency_ask leaves the answer UNKNOWN, always: the one round trip (MGET) ends on the loop later, or never. This is what makes a wrong
 * key harmless. An answer that is there at once may keep an event from the journal, and so must be right; the only such filter is the local one,
 * which knows nothing but what this process itself made durable. A key in Redis may be older than the ledger (which was restored from
 * a backup, or is another environment's), or made up by anybody who can write there. The event is in the journal before such an answer is looked
 * at, and the forwarder, which asks no remote filter, brings it to the ledger, which decides. What a wrong key does at
 * worst is the text of an answer: "already processed", with a URL of its choosing, for an event that is processed nevertheless.
 *
 * An answer that is no such entry (of another type, too long, no URL, an error) leaves the question UNKNOWN.
 *
 * Bounded: questions and changes beyond the limits, and all of both while there is no connection, are dropped and counted. A dropped
 * idempotency_clear leaves a stale ARCHIVED behind, for ttl_archived_s at most.
 */
struct idempotency_redis_options {
	const char *url; /* adapters/redis_url.h */
	const char
		*prefix; /* of every key; NULL: "reeld:". At most 64 bytes. Environments that share a Redis have different ones */
	uint32_t ttl_seen_s;     /* seconds; 0: one day, longer than Twilio repeats a webhook */
	uint32_t ttl_archived_s; /* seconds; 0: seven days */
	uint32_t timeout_ms;     /* for an answer, after which the connection counts as lost; 0: 1000 */
};

/*
 * 0, whether Redis is there or not: connecting goes on in the background, and idempotency_up tells. ERR_CONFIG: the URL or the prefix is wrong, or
 * rediss:// is not in this build; ERR_NOMEM.
 */
int idempotency_redis_open(struct idempotency **ret, uv_loop_t *loop, const struct idempotency_redis_options *options,
			   struct error *error);

struct idempotency_redis_counts {
	uint64_t asked;             /* questions sent */
	uint64_t known;             /* of these, answered SEEN or ARCHIVED in time */
	uint64_t dropped_questions; /* not sent: no connection, or too many on their way */
	uint64_t dropped_changes;   /* likewise seen, archived, clear; and those lost with a connection */
	uint64_t refused;           /* answered by an error, as when Redis is full */
};
void idempotency_redis_counts(const struct idempotency *filter, struct idempotency_redis_counts *counts);
/* Why it is not up: code and a text without secrets; code 0 when it is up or was not tried yet. Valid until the loop turns. */
const struct error *idempotency_redis_problem(const struct idempotency *filter);

#endif
