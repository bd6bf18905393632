/* SPDX-License-Identifier: MIT */
/* The URL in parts: hosts for pg_connect.c, everything else for libpq as it is. */
#include "adapters/pg_internal.h"

#include <stdlib.h>
#include <string.h>

/* What libpq is told unless the URL says otherwise. The ledger writes: of several hosts the primary is the one. */
static const char *const defaults[][2] = {
	{"fallback_application_name", "reeld"},
	{"target_session_attrs", "read-write"},
};
/* What it is told whatever the URL says: texts are UTF-8 here. */
static const char *const fixed[][2] = {{"client_encoding", "UTF8"}};
#define EXTRA (sizeof(defaults) / sizeof(defaults[0]) + sizeof(fixed) / sizeof(fixed[0]))

void pg_url_free(struct pg *pg)
{
	for (size_t i = 0; i < pg->keyword_count; i++) {
		free(pg->keywords[i]);
		free(pg->values[i]);
	}
	free(pg->keywords);
	free(pg->values);
	for (size_t i = 0; i < PG_HOSTS_MAX; i++) {
		free(pg->hosts[i].name);
		free(pg->hosts[i].address);
		free(pg->hosts[i].port);
	}
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options != NULL && options->keyword != NULL; options++) {
		if (strcmp(options->keyword, keyword) == 0)
			return options->val;
	}
	return NULL;
}

static bool add_keyword(struct pg *pg, const char *keyword, const char *value)
{
	pg->keywords[pg->keyword_count] = strdup(keyword);
	pg->values[pg->keyword_count] = strdup(value);
	return pg->keywords[pg->keyword_count] != NULL && pg->values[pg->keyword_count++] != NULL;
}

static bool is_fixed(const char *keyword)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (strcmp(keyword, fixed[i][0]) == 0)
			return true;
	}
	return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 || strcmp(keyword, "port") == 0;
}

static bool copy_keywords(struct pg *pg, const PQconninfoOption *url)
{
	size_t count = EXTRA;
	for (const PQconninfoOption *at = url; at->keyword != NULL; at++)
		count++;
	pg->keywords = calloc(count, sizeof(*pg->keywords));
	pg->values = calloc(count, sizeof(*pg->values));
	bool good = pg->keywords != NULL && pg->values != NULL;
	for (const PQconninfoOption *at = url; good && at->keyword != NULL; at++) {
		if (at->val != NULL && !is_fixed(at->keyword))
			good = add_keyword(pg, at->keyword, at->val);
	}
	for (size_t i = 0; good && i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		bool from_environment = strcmp(defaults[i][0], "target_session_attrs") == 0 &&
					getenv("PGTARGETSESSIONATTRS") != NULL;
		if (value_of(url, defaults[i][0]) == NULL && !from_environment)
			good = add_keyword(pg, defaults[i][0], defaults[i][1]);
	}
	for (size_t i = 0; good && i < sizeof(fixed) / sizeof(fixed[0]); i++)
		good = add_keyword(pg, fixed[i][0], fixed[i][1]);
	return good;
}

/* The n-th of a list with commas, or its only one where there is a single one; NULL when there is none. The caller frees it. */
static char *element(const char *list, size_t n, bool shared)
{
	if (list == NULL)
		return NULL;
	if (shared && strchr(list, ',') == NULL)
		n = 0;
	for (; n > 0; n--) {
		list = strchr(list, ',');
		if (list == NULL)
			return NULL;
		list++;
	}
	size_t len = strcspn(list, ",");
	return len == 0 ? NULL : strndup(list, len);
}

static size_t elements(const char *list)
{
	size_t count = 1;
	for (; list != NULL && *list != '\0'; list++)
		count += *list == ',';
	return count;
}

/* libpq would find out when it connects, again and again. */
static bool is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	long port = digits > 0 && digits <= 5 && text[digits] == '\0' ? strtol(text, NULL, 10) : 0;
	return port >= 1 && port <= 65535;
}

/* libpq's environment and service file count where the URL names no host. */
static int copy_hosts(struct pg *pg, const PQconninfoOption *url, struct error *error)
{
	PQconninfoOption *others = PQconndefaults();
	const char *names = value_of(url, "host");
	const char *addresses = value_of(url, "hostaddr");
	const char *ports = value_of(url, "port");
	if (names == NULL && addresses == NULL) {
		names = value_of(others, "host");
		addresses = value_of(others, "hostaddr");
	}
	if (ports == NULL)
		ports = value_of(others, "port");
	pg->host_count = elements(addresses != NULL ? addresses : names);
	size_t with_port = elements(ports);
	int status = 0;
	if (pg->host_count > PG_HOSTS_MAX || (names != NULL && addresses != NULL && elements(names) != pg->host_count) ||
	    (with_port != 1 && with_port != pg->host_count))
		status = error_set(error, ERR_CONFIG,
				   "DATABASE_URL: as many hosts, addresses and ports as each other are needed, at most %d",
				   PG_HOSTS_MAX);
	for (size_t i = 0; status == 0 && i < pg->host_count; i++) {
		struct pg_host *host = &pg->hosts[i];
		host->name = element(names, i, false);
		if (host->name == NULL)
			host->name = strdup("");
		host->address = element(addresses, i, false);
		host->port = element(ports, i, true);
		if (host->name == NULL)
			status = error_set(error, ERR_NOMEM, "opening the database: out of memory");
		else if (host->port != NULL && !is_port(host->port))
			status = error_set(error, ERR_CONFIG, "DATABASE_URL: a port is no number from 1 to 65535");
	}
	PQconninfoFree(others);
	return status;
}

int pg_parse_url(struct pg *pg, const char *url, struct error *error)
{
	/* libpq's own message would repeat what it could not read, which may be the password. */
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	if (options == NULL)
		return error_set(error, ERR_CONFIG,
				 "DATABASE_URL cannot be read: want "
				 "postgresql://user:password@host:5432/database?sslmode=verify-full");
	const char *timeout = value_of(options, "connect_timeout");
	long seconds = timeout == NULL ? 0 : strtol(timeout, NULL, 10);
	if (pg->connect_ms == 0 && seconds > 0 && seconds <= 3600)
		pg->connect_ms = (unsigned)seconds * 1000;
	int status = 0;
	if (!copy_keywords(pg, options))
		status = error_set(error, ERR_NOMEM, "opening the database: out of memory");
	if (status == 0)
		status = copy_hosts(pg, options, error);
	PQconninfoFree(options);
	return status;
}
