/* SPDX-License-Identifier: MIT */
#include "pipeline/archived.h"

#include <string.h>

static void finish(struct archived *archived, enum archived_place place, int status)
{
	archived->place = place;
	archived->done(archived, status);
}

static void removed_from_ledger(struct ledger_request *request, int status)
{
	struct archived *archived = request->data;
	archived->error = request->error;
	if (status == 0 && request->changed == 0)
		status = error_set(&archived->error, ERR_INVALID,
				   "%s is being worked on: its object is gone, and it is not stored any more",
				   archived->recording_sid.text);
	ledger_request_release(request);
	finish(archived, status == ERR_INVALID ? ARCHIVED_STATUS : ARCHIVED_LEDGER, status);
}

static void removed_from_store(struct store_request *object, int status)
{
	struct archived *archived = object->data;
	if (status != 0) {
		archived->error = object->error;
		if (archived->error.code == 0)
			error_set(&archived->error, status, "%s", err_text(status));
		finish(archived, ARCHIVED_STORE, status);
		return;
	}
	archived->request = (struct ledger_request){.op = LEDGER_DELETED_OBJECT,
						    .done = removed_from_ledger,
						    .data = archived,
						    .recording_sid = archived->recording_sid,
						    .by = archived->by};
	ledger_submit(archived->ledger, &archived->request);
}

/* 0, or why it cannot be had. */
static int check_place(struct archived *archived)
{
	const struct ledger_recording *recording = &archived->recording;
	char url[LEDGER_URL_SIZE];
	if (recording->status != LEDGER_STORED) {
		archived->place = ARCHIVED_STATUS;
		return error_set(&archived->error, ERR_INVALID, "%s is %s, not stored", archived->recording_sid.text,
				 ledger_status_name(recording->status));
	}
	if (!store_key_is_valid(recording->job.key) || store_url(archived->store, recording->job.key, url, sizeof(url)) != 0 ||
	    strcmp(url, recording->job.url) != 0) {
		archived->place = ARCHIVED_ELSEWHERE;
		return error_set(&archived->error, ERR_CONFIG,
				 "%s is stored at %s, which is not in the storage of this configuration",
				 archived->recording_sid.text, recording->job.url);
	}
	return 0;
}

static void found(struct ledger_request *request, int status)
{
	struct archived *archived = request->data;
	if (status == 0)
		archived->recording = request->recordings[0];
	else
		archived->error = request->error;
	ledger_request_release(request);
	if (status != 0) {
		finish(archived, ARCHIVED_LEDGER, status);
		return;
	}
	if (archived->remove && archived->recording.status == LEDGER_DELETED) {
		archived->already = true;
		finish(archived, ARCHIVED_LEDGER, 0);
		return;
	}
	status = check_place(archived);
	if (status != 0 || !archived->remove) {
		archived->done(archived, status);
		return;
	}
	archived->object = (struct store_request){
		.op = STORE_DELETE, .done = removed_from_store, .data = archived, .key = archived->recording.job.key};
	store_submit(archived->store, &archived->object);
}

static void start(struct archived *archived, archived_cb *done, bool remove)
{
	archived->done = done;
	archived->remove = remove;
	archived->already = false;
	archived->error = (struct error){0};
	archived->request = (struct ledger_request){
		.op = LEDGER_GET, .done = found, .data = archived, .recording_sid = archived->recording_sid};
	ledger_submit(archived->ledger, &archived->request);
}

void archived_find(struct archived *archived, archived_cb *done)
{
	start(archived, done, false);
}

void archived_delete(struct archived *archived, archived_cb *done)
{
	start(archived, done, true);
}
