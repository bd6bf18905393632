/* SPDX-License-Identifier: MIT */
/* What the kernel says about this very process, checked against what the test knows of it. */
#include "admin/process_metrics.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct metrics *metrics;

static void setup(void)
{
	metrics = metrics_new();
}

static void teardown(void)
{
	metrics_free(&metrics);
}

TestSuite(process_metrics, .init = setup, .fini = teardown);

static double collected(enum metric_id id)
{
	process_metrics_collect(metrics);
	return metrics_get_n(metrics, id, 0, NULL)->value;
}

Test(process_metrics, descriptors_are_counted_without_the_one_that_counts)
{
	double before = collected(METRIC_OPEN_FDS);
	cr_assert_geq(before, 3);
	int fds[5];
	for (int i = 0; i < 5; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	cr_assert_eq(collected(METRIC_OPEN_FDS), before + 5);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
	cr_assert_eq(collected(METRIC_OPEN_FDS), before);
	cr_assert_eq(collected(METRIC_OPEN_FDS), before, "counting leaks");
}

Test(process_metrics, the_limit_is_the_soft_one)
{
	struct rlimit limit;
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max < 321 ? limit.rlim_max : 321;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_assert_eq(collected(METRIC_MAX_FDS), (double)limit.rlim_cur);
}

Test(process_metrics, cpu_time_grows_with_work)
{
	double before = collected(METRIC_CPU_SECONDS);
	struct timespec now;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	while ((double)now.tv_sec + (double)now.tv_nsec / 1e9 < before + 0.05);
	cr_assert_geq(collected(METRIC_CPU_SECONDS), before + 0.03);
}

Test(process_metrics, memory_is_in_bytes)
{
	enum { SIZE = 32 << 20 };
	double before = collected(METRIC_RESIDENT_MEMORY);
	double virtual_before = collected(METRIC_VIRTUAL_MEMORY);
	cr_assert_geq(before, 500000);
	cr_assert_geq(virtual_before, before);
	char *memory = malloc(SIZE);
	memset(memory, 1, SIZE);
	cr_assert_geq(collected(METRIC_RESIDENT_MEMORY), before + SIZE * 0.9);
	cr_assert_leq(collected(METRIC_RESIDENT_MEMORY), before + SIZE * 2);
	cr_assert_geq(collected(METRIC_VIRTUAL_MEMORY), virtual_before + SIZE * 0.9);
	cr_assert_eq(memory[SIZE - 1], 1);
	free(memory);
}

Test(process_metrics, the_start_was_a_moment_ago_and_does_not_move)
{
	double start = collected(METRIC_START_TIME);
	cr_assert_leq(start, (double)time(NULL) + 1);
	cr_assert_geq(start, (double)time(NULL) - 600);
	cr_assert_eq(collected(METRIC_START_TIME), start);
}

/* /proc/self/stat holds the name as it is. */
Test(process_metrics, a_name_with_blanks_and_parentheses_confuses_nobody)
{
	double before = collected(METRIC_RESIDENT_MEMORY);
	cr_assert_eq(prctl(PR_SET_NAME, ") 1 2 (x) 3"), 0);
	double after = collected(METRIC_RESIDENT_MEMORY);
	cr_assert_geq(after, before * 0.5);
	cr_assert_leq(after, before * 2);
}
