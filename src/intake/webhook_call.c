/* SPDX-License-Identifier: MIT */
/*
 * What Twilio asks and tells about calls:  /api/twilio/incoming is answered with TwiML, /api/twilio/status with JSON, both when the
 * event is on disk (with ACK=ledger: in the ledger; ACK=archived has nothing to wait for here). No filter is asked: the ledger makes
 * a repeated event harmless, and a call has only a few.
 */
#include "intake/webhook_internal.h"

#include "base/clock.h"
#include "ledger/ledger_rules.h"

static void refuse(struct pending *pending, enum log_level level, const char *reason, const char *detail)
{
	struct webhook *webhook = pending->webhook;
	const struct call_event *call = (const struct call_event *)pending;
	webhook_log_lost(pending, level, reason, detail, call->call_sid.text);
	answers_fixed(&webhook->answers[pending->endpoint], pending->connection, pending->received_ns, ANSWER_UNAVAILABLE);
}

/* It is as durable as configured. */
static void answer(struct call_event *call)
{
	struct pending *pending = &call->pending;
	struct webhook *webhook = pending->webhook;
	struct answers *answers = &webhook->answers[pending->endpoint];
	if (pending->endpoint == ENDPOINT_STATUS) {
		answers_fixed(answers, pending->connection, pending->received_ns,
			      call->known_status ? ANSWER_CALL_STATUS : ANSWER_UNKNOWN);
		return;
	}
	struct slice twiml = incoming_twiml(&webhook->incoming, slice_make(call->base, call->base_len));
	if (twiml.len > 0)
		answers_twiml(answers, pending->connection, pending->received_ns, twiml);
	else
		answers_fixed(answers, pending->connection, pending->received_ns, ANSWER_CALL_INTERNAL);
}

void webhook_call_committed(struct pending *pending, bool committed)
{
	if (committed)
		answer((struct call_event *)pending);
	else
		refuse(pending, LOG_ERROR, "ledger_not_committed",
		       "the ledger refused the event, or did not commit it in time: 503 (ACK=ledger, ACK_TIMEOUT)");
}

static void call_durable(struct journal_append *append, int status)
{
	struct call_event *call = append->data;
	struct webhook *webhook = call->pending.webhook;
	if (status != 0)
		refuse(&call->pending, LOG_ERROR, err_name(status), "the event could not be made durable: 503");
	else if (!webhook->options.ack_ledger)
		answer(call);
	else if (webhook->closed == NULL)
		commit_queue_add(&webhook->commits, &call->pending.commit, append->sequence);
	else /* nobody will tell any more, and this disk may not last */
		webhook_call_committed(&call->pending, false);
}

static void log_call(enum endpoint endpoint, const struct event *event, bool known)
{
	char from[sizeof(event->from)];
	char to[sizeof(event->to)];
	log_mask_phone(event->from, from, sizeof(from));
	log_mask_phone(event->to, to, sizeof(to));
	if (endpoint == ENDPOINT_STATUS && !known)
		log_event(LOG_INFO, "call.unknown_status", LOG_STR("call_sid", event->call_sid.text),
			  LOG_STR("status", event->call_status), LOG_STR("detail", "acknowledged; it changes nothing"));
	else
		log_event(LOG_DEBUG, endpoint == ENDPOINT_STATUS ? "call.status" : "call.incoming",
			  LOG_STR("call_sid", event->call_sid.text), LOG_STR("status", event->call_status), LOG_STR("from", from),
			  LOG_STR("to", to));
}

void webhook_take_call(struct webhook *webhook, enum endpoint endpoint, const struct checked *checked)
{
	struct call_event *call = connection_data(checked->connection);
	unsigned char header[EVENT_HEADER_SIZE];
	call->pending.webhook = webhook;
	call->pending.connection = checked->connection;
	call->pending.received_ns = checked->request->received_ns;
	call->pending.endpoint = endpoint;
	call->pending.append.done = call_durable;
	call->pending.append.data = call;
	call->call_sid = checked->event.call_sid;
	call->known_status = call_status_known(checked->event.call_status);
	log_call(endpoint, &checked->event, call->known_status);
	if (endpoint == ENDPOINT_INCOMING && webhook->incoming.fixed_len == 0) {
		struct slice base = webhook_base(webhook, checked, call->base);
		call->base_len = (uint16_t)base.len;
	}
	event_encode_header(header, checked->event.kind, clock_wall_ms(), checked->params.len);
	const struct slice parts[] = {slice_make((const char *)header, sizeof(header)), checked->params};
	int err = journal_append(webhook->options.journal, &call->pending.append, parts, sizeof(parts) / sizeof(parts[0]));
	if (err != 0)
		refuse(&call->pending, LOG_WARN, err_name(err), "the journal takes no event: 503");
}
