/* SPDX-License-Identifier: MIT */
#include "workers.h"

#include "base/err.h"

#include <criterion/criterion.h>
#include <stdio.h>

static char text[64];

Test(workers, the_first_has_the_journal_of_a_single_process_and_the_others_their_own)
{
	cr_expect_eq(workers_journal_path("/d", 0, text, sizeof(text)), 0);
	cr_expect_str_eq(text, "/d/journal");
	cr_expect_eq(workers_journal_path("/d", 1, text, sizeof(text)), 0);
	cr_expect_str_eq(text, "/d/worker-1/journal");
	cr_expect_eq(workers_journal_path("/d", 63, text, sizeof(text)), 0);
	cr_expect_str_eq(text, "/d/worker-63/journal");
	cr_expect_eq(workers_journal_path("/d", 63, text, sizeof("/d/worker-63/journal") - 1), ERR_LIMIT);
}

Test(workers, every_directory_of_a_worker_is_known_by_its_name_and_nothing_else_is)
{
	static const char *const others[] = {"worker-0", "worker-00", "worker-01", "worker-64", "worker-4294967297",
					     "worker-",  "worker-1 ", "worker-1x", "worker--1", "worker-+1",
					     "worker",   "journal",   ".worker-1", "Worker-1"};
	char name[32];
	for (unsigned number = 1; number < WORKERS_MAX; number++) {
		snprintf(name, sizeof(name), "worker-%u", number);
		cr_expect_eq(workers_parse_directory(name), number);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect_eq(workers_parse_directory(others[i]), 0, "%s", others[i]);
}

Test(workers, each_has_a_private_port_of_its_own)
{
	static const struct {
		const char *address;
		unsigned number;
		const char *want; /* NULL: there is none */
	} rows[] = {
		{"127.0.0.1:9464", 0, "127.0.0.1:9464"},
		{"127.0.0.1:9464", 3, "127.0.0.1:9467"},
		{"[::1]:9464", 1, "[::1]:9465"},
		{"127.0.0.1:0", 5, "127.0.0.1:0"},
		{"h:65535", 0, "h:65535"},
		{"h:65534", 1, "h:65535"},
		{"h:65535", 1, NULL},
		{"h:x", 1, NULL},
		{"h", 1, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = workers_admin_address(rows[i].address, rows[i].number, text, sizeof(text));
		cr_expect_eq(status, rows[i].want == NULL ? ERR_LIMIT : 0, "%s", rows[i].address);
		if (rows[i].want != NULL)
			cr_expect_str_eq(text, rows[i].want);
	}
}

Test(workers, a_place_survives_being_told)
{
	static const char *const refused[] = {"",      "/",    "1",   "1/",   "/2",   "2/2",  "3/2",
					      "64/64", "0/65", "0/0", "1/2 ", "-1/2", "1/2/3"};
	unsigned number, count;
	for (unsigned total = 1; total <= WORKERS_MAX; total++) {
		for (unsigned i = 0; i < total; i++) {
			cr_assert_eq(workers_format_place(i, total, text, sizeof(text)), 0);
			cr_expect_eq(workers_parse_place(text, &number, &count), 0, "%s", text);
			cr_expect(number == i && count == total, "%s", text);
		}
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		cr_expect_eq(workers_parse_place(refused[i], &number, &count), ERR_INVALID, "%s", refused[i]);
}

Test(workers, who_ends_again_and_again_is_started_less_and_less_often)
{
	static const uint64_t want[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		cr_expect_eq(workers_restart_delay(i + 1), want[i]);
	cr_expect_eq(workers_restart_delay(UINT32_MAX), 30000);
}
