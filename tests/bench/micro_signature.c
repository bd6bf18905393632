/* SPDX-License-Identifier: MIT */
/*
 * What one signed webhook costs in user code: parsing the form and verifying its signature, together and apart, in nanoseconds
 * (the best and the median of several rounds, so that a busy machine disturbs little). Not a test: run it by hand.
 *
 *   ninja -C build tests/bench/micro_signature && build/tests/bench/micro_signature
 */
#include <reeld/form.h>
#include <reeld/signature.h>

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 15
#define CALLS 20000
#define MAX_FIELDS 128

/* A recording callback in the order and encoding of a real one, 12 fields; SIDs and numbers are made up. */
static const char form[] =
	"RecordingSource=StartCallRecordingAPI&RecordingTrack=both&RecordingSid=RE0123456789abcdef0123456789abcdef"
	"&RecordingUrl=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2FAC0123456789abcdef0123456789abcdef"
	"%2FRecordings%2FRE0123456789abcdef0123456789abcdef&RecordingStatus=completed&RecordingChannels=2&ErrorCode=0"
	"&CallSid=CA0123456789abcdef0123456789abcdef&RecordingStartTime=Wed%2C%2020%20Apr%202022%2023%3A45%3A25%20%2B0000"
	"&AccountSid=AC0123456789abcdef0123456789abcdef&RecordingDuration=11&X=1";
static const char base[] = "https://recordings.example.com";
static const char target[] = "/api/twilio/recording";
static const char token[] = "0123456789abcdef0123456789abcdef";

struct work {
	struct reeld_signature_key *key;
	char signature[REELD_SIGNATURE_SIZE];
	struct reeld_form_field fields[MAX_FIELDS];
	size_t count;
	char scratch[sizeof(form)];
};

static void fail(const char *what)
{
	fprintf(stderr, "micro_signature: %s failed\n", what);
	exit(1);
}

static void parse(struct work *work)
{
	if (reeld_form_parse(form, sizeof(form) - 1, work->fields, MAX_FIELDS, work->scratch, sizeof(work->scratch),
			     &work->count) != REELD_FORM_OK)
		fail("parse");
}

static struct reeld_signature_request request_of(struct work *work)
{
	return (struct reeld_signature_request){.base = base,
						.base_len = sizeof(base) - 1,
						.target = target,
						.target_len = sizeof(target) - 1,
						.fields = work->fields,
						.field_count = work->count};
}

static void verify(struct work *work)
{
	struct reeld_signature_request request = request_of(work);

	if (!reeld_signature_verify(work->key, &request, work->signature, REELD_SIGNATURE_SIZE - 1))
		fail("verify");
}

static void parse_and_verify(struct work *work)
{
	parse(work);
	verify(work);
}

static void refuse(struct work *work)
{
	struct reeld_signature_request request = request_of(work);

	if (reeld_signature_verify(work->key, &request, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", REELD_SIGNATURE_SIZE - 1))
		fail("refuse");
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, struct work *work, void (*step)(struct work *))
{
	double ns[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = now_ns();
		for (int i = 0; i < CALLS; i++)
			step(work);
		ns[round] = (double)(now_ns() - start) / CALLS;
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), compare_doubles);
	printf("%-34s best %7.0f ns  median %7.0f ns\n", name, ns[0], ns[ROUNDS / 2]);
}

int main(void)
{
	static struct work work;

	work.key = reeld_signature_key_new(token, sizeof(token) - 1);
	if (work.key == NULL)
		fail("key");
	parse(&work);
	struct reeld_signature_request request = request_of(&work);
	if (!reeld_signature_sign(work.key, &request, work.signature))
		fail("sign");

	printf("form of %zu bytes, %zu fields\n", sizeof(form) - 1, work.count);
	measure("form parse", &work, parse);
	measure("verify, fields already sorted", &work, verify);
	measure("form parse + verify", &work, parse_and_verify);
	measure("verify, wrong signature (2 URLs)", &work, refuse);
	reeld_signature_key_free(&work.key);
	return 0;
}
