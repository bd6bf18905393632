/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include "support/captured.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The worked example of https://www.twilio.com/docs/usage/security */
#define EXAMPLE                                                                                                      \
	"--url", "https://example.com/myapp.php?foo=1&bar=2", "Digits=1234", "To=+18005551212", "From=+14158675310", \
		"Caller=+14158675310", "CallSid=CA1234567890ABCDE"
#define EXAMPLE_SIGNATURE "L/OH5YylLD5NRKLltdqwSvS0BnU="
/* A vector of twilio-node's tests */
#define BODY "{\"property\": \"value\", \"boolean\": true}"
#define BODY_HASH "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
#define BODY_SIGNATURE "a9nBmqA0ju/hNViExpshrM61xv4="

static char body_path[64];

/* The list ends with NULL. */
static int run(const char *env_token, ...)
{
	char *argv[32] = {(char *)"sign"};
	int argc = 1;
	va_list args;
	struct config config = {.twilio_auth_token = (char *)env_token};

	va_start(args, env_token);
	while ((argv[argc] = va_arg(args, char *)) != NULL)
		argc++;
	va_end(args);
	return captured_run(cmd_sign, &config, argc, argv);
}

static const char *body_file(const char *text)
{
	snprintf(body_path, sizeof(body_path), "/tmp/reeld_body_XXXXXX");
	int fd = mkstemp(body_path);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return body_path;
}

static void remove_body(void)
{
	if (body_path[0] != '\0')
		unlink(body_path);
}

TestSuite(cmd_sign, .fini = remove_body);

Test(cmd_sign, prints_only_the_signature)
{
	cr_expect_eq(run(NULL, EXAMPLE, "--token", "12345", NULL), CMD_OK);
	cr_expect_str_eq(out, EXAMPLE_SIGNATURE "\n");
	cr_expect_str_eq(err, "");
}

Test(cmd_sign, takes_the_first_token_of_the_configuration_and_prefers_the_option)
{
	cr_expect_eq(run(" 12345 ,old", EXAMPLE, NULL), CMD_OK);
	cr_expect_str_eq(out, EXAMPLE_SIGNATURE "\n");
	cr_expect_eq(run("old", EXAMPLE, "--token=12345", NULL), CMD_OK);
	cr_expect_str_eq(out, EXAMPLE_SIGNATURE "\n");
}

Test(cmd_sign, leaves_the_fragment_out)
{
	cr_expect_eq(run("12345", "--url", "https://mycompany.com/myapp.php?foo=1&bar=2#rc=5&rp=all", "CallSid=CA1234567890ABCDE",
			 "Caller=+14158675309", "Digits=1234", "From=+14158675309", "To=+18005551212", NULL),
		     CMD_OK);
	cr_expect_str_eq(out, "RSOYDt4T1cUTdK1PDd93/VVr8B8=\n");
}

Test(cmd_sign, verifies_with_any_token_and_says_so_by_its_status)
{
	cr_expect_eq(run("12345", EXAMPLE, "--verify", EXAMPLE_SIGNATURE, NULL), CMD_OK);
	cr_expect_str_eq(out, "valid\n");
	cr_expect_eq(run("new,12345", EXAMPLE, "--verify", EXAMPLE_SIGNATURE, NULL), CMD_OK);
	cr_expect_eq(run("new", EXAMPLE, "--verify", EXAMPLE_SIGNATURE, NULL), CMD_FAILED);
	cr_expect_str_eq(out, "invalid\n");
	cr_expect_eq(run("12345", EXAMPLE, "Extra=1", "--verify", EXAMPLE_SIGNATURE, NULL), CMD_FAILED);
	cr_expect_eq(run("12345", EXAMPLE, "--verify", "", NULL), CMD_FAILED);
}

Test(cmd_sign, reads_a_form_body_and_adds_the_parameters_given)
{
	const char *path = body_file("To=%2B18005551212&From=%2B14158675310&Caller=%2B14158675310&CallSid=CA1234567890ABCDE");

	cr_expect_eq(
		run("12345", "--url", "https://example.com/myapp.php?foo=1&bar=2", "--form", "--body", path, "Digits=1234", NULL),
		CMD_OK);
	cr_expect_str_eq(out, EXAMPLE_SIGNATURE "\n");
}

Test(cmd_sign, binds_a_raw_body_by_its_hash_and_shows_the_url)
{
	const char *path = body_file(BODY);
	const char *url = "https://mycompany.com/myapp.php?foo=1&bar=2";

	cr_expect_eq(run("12345", "--url", url, "--body", path, NULL), CMD_OK);
	cr_expect_str_eq(out, BODY_SIGNATURE "\n");
	cr_expect_str_eq(err, "URL: https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=" BODY_HASH "\n");
	cr_expect_eq(run("12345", "--url", "https://mycompany.com/myapp.php#rc=5", "--body", path, NULL), CMD_OK);
	cr_expect_str_eq(err, "URL: https://mycompany.com/myapp.php?bodySHA256=" BODY_HASH "\n");
}

Test(cmd_sign, checks_a_hash_that_the_url_has_already)
{
	const char *path = body_file(BODY);
	const char *url = "https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=" BODY_HASH;

	cr_expect_eq(run("12345", "--url", url, "--body", path, NULL), CMD_OK);
	cr_expect_str_eq(out, BODY_SIGNATURE "\n");
	cr_expect_str_eq(err, "");
	cr_expect_eq(run("12345", "--url", url, "--body", path, "--verify", BODY_SIGNATURE, NULL), CMD_OK);
	remove_body();
	path = body_file(BODY " ");
	cr_expect_eq(run("12345", "--url", url, "--body", path, NULL), CMD_FAILED);
	cr_expect_not_null(strstr(err, "bodySHA256"), "%s", err);
	cr_expect_eq(run("12345", "--url", url, "--body", path, "--verify", BODY_SIGNATURE, NULL), CMD_FAILED);
	cr_expect_str_eq(out, "invalid\n");
}

Test(cmd_sign, needs_the_hash_even_of_an_empty_raw_body)
{
	const char *path = body_file("");
	const char *empty = "https://h.example/?bodySHA256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	char signature[64];

	cr_expect_eq(run("12345", "--url", "https://h.example/", "--body", path, NULL), CMD_OK);
	snprintf(signature, sizeof(signature), "%.28s", out);
	cr_expect_eq(run("12345", "--url", empty, "--body", path, "--verify", signature, NULL), CMD_OK);
	cr_expect_eq(run("12345", "--url", "https://h.example/", "--body", path, "--verify", "abc", NULL), CMD_FAILED);
}

Test(cmd_sign, explains_wrong_usage_on_stderr_with_status_2)
{
	static const char *const cases[][5] = {
		{NULL},
		{"--url", "/only/a/path", NULL},
		{"--url", "https://h.example/", "novalue", NULL},
		{"--url", "https://h.example/", "=value", NULL},
		{"--url", NULL},
		{"--frobnicate", NULL},
		{"-x", NULL},
		{"--url", "https://h.example/", "--form", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = run("hush", cases[i][0], cases[i][1], cases[i][2], cases[i][3], cases[i][4], NULL);
		cr_expect_eq(status, CMD_USAGE, "case %zu: %d", i, status);
		cr_expect_str_eq(out, "");
		cr_expect_not_null(strstr(err, "\nusage: reeld sign"), "%s", err);
		cr_expect_null(strstr(err, "hush"));
	}
	cr_expect_eq(run(NULL, EXAMPLE, NULL), CMD_USAGE);
	cr_expect_not_null(strstr(err, "TWILIO_AUTH_TOKEN"));
	cr_expect_eq(run("t", EXAMPLE, "--body", body_file("x"), NULL), CMD_USAGE);
}

Test(cmd_sign, fails_with_status_1_when_the_operation_cannot_be_done)
{
	cr_expect_eq(run("t", "--url", "https://h.example/", "--body", "/nonexistent", NULL), CMD_FAILED);
	cr_expect_not_null(strstr(err, "/nonexistent: No such file"), "%s", err);
	cr_expect_eq(run("t", "--url", "https://h.example/", "--body", "/", NULL), CMD_FAILED);
	cr_expect_eq(run("t", "--url", "https://h.example/", "--form", "--body", body_file("a=%zz"), NULL), CMD_FAILED);
	cr_expect_not_null(strstr(err, "malformed percent escape"), "%s", err);
	cr_expect_eq(run("", EXAMPLE, NULL), CMD_FAILED);
	cr_expect_eq(run(",12345", EXAMPLE, NULL), CMD_FAILED);
	cr_expect_str_eq(out, "");
}
