/* SPDX-License-Identifier: MIT */
/*
 * Names and numbers of the processes that share a DATA_DIR (WORKERS). Pure.
 *
 * Worker 0 has the journal that a single process has, so that going from one to several moves nothing.
 */
#ifndef REELD_WORKERS_H
#define REELD_WORKERS_H

#include <stddef.h>
#include <stdint.h>

#define WORKERS_MAX 64

/* DATA_DIR/journal, or DATA_DIR/worker-K/journal. 0 or ERR_LIMIT. */
int workers_journal_path(const char *data_dir, unsigned number, char *out, size_t size);
/* The K of "worker-K"; 0 for every other name. */
unsigned workers_parse_directory(const char *name);
/* ADMIN_LISTEN with the port of worker K: K more, but any free one stays any (port 0). 0 or ERR_LIMIT (no such port). */
int workers_admin_address(const char *address, unsigned number, char *out, size_t size);
/* "2/4": how the supervisor tells a worker which one it is. 0 or ERR_LIMIT; ERR_INVALID for a text that is not of that form. */
int workers_format_place(unsigned number, unsigned count, char *out, size_t size);
int workers_parse_place(const char *text, unsigned *number, unsigned *count);
/* How long to wait before a worker is started again that ended `ends` times in a row, from 1. In ms. */
uint64_t workers_restart_delay(unsigned ends);

#endif
