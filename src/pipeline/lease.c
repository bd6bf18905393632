/* SPDX-License-Identifier: MIT */
/*
 * A lease whose renewal fails because the ledger is away is not given up: nobody else can take it either, and when the ledger is
 * back it says whether it is still ours. Only that answer cuts a job.
 */
#include "pipeline/pipeline_impl.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static size_t collect(struct ledger_job *out, const struct list *jobs)
{
	size_t count = 0;
	for (const struct list *link = jobs->next; link != jobs; link = link->next) {
		const struct job *job = LIST_ENTRY(link, struct job, link);
		out[count].recording_sid = job->work.recording_sid;
		out[count].epoch = job->work.epoch;
		count++;
	}
	return count;
}

struct ledger_job *lease_list(const struct pipeline *pipeline, size_t *count)
{
	size_t held = pipeline->queued + pipeline->running_count;
	struct ledger_job *jobs = held == 0 ? NULL : calloc(held, sizeof(*jobs));
	*count = 0;
	if (jobs == NULL)
		return NULL;
	*count = collect(jobs, &pipeline->queue);
	*count += collect(jobs + *count, &pipeline->running);
	REQUIRE(*count == held);
	return jobs;
}

static struct job *find(const struct list *jobs, const struct ledger_job *lease)
{
	for (struct list *link = jobs->next; link != jobs; link = link->next) {
		struct job *job = LIST_ENTRY(link, struct job, link);
		if (job->work.epoch == lease->epoch && strcmp(job->work.recording_sid.text, lease->recording_sid.text) == 0)
			return job;
	}
	return NULL;
}

static void cut_lost(struct pipeline *pipeline, const struct ledger_job *lease)
{
	struct job *job = find(&pipeline->running, lease);
	if (job == NULL)
		job = find(&pipeline->queue, lease);
	if (job != NULL) /* else it ended meanwhile */
		job_cut(job, JOB_CUT_LEASE_LOST);
}

static void beat_done(struct ledger_request *request, int status)
{
	struct pipeline *pipeline = request->data;
	pipeline->beating = false;
	job_env_learned(&pipeline->env, DEPENDENCY_LEDGER, 0, status, status == 0, request->error.detail);
	if (status == 0 && request->lost != NULL) {
		for (size_t i = 0; i < request->count; i++) {
			if (request->lost[i])
				cut_lost(pipeline, &request->jobs[i]);
		}
	} else if (status != 0) {
		log_event(LOG_WARN, "lease.heartbeat_failed", LOG_STR("reason", err_name(status)),
			  LOG_STR("detail", request->error.detail), LOG_U64("jobs", request->count));
	}
	ledger_request_release(request);
	free(pipeline->beat_jobs);
	pipeline->beat_jobs = NULL;
	pipeline_work_soon(pipeline);
}

void lease_beat(struct pipeline *pipeline)
{
	size_t count;
	if (pipeline->beating || pipeline->closing)
		return;
	pipeline->beat_jobs = lease_list(pipeline, &count);
	if (pipeline->beat_jobs == NULL)
		return; /* nothing to do; or out of memory, and two more beats before a lease expires */
	pipeline->beating = true;
	pipeline->beat = (struct ledger_request){
		.op = LEDGER_HEARTBEAT,
		.jobs = pipeline->beat_jobs,
		.count = count,
		.done = beat_done,
		.data = pipeline,
	};
	ledger_submit(pipeline->options.ledger, &pipeline->beat);
}

static void lease_tick(uv_timer_t *timer)
{
	lease_beat(CONTAINER_OF(timer, struct pipeline, heartbeat));
}

void lease_start(struct pipeline *pipeline)
{
	uv_timer_start(&pipeline->heartbeat, lease_tick, LEDGER_LEASE_MS / 3, LEDGER_LEASE_MS / 3);
}
