/* SPDX-License-Identifier: MIT */
/*
 * The accounts reeld serves: SIDs, auth tokens (several during a rotation) with their precomputed signature keys,
 * REST credentials. Immutable once built; a reload builds a new set and swaps it. Loop thread only (the signature
 * keys carry state).
 */
#ifndef REELD_TWILIO_ACCOUNTS_H
#define REELD_TWILIO_ACCOUNTS_H

#include "base/err.h"
#include "base/sid.h"

#include <reeld/signature.h>
#include <stdbool.h>

struct twilio_accounts;

/* Bounds: more of either is ERR_CONFIG. */
#define TWILIO_ACCOUNTS_MAX 4096
#define TWILIO_ACCOUNT_TOKENS_MAX 8
/*
 * A request that names no account could be any account's; trying more keys than this would make forged requests
 * expensive for us.
 */
#define TWILIO_ACCOUNTS_TRIED 16

/* NULL when out of memory. */
struct twilio_accounts *twilio_accounts_new(void);
/* Wipes the secrets. */
void twilio_accounts_free(struct twilio_accounts **accounts);

/*
 * Adds an account. `sid` may be "" for "whatever AccountSid" (only TWILIO_AUTH_TOKEN given). `tokens`: comma list,
 * spaces around a token do not count. username/password: REST credentials (both or neither), NULL: sid and first
 * token. 0, ERR_CONFIG (bad SID, empty or unreadable token, too many of either, twice the same SID), ERR_NOMEM; the
 * set is then as before. The error never repeats a value, since a SID and a token may have been swapped.
 */
int twilio_accounts_add(struct twilio_accounts *accounts, const char *sid, const char *tokens, const char *username,
			const char *password, struct error *error);
/*
 * Adds the lines `AC… token[,token]` of a file ('#' comments, blank lines allowed); errors name file and line, and
 * the lines before it stay added. Blocking.
 */
int twilio_accounts_load(struct twilio_accounts *accounts, const char *path, struct error *error);

/*
 * REST credentials of an account that is there, instead of its SID and first token: an API key, which is good for its own account
 * alone. 0, ERR_CONFIG (no such account), ERR_NOMEM.
 */
int twilio_accounts_set_key(struct twilio_accounts *accounts, const char *sid, const char *username, const char *password,
			    struct error *error);

size_t twilio_accounts_count(const struct twilio_accounts *accounts);
/*
 * Copies the SIDs of the accounts that have one into a malloc'ed array of *count (caller frees; never NULL unless out of memory). Not that of whatever
 * AccountSid.
 */
struct sid *twilio_accounts_sids(const struct twilio_accounts *accounts, size_t *count);

/*
 * Signature check of a request of `account_sid`: the account of that SID, else the one for whatever AccountSid. ""
 * (the form had none): the keys of the first TWILIO_ACCOUNTS_TRIED accounts. False when the account is unknown; that
 * takes about as long as a wrong signature of a known one.
 */
bool twilio_accounts_verify(struct twilio_accounts *accounts, const struct sid *account_sid,
			    struct reeld_signature_request *request, const char *signature, size_t signature_len);

/* Whether requests of this account can be verified. For the log: the answer to an unknown one is that to a wrong signature. */
bool twilio_accounts_known(const struct twilio_accounts *accounts, const struct sid *account_sid);

/*
 * REST credentials of an account. False when unknown. Pointers live as long as the set, except that the account for
 * whatever AccountSid has no name of its own: without a username of its own, *username is account_sid->text (and ""
 * is unknown).
 */
bool twilio_accounts_credentials(const struct twilio_accounts *accounts, const struct sid *account_sid, const char **username,
				 const char **password);
/* The first account with a SID, for checks; "" when none. */
const char *twilio_accounts_first(const struct twilio_accounts *accounts);

#endif
