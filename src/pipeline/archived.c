/* SPDX-License-Identifier: MIT */
#include "pipeline/archived.h"

#include "base/hex.h"

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

static void store_answered(struct archived *archived, int status)
{
	archived->error = archived->object.error;
	if (status != 0 && archived->error.code == 0)
		error_set(&archived->error, status, "%s", err_text(status));
	finish(archived, ARCHIVED_STORE, status);
}

static void removed_from_store(struct store_request *object, int status)
{
	struct archived *archived = object->data;
	if (status != 0) {
		store_answered(archived, status);
		return;
	}
	archived->request = (struct ledger_request){.op = LEDGER_DELETED_OBJECT,
						    .done = removed_from_ledger,
						    .data = archived,
						    .recording_sid = archived->recording_sid,
						    .by = archived->by};
	ledger_submit(archived->ledger, &archived->request);
}

static void is_elsewhere(struct archived *archived)
{
	int status = error_set(&archived->error, ERR_CONFIG,
			       "%s is stored at %s, which is not in the storage of this configuration",
			       archived->recording_sid.text, archived->recording.job.url);
	finish(archived, ARCHIVED_ELSEWHERE, status);
}

static void submit_object(struct archived *archived, enum store_op op, store_cb *done)
{
	archived->object.op = op;
	archived->object.done = done;
	archived->object.data = archived;
	archived->object.key = archived->recording.job.key;
	store_submit(archived->store, &archived->object);
}

static void looked(struct store_request *object, int status)
{
	struct archived *archived = object->data;
	const struct ledger_job *job = &archived->recording.job;
	bool absent = status == ERR_NOT_FOUND;
	/* Only now: the asking may have taught the store its region, and so its address. */
	enum store_url_tells tells = store_url_judge(archived->store, job->key, job->url);
	bool is_its_place = tells == STORE_URL_OWN || (tells == STORE_URL_NAMED && absent);
	if ((absent || status == ERR_CHECKSUM) && !is_its_place) {
		is_elsewhere(archived);
	} else if (archived->remove && (status == 0 || absent || status == ERR_CHECKSUM)) {
		submit_object(archived, STORE_DELETE, removed_from_store);
	} else {
		store_answered(archived, status);
	}
}

static void decode(const char *hex, uint8_t *out, size_t size)
{
	struct slice text = slice_from_cstr(hex);
	if (text.len != 2 * size || !hex_decode(text, out))
		memset(out, 0, size);
}

static void look(struct archived *archived)
{
	const struct ledger_recording *recording = &archived->recording;
	struct store_digest *digest = &archived->object.digest;
	digest->bytes = recording->job.bytes;
	decode(recording->md5, digest->md5, sizeof(digest->md5));
	decode(recording->job.sha256, digest->sha256, sizeof(digest->sha256));
	submit_object(archived, archived->remove ? STORE_VERIFY : STORE_LOOK, looked);
}

static void find_object(struct archived *archived)
{
	const struct ledger_job *job = &archived->recording.job;
	enum store_url_tells tells = store_url_judge(archived->store, job->key, job->url);
	if (!store_key_is_valid(job->key) || tells == STORE_URL_FOREIGN)
		is_elsewhere(archived);
	else if (tells != STORE_URL_OWN)
		look(archived);
	else if (archived->remove)
		submit_object(archived, STORE_DELETE, removed_from_store);
	else if (store_reads(archived->store))
		finish(archived, ARCHIVED_STORE, 0);
	else
		look(archived); /* a link is signed for a region, which asking teaches */
}

static void found(struct ledger_request *request, int status)
{
	struct archived *archived = request->data;
	enum ledger_status is = LEDGER_PENDING;
	if (status == 0) {
		archived->recording = request->recordings[0];
		is = archived->recording.status;
	} else {
		archived->error = request->error;
	}
	ledger_request_release(request);
	if (status != 0) {
		finish(archived, ARCHIVED_LEDGER, status);
	} else if (archived->remove && is == LEDGER_DELETED) {
		archived->already = true;
		finish(archived, ARCHIVED_LEDGER, 0);
	} else if (is != LEDGER_STORED) {
		finish(archived, ARCHIVED_STATUS,
		       error_set(&archived->error, ERR_INVALID, "%s is %s, not stored", archived->recording_sid.text,
				 ledger_status_name(is)));
	} else {
		find_object(archived);
	}
}

static void start(struct archived *archived, archived_cb *done, bool remove)
{
	archived->done = done;
	archived->remove = remove;
	archived->already = false;
	archived->error = (struct error){0};
	archived->object = (struct store_request){0};
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
