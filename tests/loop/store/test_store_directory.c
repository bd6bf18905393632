/* SPDX-License-Identifier: MIT */
#include "adapters/crypto.h"
#include "base/check.h"
#include "loop/store/store_support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY "recordings/2026/11/23/CA0123/RE0123.wav"

static char directory[64];

static void open_store(void)
{
	struct error error = {0};
	int status = store_directory_open(&store, &loop, directory, &error);
	REQUIRE(status == 0);
	support_store_closed = false;
}

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/reeld-store-XXXXXX");
	REQUIRE(mkdtemp(directory) != NULL);
	support_init_loop();
	open_store();
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

TestSuite(store_directory, .init = set_up, .fini = tear_down, .timeout = 30);

/* This store compares lengths at commit. */
static int put_commit_bytes(struct put *put, int64_t bytes)
{
	const struct store_digest digest = {.bytes = bytes};
	return put_commit(put, &digest);
}

/* ---- What is on disk ---- */

static void path_of(const char *name, char out[256])
{
	snprintf(out, 256, "%s/%s", directory, name);
}

static bool file_is(const char *name, const char *text)
{
	char path[256], found[256] = "";
	path_of(name, path);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	size_t len = fread(found, 1, sizeof(found) - 1, file);
	fclose(file);
	return len == strlen(text) && memcmp(found, text, len) == 0;
}

static bool exists(const char *name)
{
	char path[256];
	path_of(name, path);
	return access(path, F_OK) == 0;
}

static unsigned temporaries(void)
{
	char path[256];
	unsigned count = 0;
	path_of(".tmp", path);
	DIR *dir = opendir(path);
	cr_assert(dir != NULL);
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void make_file(const char *name, const char *text)
{
	char path[256];
	path_of(name, path);
	FILE *file = fopen(path, "w");
	cr_assert(file != NULL);
	fputs(text, file);
	fclose(file);
}

Test(store_directory, a_file_cut_behind_our_back_is_noticed)
{
	struct put put = {0};
	char path[256], name[512];
	cr_assert_eq(put_open(&put, KEY, -1), 0);
	cr_assert_eq(put_write_text(&put, "abcdef"), 0);
	path_of(".tmp", path);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		snprintf(name, sizeof(name), "%s/%.100s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			cr_assert_eq(truncate(name, 3), 0);
	}
	closedir(dir);
	cr_assert_eq(put_commit_bytes(&put, 6), ERR_CHECKSUM);
	cr_assert_eq(put_abort(&put), 0);
}

Test(store_directory, a_full_disk_is_said_and_goes_away)
{
	struct rlimit limit;
	struct put put = {0};
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = 6;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(put_open(&put, KEY, -1), 0);
	int status = put_write_text(&put, "longer than six");
	limit.rlim_cur = before;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(status, ERR_NO_SPACE);
	cr_assert(strstr(put.put.error.detail, "free space") != NULL, "%s", put.put.error.detail);
	cr_assert(!store_up(store));
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(temporaries(), 0);
	struct put again = {0};
	cr_assert_eq(put_open(&again, KEY, -1), 0);
	cr_assert_eq(put_write_text(&again, "longer than six"), 0);
	cr_assert_eq(put_commit_bytes(&again, 15), 0);
	cr_assert(store_up(store));
}

Test(store_directory, clean_removes_what_a_crash_left_and_nothing_else)
{
	struct put live = {0};
	struct request request = {0};
	cr_assert_eq(put_open(&live, KEY, -1), 0);
	cr_assert_eq(put_write_text(&live, "live"), 0);
	make_file(".tmp/put-00112233445566778899aabbccddeeff", "left by a crash");
	make_file(".tmp/put-not-ours", "x");
	make_file(".tmp/notes.txt", "x");
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0);
	cr_assert(!exists(".tmp/put-00112233445566778899aabbccddeeff"));
	cr_assert(exists(".tmp/put-not-ours") && exists(".tmp/notes.txt"));
	cr_assert_eq(put_commit_bytes(&live, 4), 0);
	cr_assert(file_is(KEY, "live"));
}

Test(store_directory, clean_leaves_the_temporaries_of_another_living_process)
{
	const char *name = ".tmp/put-ffeeddccbbaa99887766554433221100";
	char path[256];
	int ready[2], stop[2];
	struct request request = {0};
	make_file(name, "being written");
	path_of(name, path);
	cr_assert(pipe(ready) == 0 && pipe(stop) == 0);
	pid_t other = fork();
	cr_assert_geq(other, 0);
	if (other == 0) {
		char c;
		int fd = open(path, O_RDWR);
		close(stop[1]);
		_exit(fd < 0 || flock(fd, LOCK_EX) != 0 || write(ready[1], "x", 1) != 1 || read(stop[0], &c, 1) < 0);
	}
	char c;
	cr_assert_eq(read(ready[0], &c, 1), 1);
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0);
	cr_assert(exists(name));
	close(stop[1]);
	int status;
	cr_assert_eq(waitpid(other, &status, 0), other);
	cr_assert_eq(status, 0);
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0);
	cr_assert(!exists(name));
	close(stop[0]);
	close(ready[0]);
	close(ready[1]);
}

Test(store_directory, delete_is_harmless_twice)
{
	struct put put = {0};
	struct request request = {0};
	cr_assert_eq(put_open(&put, "top.wav", -1), 0);
	cr_assert_eq(put_commit_bytes(&put, 0), 0);
	cr_assert(file_is("top.wav", ""));
	cr_assert_eq(submit(&request, STORE_DELETE, "top.wav"), 0);
	cr_assert(!exists("top.wav"));
	cr_assert_eq(submit(&request, STORE_DELETE, "top.wav"), 0);
	cr_assert_eq(submit(&request, STORE_DELETE, KEY), 0);
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
#define BESIDE                                                                                                              \
	"{\"type\":\"rsa-aes\",\"public_key_sid\":\"CR0123\",\"encrypted_cek\":\"QUJD\",\"iv\":\"REVG\",\"recording_sid\":" \
	"\"RE0123\"}\n"

Test(store_directory, what_it_takes_to_decrypt_a_ciphertext_lies_beside_it)
{
	struct put put = {0};
	struct request request = {0};
	cr_assert_eq(put_open_object(&put, &ciphertext), 0);
	cr_assert_eq(put_write_text(&put, "secret"), 0);
	cr_assert(!exists(KEY ".json"));
	cr_assert_eq(put_commit_bytes(&put, 6), 0);
	cr_assert(file_is(KEY, "secret"));
	cr_assert(file_is(KEY ".json", BESIDE));
	cr_assert_eq(submit(&request, STORE_DELETE, KEY), 0);
	cr_assert(!exists(KEY));
	cr_assert(!exists(KEY ".json"));
}

Test(store_directory, audio_in_the_place_of_a_ciphertext_has_nothing_beside_it)
{
	struct put first = {0}, second = {0}, third = {0};
	cr_assert_eq(put_open_object(&first, &ciphertext), 0);
	cr_assert_eq(put_write_text(&first, "secret"), 0);
	cr_assert_eq(put_commit_bytes(&first, 6), 0);
	cr_assert_eq(put_open(&second, KEY, 5), 0);
	cr_assert_eq(put_write_text(&second, "audio"), 0);
	cr_assert_eq(put_commit_bytes(&second, 5), 0);
	cr_assert(file_is(KEY, "audio"));
	cr_assert(!exists(KEY ".json"));
	/* One that is given up leaves nothing. */
	cr_assert_eq(put_open_object(&third, &ciphertext), 0);
	cr_assert_eq(put_write_text(&third, "sec"), 0);
	cr_assert_eq(put_abort(&third), 0);
	cr_assert(file_is(KEY, "audio"));
	cr_assert(!exists(KEY ".json"));
}

Test(store_directory, probe_leaves_nothing_and_tells_when_it_cannot_write)
{
	struct request request = {0};
	char path[256];
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), 0);
	cr_assert_eq(temporaries(), 0);
	path_of(".tmp", path);
	cr_assert_eq(rmdir(path), 0);
	make_file(".tmp", "a file where the directory was");
	cr_assert_lt(submit(&request, STORE_PROBE, NULL), 0);
	cr_assert(strstr(request.request.error.detail, directory) != NULL, "%s", request.request.error.detail);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), 0, "%s", request.request.error.detail);
}

Test(store_directory, directories_removed_meanwhile_are_made_again)
{
	char command[128];
	for (int i = 0; i < 2; i++) {
		struct put put = {0};
		cr_assert_eq(put_open(&put, KEY, -1), 0);
		cr_assert_eq(put_commit_bytes(&put, 0), 0, "%s", put.put.error.detail);
		cr_assert(exists(KEY));
		snprintf(command, sizeof(command), "rm -rf '%s/recordings'", directory);
		FILE *run = popen(command, "r");
		cr_assert(run != NULL && pclose(run) == 0);
	}
}

/* ---- Reading ---- */

struct reading {
	struct store_read read;
	bool answered;
	int status;
};

static void read_done(struct store_read *read, int status)
{
	struct reading *reading = read->data;
	cr_expect_not(reading->answered, "done came twice, or inside the call");
	reading->answered = true;
	reading->status = status;
}

static int read_wait(struct reading *reading)
{
	cr_expect_not(reading->answered, "done came inside the call");
	support_run_until(&reading->answered);
	reading->answered = false;
	return reading->status;
}

static int read_open(struct reading *reading, const char *key)
{
	memset(reading, 0, sizeof(*reading));
	reading->read.data = reading;
	store_read_open(store, &reading->read, key, read_done);
	return read_wait(reading);
}

static int read_close(struct reading *reading)
{
	store_read_close(&reading->read, read_done);
	return read_wait(reading);
}

Test(store_directory, an_object_is_read_in_pieces)
{
	struct reading reading;
	char bytes[16];
	cr_assert(store_reads(store));
	cr_assert_eq(put_text(KEY, "0123456789"), 0);
	cr_assert_eq(read_open(&reading, KEY), 0);
	cr_expect_eq(reading.read.length, 10);
	static const struct {
		int64_t offset;
		size_t size;
		const char *text;
	} rows[] = {{0, 4, "0123"}, {4, 6, "456789"}, {9, 16, "9"}, {10, 4, ""}, {1000, 4, ""}, {0, 16, "0123456789"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		store_read_at(&reading.read, rows[i].offset, bytes, rows[i].size, read_done);
		cr_expect_eq(read_wait(&reading), 0);
		cr_assert_eq(reading.read.len, strlen(rows[i].text));
		cr_expect_eq(memcmp(bytes, rows[i].text, reading.read.len), 0);
	}
	cr_expect_eq(read_close(&reading), 0);
}

Test(store_directory, what_was_opened_stays_the_same_when_it_is_replaced_or_deleted)
{
	struct reading reading;
	struct request request;
	char bytes[16];
	cr_assert_eq(put_text(KEY, "first"), 0);
	cr_assert_eq(read_open(&reading, KEY), 0);
	cr_assert_eq(put_text(KEY, "second one"), 0);
	cr_assert_eq(submit(&request, STORE_DELETE, KEY), 0);
	store_read_at(&reading.read, 0, bytes, sizeof(bytes), read_done);
	cr_expect_eq(read_wait(&reading), 0);
	cr_expect(reading.read.len == 5 && memcmp(bytes, "first", 5) == 0);
	cr_expect_eq(read_close(&reading), 0);
	cr_expect_eq(read_open(&reading, KEY), ERR_NOT_FOUND);
}

Test(store_directory, reading_leaves_the_store_by_no_way)
{
	struct reading reading;
	char path[256];
	char outside[64] = "/tmp/reeld-outside-XXXXXX";
	cr_assert(mkdtemp(outside) != NULL);
	cr_assert_eq(put_text(KEY, "inside"), 0);
	static const char *const keys[] = {"../x", "/etc/passwd", "recordings/../../x", ".tmp/x", "recordings//x",
					   "",     "recordings/"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		cr_expect_eq(read_open(&reading, keys[i]), ERR_INVALID, "%s", keys[i]);
	path_of("recordings/link.wav", path);
	cr_assert_eq(symlink("2026/11/23/CA0123/RE0123.wav", path), 0);
	path_of("recordings/outside", path);
	cr_assert_eq(symlink(outside, path), 0);
	path_of("recordings/fifo", path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	char file[128];
	snprintf(file, sizeof(file), "%s/file", outside);
	int fd = open(file, O_CREAT | O_WRONLY, 0600);
	close(fd);
	static const char *const missing[] = {
		"recordings/link.wav", "recordings/outside/file", "recordings/outside", "recordings/fifo",
		"recordings/2026",     "recordings/nothing",      "nothing/at/all",     KEY "/below"};
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		cr_expect_eq(read_open(&reading, missing[i]), ERR_NOT_FOUND, "%s", missing[i]);
	cr_expect(store_up(store), "none of it is the store's failure");
	unlink(file);
	rmdir(outside);
}

Test(store_directory, closing_waits_for_who_reads)
{
	struct reading reading;
	char bytes[16];
	cr_assert_eq(put_text(KEY, "0123456789"), 0);
	cr_assert_eq(read_open(&reading, KEY), 0);
	store_close(store, support_on_closed, NULL);
	for (int i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_expect_not(support_store_closed);
	store_read_at(&reading.read, 0, bytes, sizeof(bytes), read_done);
	cr_expect_eq(read_wait(&reading), 0);
	cr_expect_eq(reading.read.len, 10);
	struct reading late = {0};
	late.read.data = &late;
	store_read_open(store, &late.read, KEY, read_done);
	cr_expect_eq(read_wait(&late), ERR_CANCELLED);
	store_read_close(&reading.read, read_done);
	support_run_until(&support_store_closed);
	cr_expect(reading.answered);
}

Test(store_directory, urls_are_encoded_and_fit_or_fail)
{
	char url[256], expected[256];
	cr_assert_eq(store_url(store, "a b/ü.wav", url, sizeof(url)), 0);
	snprintf(expected, sizeof(expected), "file://%s/a%%20b/%%C3%%BC.wav", directory);
	cr_assert_str_eq(url, expected);
	cr_assert_eq(store_link(store, "a b/ü.wav", 60, url, strlen(expected) + 1), 0);
	cr_assert_str_eq(url, expected);
	cr_assert_eq(store_url(store, "a b/ü.wav", url, strlen(expected)), ERR_LIMIT);
}

Test(store_directory, a_directory_that_cannot_be_had_is_named)
{
	struct store *other = NULL;
	struct error error = {0};
	cr_assert_lt(store_directory_open(&other, &loop, "/dev/null/x", &error), 0);
	cr_assert(strstr(error.detail, "/dev/null") != NULL, "%s", error.detail);
	cr_assert_null(other);
}
