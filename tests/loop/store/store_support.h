/* SPDX-License-Identifier: MIT */
/* One loop, one store on it, and operations that are waited for; each checks that `done` comes once and not inside the call. */
#ifndef REELD_TESTS_LOOP_STORE_SUPPORT_H
#define REELD_TESTS_LOOP_STORE_SUPPORT_H

#include "store/store.h"

#include <stdbool.h>

extern uv_loop_t loop;
extern struct store *store;

struct put {
	struct store_put put;
	unsigned done;
	int status;
};

struct request {
	struct store_request request;
	unsigned done;
	int status;
};

void support_init_loop(void);
/* Turns the loop until *flag. */
void support_run_until(const bool *flag);
/* Closes `store`, when it is not closed yet, and waits for it. */
void support_close_store(void);
/* uv_loop_close must be content. */
void support_close_loop(void);
extern bool support_store_closed;
void support_on_closed(void *data); /* sets it */

/* Starts an operation without waiting. */
void put_start_open(struct put *put, const struct store_object *object);
void put_start_write(struct put *put, struct slice bytes);
void put_start_commit(struct put *put, const struct store_digest *digest);
void put_start_abort(struct put *put);
void request_start(struct request *request, enum store_op op, const char *key);
/* Until `done`; the status. */
int put_wait(struct put *put);
int request_wait(struct request *request);

/* Both. */
int put_open(struct put *put, const char *key, int64_t length);
int put_open_object(struct put *put, const struct store_object *object);
int put_write(struct put *put, struct slice bytes);
int put_write_text(struct put *put, const char *text);
int put_commit(struct put *put, const struct store_digest *digest);
int put_abort(struct put *put);
int submit(struct request *request, enum store_op op, const char *key);

struct store_digest digest_of(struct slice bytes);
/* Open, write in pieces of `piece` bytes, commit with the right digest. The first status that is not 0, after an abort. */
int put_object(const struct store_object *object, struct slice bytes, size_t piece, struct error *error);
int put_text(const char *key, const char *text);
/* STORE_VERIFY of exactly these bytes. */
int verify_bytes(const char *key, struct slice bytes);
/* Bytes that are the same each time for a seed. The caller frees them. */
char *make_bytes(size_t len, unsigned seed);

#endif
