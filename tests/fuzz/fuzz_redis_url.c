/* SPDX-License-Identifier: MIT */
/* A Redis URL: what is taken keeps its limits and is the same when written out in full and read again; what is refused leaves nothing behind. */
#include "adapters/redis_url.h"
#include "base/buffer.h"
#include "base/check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append_parameter(struct buffer *buffer, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	buffer_append_cstr(buffer, name);
	buffer_append_percent(buffer, slice_from_cstr(value), false);
}

static void write_out(struct buffer *buffer, const struct redis_url *url)
{
	if (url->path[0] != '\0') {
		buffer_append_cstr(buffer, "unix://"); /* a path may begin with two slashes */
		buffer_append_percent(buffer, slice_from_cstr(url->path), true);
	} else {
		bool v6 = strchr(url->host, ':') != NULL;
		buffer_printf(buffer, "%s%s%s%s:%u", url->tls ? "rediss://" : "redis://", v6 ? "[" : "", url->host, v6 ? "]" : "",
			      url->port);
	}
	buffer_printf(buffer, "?db=%d", url->db);
	append_parameter(buffer, "&user=", url->user);
	append_parameter(buffer, "&password=", url->password);
	REQUIRE(!buffer->failed);
}

static void check_taken(const struct redis_url *url)
{
	struct redis_url again;
	struct error error = {0};
	struct buffer text;
	char where[64];
	REQUIRE((url->host[0] == '\0') != (url->path[0] == '\0'));
	REQUIRE((url->host[0] == '\0') == (url->port == 0));
	REQUIRE(url->path[0] == '\0' || url->path[0] == '/');
	REQUIRE(url->db >= 0 && url->db <= REDIS_URL_MAX_DB);
	REQUIRE(url->user[0] == '\0' || url->password[0] != '\0');
	redis_url_describe(url, where, sizeof(where));
	REQUIRE(where[0] != '\0' && strlen(where) < sizeof(where));
	buffer_init(&text, 8192);
	write_out(&text, url);
	REQUIRE(redis_url_parse(&again, buffer_slice(&text), &error) == 0);
	REQUIRE(strcmp(url->host, again.host) == 0 && strcmp(url->path, again.path) == 0);
	REQUIRE(strcmp(url->user, again.user) == 0 && strcmp(url->password, again.password) == 0);
	REQUIRE(url->port == again.port && url->db == again.db && url->tls == again.tls);
	buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct redis_url wiped;
	struct redis_url url;
	struct error error = {0};
	int rc = redis_url_parse(&url, slice_make((const char *)data, size), &error);
	if (rc == 0) {
		check_taken(&url);
		redis_url_wipe(&url);
	} else {
		REQUIRE(rc == ERR_CONFIG && error.code == ERR_CONFIG && error.detail[0] != '\0');
	}
	REQUIRE(memcmp(&url, &wiped, sizeof(url)) == 0);
	return 0;
}
