/* SPDX-License-Identifier: MIT */
/*
 * A worker's life:
 *
 *   WAITING ──timer──▶ STARTING ──its byte──▶ READY ──SIGHUP──▶ RELOADING ──its byte──▶ READY
 *      ▲                  │                     │                   │
 *      └──both handles closed ◀──── ENDED ◀─────┴─── it ended ──────┘
 *
 * A signal goes to a worker that is ready only, since one that starts has no handler yet: a reload is made up for when it is ready, and SIGTERM ends it.
 */
#include "supervisor.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "engines.h"
#include "intake/connection.h"
#include "journal/journal.h"
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

/* What a worker finds beside the standard streams. */
enum { WORKER_LISTEN_FD = 3, WORKER_LOCK_FD, WORKER_SOCKET_FD, WORKER_FDS };

#define SAME_SIGNAL_NS UINT64_C(1000000000)
#define SETTLED_MS 30000       /* one that lived so long is not said to have ended several times in a row */
#define STOP_PATIENCE_MS 10000 /* beyond SHUTDOWN_GRACE, for closing */

enum worker_state { WORKER_WAITING, WORKER_STARTING, WORKER_READY, WORKER_RELOADING, WORKER_ENDED };

struct worker {
	struct supervisor *supervisor;
	unsigned number;
	enum worker_state state;
	char owner[LEDGER_OWNER_SIZE];
	uv_process_t process;
	uv_pipe_t socket;
	uv_timer_t timer;
	int open_handles; /* of process and socket */
	uint64_t ready_at_ms;
	unsigned ends; /* in a row */
	bool reload;   /* SIGHUP came while it was starting */
	bool was_ready;
	int64_t status;
	int signal;
};

static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

struct supervisor {
	uv_loop_t loop;
	const struct config *config;
	int listen_fd;
	int lock_fd;
	struct worker *workers;
	unsigned count;
	uv_signal_t signals[SIGNALS];
	uv_timer_t patience;
	bool started; /* all have been ready once */
	bool told;    /* the service manager knows that all are ready */
	bool stopping;
	uint64_t stopping_ns; /* since when */
	bool closing;
	bool failed;
};

static void start(struct worker *worker);
static void stop(struct supervisor *supervisor);

/* ---- what all of them are ---- */

static bool all_ready(const struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->count; i++) {
		if (supervisor->workers[i].state != WORKER_READY)
			return false;
	}
	return true;
}

static void tell_when_ready(struct supervisor *supervisor)
{
	if (supervisor->told || supervisor->stopping || !all_ready(supervisor))
		return;
	supervisor->told = true;
	if (!supervisor->started)
		log_event(LOG_INFO, "supervisor.ready", LOG_U64("workers", supervisor->count));
	supervisor->started = true;
	notify_send("READY=1");
}

static void handle_closed(uv_handle_t *handle)
{
	(void)handle;
}

static void close_when_ended(struct supervisor *supervisor)
{
	if (supervisor->closing)
		return;
	for (unsigned i = 0; i < supervisor->count; i++) {
		if (supervisor->workers[i].state != WORKER_WAITING)
			return;
	}
	supervisor->closing = true;
	for (unsigned i = 0; i < supervisor->count; i++)
		uv_close((uv_handle_t *)&supervisor->workers[i].timer, handle_closed);
	for (size_t i = 0; i < SIGNALS; i++)
		uv_close((uv_handle_t *)&supervisor->signals[i], handle_closed);
	uv_close((uv_handle_t *)&supervisor->patience, handle_closed);
}

static void send_signal(struct worker *worker, int signum)
{
	if (worker->state != WORKER_WAITING && worker->state != WORKER_ENDED)
		uv_process_kill(&worker->process, signum);
}

/* ---- the end of one ---- */

static void on_restart(uv_timer_t *timer)
{
	start(timer->data);
}

/* One that is told to end before it has a handler for that has nothing to drain. */
static bool ended_in_order(const struct worker *worker)
{
	return worker->signal == 0 ? worker->status == 0 : worker->signal == SIGTERM && !worker->was_ready;
}

static void restart_later(struct worker *worker)
{
	uint64_t now = uv_now(&worker->supervisor->loop);
	if (worker->was_ready && now - worker->ready_at_ms >= SETTLED_MS)
		worker->ends = 0;
	uint64_t delay = workers_restart_delay(++worker->ends);
	log_event(LOG_ERROR, "worker.ended", LOG_U64("number", worker->number), LOG_I64("pid", worker->process.pid),
		  LOG_I64("status", worker->status), LOG_I64("signal", worker->signal), LOG_U64("restart_ms", delay));
	uv_timer_start(&worker->timer, on_restart, delay, 0);
}

static void settle(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;
	worker->state = WORKER_WAITING;
	if (supervisor->stopping) {
		close_when_ended(supervisor);
	} else if (!supervisor->started && worker->signal == 0) {
		/* It has said why. */
		supervisor->failed = true;
		stop(supervisor);
	} else {
		restart_later(worker);
	}
}

static void worker_handle_closed(uv_handle_t *handle)
{
	struct worker *worker = handle->data;
	if (--worker->open_handles == 0)
		settle(worker);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signum)
{
	struct worker *worker = process->data;
	worker->state = WORKER_ENDED;
	worker->status = status;
	worker->signal = signum;
	if (worker->supervisor->stopping && !ended_in_order(worker))
		worker->supervisor->failed = true;
	uv_close((uv_handle_t *)&worker->process, worker_handle_closed);
	uv_close((uv_handle_t *)&worker->socket, worker_handle_closed);
}

/* ---- the start of one ---- */

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char room[16];
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(room, sizeof(room));
}

static void became_ready(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;
	if (worker->state == WORKER_STARTING) {
		worker->ready_at_ms = uv_now(&supervisor->loop);
		worker->was_ready = true;
	}
	worker->state = WORKER_READY;
	if (worker->reload) {
		worker->reload = false;
		worker->state = WORKER_RELOADING;
		send_signal(worker, SIGHUP);
	}
	/* The first one alone finds what is wrong with the configuration. */
	for (unsigned i = 0; !supervisor->started && !supervisor->stopping && i < supervisor->count; i++) {
		struct worker *other = &supervisor->workers[i];
		if (other->state == WORKER_WAITING && !uv_is_active((uv_handle_t *)&other->timer))
			start(other);
	}
	tell_when_ready(supervisor);
}

static void on_socket(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
	struct worker *worker = stream->data;
	(void)buf;
	if (len < 0)
		uv_read_stop(stream); /* it is ending */
	else if (len > 0 && (worker->state == WORKER_STARTING || worker->state == WORKER_RELOADING))
		became_ready(worker);
}

static int spawn(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;
	char place[16];
	char *env_file = supervisor->config->env_file;
	char *args[9];
	size_t n = 0;
	REQUIRE(workers_format_place(worker->number, supervisor->count, place, sizeof(place)) == 0);
	args[n++] = (char *)"reeld";
	if (env_file != NULL) {
		args[n++] = (char *)"--env-file";
		args[n++] = env_file;
	}
	args[n++] = (char *)"serve";
	args[n++] = (char *)"--worker";
	args[n++] = place;
	args[n++] = (char *)"--owner";
	args[n++] = worker->owner;
	args[n] = NULL;
	uv_stdio_container_t stdio[WORKER_FDS] = {
		[WORKER_LISTEN_FD] = {.flags = UV_INHERIT_FD, .data.fd = supervisor->listen_fd},
		[WORKER_LOCK_FD] = {.flags = UV_INHERIT_FD, .data.fd = supervisor->lock_fd},
		[WORKER_SOCKET_FD] = {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
				      .data.stream = (uv_stream_t *)&worker->socket},
	};
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		stdio[fd] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
	const uv_process_options_t options = {
		/* Also when the file was replaced: a worker is never of another version than its supervisor. */
		.file = "/proc/self/exe", .args = args, .stdio = stdio, .stdio_count = WORKER_FDS, .exit_cb = on_exit_of,
	};
	return uv_spawn(&supervisor->loop, &worker->process, &options);
}

static void start(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;
	REQUIRE(uv_pipe_init(&supervisor->loop, &worker->socket, 0) == 0);
	worker->process.data = worker;
	worker->socket.data = worker;
	worker->open_handles = 2;
	worker->was_ready = false;
	worker->reload = false;
	worker->state = WORKER_STARTING;
	int status = spawn(worker);
	if (status != 0) {
		log_event(LOG_ERROR, "worker.start_failed", LOG_U64("number", worker->number),
			  LOG_STR("detail", uv_strerror(status)));
		on_exit_of(&worker->process, 1, 0);
		return;
	}
	log_event(LOG_INFO, "worker.started", LOG_U64("number", worker->number), LOG_I64("pid", worker->process.pid));
	REQUIRE(uv_read_start((uv_stream_t *)&worker->socket, give_room, on_socket) == 0);
}

/* ---- signals ---- */

static void kill_rest(struct supervisor *supervisor)
{
	supervisor->failed = true;
	for (unsigned i = 0; i < supervisor->count; i++)
		send_signal(&supervisor->workers[i], SIGKILL);
}

static void on_patience_over(uv_timer_t *timer)
{
	struct supervisor *supervisor = timer->data;
	log_event(LOG_ERROR, "supervisor.killing", LOG_STR("advice", "a worker did not end within SHUTDOWN_GRACE and 10 s more"));
	kill_rest(supervisor);
}

static void stop(struct supervisor *supervisor)
{
	supervisor->stopping = true;
	supervisor->stopping_ns = clock_mono_ns();
	notify_send("STOPPING=1");
	/* A socket that nobody accepts from must not take connections. */
	close(supervisor->listen_fd);
	supervisor->listen_fd = -1;
	uv_timer_start(&supervisor->patience, on_patience_over,
		       (uint64_t)supervisor->config->shutdown_grace_ms + STOP_PATIENCE_MS, 0);
	for (unsigned i = 0; i < supervisor->count; i++) {
		uv_timer_stop(&supervisor->workers[i].timer);
		send_signal(&supervisor->workers[i], SIGTERM);
	}
	close_when_ended(supervisor);
}

static void reload(struct supervisor *supervisor)
{
	notify_reloading();
	supervisor->told = false;
	for (unsigned i = 0; i < supervisor->count; i++) {
		struct worker *worker = &supervisor->workers[i];
		/* Settings that are read now may be the old ones. */
		worker->reload = worker->state == WORKER_STARTING || worker->state == WORKER_RELOADING;
		if (worker->state != WORKER_READY)
			continue;
		worker->state = WORKER_RELOADING;
		send_signal(worker, SIGHUP);
	}
}

bool supervisor_is_second_signal(uint64_t stopping_ns)
{
	static const char text[] = "reeld: second signal, leaving at once\n";
	if (clock_mono_ns() - stopping_ns < SAME_SIGNAL_NS)
		return false;
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)ignored;
	return true;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct supervisor *supervisor = handle->data;
	if (signum == SIGHUP) {
		if (!supervisor->stopping)
			reload(supervisor);
		return;
	}
	if (supervisor->stopping) {
		if (supervisor_is_second_signal(supervisor->stopping_ns))
			kill_rest(supervisor);
		return;
	}
	log_event(LOG_INFO, "supervisor.stopping", LOG_STR("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"));
	stop(supervisor);
}

/* ---- the supervisor ---- */

static int open_shared(struct supervisor *supervisor, struct error *error)
{
	const struct config *config = supervisor->config;
	char path[PATH_MAX];
	struct error why = {0};
	int err = app_make_data_dir(config, error);
	if (err != 0)
		return err;
	if (workers_journal_path(config->data_dir, 0, path, sizeof(path)) != 0)
		return error_set(error, ERR_CONFIG, "DATA_DIR: path is too long");
	err = journal_lock(path, &supervisor->lock_fd, &why);
	if (err != 0)
		return error_set(error, err, "DATA_DIR: %s", why.detail);
	err = server_bind(config->listen, &supervisor->listen_fd, &why);
	if (err != 0)
		return error_set(error, err, "LISTEN: %s", why.detail);
	/* Whatever becomes of the env-file: a worker that is started again has the directory that is locked. */
	if (setenv("DATA_DIR", config->data_dir, 1) != 0)
		return error_set(error, ERR_NOMEM, "out of memory");
	return engines_take_over_ledger(config, error);
}

static int open_handles(struct supervisor *supervisor, struct error *error)
{
	supervisor->count = (unsigned)supervisor->config->workers;
	supervisor->workers = calloc(supervisor->count, sizeof(*supervisor->workers));
	if (supervisor->workers == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	if (uv_loop_init(&supervisor->loop) != 0)
		return error_set(error, ERR_NOMEM, "cannot create the event loop (file descriptor limit?)");
	for (size_t i = 0; i < SIGNALS; i++) {
		REQUIRE(uv_signal_init(&supervisor->loop, &supervisor->signals[i]) == 0);
		supervisor->signals[i].data = supervisor;
		REQUIRE(uv_signal_start(&supervisor->signals[i], on_signal, signals[i]) == 0);
	}
	REQUIRE(uv_timer_init(&supervisor->loop, &supervisor->patience) == 0);
	supervisor->patience.data = supervisor;
	for (unsigned i = 0; i < supervisor->count; i++) {
		struct worker *worker = &supervisor->workers[i];
		worker->supervisor = supervisor;
		worker->number = i;
		app_make_owner(worker->owner);
		REQUIRE(uv_timer_init(&supervisor->loop, &worker->timer) == 0);
		worker->timer.data = worker;
	}
	return 0;
}

int supervisor_run(const struct config *config, struct error *error)
{
	struct supervisor supervisor = {.config = config, .listen_fd = -1, .lock_fd = -1};
	int err = open_shared(&supervisor, error);
	if (err == 0)
		err = open_handles(&supervisor, error);
	if (err == 0) {
		log_attach(&supervisor.loop);
		log_event(LOG_INFO, "supervisor.started", LOG_STR("version", REELD_VERSION), LOG_U64("workers", config->workers));
		start(&supervisor.workers[0]);
		uv_run(&supervisor.loop, UV_RUN_DEFAULT);
		log_event(LOG_INFO, "supervisor.stopped");
		log_detach();
		REQUIRE(uv_loop_close(&supervisor.loop) == 0);
		err = supervisor.failed ? ERR_CANCELLED : 0;
	}
	free(supervisor.workers);
	if (supervisor.listen_fd >= 0)
		close(supervisor.listen_fd);
	if (supervisor.lock_fd >= 0)
		close(supervisor.lock_fd);
	return err;
}

/* ---- in a worker ---- */

int supervisor_greet(struct app_worker *worker, const char *place, const char *owner)
{
	char byte;
	*worker = (struct app_worker){.listen_fd = WORKER_LISTEN_FD, .lock_fd = WORKER_LOCK_FD};
	if (workers_parse_place(place, &worker->number, &worker->count) != 0 || owner == NULL ||
	    strlen(owner) >= sizeof(worker->owner))
		return ERR_INVALID;
	snprintf(worker->owner, sizeof(worker->owner), "%s", owner);
	for (int fd = WORKER_LISTEN_FD; fd < WORKER_FDS; fd++) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
			return ERR_INVALID;
	}
	/* The service manager is the supervisor's. */
	unsetenv("NOTIFY_SOCKET");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return ERR_INVALID;
	/* For top and killall: after the file that was run it would be "exe". */
	(void)prctl(PR_SET_NAME, "reeld");
	/* It may have died before that: then its end of the socket is closed. */
	ssize_t got = recv(WORKER_SOCKET_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : ERR_INVALID;
}

void supervisor_tell_ready(void)
{
	ssize_t ignored = send(WORKER_SOCKET_FD, "R", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)ignored;
}
