/* SPDX-License-Identifier: MIT */
/* A sandbox on the test's loop, a client that asks it, and a place that callbacks can be sent to. */
#ifndef REELD_TESTS_LOOP_SANDBOX_FIXTURE_H
#define REELD_TESTS_LOOP_SANDBOX_FIXTURE_H

#include "adapters/http_client.h"
#include "intake/connection.h"
#include "sandbox/sandbox.h"

#include <criterion/criterion.h>

#define TARGET_MAX 4096

struct target_event {
	char recording_sid[35];
	char status[16];
	char path[64];
	char call_sid[35];
	char call_status[16];
	char call_duration[16];
	char token[64];
	bool signed_right;
};

struct fixture {
	uv_loop_t loop;
	struct sandbox *sandbox;
	struct http_client *client;
	/* the target of callbacks */
	struct server *target;
	char target_url[128];
	int target_status;      /* what it answers; 0: cuts the connection */
	unsigned target_refuse; /* so many events get a 500 first */
	const char *twiml;      /* what /api/twilio/incoming answers */
	const char *twiml_type; /* NULL: text/xml */
	struct target_event events[TARGET_MAX];
	unsigned event_count;
	/* deliveries */
	unsigned ended;
	unsigned done;
	bool sandbox_closed;
};

/* `options.listen` and `target` are filled in. */
void fixture_start(struct fixture *fixture, struct sandbox_options options);
/* Closes what is open and requires that the loop is empty. */
void fixture_stop(struct fixture *fixture);

struct answer {
	int code; /* of the transport */
	long status;
	int64_t content_length;
	char content_type[96];
	int64_t retry_after_ms;
	char *body; /* NUL-terminated; free */
	size_t len;
};

/* Asks and turns the loop until the answer is there. `target` begins with "/"; "@" stands for /2010-04-01/Accounts/{AC}. */
struct answer ask(struct fixture *fixture, enum http_method method, const char *target, const char *password);
struct answer get(struct fixture *fixture, const char *target);
/* The path of a recording with `end` (".wav", ".json?x=1") behind it, for get(). */
const char *recording_path(struct fixture *fixture, uint64_t index, const char *end);

/* Sets the delivery's callbacks to count into the fixture, and starts it at the fixture's target unless it has one. */
int deliver(struct fixture *fixture, struct callbacks_delivery delivery);
void run_until_done(struct fixture *fixture);

#endif
