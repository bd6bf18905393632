/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"

#include "base/buffer.h"
#include "base/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHILDREN_MAX 256
#define LABELS_MAX 4
#define RENDER_MAX ((size_t)16 * 1024 * 1024)

enum metric_type { COUNTER, GAUGE, HISTOGRAM, HISTOGRAM_SLOW, HISTOGRAM_COUNT };

/* Upper bounds of the buckets; +Inf is implied. */
static const double bounds_fast[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
				     0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
static const double bounds_slow[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600};
static const double bounds_count[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};

#define BUCKETS_MAX 16
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
_Static_assert(COUNT_OF(bounds_fast) <= BUCKETS_MAX && COUNT_OF(bounds_slow) <= BUCKETS_MAX &&
		       COUNT_OF(bounds_count) <= BUCKETS_MAX,
	       "a histogram has room for every bound");

struct histogram {
	const double *bounds;
	size_t bound_count;
	uint64_t buckets[BUCKETS_MAX + 1]; /* each its own; the last is above every bound */
	double sum;
};

static const struct family {
	enum metric_type type;
	const char *name;
	const char *labels; /* comma list */
	const char *help;
} families[METRIC_COUNT] = {
#define METRIC(ID, TYPE, name, labels, help) [METRIC_##ID] = {TYPE, name, labels, help},
#include "base/metrics.def"
#undef METRIC
};

struct child {
	struct child *next;
	union {
		struct metric metric;
		struct histogram histogram;
	};
	char values[]; /* each label value with its NUL */
};

struct metrics {
	struct {
		struct child *first;
		struct child **last;
		size_t count;
	} families[METRIC_COUNT];
	struct metric overflow_metric; /* where those go that find no room */
	struct histogram overflow_histogram;
};

static bool is_histogram(enum metric_id id)
{
	return families[id].type >= HISTOGRAM;
}

static void histogram_init(struct histogram *histogram, enum metric_type type)
{
	histogram->bounds = type == HISTOGRAM_COUNT ? bounds_count : type == HISTOGRAM_SLOW ? bounds_slow : bounds_fast;
	histogram->bound_count = type == HISTOGRAM_COUNT  ? COUNT_OF(bounds_count)
				 : type == HISTOGRAM_SLOW ? COUNT_OF(bounds_slow)
							  : COUNT_OF(bounds_fast);
}

struct metrics *metrics_new(void)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	if (metrics == NULL)
		return NULL;
	for (int id = 0; id < METRIC_COUNT; id++)
		metrics->families[id].last = &metrics->families[id].first;
	histogram_init(&metrics->overflow_histogram, HISTOGRAM);
	return metrics;
}

void metrics_free(struct metrics **metrics)
{
	if (*metrics == NULL)
		return;
	for (int id = 0; id < METRIC_COUNT; id++) {
		for (struct child *child = (*metrics)->families[id].first, *next; child != NULL; child = next) {
			next = child->next;
			free(child);
		}
	}
	free(*metrics);
	*metrics = NULL;
}

static size_t label_count(const char *labels)
{
	size_t count = labels[0] != '\0';
	for (; *labels != '\0'; labels++)
		count += *labels == ',';
	return count;
}

static bool child_has_values(const struct child *child, size_t count, const char *const *values)
{
	const char *own = child->values;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(own, values[i]) != 0)
			return false;
		own += strlen(own) + 1;
	}
	return true;
}

static struct child *child_new(enum metric_id id, size_t count, const char *const *values)
{
	size_t size = 0;
	for (size_t i = 0; i < count; i++)
		size += strlen(values[i]) + 1;
	struct child *child = calloc(1, sizeof(*child) + size);
	if (child == NULL)
		return NULL;
	if (is_histogram(id))
		histogram_init(&child->histogram, families[id].type);
	char *out = child->values;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(values[i]) + 1;
		memcpy(out, values[i], len);
		out += len;
	}
	return child;
}

/* The child with these values, made when it is new; NULL when it cannot be made. */
static struct child *child_get(struct metrics *metrics, enum metric_id id, size_t count, const char *const *values)
{
	REQUIRE(count == label_count(families[id].labels) && count <= LABELS_MAX);
	for (struct child *child = metrics->families[id].first; child != NULL; child = child->next) {
		if (child_has_values(child, count, values))
			return child;
	}
	if (metrics->families[id].count == CHILDREN_MAX)
		return NULL;
	struct child *child = child_new(id, count, values);
	if (child == NULL)
		return NULL;
	*metrics->families[id].last = child;
	metrics->families[id].last = &child->next;
	metrics->families[id].count++;
	return child;
}

struct metric *metrics_get_n(struct metrics *metrics, enum metric_id id, size_t count, const char *const *values)
{
	REQUIRE(!is_histogram(id));
	struct child *child = child_get(metrics, id, count, values);
	return child != NULL ? &child->metric : &metrics->overflow_metric;
}

struct histogram *metrics_histogram_n(struct metrics *metrics, enum metric_id id, size_t count, const char *const *values)
{
	REQUIRE(is_histogram(id));
	struct child *child = child_get(metrics, id, count, values);
	return child != NULL ? &child->histogram : &metrics->overflow_histogram;
}

double metrics_sum(const struct metrics *metrics, enum metric_id id)
{
	double sum = 0;
	REQUIRE(!is_histogram(id));
	for (const struct child *child = metrics->families[id].first; child != NULL; child = child->next)
		sum += child->metric.value;
	return sum;
}

void histogram_observe(struct histogram *histogram, double value)
{
	size_t i = 0;
	while (i < histogram->bound_count && value > histogram->bounds[i])
		i++;
	histogram->buckets[i]++;
	histogram->sum += value;
}

/* ---- Rendering ---- */

static void put_number(struct buffer *out, double value)
{
	if (isnan(value)) {
		buffer_append_cstr(out, "NaN");
	} else if (isinf(value)) {
		buffer_append_cstr(out, value > 0 ? "+Inf" : "-Inf");
	} else {
		/* The shorter spelling, when it reads back as the same number. */
		char text[32];
		int len = snprintf(text, sizeof(text), "%.15g", value);
		if (strtod(text, NULL) != value)
			len = snprintf(text, sizeof(text), "%.17g", value);
		buffer_append(out, text, (size_t)len);
	}
}

static void put_escaped(struct buffer *out, const char *text, bool quote_too)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			buffer_append_cstr(out, "\\n");
		else if (*text == '\\' || (quote_too && *text == '"'))
			buffer_printf(out, "\\%c", *text);
		else
			buffer_append_char(out, *text);
	}
}

/* {a="x",b="y"} and `le` behind them when it is not NULL; nothing when there is neither. */
static void put_labels(struct buffer *out, const struct family *family, const struct child *child, const char *le)
{
	const char *label = family->labels;
	const char *value = child->values;
	char separator = '{';
	while (*label != '\0') {
		size_t len = strcspn(label, ",");
		buffer_append_char(out, separator);
		buffer_append(out, label, len);
		buffer_append_cstr(out, "=\"");
		put_escaped(out, value, true);
		buffer_append_char(out, '"');
		separator = ',';
		label += len + (label[len] == ',');
		value += strlen(value) + 1;
	}
	if (le != NULL) {
		buffer_printf(out, "%cle=\"%s\"", separator, le);
		separator = ',';
	}
	if (separator == ',')
		buffer_append_char(out, '}');
}

static void put_histogram(struct buffer *out, const struct family *family, const struct child *child, enum metrics_format format)
{
	const struct histogram *histogram = &child->histogram;
	uint64_t cumulative = 0;
	for (size_t i = 0; i <= histogram->bound_count; i++) {
		char le[32] = "+Inf";
		if (i < histogram->bound_count) {
			double bound = histogram->bounds[i];
			/* OpenMetrics wants its canonical float: "1.0", not "1". */
			bool whole = format == METRICS_OPENMETRICS && bound == floor(bound);
			snprintf(le, sizeof(le), whole ? "%.1f" : "%.15g", bound);
		}
		cumulative += histogram->buckets[i];
		buffer_printf(out, "%s_bucket", family->name);
		put_labels(out, family, child, le);
		buffer_printf(out, " %llu\n", (unsigned long long)cumulative);
	}
	buffer_printf(out, "%s_sum", family->name);
	put_labels(out, family, child, NULL);
	buffer_append_char(out, ' ');
	put_number(out, histogram->sum);
	buffer_printf(out, "\n%s_count", family->name);
	put_labels(out, family, child, NULL);
	buffer_printf(out, " %llu\n", (unsigned long long)cumulative);
}

static void put_family(struct buffer *out, const struct family *family, const struct child *first, enum metrics_format format)
{
	static const char *const type_names[] = {"counter", "gauge", "histogram", "histogram", "histogram"};
	int name_len = (int)strlen(family->name);
	/* In OpenMetrics a counter's family has no _total, only its samples do. */
	if (format == METRICS_OPENMETRICS && family->type == COUNTER)
		name_len -= (int)strlen("_total");
	buffer_printf(out, "# HELP %.*s ", name_len, family->name);
	put_escaped(out, family->help, format == METRICS_OPENMETRICS);
	buffer_printf(out, "\n# TYPE %.*s %s\n", name_len, family->name, type_names[family->type]);
	for (const struct child *child = first; child != NULL; child = child->next) {
		if (family->type >= HISTOGRAM) {
			put_histogram(out, family, child, format);
			continue;
		}
		buffer_append_cstr(out, family->name);
		put_labels(out, family, child, NULL);
		buffer_append_char(out, ' ');
		put_number(out, child->metric.value);
		buffer_append_char(out, '\n');
	}
}

char *metrics_render(const struct metrics *metrics, enum metrics_format format, size_t *len)
{
	struct buffer out;
	buffer_init(&out, RENDER_MAX);
	for (int id = 0; id < METRIC_COUNT; id++) {
		const struct child *first = metrics->families[id].first;
		if (first != NULL)
			put_family(&out, &families[id], first, format);
	}
	if (format == METRICS_OPENMETRICS)
		buffer_append_cstr(&out, "# EOF\n");
	if (out.failed || buffer_cstr(&out) == NULL) {
		buffer_free(&out);
		return NULL;
	}
	*len = out.len;
	return out.data;
}
