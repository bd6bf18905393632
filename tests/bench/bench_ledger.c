/* SPDX-License-Identifier: MIT */
/*
 * How fast the ledger is: bench_ledger DIRECTORY|URL [EVENTS [ROWS]], SQLite in a directory or the Postgres of a postgresql:// URL. Events are
 * forwarded and leased in batches of 8 to 512, then each lease
 * ended by STORED_OBJECT and FINISH, 64 in flight. ROWS are there before (random SIDs make the index grow out of the cache). Prints rates and the
 * processor time an event takes.
 */
#include "base/clock.h"
#include "ledger/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define IN_FLIGHT 64

struct worker {
	struct ledger_request request;
	struct bench *bench;
	const struct ledger_job *job;
};

struct bench {
	uv_loop_t loop;
	struct ledger *ledger;
	struct event *events;
	struct ledger_job *jobs;
	size_t job_count;
	size_t next;
	size_t running;
	struct worker workers[IN_FLIGHT];
	bool answered;
	int status;
};

static void fail(const char *what, int status, const struct error *error)
{
	fprintf(stderr, "bench_ledger: %s: %s: %s\n", what, err_name(status), error->detail);
	exit(1);
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void make_events(struct event *events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t id[4];
		random_bytes(id, sizeof(id));
		events[i] = (struct event){.kind = EVENT_RECORDING,
					   .received_at_ms = clock_wall_ms(),
					   .status = RECORDING_COMPLETED,
					   .duration_s = 30,
					   .channels = 2,
					   .start_time_ms = 1700000000000,
					   .source = "DialVerb",
					   .track = "both"};
		snprintf(events[i].recording_sid.text, SID_LEN + 1, "RE%016llx%016llx", (unsigned long long)id[0],
			 (unsigned long long)id[1]);
		snprintf(events[i].call_sid.text, SID_LEN + 1, "CA%016llx%016llx", (unsigned long long)id[2],
			 (unsigned long long)id[3]);
		snprintf(events[i].account_sid.text, SID_LEN + 1, "AC%032x", 1);
	}
}

static void batch_done(struct ledger_request *request, int status)
{
	struct bench *bench = request->data;
	bench->answered = true;
	bench->status = status;
}

static void forward(struct bench *bench, size_t count, size_t batch, bool lease)
{
	for (size_t at = 0; at < count; at += batch) {
		size_t size = count - at < batch ? count - at : batch;
		struct ledger_request request = {.op = LEDGER_FORWARD,
						 .events = bench->events + at,
						 .count = size,
						 .lease_max = lease ? size : 0,
						 .done = batch_done,
						 .data = bench};
		bench->answered = false;
		ledger_submit(bench->ledger, &request);
		while (!bench->answered)
			uv_run(&bench->loop, UV_RUN_ONCE);
		if (bench->status != 0)
			fail("forward", bench->status, &request.error);
		memcpy(bench->jobs + bench->job_count, request.leased, request.leased_count * sizeof(*bench->jobs));
		bench->job_count += request.leased_count;
		ledger_request_release(&request);
	}
}

static void work(struct worker *worker);

static void finished(struct ledger_request *request, int status)
{
	struct worker *worker = request->data;
	if (status != 0)
		fail("finish", status, &request->error);
	worker->bench->running--;
	work(worker);
}

static void stored(struct ledger_request *request, int status)
{
	struct worker *worker = request->data;
	if (status != 0)
		fail("stored", status, &request->error);
	worker->request = (struct ledger_request){.op = LEDGER_FINISH,
						  .recording_sid = worker->job->recording_sid,
						  .epoch = worker->job->epoch,
						  .finish = {.outcome = LEDGER_OUTCOME_DONE},
						  .done = finished,
						  .data = worker};
	ledger_submit(worker->bench->ledger, &worker->request);
}

static void work(struct worker *worker)
{
	struct bench *bench = worker->bench;
	if (bench->next == bench->job_count)
		return;
	worker->job = &bench->jobs[bench->next++];
	bench->running++;
	worker->request = (struct ledger_request){
		.op = LEDGER_STORED_OBJECT,
		.recording_sid = worker->job->recording_sid,
		.epoch = worker->job->epoch,
		.object =
			{.key = "recordings/2023/11/14/CA00000000000000000000000000000000/RE00000000000000000000000000000000.wav",
			 .url = "https://s3.example.com/bucket/recordings/2023/11/14/CA00000000000000000000000000000000/"
				"RE00000000000000000000000000000000.wav",
			 .bytes = 480044,
			 .md5 = "0123456789abcdef0123456789abcdef",
			 .sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			 .content_type = "audio/wav",
			 .duration_s = 30},
		.done = stored,
		.data = worker,
	};
	ledger_submit(bench->ledger, &worker->request);
}

static void report(const char *what, size_t count, uint64_t start_ns, double start_cpu)
{
	double seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
	printf("%-32s %9.0f/s  %6.1f us CPU each\n", what, (double)count / seconds,
	       (cpu_seconds() - start_cpu) * 1e6 / (double)count);
	fflush(stdout);
}

static void nothing(void *data)
{
	(void)data;
}

static int open_ledger(struct bench *bench, const char *where, struct error *error)
{
	char path[4096];
	if (strncmp(where, "postgres", 8) == 0) {
		struct ledger_postgres_options options = {.url = where, .owner = "bench", .migrate = true, .prepared = true};
		return ledger_postgres_open(&bench->ledger, &bench->loop, &options, error);
	}
	if (ledger_sqlite_path(where, path, sizeof(path)) != 0)
		return error_set(error, ERR_LIMIT, "the path is too long");
	return ledger_sqlite_open(&bench->ledger, &bench->loop, path, "bench", true, false, error);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	struct error error = {0};
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 50000;
	size_t rows = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	if (argc < 2 || count == 0) {
		fprintf(stderr, "usage: bench_ledger DIRECTORY|URL [EVENTS [ROWS]]\n");
		return 2;
	}
	uv_loop_init(&bench.loop);
	int status = open_ledger(&bench, argv[1], &error);
	bench.events = calloc(count, sizeof(*bench.events));
	bench.jobs = calloc(count, sizeof(*bench.jobs));
	if (status != 0 || bench.events == NULL || bench.jobs == NULL)
		fail("open", status, &error);
	for (size_t made = 0; made < rows; made += count) {
		make_events(bench.events, count);
		forward(&bench, count, 512, false);
	}

	static const size_t batches[] = {8, 64, 128, 512};
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		char what[64];
		make_events(bench.events, count);
		bench.job_count = 0;
		bench.next = 0;
		double cpu = cpu_seconds();
		uint64_t start = clock_mono_ns();
		forward(&bench, count, batches[i], true);
		snprintf(what, sizeof(what), "forward, leased, batches of %zu", batches[i]);
		report(what, count, start, cpu);

		cpu = cpu_seconds();
		start = clock_mono_ns();
		for (size_t w = 0; w < IN_FLIGHT; w++) {
			bench.workers[w].bench = &bench;
			work(&bench.workers[w]);
		}
		while (bench.running > 0)
			uv_run(&bench.loop, UV_RUN_ONCE);
		report("stored and finished, 64 at once", count, start, cpu);
	}
	ledger_close(bench.ledger, nothing, NULL);
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&bench.loop) == 0 ? 0 : 1;
}
