/* SPDX-License-Identifier: MIT */
#include "loop/store/store_factory.h"

#include "base/check.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];

void factory_setup(void)
{
	struct error error = {0};
	snprintf(directory, sizeof(directory), "/tmp/reeld-store-XXXXXX");
	REQUIRE(mkdtemp(directory) != NULL);
	support_init_loop();
	cr_assert_eq(store_directory_open(&store, &loop, directory, &error), 0, "%s", error.detail);
}

void factory_teardown(void)
{
	char command[128];
	support_close_store();
	support_close_loop();
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	FILE *run = popen(command, "r");
	cr_assert(run != NULL && pclose(run) == 0);
}

const char *factory_key(const char *name)
{
	static char keys[4][256];
	static unsigned next;
	char *key = keys[next++ % 4];
	snprintf(key, sizeof(keys[0]), "recordings/%s", name);
	return key;
}

static void path_of(const char *key, char out[512])
{
	snprintf(out, 512, "%s/%s", directory, key);
}

bool factory_exists(const char *key)
{
	char path[512];
	path_of(key, path);
	return access(path, F_OK) == 0;
}

bool factory_holds(const char *key, const char *text)
{
	char path[512], found[256] = "";
	path_of(key, path);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	size_t len = fread(found, 1, sizeof(found) - 1, file);
	fclose(file);
	return len == strlen(text) && memcmp(found, text, len) == 0;
}

unsigned factory_leftovers(void)
{
	char path[512];
	unsigned count = 0;
	path_of(".tmp", path);
	DIR *dir = opendir(path);
	cr_assert(dir != NULL);
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

const char *factory_kind(void)
{
	return "directory";
}
