/* SPDX-License-Identifier: MIT */
/*
 * Whose fault was it? A 5xx or a timeout looks the same when Twilio (or the store) is down and when it cannot serve this one
 * recording. The witness tells them apart by what became of others: a failure is the recording's own when, between its last failure
 * at this step and the beginning of this try, another try of the step began and succeeded. A first failure is not, and neither is
 * any while nobody gets past.
 *
 * So an outage charges nobody, however long it is, and a recording that fails alone is charged from its second failure on. What
 * cannot be seen: a recording that had failed before an outage fails again when it begins; that is charged, once.
 *
 * Remembers WITNESS_MAX failures, of this process only: after a restart the next failure is a first one. Pure.
 */
#ifndef REELD_PIPELINE_WITNESS_H
#define REELD_PIPELINE_WITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WITNESS_MAX 256
#define WITNESS_STEPS 16

struct witness {
	uint64_t moment;                /* counts what happened: tells before from after */
	uint64_t passed[WITNESS_STEPS]; /* when the last to begin of those that got past that step began */
	size_t count;
	struct witnessed {
		uint64_t subject;
		uint64_t failed; /* the moment */
		unsigned step;
	} suspects[WITNESS_MAX];
};

/* One try of one step, by one recording. */
struct trial {
	uint64_t subject; /* tells recordings apart */
	uint64_t began;
	unsigned step;
	bool accused; /* should it fail, that is the recording's own failure */
};

void witness_init(struct witness *witness);

/* `step` is below WITNESS_STEPS. */
struct trial witness_begin(struct witness *witness, uint64_t subject, unsigned step);
/* The try succeeded. */
void witness_passed(struct witness *witness, const struct trial *trial);
/*
 * The try failed in a way that may be an outage. True: it is the recording's own failure. When more recordings fail alone than
 * can be remembered, every failure is.
 */
bool witness_failed(struct witness *witness, const struct trial *trial);
/* That recording is at its end. */
void witness_forget(struct witness *witness, uint64_t subject);

#endif
