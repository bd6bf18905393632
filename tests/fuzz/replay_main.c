/* SPDX-License-Identifier: MIT */
/*
 * The main of a fuzz target in the ordinary test run: feeds it the empty input and every file of the folders given. What a fuzzer
 * once found stays found, with any compiler. At least one file is required, so that a wrong path cannot pass as a test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1024 * 1024)

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	/* A block of the input's own size: the sanitizers then see a read behind its end. */
	uint8_t *all = malloc(INPUT_MAX);
	if (file == NULL || all == NULL) {
		perror(path);
		exit(1);
	}
	size_t size = fread(all, 1, INPUT_MAX, file);
	fclose(file);
	uint8_t *input = malloc(size > 0 ? size : 1);
	if (input == NULL)
		exit(1);
	memcpy(input, all, size);
	free(all);
	LLVMFuzzerTestOneInput(input, size);
	free(input);
}

static int replay_folder(const char *path)
{
	DIR *folder = opendir(path);
	if (folder == NULL) {
		perror(path);
		exit(1);
	}
	int count = 0;
	struct dirent *entry;
	while ((entry = readdir(folder)) != NULL) {
		char file[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		replay_file(file);
		count++;
	}
	closedir(folder);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		count += replay_folder(argv[i]);
	printf("%d inputs replayed\n", count);
	return count > 0 ? 0 : 1;
}
