/* SPDX-License-Identifier: MIT */
#include "adapters/redis_url.h"

#include "base/hex.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PORT 6379

static int refuse(struct error *error, const char *what)
{
	return error_set(error, ERR_CONFIG, "REDIS_URL: %s; example: REDIS_URL=redis://:PASSWORD@redis.example.com:6379/0", what);
}

/* Takes what stands before the first `stop` away from *rest; without one all of it, and false. */
static bool take_until(struct slice *rest, char stop, struct slice *part)
{
	const char *found = rest->len == 0 ? NULL : memchr(rest->ptr, stop, rest->len);
	if (found == NULL) {
		*part = *rest;
		*rest = slice_make(rest->ptr + rest->len, 0);
		return false;
	}
	*part = slice_make(rest->ptr, (size_t)(found - rest->ptr));
	*rest = slice_make(found + 1, rest->len - part->len - 1);
	return true;
}

/* False when an escape is broken, a NUL is in it, or it does not fit with its own NUL. */
static bool decode(struct slice text, char *out, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte = (uint8_t)text.ptr[i];
		if (byte == '%') {
			if (text.len - i < 3 || !hex_decode(slice_make(text.ptr + i + 1, 2), &byte))
				return false;
			i += 2;
		}
		if (byte == '\0' || len + 1 >= size)
			return false;
		out[len++] = (char)byte;
	}
	out[len] = '\0';
	return true;
}

static bool parse_number(struct slice text, int max, int *value)
{
	*value = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		*value = *value * 10 + (text.ptr[i] - '0');
		if (*value > max)
			return false;
	}
	return text.len > 0;
}

static int parse_userinfo(struct redis_url *url, struct slice userinfo, struct error *error)
{
	struct slice user;
	bool has_password = take_until(&userinfo, ':', &user);
	if (!decode(user, url->user, sizeof(url->user)) || !decode(userinfo, url->password, sizeof(url->password)))
		return refuse(error, "user or password is too long or has a broken percent-escape");
	if (user.len > 0 && !has_password)
		return refuse(error, "a user needs a password; for a password alone write redis://:PASSWORD@host");
	return 0;
}

static bool is_host(const char *host)
{
	for (const char *c = host; *c != '\0'; c++) {
		bool word = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
		if (!word && strchr(".-_", *c) == NULL)
			return false;
	}
	return host[0] != '\0';
}

static int parse_host(struct redis_url *url, struct slice authority, struct error *error)
{
	struct slice host;
	struct slice port = {"", 0};
	bool has_port = false;
	struct in6_addr address;
	if (authority.len > 0 && authority.ptr[0] == '[') {
		authority = slice_make(authority.ptr + 1, authority.len - 1);
		if (!take_until(&authority, ']', &host) || !decode(host, url->host, sizeof(url->host)) ||
		    inet_pton(AF_INET6, url->host, &address) != 1)
			return refuse(error, "what stands in brackets is no IPv6 address");
		if (authority.len > 0 && authority.ptr[0] != ':')
			return refuse(error, "after the brackets comes nothing or :port");
		has_port = authority.len > 0;
		port = has_port ? slice_make(authority.ptr + 1, authority.len - 1) : port;
	} else {
		has_port = take_until(&authority, ':', &host);
		port = authority;
		if (!decode(host, url->host, sizeof(url->host)) || !is_host(url->host))
			return refuse(error, "no valid host (an IPv6 address stands in brackets)");
	}
	int number = DEFAULT_PORT;
	if (has_port && (!parse_number(port, UINT16_MAX, &number) || number == 0))
		return refuse(error, "the port is no number from 1 to 65535");
	url->port = (uint16_t)number;
	return 0;
}

static int parse_db(struct redis_url *url, struct slice text, struct error *error)
{
	if (!parse_number(text, REDIS_URL_MAX_DB, &url->db))
		return refuse(error, "the database is no number from 0 to 65535");
	return 0;
}

static int parse_query(struct redis_url *url, struct slice query, struct error *error)
{
	while (query.len > 0) {
		struct slice pair;
		struct slice name;
		take_until(&query, '&', &pair);
		take_until(&pair, '=', &name);
		int err = 0;
		if (slice_equal(name, SLICE("db")))
			err = parse_db(url, pair, error);
		else if (slice_equal(name, SLICE("user")) || slice_equal(name, SLICE("username")))
			err = decode(pair, url->user, sizeof(url->user)) ? 0
									 : refuse(error, "the user is too long or badly escaped");
		else if (slice_equal(name, SLICE("password")))
			err = decode(pair, url->password, sizeof(url->password))
				      ? 0
				      : refuse(error, "the password is too long or badly escaped");
		else
			err = refuse(error, "a parameter is none of db, user, password");
		if (err != 0)
			return err;
	}
	if (url->user[0] != '\0' && url->password[0] == '\0')
		return refuse(error, "a user needs a password");
	return 0;
}

/* Splits "[userinfo@]authority" at the last '@': one in a password may stand there unescaped. */
static bool take_userinfo(struct slice *authority, struct slice *userinfo)
{
	const char *at = authority->len == 0 ? NULL : memrchr(authority->ptr, '@', authority->len);
	if (at == NULL)
		return false;
	*userinfo = slice_make(authority->ptr, (size_t)(at - authority->ptr));
	*authority = slice_make(at + 1, authority->len - userinfo->len - 1);
	return true;
}

static int parse_tcp(struct redis_url *url, struct slice rest, struct error *error)
{
	struct slice authority;
	struct slice userinfo;
	bool has_db = take_until(&rest, '/', &authority);
	int err = 0;
	if (take_userinfo(&authority, &userinfo))
		err = parse_userinfo(url, userinfo, error);
	if (err == 0)
		err = parse_host(url, authority, error);
	if (err == 0 && has_db && rest.len > 0)
		err = parse_db(url, rest, error);
	return err;
}

static int parse_unix(struct redis_url *url, struct slice rest, struct error *error)
{
	struct slice userinfo;
	if (slice_starts_with(rest, SLICE("//"))) {
		const char *slash = memchr(rest.ptr + 2, '/', rest.len - 2);
		struct slice authority = slice_make(rest.ptr + 2, slash == NULL ? rest.len - 2 : (size_t)(slash - rest.ptr - 2));
		rest = slice_make(authority.ptr + authority.len, rest.len - 2 - authority.len);
		if (take_userinfo(&authority, &userinfo)) {
			int err = parse_userinfo(url, userinfo, error);
			if (err != 0)
				return err;
		}
		if (authority.len > 0)
			return refuse(error, "a unix socket has no host: write unix:/path");
	}
	if (rest.len < 2 || rest.ptr[0] != '/' || !decode(rest, url->path, sizeof(url->path)))
		return refuse(error, "the socket's path is not absolute, longer than 107 bytes or badly escaped");
	return 0;
}

static bool take_scheme(struct slice *rest, struct slice scheme)
{
	if (rest->len < scheme.len || !slice_equal_nocase(slice_make(rest->ptr, scheme.len), scheme))
		return false;
	*rest = slice_make(rest->ptr + scheme.len, rest->len - scheme.len);
	return true;
}

static int parse(struct redis_url *url, struct slice text, struct error *error)
{
	struct slice rest = text;
	struct slice main_part;
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f || text.ptr[i] == '#')
			return refuse(error, "a blank, a control character or # must be percent-encoded");
	}
	bool tcp = take_scheme(&rest, SLICE("redis://"));
	if (!tcp)
		tcp = url->tls = take_scheme(&rest, SLICE("rediss://"));
	if (!tcp && !take_scheme(&rest, SLICE("unix:")) && !take_scheme(&rest, SLICE("redis+unix:")))
		return refuse(error, "it begins with none of redis://, rediss://, unix:/");
	take_until(&rest, '?', &main_part);
	int err = tcp ? parse_tcp(url, main_part, error) : parse_unix(url, main_part, error);
	return err == 0 ? parse_query(url, rest, error) : err;
}

int redis_url_parse(struct redis_url *url, struct slice text, struct error *error)
{
	*url = (struct redis_url){0};
	int err = parse(url, text, error);
	if (err != 0)
		redis_url_wipe(url);
	return err;
}

void redis_url_describe(const struct redis_url *url, char *out, size_t size)
{
	if (url->path[0] != '\0')
		snprintf(out, size, "unix:%s", url->path);
	else if (strchr(url->host, ':') != NULL)
		snprintf(out, size, "[%s]:%u", url->host, url->port);
	else
		snprintf(out, size, "%s:%u", url->host, url->port);
}

void redis_url_wipe(struct redis_url *url)
{
	explicit_bzero(url, sizeof(*url));
}
