/* SPDX-License-Identifier: MIT */
#include "twilio/accounts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AC1 "AC00000000000000000000000000000001"
#define AC2 "AC00000000000000000000000000000002"
#define AC3 "AC0000000000000000000000000000000f"
#define URL "https://h.example/api/twilio/recording"

static struct twilio_accounts *accounts;
static struct error error;

static void setup(void)
{
	accounts = twilio_accounts_new();
	cr_assert_not_null(accounts);
}

static void teardown(void)
{
	twilio_accounts_free(&accounts);
	cr_expect_null(accounts);
	twilio_accounts_free(&accounts);
}

TestSuite(accounts, .init = setup, .fini = teardown);

static struct sid sid_of(const char *text)
{
	struct sid sid;

	snprintf(sid.text, sizeof(sid.text), "%s", text);
	return sid;
}

static bool verifies(const char *sid_text, const char *token)
{
	struct reeld_signature_key *key = reeld_signature_key_new(token, strlen(token));
	struct reeld_signature_request request = {.base = URL, .base_len = strlen(URL)};
	struct sid sid = sid_of(sid_text);
	char signature[REELD_SIGNATURE_SIZE];

	cr_assert(reeld_signature_sign(key, &request, signature));
	reeld_signature_key_free(&key);
	return twilio_accounts_verify(accounts, &sid, &request, signature, strlen(signature));
}

static void add(const char *sid, const char *tokens)
{
	cr_assert_eq(twilio_accounts_add(accounts, sid, tokens, NULL, NULL, &error), 0, "%s", error.detail);
}

static void expect_config_error(const char *sid, const char *tokens, const char *text)
{
	size_t before = twilio_accounts_count(accounts);

	cr_expect_eq(twilio_accounts_add(accounts, sid, tokens, NULL, NULL, &error), ERR_CONFIG, "%s %s", sid, tokens);
	cr_expect_not_null(strstr(error.detail, text), "%s", error.detail);
	cr_expect_eq(twilio_accounts_count(accounts), before);
}

Test(accounts, selects_the_key_by_account_sid)
{
	add(AC2, "two");
	add(AC1, "one");
	add(AC3, "three");
	cr_expect(verifies(AC1, "one"));
	cr_expect(verifies(AC2, "two"));
	cr_expect(verifies(AC3, "three"));
	cr_expect_not(verifies(AC1, "two"));
	cr_expect_not(verifies(AC2, "one"));
	cr_expect(verifies("AC0000000000000000000000000000000F", "three"), "hex digits are the same in either case");
	cr_expect_eq(twilio_accounts_count(accounts), 3);
}

Test(accounts, refuses_an_unknown_account_whatever_the_token)
{
	cr_expect_not(verifies(AC1, "one"), "an empty set lets nobody in");
	cr_expect_not(verifies("", "one"));
	add(AC1, "one");
	cr_expect_not(verifies(AC2, "one"));
}

Test(accounts, accepts_every_token_of_a_rotation)
{
	add(AC1, "new, old\t,older");
	cr_expect(verifies(AC1, "new"));
	cr_expect(verifies(AC1, "old"));
	cr_expect(verifies(AC1, "older"));
	cr_expect_not(verifies(AC1, "new, old\t,older"));
	cr_expect_not(verifies(AC1, "oldest"));
}

Test(accounts, uses_the_account_without_sid_for_all_others)
{
	add("", "any");
	add(AC1, "one");
	cr_expect(verifies(AC2, "any"));
	cr_expect(verifies(AC1, "one"));
	cr_expect_not(verifies(AC1, "any"), "an account of its own has only its own tokens");
	cr_expect_str_eq(twilio_accounts_first(accounts), AC1);
}

Test(accounts, tries_a_bounded_number_of_keys_when_no_account_is_named)
{
	char sid[SID_LEN + 1], token[16];

	for (int i = 0; i < TWILIO_ACCOUNTS_TRIED + 1; i++) {
		snprintf(sid, sizeof(sid), "AC%032x", 1000 - i);
		snprintf(token, sizeof(token), "t%d", i);
		add(sid, token);
	}
	cr_expect(verifies("", "t0"));
	snprintf(token, sizeof(token), "t%d", TWILIO_ACCOUNTS_TRIED - 1);
	cr_expect(verifies("", token));
	snprintf(token, sizeof(token), "t%d", TWILIO_ACCOUNTS_TRIED);
	cr_expect_not(verifies("", token));
	cr_expect(verifies(sid, token));
}

Test(accounts, refuses_bad_sids_and_tokens_and_does_not_repeat_them)
{
	add(AC1, "one");
	expect_config_error("AC1", "secret", "account SID is not");
	expect_config_error("0123456789abcdef0123456789abcdef", AC1, "account SID is not");
	cr_expect_null(strstr(error.detail, "0123456789abcdef"), "a swapped token would be shown");
	expect_config_error(AC2, "", "empty");
	expect_config_error(AC2, "secret,", "token 2 is empty");
	expect_config_error(AC2, ",secret", "token 1 is empty");
	expect_config_error(AC2, "sec ret", "space");
	cr_expect_null(strstr(error.detail, "sec"));
	expect_config_error(AC2, "1,2,3,4,5,6,7,8,9", "more than 8");
	expect_config_error(AC1, "another", "twice");
	cr_expect_not(verifies(AC1, "another"));
	add("", "any");
	expect_config_error("", "other", "twice");
}

Test(accounts, bounds_the_number_of_accounts)
{
	char sid[SID_LEN + 1];

	for (int i = 0; i < TWILIO_ACCOUNTS_MAX; i++) {
		snprintf(sid, sizeof(sid), "AC%032x", i * 7919 % TWILIO_ACCOUNTS_MAX);
		add(sid, i == 77 ? "found" : "t");
	}
	expect_config_error("ACffffffffffffffffffffffffffffffff", "t", "more than");
	snprintf(sid, sizeof(sid), "AC%032x", 77 * 7919 % TWILIO_ACCOUNTS_MAX);
	cr_expect(verifies(sid, "found"));
}

Test(accounts, gives_sid_and_first_token_or_the_api_key_as_credentials)
{
	const char *username, *password;
	struct sid one = sid_of(AC1), two = sid_of(AC2), three = sid_of(AC3), none = sid_of("");

	cr_expect_not(twilio_accounts_credentials(accounts, &one, &username, &password));
	add(AC1, " first ,second");
	cr_assert_eq(twilio_accounts_add(accounts, AC2, "token", "SK1", "secret", &error), 0);
	cr_assert(twilio_accounts_credentials(accounts, &one, &username, &password));
	cr_expect_str_eq(username, AC1);
	cr_expect_str_eq(password, "first");
	cr_assert(twilio_accounts_credentials(accounts, &two, &username, &password));
	cr_expect_str_eq(username, "SK1");
	cr_expect_str_eq(password, "secret");
	cr_expect_not(twilio_accounts_credentials(accounts, &three, &username, &password));

	add("", "any");
	cr_assert(twilio_accounts_credentials(accounts, &three, &username, &password));
	cr_expect_str_eq(username, AC3);
	cr_expect_str_eq(password, "any");
	cr_expect_not(twilio_accounts_credentials(accounts, &none, &username, &password));
	cr_expect_eq(twilio_accounts_add(accounts, AC3, "t", "SK1", NULL, &error), ERR_CONFIG);
	cr_expect_str_eq(twilio_accounts_first(accounts), AC1);
}

/* Files */

static char path[64];

static void write_file(const char *text)
{
	snprintf(path, sizeof(path), "/tmp/reeld_accounts_XXXXXX");
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int load(const char *text)
{
	write_file(text);
	int status = twilio_accounts_load(accounts, path, &error);
	unlink(path);
	return status;
}

Test(accounts, loads_lines_and_skips_comments_and_blank_ones)
{
	cr_assert_eq(load("# ours\r\n\n  " AC1 "\tone,uno  \r\n\t\n" AC2 "   two, due"), 0, "%s", error.detail);
	cr_expect_eq(twilio_accounts_count(accounts), 2);
	cr_expect(verifies(AC1, "uno"));
	cr_expect(verifies(AC2, "two"));
	cr_expect(verifies(AC2, "due"));
}

static void expect_load_error(const char *text, const char *line, const char *reason)
{
	cr_expect_eq(load(text), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, "TWILIO_ACCOUNTS_FILE: "), "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, path), "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, line), "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, reason), "%s", error.detail);
	cr_expect_null(strstr(error.detail, "hush"), "%s", error.detail);
}

Test(accounts, names_file_and_line_of_a_bad_line_and_never_its_secret)
{
	static char huge[4000];

	expect_load_error("# x\n" AC1 "\n", "line 2", "expected");
	expect_load_error(AC1 " hush\n\n" AC1 " hush\n", "line 3", "twice");
	expect_load_error("hushhush " AC2 "\n", "line 1", "account SID");
	expect_load_error(AC2 " hush hush\n", "line 1", "space");
	memset(huge, 'a', sizeof(huge) - 1);
	expect_load_error(huge, "line 1", "longer");
}

Test(accounts, says_why_a_file_cannot_be_read)
{
	cr_expect_eq(twilio_accounts_load(accounts, "/nonexistent/accounts", &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, "/nonexistent/accounts"));
	cr_expect_neq(twilio_accounts_load(accounts, "/", &error), 0);
	cr_expect_not_null(strstr(error.detail, "directory"), "%s", error.detail);
}

Test(accounts, a_key_replaces_the_token_of_its_own_account_for_rest_alone)
{
	const char *username, *password;
	struct sid one = sid_of(AC1), two = sid_of(AC2);

	add(AC1, "first");
	add(AC2, "second");
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(twilio_accounts_set_key(accounts, AC2, "SK1", i == 0 ? "old" : "new", &error), 0);
		cr_assert(twilio_accounts_credentials(accounts, &two, &username, &password));
		cr_expect_str_eq(username, "SK1");
		cr_expect_str_eq(password, i == 0 ? "old" : "new");
	}
	cr_assert(twilio_accounts_credentials(accounts, &one, &username, &password));
	cr_expect_str_eq(username, AC1);
	cr_expect(verifies(AC2, "second"), "signatures are verified with the token");
	cr_expect_eq(twilio_accounts_set_key(accounts, AC3, "SK1", "s", &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, AC3));
}
