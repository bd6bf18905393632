/* SPDX-License-Identifier: MIT */
/*
 * Events made durable per second, by how many wait at once: the journal, beside one file that is appended to with write and fdatasync
 * for each batch, and one that is written over in place (preallocated zeros), both without a thread and a loop. Each round does all, so that the
 * ratios of one run mean something on a machine whose absolute figures move. Every so many events the journal's reader and checkpoint
 * run, too, as in the daemon.
 *
 *   ninja -C build tests/bench/bench_journal && build/tests/bench/bench_journal [DIRECTORY [SECONDS]]
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "journal/journal.h"
#include "journal/record.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAYLOAD 515 /* a recording callback of 499 bytes and the event's header */
#define BATCH_MAX 512
#define FILE_SIZE ((uint64_t)64 << 20)
#define ROUNDS 3
#define FORWARD_EVERY 4096

struct result {
	double per_second;
	double cpu_us;   /* of an event */
	double switches; /* of context, an event */
};

struct bench {
	uv_loop_t loop;
	struct journal *journal;
	struct journal_append appends[BATCH_MAX];
	struct journal_read read;
	bool reading;
	bool stopping;
	unsigned waiting;
	uint64_t done;
	uint64_t forwarded;
	uint64_t until;
};

static char payload[PAYLOAD];
static const char *directory = ".";
static double seconds = 0.5;

struct usage {
	uint64_t ns;
	double cpu_us;
	double switches;
};

static struct usage usage_now(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (struct usage){
		.ns = clock_mono_ns(),
		.cpu_us = (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 +
			  (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec),
		.switches = (double)(r.ru_nvcsw + r.ru_nivcsw),
	};
}

static struct result result_since(const struct usage *start, uint64_t events)
{
	struct usage end = usage_now();
	return (struct result){
		.per_second = (double)events * 1e9 / (double)(end.ns - start->ns),
		.cpu_us = (end.cpu_us - start->cpu_us) / (double)events,
		.switches = (end.switches - start->switches) / (double)events,
	};
}

static void append(struct bench *bench, struct journal_append *append)
{
	const struct slice parts[2] = {{payload, 16}, {payload + 16, PAYLOAD - 16}};
	if (journal_append(bench->journal, append, parts, 2) != 0) {
		fprintf(stderr, "the journal refused an event\n");
		exit(1);
	}
	bench->waiting++;
}

static void read_done(struct journal_read *read, int status)
{
	struct bench *bench = read->data;
	bench->reading = false;
	if (status == 0) {
		bench->forwarded = read->last;
		journal_checkpoint(bench->journal, read->last);
	}
	journal_read_release(read);
}

static void forward(struct bench *bench)
{
	bench->reading = true;
	bench->read = (struct journal_read){.after = bench->forwarded,
					    .max_records = FORWARD_EVERY,
					    .max_bytes = FORWARD_EVERY * 1024,
					    .done = read_done,
					    .data = bench};
	REQUIRE(journal_read(bench->journal, &bench->read) == 0);
}

static void append_done(struct journal_append *done, int status)
{
	struct bench *bench = done->data;
	REQUIRE(status == 0);
	bench->waiting--;
	bench->done++;
	if (!bench->stopping && !bench->reading && done->sequence - bench->forwarded > FORWARD_EVERY)
		forward(bench);
	if ((bench->done & 63) == 0 && clock_mono_ns() > bench->until)
		bench->stopping = true;
	if (!bench->stopping)
		append(bench, done);
}

static void remove_files(const char *path)
{
	DIR *dir = opendir(path);
	if (dir == NULL)
		return;
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(path);
}

static struct result run_journal(unsigned batch)
{
	static struct bench bench;
	char path[512];
	struct error error;
	snprintf(path, sizeof(path), "%s/bench-journal", directory);
	struct metrics *metrics = metrics_new();
	const struct journal_options options = {
		.directory = path, .max_bytes = (uint64_t)1 << 30, .segment_bytes = FILE_SIZE, .metrics = metrics};
	memset(&bench, 0, sizeof(bench));
	uv_loop_init(&bench.loop);
	if (journal_open(&bench.journal, &bench.loop, &options, &error) != 0) {
		fprintf(stderr, "%s\n", error.detail);
		exit(1);
	}
	/* Let the spares be made before the clock starts. */
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	struct usage start = usage_now();
	bench.until = start.ns + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; i < batch; i++) {
		bench.appends[i] = (struct journal_append){.done = append_done, .data = &bench};
		append(&bench, &bench.appends[i]);
	}
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	struct result result = result_since(&start, bench.done);
	journal_close(bench.journal, NULL, NULL);
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	REQUIRE(uv_loop_close(&bench.loop) == 0);
	metrics_free(&metrics);
	remove_files(path);
	return result;
}

static struct result run_file(unsigned batch, bool in_place)
{
	char path[512];
	static char buffer[BATCH_MAX * (PAYLOAD + RECORD_HEADER_SIZE + RECORD_ALIGN)];
	const struct slice part = {payload, PAYLOAD};
	size_t size = record_size(PAYLOAD);
	snprintf(path, sizeof(path), "%s/bench-file", directory);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	if (in_place) {
		char *zeros = calloc(1, FILE_SIZE);
		REQUIRE(zeros != NULL && pwrite(fd, zeros, FILE_SIZE, 0) == (ssize_t)FILE_SIZE && fdatasync(fd) == 0);
		free(zeros);
	}
	uint64_t offset = 0;
	uint64_t sequence = 0;
	struct usage start = usage_now();
	do {
		for (unsigned i = 0; i < batch; i++)
			record_write(buffer + i * size, ++sequence, 0, &part, 1, PAYLOAD);
		record_seal(buffer, batch * size, record_seed(1));
		if (in_place && offset + batch * size > FILE_SIZE)
			offset = 0;
		REQUIRE(pwrite(fd, buffer, batch * size, (off_t)offset) == (ssize_t)(batch * size) && fdatasync(fd) == 0);
		offset += batch * size;
	} while (clock_mono_ns() - start.ns < (uint64_t)(seconds * 1e9));
	struct result result = result_since(&start, sequence);
	close(fd);
	unlink(path);
	return result;
}

static int by_rate(const void *a, const void *b)
{
	const struct result *one = a;
	const struct result *two = b;
	return (one->per_second > two->per_second) - (one->per_second < two->per_second);
}

static struct result median(struct result *results)
{
	qsort(results, ROUNDS, sizeof(*results), by_rate);
	return results[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	static const unsigned batches[] = {1, 8, 64, 512};
	if (argc > 1)
		directory = argv[1];
	if (argc > 2)
		seconds = strtod(argv[2], NULL);
	log_configure(LOG_WARN, LOG_FORMAT_TEXT);
	random_bytes(payload, sizeof(payload));
	printf("%8s %12s %9s %9s %12s %12s %8s %8s\n", "waiting", "journal/s", "CPU us", "switches", "append/s", "in place/s",
	       "/append", "/place");
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		struct result journal[ROUNDS];
		struct result appended[ROUNDS];
		struct result placed[ROUNDS];
		for (unsigned round = 0; round < ROUNDS; round++) {
			journal[round] = run_journal(batches[i]);
			appended[round] = run_file(batches[i], false);
			placed[round] = run_file(batches[i], true);
		}
		struct result j = median(journal);
		struct result a = median(appended);
		struct result p = median(placed);
		printf("%8u %12.0f %9.2f %9.3f %12.0f %12.0f %8.2f %8.2f\n", batches[i], j.per_second, j.cpu_us, j.switches,
		       a.per_second, p.per_second, j.per_second / a.per_second, j.per_second / p.per_second);
	}
	return 0;
}
