/* SPDX-License-Identifier: MIT */
/*
 * curl's multi interface on the loop.
 *
 * Poll handles live as long as their socket, not as long as curl's interest in it: for every request on a kept connection
 * curl drops the socket and asks for it again, often several times a turn, and a change costs libuv two epoll_ctl calls. So
 * curl's wishes are only written down, and looked at once a turn. A wish to stop reading is not even followed then: if
 * bytes come all the same, the poll callback sees that nobody wants them, and stops. An idle connection therefore stays in
 * the poll set, and the next request on it costs no system call.
 */
#include "adapters/http_internal.h"

#include "adapters/address.h"
#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CONNECTIONS_DEFAULT 256
#define BUFFER_DEFAULT ((size_t)64 * 1024)
#define BUFFER_MIN ((size_t)16 * 1024)
#define BUFFER_MAX ((size_t)512 * 1024) /* curl's own limit for received bytes */
#define STALL_TIMEOUT_DEFAULT_MS 30000
#define WATCHDOG_MIN_MS 10
#define WATCHDOG_MAX_MS 1000

struct http_socket {
	uv_poll_t poll;
	struct http_client *client;
	struct list dirty; /* in client->dirty */
	curl_socket_t fd;
	int wanted; /* UV_READABLE | UV_WRITABLE, as curl last said */
	int armed;  /* what the poll handle waits for */
	bool ours;  /* made by http_client_socket_open; else curl's resolver's, closed with curl's interest in it */
};

static void client_run(struct http_client *client);

static void client_want_turn(struct http_client *client);

static void client_maybe_closed(struct http_client *client)
{
	if (!client->torn_down || client->open_handles > 0)
		return;
	void (*closed)(void *) = client->closed;
	void *data = client->closed_data;
	free(client->sockets);
	free(client->ca_file);
	free(client->user_agent);
	free(client);
	curl_global_cleanup();
	closed(data);
}

static void client_handle_closed(uv_handle_t *handle)
{
	struct http_client *client = handle->data;
	client->open_handles--;
	client_maybe_closed(client);
}

/* ---- Sockets ---- */

static struct http_socket *socket_find(const struct http_client *client, curl_socket_t fd)
{
	return (size_t)fd < client->socket_limit ? client->sockets[fd] : NULL;
}

/* The table is as long as the highest descriptor, which RLIMIT_NOFILE bounds. */
static bool socket_table_reach(struct http_client *client, curl_socket_t fd)
{
	size_t limit = client->socket_limit != 0 ? client->socket_limit : 64;
	while (limit <= (size_t)fd)
		limit *= 2;
	if (limit == client->socket_limit)
		return true;
	struct http_socket **sockets = realloc(client->sockets, limit * sizeof(struct http_socket *));
	if (sockets == NULL)
		return false;
	memset(sockets + client->socket_limit, 0, (limit - client->socket_limit) * sizeof(struct http_socket *));
	client->sockets = sockets;
	client->socket_limit = limit;
	return true;
}

static struct http_socket *socket_add(struct http_client *client, curl_socket_t fd, bool ours)
{
	if (!socket_table_reach(client, fd))
		return NULL;
	struct http_socket *sock = calloc(1, sizeof(*sock));
	if (sock == NULL)
		return NULL;
	if (uv_poll_init_socket(client->loop, &sock->poll, fd) != 0) {
		free(sock);
		return NULL;
	}
	client->open_handles++;
	sock->poll.data = sock;
	sock->client = client;
	sock->fd = fd;
	sock->ours = ours;
	list_init(&sock->dirty);
	client->sockets[fd] = sock;
	/* An idle connection does not keep the loop running. */
	uv_unref((uv_handle_t *)&sock->poll);
	return sock;
}

static void socket_closed(uv_handle_t *handle)
{
	struct http_socket *sock = handle->data;
	struct http_client *client = sock->client;
	free(sock);
	client->open_handles--;
	client_maybe_closed(client);
}

static void socket_remove(struct http_socket *sock)
{
	sock->client->sockets[sock->fd] = NULL;
	list_remove(&sock->dirty);
	uv_close((uv_handle_t *)&sock->poll, socket_closed);
}

static void socket_mark_dirty(struct http_socket *sock)
{
	if (list_empty(&sock->dirty))
		list_append(&sock->client->dirty, &sock->dirty);
	client_want_turn(sock->client);
}

static void socket_ready(uv_poll_t *poll, int status, int events);

static void socket_arm(struct http_socket *sock, int events)
{
	if (events == sock->armed)
		return;
	int status = events != 0 ? uv_poll_start(&sock->poll, events, socket_ready) : uv_poll_stop(&sock->poll);
	REQUIRE(status == 0);
	sock->armed = events;
}

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct http_socket *sock = poll->data;
	struct http_client *client = sock->client;
	int flags = 0;
	if (status < 0) {
		/*
		 * libuv has stopped polling it. If curl keeps it, it must be armed again. curl shall come upon the error itself: told
		 * of it (CURL_CSELECT_ERR) it fails at once, but it sends a request again when a kept connection turns out to be dead.
		 */
		sock->armed = 0;
		flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
		socket_mark_dirty(sock);
	} else if ((events & ~sock->wanted) != 0) {
		socket_arm(sock, sock->wanted);
		events &= sock->wanted;
	}
	if (sock->wanted == 0)
		return;
	if ((events & UV_READABLE) != 0)
		flags |= CURL_CSELECT_IN;
	if ((events & UV_WRITABLE) != 0)
		flags |= CURL_CSELECT_OUT;
	if (flags == 0)
		return;
	int running;
	curl_multi_socket_action(client->multi, sock->fd, flags, &running);
	client_run(client);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	(void)easy;
	(void)socket_data;
	struct http_client *client = data;
	struct http_socket *sock = socket_find(client, fd);
	if (what == CURL_POLL_REMOVE && sock != NULL && !sock->ours) {
		socket_remove(sock);
		return 0;
	}
	if (sock == NULL) {
		if (what == CURL_POLL_REMOVE)
			return 0;
		sock = socket_add(client, fd, false);
		/* Only the resolver's wake-up sockets come this way; it also looks by itself every now and then. */
		if (sock == NULL)
			return 0;
	}
	bool in = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
	bool out = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
	sock->wanted = (in ? UV_READABLE : 0) | (out ? UV_WRITABLE : 0);
	socket_mark_dirty(sock);
	return 0;
}

curl_socket_t http_client_socket_open(struct http_client *client, const struct curl_sockaddr *address)
{
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (socket_add(client, fd, true) == NULL) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	return fd;
}

int http_client_socket_close(struct http_client *client, curl_socket_t fd)
{
	/* The poll handle leaves the poll set before the descriptor's number can be given out again. */
	struct http_socket *sock = socket_find(client, fd);
	if (sock != NULL)
		socket_remove(sock);
	return close(fd);
}

static void client_arm_sockets(struct http_client *client)
{
	struct list *link;
	while ((link = list_take(&client->dirty)) != NULL) {
		struct http_socket *sock = LIST_ENTRY(link, struct http_socket, dirty);
		socket_arm(sock, sock->wanted | (sock->armed & UV_READABLE));
		if (sock->wanted != 0)
			uv_ref((uv_handle_t *)&sock->poll);
		else
			uv_unref((uv_handle_t *)&sock->poll);
	}
}

/* ---- Time ---- */

static void timer_expired(uv_timer_t *timer)
{
	struct http_client *client = timer->data;
	int running;
	curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	client_run(client);
}

/*
 * curl's timer callback: it may not call curl. Zero means "at once", which the coming turn is; a timer of 0 or 1 ms would
 * delay each new request.
 */
static int on_curl_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct http_client *client = data;
	(void)multi;
	client->timeout_due = timeout_ms == 0;
	if (timeout_ms > 0) {
		uv_timer_start(&client->timer, timer_expired, (uint64_t)timeout_ms, 0);
		return 0;
	}
	uv_timer_stop(&client->timer);
	if (client->timeout_due)
		client_want_turn(client);
	return 0;
}

static uint64_t stall_timeout(const struct http_client_request *request)
{
	return request->stall_timeout_ms != 0 ? request->stall_timeout_ms : STALL_TIMEOUT_DEFAULT_MS;
}

static void transfer_finish(struct http_transfer *transfer, CURLcode code);

/* Bytes that curl holds in its upload buffer move without our read callback being called: ask curl. */
static bool transfer_is_stalled(struct http_transfer *transfer)
{
	curl_off_t uploaded = 0;
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (uploaded != transfer->uploaded || transfer->paused_receive || transfer->paused_send) {
		transfer->uploaded = uploaded;
		transfer->idle_ms = 0;
		return false;
	}
	if (transfer->begun)
		transfer->idle_ms += transfer->client->watchdog_ms;
	return transfer->idle_ms > stall_timeout(transfer->request);
}

static void watchdog_expired(uv_timer_t *timer)
{
	struct http_client *client = timer->data;
	for (struct list *link = client->active.next, *next; link != &client->active; link = next) {
		next = link->next;
		struct http_transfer *transfer = LIST_ENTRY(link, struct http_client_request, link)->impl;
		if (!transfer_is_stalled(transfer))
			continue;
		transfer->status = ERR_TIMEOUT;
		transfer_finish(transfer, CURLE_OPERATION_TIMEDOUT);
	}
	client_run(client);
}

/* Looks often enough for the most impatient request; a stall is found at most half its time late. */
static void watchdog_watch(struct http_client *client, const struct http_client_request *request)
{
	uint64_t every_ms = stall_timeout(request) / 4;
	if (every_ms > WATCHDOG_MAX_MS)
		every_ms = WATCHDOG_MAX_MS;
	if (every_ms < WATCHDOG_MIN_MS)
		every_ms = WATCHDOG_MIN_MS;
	if (uv_is_active((uv_handle_t *)&client->watchdog) && client->watchdog_ms <= every_ms)
		return;
	client->watchdog_ms = every_ms;
	uv_timer_start(&client->watchdog, watchdog_expired, every_ms, every_ms);
}

/* ---- The life of requests ---- */

static void transfer_finish(struct http_transfer *transfer, CURLcode code)
{
	struct http_client_request *request = transfer->request;
	struct http_client *client = transfer->client;
	/* The result first: leaving the multi handle resets what curl knows. */
	transfer->status = http_transfer_result(transfer, code);
	if (transfer->added) {
		CURLMcode left = curl_multi_remove_handle(client->multi, transfer->easy);
		REQUIRE(left == CURLM_OK);
		transfer->added = false;
	}
	list_remove(&request->link);
	list_append(&client->finished, &request->link);
}

static void client_add_waiting(struct http_client *client)
{
	struct list *link;
	while ((link = list_take(&client->waiting)) != NULL) {
		struct http_client_request *request = LIST_ENTRY(link, struct http_client_request, link);
		struct http_transfer *transfer = request->impl;
		list_append(&client->active, link);
		if (transfer->cancelled || curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK) {
			transfer_finish(transfer, CURLE_OUT_OF_MEMORY);
			continue;
		}
		transfer->added = true;
		watchdog_watch(client, request);
	}
}

/* Continuing may call the on_* callbacks at once, with bytes curl has kept; if they stop it, curl only says so here. */
static void transfer_resume(struct http_transfer *transfer)
{
	if (transfer->resume_receive)
		transfer->paused_receive = false;
	if (transfer->resume_send)
		transfer->paused_send = false;
	transfer->resume_receive = false;
	transfer->resume_send = false;
	transfer->idle_ms = 0;
	int paused = (transfer->paused_receive ? CURLPAUSE_RECV : 0) | (transfer->paused_send ? CURLPAUSE_SEND : 0);
	CURLcode code = curl_easy_pause(transfer->easy, paused);
	if (code != CURLE_OK)
		transfer_finish(transfer, code);
}

/*
 * What cancel and resume left for us to do. The list may change under us only by what transfer_finish does to the link at
 * hand.
 */
static void client_follow_notes(struct http_client *client)
{
	client->noted = false;
	for (struct list *link = client->active.next, *next; link != &client->active; link = next) {
		next = link->next;
		struct http_transfer *transfer = LIST_ENTRY(link, struct http_client_request, link)->impl;
		if (transfer->cancelled)
			transfer_finish(transfer, CURLE_ABORTED_BY_CALLBACK);
		else if ((transfer->resume_receive && transfer->paused_receive) ||
			 (transfer->resume_send && transfer->paused_send))
			transfer_resume(transfer);
	}
}

static void client_read_messages(struct http_client *client)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		struct http_transfer *transfer = NULL;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
		/* `message` is gone after the handle has left the multi handle. */
		transfer_finish(transfer, message->data.result);
	}
}

static void client_deliver(struct http_client *client)
{
	struct list finished;
	list_move(&finished, &client->finished);
	struct list *link;
	while ((link = list_take(&finished)) != NULL) {
		struct http_client_request *request = LIST_ENTRY(link, struct http_client_request, link);
		struct http_transfer *transfer = request->impl;
		int status = transfer->status;
		request->collected = buffer_slice(&transfer->collected);
		request->impl = transfer->collected.data;
		buffer_init(&transfer->collected, 0);
		http_transfer_recycle(transfer);
		request->done(request, status); /* may free the request */
	}
}

static void client_tear_down(struct http_client *client)
{
	struct list *link;
	while ((link = list_take(&client->spare)) != NULL)
		http_transfer_free(LIST_ENTRY(link, struct http_transfer, link));
	/* Closes the connections, and their poll handles with them. */
	curl_multi_cleanup(client->multi);
	REQUIRE(list_empty(&client->dirty));
	uv_close((uv_handle_t *)&client->timer, client_handle_closed);
	uv_close((uv_handle_t *)&client->watchdog, client_handle_closed);
	uv_close((uv_handle_t *)&client->turn, client_handle_closed);
	client->torn_down = true;
}

/* The end of whatever made curl move: take its messages, follow the notes, tell the requesters. Never called from inside curl. */
static void client_run(struct http_client *client)
{
	client_read_messages(client);
	client_deliver(client);
	if (list_empty(&client->active))
		uv_timer_stop(&client->watchdog);
	if (!list_empty(&client->finished))
		client_want_turn(client);
}

static void client_turn(uv_idle_t *idle)
{
	struct http_client *client = idle->data;
	uv_idle_stop(idle);
	client_add_waiting(client);
	if (client->noted)
		client_follow_notes(client);
	if (client->timeout_due) {
		int running;
		client->timeout_due = false;
		curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	client_run(client);
	client_arm_sockets(client);
	if (client->closing && list_empty(&client->waiting) && list_empty(&client->active) && list_empty(&client->finished))
		client_tear_down(client);
}

/* The coming iteration of the loop runs client_turn before it polls, and does not sleep before that. */
static void client_want_turn(struct http_client *client)
{
	if (!client->torn_down)
		uv_idle_start(&client->turn, client_turn);
}

void http_client_note(struct http_client *client)
{
	client->noted = true;
	client_want_turn(client);
}

/* ---- Public ---- */

static size_t buffer_size(size_t wanted)
{
	if (wanted == 0)
		return BUFFER_DEFAULT;
	return wanted < BUFFER_MIN ? BUFFER_MIN : wanted > BUFFER_MAX ? BUFFER_MAX : wanted;
}

static void client_init_handles(struct http_client *client)
{
	/* These three cannot fail. */
	uv_timer_init(client->loop, &client->timer);
	uv_timer_init(client->loop, &client->watchdog);
	uv_idle_init(client->loop, &client->turn);
	client->timer.data = client;
	client->watchdog.data = client;
	client->turn.data = client;
	client->open_handles = 3;
	/* Sockets with a request on them keep the loop running, these need not. */
	uv_unref((uv_handle_t *)&client->watchdog);
}

struct http_client *http_client_new(uv_loop_t *loop, const struct http_client_options *options)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	struct http_client *client = calloc(1, sizeof(*client));
	if (client == NULL)
		goto err_global;
	client->multi = curl_multi_init();
	client->user_agent = strdup(options->user_agent != NULL ? options->user_agent : "reeld/" REELD_VERSION);
	client->ca_file = options->ca_file != NULL ? strdup(options->ca_file) : NULL;
	if (client->multi == NULL || client->user_agent == NULL || (options->ca_file != NULL && client->ca_file == NULL))
		goto err_client;
	client->unverified = options->unverified;
	client->loop = loop;
	client->buffer_bytes = buffer_size(options->buffer_bytes);
	client->address_is_private = options->address_is_private != NULL ? options->address_is_private : address_is_private;
	list_init(&client->waiting);
	list_init(&client->active);
	list_init(&client->finished);
	list_init(&client->spare);
	list_init(&client->dirty);
	long connections = (long)(options->max_connections != 0 ? options->max_connections : MAX_CONNECTIONS_DEFAULT);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, connections);
	curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	client_init_handles(client);
	return client;

err_client:
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	free(client->user_agent);
	free(client->ca_file);
	free(client);
err_global:
	curl_global_cleanup();
	return NULL;
}

void http_client_close(struct http_client *client, void (*closed)(void *data), void *data)
{
	REQUIRE(!client->closing);
	client->closing = true;
	client->closed = closed;
	client->closed_data = data;
	struct list *lists[] = {&client->waiting, &client->active};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (struct list *link = lists[i]->next; link != lists[i]; link = link->next)
			http_client_cancel(LIST_ENTRY(link, struct http_client_request, link));
	}
	client_want_turn(client);
}

int http_client_start(struct http_client *client, struct http_client_request *request)
{
	if (client->closing)
		return ERR_CANCELLED;
	struct http_transfer *transfer;
	int status = http_transfer_open(client, request, &transfer);
	if (status != 0)
		return status;
	http_answer_reset(request);
	request->refused = false;
	request->collected = slice_make(NULL, 0);
	request->error = (struct error){0};
	request->received_bytes = 0;
	request->impl = transfer;
	list_append(&client->waiting, &request->link);
	client_want_turn(client);
	return 0;
}

void http_client_resume_receive(struct http_client_request *request)
{
	struct http_transfer *transfer = request->impl;
	transfer->resume_receive = true;
	http_client_note(transfer->client);
}

void http_client_resume_send(struct http_client_request *request)
{
	struct http_transfer *transfer = request->impl;
	transfer->resume_send = true;
	http_client_note(transfer->client);
}

void http_client_cancel(struct http_client_request *request)
{
	struct http_transfer *transfer = request->impl;
	transfer->cancelled = true;
	http_client_note(transfer->client);
}

void http_client_request_release(struct http_client_request *request)
{
	free(request->impl);
	request->impl = NULL;
	request->collected = slice_make(NULL, 0);
}
