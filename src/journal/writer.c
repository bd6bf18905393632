/* SPDX-License-Identifier: MIT */
#include "journal/writer.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/thread.h"
#include "journal/file.h"
#include "journal/record.h"
#include "journal/segment.h"

#include <fcntl.h>

/* A segment's header is durable before any record of its life is written: what recovery finds behind it is then never of unknown age. */
static int begin_segment(struct writer_job *job)
{
	char block[HEADER_BLOCK_SIZE];
	if (job->fd < 0) {
		char name[SEGMENT_NAME_SIZE];
		segment_name(job->id, name);
		int r = file_open(job->directory_fd, name, O_RDWR, &job->fd);
		if (r != 0)
			return r;
	}
	header_write(block, &job->header);
	int r = file_write(job->fd, block, sizeof(block), 0);
	return r != 0 ? r : file_sync(job->fd);
}

static int run_job(struct writer_job *job)
{
	file_close(&job->stale_fd);
	if (job->begin) {
		int r = begin_segment(job);
		if (r != 0)
			return r;
	}
	if (job->size == 0)
		return 0;
	record_seal(job->data, job->size, record_seed(job->generation));
	int r = file_write(job->fd, job->data, job->size, job->offset);
	return r != 0 ? r : file_sync(job->fd);
}

static void writer_main(void *arg)
{
	struct writer *writer = arg;
	thread_be_prompt();
	for (;;) {
		uv_sem_wait(&writer->wake);
		struct writer_job *job = writer->job;
		if (job == NULL)
			return;
		uint64_t started = clock_mono_ns();
		job->error = run_job(job);
		job->duration_ns = clock_mono_ns() - started;
		/* Either the loop's last look before its poll sees `finished`, or we see it asleep: both orders are sequentially consistent. */
		atomic_store(&writer->finished, true);
		if (atomic_load(&writer->loop_asleep))
			wakeup_send(&writer->wakeup);
	}
}

int writer_start(struct writer *writer, uv_loop_t *loop, wakeup_cb *finished, void *data)
{
	writer->job = NULL;
	writer->busy = false;
	atomic_init(&writer->finished, false);
	atomic_init(&writer->loop_asleep, true);
	int r = uv_sem_init(&writer->wake, 0);
	if (r != 0)
		return r;
	r = uv_thread_create(&writer->thread, writer_main, writer);
	if (r != 0) {
		uv_sem_destroy(&writer->wake);
		return r;
	}
	/* Last, because a handle cannot be undone without a turn of the loop. */
	r = wakeup_init(&writer->wakeup, loop, finished, data);
	if (r != 0)
		writer_stop(writer);
	return r;
}

void writer_submit(struct writer *writer, struct writer_job *job)
{
	REQUIRE(!writer->busy);
	writer->busy = true;
	writer->job = job;
	uv_sem_post(&writer->wake);
}

struct writer_job *writer_take(struct writer *writer)
{
	if (!writer->busy || !atomic_load(&writer->finished))
		return NULL;
	atomic_store(&writer->finished, false);
	writer->busy = false;
	return writer->job;
}

void writer_may_sleep(struct writer *writer)
{
	atomic_store(&writer->loop_asleep, true);
	if (atomic_load(&writer->finished))
		wakeup_send(&writer->wakeup);
}

void writer_stay_awake(struct writer *writer)
{
	atomic_store_explicit(&writer->loop_asleep, false, memory_order_relaxed);
}

void writer_stop(struct writer *writer)
{
	REQUIRE(!writer->busy);
	writer->job = NULL;
	uv_sem_post(&writer->wake);
	uv_thread_join(&writer->thread);
	uv_sem_destroy(&writer->wake);
}
