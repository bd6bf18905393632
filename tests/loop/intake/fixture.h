/* SPDX-License-Identifier: MIT */
/*
 * A server on a real loop, and raw clients on the same loop that send and see bytes exactly. Handlers are chosen by path:
 *
 *   /now       prepared answer at once            /later    answered by fixture_answer_next()
 *   /echo      method, target, host and body      /retain   as /later, from connection_retain()
 *   /abort     cut without an answer
 */
#ifndef TESTS_LOOP_INTAKE_FIXTURE_H
#define TESTS_LOOP_INTAKE_FIXTURE_H

#include "base/buffer.h"
#include "base/metrics.h"
#include "intake/connection.h"

#include <criterion/criterion.h>
#include <uv.h>

#define FIXTURE_MAX_WAITING 64

struct fixture {
	uv_loop_t loop;
	uv_timer_t watchdog; /* wakes the loop, so that waiting for what never comes ends */
	struct server *server;
	struct metrics *metrics;
	struct metric gauge;
	struct server_options options;
	bool started;
	bool closed;
	size_t requests;
	/* connections that wait for their answer, oldest first */
	struct connection *waiting[FIXTURE_MAX_WAITING];
	const struct request *retained[FIXTURE_MAX_WAITING];
	size_t waiting_count;
	void (*on_other)(struct connection *connection, struct request *request); /* other paths */
};
extern struct fixture fixture;

/* Sane options, a loop; then the test may change fixture.options. */
void fixture_init(void);
/* Starts the server on a port of its own. */
void fixture_start(void);
/* Answers the connection that waits longest with its number: "answer 1". */
void fixture_answer_next(void);
void fixture_close_server(void);
/* Closes the server if one was started and need be; the loop must close cleanly. */
void fixture_fini(void);

/* One turn that does not block for long. */
void fixture_turn(void);
#define TURN_UNTIL(condition)                                                                    \
	do {                                                                                     \
		uint64_t turn_end_ = uv_hrtime() + UINT64_C(20000000000);                        \
		while (!(condition)) {                                                           \
			cr_assert_lt(uv_hrtime(), turn_end_, "never came true: %s", #condition); \
			fixture_turn();                                                          \
		}                                                                                \
	} while (0)

/* Open connections, as the metric has them. */
size_t fixture_connections(void);
/* How often a connection was closed for this reason. */
double fixture_closed_for(const char *reason);

struct raw_client {
	uv_tcp_t tcp;
	uv_connect_t connect;
	struct buffer in;
	bool connected;
	bool ended; /* end of stream or error seen */
	int error;  /* of the end; 0: in order */
	bool open;
	bool reading;
};

/* Connects and waits until it is; to the fixture's server, or to another one on its loop. */
void raw_connect(struct raw_client *client);
void raw_connect_port(struct raw_client *client, int port);
void raw_send(struct raw_client *client, const char *bytes, size_t len);
void raw_send_text(struct raw_client *client, const char *text);
void raw_shutdown(struct raw_client *client);
void raw_pause(struct raw_client *client);
void raw_resume(struct raw_client *client);
/* Closes with a reset. */
void raw_reset(struct raw_client *client);
void raw_close(struct raw_client *client);
bool raw_has(struct raw_client *client, const char *text);
size_t raw_count(struct raw_client *client, const char *text);
/* Sends, waits for `text` to come back. */
void raw_expect(struct raw_client *client, const char *send, const char *text);
/* Waits for the end of the stream, then: it began with this. */
void raw_expect_end(struct raw_client *client, const char *text);

#endif
