/* SPDX-License-Identifier: MIT */
/*
 * One connection up and down. libpq would walk the hosts of the URL by itself, but on the loop it knows no time limit for one of them, and it resolves names by
 * blocking: so each host of the URL is resolved here and tried alone, each of its addresses with its own deadline. Whether a server is the primary
 * (target_session_attrs) libpq finds out.
 */
#include "adapters/pg_internal.h"

#include "base/check.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static void next_address(struct pg_connection *connection);
static void on_timer(uv_timer_t *timer);

void pg_deadline(struct pg_connection *connection, unsigned ms)
{
	uv_timer_start(&connection->timer, on_timer, ms, 0);
}

/* ---- watching the socket ---- */

static void on_poll_closed(uv_handle_t *handle)
{
	struct pg_poll *poll = CONTAINER_OF(handle, struct pg_poll, handle);
	struct pg *pg = poll->pool;
	free(poll);
	pg_handle_closed(pg);
}

static void on_poll(uv_poll_t *handle, int status, int events);

void pg_unwatch(struct pg_connection *connection)
{
	struct pg_poll *poll = connection->poll;
	if (poll == NULL)
		return;
	connection->poll = NULL;
	poll->connection = NULL;
	uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
}

bool pg_watch(struct pg_connection *connection, int events)
{
	struct pg_poll *poll = connection->poll;
	if (poll == NULL) {
		poll = calloc(1, sizeof(*poll));
		if (poll == NULL)
			return false;
		poll->connection = connection;
		poll->pool = connection->pool;
		if (uv_poll_init(poll->pool->loop, &poll->handle, PQsocket(connection->handle)) != 0) {
			free(poll);
			return false;
		}
		connection->poll = poll;
		poll->pool->open_handles++;
	}
	return uv_poll_start(&poll->handle, events, on_poll) == 0;
}

/* ---- down ---- */

void pg_disconnect(struct pg_connection *connection)
{
	pg_unwatch(connection);
	if (connection->lookup != NULL) {
		connection->lookup->connection = NULL;
		uv_cancel((uv_req_t *)&connection->lookup->request);
		connection->lookup = NULL;
	}
	PQclear(connection->greet_result);
	connection->greet_result = NULL;
	PQfinish(connection->handle);
	connection->handle = NULL;
	uv_timer_stop(&connection->timer);
	connection->state = PG_DOWN;
}

/* This address is of no use: its words are kept, the next one is tried. */
static void give_up(struct pg_connection *connection, const char *words)
{
	size_t len = strcspn(words, "\n");
	error_set(&connection->error, ERR_LEDGER, "Postgres: %.*s", (int)len, words);
	pg_disconnect(connection);
	next_address(connection);
}

/* ---- greeting ---- */

static void greet(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	const char *sql = NULL;
	int status = 0;
	if (pg->ops->greet != NULL) {
		const void *previous = connection->greet_result;
		status = pg->ops->greet(pg->context, connection->greet_step, previous, &sql, &connection->error);
	}
	PQclear(connection->greet_result);
	connection->greet_result = NULL;
	if (status != 0) {
		pg_disconnect(connection);
		next_address(connection);
		return;
	}
	if (sql != NULL) {
		connection->greet_step++;
		pg_deadline(connection, pg->greet_ms);
		int left = PQsendQuery(connection->handle, sql) == 1 ? PQflush(connection->handle) : -1;
		if (left < 0 || !pg_watch(connection, left == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE))
			give_up(connection, PQerrorMessage(connection->handle));
		return;
	}
	uv_timer_stop(&connection->timer);
	if (PQenterPipelineMode(connection->handle) != 1 || !pg_watch(connection, UV_READABLE)) {
		give_up(connection, PQerrorMessage(connection->handle));
		return;
	}
	memset(connection->prepared, 0, pg->sql_count * sizeof(bool));
	connection->state = PG_READY;
	pg_on_ready(connection);
}

static void greeting_on_poll(struct pg_connection *connection)
{
	int left = PQconsumeInput(connection->handle) == 1 ? PQflush(connection->handle) : -1;
	if (left < 0 || !pg_watch(connection, left == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE)) {
		give_up(connection, PQerrorMessage(connection->handle));
		return;
	}
	while (PQisBusy(connection->handle) == 0) {
		PGresult *result = PQgetResult(connection->handle);
		if (result == NULL) {
			greet(connection);
			return;
		}
		PQclear(connection->greet_result);
		connection->greet_result = result;
		ExecStatusType status = PQresultStatus(result);
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
			pg_error_of_result(result, &connection->error);
			pg_disconnect(connection);
			next_address(connection);
			return;
		}
	}
}

/* ---- libpq's handshake ---- */

static void quiet(void *data, const PGresult *result)
{
	(void)data;
	(void)result;
}

static void connected(struct pg_connection *connection)
{
	const char *encoding = PQparameterStatus(connection->handle, "server_encoding");
	if (encoding != NULL && strcmp(encoding, "UTF8") != 0) {
		give_up(connection, "the database's encoding is not UTF8");
		return;
	}
	PQsetnonblocking(connection->handle, 1);
	PQsetNoticeReceiver(connection->handle, quiet, NULL);
	connection->state = PG_GREETING;
	connection->greet_step = 0;
	greet(connection);
}

/* libpq may have closed its socket and opened another with the same number, of which libuv must not know: each step is watched anew. */
static void handshake(struct pg_connection *connection)
{
	pg_unwatch(connection);
	PostgresPollingStatusType want = PQconnectPoll(connection->handle);
	if (want == PGRES_POLLING_OK)
		connected(connection);
	else if ((want != PGRES_POLLING_READING && want != PGRES_POLLING_WRITING) ||
		 !pg_watch(connection, want == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE))
		give_up(connection, PQerrorMessage(connection->handle));
}

static void connect_address(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	const struct pg_host *host = &pg->hosts[connection->host];
	const char **keywords = calloc(2 * (pg->keyword_count + 4), sizeof(*keywords));
	if (keywords == NULL) {
		give_up(connection, "out of memory");
		return;
	}
	const char **values = keywords + pg->keyword_count + 4;
	size_t count = pg->keyword_count;
	for (size_t i = 0; i < count; i++) {
		keywords[i] = pg->keywords[i];
		values[i] = pg->values[i];
	}
	const char *address = connection->address_count > 0 ? connection->addresses[connection->address] : host->address;
	keywords[count] = "host";
	values[count++] = host->name;
	keywords[count] = "hostaddr";
	values[count++] = address == NULL ? "" : address;
	keywords[count] = "port";
	values[count++] = host->port == NULL ? "" : host->port;
	connection->state = PG_CONNECTING;
	pg_deadline(connection, pg->connect_ms);
	connection->handle = PQconnectStartParams(keywords, values, 0);
	free(keywords);
	if (connection->handle == NULL)
		give_up(connection, "out of memory");
	else if (PQstatus(connection->handle) == CONNECTION_BAD || !pg_watch(connection, UV_WRITABLE))
		give_up(connection, PQerrorMessage(connection->handle));
}

/* ---- names ---- */

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct pg_lookup *lookup = CONTAINER_OF(request, struct pg_lookup, request);
	struct pg *pg = lookup->pool;
	struct pg_connection *connection = lookup->connection;
	free(lookup);
	if (connection != NULL) {
		char words[160];
		connection->lookup = NULL;
		for (struct addrinfo *at = found; at != NULL && connection->address_count < PG_ADDRESSES_MAX; at = at->ai_next) {
			char *address = connection->addresses[connection->address_count];
			if (getnameinfo(at->ai_addr, at->ai_addrlen, address, PG_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0)
				connection->address_count++;
		}
		if (connection->address_count > 0) {
			connect_address(connection);
		} else {
			snprintf(words, sizeof(words), "cannot resolve %s: %s", pg->hosts[connection->host].name,
				 status != 0 ? uv_strerror(status) : "no address");
			give_up(connection, words);
		}
	}
	uv_freeaddrinfo(found);
	pg_handle_closed(pg);
}

static void resolve(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct pg_lookup *lookup = calloc(1, sizeof(*lookup));
	if (lookup == NULL) {
		give_up(connection, "out of memory");
		return;
	}
	lookup->pool = pg;
	lookup->connection = connection;
	connection->state = PG_RESOLVING;
	if (uv_getaddrinfo(pg->loop, &lookup->request, on_resolved, pg->hosts[connection->host].name, NULL, &hints) != 0) {
		free(lookup);
		give_up(connection, "cannot ask the resolver");
		return;
	}
	connection->lookup = lookup;
	pg->open_handles++;
	pg_deadline(connection, pg->connect_ms);
}

static bool needs_resolving(const struct pg_host *host)
{
	unsigned char binary[16];
	return host->address == NULL && host->name[0] != '\0' && host->name[0] != '/' && host->name[0] != '@' &&
	       uv_inet_pton(AF_INET, host->name, binary) != 0 && uv_inet_pton(AF_INET6, host->name, binary) != 0;
}

static void begin_host(struct pg_connection *connection)
{
	connection->address = 0;
	connection->address_count = 0;
	if (needs_resolving(&connection->pool->hosts[connection->host]))
		resolve(connection);
	else
		connect_address(connection);
}

static void next_address(struct pg_connection *connection)
{
	if (++connection->address < connection->address_count)
		connect_address(connection);
	else if (++connection->host < connection->pool->host_count)
		begin_host(connection);
	else
		pg_on_failed(connection);
}

/* ---- events ---- */

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct pg_poll *poll = CONTAINER_OF(handle, struct pg_poll, handle);
	struct pg_connection *connection = poll->connection;
	if (connection == NULL)
		return;
	switch (connection->state) {
	case PG_CONNECTING:
		handshake(connection);
		break;
	case PG_GREETING:
		greeting_on_poll(connection);
		break;
	case PG_READY:
	case PG_BUSY:
		/* An error of the socket is for libpq to find. */
		pg_group_on_poll(connection, status == 0 ? events : UV_READABLE);
		break;
	case PG_DOWN:
	case PG_RESOLVING:
	case PG_ENDED:
		break;
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct pg_connection *connection = timer->data;
	struct pg *pg = connection->pool;
	char words[160];
	switch (connection->state) {
	case PG_DOWN:
		connection->host = 0;
		begin_host(connection);
		break;
	case PG_RESOLVING:
	case PG_CONNECTING:
		snprintf(words, sizeof(words), "%s: no connection within %u ms", pg->hosts[connection->host].name,
			 pg->connect_ms);
		give_up(connection, words);
		break;
	case PG_GREETING:
		snprintf(words, sizeof(words), "no answer to the greeting within %u ms", pg->greet_ms);
		give_up(connection, words);
		break;
	case PG_BUSY:
		pg_group_on_deadline(connection);
		break;
	case PG_READY:
	case PG_ENDED:
		break;
	}
}

void pg_connect_after(struct pg_connection *connection, uint64_t delay_ms)
{
	connection->state = PG_DOWN;
	uv_timer_start(&connection->timer, on_timer, delay_ms, 0);
}
