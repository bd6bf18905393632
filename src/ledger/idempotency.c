/* SPDX-License-Identifier: MIT */
#include "ledger/idempotency.h"

void idempotency_expect(const struct idempotency *filter, const struct sid *recording_sid)
{
	if (filter->ops->expect != NULL)
		filter->ops->expect(filter, recording_sid);
}

void idempotency_ask(struct idempotency *filter, struct idempotency_question *question, const struct sid *recording_sid,
		     enum recording_status status)
{
	question->answer = IDEMPOTENCY_UNKNOWN;
	question->url[0] = '\0';
	question->pending = NULL;
	filter->ops->ask(filter, question, recording_sid, status);
}

/* A question that was answered, or never asked (zeroed), has nothing pending: then there is no filter to tell. */
void idempotency_forget(struct idempotency_question *question)
{
	const struct idempotency_pending *pending = question->pending;
	if (pending != NULL)
		pending->filter->ops->forget(question);
	question->pending = NULL;
}

void idempotency_set_seen(struct idempotency *filter, const struct sid *recording_sid, enum recording_status status)
{
	filter->ops->set_seen(filter, recording_sid, status);
}

void idempotency_set_archived(struct idempotency *filter, const struct sid *recording_sid, const char *url)
{
	filter->ops->set_archived(filter, recording_sid, url);
}

void idempotency_clear(struct idempotency *filter, const struct sid *recording_sid)
{
	filter->ops->clear(filter, recording_sid);
}

const char *idempotency_kind(const struct idempotency *filter)
{
	return filter->ops->kind;
}

bool idempotency_up(const struct idempotency *filter)
{
	return filter->ops->up(filter);
}

void idempotency_close(struct idempotency *filter, void (*closed)(void *data), void *data)
{
	filter->ops->close(filter, closed, data);
}
