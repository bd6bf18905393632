/* SPDX-License-Identifier: MIT */
/* reeld migrate: applies the migrations that the ledger lacks, creating it (and DATA_DIR) where there is none. */
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "engines.h"
#include "ledger/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int migrate_report(const char *where, size_t applied)
{
	if (applied == 0)
		printf("%s: up to date\n", where);
	else
		printf("%s: applied %zu migration%s\n", where, applied, applied == 1 ? "" : "s");
	return CMD_OK;
}

int cmd_migrate(const struct config *config, int argc, char **argv)
{
	char path[4096];
	struct error error = {0};
	size_t applied = 0;
	if (argc > 1)
		return cmd_usage_error("migrate", "reeld migrate", "unexpected argument '%s'", argv[1]);
	if (cmd_become_owner("migrate", config->data_dir) != CMD_OK)
		return CMD_FAILED;
	if (engines_use_postgres(config)) {
		if (ledger_postgres_migrate(config->database_url, &applied, &error) != 0)
			return cmd_failed("migrate", "%s", error.detail);
		return migrate_report("database at DATABASE_URL", applied);
	}
	if (ledger_sqlite_path(config->data_dir, path, sizeof(path)) != 0)
		return cmd_failed("migrate", "DATA_DIR is too long");
	if (mkdir(config->data_dir, 0700) != 0 && errno != EEXIST)
		return cmd_failed("migrate", "cannot create DATA_DIR %s: %s", config->data_dir, strerror(errno));
	if (ledger_sqlite_migrate(path, &applied, &error) != 0)
		return cmd_failed("migrate", "%s", error.detail);
	return migrate_report(path, applied);
}
