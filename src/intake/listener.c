/* SPDX-License-Identifier: MIT */
/*
 * The server's life: listeners, accepting, the one timer, draining, closing.
 *
 * No timer per connection: deadlines of one kind have one duration, so each kind is a list in order of deadline, and one coarse
 * timer looks at the heads. It runs only while there are connections.
 */
#include "intake/server.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS 250
#define LINGER_MS 2000
#define DEFAULT_BACKLOG 1024
#define DEFAULT_MAX_HEADER (16 * 1024)
#define LIMIT_MAX_HEADER (1024 * 1024)
#define DEFAULT_MAX_BUFFERED ((size_t)64 * 1024 * 1024)
#define ADDRESS_SIZE 128

/* What is accepted beyond max_connections, only to be refused. */
struct refused {
	uv_tcp_t tcp;
	struct server *server;
};

static const char busy_answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: "
				  "32\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
				  "{\"error\":\"Too many connections\"}";

void server_update_date(struct server *server)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	int64_t now = clock_wall_ms() / 1000;
	if (now == server->date_s)
		return;
	time_t seconds = (time_t)now;
	struct tm tm;
	if (gmtime_r(&seconds, &tm) == NULL)
		return;
	server->date_s = now;
	/* RFC 9110 section 5.6.7, IMF-fixdate; not strftime, which follows the locale. */
	char text[64];
	snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
		 (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(server->date, text, HTTP_DATE_LEN);
	server->date[HTTP_DATE_LEN] = '\0';
}

static void server_free(struct server *server)
{
	for (size_t i = 0; i < server->spare_parser_count; i++)
		request_parser_free(&server->spare_parsers[i]);
	request_parser_free(&server->parser);
	message_pool_free(&server->messages);
	while (server->free_data != NULL) {
		struct data_block *block = server->free_data;
		server->free_data = block->next;
		free(block);
	}
	buffer_free(&server->out);
	buffer_free(&server->cipher);
	free(server->plain_buffer);
	free(server->read_buffer);
	free(server);
}

static void server_maybe_closed(struct server *server);

static void own_handle_closed(uv_handle_t *handle)
{
	struct server *server = handle->data;
	server->handles--;
	server_maybe_closed(server);
}

static void server_maybe_closed(struct server *server)
{
	if (!server->closing || !list_empty(&server->connections))
		return;
	if (server->closing_own) {
		if (server->handles > 0)
			return;
		void (*closed)(void *) = server->closed;
		void *data = server->closed_data;
		server_free(server);
		if (closed != NULL)
			closed(data);
		return;
	}
	/* Last, so that the callback never runs inside somebody's call. */
	server->closing_own = true;
	uv_close((uv_handle_t *)&server->sweep, own_handle_closed);
	uv_close((uv_handle_t *)&server->ready_idle, own_handle_closed);
}

void server_connection_closed(struct connection *connection)
{
	struct server *server = connection->server;
	list_remove(&connection->link);
	server->open--;
	if (server->options.connections != NULL)
		server->options.connections->value = (double)server->open;
	server_maybe_closed(server);
}

static void refused_closed(uv_handle_t *handle)
{
	struct refused *refused = handle->data;
	struct server *server = refused->server;
	free(refused);
	server->handles--;
	server_maybe_closed(server);
}

/* Accepts and closes at once, so that the peer knows. False when there is no memory even for that. */
static bool refuse_connection(struct listener *listener, enum close_reason reason)
{
	struct server *server = listener->server;
	struct refused *refused = malloc(sizeof(*refused));
	if (refused == NULL)
		return false;
	refused->server = server;
	uv_tcp_init(server->loop, &refused->tcp);
	refused->tcp.data = refused;
	server->handles++;
	if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&refused->tcp) == 0 && server->options.tls == NULL) {
		uv_buf_t answer = uv_buf_init((char *)busy_answer, sizeof(busy_answer) - 1);
		uv_try_write((uv_stream_t *)&refused->tcp, &answer, 1);
	}
	if (server->closed_by[reason] != NULL)
		server->closed_by[reason]->value++;
	uv_close((uv_handle_t *)&refused->tcp, refused_closed);
	return true;
}

static void sweep_start(struct server *server);

/*
 * Once a second at most: a full descriptor table fails for every connection that knocks. libuv sheds those with a spare
 * descriptor.
 */
static void log_accept_failure(struct server *server, int status)
{
	uint64_t now = uv_now(server->loop);
	server->accept_failures++;
	if (server->accept_logged_ms != 0 && now - server->accept_logged_ms < 1000)
		return;
	server->accept_logged_ms = now == 0 ? 1 : now;
	log_event(LOG_WARN, "listener.accept_failed", LOG_STR("listener", server->options.name),
		  LOG_STR("error", uv_strerror(status)), LOG_U64("failures", server->accept_failures));
}

static void take_connection(struct listener *listener)
{
	struct server *server = listener->server;
	listener->waiting = false;
	if (server->open >= server->options.max_connections) {
		listener->waiting = !refuse_connection(listener, CLOSE_LIMIT);
		sweep_start(server);
		return;
	}
	struct connection *connection = connection_new(server);
	if (connection == NULL) {
		listener->waiting = !refuse_connection(listener, CLOSE_MEMORY);
		sweep_start(server);
		return;
	}
	list_append(&server->connections, &connection->link);
	server->open++;
	if (server->options.connections != NULL)
		server->options.connections->value = (double)server->open;
	sweep_start(server);
	if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&connection->tcp) != 0)
		connection_cut(connection, CLOSE_RESET);
	else
		connection_open(connection);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *listener = stream->data;
	if (status != 0)
		log_accept_failure(listener->server, status);
	else if (!listener->server->closing)
		take_connection(listener);
}

static void on_sweep(uv_timer_t *timer)
{
	struct server *server = timer->data;
	uint64_t now = uv_now(server->loop);
	bool waiting = false;
	server_update_date(server);
	for (int kind = 0; kind < TIMEOUT_COUNT; kind++) {
		struct list *link;
		while ((link = list_first(&server->timeouts[kind])) != NULL) {
			struct connection *connection = LIST_ENTRY(link, struct connection, timeout_link);
			if (connection->deadline_ms > now)
				break;
			list_remove(link);
			connection_timeout(connection, (enum timeout_kind)kind);
		}
	}
	for (size_t i = 0; i < server->listener_count; i++) {
		if (server->listeners[i].waiting && !server->draining)
			take_connection(&server->listeners[i]);
		waiting = waiting || server->listeners[i].waiting;
	}
	if (server->open == 0 && !waiting) {
		uv_timer_stop(&server->sweep);
		server->sweeping = false;
	}
}

static void sweep_start(struct server *server)
{
	if (server->sweeping || server->closing_own)
		return;
	server->sweeping = true;
	server_update_date(server);
	uv_timer_start(&server->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

static void on_ready(uv_idle_t *idle)
{
	struct server *server = idle->data;
	struct list now;
	struct list *link;
	list_move(&now, &server->ready);
	uv_idle_stop(idle);
	while ((link = list_take(&now)) != NULL)
		connection_ready(LIST_ENTRY(link, struct connection, ready_link));
}

void connection_later(struct connection *connection)
{
	struct server *server = connection->server;
	list_remove(&connection->ready_link);
	list_append(&server->ready, &connection->ready_link);
	uv_idle_start(&server->ready_idle, on_ready);
}

static void set_reasons(struct server *server)
{
	static const char *const names[CLOSE_COUNT] = {
#define CLOSE(NAME, name, text) [CLOSE_##NAME] = name,
#include "intake/close_reason.def"
#undef CLOSE
	};
	if (server->options.metrics == NULL)
		return;
	for (int reason = CLOSE_NONE + 1; reason < CLOSE_COUNT; reason++)
		server->closed_by[reason] = metrics_get(server->options.metrics, METRIC_HTTP_CLOSED, names[reason]);
}

static void set_limits(struct server *server)
{
	struct server_options *options = &server->options;
	if (options->max_header == 0)
		options->max_header = DEFAULT_MAX_HEADER;
	if (options->max_header > LIMIT_MAX_HEADER)
		options->max_header = LIMIT_MAX_HEADER;
	if (options->max_buffered == 0)
		options->max_buffered = DEFAULT_MAX_BUFFERED;
	if (options->backlog == 0)
		options->backlog = DEFAULT_BACKLOG;
	server->limits = (struct request_limits){options->max_header, options->max_body};
	/* One request, and what two reads bring behind it before reading stops. */
	message_pool_init(&server->messages, options->max_header + options->max_body + (size_t)3 * READ_BUFFER_SIZE,
			  options->max_buffered);
	server->timeout_ms[TIMEOUT_REQUEST] = options->header_timeout_ms;
	server->timeout_ms[TIMEOUT_IDLE] = options->idle_timeout_ms;
	server->timeout_ms[TIMEOUT_WRITE] = options->idle_timeout_ms;
	server->timeout_ms[TIMEOUT_LINGER] = LINGER_MS;
}

struct server *server_new(uv_loop_t *loop, const struct server_options *options)
{
	struct server *server = calloc(1, sizeof(*server));
	if (server == NULL)
		return NULL;
	server->loop = loop;
	server->options = *options;
	set_limits(server);
	list_init(&server->connections);
	list_init(&server->ready);
	for (int kind = 0; kind < TIMEOUT_COUNT; kind++)
		list_init(&server->timeouts[kind]);
	buffer_init(&server->out, (size_t)16 * 1024 * 1024);
	buffer_init(&server->cipher, (size_t)32 * 1024 * 1024);
	server->parser = request_parser_new();
	server->read_buffer = malloc(READ_BUFFER_SIZE);
	if (options->tls != NULL)
		server->plain_buffer = malloc(READ_BUFFER_SIZE);
	if (server->parser == NULL || server->read_buffer == NULL || (options->tls != NULL && server->plain_buffer == NULL)) {
		server_free(server);
		return NULL;
	}
	request_parser_init(server->parser, &server->limits);
	set_reasons(server);
	server_update_date(server);
	uv_timer_init(loop, &server->sweep);
	uv_idle_init(loop, &server->ready_idle);
	server->sweep.data = server;
	server->ready_idle.data = server;
	server->handles = 2;
	return server;
}

/* "host:port" into a socket address. */
static int parse_address(const char *address, struct sockaddr_storage *out, struct error *error)
{
	char host[ADDRESS_SIZE];
	const char *colon = strrchr(address, ':');
	if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
		return error_set(error, ERR_CONFIG, "cannot listen on \"%.100s\": want address:port, for example 0.0.0.0:8080",
				 address);
	char *end;
	long port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > 65535)
		return error_set(error, ERR_CONFIG, "cannot listen on \"%.100s\": the port must be a number up to 65535",
				 address);
	size_t len = (size_t)(colon - address);
	memcpy(host, address, len);
	host[len] = '\0';
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)out) == 0)
			return 0;
	} else if (uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port, (struct sockaddr_in *)out) == 0) {
		return 0;
	}
	return error_set(
		error, ERR_CONFIG,
		"cannot listen on \"%.100s\": \"%.60s\" is not an IPv4 address, an IPv6 address in brackets, or localhost",
		address, host);
}

static int port_of(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
	return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

/* `status` is libuv's or a negative errno, which are the same. */
static int listen_failed(struct error *error, const char *address, int status)
{
	const char *advice = "";
	int code = err_from_errno(-status);
	if (status == UV_EADDRINUSE) {
		advice = "; is another reeld running, or another program on this port?";
		code = ERR_LOCKED;
	} else if (status == UV_EADDRNOTAVAIL) {
		advice = "; this machine does not have that address";
	}
	return error_set(error, code, "cannot listen on \"%.100s\": %s%s", address, uv_strerror(status), advice);
}

int server_bind(const char *address, int *fd, struct error *error)
{
	struct sockaddr_storage bound = {0};
	const int on = 1;
	*fd = -1;
	int failed = parse_address(address, &bound, error);
	if (failed != 0)
		return failed;
	socklen_t size = bound.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int s = socket(bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(s, (const struct sockaddr *)&bound, size) != 0) {
		failed = listen_failed(error, address, -errno);
		if (s >= 0)
			close(s);
		return failed;
	}
	*fd = s;
	return 0;
}

int server_can_listen(const char *address, struct error *error)
{
	int fd;
	int failed = server_bind(address, &fd, error);
	if (failed == 0)
		close(fd);
	return failed;
}

/* `fd`: bound already, or -1. */
static int listen_at(struct server *server, const char *address, int fd, struct error *error)
{
	struct sockaddr_storage bound = {0};
	int failed = fd < 0 ? parse_address(address, &bound, error) : 0;
	if (failed != 0)
		return failed;
	if (server->listener_count == SERVER_MAX_LISTENERS)
		return error_set(error, ERR_LIMIT, "cannot listen on \"%.100s\": at most %d addresses", address,
				 SERVER_MAX_LISTENERS);
	struct listener *listener = &server->listeners[server->listener_count];
	listener->server = server;
	int status = uv_tcp_init(server->loop, &listener->tcp);
	if (status != 0)
		return error_set(error, ERR_IO, "cannot listen on \"%.100s\": %s", address, uv_strerror(status));
	listener->tcp.data = listener;
	server->listener_count++;
	server->handles++;
	status = fd < 0 ? uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&bound, 0) : uv_tcp_open(&listener->tcp, fd);
	/* Accepted sockets inherit it: one system call less for each connection. */
	if (status == 0)
		status = uv_tcp_nodelay(&listener->tcp, 1);
	if (status == 0)
		status = uv_listen((uv_stream_t *)&listener->tcp, server->options.backlog, on_connection);
	int size = sizeof(bound);
	if (status == 0)
		status = uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound, &size);
	if (status != 0)
		return listen_failed(error, address, status);
	if (server->port == 0)
		server->port = port_of(&bound);
	return 0;
}

int server_listen(struct server *server, const char *address, struct error *error)
{
	return listen_at(server, address, -1, error);
}

int server_listen_bound(struct server *server, const char *address, int fd, struct error *error)
{
	return listen_at(server, address, fd, error);
}

int server_port(const struct server *server)
{
	return server->port;
}

size_t server_busy(const struct server *server)
{
	return server->busy;
}

static void stop_listening(struct server *server)
{
	for (size_t i = 0; i < server->listener_count; i++) {
		uv_handle_t *handle = (uv_handle_t *)&server->listeners[i].tcp;
		server->listeners[i].waiting = false;
		if (uv_is_closing(handle))
			continue;
		handle->data = server;
		uv_close(handle, own_handle_closed);
	}
}

void server_drain(struct server *server)
{
	struct list *link;
	struct list *next;
	server->draining = true;
	stop_listening(server);
	for (link = server->connections.next; link != &server->connections; link = next) {
		struct connection *connection = LIST_ENTRY(link, struct connection, link);
		next = link->next;
		if (connection->state == CONNECTION_READING && connection->message == NULL && !connection->processing)
			connection_cut(connection, CLOSE_DRAIN);
	}
}

void server_close(struct server *server, void (*closed)(void *data), void *data)
{
	REQUIRE(!server->closing);
	server->closing = true;
	server->draining = true;
	server->closed = closed;
	server->closed_data = data;
	stop_listening(server);
	/* Closing frees a connection in a later turn of the loop, so the list stays as it is. */
	for (struct list *link = server->connections.next; link != &server->connections; link = link->next)
		connection_cut(LIST_ENTRY(link, struct connection, link), CLOSE_SHUTDOWN);
	server_maybe_closed(server);
}
