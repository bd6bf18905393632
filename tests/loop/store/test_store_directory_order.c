/* SPDX-License-Identifier: MIT */
/*
 * What the directory store makes durable, and in which order: a kill loses nothing that the kernel has, so only the calls themselves can tell. They are
 * written down here, with the names of the files, on their way to the kernel.
 */
#include "base/check.h"
#include "base/turn.h"
#include "loop/store/store_support.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEY "recordings/2026/11/23/CA0123/RE0123.wav"
#define DIRECTORY "recordings/2026/11/23/CA0123"
#define STEPS_MAX 64

static char directory[64];
static char steps[STEPS_MAX][256]; /* "sync .tmp/put-…", "name .tmp/put-… KEY", "make DIRECTORY", "delete KEY" */
static size_t step_count;

/* Below the store's directory; the directory itself is "". */
static const char *path_of(int fd, const char *name, char out[256])
{
	char link[64], path[200] = "";
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, path, sizeof(path) - 1);
	REQUIRE(len > 0);
	size_t root = strlen(directory);
	const char *below = strncmp(path, directory, root) == 0 ? path + root + (path[root] == '/') : path;
	snprintf(out, 256, "%s%s%s", below, below[0] != '\0' && name[0] != '\0' ? "/" : "", name);
	return out;
}

__attribute__((format(printf, 1, 2))) static void step(const char *format, ...)
{
	va_list arguments;
	REQUIRE(step_count < STEPS_MAX);
	va_start(arguments, format);
	vsnprintf(steps[step_count++], sizeof(steps[0]), format, arguments);
	va_end(arguments);
}

/* Instead of the C library's. */
int fsync(int fd)
{
	char path[256];
	step("sync %s", path_of(fd, "", path));
	return (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	char first[256], second[256];
	step("name %.100s %.100s", path_of(from_fd, from, first), path_of(to_fd, to, second));
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	char path[256];
	step("make %s", path_of(fd, name, path));
	return (int)syscall(SYS_mkdirat, fd, name, mode);
}

int unlinkat(int fd, const char *name, int flags)
{
	char path[256];
	step("delete %s", path_of(fd, name, path));
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

static void set_up(void)
{
	struct error error = {0};
	snprintf(directory, sizeof(directory), "/tmp/reeld-store-XXXXXX");
	REQUIRE(mkdtemp(directory) != NULL);
	support_init_loop();
	REQUIRE(store_directory_open(&store, &loop, directory, &error) == 0);
	support_store_closed = false;
	step_count = 0;
}

static void tear_down(void)
{
	char command[128];
	support_close_store();
	support_close_loop();
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	FILE *run = popen(command, "r");
	cr_assert(run != NULL && pclose(run) == 0);
}

TestSuite(store_directory_order, .init = set_up, .fini = tear_down, .timeout = 30);

/* The number of the first step from `from` on that begins with `text` and ends with `end`; fails when there is none. */
static size_t find(size_t from, const char *text, const char *end)
{
	for (size_t i = from; i < step_count; i++) {
		size_t len = strlen(steps[i]);
		if (strncmp(steps[i], text, strlen(text)) == 0 && len >= strlen(end) &&
		    strcmp(steps[i] + len - strlen(end), end) == 0)
			return i;
	}
	for (size_t i = 0; i < step_count; i++)
		fprintf(stderr, "%zu %s\n", i, steps[i]);
	cr_assert_fail("no \"%s…%s\" from step %zu on", text, end, from);
	return 0;
}

/* `key` appeared whole and durable; returns the step that made it visible, *durable is the one that made the name last. */
static size_t published(const char *key, size_t *durable)
{
	char end[256], text[256], source[64] = "";
	snprintf(end, sizeof(end), " %s", key);
	size_t named = find(0, "name .tmp/put-", end);
	cr_assert_eq(sscanf(steps[named], "name %63s", source), 1);
	snprintf(text, sizeof(text), "sync %s", source);
	cr_assert_lt(find(0, text, ""), named, "its bytes are durable before it has its name");
	/* The names of all directories above it, each made durable in the one above it. */
	size_t at = 0;
	for (const char *slash = strchr(key, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		snprintf(text, sizeof(text), "make %.*s", (int)(slash - key), key);
		at = find(at, text, "");
		const char *above = memrchr(key, '/', (size_t)(slash - key));
		snprintf(text, sizeof(text), "sync %.*s", above == NULL ? 0 : (int)(above - key), key);
		size_t synced = find(at, text, text);
		cr_assert_lt(synced, named, "%s is durable before something in it is visible", steps[at]);
	}
	snprintf(text, sizeof(text), "sync %.*s", (int)(strrchr(key, '/') - key), key);
	*durable = find(named, text, text);
	return named;
}

static void keep(const struct store_object *object, const char *text)
{
	struct put put = {0};
	const struct store_digest digest = {.bytes = (int64_t)strlen(text)};
	cr_assert_eq(put_open_object(&put, object), 0);
	cr_assert_eq(put_write_text(&put, text), 0);
	cr_assert_eq(put_commit(&put, &digest), 0);
}

Test(store_directory_order, an_object_is_durable_before_it_is_visible_and_its_name_before_the_commit_is_answered)
{
	const struct store_object object = {.key = KEY, .length = 5, .content_type = "audio/wav"};
	size_t durable;
	keep(&object, "audio");
	size_t visible = published(KEY, &durable);
	cr_assert_lt(visible, durable);
}

static const struct store_object ciphertext = {
	.key = KEY,
	.length = 6,
	.content_type = "application/octet-stream",
	.recording_sid = "RE0123",
	.encryption_type = "rsa-aes",
	.encryption_public_key_sid = "CR0123",
	.encryption_cek = "QUJD",
	.encryption_iv = "REVG",
};

Test(store_directory_order, what_it_takes_to_decrypt_a_ciphertext_is_durable_before_that_is_visible)
{
	size_t beside_durable, durable;
	keep(&ciphertext, "secret");
	published(KEY ".json", &beside_durable);
	cr_assert_lt(beside_durable, published(KEY, &durable));
}

Test(store_directory_order, a_ciphertext_is_gone_for_good_before_what_decrypts_it_goes)
{
	struct request request = {0};
	keep(&ciphertext, "secret");
	step_count = 0;
	cr_assert_eq(submit(&request, STORE_DELETE, KEY), 0);
	size_t deleted = find(0, "delete " KEY, KEY);
	size_t durable = find(deleted, "sync " DIRECTORY, DIRECTORY);
	size_t beside = find(0, "delete " KEY ".json", "");
	cr_assert_lt(durable, beside);
	find(beside, "sync " DIRECTORY, DIRECTORY);
}

Test(store_directory_order, what_decrypted_a_ciphertext_goes_after_the_audio_that_replaced_it_is_durable)
{
	const struct store_object object = {.key = KEY, .length = 5, .content_type = "audio/wav"};
	keep(&ciphertext, "secret");
	step_count = 0;
	keep(&object, "audio");
	size_t named = find(0, "name ", " " KEY);
	cr_assert_lt(find(named, "sync " DIRECTORY, DIRECTORY), find(0, "delete " KEY ".json", ""));
}

static void on_other_closed(void *data)
{
	*(bool *)data = true;
}

Test(store_directory_order, directories_made_for_the_store_itself_are_durable_in_the_ones_above)
{
	char path[128];
	bool closed = false;
	struct store *other = NULL;
	struct error error = {0};
	snprintf(path, sizeof(path), "%s/a/b/", directory);
	cr_assert_eq(store_directory_open(&other, &loop, path, &error), 0, "%s", error.detail);
	find(find(0, "sync ", "sync "), "sync a", "sync a");
	store_close(other, on_other_closed, &closed);
	while (!closed)
		turn_run(&loop);
}
