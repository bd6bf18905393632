/* SPDX-License-Identifier: MIT */
/*
 * The accounts reeld serves: SIDs, auth tokens (several during a rotation) with their precomputed signature keys, REST credentials.
 * Immutable once built; a reload builds a new set and swaps it. Loop thread only (the signature keys carry state).
 */
#ifndef REELD_TWILIO_ACCOUNTS_H
#define REELD_TWILIO_ACCOUNTS_H

#include "base/err.h"
#include "base/sid.h"

#include <reeld/signature.h>
#include <stdbool.h>

struct twilio_accounts;

struct twilio_accounts *twilio_accounts_new(void);
void twilio_accounts_free(struct twilio_accounts **accounts);

/*
 * Adds an account. `sid` may be "" for "whatever AccountSid" (only TWILIO_AUTH_TOKEN given). `tokens`: comma list. username/password: REST
 * credentials, NULL: sid and first token. 0, ERR_CONFIG (bad SID, empty token, twice the same SID), ERR_NOMEM.
 */
int twilio_accounts_add(struct twilio_accounts *accounts, const char *sid, const char *tokens, const char *username, const char *password, struct error *error);
/* Adds the lines `AC… token[,token]` of a file ('#' comments, blank lines allowed); errors name file and line. Blocking. */
int twilio_accounts_load(struct twilio_accounts *accounts, const char *path, struct error *error);

size_t twilio_accounts_count(const struct twilio_accounts *accounts);

/* Signature check of a request of `account_sid` ("" when the form had none: every account's keys are tried). False when the account is unknown. Does about the same
 * work for an unknown account as for a known one. */
bool twilio_accounts_verify(struct twilio_accounts *accounts, const struct sid *account_sid, struct reeld_signature_request *request,
			    const char *signature, size_t signature_len);

/* REST credentials of an account. False when unknown. Pointers live as long as the set. */
bool twilio_accounts_credentials(const struct twilio_accounts *accounts, const struct sid *account_sid, const char **username, const char **password);
/* The first account with a SID, for checks; "" when none. */
const char *twilio_accounts_first(const struct twilio_accounts *accounts);

#endif
