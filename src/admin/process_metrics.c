/* SPDX-License-Identifier: MIT */
#include "admin/process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void collect_cpu(struct metrics *metrics)
{
	struct rusage usage;
	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec);
	seconds += (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	metrics_get(metrics, METRIC_CPU_SECONDS)->value = seconds;
}

static void collect_fds(struct metrics *metrics)
{
	DIR *dir = opendir("/proc/self/fd");
	if (dir != NULL) {
		long count = 0;
		for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
			count += entry->d_name[0] != '.';
		closedir(dir);
		metrics_get(metrics, METRIC_OPEN_FDS)->value = (double)(count - 1); /* without the one just used to count */
	}
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metrics_get(metrics, METRIC_MAX_FDS)->value = (double)limit.rlim_cur;
}

/* The n-th (from 1) field of /proc/self/stat behind the process name, which may hold blanks and parentheses. */
static const char *stat_field(const char *text, int n)
{
	const char *at = strrchr(text, ')');
	for (int i = 2; at != NULL && i < n; i++) {
		at = strchr(at + 1, ' ');
	}
	return at == NULL ? NULL : at + 1;
}

static void collect_stat(struct metrics *metrics)
{
	char text[1024];
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (len <= 0)
		return;
	text[len] = '\0';
	enum { FIELD_START_TIME = 22, FIELD_VSIZE = 23, FIELD_RSS = 24 }; /* proc(5) */
	const char *virtual_memory = stat_field(text, FIELD_VSIZE);
	const char *resident = stat_field(text, FIELD_RSS);
	const char *started = stat_field(text, FIELD_START_TIME);
	if (virtual_memory == NULL || resident == NULL || started == NULL)
		return;
	metrics_get(metrics, METRIC_VIRTUAL_MEMORY)->value = (double)strtoull(virtual_memory, NULL, 10);
	metrics_get(metrics, METRIC_RESIDENT_MEMORY)->value = (double)strtoull(resident, NULL, 10) *
							      (double)sysconf(_SC_PAGESIZE);

	struct timespec wall;
	struct timespec boot;
	if (clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
		return;
	double boot_at = (double)wall.tv_sec - (double)boot.tv_sec + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9;
	struct metric *start = metrics_get(metrics, METRIC_START_TIME);
	if (start->value == 0) /* once: the wall clock may be stepped later */
		start->value = boot_at + (double)strtoull(started, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
}

void process_metrics_collect(struct metrics *metrics)
{
	collect_cpu(metrics);
	collect_fds(metrics);
	collect_stat(metrics);
}
