/* SPDX-License-Identifier: MIT */
/*
 * What the sandbox does wrong, and when. A plan is parsed from one text, and every decision is a function of the seed, the recording and the
 * number of the attempt: the same run misbehaves the same way again. Pure.
 *
 * The text is a comma list of names, each with an optional ":RATE" between 0 and 1. A rate holds for its own name and for the names before it that
 * carry none; names behind the last rate get 1. "429:0.1,500,reset:0.3" is 429 at 0.1, 500 and reset at 0.3.
 *
 * RATE is the probability that a request (dup, reorder: a recording) is hit. Only the first `attempts` requests of a kind for a recording can be hit, so that
 * even a rate of 1 heals; 0 makes faults last for ever.
 */
#ifndef REELD_SANDBOX_FAULTS_H
#define REELD_SANDBOX_FAULTS_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* FAULT(NAME, "name", where it can strike): MEDIA downloads only, ANY request for a recording, call or its media, CALLBACK deliveries. */
#define FAULTS(FAULT)                              \
	FAULT(404_FIRST, "404-first", MEDIA)       \
	FAULT(429, "429", ANY)                     \
	FAULT(500, "500", ANY)                     \
	FAULT(RESET, "reset", ANY)                 \
	FAULT(STALL, "stall", MEDIA)               \
	FAULT(SLOW, "slow", MEDIA)                 \
	FAULT(TRUNCATE, "truncate", MEDIA)         \
	FAULT(WRONG_LENGTH, "wrong-length", MEDIA) \
	FAULT(XML_BODY, "xml-body", MEDIA)         \
	FAULT(REDIRECT, "redirect", MEDIA)         \
	FAULT(DUP, "dup", CALLBACK)                \
	FAULT(REORDER, "reorder", CALLBACK)        \
	FAULT(LOST, "lost", CALLBACK)              \
	FAULT(TRUNK, "trunk", CALLBACK)

enum fault {
	FAULT_NONE = -1,
#define FAULT_ENUM(NAME, name, where) FAULT_##NAME,
	FAULTS(FAULT_ENUM)
#undef FAULT_ENUM
		FAULT_COUNT
};

/* Requests are counted by kind and recording. */
enum fault_request {
	FAULT_REQUEST_MEDIA,
	FAULT_REQUEST_RECORDING,
	FAULT_REQUEST_CALL,
	FAULT_REQUEST_DELETE,
	FAULT_REQUEST_KINDS
};

struct fault_plan {
	double rate[FAULT_COUNT];
	unsigned attempts; /* how many requests of a kind for a recording can be hit; 0: all */
};

#define FAULT_DEFAULT_ATTEMPTS 2

/* "404-first" */
const char *fault_name(enum fault fault);

/* Replaces the plan's rates; "" is no faults. 0, or ERR_INVALID with a message and the plan unchanged. */
int fault_plan_parse(struct fault_plan *plan, struct slice text, struct error *error);

/* What to do with request number `attempt` (from 0) of that kind for recording `index`. When several faults strike, one of them is taken. */
enum fault fault_decide(const struct fault_plan *plan, uint64_t seed, uint64_t index, enum fault_request kind, unsigned attempt);

/* How many further times the callback of a recording is sent: 0, or 1 to 3 when dup strikes. */
unsigned fault_duplicates(const struct fault_plan *plan, uint64_t seed, uint64_t index);
/* Whether duplicate number `copy` (from 0) comes late, behind the callbacks of other recordings, rather than at the same time. */
bool fault_duplicate_late(uint64_t seed, uint64_t index, unsigned copy);
/* Whether an in-progress event follows the completed one of a recording. */
bool fault_reordered(const struct fault_plan *plan, uint64_t seed, uint64_t index);
/* Whether the completed callback of a recording never arrives; whether it was made by a SIP trunk, which sends no callback at all. */
bool fault_lost(const struct fault_plan *plan, uint64_t seed, uint64_t index);
bool fault_trunk(const struct fault_plan *plan, uint64_t seed, uint64_t index);
/* A coin that belongs to a hit: which of two ways the fault takes. */
bool fault_variant(uint64_t seed, uint64_t index, unsigned attempt);

#endif
