/* SPDX-License-Identifier: MIT */
/*
 * The commands: one file each. `argv[0]` is the command's own name; --env-file, --help and --version were taken out by main.
 * Each returns the exit status: 0 success, 1 the operation failed, 2 wrong usage (one line and the usage on stderr).
 */
#ifndef REELD_CMD_CMD_H
#define REELD_CMD_CMD_H

#include "config.h"

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

int cmd_serve(const struct config *config, int argc, char **argv);
int cmd_demo(const struct config *config, int argc, char **argv);
int cmd_sandbox(const struct config *config, int argc, char **argv);
int cmd_check(const struct config *config, int argc, char **argv);
int cmd_migrate(const struct config *config, int argc, char **argv);
int cmd_jobs(const struct config *config, int argc, char **argv);
int cmd_reconcile(const struct config *config, int argc, char **argv);
int cmd_recordings(const struct config *config, int argc, char **argv);
/* reeld recordings decrypt; argv[0] is "decrypt". */
int cmd_recordings_decrypt(const struct config *config, int argc, char **argv);
int cmd_healthcheck(const struct config *config, int argc, char **argv);
int cmd_sign(const struct config *config, int argc, char **argv);

/* What --help prints where a line is not enough. */
extern const char cmd_demo_help[];
extern const char cmd_sandbox_help[];
extern const char cmd_jobs_help[];
extern const char cmd_reconcile_help[];
extern const char cmd_recordings_help[];
extern const char cmd_sign_help[];

/* "reeld COMMAND: message" and the command's usage line on stderr; returns CMD_USAGE. */
int cmd_usage_error(const char *command, const char *usage, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
