/* SPDX-License-Identifier: MIT */
/* /api/recordings: lists, one with its trail, retry, deletion. Each request holds its connection, of which there are few. */
#include "admin/admin_internal.h"

#include "admin/json.h"
#include "admin/query.h"
#include "base/log.h"
#include "pipeline/archived.h"

#include <errno.h>
#include <stdlib.h>

#define LIST_DEFAULT 50
#define LIST_MAX 200
/* So many are put back in one transaction: a daemon is not kept from its ledger for long. */
#define RETRY_DEFAULT 500
#define RETRY_MAX 1000
#define BODY_MAX ((size_t)4 << 20)

struct api_call {
	struct admin *admin;
	struct connection *connection;
	struct ledger_request request;
	struct archived archived;
	char cursor[64];
};

/* NULL when there was no memory, and that was answered. */
static struct api_call *call_begin(struct admin *admin, struct connection *connection)
{
	struct api_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		admin_reply_error(connection, 500, NULL, "out of memory");
		return NULL;
	}
	call->admin = admin;
	call->connection = connection;
	admin_hold(admin);
	return call;
}

/* After its answer. */
static void call_end(struct api_call *call)
{
	struct admin *admin = call->admin;
	ledger_request_release(&call->request);
	free(call);
	admin_release(admin);
}

static void submit(struct api_call *call, ledger_cb *done)
{
	call->request.done = done;
	call->request.data = call;
	ledger_submit(call->admin->options.ledger, &call->request);
}

/* The same, unless `wrong` says what is wrong with the parameters. */
static void submit_checked(struct api_call *call, const char *wrong, ledger_cb *done)
{
	if (wrong == NULL) {
		submit(call, done);
		return;
	}
	admin_reply_error(call->connection, 400, NULL, wrong);
	call_end(call);
}

/* True when the ledger failed, which was answered: the call is over. */
static bool call_failed(struct api_call *call, int status)
{
	if (status == 0)
		return false;
	admin_reply_ledger_error(call->connection, status, &call->request.error);
	call_end(call);
	return true;
}

/* ---- lists ---- */

static void listed(struct ledger_request *request, int status)
{
	struct api_call *call = request->data;
	if (call_failed(call, status))
		return;
	struct buffer body;
	buffer_init(&body, BODY_MAX);
	buffer_append_cstr(&body, "{\"recordings\":[");
	for (size_t i = 0; i < request->recording_count; i++) {
		buffer_append_cstr(&body, i == 0 ? "{" : ",{");
		json_recording(&body, &request->recordings[i]);
		buffer_append_char(&body, '}');
	}
	buffer_append_cstr(&body, "],");
	json_text(&body, "nextCursor", request->next_cursor);
	json_end(&body);
	admin_reply_json(call->connection, &body);
	buffer_free(&body);
	call_end(call);
}

/* False when it is no number from 1 to `most`. */
static bool read_limit(struct slice query, size_t fallback, size_t most, size_t *limit)
{
	char text[64];
	char *end;
	enum admin_query_result result = admin_query_get(query, "limit", text, sizeof(text));
	*limit = fallback;
	if (result == QUERY_ABSENT)
		return true;
	errno = 0;
	*limit = strtoul(text, &end, 10);
	return result == QUERY_FOUND && text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *limit >= 1 &&
	       *limit <= most;
}

/* NULL, or what is wrong. */
static const char *read_cursor(struct slice query, struct api_call *call)
{
	if (admin_query_get(query, "cursor", call->cursor, sizeof(call->cursor)) == QUERY_BAD)
		return "cursor: want the nextCursor of the page before";
	call->request.cursor = call->cursor;
	return NULL;
}

/* NULL, or what is wrong with the parameters. */
static const char *read_list_query(struct slice query, struct api_call *call)
{
	char text[64];
	struct ledger_request *request = &call->request;
	enum ledger_status status;
	enum admin_query_result result = admin_query_get(query, "status", text, sizeof(text));
	if (result == QUERY_BAD || (result == QUERY_FOUND && !ledger_status_parse(slice_from_cstr(text), &status)))
		return "status: want one of pending, running, stored, skipped, absent, failed, dead, deleted";
	request->status_filter = result == QUERY_FOUND ? (int)status : -1;

	result = admin_query_get(query, "q", text, sizeof(text));
	struct slice q = slice_from_cstr(text);
	if (result == QUERY_BAD || (result == QUERY_FOUND && !sid_parse(q, "RE", &request->of) &&
				    !sid_parse(q, "CA", &request->of) && !sid_parse(q, "CF", &request->of)))
		return "q: want a whole RecordingSid, CallSid or ConferenceSid";

	if (!read_limit(query, LIST_DEFAULT, LIST_MAX, &request->limit))
		return "limit: want a number from 1 to 200";
	return read_cursor(query, call);
}

void admin_on_recordings(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)sid;
	struct api_call *call = call_begin(admin, connection);
	if (call == NULL)
		return;
	call->request.op = LEDGER_LIST;
	submit_checked(call, read_list_query(request->query, call), listed);
}

/* ---- one ---- */

static void got(struct ledger_request *request, int status)
{
	struct api_call *call = request->data;
	if (call_failed(call, status))
		return;
	struct buffer body;
	buffer_init(&body, BODY_MAX);
	buffer_append_char(&body, '{');
	json_recording(&body, &request->recordings[0]);
	buffer_append_cstr(&body, ",\"events\":[");
	for (size_t i = 0; i < request->audit_count; i++) {
		const struct ledger_audit *audit = &request->audit[i];
		buffer_append_cstr(&body, i == 0 ? "{" : ",{");
		json_time(&body, "at", audit->at_ms);
		json_text(&body, "what", audit->what);
		json_text(&body, "detail", audit->detail);
		json_end(&body);
	}
	buffer_append_cstr(&body, "]}");
	admin_reply_json(call->connection, &body);
	buffer_free(&body);
	call_end(call);
}

static void reply_status(struct connection *connection, const struct sid *sid, const char *status)
{
	struct buffer body;
	buffer_init(&body, 256);
	buffer_printf(&body, "{\"sid\":\"%s\",\"status\":\"%s\"}", sid->text, status);
	admin_reply_json(connection, &body);
	buffer_free(&body);
}

static void deleted(struct archived *archived, int status)
{
	struct api_call *call = archived->data;
	idempotency_clear(call->admin->options.filter, &archived->recording_sid); /* also where the ledger does not know yet */
	if (status == 0) {
		if (!archived->already)
			log_event(LOG_INFO, "api.deleted", LOG_STR("recording_sid", archived->recording_sid.text));
		reply_status(call->connection, &archived->recording_sid, "deleted");
	} else if (archived->place == ARCHIVED_STORE) {
		admin_reply_error(call->connection, 502, NULL, archived->error.detail);
	} else if (archived->place == ARCHIVED_LEDGER) {
		admin_reply_ledger_error(call->connection, status, &archived->error);
	} else {
		admin_reply_error(call->connection, 409, NULL, archived->error.detail);
	}
	call_end(call);
}

void admin_on_recording(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	struct api_call *call = call_begin(admin, connection);
	if (call == NULL)
		return;
	if (request->method != REQUEST_DELETE) {
		call->request = (struct ledger_request){.op = LEDGER_GET, .recording_sid = *sid};
		submit(call, got);
		return;
	}
	call->archived = (struct archived){
		.ledger = admin->options.ledger, .store = admin->options.store, .recording_sid = *sid, .by = "api", .data = call};
	archived_delete(&call->archived, deleted);
}

/* ---- retry ---- */

static void tell_requeued(const struct admin *admin)
{
	if (admin->options.requeued != NULL && !admin_is_closing(admin))
		admin->options.requeued(admin->options.data);
}

static void retried(struct ledger_request *request, int status)
{
	struct api_call *call = request->data;
	if (status != 0) {
		admin_reply_ledger_error(call->connection, status, &request->error);
	} else if (request->changed == 0) {
		admin_reply_error(call->connection, 409, NULL,
				  "It cannot be retried: it is running, stored with nothing left to do, deleted, or waits for "
				  "Twilio to say completed");
	} else {
		log_event(LOG_INFO, "api.retried", LOG_STR("recording_sid", request->recording_sid.text));
		reply_status(call->connection, &request->recording_sid, "pending");
		tell_requeued(call->admin);
	}
	call_end(call);
}

void admin_on_retry(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)request;
	struct api_call *call = call_begin(admin, connection);
	if (call == NULL)
		return;
	call->request = (struct ledger_request){.op = LEDGER_RETRY, .recording_sid = *sid, .by = "api"};
	submit(call, retried);
}

static void retried_dead(struct ledger_request *request, int status)
{
	struct api_call *call = request->data;
	if (call_failed(call, status))
		return;
	struct buffer body;
	buffer_init(&body, 256);
	buffer_printf(&body, "{\"retried\":%zu,", request->changed);
	json_text(&body, "nextCursor", request->next_cursor);
	json_end(&body);
	admin_reply_json(call->connection, &body);
	buffer_free(&body);
	if (request->changed > 0) {
		log_event(LOG_INFO, "api.retried_dead", LOG_U64("count", request->changed));
		tell_requeued(call->admin);
	}
	call_end(call);
}

/* Which ones has to be said, although there is only one choice: a request that means one recording and lost its SID must not mean all. */
static const char *read_retry_query(struct slice query, struct api_call *call)
{
	char text[16];
	enum admin_query_result result = admin_query_get(query, "status", text, sizeof(text));
	if (result != QUERY_FOUND || strcmp(text, "dead") != 0)
		return "status: want dead, the only ones that are put back together";
	if (!read_limit(query, RETRY_DEFAULT, RETRY_MAX, &call->request.limit))
		return "limit: want a number from 1 to 1000";
	return read_cursor(query, call);
}

void admin_on_retry_dead(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)sid;
	struct api_call *call = call_begin(admin, connection);
	if (call == NULL)
		return;
	call->request = (struct ledger_request){.op = LEDGER_RETRY, .all_dead = true, .by = "api"};
	submit_checked(call, read_retry_query(request->query, call), retried_dead);
}
