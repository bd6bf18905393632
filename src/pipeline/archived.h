/* SPDX-License-Identifier: MIT */
/*
 * What was archived, found again: by the API and by `reeld recordings`. Loop thread only.
 *
 * Whether the object under the recorded key of this store is the recording is for the store to say, not for the spelling of the URL, which follows the configuration:
 * the same kind of store, and an object with the recorded length and digest (to show it, by what the store tells; to delete it, by its bytes if need be). Where the
 * recorded URL is the object's own address, nothing else can be meant, whatever lies there. An object that is not there counts as deleted before only where the URL is
 * today's; otherwise it may lie elsewhere.
 */
#ifndef REELD_PIPELINE_ARCHIVED_H
#define REELD_PIPELINE_ARCHIVED_H

#include "ledger/ledger.h"
#include "store/store.h"

struct archived;
typedef void archived_cb(struct archived *archived, int status);

/* Where an operation ended. */
enum archived_place { ARCHIVED_LEDGER, ARCHIVED_STATUS, ARCHIVED_ELSEWHERE, ARCHIVED_STORE };

/* Embedded by the caller, zeroed but for the first part; it is ours until `done`, which comes once, never inside the call. */
struct archived {
	struct ledger *ledger;
	struct store *store;
	struct sid recording_sid;
	const char *by; /* who deletes, for the trail */
	void *data;

	enum archived_place place; /* of a failure */
	struct ledger_recording recording;
	bool already; /* delete: it was deleted before */
	struct error error;

	/* private */
	archived_cb *done;
	bool remove;
	struct ledger_request request;
	struct store_request object;
};

/*
 * 0 and the stored recording. Else by place: LEDGER, the ledger's error (ERR_NOT_FOUND: no such recording); STATUS, ERR_INVALID: it is not stored;
 * ELSEWHERE, ERR_CONFIG: it is in another store than this one; STORE, the store's error (ERR_NOT_FOUND, ERR_CHECKSUM: this is its place, but the object is gone or
 * another one). A directory is not asked about what has its own address: who opens the file sees.
 */
void archived_find(struct archived *archived, archived_cb *done);
/*
 * First the object, then the ledger: cut in between, the same call does the rest. 0 also when it is deleted already. The errors of archived_find, and by
 * STORE the store's error.
 */
void archived_delete(struct archived *archived, archived_cb *done);

#endif
