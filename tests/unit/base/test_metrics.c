/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *render(struct metrics *metrics, enum metrics_format format)
{
	size_t len;
	char *text = metrics_render(metrics, format, &len);
	cr_assert_not_null(text);
	cr_assert_eq(strlen(text), len);
	return text;
}

static void assert_has(const char *text, const char *line)
{
	cr_expect_not_null(strstr(text, line), "\n%s\nis not in\n%s", line, text);
}

static void fill(struct metrics *metrics)
{
	metrics_get(metrics, METRIC_BUILD_INFO, "1.0")->value = 1;
	metrics_get(metrics, METRIC_WEBHOOKS, "recording", "200", "accepted")->value = 3;
	metrics_get(metrics, METRIC_WEBHOOKS, "recording", "403", "invalid_signature")->value++;
	metrics_get(metrics, METRIC_INBOX_EVENTS)->value = 0.25;
	struct histogram *commit = metrics_histogram(metrics, METRIC_INBOX_COMMIT);
	histogram_observe(commit, 0.0001);
	histogram_observe(commit, 0.0002);
	histogram_observe(commit, 99);
	histogram_observe(metrics_histogram(metrics, METRIC_INBOX_BATCH), 64);
	histogram_observe(metrics_histogram(metrics, METRIC_STEP_DURATION, "transfer"), 1.5);
}

Test(metrics, prometheus_text)
{
	struct metrics *metrics = metrics_new();
	fill(metrics);
	char *text = render(metrics, METRICS_PROMETHEUS);
	assert_has(text, "# HELP reeld_webhooks_total Webhook requests answered.\n# TYPE reeld_webhooks_total counter\n"
			 "reeld_webhooks_total{endpoint=\"recording\",status=\"200\",outcome=\"accepted\"} 3\n"
			 "reeld_webhooks_total{endpoint=\"recording\",status=\"403\",outcome=\"invalid_signature\"} 1\n");
	assert_has(text, "\nreeld_inbox_events 0.25\n");
	assert_has(text,
		   "reeld_inbox_commit_seconds_bucket{le=\"0.0001\"} 1\nreeld_inbox_commit_seconds_bucket{le=\"0.00025\"} 2\n");
	assert_has(text, "reeld_inbox_commit_seconds_bucket{le=\"10\"} 2\nreeld_inbox_commit_seconds_bucket{le=\"+Inf\"} 3\n"
			 "reeld_inbox_commit_seconds_sum 99.0003\nreeld_inbox_commit_seconds_count 3\n");
	assert_has(text, "reeld_inbox_batch_events_bucket{le=\"32\"} 0\nreeld_inbox_batch_events_bucket{le=\"64\"} 1\n");
	assert_has(text, "reeld_step_duration_seconds_bucket{step=\"transfer\",le=\"1\"} 0\n"
			 "reeld_step_duration_seconds_bucket{step=\"transfer\",le=\"2.5\"} 1\n");
	cr_expect_null(strstr(text, "reeld_retries_total"), "a family without children is not exported");
	cr_expect_null(strstr(text, "# EOF"));
	free(text);
	metrics_free(&metrics);
	cr_expect_null(metrics);
	metrics_free(&metrics);
}

Test(metrics, openmetrics_text_names_counter_families_without_total_and_ends_with_eof)
{
	struct metrics *metrics = metrics_new();
	fill(metrics);
	char *text = render(metrics, METRICS_OPENMETRICS);
	assert_has(text, "# TYPE reeld_webhooks counter\nreeld_webhooks_total{endpoint=");
	assert_has(text, "reeld_inbox_batch_events_bucket{le=\"64.0\"} 1\n");
	assert_has(text, "reeld_inbox_commit_seconds_bucket{le=\"2.5\"} 2\n");
	cr_expect_str_eq(text + strlen(text) - 6, "# EOF\n");
	free(text);
	metrics_free(&metrics);
}

Test(metrics, the_same_values_give_the_same_child)
{
	struct metrics *metrics = metrics_new();
	struct metric *first = metrics_get(metrics, METRIC_RETRIES, "transfer", "timeout");
	cr_expect_eq(metrics_get(metrics, METRIC_RETRIES, "transfer", "timeout"), first);
	cr_expect_neq(metrics_get(metrics, METRIC_RETRIES, "transfer", "reset"), first);
	cr_expect_neq(metrics_get(metrics, METRIC_RETRIES, "transferti", "meout"), first);
	metrics_free(&metrics);
}

Test(metrics, a_family_can_be_summed)
{
	struct metrics *metrics = metrics_new();
	cr_assert_eq(metrics_sum(metrics, METRIC_WEBHOOKS), 0);
	fill(metrics);
	cr_assert_eq(metrics_sum(metrics, METRIC_WEBHOOKS), 4);
	cr_assert_eq(metrics_sum(metrics, METRIC_RETRIES), 0);
	metrics_free(&metrics);
}

Test(metrics, label_values_are_escaped)
{
	struct metrics *metrics = metrics_new();
	metrics_get(metrics, METRIC_BUILD_INFO, "a\"b\\c\nd")->value = 1;
	char *text = render(metrics, METRICS_PROMETHEUS);
	assert_has(text, "reeld_build_info{version=\"a\\\"b\\\\c\\nd\"} 1\n");
	free(text);
	metrics_free(&metrics);
}

Test(metrics, numbers_are_exact_and_special_ones_have_their_names)
{
	static const struct {
		double value;
		const char *line;
	} rows[] = {{9007199254740991.0, " 9007199254740991\n"},
		    {0.1, " 0.1\n"},
		    {1.0 / 3, " 0.33333333333333331\n"},
		    {1e21, " 1e+21\n"},
		    {-2, " -2\n"},
		    {INFINITY, " +Inf\n"},
		    {-INFINITY, " -Inf\n"},
		    {NAN, " NaN\n"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct metrics *metrics = metrics_new();
		metrics_get(metrics, METRIC_INBOX_OLDEST)->value = rows[i].value;
		char *text = render(metrics, METRICS_PROMETHEUS);
		assert_has(text, rows[i].line);
		free(text);
		metrics_free(&metrics);
	}
}

Test(metrics, the_257th_child_of_a_family_goes_where_nobody_looks)
{
	struct metrics *metrics = metrics_new();
	struct metric *last = NULL;
	for (int i = 0; i < 256; i++) {
		char reason[16];
		snprintf(reason, sizeof(reason), "r%d", i);
		last = metrics_get(metrics, METRIC_RETRIES, "step", reason);
	}
	struct metric *overflow = metrics_get(metrics, METRIC_RETRIES, "step", "one too many");
	cr_expect_neq(overflow, last);
	overflow->value++;
	char *text = render(metrics, METRICS_PROMETHEUS);
	cr_expect_null(strstr(text, "one too many"));
	assert_has(text, "reason=\"r255\"");
	free(text);
	metrics_free(&metrics);
}

Test(metrics, an_empty_registry_is_an_empty_text)
{
	struct metrics *metrics = metrics_new();
	char *text = render(metrics, METRICS_PROMETHEUS);
	cr_expect_str_empty(text);
	free(text);
	metrics_free(&metrics);
}

Test(metrics, a_wrong_number_of_labels_is_a_broken_invariant, .signal = SIGABRT)
{
	struct metrics *metrics = metrics_new();
	metrics_get(metrics, METRIC_RETRIES, "only one");
}

/* Every family with a child, given to Prometheus' own checker. */
Test(metrics, promtool_finds_nothing_to_say)
{
	if (access("/usr/bin/promtool", X_OK) != 0)
		cr_skip("promtool is not installed");
	struct metrics *metrics = metrics_new();
	static const struct {
		const char *type;
		const char *labels;
	} families[METRIC_COUNT] = {
#define METRIC(ID, TYPE, name, labels, help) {#TYPE, labels},
#include "base/metrics.def"
#undef METRIC
	};
	for (int id = 0; id < METRIC_COUNT; id++) {
		static const char *const values[] = {"a", "b", "c", "d"};
		size_t count = families[id].labels[0] != '\0';
		for (const char *p = families[id].labels; *p != '\0'; p++)
			count += *p == ',';
		if (strncmp(families[id].type, "HISTOGRAM", 9) == 0)
			histogram_observe(metrics_histogram_n(metrics, (enum metric_id)id, count, values), 1);
		else
			metrics_get_n(metrics, (enum metric_id)id, count, values)->value = 1;
	}
	char *text = render(metrics, METRICS_PROMETHEUS);
	FILE *promtool = popen("/usr/bin/promtool check metrics", "w");
	cr_assert_not_null(promtool);
	fputs(text, promtool);
	int status = pclose(promtool);
	cr_expect_eq(status, 0, "promtool: exit %d", WEXITSTATUS(status));
	free(text);
	metrics_free(&metrics);
}
