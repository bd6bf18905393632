/* SPDX-License-Identifier: MIT */
/*
 * twilio/client.h without a network: link it instead of the real one. Each request asks `answer` what shall happen to it. Media
 * arrives block by block, one a turn of the loop, and respects PAUSE by sending the same bytes again, cut differently.
 */
#ifndef REELD_TESTS_LOOP_SUPPORT_FAKE_TWILIO_H
#define REELD_TESTS_LOOP_SUPPORT_FAKE_TWILIO_H

#include "base/soon.h"
#include "twilio/client.h"

struct fake_answer {
	int status;             /* 0, or how the request fails (after `bytes` of media) */
	long http_status;       /* 0: none came */
	int64_t retry_after_ms; /* -1 */
	unsigned turns;         /* before the answer */
	bool hang;              /* never, until cancelled */
	/* media */
	const char *content_type; /* NULL: audio/x-wav */
	int64_t content_length;   /* -1: not announced; 0: as many as come */
	size_t bytes;             /* how many come, header included */
	int64_t riff_bytes;       /* what the WAV header announces as the file's size; 0: as many as come */
	const char *text;         /* instead of audio */
	const char *raw;          /* `bytes` of these instead */
	bool hang_after;          /* stop there without an end */
	/* JSON */
	const char *recording_status;
	bool external;
	int64_t error_code;
	bool foreign;           /* a 403 or 404 that is not Twilio's */
	const char *encryption; /* its details; NULL: none */
};

struct fake_twilio {
	uv_loop_t *loop;
	struct soon soon;
	struct soon_item tick;
	struct list requests; /* under way, by http.link */
	size_t in_flight;
	size_t most_in_flight;
	unsigned started[TWILIO_ACCOUNT + 1];
	int last_media_channels; /* RequestedChannels of the last one */
	unsigned paused;         /* how often a block was refused */
	size_t block;            /* bytes a turn */
	struct fake_answer (*answer)(struct fake_twilio *fake, const struct twilio_request *request);
	/* A recording was deleted: checks between rooms. */
	void (*deleted)(struct fake_twilio *fake, const struct sid *recording_sid);
	void *data;
};

void fake_twilio_init(struct fake_twilio *fake, uv_loop_t *loop);
void fake_twilio_close(struct fake_twilio *fake, uv_close_cb closed);
/* What to give to the pipeline as its client. */
struct twilio_client *fake_twilio_client(struct fake_twilio *fake);

/* A whole recording of so many bytes. */
struct fake_answer fake_media(size_t bytes);
/* An answer with this HTTP status (>= 300) or, when negative, a transport error. */
struct fake_answer fake_failure(long status);

#endif
