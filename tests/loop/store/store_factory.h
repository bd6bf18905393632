/* SPDX-License-Identifier: MIT */
/* What the suite of every store needs of an implementation: an empty one on the support's loop, and a look behind the interface. */
#ifndef REELD_TESTS_LOOP_STORE_FACTORY_H
#define REELD_TESTS_LOOP_STORE_FACTORY_H

#include "loop/store/store_support.h"

/* Initialises the loop and opens `store`, with nothing below factory_key. */
void factory_setup(void);
/* Closes all of it; the loop must be content. */
void factory_teardown(void);
/* The key of a name in this test's part of the store; valid until the fourth next call. */
const char *factory_key(const char *name);
bool factory_exists(const char *key);
bool factory_holds(const char *key, const char *text);
/* What uploads that are not over have left. */
unsigned factory_leftovers(void);
const char *factory_kind(void);

#endif
