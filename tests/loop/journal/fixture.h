/* SPDX-License-Identifier: MIT */
/* A journal in a fresh directory on a real loop, with a hook into its file system calls. For the tests of src/journal. */
#ifndef REELD_TESTS_JOURNAL_FIXTURE_H
#define REELD_TESTS_JOURNAL_FIXTURE_H

#include "base/clock.h"
#include "base/log.h"
#include "journal/file.h"
#include "journal/internal.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_SEGMENT ((uint64_t)16 * 1024)

/* Which calls fail. */
struct faults {
	pthread_mutex_t mutex;
	unsigned calls[FILE_OP_COUNT];
	unsigned total;
	bool any; /* every kind of call, not just `op` */
	enum file_op op;
	unsigned skip;    /* let so many of these pass */
	unsigned times;   /* then let so many fail */
	int result;       /* positive errno, or negative for a short transfer */
	const char *only; /* calls with a name: only where it contains this */
};

struct fixture {
	uv_loop_t loop;
	uv_timer_t tick;
	char directory[64];
	struct metrics *metrics;
	struct journal *journal;
	struct journal_options options;
	struct error error;
	struct faults faults;
	bool closed;
	unsigned commits;
};

/* An append whose end can be asked. */
struct event {
	struct journal_append append;
	unsigned calls;
	int status;
};

static inline int fault_hook(void *data, const struct file_call *call)
{
	struct faults *faults = data;
	int result = 0;
	pthread_mutex_lock(&faults->mutex);
	faults->calls[call->op]++;
	faults->total++;
	bool named = faults->only == NULL || (call->name != NULL && strstr(call->name, faults->only) != NULL);
	if (faults->times > 0 && named && (faults->any || faults->op == call->op)) {
		if (faults->skip > 0) {
			faults->skip--;
		} else {
			faults->times--;
			result = faults->result;
		}
	}
	pthread_mutex_unlock(&faults->mutex);
	return result;
}

static inline void fault_set(struct fixture *f, enum file_op op, unsigned skip, unsigned times, int result)
{
	pthread_mutex_lock(&f->faults.mutex);
	f->faults.any = false;
	f->faults.only = NULL;
	f->faults.op = op;
	f->faults.skip = skip;
	f->faults.times = times;
	f->faults.result = result;
	pthread_mutex_unlock(&f->faults.mutex);
}

static inline void fault_clear(struct fixture *f)
{
	fault_set(f, FILE_OPEN, 0, 0, 0);
}

static inline unsigned fault_calls(struct fixture *f, enum file_op op)
{
	pthread_mutex_lock(&f->faults.mutex);
	unsigned calls = f->faults.calls[op];
	pthread_mutex_unlock(&f->faults.mutex);
	return calls;
}

static inline void fixture_ticked(uv_timer_t *timer) {}

static inline void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	pthread_mutex_init(&f->faults.mutex, NULL);
	file_set_hook(fault_hook, &f->faults);
	cr_assert_eq(uv_loop_init(&f->loop), 0);
	/* Bounds each turn, so that waiting for something that does not come ends. */
	uv_timer_init(&f->loop, &f->tick);
	uv_timer_start(&f->tick, fixture_ticked, 20, 20);
	uv_unref((uv_handle_t *)&f->tick);
	const char *base = getenv("JOURNAL_TEST_DIR");
	snprintf(f->directory, sizeof(f->directory), "%s/reeld-journal-XXXXXX", base != NULL ? base : "/dev/shm");
	if (mkdtemp(f->directory) == NULL) {
		snprintf(f->directory, sizeof(f->directory), "/tmp/reeld-journal-XXXXXX");
		cr_assert_not_null(mkdtemp(f->directory));
	}
	f->metrics = metrics_new();
	f->options = (struct journal_options){
		.directory = f->directory,
		.max_bytes = 64 * SMALL_SEGMENT,
		.segment_bytes = SMALL_SEGMENT,
		.metrics = f->metrics,
	};
}

static inline void fixture_committed(void *data)
{
	((struct fixture *)data)->commits++;
}

static inline int fixture_open(struct fixture *f)
{
	f->journal = NULL;
	int r = journal_open(&f->journal, &f->loop, &f->options, &f->error);
	if (r == 0)
		journal_on_commit(f->journal, fixture_committed, f);
	return r;
}

#define OPEN(f) cr_assert_eq(fixture_open(f), 0, "%s", (f)->error.detail)

/* Turns the loop until the condition holds; fails after ten seconds. */
#define RUN_UNTIL(f, condition)                                                                  \
	do {                                                                                     \
		uint64_t until = clock_mono_ns() + UINT64_C(10000000000);                        \
		uv_ref((uv_handle_t *)&(f)->tick);                                               \
		while (!(condition)) {                                                           \
			uv_run(&(f)->loop, UV_RUN_ONCE);                                         \
			cr_assert(clock_mono_ns() < until, "waited in vain for %s", #condition); \
		}                                                                                \
		uv_unref((uv_handle_t *)&(f)->tick);                                             \
	} while (0)

static inline void fixture_closed(void *data)
{
	((struct fixture *)data)->closed = true;
}

static inline void fixture_close(struct fixture *f)
{
	f->closed = false;
	journal_close(f->journal, fixture_closed, f);
	RUN_UNTIL(f, f->closed);
	f->journal = NULL;
}

static inline void remove_directory(const char *path)
{
	DIR *directory = opendir(path);
	if (directory == NULL)
		return;
	const struct dirent *entry;
	while ((entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	rmdir(path);
}

static inline void fixture_end(struct fixture *f)
{
	fault_clear(f);
	if (f->journal != NULL)
		fixture_close(f);
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&f->loop), 0);
	file_set_hook(NULL, NULL);
	metrics_free(&f->metrics);
	remove_directory(f->directory);
}

static inline void event_done(struct journal_append *append, int status)
{
	struct event *event = (struct event *)append;
	event->calls++;
	event->status = status;
}

/* The payload of the nth event of a test: its size and bytes follow from n. */
static inline size_t payload_make(char *out, unsigned n, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (char)(n * 31 + i * 7 + (i >> 8));
	if (size >= sizeof(n))
		memcpy(out, &n, sizeof(n));
	return size;
}

static inline int event_append(struct fixture *f, struct event *event, unsigned n, size_t size)
{
	char *payload = malloc(size + 1);
	payload_make(payload, n, size);
	/* In two parts, as intake does. */
	size_t head = size < 16 ? size : 16;
	const struct slice parts[2] = {{payload, head}, {payload + head, size - head}};
	memset(event, 0, sizeof(*event));
	event->append.done = event_done;
	int r = journal_append(f->journal, &event->append, parts, 2);
	free(payload);
	return r;
}

/* Appends events first..first+count-1 of `size` bytes and waits for them. */
static inline void events_append(struct fixture *f, unsigned first, unsigned count, size_t size)
{
	struct event *events = calloc(count, sizeof(*events));
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(event_append(f, &events[i], first + i, size), 0);
	for (unsigned i = 0; i < count; i++) {
		RUN_UNTIL(f, events[i].calls == 1);
		cr_assert_eq(events[i].status, 0);
	}
	free(events);
}

struct reading {
	struct journal_read read;
	unsigned calls;
	int status;
	unsigned each;
};

static inline void reading_done(struct journal_read *read, int status)
{
	struct reading *reading = read->data;
	reading->calls++;
	reading->status = status;
}

static inline void reading_each(struct journal_read *read, const struct journal_record *record)
{
	((struct reading *)read->data)->each++;
}

static inline void reading_start(struct fixture *f, struct reading *reading, uint64_t after, size_t max_records, size_t max_bytes)
{
	memset(reading, 0, sizeof(*reading));
	reading->read = (struct journal_read){.after = after,
					      .max_records = max_records,
					      .max_bytes = max_bytes,
					      .done = reading_done,
					      .data = reading,
					      .each = reading_each};
	cr_assert_eq(journal_read(f->journal, &reading->read), 0);
}

static inline void reading_run(struct fixture *f, struct reading *reading, uint64_t after, size_t max_records, size_t max_bytes)
{
	reading_start(f, reading, after, max_records, max_bytes);
	RUN_UNTIL(f, reading->calls == 1);
}

static inline unsigned record_number(const struct journal_record *record)
{
	unsigned n;
	cr_assert_geq(record->payload.len, sizeof(n));
	memcpy(&n, record->payload.ptr, sizeof(n));
	char *expected = malloc(record->payload.len);
	payload_make(expected, n, record->payload.len);
	cr_assert_eq(memcmp(expected, record->payload.ptr, record->payload.len), 0, "payload of event %u differs", n);
	free(expected);
	return n;
}

/* Reads everything after `after`, checks that sequences rise and payloads are whole, and counts each event number below `count` in seen[]. */
static inline unsigned read_all(struct fixture *f, uint64_t after, unsigned *seen, unsigned count)
{
	unsigned total = 0;
	for (;;) {
		struct reading reading;
		reading_run(f, &reading, after, 37, 32 * 1024);
		cr_assert_eq(reading.status, 0);
		cr_assert_eq(reading.each, reading.read.count);
		for (size_t i = 0; i < reading.read.count; i++) {
			cr_assert_gt(reading.read.records[i].sequence, after);
			after = reading.read.records[i].sequence;
			unsigned n = record_number(&reading.read.records[i]);
			if (seen != NULL && n < count)
				seen[n]++;
		}
		total += (unsigned)reading.read.count;
		bool more = reading.read.count > 0;
		cr_assert_geq(reading.read.last, after);
		after = reading.read.last;
		journal_read_release(&reading.read);
		if (!more)
			return total;
	}
}

static inline struct journal_stats stats_of(const struct fixture *f)
{
	struct journal_stats stats;
	journal_stats(f->journal, &stats);
	return stats;
}

static inline unsigned count_files(const char *path, const char *prefix)
{
	unsigned count = 0;
	DIR *directory = opendir(path);
	const struct dirent *entry;
	while ((entry = readdir(directory)) != NULL)
		count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	closedir(directory);
	return count;
}

/* The file of the segment with the highest generation. */
static inline int open_newest_segment(const char *path, int flags)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	uint64_t newest = 0;
	char name[256] = "";
	while ((entry = readdir(directory)) != NULL) {
		char block[HEADER_BLOCK_SIZE];
		struct segment_header header;
		uint32_t version;
		int fd = openat(dirfd(directory), entry->d_name, O_RDONLY);
		if (strncmp(entry->d_name, "segment-", 8) == 0 && pread(fd, block, sizeof(block), 0) == sizeof(block) &&
		    header_parse(block, &header, &version) == HEADER_OK && header.generation > newest) {
			newest = header.generation;
			snprintf(name, sizeof(name), "%s", entry->d_name);
		}
		close(fd);
	}
	int fd = newest > 0 ? openat(dirfd(directory), name, flags) : -1;
	closedir(directory);
	cr_assert_geq(fd, 0);
	return fd;
}

static inline void copy_directory(const char *from, const char *to)
{
	DIR *directory = opendir(from);
	const struct dirent *entry;
	mkdir(to, 0700);
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		char path[512];
		snprintf(path, sizeof(path), "%s/%s", to, entry->d_name);
		int in = openat(dirfd(directory), entry->d_name, O_RDONLY);
		int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		char buffer[65536];
		ssize_t got;
		while ((got = read(in, buffer, sizeof(buffer))) > 0)
			cr_assert_eq(write(out, buffer, (size_t)got), got);
		close(in);
		close(out);
	}
	closedir(directory);
}

#endif
