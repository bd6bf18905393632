/* SPDX-License-Identifier: MIT */
/*
 * ACK=archived, and Twilio asks again about a recording that came to its end before: no outcome will come, and the filter, which forgets, did not know.
 * So the ledger is asked once for each request that begins to wait. What the pipeline is still at work on is answered by its outcome.
 */
#include "app_internal.h"

#include "base/check.h"
#include "intake/webhook.h"

#include <stdlib.h>
#include <string.h>

struct look {
	struct ledger_request request;
	struct app *app;
};

/* "transfer: http_not_found: …" says where it failed. */
static const char *failed_step(const char *last_error)
{
	static const char *const steps[] = {"store", "transfer", "describe"};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		size_t len = strlen(steps[i]);
		if (strncmp(last_error, steps[i], len) == 0 && last_error[len] == ':')
			return steps[i];
	}
	return NULL;
}

static void tell(struct app *app, const struct ledger_recording *row)
{
	const struct sid *sid = &row->job.recording_sid;
	switch (row->status) {
	case LEDGER_STORED:
		idempotency_set_archived(app->filter, sid, row->job.url);
		webhook_archived_before(app->webhook, sid, row->job.url);
		break;
	case LEDGER_SKIPPED:
		webhook_outcome(app->webhook, sid, LEDGER_OUTCOME_SKIPPED, NULL, NULL);
		break;
	case LEDGER_DEAD:
		webhook_outcome(app->webhook, sid, LEDGER_OUTCOME_DEAD, failed_step(row->last_error), NULL);
		break;
	default:
		break;
	}
}

static void looked(struct ledger_request *request, int status)
{
	struct look *look = CONTAINER_OF(request, struct look, request);
	if (status == 0 && request->recording_count == 1 && look->app->webhook != NULL)
		tell(look->app, &request->recordings[0]);
	ledger_request_release(request);
	free(look);
}

void app_look_if_settled(void *data, const struct sid *recording_sid)
{
	struct app *app = data;
	struct look *look = calloc(1, sizeof(*look));
	/* Without it the request waits for ACK_TIMEOUT. */
	if (look == NULL)
		return;
	look->app = app;
	look->request = (struct ledger_request){.op = LEDGER_GET, .recording_sid = *recording_sid, .done = looked};
	ledger_submit(app->ledger, &look->request);
}
