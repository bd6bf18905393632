/* SPDX-License-Identifier: MIT */
/*
 * WORKERS above 1: a process that takes no request, starts the workers from its own binary, hands signals on and starts again what ended. Who owns what
 * and what happens when somebody dies: docs/architecture.md, "Workers".
 *
 * Both sides of what they tell each other are here: the worker's call supervisor_greet at its start and supervisor_tell_ready after it, and after each reload.
 */
#ifndef REELD_SUPERVISOR_H
#define REELD_SUPERVISOR_H

#include "app.h"
#include "base/err.h"
#include "config.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Of a process that has been stopping since then: whether one more signal to stop is a second one, which a line on stderr then says. False within a second:
 * that is the first one again, sent to the process and to its group (timeout, shells).
 */
bool supervisor_is_second_signal(uint64_t stopping_ns);

/*
 * Runs until a signal ends it. 0: all workers ended in order. Else an error, with a message unless a worker has told what was wrong. Blocking: owns a loop.
 */
int supervisor_run(const struct config *config, struct error *error);

/*
 * In a worker: reads what `--worker` and `--owner` say, takes over the descriptors, and has the kernel end this process with its supervisor. 0; ERR_INVALID:
 * nobody has started us as a worker.
 */
int supervisor_greet(struct app_worker *worker, const char *place, const char *owner);
void supervisor_tell_ready(void);

#endif
