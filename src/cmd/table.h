/* SPDX-License-Identifier: MIT */
/*
 * Rows for people or for programs: aligned columns under a heading when `out` is a terminal; else one line a row, cells separated by tabs, no heading.
 * Control characters in cells become spaces.
 */
#ifndef REELD_CMD_TABLE_H
#define REELD_CMD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_MAX_COLUMNS 8
#define TABLE_CELL_SIZE 1024

struct table {
	FILE *out;
	bool aligned;
	size_t columns;
	const char *const *headings;
	int width[TABLE_MAX_COLUMNS];
	char cell[TABLE_MAX_COLUMNS][TABLE_CELL_SIZE]; /* the row being filled */
	size_t filled;
};

/* `widths`: expected, for alignment; a longer cell pushes the rest of its row. */
void table_init(struct table *table, FILE *out, bool aligned, size_t columns, const char *const *headings, const int *widths);
/* Fills the next cell; the row is printed with its last one. "" shows as "-" in aligned output. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A cell with an instant: "2026-11-23T23:10:05Z"; -1: none. */
void table_time(struct table *table, long long wall_ms);

#endif
