/* SPDX-License-Identifier: MIT */
/* Runs a command in this process and keeps what it prints. */
#ifndef REELD_TESTS_SUPPORT_CAPTURED_H
#define REELD_TESTS_SUPPORT_CAPTURED_H

#include "cmd/cmd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

/* Of the last run, NUL-terminated. */
static char out[1 << 20];
static size_t out_len;
static char err[4096];
/* Where the standard output goes instead; -1: into `out`. */
static int captured_output = -1;

static size_t captured_read(FILE *file, char *text, size_t size)
{
	ssize_t len = pread(fileno(file), text, size - 1, 0);

	cr_assert_geq(len, 0);
	text[len] = '\0';
	fclose(file);
	return (size_t)len;
}

static int captured_run(int (*command)(const struct config *config, int argc, char **argv), const struct config *config, int argc,
			char **argv)
{
	FILE *files[2] = {tmpfile(), tmpfile()};
	int saved[2] = {dup(1), dup(2)};

	fflush(NULL);
	dup2(captured_output >= 0 ? captured_output : fileno(files[0]), 1);
	dup2(fileno(files[1]), 2);
	int status = command(config, argc, argv);
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	out_len = captured_read(files[0], out, sizeof(out));
	captured_read(files[1], err, sizeof(err));
	return status;
}

#endif
