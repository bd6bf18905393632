/* SPDX-License-Identifier: MIT */
#include "twilio/private_keys.h"

#include "support/made_keys.h"
#include "support/sealed.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define A "CR0123456789abcdef0123456789abcdef"
#define B "CR00000000000000000000000000000002"

static char directory[64];
static struct private_keys *keys;
static struct error error;
static char warned[512];

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/reeld-keys-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	return remove(path);
}

static void tear_down(void)
{
	private_keys_free(&keys);
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(private_keys, .init = set_up, .fini = tear_down, .timeout = 20);

static void put(const char *name, const char *text, mode_t mode)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	fchmod(fd, mode);
	close(fd);
}

static void on_warning(void *data, const char *name, const char *warning)
{
	cr_assert_eq(data, warned);
	snprintf(warned + strlen(warned), sizeof(warned) - strlen(warned), "%s: %s\n", name, warning);
}

static int load(void)
{
	private_keys_free(&keys);
	error = (struct error){0};
	warned[0] = '\0';
	return private_keys_load(&keys, directory, on_warning, warned, &error);
}

static struct rsa_key *find(const char *sid)
{
	struct sid parsed;
	cr_assert(sid_parse(slice_from_cstr(sid), "CR", &parsed));
	return private_keys_find(keys, &parsed);
}

static void expect_refusal(const char *word)
{
	cr_assert_eq(load(), ERR_CONFIG);
	cr_assert_null(keys);
	cr_assert_not_null(strstr(error.detail, "TWILIO_ENCRYPTION_KEYS"), "%s", error.detail);
	cr_assert_not_null(strstr(error.detail, word), "%s", error.detail);
	cr_assert_not_null(strstr(error.detail, directory), "%s", error.detail);
}

Test(private_keys, files_are_found_by_sid_whatever_its_case_with_and_without_suffix)
{
	put(A ".pem", SEALED_KEY_PEM, 0600);
	put(B, SEALED_KEY_PEM, 0640);
	put("CR00000000000000000000000000000004.PEM", SEALED_KEY_PEM, 0600);
	put(".hidden", "x", 0600);
	cr_assert_eq(load(), 0, "%s", error.detail);
	cr_assert_eq(private_keys_count(keys), 3);
	cr_assert_not_null(find("CR00000000000000000000000000000004"));
	cr_assert_not_null(find(A));
	cr_assert_not_null(find("CR0123456789ABCDEF0123456789ABCDEF"));
	cr_assert_not_null(find(B));
	cr_assert_null(find("CR00000000000000000000000000000003"));
	cr_assert_str_eq(warned, "");
}

Test(private_keys, warns_of_a_key_that_all_may_read_and_of_names_that_are_none)
{
	put(A ".pem", SEALED_KEY_PEM, 0644);
	put("CR0123.pem", SEALED_KEY_PEM, 0600);
	cr_assert_eq(load(), 0);
	cr_assert_eq(private_keys_count(keys), 1);
	cr_assert_not_null(strstr(warned, A ".pem: everybody"));
	cr_assert_not_null(strstr(warned, "CR0123.pem: passed over"));
}

Test(private_keys, a_bad_file_is_named)
{
	expect_refusal("no private key in it");
	put(A ".pem", SEALED_KEY_PEM, 0600);
	put(B ".pem", "not a key", 0600);
	expect_refusal(B ".pem: no PEM private key");
	put(B ".pem", made_public_half(), 0600);
	expect_refusal(B ".pem: a public key");
	put(B ".pem", SEALED_KEY_PEM, 0600);
	put(B, SEALED_KEY_PEM, 0600);
	expect_refusal("same SID");
}

Test(private_keys, more_than_fit_are_refused)
{
	char name[64];
	for (int i = 0; i <= PRIVATE_KEYS_MAX; i++) {
		snprintf(name, sizeof(name), "CR%032x.pem", i);
		put(name, SEALED_KEY_PEM, 0600);
		if (i == PRIVATE_KEYS_MAX - 1) {
			cr_assert_eq(load(), 0, "%s", error.detail);
			cr_assert_eq(private_keys_count(keys), PRIVATE_KEYS_MAX);
		}
	}
	expect_refusal("more than");
}

Test(private_keys, a_directory_that_is_none_and_a_file_that_is_a_directory)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/" A ".pem", directory);
	mkdir(path, 0700);
	expect_refusal("not a file");
	rmdir(path);
	char long_text[70000];
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	put(A ".pem", long_text, 0600);
	expect_refusal("large");
	strcat(directory, "-none");
	expect_refusal("No such file");
	directory[strlen(directory) - 5] = '\0';
}

Test(private_keys, a_key_whose_halves_do_not_belong_together_is_noticed_at_once)
{
	put(A ".pem", SEALED_KEY_PEM, 0600);
	put(B ".pem", made_of_two_halves(), 0600);
	expect_refusal(B ".pem: the private key does not open what its public key seals");
}

Test(private_keys, a_pipe_is_no_file_and_nobody_waits_for_its_writer)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/" A ".pem", directory);
	cr_assert_eq(mkfifo(path, 0600), 0);
	expect_refusal("not a file");
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

Test(private_keys, loading_leaves_nothing_open)
{
	unsigned before = open_descriptors();
	put(A ".pem", SEALED_KEY_PEM, 0600);
	cr_assert_eq(load(), 0);
	cr_assert_eq(open_descriptors(), before);
	put(B ".pem", "not a key", 0600);
	expect_refusal(B);
	cr_assert_eq(open_descriptors(), before);
}

/* ---- Secrets ---- */

static size_t wiped; /* bytes that held the text of a key */

/* Instead of OpenSSL's own. */
void OPENSSL_cleanse(void *memory, size_t len)
{
	if (memmem(memory, len, "-----BEGIN RSA PRIVATE KEY-----", 31) != NULL)
		wiped += len;
	explicit_bzero(memory, len);
}

Test(private_keys, the_text_of_a_file_is_wiped_whatever_it_was)
{
	put(A ".pem", SEALED_KEY_PEM, 0600);
	wiped = 0;
	cr_assert_eq(load(), 0);
	cr_assert_geq(wiped, strlen(SEALED_KEY_PEM));

	static char long_text[70000] = SEALED_KEY_PEM;
	memset(long_text + strlen(long_text), '\n', sizeof(long_text) - 1 - strlen(long_text));
	put(A ".pem", long_text, 0600);
	wiped = 0;
	expect_refusal("large");
	cr_assert_geq(wiped, strlen(SEALED_KEY_PEM));
}
