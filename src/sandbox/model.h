/* SPDX-License-Identifier: MIT */
/*
 * The recordings and calls the sandbox knows: number 0 to count - 1, each derived from the seed and its number. SIDs are a keyed permutation of the number, so a SID leads
 * back to its recording without a table. What happened to a recording (requests, callbacks, deletion) takes a few bytes, from its first event on.
 *
 * No loop, no input or output.
 */
#ifndef REELD_SANDBOX_MODEL_H
#define REELD_SANDBOX_MODEL_H

#include "base/buffer.h"
#include "base/sid.h"
#include "sandbox/faults.h"
#include "sandbox/audio.h"
#include "sandbox/sealing.h"

#include <stdbool.h>
#include <stdint.h>

#define MODEL_MAX_RECORDINGS (UINT64_C(1) << 26)

struct model_options {
	uint64_t seed;
	uint64_t bytes_min; /* of a file, whatever its format */
	uint64_t bytes_max;
	int channels;    /* as created: 1, 2, or 0 for some of each */
	int64_t base_ms; /* when recording 0 was made; each next one is a second later (and again from the start after a day) */
	uint64_t days;   /* they are spread over the day of base_ms and so many less one before it; 0: 1 */
	const char *account_sid;
	const struct sealing *sealing; /* which recordings are encrypted; NULL: none. Borrowed */
};

struct model_recording {
	uint64_t index;
	struct sid recording_sid;
	struct sid call_sid;
	int channels;
	uint64_t bytes; /* of the file with `channels` channels */
	uint64_t duration_s;
	int64_t start_ms;
	const char *source; /* "StartCallRecordingAPI" */
};

/* What happened to one recording; counters stop at their maximum. */
struct model_state {
	uint16_t requests[FAULT_REQUEST_KINDS];
	uint16_t callbacks_sent;
	uint16_t callbacks_ok;   /* answered with a 2xx */
	uint16_t media_complete; /* downloads that were sent to their end, unharmed */
	uint8_t deletes;
	bool deleted;
};

struct model;

struct model *model_new(const struct model_options *options);
void model_free(struct model **model);

uint64_t model_count(const struct model *model);
/* Adds recordings: numbers count .. count + extra - 1. 0 or ERR_LIMIT. */
int model_grow(struct model *model, uint64_t extra);

/* Recording `index`, which must be below the count. */
void model_recording(const struct model *model, uint64_t index, struct model_recording *recording);
/* Its date_created. */
int64_t model_created_ms(const struct model_recording *recording);
/* Who calls whom in its call. */
struct model_numbers {
	char from[16];
	char to[16];
};
void model_numbers(const struct model *model, uint64_t index, struct model_numbers *numbers);
/* The number behind a SID ("RE…" or "CA…"); false when it is not one of ours. */
bool model_find(const struct model *model, struct slice sid, const char prefix[2], uint64_t *index);

/* The file: `channels` 0 is as created. False when 2 channels of a mono recording are asked for. */
bool model_audio(const struct model *model, const struct model_recording *recording, enum audio_format format, int channels,
		 struct audio *media);

/* NULL: none is encrypted. */
const struct sealing *model_sealing(const struct model *model);

/* For changing; NULL when out of memory. */
struct model_state *model_touch(struct model *model, uint64_t index);
/* For reading; all zeros when nothing happened. */
struct model_state model_look(const struct model *model, uint64_t index);

/* JSON as Twilio writes it (Twilio OpenAPI api.v2010.account.recording, .call, and .account). `status`: "completed", "processing", "deleted". */
void model_write_recording(const struct model *model, const struct model_recording *recording, const char *status,
			   struct buffer *out);
void model_write_call(const struct model *model, const struct model_recording *recording, struct buffer *out);
void model_write_account(const struct model *model, struct buffer *out);

#endif
