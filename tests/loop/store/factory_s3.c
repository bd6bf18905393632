/* SPDX-License-Identifier: MIT */
#include "loop/store/s3_fixture.h"
#include "loop/store/store_factory.h"

#include <stdlib.h>
#include <string.h>

void factory_setup(void)
{
	const struct store_s3_options options = s3_fixture_options();
	s3_fixture_open(&options);
}

void factory_teardown(void)
{
	s3_fixture_close();
}

const char *factory_key(const char *name)
{
	return s3_key(name);
}

bool factory_exists(const char *key)
{
	char *answer = s3_fetch(key, NULL);
	bool exists = strncmp(answer, "HTTP/1.1 200", 12) == 0;
	free(answer);
	return exists;
}

bool factory_holds(const char *key, const char *text)
{
	size_t len;
	char *answer = s3_fetch(key, &len);
	const char *body = strstr(answer, "\r\n\r\n");
	bool same = strncmp(answer, "HTTP/1.1 200", 12) == 0 && body != NULL && strcmp(body + 4, text) == 0;
	free(answer);
	return same;
}

unsigned factory_leftovers(void)
{
	return s3_open_uploads();
}

const char *factory_kind(void)
{
	return "s3";
}
