/* SPDX-License-Identifier: MIT */
#include "app.h"

#include <criterion/criterion.h>
#include <string.h>

static struct app_limits limits;
static struct error error;

static int limit(uint64_t open_files, uint64_t max_connections, uint64_t max_transfers)
{
	const struct config config = {.max_connections = max_connections, .max_transfers = max_transfers};
	error = (struct error){0};
	return app_limit_connections(&config, open_files, &limits, &error);
}

Test(app_limits, where_there_are_enough_the_settings_hold)
{
	cr_expect_eq(limit(4324, 4096, 64), 0);
	cr_expect_eq(limits.connections, 4096);
	cr_expect_eq(limits.wanted, 4324);
	cr_expect_eq(limit(UINT64_MAX, 1000000, 1024), 0);
	cr_expect_eq(limits.connections, 1000000);
}

Test(app_limits, what_is_missing_is_taken_from_the_public_connections)
{
	cr_expect_eq(limit(1024, 4096, 64), 0);
	cr_expect_eq(limits.connections, 1024 - 2 * 64 - 100);
	cr_expect_eq(limit(4323, 4096, 64), 0);
	cr_expect_eq(limits.connections, 4095);
	cr_expect_eq(limit(244, 4096, 64), 0);
	cr_expect_eq(limits.connections, 16, "the least that is a service");
}

Test(app_limits, too_few_for_all_else_is_an_error_that_names_what_to_change)
{
	cr_expect_eq(limit(243, 4096, 64), ERR_CONFIG);
	cr_expect_eq(strncmp(error.detail, "MAX_TRANSFERS: ", 15), 0, "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, "243"));
	cr_expect_not_null(strstr(error.detail, "244"));
	cr_expect_not_null(strstr(error.detail, "example: MAX_TRANSFERS="), "%s", error.detail);
	cr_expect_eq(limit(229, 1, 64), 0, "one connection is enough when no more are wanted");
	cr_expect_eq(limits.connections, 1);
}
