/* SPDX-License-Identifier: MIT */
/* reeld recordings decrypt: nothing but whole, authentic audio ever reaches the standard output. */
#include "cmd/cmd.h"

#include "support/captured.h"
#include "support/made_keys.h"
#include "support/sealed_audio.h"

#include <fcntl.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SID "CR0123456789abcdef0123456789abcdef"
#define OTHER_SID "CR00000000000000000000000000000002"
#define BYTES ((size_t)600000) /* several chunks, the last one short */

static char directory[64];
static char keys[80];
static char audio[80]; /* the ciphertext */
static uint8_t plain[BYTES];
static uint8_t sealed[BYTES + GCM_TAG_SIZE];

static const char *path_of(const char *name)
{
	static char path[2][160];
	static unsigned turn;
	char *next = path[turn++ % 2];
	snprintf(next, sizeof(path[0]), "%s/%s", directory, name);
	return next;
}

static void write_file(const char *name, const void *bytes, size_t len)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/reeld-decrypt-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(keys, sizeof(keys), "%s/keys", directory);
	snprintf(audio, sizeof(audio), "%s/audio.wav", directory);
	cr_assert_eq(mkdir(keys, 0700), 0);
	for (size_t i = 0; i < BYTES; i++)
		plain[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
	memcpy(sealed, plain, BYTES);
	cr_assert_eq(sealed_encrypt(sealed, BYTES), sizeof(sealed));
	write_text("keys/" SID ".pem", SEALED_KEY_PEM);
	write_file("audio.wav", sealed, sizeof(sealed));
	write_text("audio.wav.json", SEALED_DETAILS(SID));
}

static void tear_down(void)
{
	static const char *const names[] = {"keys/" SID ".pem", "keys/" OTHER_SID ".pem", "audio.wav", "audio.wav.json",
					    "other.json"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	rmdir(keys);
	cr_expect_eq(rmdir(directory), 0);
}

TestSuite(cmd_decrypt, .init = set_up, .fini = tear_down);

static int run_with(const char *keys_directory, const char *first, const char *second, const char *third)
{
	char *argv[] = {(char *)"decrypt", (char *)first, (char *)second, (char *)third, NULL};
	int argc = 1;
	struct config config = {.twilio_encryption_keys = (char *)keys_directory};
	while (argv[argc] != NULL)
		argc++;
	return captured_run(cmd_recordings_decrypt, &config, argc, argv);
}

static int run(const char *file, const char *details)
{
	return run_with(keys, file, details, NULL);
}

static void expect_plain(void)
{
	cr_expect_str_eq(err, "");
	cr_expect_eq(out_len, BYTES);
	cr_expect_eq(memcmp(out, plain, BYTES), 0);
}

/* No byte of it, and one line that says why. */
static void expect_nothing(int status, int wanted, const char *first, const char *second)
{
	cr_expect_eq(status, wanted, "%d: %s", status, err);
	cr_expect_eq(out_len, 0, "%zu bytes were written", out_len);
	cr_expect_not_null(strstr(err, first), "no \"%s\": %s", first, err);
	cr_expect_not_null(strstr(err, second), "no \"%s\": %s", second, err);
	cr_expect_eq(strncmp(err, "reeld recordings: ", 18), 0, "%s", err);
	cr_expect_null(strstr(err, "PRIVATE KEY"));
}

Test(cmd_decrypt, the_audio_goes_to_the_standard_output)
{
	cr_expect_eq(run(audio, NULL), CMD_OK);
	expect_plain();
}

Test(cmd_decrypt, the_details_may_lie_elsewhere)
{
	cr_assert_eq(rename(path_of("audio.wav.json"), path_of("other.json")), 0);
	cr_expect_eq(run(audio, path_of("other.json")), CMD_OK);
	expect_plain();
}

Test(cmd_decrypt, the_right_one_of_several_keys_is_taken)
{
	write_text("keys/" OTHER_SID ".pem", made_text(EVP_RSA_gen(2048), false));
	cr_expect_eq(run(audio, NULL), CMD_OK);
	expect_plain();
}

Test(cmd_decrypt, wrong_usage_is_explained)
{
	expect_nothing(run(NULL, NULL), CMD_USAGE, "wants a file", "usage: ");
	expect_nothing(run("--help-me", NULL), CMD_USAGE, "wants a file", "usage: ");
	expect_nothing(run_with(keys, audio, "a", "b"), CMD_USAGE, "wants a file", "usage: ");
	expect_nothing(run_with(NULL, audio, NULL, NULL), CMD_USAGE, "TWILIO_ENCRYPTION_KEYS is unset", "usage: ");
}

Test(cmd_decrypt, audio_is_not_thrown_at_a_terminal)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	captured_output = open(ptsname(master), O_RDWR | O_NOCTTY);
	cr_assert_geq(captured_output, 0);
	expect_nothing(run(audio, NULL), CMD_USAGE, "is a terminal", "usage: ");
	close(captured_output);
	close(master);
}

Test(cmd_decrypt, missing_files_are_named)
{
	unlink(path_of("audio.wav.json"));
	expect_nothing(run(audio, NULL), CMD_FAILED, "audio.wav.json", "No such file");
	expect_nothing(run(audio, path_of("other.json")), CMD_FAILED, "other.json", "No such file");
	write_text("other.json", SEALED_DETAILS(SID));
	unlink(audio);
	expect_nothing(run(audio, path_of("other.json")), CMD_FAILED, "audio.wav", "No such file");
	expect_nothing(run(directory, path_of("other.json")), CMD_FAILED, directory, "Is a directory");
	expect_nothing(run_with("/nonexistent", audio, path_of("other.json"), NULL), CMD_FAILED, "/nonexistent", "No such file");
}

Test(cmd_decrypt, details_that_are_none_are_named)
{
	static const char *const texts[] = {"", "{", "[]", "{\"type\":\"rsa-aes\"}"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_text("audio.wav.json", texts[i]);
		expect_nothing(run(audio, NULL), CMD_FAILED, "audio.wav.json: ", "");
	}
}

Test(cmd_decrypt, a_key_that_is_not_there_is_named)
{
	write_text("audio.wav.json", SEALED_DETAILS(OTHER_SID));
	expect_nothing(run(audio, NULL), CMD_FAILED, keys, "has no " OTHER_SID ".pem");
}

Test(cmd_decrypt, another_keys_file_opens_nothing)
{
	write_text("keys/" SID ".pem", made_text(EVP_RSA_gen(2048), false));
	expect_nothing(run(audio, NULL), CMD_FAILED, "audio.wav: ", "does not open this recording");
}

Test(cmd_decrypt, what_was_cut_or_changed_is_not_written_at_all)
{
	static const size_t lengths[] = {0, 1, GCM_TAG_SIZE - 1};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		write_file("audio.wav", sealed, lengths[i]);
		expect_nothing(run(audio, NULL), CMD_FAILED, "audio.wav: ", "shorter than its authentication tag");
	}
	static const size_t cuts[] = {GCM_TAG_SIZE, 300000, BYTES, BYTES + GCM_TAG_SIZE - 1};
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		write_file("audio.wav", sealed, cuts[i]);
		expect_nothing(run(audio, NULL), CMD_FAILED, "audio.wav: ", "authentication tag does not fit");
	}
	sealed[BYTES - 1] ^= 1;
	write_file("audio.wav", sealed, sizeof(sealed));
	expect_nothing(run(audio, NULL), CMD_FAILED, "audio.wav: ", "authentication tag does not fit");
}

Test(cmd_decrypt, an_output_that_takes_nothing_is_a_failure)
{
	static const size_t lengths[] = {BYTES, 100};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memcpy(sealed, plain, lengths[i]);
		write_file("audio.wav", sealed, sealed_encrypt(sealed, lengths[i]));
		captured_output = open("/dev/full", O_WRONLY);
		cr_assert_geq(captured_output, 0);
		expect_nothing(run(audio, NULL), CMD_FAILED, "cannot write", "No space left");
		close(captured_output);
		__fpurge(stdout);
	}
}
