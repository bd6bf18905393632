/* SPDX-License-Identifier: MIT */
/* A Redis of the test's own, which can be killed, hung and started again at the same place. It dies with the test. */
#ifndef REELD_TESTS_LOOP_SUPPORT_REDIS_SERVER_H
#define REELD_TESTS_LOOP_SUPPORT_REDIS_SERVER_H

#include <sys/types.h>

struct redis_server {
	char directory[64];
	char socket[96];
	int port;
	pid_t pid;
	void *admin;
};

/* Starts it (again) and waits until it listens. Zero the struct before the first time. */
void redis_server_start(struct redis_server *server);
void redis_server_signal(struct redis_server *server, int number);
void redis_server_kill(struct redis_server *server);
/* Kills it and removes its directory. */
void redis_server_remove(struct redis_server *server);
/* One command on a connection of the test's own, as printf formats it; the answer as text, valid until the next one. "(nil)" for none. */
const char *redis_server_do(struct redis_server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
