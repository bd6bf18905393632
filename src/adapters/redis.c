/* SPDX-License-Identifier: MIT */
/*
 *   WAITING ──timer──▶ RESOLVING ──▶ CONNECTING ──▶ GREETING (AUTH, SELECT, PING) ──▶ UP
 *      ▲                   │              │  ▲next address │                          │
 *      └───────────────────┴──────────────┴────────────────┴──────── lost ◀───────────┘
 *
 * One timer serves all states: when to try again, how long an attempt may take, when an answer is overdue or a PING due.
 *
 * Commands on their way stand in a ring in the order of their answers. A cancelled one leaves an empty slot, in which the late answer finds
 * nobody. What ends without an answer goes through `finished`, which the timer `soon` empties: so `done` never comes inside another call.
 */
#include "adapters/redis.h"

#include "adapters/redis_internal.h"
#include "adapters/redis_url.h"
#include "base/backoff.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define OWN_COMMANDS 4 /* AUTH, SELECT, PING and a PING later */
#define STABLE_MS 10000

enum state { STATE_WAITING, STATE_RESOLVING, STATE_CONNECTING, STATE_GREETING, STATE_UP };
enum command { COMMAND_OF_CALLER, COMMAND_AUTH, COMMAND_SELECT, COMMAND_PING };

struct slot {
	struct redis_request *request; /* NULL: cancelled, or our own command */
	enum command command;
	uint64_t started_ms;
};

struct redis {
	uv_loop_t *loop;
	struct redis_options options;
	struct redis_url url;
	struct redis_tls *tls;
	char where[320];

	enum state state;
	struct redis_link *link;
	uv_getaddrinfo_t resolver;
	bool resolving;
	bool abandoned; /* the attempt is over, its resolver not yet */
	struct addrinfo *addresses;
	struct addrinfo *next_address;
	unsigned attempts;
	uint64_t up_since_ms;
	uint64_t answered_ms;
	bool overdue;
	struct error problem;
	int logged; /* code of the problem that was logged last; 0: none since it was up */

	struct slot *ring;
	uint64_t ring_size;
	uint64_t ring_first; /* number of the oldest command on its way */
	uint64_t ring_end;   /* and of the next one */
	struct list finished;

	uv_timer_t timer;
	uv_timer_t soon;
	uv_prepare_t flush; /* runs before the loop waits: whatever this turn sent goes out in one write */
	unsigned open;      /* handles, links and the resolver */
	bool closing;
	void (*closed)(void *data);
	void *closed_data;
};

static void on_timer(uv_timer_t *timer);
static void try_next_address(struct redis *redis);

static void restart_timer(struct redis *redis, uint64_t in_ms)
{
	uv_timer_start(&redis->timer, on_timer, in_ms, 0);
}

/* ---- requests ---- */

static void on_soon(uv_timer_t *timer)
{
	struct redis *redis = timer->data;
	struct list finished;
	list_move(&finished, &redis->finished);
	for (struct list *link = list_take(&finished); link != NULL; link = list_take(&finished)) {
		struct redis_request *request = LIST_ENTRY(link, struct redis_request, link);
		request->redis = NULL;
		request->done(request, request->status, NULL);
	}
}

static void finish_soon(struct redis *redis, struct redis_request *request, int status)
{
	request->status = status;
	request->slot = UINT64_MAX;
	list_append(&redis->finished, &request->link);
	uv_timer_start(&redis->soon, on_soon, 0, 0);
}

static struct slot *slot_at(struct redis *redis, uint64_t number)
{
	return &redis->ring[number % redis->ring_size];
}

static void finish_all(struct redis *redis, int status)
{
	for (; redis->ring_first != redis->ring_end; redis->ring_first++) {
		struct slot *slot = slot_at(redis, redis->ring_first);
		if (slot->request != NULL)
			finish_soon(redis, slot->request, status);
	}
}

static int send_command(struct redis *redis, enum command command, struct redis_request *request, const struct slice *arguments,
			size_t count)
{
	if (redis->ring_end - redis->ring_first == redis->ring_size)
		return ERR_LIMIT;
	int err = redis_link_send(redis->link, arguments, count);
	if (err != 0)
		return err;
	uint64_t now_ms = uv_now(redis->loop);
	*slot_at(redis, redis->ring_end) = (struct slot){request, command, now_ms};
	redis->ring_end++;
	return 0;
}

int redis_start(struct redis *redis, struct redis_request *request, const struct slice *arguments, size_t count)
{
	if (redis->closing)
		return ERR_CANCELLED;
	if (redis->state != STATE_UP)
		return ERR_UNAVAILABLE;
	/* The last slots are for our own commands. */
	if (redis->ring_end - redis->ring_first + OWN_COMMANDS >= redis->ring_size)
		return ERR_LIMIT;
	uint64_t number = redis->ring_end;
	int err = send_command(redis, COMMAND_OF_CALLER, request, arguments, count);
	if (err != 0)
		return err;
	request->redis = redis;
	request->slot = number;
	list_init(&request->link);
	if (uv_timer_get_due_in(&redis->timer) > redis->options.command_timeout_ms)
		restart_timer(redis, redis->options.command_timeout_ms);
	return 0;
}

void redis_cancel(struct redis_request *request)
{
	struct redis *redis = request->redis;
	if (redis == NULL || request->slot == UINT64_MAX)
		return;
	slot_at(redis, request->slot)->request = NULL;
	finish_soon(redis, request, ERR_CANCELLED);
}

/* ---- the connection's ups and downs ---- */

static void forget_addresses(struct redis *redis)
{
	if (redis->addresses != NULL)
		uv_freeaddrinfo(redis->addresses);
	redis->addresses = NULL;
	redis->next_address = NULL;
}

static void give_up_link(struct redis *redis)
{
	struct redis_link *link = redis->link;
	redis->link = NULL;
	uv_prepare_stop(&redis->flush);
	if (link != NULL)
		redis_link_drop(link);
}

/* The texts of a peer come into logs only as far as they are plain words. */
static void note_problem(struct redis *redis, int err, struct slice text)
{
	struct error *problem = &redis->problem;
	size_t len = text.len < sizeof(problem->detail) - 1 ? text.len : sizeof(problem->detail) - 1;
	problem->code = err;
	for (size_t i = 0; i < len; i++)
		problem->detail[i] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?';
	problem->detail[len] = '\0';
}

static void log_down(struct redis *redis, uint64_t retry_in_ms)
{
	if (redis->logged == redis->problem.code)
		return;
	redis->logged = redis->problem.code;
	log_event(LOG_WARN, "redis.down", LOG_STR("server", redis->where), LOG_STR("reason", err_name(redis->problem.code)),
		  LOG_STR("detail", redis->problem.detail), LOG_U64("retry_in_ms", retry_in_ms));
}

/* This attempt, or the connection, is over. The problem is noted. */
static void down(struct redis *redis, bool refused)
{
	bool was_up = redis->state == STATE_UP;
	uint64_t delay_ms;
	give_up_link(redis);
	forget_addresses(redis);
	redis->abandoned = redis->resolving;
	if (was_up && uv_now(redis->loop) - redis->up_since_ms >= STABLE_MS)
		redis->attempts = 0;
	if (refused) {
		delay_ms = random_upper_half(redis->options.refused_ms);
	} else {
		delay_ms = backoff_full_jitter(redis->options.backoff_min_ms, redis->options.backoff_max_ms, redis->attempts);
		redis->attempts++;
	}
	redis->state = STATE_WAITING;
	finish_all(redis, redis->problem.code);
	log_down(redis, delay_ms);
	restart_timer(redis, delay_ms);
}

static void fail(struct redis *redis, int err, const char *text)
{
	note_problem(redis, err, slice_from_cstr(text));
	down(redis, false);
}

/* One of our own commands was answered by an error. */
static void own_command_failed(struct redis *redis, enum command command, struct slice text)
{
	char detail[160];
	bool passing = redis_error_passes(text);
	int shown = text.len < 100 ? (int)text.len : 100;
	if (command == COMMAND_AUTH)
		snprintf(detail, sizeof(detail), "AUTH was answered by %s", redis_error_word(text));
	else
		snprintf(detail, sizeof(detail), "%s was answered: %.*s", command == COMMAND_SELECT ? "SELECT" : "PING", shown,
			 text.ptr);
	note_problem(redis, passing ? ERR_UNAVAILABLE : ERR_DENIED, slice_from_cstr(detail));
	down(redis, !passing);
}

static void come_up(struct redis *redis)
{
	redis->state = STATE_UP;
	redis->up_since_ms = uv_now(redis->loop);
	redis->overdue = false;
	redis->logged = 0;
	redis->problem = (struct error){0};
	forget_addresses(redis);
	log_event(LOG_INFO, "redis.up", LOG_STR("server", redis->where));
	restart_timer(redis, redis->options.ping_ms);
}

static void own_command_answered(struct redis *redis, enum command command, const struct redis_answer *answer)
{
	struct slice expected = command == COMMAND_PING ? SLICE("PONG") : SLICE("OK");
	if (answer->kind == REDIS_ANSWER_ERROR)
		own_command_failed(redis, command, answer->text);
	else if (answer->kind != REDIS_ANSWER_TEXT || !slice_equal(answer->text, expected))
		fail(redis, ERR_PROTOCOL, "the peer does not speak like a Redis");
	else if (command == COMMAND_PING && redis->state == STATE_GREETING)
		come_up(redis);
}

/* ---- what the link reports ---- */

static void on_connected(void *owner)
{
	struct redis *redis = owner;
	const struct redis_url *url = &redis->url;
	char db[16];
	int err = 0;
	redis->state = STATE_GREETING;
	if (url->password[0] != '\0') {
		struct slice auth[3] = {SLICE("AUTH"), slice_from_cstr(url->user), slice_from_cstr(url->password)};
		bool has_user = url->user[0] != '\0';
		if (!has_user)
			auth[1] = auth[2];
		err = send_command(redis, COMMAND_AUTH, NULL, auth, has_user ? 3 : 2);
	}
	if (err == 0 && url->db != 0) {
		snprintf(db, sizeof(db), "%d", url->db);
		err = send_command(redis, COMMAND_SELECT, NULL, (const struct slice[]){SLICE("SELECT"), slice_from_cstr(db)}, 2);
	}
	if (err == 0)
		err = send_command(redis, COMMAND_PING, NULL, &SLICE("PING"), 1);
	if (err != 0)
		restart_timer(redis, 0); /* the link may not be dropped in here */
}

static void on_answer(void *owner, const struct redis_answer *answer)
{
	struct redis *redis = owner;
	struct slot slot = *slot_at(redis, redis->ring_first);
	REQUIRE(redis->ring_first != redis->ring_end);
	redis->ring_first++;
	redis->answered_ms = uv_now(redis->loop);
	redis->overdue = false;
	if (slot.command != COMMAND_OF_CALLER) {
		own_command_answered(redis, slot.command, answer);
		return;
	}
	/* A demoted master, or a password set anew: this connection is of no use any more, another one may be. */
	bool useless = answer->kind == REDIS_ANSWER_ERROR &&
		       (redis_error_is(answer->text, SLICE("READONLY")) || redis_error_is(answer->text, SLICE("NOAUTH")));
	if (useless) {
		note_problem(redis, ERR_UNAVAILABLE, answer->text);
		down(redis, false);
	}
	if (slot.request != NULL) {
		slot.request->redis = NULL;
		slot.request->done(slot.request, 0, answer);
	}
}

static void on_flush(uv_prepare_t *prepare)
{
	struct redis *redis = prepare->data;
	uv_prepare_stop(prepare);
	if (redis->link != NULL)
		redis_link_flush(redis->link);
}

static void on_unflushed(void *owner)
{
	struct redis *redis = owner;
	uv_prepare_start(&redis->flush, on_flush);
}

static void on_lost(void *owner, int err, const char *detail)
{
	struct redis *redis = owner;
	redis->link = NULL; /* is freeing itself */
	if (redis->state == STATE_CONNECTING && redis->next_address != NULL) {
		try_next_address(redis);
		return;
	}
	fail(redis, err, detail);
}

static void maybe_closed(struct redis *redis)
{
	if (redis->open > 0)
		return;
	void (*closed)(void *data) = redis->closed;
	void *data = redis->closed_data;
	redis_tls_free(&redis->tls);
	redis_url_wipe(&redis->url);
	free(redis->ring);
	free(redis);
	closed(data);
}

static void on_link_closed(void *owner)
{
	struct redis *redis = owner;
	redis->open--;
	maybe_closed(redis);
}

static const struct redis_link_ops link_ops = {
	.connected = on_connected,
	.answer = on_answer,
	.unflushed = on_unflushed,
	.lost = on_lost,
	.closed = on_link_closed,
};

/* ---- attempts ---- */

static int open_link(struct redis *redis, const struct redis_target *target, struct error *error)
{
	redis->state = STATE_CONNECTING;
	int err = redis_link_open(&redis->link, redis->loop, target, &link_ops, redis, error);
	if (err == 0)
		redis->open++;
	return err;
}

/* Until one begins to connect, or none is left. */
static void try_next_address(struct redis *redis)
{
	struct error error = {ERR_RESOLVE, "the name has no address"};
	while (redis->next_address != NULL) {
		char numeric[NI_MAXHOST];
		const struct addrinfo *info = redis->next_address;
		redis->next_address = info->ai_next;
		int rc = getnameinfo(info->ai_addr, info->ai_addrlen, numeric, sizeof(numeric), NULL, 0, NI_NUMERICHOST);
		if (rc != 0) {
			error_set(&error, ERR_RESOLVE, "%s", gai_strerror(rc));
			continue;
		}
		struct redis_target target = {.address = numeric, .port = redis->url.port, .tls = redis->tls};
		if (open_link(redis, &target, &error) == 0)
			return;
	}
	fail(redis, error.code, error.detail);
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *addresses)
{
	struct redis *redis = resolver->data;
	bool wanted = !redis->abandoned && !redis->closing;
	redis->resolving = false;
	redis->abandoned = false;
	redis->open--;
	if (!wanted) {
		uv_freeaddrinfo(addresses);
		maybe_closed(redis);
		return;
	}
	if (status != 0) {
		fail(redis, ERR_RESOLVE, uv_strerror(status));
		return;
	}
	redis->addresses = addresses;
	redis->next_address = addresses;
	try_next_address(redis);
}

static void attempt(struct redis *redis)
{
	struct error error;
	redis->state = STATE_RESOLVING;
	restart_timer(redis, redis->options.connect_timeout_ms);
	if (redis->url.path[0] != '\0') {
		if (open_link(redis, &(struct redis_target){.path = redis->url.path}, &error) != 0)
			fail(redis, error.code, error.detail);
		return;
	}
	/* One that the last attempt left behind holds a thread of the pool: not another one. */
	if (redis->resolving) {
		fail(redis, ERR_RESOLVE, "the name is still being resolved");
		return;
	}
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	int rc = uv_getaddrinfo(redis->loop, &redis->resolver, on_resolved, redis->url.host, NULL, &hints);
	if (rc != 0) {
		fail(redis, ERR_RESOLVE, uv_strerror(rc));
		return;
	}
	redis->resolving = true;
	redis->open++;
}

/* Redis answers in order, so the oldest command tells about all. */
static void watch(struct redis *redis)
{
	uint64_t now_ms = uv_now(redis->loop);
	if (redis->ring_first == redis->ring_end) {
		if (now_ms - redis->answered_ms >= redis->options.ping_ms) {
			(void)send_command(redis, COMMAND_PING, NULL, &SLICE("PING"), 1);
			restart_timer(redis, redis->options.command_timeout_ms);
			return;
		}
		restart_timer(redis, redis->answered_ms + redis->options.ping_ms - now_ms);
		return;
	}
	uint64_t due_ms = slot_at(redis, redis->ring_first)->started_ms + redis->options.command_timeout_ms;
	if (now_ms < due_ms) {
		redis->overdue = false;
		restart_timer(redis, due_ms - now_ms);
	} else if (!redis->overdue) {
		/* Perhaps it is this loop that was late, and the answer lies in the socket: let it be read first. */
		redis->overdue = true;
		restart_timer(redis, 1);
	} else {
		fail(redis, ERR_TIMEOUT, "an answer took too long");
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct redis *redis = timer->data;
	if (redis->state == STATE_WAITING)
		attempt(redis);
	else if (redis->state == STATE_UP)
		watch(redis);
	else if (redis->state == STATE_CONNECTING && redis->next_address != NULL) {
		give_up_link(redis);
		restart_timer(redis, redis->options.connect_timeout_ms);
		try_next_address(redis);
	} else
		fail(redis, redis->state == STATE_RESOLVING ? ERR_RESOLVE : ERR_TIMEOUT, "connecting took too long");
}

/* ---- life ---- */

static uint32_t or_default(uint32_t value, uint32_t standard)
{
	return value == 0 ? standard : value;
}

static void take_options(struct redis *redis, const struct redis_options *options)
{
	redis->options = *options;
	redis->options.url = NULL; /* the caller's */
	redis->options.connect_timeout_ms = or_default(options->connect_timeout_ms, 5000);
	redis->options.command_timeout_ms = or_default(options->command_timeout_ms, 1000);
	redis->options.backoff_min_ms = or_default(options->backoff_min_ms, 100);
	redis->options.backoff_max_ms = or_default(options->backoff_max_ms, 30000);
	redis->options.refused_ms = or_default(options->refused_ms, 60000);
	redis->options.ping_ms = or_default(options->ping_ms, 5000);
	redis->ring_size = (options->max_requests == 0 ? 1024 : options->max_requests) + OWN_COMMANDS;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct redis *redis = handle->data;
	redis->open--;
	maybe_closed(redis);
}

int redis_open(struct redis **ret, uv_loop_t *loop, const struct redis_options *options, struct error *error)
{
	*ret = NULL;
	struct redis *redis = calloc(1, sizeof(*redis));
	if (redis == NULL)
		return error_set(error, ERR_NOMEM, "Redis: out of memory");
	redis->loop = loop;
	list_init(&redis->finished);
	take_options(redis, options);
	int err = redis_url_parse(&redis->url, slice_from_cstr(options->url), error);
	if (err == 0 && redis->url.tls)
		err = redis_tls_new(&redis->tls, redis->url.host, error);
	if (err == 0) {
		redis->ring = calloc(redis->ring_size, sizeof(*redis->ring));
		if (redis->ring == NULL)
			err = error_set(error, ERR_NOMEM, "Redis: out of memory");
	}
	if (err != 0) {
		redis_tls_free(&redis->tls);
		redis_url_wipe(&redis->url);
		free(redis);
		return err;
	}
	redis_url_describe(&redis->url, redis->where, sizeof(redis->where));
	/* None of the three can fail. */
	uv_timer_init(loop, &redis->timer);
	uv_timer_init(loop, &redis->soon);
	uv_prepare_init(loop, &redis->flush);
	redis->open = 3;
	redis->timer.data = redis;
	redis->soon.data = redis;
	redis->flush.data = redis;
	redis->resolver.data = redis;
	restart_timer(redis, 0);
	*ret = redis;
	return 0;
}

static void on_last_soon(uv_timer_t *timer)
{
	on_soon(timer);
	/* A callback may have cancelled nothing more: all are finished. */
	uv_close((uv_handle_t *)timer, on_handle_closed);
}

void redis_close(struct redis *redis, void (*closed)(void *data), void *data)
{
	REQUIRE(!redis->closing);
	redis->closing = true;
	redis->closed = closed;
	redis->closed_data = data;
	redis->state = STATE_WAITING;
	give_up_link(redis);
	forget_addresses(redis);
	finish_all(redis, ERR_CANCELLED);
	if (redis->resolving)
		uv_cancel((uv_req_t *)&redis->resolver); /* when no thread has taken it yet */
	uv_close((uv_handle_t *)&redis->timer, on_handle_closed);
	uv_close((uv_handle_t *)&redis->flush, on_handle_closed);
	uv_timer_start(&redis->soon, on_last_soon, 0, 0);
}

bool redis_up(const struct redis *redis)
{
	return redis->state == STATE_UP && !redis->closing;
}

const struct error *redis_problem(const struct redis *redis)
{
	return &redis->problem;
}
