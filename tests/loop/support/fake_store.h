/* SPDX-License-Identifier: MIT */
/*
 * A store in memory that keeps digests instead of bytes, can be slow, fails on demand and checks the order of a put: open, writes
 * one at a time, commit or abort.
 */
#ifndef REELD_TESTS_LOOP_SUPPORT_FAKE_STORE_H
#define REELD_TESTS_LOOP_SUPPORT_FAKE_STORE_H

#include "base/soon.h"
#include "store/store.h"

enum fake_store_op { FAKE_OPEN, FAKE_WRITE, FAKE_COMMIT, FAKE_ABORT, FAKE_VERIFY };

struct fake_object {
	char key[512];
	char content_type[32];
	char channels[16];
	char encryption[1024]; /* type, public key SID, sealed key and IV with spaces between; "": none */
	int64_t announced;
	struct store_digest digest;
	unsigned puts; /* commits under this key */
};

struct fake_store {
	struct store store;
	uv_loop_t *loop;
	struct soon soon;
	struct soon_item tick;
	struct list waiting; /* operations on their way */
	struct fake_object *objects;
	size_t count, capacity;
	unsigned ops[FAKE_VERIFY + 1];
	unsigned open_puts; /* opened, neither committed nor aborted */
	unsigned most_open_puts;
	unsigned slow_turns; /* turns of the loop before an operation is done */
	int64_t bytes_written;
	/* 0, or how the operation fails. NULL: never. */
	int (*fault)(struct fake_store *fake, enum fake_store_op op, const char *key);
	bool corrupt_next; /* the next commit finds other bytes than were sent */
	void (*committed)(struct fake_store *fake, struct fake_object *object);
	void *data;
};

void fake_store_init(struct fake_store *fake, uv_loop_t *loop);
void fake_store_close(struct fake_store *fake, uv_close_cb closed);
/* NULL when there is none. */
struct fake_object *fake_store_find(struct fake_store *fake, const char *key);

#endif
