/* SPDX-License-Identifier: MIT */
#include "env_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct env_file file;
static struct error error;

static void parse(const char *text)
{
	env_file_free(&file);
	cr_assert_eq(env_file_parse(&file, slice_from_cstr(text), "f", &error), 0, "%s", error.detail);
}

static void cr_value(const char *name, const char *value)
{
	const char *got = env_file_get(&file, name);
	cr_assert_not_null(got, "%s", name);
	cr_expect_str_eq(got, value);
}

Test(env_file, lines_comments_and_spaces)
{
	parse("# comment\n\n  A=1  \nexport B= two words \r\n\tC=\nD=x=y # not a comment\n#E=5\n_f9=last");
	cr_value("A", "1");
	cr_value("B", "two words");
	cr_value("C", "");
	cr_value("D", "x=y # not a comment");
	cr_value("_f9", "last");
	cr_expect_null(env_file_get(&file, "E"));
	cr_expect_eq(file.count, 5);
	env_file_free(&file);
	cr_expect_null(env_file_get(&file, "A"));
}

Test(env_file, quotes)
{
	parse("A='as $it \\n stands \"'\nB=\"a\\nb \\\"c\\\" \\\\ \\$d \\x\"\nC=''\nD=it's\n");
	cr_value("A", "as $it \\n stands \"");
	cr_value("B", "a\nb \"c\" \\ $d \\x");
	cr_value("C", "");
	cr_value("D", "it's");
	env_file_free(&file);
}

Test(env_file, the_last_of_two_lines_counts)
{
	parse("A=1\nA=2\n");
	cr_value("A", "2");
	env_file_free(&file);
}

Test(env_file, nothing_is_a_file_too)
{
	parse("");
	cr_expect_eq(file.count, 0);
	parse("\n\n");
	cr_expect_eq(file.count, 0);
}

Test(env_file, a_bad_line_is_named_but_its_value_not_shown)
{
	static const struct {
		const char *text;
		const char *message;
	} rows[] = {
		{"A=1\nhunter2\n", "f:2: expected KEY=VALUE; example: LISTEN=0.0.0.0:8080"},
		{"=hunter2",
		 "f:1: the key may hold letters, digits and _ only, without space before the =; example: LISTEN=0.0.0.0:8080"},
		{"A =hunter2",
		 "f:1: the key may hold letters, digits and _ only, without space before the =; example: LISTEN=0.0.0.0:8080"},
		{"1A=hunter2",
		 "f:1: the key may hold letters, digits and _ only, without space before the =; example: LISTEN=0.0.0.0:8080"},
		{"A=\"hunter2", "f:1: the quote is not closed; example: LISTEN=0.0.0.0:8080"},
		{"A=\"hunter2\\\"", "f:1: the quote is not closed; example: LISTEN=0.0.0.0:8080"},
		{"A='hunter2' x", "f:1: there is text behind the closing quote; example: LISTEN=0.0.0.0:8080"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(env_file_parse(&file, slice_from_cstr(rows[i].text), "f", &error), ERR_CONFIG);
		cr_expect_str_eq(error.detail, rows[i].message);
		cr_expect_eq(file.count, 0);
	}
}

Test(env_file, text_files_have_a_limit_and_no_nul)
{
	char path[] = "/tmp/reeld-text-XXXXXX";
	char *text;
	size_t len;
	int fd = mkstemp(path);
	cr_assert_eq(write(fd, "12345678", 8), 8);
	cr_assert_eq(text_file_read(path, 8, &text, &len, &error), 0);
	cr_expect_str_eq(text, "12345678");
	cr_expect_eq(len, 8);
	free(text);
	cr_expect_eq(text_file_read(path, 7, &text, &len, &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, "longer than allowed"));
	cr_assert_eq(pwrite(fd, "\0", 1, 3), 1);
	cr_expect_eq(text_file_read(path, 8, &text, &len, &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, "NUL"));
	cr_expect_eq(text_file_read("/", 8, &text, &len, &error), ERR_CONFIG);
	close(fd);
	unlink(path);
}
