/* SPDX-License-Identifier: MIT */
/*
 * A schema of its own for each test in the database that REELD_TEST_POSTGRES_URL names. PgBouncer (REELD_TEST_PGBOUNCER_URL) passes no settings of the session
 * on: through it each test has a database of its own, which takes longer to make.
 */
#include "factory_postgres.h"
#include "ledger_factory.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char name[32];
static char url[512];        /* straight */
static char pooled_url[512]; /* "": there is no PgBouncer */

/* The server's URL with another database. */
static void set_url(char *out, const char *server, const char *database)
{
	snprintf(out, sizeof(url), "%.*s/%s", (int)(strrchr(server, '/') - server), server, database);
}

static void quiet(void *data, const char *message)
{
	(void)data;
	(void)message;
}

static PGconn *connect_to(const char *to)
{
	PGconn *conn = PQconnectdb(to);
	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	PQsetNoticeProcessor(conn, quiet, NULL);
	return conn;
}

static void run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);
	cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
}

static void run_on_server(const char *format)
{
	char sql[128];
	PGconn *conn = connect_to(getenv("REELD_TEST_POSTGRES_URL"));
	snprintf(sql, sizeof(sql), format, name, name);
	run(conn, sql);
	PQfinish(conn);
}

void factory_setup(void)
{
	struct error error = {0};
	size_t applied = 0;
	const char *server = getenv("REELD_TEST_POSTGRES_URL");
	const char *pooled = getenv("REELD_TEST_PGBOUNCER_URL");
	cr_assert_not_null(server, "run it through tests/servers/run.py postgres -- PROGRAM");
	snprintf(name, sizeof(name), "t_%d", (int)getpid());
	if (pooled != NULL) {
		run_on_server("DROP DATABASE IF EXISTS %s WITH (FORCE)");
		run_on_server("CREATE DATABASE %s");
		set_url(url, server, name);
		set_url(pooled_url, pooled, name);
	} else {
		run_on_server("DROP SCHEMA IF EXISTS %s CASCADE; CREATE SCHEMA %s");
		snprintf(url, sizeof(url), "%s?options=-csearch_path%%3D%s", server, name);
	}
	/* The suite was first written for SQLite. */
	factory_sql("CREATE AGGREGATE group_concat(text) (sfunc = textcat, stype = text, initcond = '')");
	cr_assert_eq(ledger_postgres_migrate(url, &applied, &error), 0, "%s", error.detail);
	cr_assert_gt(applied, 0);
}

void factory_teardown(void)
{
	run_on_server(pooled_url[0] != '\0' ? "DROP DATABASE %s WITH (FORCE)" : "DROP SCHEMA %s CASCADE");
}

struct ledger *factory_open(uv_loop_t *loop, const char *owner)
{
	struct ledger *ledger;
	struct error error = {0};
	bool pooled = pooled_url[0] != '\0';
	struct ledger_postgres_options options = {.url = pooled ? pooled_url : url, .owner = owner, .prepared = !pooled};
	cr_assert_eq(ledger_postgres_open(&ledger, loop, &options, &error), 0, "%s", error.detail);
	return ledger;
}

const char *factory_sql(const char *sql)
{
	static char text[4096];
	text[0] = '\0';
	PGconn *conn = connect_to(url);
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);
	cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(conn));
	if (status == PGRES_TUPLES_OK && PQntuples(result) > 0)
		snprintf(text, sizeof(text), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	PQfinish(conn);
	return text;
}

void factory_pass_time(int64_t ms)
{
	char sql[256];
	snprintf(sql, sizeof(sql),
		 "UPDATE recordings SET lease_expires_at = lease_expires_at - interval '%lld ms', "
		 "next_attempt_at = next_attempt_at - interval '%lld ms'",
		 (long long)ms, (long long)ms);
	factory_sql(sql);
	snprintf(sql, sizeof(sql),
		 "UPDATE reconcile SET lease_expires_at = lease_expires_at - interval '%lld ms', finished_at = finished_at - "
		 "interval '%lld ms'",
		 (long long)ms, (long long)ms);
	factory_sql(sql);
	snprintf(sql, sizeof(sql), "UPDATE reconcile_progress SET updated_at = updated_at - interval '%lld ms'", (long long)ms);
	factory_sql(sql);
}

void factory_set_tags(const char *twilio_sid, const char *first, const char *second)
{
	char sql[256];
	snprintf(sql, sizeof(sql), "UPDATE calls SET tags = ARRAY['%s', '%s'] WHERE twilio_sid = '%s'", first, second,
		 twilio_sid);
	factory_sql(sql);
}

int factory_postgres_port(void)
{
	return (int)strtol(strrchr(getenv("REELD_TEST_POSTGRES_URL"), ':') + 1, NULL, 10);
}

const char *factory_postgres_url(int port)
{
	static char text[512];
	if (port == 0)
		return url;
	snprintf(text, sizeof(text), "postgresql://reeld:s3cret@127.0.0.1:%d%s", port, strrchr(url, '/'));
	return text;
}
