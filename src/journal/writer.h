/* SPDX-License-Identifier: MIT */
/*
 * The journal's writer: one thread that does one job at a time: seal the records, one pwrite, one fdatasync. It decides nothing; the
 * loop places the records and judges the outcome.
 *
 * Wake-ups are what a commit costs beside the disk, so they are few: a semaphore towards the thread, and towards the loop a wakeup,
 * sent only when the loop may be asleep in its poll. When it is awake (writer_stay_awake was called since it last slept) it looks for
 * itself, in the check and prepare phases of its turn.
 */
#ifndef REELD_JOURNAL_WRITER_H
#define REELD_JOURNAL_WRITER_H

#include "base/wakeup.h"
#include "journal/header.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct writer_job {
	/* in */
	int directory_fd;
	uint64_t id; /* segment, opened when fd is -1 */
	bool begin;  /* write and sync the header block before the records */
	struct segment_header header;
	void *data; /* whole records without checksums; may be none */
	size_t size;
	uint64_t offset;
	uint64_t generation;
	int stale_fd; /* of a segment no longer written: closed; -1: none */
	/* in and out */
	int fd;
	/* out */
	int error; /* 0 or a negative errno: of the first call that failed; nothing was done after it */
	uint64_t duration_ns;
};

struct writer {
	uv_thread_t thread;
	uv_sem_t wake;
	struct wakeup wakeup;
	struct writer_job *job; /* handed over by `wake`, back by `finished` */
	bool busy;              /* loop only: job handed over and not taken back */
	atomic_bool finished;
	atomic_bool loop_asleep;
};

/* Starts the thread. `finished` runs on the loop when a job may have ended. 0 or a negative libuv error, and nothing to stop. */
int writer_start(struct writer *writer, uv_loop_t *loop, wakeup_cb *finished, void *data);
/* The job, which must be the only one, belongs to the writer until writer_take returns it. */
void writer_submit(struct writer *writer, struct writer_job *job);
/* The job when it has ended, else NULL. */
struct writer_job *writer_take(struct writer *writer);

/* Last thing in the prepare phase: from here on the end of a job wakes the loop; also when it has just ended unseen. */
void writer_may_sleep(struct writer *writer);
/* On the loop, outside its poll: it will call writer_take before it sleeps again. */
void writer_stay_awake(struct writer *writer);

/* Ends the idle thread and waits for that. The wakeup is the caller's to close. */
void writer_stop(struct writer *writer);

#endif
