/* SPDX-License-Identifier: MIT */
/*
 * The private keys of TWILIO_ENCRYPTION_KEYS: a directory of PEM files named by the SID of their public key at Twilio, `CR….pem` or just `CR…`. Several are
 * normal: Twilio's setting may change, and a recording says which key it was encrypted with (error 16107: not always the one that was set). Immutable once
 * loaded; a reload makes a new set. Loop thread only, but for the keys themselves.
 */
#ifndef REELD_TWILIO_PRIVATE_KEYS_H
#define REELD_TWILIO_PRIVATE_KEYS_H

#include "adapters/rsa_key.h"
#include "base/err.h"
#include "base/sid.h"
#include "base/slice.h"

#define PRIVATE_KEYS_MAX 64 /* trying one takes milliseconds, and a reload does it on the loop */

struct private_keys;

/* What load has to say that is no error; `name` is the file's. */
typedef void private_keys_warning(void *data, const char *name, const char *warning);

/*
 * Loads all. Files whose names begin with a dot are passed over, others that are not named like a key are warned of, and so is a file that everybody
 * may read. ERR_CONFIG, with a line that names directory and file: no such directory, no key in it, a bad one, two files for one SID, too many. Every key is
 * tried: it must open what its public half sealed. Blocking.
 */
int private_keys_load(struct private_keys **ret, const char *directory, private_keys_warning *warning, void *data,
		      struct error *error);
/* Accepts NULL, sets *keys to NULL. */
void private_keys_free(struct private_keys **keys);
size_t private_keys_count(const struct private_keys *keys);
/* The SID of the n-th, below the count. */
const struct sid *private_keys_sid(const struct private_keys *keys, size_t n);
/* The key of that public key's SID, NULL when it is not there. Borrowed; rsa_key_share keeps it longer. */
struct rsa_key *private_keys_find(const struct private_keys *keys, const struct sid *public_key_sid);

#endif
