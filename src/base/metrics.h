/* SPDX-License-Identifier: MIT */
/*
 * The metrics registry: families from metrics.def, children made on first use. Loop thread only, so a counter is a plain
 * number. Look a child up once and keep the pointer on hot paths; it lives as long as the registry.
 */
#ifndef REELD_BASE_METRICS_H
#define REELD_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric_id {
#define METRIC(ID, TYPE, name, labels, help) METRIC_##ID,
#include "base/metrics.def"
#undef METRIC
	METRIC_COUNT
};

struct metrics;

/* One counter or gauge child. Counters only grow. */
struct metric {
	double value;
};

struct histogram;

struct metrics *metrics_new(void); /* NULL when out of memory */
void metrics_free(struct metrics **metrics);

/*
 * The child of family `id` with these label values, in the family's label order; a family without labels takes none.
 * `metrics_get(m, METRIC_RETRIES, "transfer", "timeout")`. Never NULL: when memory or the limit of 256 children of a family
 * is exhausted, a shared overflow child is returned that is not exported.
 */
struct metric *metrics_get_n(struct metrics *metrics, enum metric_id id, size_t count, const char *const *values);
struct histogram *metrics_histogram_n(struct metrics *metrics, enum metric_id id, size_t count, const char *const *values);
#define METRICS_VALUES(...)                                                              \
	(sizeof((const char *const[]){NULL, ##__VA_ARGS__}) / sizeof(const char *) - 1), \
		((const char *const[]){NULL, ##__VA_ARGS__} + 1)
#define metrics_get(metrics, id, ...) metrics_get_n((metrics), (id), METRICS_VALUES(__VA_ARGS__))
#define metrics_histogram(metrics, id, ...) metrics_histogram_n((metrics), (id), METRICS_VALUES(__VA_ARGS__))

/* The sum over all children of a counter or gauge family; 0 while it has none. */
double metrics_sum(const struct metrics *metrics, enum metric_id id);

/* Adds one observation (seconds, or a count for HISTOGRAM_COUNT). */
void histogram_observe(struct histogram *histogram, double value);

enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };

/*
 * Renders every family that has a child. Returns a malloc'ed text of *len bytes (caller frees), NULL when out of memory.
 * Content types: "text/plain; version=0.0.4; charset=utf-8" and "application/openmetrics-text; version=1.0.0; charset=utf-8".
 */
char *metrics_render(const struct metrics *metrics, enum metrics_format format, size_t *len);

#endif
