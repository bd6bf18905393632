/* SPDX-License-Identifier: MIT */
/*
 * What was archived, found again: by the API and by `reeld recordings`. The ledger says where it is; it must be where the store of this
 * configuration would put it. Loop thread only.
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
 * ELSEWHERE, ERR_CONFIG: it is in another store than this one.
 */
void archived_find(struct archived *archived, archived_cb *done);
/*
 * First the object, then the ledger: cut in between, the same call does the rest. 0 also when it is deleted already. The errors of archived_find, and by
 * STORE the store's error.
 */
void archived_delete(struct archived *archived, archived_cb *done);

#endif
