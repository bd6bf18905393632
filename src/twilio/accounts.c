/* SPDX-License-Identifier: MIT */
#include "twilio/accounts.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_SIZE 1024

struct account {
	struct sid sid; /* "" for whatever AccountSid */
	char *username; /* NULL: the SID */
	char *password; /* NULL: the first token */
	char *first_token;
	struct reeld_signature_key *keys[TWILIO_ACCOUNT_TOKENS_MAX];
	size_t key_count;
};

struct twilio_accounts {
	struct account **by_sid; /* sorted; "" comes first */
	size_t count;
	size_t capacity;
	/* in the order they were added: what is tried for a request without AccountSid */
	struct account *first[TWILIO_ACCOUNTS_TRIED];
	const char *first_sid;
	struct reeld_signature_key
		*decoy; /* of a random token: checked for unknown accounts, so that the time does not tell them */
};

/* One account */

static char *copy_text(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (copy == NULL)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

static void wipe(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void account_free(struct account *account)
{
	if (account == NULL)
		return;
	for (size_t i = 0; i < account->key_count; i++)
		reeld_signature_key_free(&account->keys[i]);
	wipe(account->first_token);
	wipe(account->password);
	free(account->username);
	free(account);
}

/* A token is printable and has no space inside: anything else is a broken file, not a secret. */
static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7F)
			return false;
	}
	return s.len > 0;
}

static int account_add_token(struct account *account, struct slice token, struct error *error)
{
	if (!is_token(token))
		return error_set(error, ERR_CONFIG, "auth token %zu is empty or has a space or unreadable character in it",
				 account->key_count + 1);
	if (account->key_count == TWILIO_ACCOUNT_TOKENS_MAX)
		return error_set(error, ERR_CONFIG, "more than %d auth tokens for one account", TWILIO_ACCOUNT_TOKENS_MAX);
	struct reeld_signature_key *key = reeld_signature_key_new(token.ptr, token.len);
	if (key == NULL)
		return error_set(error, ERR_NOMEM, "out of memory for a signature key");
	account->keys[account->key_count++] = key;
	if (account->key_count > 1)
		return 0;
	account->first_token = copy_text(token.ptr, token.len);
	return account->first_token == NULL ? error_set(error, ERR_NOMEM, "out of memory for an account") : 0;
}

static int account_add_tokens(struct account *account, const char *tokens, struct error *error)
{
	for (;;) {
		const char *comma = strchrnul(tokens, ',');
		int status = account_add_token(account, slice_trim(slice_make(tokens, (size_t)(comma - tokens))), error);
		if (status != 0 || *comma == '\0')
			return status;
		tokens = comma + 1;
	}
}

static int account_set_credentials(struct account *account, const char *username, const char *password, struct error *error)
{
	if ((username == NULL) != (password == NULL))
		return error_set(error, ERR_CONFIG, "an API key needs its secret and a secret its key");
	if (username == NULL)
		return 0;
	account->username = copy_text(username, strlen(username));
	account->password = copy_text(password, strlen(password));
	if (account->username == NULL || account->password == NULL)
		return error_set(error, ERR_NOMEM, "out of memory for an account");
	return 0;
}

/* The set */

struct twilio_accounts *twilio_accounts_new(void)
{
	struct twilio_accounts *accounts = calloc(1, sizeof(*accounts));
	char token[32];

	if (accounts == NULL)
		return NULL;
	random_bytes(token, sizeof(token));
	accounts->decoy = reeld_signature_key_new(token, sizeof(token));
	accounts->first_sid = "";
	if (accounts->decoy == NULL)
		twilio_accounts_free(&accounts);
	return accounts;
}

void twilio_accounts_free(struct twilio_accounts **accounts)
{
	struct twilio_accounts *set = *accounts;

	if (set == NULL)
		return;
	for (size_t i = 0; i < set->count; i++)
		account_free(set->by_sid[i]);
	free(set->by_sid);
	reeld_signature_key_free(&set->decoy);
	free(set);
	*accounts = NULL;
}

/* Position of the account of that SID, or where it would go. The hex digits' case does not matter. */
static size_t find_position(const struct twilio_accounts *accounts, const char *sid, bool *found)
{
	size_t low = 0;
	size_t high = accounts->count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcasecmp(accounts->by_sid[middle]->sid.text, sid);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The account that answers for this SID, or NULL. */
static struct account *find_account(const struct twilio_accounts *accounts, const struct sid *sid)
{
	bool found;
	size_t at = find_position(accounts, sid->text, &found);

	if (!found)
		at = find_position(accounts, "", &found);
	return found ? accounts->by_sid[at] : NULL;
}

static int reserve_account(struct twilio_accounts *accounts, struct error *error)
{
	if (accounts->count == TWILIO_ACCOUNTS_MAX)
		return error_set(error, ERR_CONFIG, "more than %d accounts", TWILIO_ACCOUNTS_MAX);
	if (accounts->count < accounts->capacity)
		return 0;
	size_t capacity = accounts->capacity == 0 ? 8 : accounts->capacity * 2;
	struct account **grown = reallocarray(accounts->by_sid, capacity, sizeof(struct account *));
	if (grown == NULL)
		return error_set(error, ERR_NOMEM, "out of memory for %zu accounts", capacity);
	accounts->by_sid = grown;
	accounts->capacity = capacity;
	return 0;
}

static int build_account(struct account *account, const char *sid, const char *tokens, const char *username, const char *password,
			 struct error *error)
{
	if (sid[0] != '\0' && !sid_parse(slice_from_cstr(sid), "AC", &account->sid))
		return error_set(error, ERR_CONFIG, "the account SID is not AC and 32 hex digits (it has %zu characters)",
				 strlen(sid));
	int status = account_add_tokens(account, tokens, error);
	return status != 0 ? status : account_set_credentials(account, username, password, error);
}

int twilio_accounts_add(struct twilio_accounts *accounts, const char *sid, const char *tokens, const char *username,
			const char *password, struct error *error)
{
	struct account *account = calloc(1, sizeof(*account));
	bool found;

	if (account == NULL)
		return error_set(error, ERR_NOMEM, "out of memory for an account");
	int status = build_account(account, sid, tokens, username, password, error);
	size_t at = find_position(accounts, account->sid.text, &found);
	if (status == 0 && found)
		status = error_set(error, ERR_CONFIG,
				   sid[0] == '\0' ? "the account without a SID is given twice"
						  : "the account SID is given twice");
	if (status == 0)
		status = reserve_account(accounts, error);
	if (status != 0) {
		account_free(account);
		return status;
	}

	memmove(accounts->by_sid + at + 1, accounts->by_sid + at, (accounts->count - at) * sizeof(struct account *));
	accounts->by_sid[at] = account;
	if (accounts->count < TWILIO_ACCOUNTS_TRIED)
		accounts->first[accounts->count] = account;
	if (accounts->first_sid[0] == '\0')
		accounts->first_sid = account->sid.text;
	accounts->count++;
	return 0;
}

/* Files */

static int add_line(struct twilio_accounts *accounts, char *line, struct error *error)
{
	struct slice text = slice_trim(slice_from_cstr(line));

	if (text.len == 0 || text.ptr[0] == '#')
		return 0;
	char *sid = line + (text.ptr - line);
	sid[text.len] = '\0';
	char *tokens = sid + strcspn(sid, " \t");
	if (*tokens == '\0')
		return error_set(error, ERR_CONFIG, "expected an account SID, a space and its auth token");
	*tokens++ = '\0';
	return twilio_accounts_add(accounts, sid, tokens, NULL, NULL, error);
}

static int add_lines(struct twilio_accounts *accounts, FILE *file, const char *path, struct error *error)
{
	char line[LINE_SIZE];
	struct error reason = {0};
	int status = 0;

	for (size_t number = 1; status == 0 && fgets(line, sizeof(line), file) != NULL; number++) {
		if (strlen(line) == sizeof(line) - 1 && line[sizeof(line) - 2] != '\n')
			status = error_set(&reason, ERR_CONFIG, "the line is longer than %zu bytes", sizeof(line) - 2);
		else
			status = add_line(accounts, line, &reason);
		if (status != 0)
			error_set(error, status, "TWILIO_ACCOUNTS_FILE: %s line %zu: %s", path, number, reason.detail);
	}
	explicit_bzero(line, sizeof(line));
	if (status == 0 && ferror(file))
		return error_set(error, err_from_errno(errno), "TWILIO_ACCOUNTS_FILE: %s cannot be read: %s", path,
				 strerror(errno));
	return status;
}

int twilio_accounts_load(struct twilio_accounts *accounts, const char *path, struct error *error)
{
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return error_set(error, ERR_CONFIG, "TWILIO_ACCOUNTS_FILE: %s cannot be opened: %s", path, strerror(errno));
	int status = add_lines(accounts, file, path, error);
	fclose(file);
	return status;
}

int twilio_accounts_set_key(struct twilio_accounts *accounts, const char *sid, const char *username, const char *password,
			    struct error *error)
{
	bool found;
	size_t at = find_position(accounts, sid, &found);

	if (!found)
		return error_set(error, ERR_CONFIG, "there is no token of account %s", sid);
	struct account *account = accounts->by_sid[at];
	wipe(account->password);
	free(account->username);
	account->password = NULL;
	account->username = NULL;
	return account_set_credentials(account, username, password, error);
}

/* Questions */

size_t twilio_accounts_count(const struct twilio_accounts *accounts)
{
	return accounts->count;
}

struct sid *twilio_accounts_sids(const struct twilio_accounts *accounts, size_t *count)
{
	struct sid *sids = calloc(accounts->count + 1, sizeof(*sids));
	*count = 0;
	for (size_t i = 0; sids != NULL && i < accounts->count; i++) {
		if (sid_is_set(&accounts->by_sid[i]->sid))
			sids[(*count)++] = accounts->by_sid[i]->sid;
	}
	return sids;
}

static bool account_verify(const struct account *account, struct reeld_signature_request *request, const char *signature,
			   size_t signature_len)
{
	for (size_t i = 0; i < account->key_count; i++) {
		if (reeld_signature_verify(account->keys[i], request, signature, signature_len))
			return true;
	}
	return false;
}

bool twilio_accounts_verify(struct twilio_accounts *accounts, const struct sid *account_sid,
			    struct reeld_signature_request *request, const char *signature, size_t signature_len)
{
	if (sid_is_set(account_sid)) {
		const struct account *account = find_account(accounts, account_sid);
		if (account != NULL)
			return account_verify(account, request, signature, signature_len);
		(void)reeld_signature_verify(accounts->decoy, request, signature, signature_len);
		return false;
	}
	for (size_t i = 0; i < accounts->count && i < TWILIO_ACCOUNTS_TRIED; i++) {
		if (account_verify(accounts->first[i], request, signature, signature_len))
			return true;
	}
	return false;
}

bool twilio_accounts_known(const struct twilio_accounts *accounts, const struct sid *account_sid)
{
	return find_account(accounts, account_sid) != NULL;
}

bool twilio_accounts_credentials(const struct twilio_accounts *accounts, const struct sid *account_sid, const char **username,
				 const char **password)
{
	const struct account *account = find_account(accounts, account_sid);

	if (account == NULL)
		return false;
	*username = account->username;
	*password = account->password;
	if (account->username == NULL) {
		*username = sid_is_set(&account->sid) ? account->sid.text : account_sid->text;
		*password = account->first_token;
	}
	return (*username)[0] != '\0';
}

const char *twilio_accounts_first(const struct twilio_accounts *accounts)
{
	return accounts->first_sid;
}
