/* SPDX-License-Identifier: MIT */
/* reeld migrate: applies the migrations that the ledger lacks, creating it (and DATA_DIR) where there is none. */
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "ledger/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int cmd_migrate(const struct config *config, int argc, char **argv)
{
	char path[4096];
	struct error error = {0};
	size_t applied = 0;
	if (argc > 1)
		return cmd_usage_error("migrate", "reeld migrate", "unexpected argument '%s'", argv[1]);
	if (config->database_url != NULL)
		return cmd_failed("migrate",
				  "DATABASE_URL is set, but this build has no Postgres; unset it to use the ledger in DATA_DIR");
	if (ledger_sqlite_path(config->data_dir, path, sizeof(path)) != 0)
		return cmd_failed("migrate", "DATA_DIR is too long");
	if (mkdir(config->data_dir, 0700) != 0 && errno != EEXIST)
		return cmd_failed("migrate", "cannot create DATA_DIR %s: %s", config->data_dir, strerror(errno));
	if (ledger_sqlite_migrate(path, &applied, &error) != 0)
		return cmd_failed("migrate", "%s", error.detail);
	if (applied == 0)
		printf("%s: up to date\n", path);
	else
		printf("%s: applied %zu migration%s\n", path, applied, applied == 1 ? "" : "s");
	return CMD_OK;
}
