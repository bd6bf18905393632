/* SPDX-License-Identifier: MIT */
/*
 * What the loop-side files of the journal share. All state is the loop's. Other threads get what they need handed over and hand it back: the
 * writer its one job, the pool the janitor's one round and the reader's one read. Nothing is locked.
 *
 *   journal.c   open, append, statistics, close
 *   commit.c    batches → segments: places runs of records, judges what the writer did, fires callbacks
 *   janitor.c   spares made ahead, segments reused or deleted, the checkpoint saved; on the pool
 *   reader.c    records for the forwarder; on the pool
 *   recovery.c  what a restart finds
 *   lock.c      the directory and its lock; remove.c its end
 */
#ifndef REELD_JOURNAL_INTERNAL_H
#define REELD_JOURNAL_INTERNAL_H

#include "journal/age.h"
#include "journal/batch.h"
#include "journal/journal.h"
#include "journal/segment.h"
#include "journal/writer.h"

#define JOURNAL_SPARES_MAX 2
#define JOURNAL_RETRY_MS 1000
#define JOURNAL_CHECKPOINT_MS 1000
#define JOURNAL_LINGER_MAX_NS UINT64_C(2000000)

/* One round of the janitor. While `busy` everything but `busy` is the pool's. */
struct janitor {
	uv_work_t work;
	bool busy;
	/* in */
	struct list doomed; /* segments to delete; freed by the round */
	bool make;
	uint64_t make_id;
	uint64_t make_smallest;
	bool save;
	struct checkpoint slot;
	/* out */
	uint64_t made_size;
	int make_error; /* negative errno */
	int save_error;
};

/* Where a read of the records after `sequence` may begin, so that it need not walk the segment. */
struct cursor {
	uint64_t generation; /* 0: none */
	uint64_t sequence;
	uint64_t offset;
};

struct read_range;

struct reader {
	struct journal_read *read; /* the one under way */
	struct read_range *ranges;
	size_t range_count;
	struct cursor from; /* where the last read began, for doing it again */
	struct cursor to;   /* where it ended, for going on */
	unsigned failures;  /* reads in a row that the disk refused */
	int status;
};

struct journal {
	uv_loop_t *loop;
	char *directory;
	int directory_fd;
	int lock_fd;
	bool drain;
	uint64_t max_bytes;
	uint64_t segment_bytes;
	size_t max_pending;
	struct histogram *commit_seconds;
	struct histogram *batch_events;

	/* counters of the journal's life */
	uint64_t next_sequence;
	uint64_t next_generation;
	uint64_t next_id;
	uint64_t durable; /* highest durable sequence */
	uint64_t checkpoint;

	/* segments */
	struct list segments;   /* with a life, in order of generation: sealed, poisoned, and last the active one */
	struct list spares;     /* ready for one */
	struct list doomed;     /* to be deleted */
	struct segment *active; /* NULL: none, the next commit takes a spare */
	unsigned spare_count;
	uint64_t held_bytes;  /* of `segments` */
	uint64_t spare_bytes; /* of `spares` and `doomed` */
	uint64_t events;
	unsigned damaged; /* files that recovery left as they are */
	struct age age;

	/* commit */
	struct batch batches[2];
	struct batch *current; /* being written, or waiting for a segment */
	struct batch *filling;
	size_t pending;    /* bytes in both that are not on disk */
	size_t in_flight;  /* of these, with the writer */
	uint64_t run_last; /* sequence of the last record in flight */
	struct writer writer;
	struct writer_job job;
	int stale_fd;          /* of a segment no longer written; the next job closes it */
	unsigned attempts;     /* of this batch that failed */
	int failed;            /* nothing is taken until a fresh segment was written: why */
	bool probing;          /* the writer tries one */
	struct list finished;  /* appends whose callback is due, with their status */
	bool appended;         /* something was, since the last check phase */
	bool growing;          /* the last poll brought something */
	bool lingering;        /* the next poll does not block: see commit_next */
	uint64_t submitted_ns; /* when the writer was given its last job */
	uint64_t commit_ns;    /* what a commit takes of late */
	int refusing;          /* reason of the last refusal, 0 after an append was taken */

	/* pool */
	struct janitor janitor;
	int make_error;          /* enum err of the last try to make a spare; 0 when it worked */
	uint64_t retry_at;       /* loop time before which a failed try is not repeated */
	struct checkpoint saved; /* what the checkpoint file holds */
	uint64_t save_at;        /* loop time before which the checkpoint is not saved again */
	struct reader reader;

	void (*committed)(void *data);
	void *committed_data;

	/* handles */
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* active while lingering */
	uv_timer_t timer;
	unsigned open_handles;
	bool closing;
	bool last_round; /* the janitor's last */
	void (*closed)(void *data);
	void *closed_data;
};

/* lock.c: blocking. The descriptors stay -1, or are to be closed, on an error. Without `create` nothing is made: no directory is an error, no lock is nobody's. */
int journal_open_directory(const char *directory, bool create, int *directory_fd, struct error *error);
int journal_lock_directory(int directory_fd, const char *directory, bool create, int *lock_fd, struct error *error);

/* recovery.c: fills segments, spares and counters from the directory. Blocking. */
int journal_recover(struct journal *journal, struct error *error);

/* commit.c */
/* Whether a record of `need` bytes may be appended: 0 or why not. */
int commit_admit(const struct journal *journal, size_t need);
/*
 * Gives the writer what there is to write, or refuses what can never be. May make callbacks due, fires none. A batch that is still
 * growing may be left to grow for a moment; then the loop must not sleep (`lingering`).
 */
void commit_next(struct journal *journal);
/* Takes back a finished job, hands over the next, then fires the callbacks. May be called at any time on the loop but inside journal_append. */
void commit_turn(struct journal *journal);
/* In the failed state: tries a fresh segment. */
void commit_probe(struct journal *journal);
/* Makes every pending append due with `status`. */
void commit_refuse(struct journal *journal, int status);

/* janitor.c */
/* Segments whose events are all in the ledger become spares or are doomed. */
void janitor_reclaim(struct journal *journal);
/* Starts a round when there is something to do and arms the timer for what has to wait. */
void janitor_tend(struct journal *journal);
/* The round before the end: saves the checkpoint. */
void janitor_finish(struct journal *journal);
void janitor_timer(uv_timer_t *timer);
/* Takes over a segment that is in no list and holds nothing that is needed: a spare, or one too many. */
void janitor_add_spare(struct journal *journal, struct segment *segment);
/* Takes over a segment that is in no list; its file is deleted by the next round. */
void janitor_doom(struct journal *journal, struct segment *segment);

/* reader.c */
void reader_free(struct reader *reader);

/* journal.c: the next step of closing, if it is due. */
void journal_close_step(struct journal *journal);

#endif
