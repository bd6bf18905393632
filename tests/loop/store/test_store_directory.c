/* SPDX-License-Identifier: MIT */
#include "adapters/crypto.h"
#include "base/check.h"
#include "store/store.h"

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

static uv_loop_t loop;
static struct store *store;
static char directory[64];
static bool store_closed;

static void open_store(void)
{
	struct error error = {0};
	int status = store_directory_open(&store, &loop, directory, &error);
	REQUIRE(status == 0);
	store_closed = false;
}

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/reeld-store-XXXXXX");
	REQUIRE(mkdtemp(directory) != NULL && uv_loop_init(&loop) == 0);
	open_store();
}

static void on_closed(void *data)
{
	(void)data;
	store_closed = true;
}

static void tear_down(void)
{
	char command[128];
	if (!store_closed) {
		store_close(store, on_closed, NULL);
		cr_assert(!store_closed, "closed inside the call");
		uv_run(&loop, UV_RUN_DEFAULT);
		cr_assert(store_closed);
	}
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	FILE *run = popen(command, "r");
	cr_assert(run != NULL && pclose(run) == 0);
}

TestSuite(store_directory, .init = set_up, .fini = tear_down, .timeout = 30);

/* ---- One operation and its end ---- */

static bool inside;

struct put {
	struct store_put put;
	unsigned done;
	int status;
};

static void put_done(struct store_put *base, int status)
{
	struct put *put = base->data;
	cr_assert(!inside, "done inside the call");
	put->done++;
	put->status = status;
}

static int wait_put(struct put *put)
{
	inside = false;
	cr_assert_eq(put->done, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(put->done, 1);
	put->done = 0;
	return put->status;
}

static int put_open(struct put *put, const char *key)
{
	const struct store_object object = {.key = key, .length = -1};
	put->put.data = put;
	inside = true;
	store_put_open(store, &put->put, &object, put_done);
	return wait_put(put);
}

static int put_write(struct put *put, const char *text)
{
	inside = true;
	store_put_write(&put->put, slice_from_cstr(text), put_done);
	return wait_put(put);
}

static int put_commit(struct put *put, int64_t bytes)
{
	const struct store_digest digest = {.bytes = bytes};
	inside = true;
	store_put_commit(&put->put, &digest, put_done);
	return wait_put(put);
}

static int put_abort(struct put *put)
{
	inside = true;
	store_put_abort(&put->put, put_done);
	return wait_put(put);
}

struct request {
	struct store_request request;
	unsigned done;
	int status;
};

static void request_done(struct store_request *base, int status)
{
	struct request *request = base->data;
	cr_assert(!inside, "done inside the call");
	request->done++;
	request->status = status;
}

static int submit(struct request *request, enum store_op op, const char *key)
{
	request->request.op = op;
	request->request.key = key;
	request->request.done = request_done;
	request->request.data = request;
	request->done = 0;
	inside = true;
	store_submit(store, &request->request);
	inside = false;
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(request->done, 1);
	return request->status;
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

Test(store_directory, nothing_is_visible_before_commit_and_all_of_it_after)
{
	struct put put = {0};
	cr_assert_eq(put_open(&put, KEY), 0);
	cr_assert_eq(put_write(&put, "RIFF"), 0);
	cr_assert_eq(put_write(&put, "data"), 0);
	cr_assert(!exists("recordings"));
	cr_assert_eq(temporaries(), 1);
	cr_assert_eq(put_commit(&put, 8), 0, "%s", put.put.error.detail);
	cr_assert(file_is(KEY, "RIFFdata"));
	cr_assert_eq(temporaries(), 0);
	cr_assert(store_up(store));
	cr_assert_str_eq(store_kind(store), "directory");
}

Test(store_directory, a_later_put_of_the_same_key_replaces_the_earlier_at_once)
{
	struct put first = {0}, second = {0};
	cr_assert_eq(put_open(&first, KEY), 0);
	cr_assert_eq(put_open(&second, KEY), 0);
	cr_assert_eq(put_write(&first, "first"), 0);
	cr_assert_eq(put_commit(&first, 5), 0);
	cr_assert_eq(put_write(&second, "two"), 0);
	cr_assert(file_is(KEY, "first"));
	cr_assert_eq(put_write(&second, "end"), 0);
	cr_assert(file_is(KEY, "first"));
	cr_assert_eq(put_commit(&second, 6), 0);
	cr_assert(file_is(KEY, "twoend"));
}

Test(store_directory, a_wrong_length_leaves_nothing_behind)
{
	struct put put = {0};
	cr_assert_eq(put_open(&put, KEY), 0);
	cr_assert_eq(put_write(&put, "short"), 0);
	cr_assert_eq(put_commit(&put, 6), ERR_CHECKSUM);
	cr_assert(strstr(put.put.error.detail, "6 were received") != NULL, "%s", put.put.error.detail);
	cr_assert(!exists(KEY));
	cr_assert_eq(put_abort(&put), 0);
	cr_assert(!exists(KEY));
	cr_assert_eq(temporaries(), 0);
	cr_assert(store_up(store), "the object is wrong, not the store");
}

Test(store_directory, a_file_cut_behind_our_back_is_noticed)
{
	struct put put = {0};
	char path[256], name[512];
	cr_assert_eq(put_open(&put, KEY), 0);
	cr_assert_eq(put_write(&put, "abcdef"), 0);
	path_of(".tmp", path);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		snprintf(name, sizeof(name), "%s/%.100s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			cr_assert_eq(truncate(name, 3), 0);
	}
	closedir(dir);
	cr_assert_eq(put_commit(&put, 6), ERR_CHECKSUM);
	cr_assert_eq(put_abort(&put), 0);
}

Test(store_directory, abort_in_every_state_leaves_nothing)
{
	for (int state = 0; state < 4; state++) {
		struct put put = {0};
		cr_assert_eq(put_open(&put, state == 0 ? "../x" : KEY), state == 0 ? ERR_INVALID : 0);
		if (state >= 2)
			cr_assert_eq(put_write(&put, "bytes"), 0);
		if (state >= 3)
			cr_assert_eq(put_commit(&put, 4), ERR_CHECKSUM);
		cr_assert_eq(put_abort(&put), 0);
		cr_assert_eq(temporaries(), 0, "state %d", state);
		cr_assert(!exists(KEY));
	}
}

Test(store_directory, keys_that_leave_the_store_are_refused)
{
	const char *const bad[] = {"", "/etc/x", "a/../b", "../x", "a//b", "a/./b", ".tmp/put-0", "a/.hidden", "a/", "a\nb", "."};
	const char *const good[] = {"a", "a/b", "recordings/2026/01/02/CAx/REx.wav", "a b/ü.wav", "a/b..c"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct put put = {0};
		struct request request = {0};
		cr_assert(!store_key_is_valid(bad[i]), "%s", bad[i]);
		cr_assert_eq(put_open(&put, bad[i]), ERR_INVALID);
		cr_assert_eq(put_abort(&put), 0);
		cr_assert_eq(submit(&request, STORE_DELETE, bad[i]), ERR_INVALID);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_assert(store_key_is_valid(good[i]), "%s", good[i]);
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
	cr_assert_eq(put_open(&put, KEY), 0);
	int status = put_write(&put, "longer than six");
	limit.rlim_cur = before;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(status, ERR_NO_SPACE);
	cr_assert(strstr(put.put.error.detail, "free space") != NULL, "%s", put.put.error.detail);
	cr_assert(!store_up(store));
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(temporaries(), 0);
	struct put again = {0};
	cr_assert_eq(put_open(&again, KEY), 0);
	cr_assert_eq(put_write(&again, "longer than six"), 0);
	cr_assert_eq(put_commit(&again, 15), 0);
	cr_assert(store_up(store));
}

Test(store_directory, clean_removes_what_a_crash_left_and_nothing_else)
{
	struct put live = {0};
	struct request request = {0};
	cr_assert_eq(put_open(&live, KEY), 0);
	cr_assert_eq(put_write(&live, "live"), 0);
	make_file(".tmp/put-00112233445566778899aabbccddeeff", "left by a crash");
	make_file(".tmp/put-not-ours", "x");
	make_file(".tmp/notes.txt", "x");
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0);
	cr_assert(!exists(".tmp/put-00112233445566778899aabbccddeeff"));
	cr_assert(exists(".tmp/put-not-ours") && exists(".tmp/notes.txt"));
	cr_assert_eq(put_commit(&live, 4), 0);
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

Test(store_directory, verify_compares_bytes_and_checksum_and_says_what_is_missing)
{
	struct put put = {0};
	struct request request = {0};
	cr_assert_eq(put_open(&put, KEY), 0);
	cr_assert_eq(put_write(&put, "content"), 0);
	cr_assert_eq(put_commit(&put, 7), 0);
	request.request.digest.bytes = 7;
	cr_assert_eq(crypto_sha256("content", 7, request.request.digest.sha256), 0);
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY), 0, "%s", request.request.error.detail);
	request.request.digest.sha256[31] ^= 1;
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY), ERR_CHECKSUM);
	cr_assert(strstr(request.request.error.detail, "SHA-256") != NULL);
	request.request.digest.bytes = 8;
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY), ERR_CHECKSUM);
	cr_assert_eq(submit(&request, STORE_VERIFY, "recordings/none.wav"), ERR_NOT_FOUND);
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY "/below"), ERR_NOT_FOUND);
	cr_assert(store_up(store));
}

Test(store_directory, delete_is_harmless_twice)
{
	struct put put = {0};
	struct request request = {0};
	cr_assert_eq(put_open(&put, "top.wav"), 0);
	cr_assert_eq(put_commit(&put, 0), 0);
	cr_assert(file_is("top.wav", ""));
	cr_assert_eq(submit(&request, STORE_DELETE, "top.wav"), 0);
	cr_assert(!exists("top.wav"));
	cr_assert_eq(submit(&request, STORE_DELETE, "top.wav"), 0);
	cr_assert_eq(submit(&request, STORE_DELETE, KEY), 0);
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
		cr_assert_eq(put_open(&put, KEY), 0);
		cr_assert_eq(put_commit(&put, 0), 0, "%s", put.put.error.detail);
		cr_assert(exists(KEY));
		snprintf(command, sizeof(command), "rm -rf '%s/recordings'", directory);
		FILE *run = popen(command, "r");
		cr_assert(run != NULL && pclose(run) == 0);
	}
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

Test(store_directory, close_waits_for_what_is_in_flight_and_takes_nothing_new)
{
	struct put put = {.put.data = &put};
	struct put late = {.put.data = &late};
	struct request request = {0};
	const struct store_object object = {.key = KEY, .length = -1};
	store_put_open(store, &put.put, &object, put_done);
	store_close(store, on_closed, NULL);
	store_put_open(store, &late.put, &object, put_done);
	request.request.op = STORE_PROBE;
	request.request.done = request_done;
	request.request.data = &request;
	store_submit(store, &request.request);
	cr_assert_eq(late.done + request.done + put.done, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert(!store_closed, "closed under an open put");
	cr_assert_eq(late.done, 1);
	cr_assert_eq(late.status, ERR_CANCELLED);
	cr_assert_eq(request.status, ERR_CANCELLED);
	cr_assert_eq(put.status, 0);
	put.done = 0;
	cr_assert_eq(put_abort(&put), 0);
	cr_assert(store_closed);
}

Test(store_directory, a_directory_that_cannot_be_had_is_named)
{
	struct store *other = NULL;
	struct error error = {0};
	cr_assert_lt(store_directory_open(&other, &loop, "/dev/null/x", &error), 0);
	cr_assert(strstr(error.detail, "/dev/null") != NULL, "%s", error.detail);
	cr_assert_null(other);
}
