/* SPDX-License-Identifier: MIT */
#include "cmd/table.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdarg.h>
#include <string.h>

static void print_row(struct table *table)
{
	for (size_t i = 0; i < table->columns; i++) {
		bool last = i + 1 == table->columns;
		if (!table->aligned)
			fprintf(table->out, "%s%c", table->cell[i], last ? '\n' : '\t');
		else if (last)
			fprintf(table->out, "%s\n", table->cell[i]);
		else
			fprintf(table->out, "%-*s  ", table->width[i], table->cell[i]);
	}
	table->filled = 0;
}

void table_init(struct table *table, FILE *out, bool aligned, size_t columns, const char *const *headings, const int *widths)
{
	REQUIRE(columns > 0 && columns <= TABLE_MAX_COLUMNS);
	table->out = out;
	table->aligned = aligned;
	table->columns = columns;
	table->headings = headings;
	table->filled = 0;
	memcpy(table->width, widths, columns * sizeof(widths[0]));
	for (size_t i = 0; aligned && i < columns; i++)
		table_cell(table, "%s", headings[i]);
}

void table_cell(struct table *table, const char *format, ...)
{
	char *cell = table->cell[table->filled];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(cell, TABLE_CELL_SIZE, format, args);
	va_end(args);
	if (len <= 0)
		snprintf(cell, TABLE_CELL_SIZE, "%s", table->aligned ? "-" : "");
	for (char *c = cell; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
	if (++table->filled == table->columns)
		print_row(table);
}

void table_time(struct table *table, long long wall_ms)
{
	char text[CLOCK_ISO8601_SIZE];
	if (wall_ms == -1) {
		table_cell(table, "%s", "");
		return;
	}
	clock_format_iso8601(wall_ms, text);
	table_cell(table, "%.19sZ", text);
}
