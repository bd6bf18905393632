/* SPDX-License-Identifier: MIT */
/* A client of Twilio on a real loop, and a peer that plays Twilio. One per test process. */
#ifndef REELD_TESTS_LOOP_TWILIO_FIXTURE_H
#define REELD_TESTS_LOOP_TWILIO_FIXTURE_H

#include "loop/support/peer.h"
#include "twilio/accounts.h"
#include "twilio/client.h"

#define AC "AC00000000000000000000000000000001"
#define RE "RE00000000000000000000000000000002"
#define TOKEN "0123456789abcdef0123456789abcdef"

struct twilio_fixture {
	uv_loop_t loop;
	struct http_client *http;
	struct twilio_accounts *accounts; /* AC with TOKEN */
	struct twilio_client *client;     /* from fixture_serve on */
	struct peer *peer;
};
extern struct twilio_fixture fx;

void fixture_init(void);
/* Closes what is there and checks that nothing is left open. */
void fixture_end(void);
/* Starts the peer, and a client that takes it for Twilio. */
void fixture_serve(const struct peer_script *scripts, size_t count);
/* Turns the loop until *done is not 0. */
void fixture_wait(const unsigned *done);
/* The peer's n-th request began with these bytes and had AC's credentials. */
void fixture_check_request(unsigned n, const char *start);

#endif
