/* SPDX-License-Identifier: MIT */
/*
 * The ledger: calls, recordings and the work to be done on them; the shared truth of all replicas. An interface with an
 * embedded implementation (SQLite) and, with a DATABASE_URL, Postgres.
 *
 * Every operation is asynchronous: the caller embeds the request, which belongs to the ledger until `done`; `done` comes exactly
 * once, on the loop thread, never inside the call, also on close (ERR_CANCELLED). What a request points to (arrays, strings) must
 * live until `done`. Results live in the request's arena until ledger_request_release(). Writes of several requests may share a transaction; a `done`
 * with status 0 means committed and durable.
 *
 * Leases: a leased recording carries {owner, epoch, expiry}. Time is the database's. Every lease raises the epoch; a finish or heartbeat
 * with an old epoch changes nothing and reports ERR_LEASE_LOST.
 *
 * A FORWARD or CLAIM that failed may have been committed all the same, with leases that nobody was told of. RECLAIM hands those back to their owner, prolonged
 * and with the epoch they have: who is given one twice (by an answer that was on its way, too) sees that it is the same. An expired lease is not handed back: anybody
 * may have it by CLAIM.
 */
#ifndef REELD_LEDGER_LEDGER_H
#define REELD_LEDGER_LEDGER_H

#include "base/err.h"
#include "base/list.h"
#include "base/sid.h"
#include "twilio/event.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* recordings.status */
enum ledger_status {
	LEDGER_PENDING,
	LEDGER_RUNNING,
	LEDGER_STORED,
	LEDGER_SKIPPED,
	LEDGER_ABSENT,
	LEDGER_FAILED,
	LEDGER_DEAD,
	LEDGER_DELETED,
	LEDGER_STATUS_COUNT
};
const char *ledger_status_name(enum ledger_status status);
bool ledger_status_parse(struct slice text, enum ledger_status *status);

#define LEDGER_LEASE_MS 45000 /* heartbeat every third of it: a dead replica's work is taken over within a minute */
#define LEDGER_KEY_SIZE 512
#define LEDGER_URL_SIZE 768
#define LEDGER_OWNER_SIZE 64
#define LEDGER_WAITS_FOR_SIZE 40 /* a SID, or a word */

struct ledger;

/* A leased recording: what a job starts from. Plain values, copied out of the ledger. */
struct ledger_job {
	struct sid recording_sid;
	struct sid account_sid;
	struct sid call_sid;
	struct sid conference_sid;
	int64_t epoch;
	int attempts; /* charged so far */
	int64_t received_at_ms;
	int64_t start_time_ms; /* -1: unknown */
	int64_t duration_s;    /* -1 */
	int channels;          /* 0 */
	char source[32];
	char encryption
		[TWILIO_ENCRYPTION_TEXT_SIZE]; /* what Twilio said about it (event_encryption), readable or not; "": not encrypted */
	char key[LEDGER_KEY_SIZE];             /* "" until first chosen; once recorded it never changes */
	bool stored;                           /* the object was recorded as stored: only purge and finish are left */
	/* of a stored one */
	int64_t bytes;
	char sha256[65];
	char url[LEDGER_URL_SIZE];
};

/* A recording as people see it (jobs, recordings, the API). */
struct ledger_recording {
	struct ledger_job job;
	enum ledger_status status;
	int64_t next_attempt_ms; /* -1 */
	char lease_owner[LEDGER_OWNER_SIZE];
	int64_t lease_expires_ms; /* -1 */
	char last_error[256];
	char md5[33];
	char content_type[32];
	int64_t stored_at_ms;         /* -1 */
	int64_t deleted_at_twilio_ms; /* -1 */
	int64_t error_code;           /* Twilio's; -1 */
	int64_t received_at_ms;       /* of the first event */
};

/* One row of the audit trail. */
struct ledger_audit {
	int64_t at_ms;
	char what[32]; /* "received", "leased", "stored", "retry", "dead", … */
	char detail[256];
};

/* A call as people see it. NULL in the database is "", -1 (duration) or 0 (rating). */
struct ledger_call_row {
	int64_t id;
	char twilio_sid[64];
	char from[64];
	char to[64];
	char status[16]; /* call_status */
	int64_t duration_s;
	char recording_url[LEDGER_URL_SIZE];
	char transcript_url[LEDGER_URL_SIZE];
	int rating;
	char notes[16385]; /* cut there */
	char tags[4096];   /* a JSON array of strings; "[]" when it would not fit */
	int64_t created_at_ms;
	int64_t updated_at_ms;
	int64_t segments; /* rows of call_segments */
};

#define LEDGER_STATS_DAYS 30
#define LEDGER_STATS_CALLS 10
#define LEDGER_CALL_STATUSES 5

/* STATS: figures over all calls. */
struct ledger_stats {
	int64_t calls_by_status[LEDGER_CALL_STATUSES]; /* enum call_status of ledger_rules.h */
	int64_t timed;                                 /* calls with a duration */
	int64_t seconds;                               /* their sum */
	struct {
		char date[11];                                /* UTC, "2026-11-26" */
		int64_t calls;                                /* created on that day */
	} days[LEDGER_STATS_DAYS];                            /* oldest first, today last */
	struct ledger_call_row top_rated[LEDGER_STATS_CALLS]; /* highest rating, then newest first */
	size_t top_rated_count;
	struct ledger_call_row longest[LEDGER_STATS_CALLS]; /* longest duration, then newest first */
	size_t longest_count;
};

enum ledger_op {
	LEDGER_FORWARD,       /* events in, some come back leased */
	LEDGER_CLAIM,         /* due pending recordings and expired leases */
	LEDGER_CLAIM_WAITING, /* pending recordings that wait for `waiting_for`, due or not, the longest due or soonest first */
	LEDGER_HEARTBEAT,     /* prolong leases */
	LEDGER_RECLAIM,       /* leases of this owner that the caller does not hold: their answer was lost */
	LEDGER_LOOKUP_CALL,
	LEDGER_CREATE_CALL,
	LEDGER_STORED_OBJECT, /* the step RECORD */
	LEDGER_FINISH,        /* end of an attempt */
	LEDGER_COUNTS,
	LEDGER_LIST,
	LEDGER_GET,
	LEDGER_RETRY, /* dead (or any that waits for its turn) → pending now; not what waits for Twilio's `completed` */
	LEDGER_DROP,  /* jobs drop: forget the work, status skipped */
	LEDGER_DELETED_OBJECT,  /* recordings delete */
	LEDGER_LACKING,         /* how the recordings of a page of Twilio's list stand here */
	LEDGER_RECONCILE_BEGIN, /* take the one lease of reconciling */
	LEDGER_RECONCILE_SAVE,  /* prolong it, and keep how far an account came; ERR_LEASE_LOST */
	LEDGER_RECONCILE_LOAD,  /* how far an account came */
	LEDGER_RECONCILE_END,   /* give it back; ERR_LEASE_LOST */
	LEDGER_STATS,
	LEDGER_PING,
};

/* How an attempt ended; LEDGER_FINISH. */
enum ledger_outcome {
	LEDGER_OUTCOME_DONE,    /* stored and, where asked for, purged at Twilio */
	LEDGER_OUTCOME_SKIPPED, /* nothing to do: call unknown and UNKNOWN_CALL=skip */
	LEDGER_OUTCOME_ABSENT,
	LEDGER_OUTCOME_FAILED,
	LEDGER_OUTCOME_RETRY,   /* charged: attempts + 1, due at delay_ms from now */
	LEDGER_OUTCOME_WAIT,    /* not charged, due at delay_ms from now */
	LEDGER_OUTCOME_RELEASE, /* shutdown: pending at once, not charged */
	LEDGER_OUTCOME_DEAD,    /* attempts exhausted or permanent: a note goes to the call */
};

struct ledger_finish {
	enum ledger_outcome outcome;
	int64_t delay_ms;
	const char *error;      /* last_error and note text; NULL: none */
	bool deleted_at_twilio; /* DONE: the recording was deleted at Twilio */
	/* WAIT: what must come before another try is worth it (at most LEDGER_WAITS_FOR_SIZE), for CLAIM_WAITING; NULL: only time. A lease ends it. */
	const char *waits_for;
};

/* What RECORD writes: recordings → stored and calls.recording_url (and duration if it was null), one transaction. */
struct ledger_object {
	const char *key;
	const char *url;
	int64_t bytes;
	const char *md5;    /* hex; NULL: unknown */
	const char *sha256; /* hex */
	const char *content_type;
	const char *encryption; /* when REST told it; NULL: nothing new */
	int64_t duration_s;     /* -1 */
	int channels;           /* 0 */
	bool keep_lease;        /* purge follows: stay running-with-lease though stored */
};

/* What the ledger knows of a recording that Twilio's list has; LEDGER_LACKING. */
enum ledger_standing {
	LEDGER_STANDING_KNOWN, /* Twilio's `completed` came, or it is stored, or somebody decided otherwise (skipped, deleted): nothing is lacking */
	LEDGER_STANDING_MISSING, /* no row */
	LEDGER_STANDING_WAITING, /* waits for `completed`, or is worked on without it */
	LEDGER_STANDING_ENDED,   /* absent, failed or dead, which a first `completed` overrules */
};
#define LEDGER_LACKING_MAX 1000

/*
 * Reconciling: one process walks Twilio's list at a time. The lease is one row, of the same kind as those of recordings: an epoch that rises, an expiry in
 * the database's time; what comes with an old epoch changes nothing. Progress is kept for each account and kind of walk, until the walk is finished.
 */
#define LEDGER_RECONCILE_LEASE_MS 30000
#define LEDGER_RECONCILE_KEEP_MS (INT64_C(7) * 86400000) /* older progress is not continued */
enum ledger_reconcile_kind { LEDGER_RECONCILE_SCHEDULED, LEDGER_RECONCILE_REQUESTED };
struct ledger_reconcile {
	/* in */
	enum ledger_reconcile_kind kind; /* all but SAVE without an account */
	int64_t apart_ms;                /* BEGIN: not before so long after the end of the last scheduled walk; 0: now */
	int64_t epoch;                   /* SAVE, END */
	struct sid account_sid;          /* SAVE ("": only prolong the lease), LOAD */
	int64_t walked_from_ms;          /* SAVE; and what LOAD gives, -1 when there is nothing to continue */
	int64_t walked_to_ms;
	bool finished; /* END: the walk came to its end, its progress is no longer needed */
	/* out */
	bool granted;                   /* BEGIN: `epoch` is ours */
	char holder[LEDGER_OWNER_SIZE]; /* BEGIN: who has it, "": nobody, it is only too early */
	int64_t wait_ms;                /* BEGIN not granted: ask again after so long */
	int64_t finished_at_ms;         /* BEGIN: when the last scheduled walk came to its end; -1: never */
};

struct ledger_call {
	struct sid call_sid;
	char from[128];
	char to[128];
	char status[32];    /* Twilio's word: "completed"; mapped to call_status by the ledger */
	int64_t duration_s; /* -1 */
};

struct ledger_request;
typedef void ledger_cb(struct ledger_request *request, int status);

struct ledger_request {
	enum ledger_op op;
	ledger_cb *done;
	void *data;

	/* in (by op) */
	const struct event *events; /* FORWARD: `count` of them */
	size_t count;
	size_t lease_max;              /* FORWARD, CLAIM, CLAIM_WAITING, RECLAIM: lease at most so many to this replica */
	const char *waiting_for;       /* CLAIM_WAITING: a former finish.waits_for */
	const struct ledger_job *jobs; /* HEARTBEAT, RECLAIM: `count` of them (sid, epoch), those that are held */
	struct sid recording_sid; /* STORED_OBJECT, FINISH, GET, RETRY, DROP, DELETED_OBJECT, LOOKUP_CALL (event's recording) */
	int64_t epoch;            /* STORED_OBJECT, FINISH */
	struct sid call_sid;      /* LOOKUP_CALL, and for the note of FINISH */
	struct ledger_finish finish;
	struct ledger_object object;
	struct ledger_call call;           /* CREATE_CALL */
	const struct sid *sids;            /* LACKING: `count` of them, at most LEDGER_LACKING_MAX, each once */
	struct ledger_reconcile reconcile; /* RECONCILE_*; in and out */
	/*
	 * RETRY: dead ones, oldest first, `limit` of them; again from next_cursor on until that is "". Those that die again meanwhile lie behind the
	 * cursor: going through all of them comes to an end.
	 */
	bool all_dead;
	int status_filter;      /* LIST: enum ledger_status, -1: any, -2: anything not at its end (jobs list) */
	const char *key_prefix; /* LIST: or NULL */
	const char *cursor;     /* LIST, RETRY all_dead: from a previous next_cursor, or NULL */
	size_t limit;           /* LIST, RETRY all_dead: at most 1000, which 0 means too. LACKING: see waiting */
	struct sid
		of; /* LIST: only the recording (RE), or those of the call (CA) or conference (CF); any but -2 as filter, no prefix */
	const char *by; /* RETRY, DELETED_OBJECT: who asked, for the trail ("api"); NULL: "request" */

	/* out (by op) */
	struct ledger_job *leased; /* FORWARD, CLAIM, CLAIM_WAITING, RECLAIM */
	size_t leased_count;
	bool *lost;        /* HEARTBEAT: per job, true when the lease is not ours any more */
	size_t duplicates; /* FORWARD: events that changed nothing */
	size_t changed;    /* RETRY, DROP, DELETED_OBJECT: rows */
	bool call_known;   /* LOOKUP_CALL */
	int64_t counts
		[LEDGER_STATUS_COUNT]; /* COUNTS; pending ones that wait for Twilio's `completed` are no work and not counted */
	int64_t oldest_ms;             /* COUNTS: since when the oldest pending one waits (Twilio's `completed` came); -1: none */
	struct ledger_recording *recordings; /* LIST, GET */
	size_t recording_count;
	char next_cursor[64];       /* LIST, RETRY all_dead: "" at the end */
	struct ledger_audit *audit; /* GET: oldest first, at most 200 */
	size_t audit_count;
	struct ledger_stats *stats; /* STATS */
	int64_t next_due_ms; /* CLAIM: delay until the next pending one is due or a lease runs out; 0: more are due now; -1: none */
	enum ledger_standing *standings; /* LACKING: per SID */
	int64_t waiting; /* LACKING: recordings that wait for their turn or their next attempt (and nothing else), counted up to `limit` */
	bool working; /* LACKING: somebody holds the lease of a recording */
	struct error error;

	/* private to the implementation */
	const struct ledger_ops *ops;
	struct list link;
	void *arena;
	int status;
};

/* Hands the request over. It is always answered through `done`. */
void ledger_submit(struct ledger *ledger, struct ledger_request *request);
/* Frees the results of an answered request. Safe on one that was never submitted but zeroed. */
void ledger_request_release(struct ledger_request *request);

/* Reachable as far as known now (last operation's outcome). */
bool ledger_up(const struct ledger *ledger);
/* "sqlite" or "postgres", for messages. */
const char *ledger_kind(const struct ledger *ledger);
/* Finishes or cancels what was submitted, then `closed`. */
void ledger_close(struct ledger *ledger, void (*closed)(void *data), void *data);

/* An implementation embeds this first and fills ops. */
struct ledger_ops {
	const char *kind;
	void (*submit)(struct ledger *ledger, struct ledger_request *request);
	bool (*up)(const struct ledger *ledger);
	void (*release)(struct ledger_request *request);
	void (*close)(struct ledger *ledger, void (*closed)(void *data), void *data);
};
struct ledger {
	const struct ledger_ops *ops;
};

/* DATA_DIR/ledger.db into out. 0 or ERR_LIMIT. */
int ledger_sqlite_path(const char *data_dir, char *out, size_t size);

/*
 * Opens (creating it when missing) the SQLite ledger at `path`, applies migrations when `migrate`, starts its thread. Blocking; before
 * the loop runs. `owner` names this replica in leases (host:pid:random). `sole`: the caller holds the lock of the data directory, so every lease found is a dead
 * process's and ends now.
 */
int ledger_sqlite_open(struct ledger **ret, uv_loop_t *loop, const char *path, const char *owner, bool migrate, bool sole,
		       struct error *error);
/*
 * What ledger_sqlite_open does when `sole`, for the one who starts several processes on it and holds that lock: creates or migrates the file, or only verifies it,
 * and ends the leases. Blocking.
 */
int ledger_sqlite_take_over(const char *path, bool migrate, struct error *error);
/* `reeld migrate`: creates and migrates the file at `path`; *applied is how many migrations were missing. Blocking. */
int ledger_sqlite_migrate(const char *path, size_t *applied, struct error *error);

struct ledger_postgres_options {
	const char *url;   /* postgresql://…; copied */
	const char *owner; /* names this replica in leases; copied */
	bool migrate;      /* apply what is missing; false: wait until somebody did */
	bool prepared; /* false: behind PgBouncer in transaction mode, no prepared statements and no settings of the session */
	unsigned connections; /* 1 to 16; 0: 3 (events, jobs, people) */
};
/*
 * Opens the Postgres ledger: at once, also when the server is away. It connects, and migrates, in the background: ledger_up is false until then. Requests wait at
 * most 10 s for the first connection; while there is none, and it is known, they are answered ERR_LEDGER (class wait) at once. 0; ERR_CONFIG for a URL that
 * libpq cannot read (the message does not repeat it), ERR_NOMEM.
 */
int ledger_postgres_open(struct ledger **ret, uv_loop_t *loop, const struct ledger_postgres_options *options,
			 struct error *error);
/* Why a ledger that ledger_postgres_open made is down: the database is there and lacks migrations. */
bool ledger_postgres_lacks_migrations(const struct ledger *ledger);
/* `reeld migrate`: *applied (may be NULL) is how many migrations were missing. Waits for others that migrate. Blocking. */
int ledger_postgres_migrate(const char *url, size_t *applied, struct error *error);

#endif
