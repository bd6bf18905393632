/* SPDX-License-Identifier: MIT */
/*
 * The pipeline: runs leased jobs, at most as many at a time as the adaptive limit allows, each through the steps of steps.def,
 * and returns them to the ledger with an outcome. Claims due and orphaned work by itself, renews leases by heartbeat.
 */
#ifndef REELD_PIPELINE_PIPELINE_H
#define REELD_PIPELINE_PIPELINE_H

#include "base/metrics.h"
#include "ledger/idempotency.h"
#include "ledger/ledger.h"
#include "store/store.h"
#include "twilio/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct private_keys;    /* twilio/private_keys.h */
struct twilio_accounts; /* twilio/accounts.h */

enum unknown_call { UNKNOWN_CALL_FETCH, UNKNOWN_CALL_ARCHIVE, UNKNOWN_CALL_SKIP };

struct pipeline_options {
	struct ledger *ledger;
	struct idempotency *filter;
	struct twilio_client *twilio;
	struct store *store;
	struct metrics *metrics;
	size_t max_transfers;   /* of one account fewer, while Twilio limits it */
	size_t transfer_buffer; /* bytes of ring per transfer */
	int max_attempts;
	int64_t retry_base_ms;
	int64_t retry_max_ms;
	bool mp3;     /* RECORDING_FORMAT */
	int channels; /* RECORDING_CHANNELS; 0: source */
	enum unknown_call unknown_call;
	bool delete_from_twilio;
	const char *key_prefix;
	const struct private_keys
		*keys; /* TWILIO_ENCRYPTION_KEYS; NULL: encrypted recordings are archived as they are. Borrowed */
	/* How a recording ended this attempt, for ACK=archived; after the ledger has it. outcome DONE has a url; else code is the
	 * error's and `step` the place of the failure: a step's name ("lookup", "describe", "transfer": Twilio's side of it, …)
	 * or "store", the storage's side of a transfer; the side that was down when it was turned away before it began. Not called when the lease was lost: another replica tells how it ended.
	 */
	void (*on_outcome)(void *data, const struct sid *recording_sid, enum ledger_outcome outcome, int code, const char *step,
			   const char *url);
	void *data;
};

struct pipeline;

struct pipeline *pipeline_new(uv_loop_t *loop, const struct pipeline_options *options);
/* How many more leased jobs it takes now. */
size_t pipeline_capacity(const struct pipeline *pipeline);
/* Takes jobs leased elsewhere (the forwarder); at most pipeline_capacity(). Copied. */
void pipeline_take(struct pipeline *pipeline, const struct ledger_job *jobs, size_t count);
/* There may be new pending work. */
void pipeline_wake(struct pipeline *pipeline);
/*
 * These accounts are configured, and so each is held back, and limited, by itself; until then all recordings are of one account. On a reload too: something is new, so
 * accounts that are held back are tried at once. Borrowed during the call. 0, or ERR_NOMEM: as before.
 */
int pipeline_set_accounts(struct pipeline *pipeline, const struct twilio_accounts *accounts);
/* Other private keys from now on; the old ones may be freed. What waits for one of them is fetched from the ledger. */
void pipeline_set_keys(struct pipeline *pipeline, const struct private_keys *keys);
size_t pipeline_running(const struct pipeline *pipeline);

/* Shutdown: start nothing new, let running jobs finish; `drained` when none is left. */
void pipeline_drain(struct pipeline *pipeline, void (*drained)(void *data), void *data);
/* Cut what still runs (released, not charged) and close. The ledger must still be open. */
void pipeline_close(struct pipeline *pipeline, void (*closed)(void *data), void *data);

/*
 * The ledger may have leased recordings to this process whose answer was lost: it is asked for those that are not held here, as soon as there is room for
 * them. The pipeline does so by itself after a claim that failed.
 */
void pipeline_reclaim(struct pipeline *pipeline);

/* Dependency states as seen by the breakers. */
bool pipeline_twilio_up(const struct pipeline *pipeline);
bool pipeline_store_up(const struct pipeline *pipeline);

#endif
