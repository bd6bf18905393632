/* SPDX-License-Identifier: MIT */
/*
 * The plain copy that reeld's transfers are measured against: one loop of curl's multi interface, as many recordings at a time,
 * from the same server to the same place, with nothing hashed, verified, recorded or retried.
 *
 *   bench_copy SOURCE_URL USER:PASSWORD COUNT AT_A_TIME put BASE_URL     each into BASE_URL/N.wav, from memory
 *   bench_copy SOURCE_URL USER:PASSWORD COUNT AT_A_TIME file DIRECTORY   each into DIRECTORY/N.wav, synced
 *
 * Prints megabytes a second and processor seconds a gigabyte as JSON. Any failure ends it.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define AT_A_TIME_MAX 1024
#define BUFFER ((long)64 * 1024) /* as in reeld's HTTP client */

struct copy {
	CURL *easy;
	size_t number;
	bool putting;
	int fd;
	char *bytes; /* kept from one recording to the next */
	size_t len;
	size_t capacity;
	size_t sent;
};

static struct {
	CURLM *multi;
	const char *source;
	const char *credentials;
	const char *target;
	bool put;
	size_t count;
	size_t started;
	size_t finished;
	double moved;
} bench;

static void fail(const char *what)
{
	fprintf(stderr, "bench_copy: %s\n", what);
	exit(1);
}

static size_t on_file(char *bytes, size_t size, size_t count, void *data)
{
	struct copy *copy = data;
	if (write(copy->fd, bytes, size * count) != (ssize_t)(size * count))
		fail("write failed");
	copy->len += size * count;
	return size * count;
}

static size_t on_memory(char *bytes, size_t size, size_t count, void *data)
{
	struct copy *copy = data;
	size_t len = size * count;
	if (copy->len + len > copy->capacity) {
		copy->capacity = (copy->len + len) * 2;
		copy->bytes = realloc(copy->bytes, copy->capacity);
		if (copy->bytes == NULL)
			fail("out of memory");
	}
	memcpy(copy->bytes + copy->len, bytes, len);
	copy->len += len;
	return len;
}

static size_t on_send(char *out, size_t size, size_t count, void *data)
{
	struct copy *copy = data;
	size_t len = copy->len - copy->sent < size * count ? copy->len - copy->sent : size * count;
	memcpy(out, copy->bytes + copy->sent, len);
	copy->sent += len;
	return len;
}

static void set_common(struct copy *copy, const char *url)
{
	curl_easy_reset(copy->easy);
	curl_easy_setopt(copy->easy, CURLOPT_URL, url);
	curl_easy_setopt(copy->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(copy->easy, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(copy->easy, CURLOPT_BUFFERSIZE, BUFFER);
	curl_easy_setopt(copy->easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER);
	curl_easy_setopt(copy->easy, CURLOPT_PRIVATE, copy);
	curl_easy_setopt(copy->easy, CURLOPT_WRITEDATA, copy);
	curl_multi_add_handle(bench.multi, copy->easy);
}

static void begin_get(struct copy *copy)
{
	char path[512];
	copy->number = bench.started++;
	copy->putting = false;
	copy->len = 0;
	set_common(copy, bench.source);
	curl_easy_setopt(copy->easy, CURLOPT_USERPWD, bench.credentials);
	curl_easy_setopt(copy->easy, CURLOPT_WRITEFUNCTION, bench.put ? on_memory : on_file);
	if (bench.put)
		return;
	snprintf(path, sizeof(path), "%s/%zu.wav", bench.target, copy->number);
	copy->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (copy->fd < 0)
		fail("a file cannot be made");
}

static size_t on_nothing(char *bytes, size_t size, size_t count, void *data)
{
	(void)bytes;
	(void)data;
	return size * count;
}

static void begin_put(struct copy *copy)
{
	static struct curl_slist *headers;
	char url[512];
	if (headers == NULL)
		headers = curl_slist_append(NULL, "Expect:");
	copy->putting = true;
	copy->sent = 0;
	snprintf(url, sizeof(url), "%s/%zu.wav", bench.target, copy->number);
	set_common(copy, url);
	curl_easy_setopt(copy->easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(copy->easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(copy->easy, CURLOPT_READFUNCTION, on_send);
	curl_easy_setopt(copy->easy, CURLOPT_READDATA, copy);
	curl_easy_setopt(copy->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)copy->len);
	curl_easy_setopt(copy->easy, CURLOPT_WRITEFUNCTION, on_nothing);
}

static void on_done(CURL *easy, CURLcode code)
{
	struct copy *copy;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &copy);
	curl_multi_remove_handle(bench.multi, easy);
	if (code != CURLE_OK)
		fail(curl_easy_strerror(code));
	if (bench.put && !copy->putting) {
		begin_put(copy);
		return;
	}
	if (!bench.put && (fdatasync(copy->fd) != 0 || close(copy->fd) != 0))
		fail("sync failed");
	bench.moved += (double)copy->len;
	bench.finished++;
	if (bench.started < bench.count)
		begin_get(copy);
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run(void)
{
	int running, left;
	while (bench.finished < bench.count) {
		if (curl_multi_perform(bench.multi, &running) != CURLM_OK)
			fail("curl_multi_perform failed");
		for (CURLMsg *message; (message = curl_multi_info_read(bench.multi, &left)) != NULL;) {
			if (message->msg == CURLMSG_DONE)
				on_done(message->easy_handle, message->data.result);
		}
		if (bench.finished < bench.count && curl_multi_poll(bench.multi, NULL, 0, 1000, NULL) != CURLM_OK)
			fail("curl_multi_poll failed");
	}
}

int main(int argc, char **argv)
{
	static struct copy copies[AT_A_TIME_MAX];
	if (argc != 7)
		fail("usage: bench_copy SOURCE_URL USER:PASSWORD COUNT AT_A_TIME put|file TARGET");
	bench.source = argv[1];
	bench.credentials = argv[2];
	bench.count = strtoul(argv[3], NULL, 10);
	size_t at_a_time = strtoul(argv[4], NULL, 10);
	bench.put = strcmp(argv[5], "put") == 0;
	bench.target = argv[6];
	if (bench.count == 0 || at_a_time == 0 || at_a_time > AT_A_TIME_MAX)
		fail("COUNT and AT_A_TIME are numbers from 1");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	bench.multi = curl_multi_init();
	curl_multi_setopt(bench.multi, CURLMOPT_MAXCONNECTS, (long)(2 * at_a_time));
	double started = seconds();
	for (size_t i = 0; i < at_a_time && bench.started < bench.count; i++) {
		copies[i].easy = curl_easy_init();
		begin_get(&copies[i]);
	}
	run();
	double took = seconds() - started;
	printf("{\"mb_s\": %.1f, \"cpu_s_gb\": %.3f, \"bytes\": %.0f, \"seconds\": %.3f}\n", bench.moved / took / 1e6,
	       cpu_seconds() / (bench.moved / 1e9), bench.moved, took);
	for (size_t i = 0; i < at_a_time; i++) {
		curl_easy_cleanup(copies[i].easy);
		free(copies[i].bytes);
	}
	curl_multi_cleanup(bench.multi);
	return 0;
}
