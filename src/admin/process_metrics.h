/* SPDX-License-Identifier: MIT */
/* The standard process_* metrics, read from the kernel when somebody scrapes. Source: Prometheus client guidelines, "process metrics". */
#ifndef REELD_ADMIN_PROCESS_METRICS_H
#define REELD_ADMIN_PROCESS_METRICS_H

#include "base/metrics.h"

/* Sets the process_* gauges. Reads procfs, which does not block. What cannot be read is left as it was. */
void process_metrics_collect(struct metrics *metrics);

#endif
