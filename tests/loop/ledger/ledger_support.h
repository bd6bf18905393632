/* SPDX-License-Identifier: MIT */
/* A loop, replicas on it, and requests that are waited for. */
#ifndef REELD_TESTS_LEDGER_SUPPORT_H
#define REELD_TESTS_LEDGER_SUPPORT_H

#include "base/turn.h"
#include "ledger/ledger.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static uv_loop_t loop;

struct waited {
	bool submitted;
	bool done;
	int status;
};

static inline void waited_done(struct ledger_request *request, int status)
{
	struct waited *waited = request->data;
	cr_expect(waited->submitted, "done came inside the call");
	cr_expect_not(waited->done, "done came twice");
	waited->done = true;
	waited->status = status;
}

static inline int wait_for(struct ledger *ledger, struct ledger_request *request)
{
	struct waited waited = {0};
	request->done = waited_done;
	request->data = &waited;
	ledger_submit(ledger, request);
	waited.submitted = true;
	while (!waited.done)
		cr_assert(turn_run(&loop) != 0 || waited.done, "the loop has nothing to do and the request is not answered");
	return waited.status;
}

static inline void flag_closed(void *data)
{
	*(bool *)data = true;
}

static inline void close_ledger(struct ledger *ledger)
{
	bool closed = false;
	ledger_close(ledger, flag_closed, &closed);
	cr_expect_not(closed, "closed came inside the call");
	while (!closed)
		cr_assert(turn_run(&loop) != 0 || closed);
}

static inline struct sid make_sid(const char *prefix, unsigned n)
{
	struct sid sid;
	snprintf(sid.text, sizeof(sid.text), "%.2s%08x%024x", prefix, n * 2654435761u, n);
	return sid;
}

static inline struct event recording_event(unsigned n, enum recording_status status)
{
	struct event event = {
		.kind = EVENT_RECORDING,
		.received_at_ms = 1700000000000 + n,
		.account_sid = make_sid("AC", 1),
		.call_sid = make_sid("CA", n),
		.recording_sid = make_sid("RE", n),
		.status = status,
		.duration_s = status == RECORDING_COMPLETED ? 30 : -1,
		.channels = status == RECORDING_COMPLETED ? 2 : 0,
		.start_time_ms = 1699999990000,
		.source = "DialVerb",
	};
	return event;
}

static inline struct event call_event(unsigned n, enum event_kind kind, const char *word, int64_t duration_s)
{
	struct event event = {.kind = kind,
			      .received_at_ms = 1700000000000,
			      .call_sid = make_sid("CA", n),
			      .duration_s = duration_s,
			      .start_time_ms = -1,
			      .from = "+15005550006",
			      .to = "+15005550001"};
	snprintf(event.call_status, sizeof(event.call_status), "%s", word);
	return event;
}

#endif
