/* SPDX-License-Identifier: MIT */
/*
 * The journal: the local append-only log that makes an event durable before it is acknowledged (promise P1).
 *
 * One writer thread; everything else, and every callback, on the loop thread. Appends made while the previous batch is
 * being synced are gathered; the batch is one pwrite and one fdatasync into a preallocated, zero-filled segment (group
 * commit). A failed sync is never retried on the same segment and never believed: its batch is written anew into a fresh
 * segment, or refused. Record format, a segment's life and the crash points: docs/journal.md.
 *
 * Ownership: a journal_append belongs to the journal from journal_append() until its callback, which comes exactly once, never
 * inside the call, also when the journal is closed (ERR_CANCELLED: the event may or may not be on disk).
 */
#ifndef REELD_JOURNAL_JOURNAL_H
#define REELD_JOURNAL_JOURNAL_H

#include "base/err.h"
#include "base/list.h"
#include "base/metrics.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct journal;

struct journal_options {
	const char *directory;      /* created when missing, mode 0700; copied */
	uint64_t max_bytes;         /* JOURNAL_MAX: bound on segments that hold events the ledger lacks */
	uint64_t segment_bytes;     /* JOURNAL_SEGMENT; smaller ones are used when the disk has no room for that */
	uint64_t max_pending_bytes; /* appended but not yet on disk; beyond it appends are refused. 0: 16 MiB */
	struct metrics *metrics;    /* borrowed */
	int lock_fd;                /* of journal_lock, the journal's from the call on; 0: takes the lock itself */
	bool drain;                 /* only to be emptied: takes no event (ERR_CANCELLED) and makes no segment */
};

/*
 * The lock of a journal's directory (created when missing), for processes that share the descriptor: it is held until the last of them has closed it. When who took it
 * has ended, the others are waited for, at most 5 s.
 * *fd closes on exec. Blocking. 0 or the errors of journal_open.
 */
int journal_lock(const char *directory, int *fd, struct error *error);

/*
 * Opens or creates the journal and replays it: finds the events after the checkpoint, steps over bad records (logged with
 * their place), stops at the torn tail. Blocking; call before the loop runs. 0; ERR_LOCKED (another process), ERR_NO_SPACE,
 * ERR_DENIED, ERR_IO, … with a message. When the disk is full it opens in the refusing state and recovers by itself.
 */
int journal_open(struct journal **ret, uv_loop_t *loop, const struct journal_options *options, struct error *error);

struct journal_stats;
/*
 * Looks at a journal that is there, without opening it for events: nothing is created. stats->accepting: the directory and the disk would take
 * events; when not, last_error says why. 0; ERR_NOT_FOUND: there is none; else as journal_open. Blocking.
 */
int journal_inspect(const struct journal_options *options, struct journal_stats *stats, struct error *error);

struct journal_append;
typedef void journal_append_cb(struct journal_append *append, int status);
struct journal_append {
	journal_append_cb
		*done; /* status 0: on disk. ERR_NO_SPACE, ERR_JOURNAL_FAILED, ERR_CANCELLED: not acknowledged as durable */
	void *data;
	uint64_t sequence; /* set by journal_append */
	/* private */
	struct list link;
	int status;
};

/*
 * Adds one record: the parts one behind the other, copied before the call returns. 0: `done` will come. Else nothing was taken and
 * `done` does not come: ERR_JOURNAL_FULL (JOURNAL_MAX or max_pending_bytes), ERR_NO_SPACE, ERR_JOURNAL_FAILED, ERR_TOO_LARGE (payload
 * over 1 MiB, or over what a segment takes), ERR_NOMEM, ERR_CANCELLED (closing).
 */
int journal_append(struct journal *journal, struct journal_append *append, const struct slice *parts, size_t count);

/* One record of a read. payload points into the read's buffer. */
struct journal_record {
	uint64_t sequence;
	struct slice payload;
};

struct journal_read;
typedef void journal_read_cb(struct journal_read *read, int status);
struct journal_read {
	/* in */
	uint64_t after; /* records with a higher sequence, oldest first; only durable ones */
	size_t max_records;
	size_t max_bytes;      /* of payload; at least one record is returned whatever its size */
	journal_read_cb *done; /* status 0 also for no record; ERR_IO; ERR_CANCELLED */
	void *data;
	/*
	 * Called on a pool thread for each record, before `done`, so that parsing stays off the loop; may be NULL. It must touch
	 * nothing but the record and `data`.
	 */
	void (*each)(struct journal_read *read, const struct journal_record *record);
	/* out, valid until journal_read_release() */
	struct journal_record *records;
	size_t count;
	uint64_t last; /* continue after this one: covers bad records that were stepped over */
	/* private */
	struct journal *journal;
	uv_work_t work;
	char *buffer;
	size_t buffer_size;
	int status;
};

/* Reads on a libuv pool thread; one read at a time per journal. `read` belongs to the journal until `done`. */
int journal_read(struct journal *journal, struct journal_read *read);
/* Frees what a finished read holds. */
void journal_read_release(struct journal_read *read);

/* Everything up to and including `sequence` is in the ledger: segments wholly before it are reused. May lag; never moves back. */
void journal_checkpoint(struct journal *journal, uint64_t sequence);

/* Called on the loop after each commit that made records readable. One listener; NULL for none. */
void journal_on_commit(struct journal *journal, void (*callback)(void *data), void *data);

struct journal_stats {
	uint64_t checkpoint; /* sequence */
	uint64_t durable;    /* highest durable sequence */
	uint64_t events;     /* durable events after the checkpoint */
	int64_t oldest_ms;   /* wall time the oldest of them was appended, approximately (per segment or better); -1: none */
	uint64_t bytes;      /* segments on disk */
	unsigned damaged;    /* files that were found damaged at the start; they stay for whoever can read them */
	uint64_t pending_bytes;
	bool accepting; /* an append now would be taken */
	int last_error; /* why not */
};
void journal_stats(const struct journal *journal, struct journal_stats *stats);

/*
 * Deletes the files of a closed journal and its directory. What is in it must be in the ledger, and nobody may open it meanwhile. May be repeated
 * after a failure. Blocking, on any thread. 0 or an error with a message.
 */
int journal_remove(const char *directory, struct error *error);

/* Syncs what was appended, stops the thread, saves the checkpoint, unlocks. Then `closed`, which may free its own data. */
void journal_close(struct journal *journal, void (*closed)(void *data), void *data);

#endif
