/* SPDX-License-Identifier: MIT */
/* What the ledger suite needs of an implementation: a fresh database for each test, and a look behind the interface. */
#ifndef REELD_TESTS_LEDGER_FACTORY_H
#define REELD_TESTS_LEDGER_FACTORY_H

#include "ledger/ledger.h"

/* A fresh, empty, migrated database; its removal. */
void factory_setup(void);
void factory_teardown(void);
/* One more replica on it. */
struct ledger *factory_open(uv_loop_t *loop, const char *owner);
/* Lets `ms` pass for leases and for attempts that wait. */
void factory_pass_time(int64_t ms);
/* The first column of the first row, as text ("" for NULL and for no row); valid until the next call. Also for statements without rows. */
const char *factory_sql(const char *sql);
/* calls.tags of that call. */
void factory_set_tags(const char *twilio_sid, const char *first, const char *second);

#endif
