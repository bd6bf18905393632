/* SPDX-License-Identifier: MIT */
/* A transfer over the real HTTP client and a scripted server, into a store in memory. */
#include "pipeline/transfer.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/turn.h"
#include "loop/support/fake_ledger.h"
#include "loop/support/fake_store.h"
#include "loop/support/peer.h"
#include "twilio/accounts.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* A sanitizer keeps freed memory for a while. */
#ifdef __SANITIZE_ADDRESS__
#define RSS_SLACK_KIB (300 * 1024)
#else
#define RSS_SLACK_KIB (12 * 1024)
#endif
#define KEY "rec/one.wav"
#define MIB ((size_t)1024 * 1024)
#define HEAD(status, type) "HTTP/1.1 " status "\r\nContent-Type: " type "\r\n"
/* A streamed WAV header: no zero byte in it, so that it can be part of a script. */
#define WAV "RIFF\xff\xff\xff\xffWAVE"

static uv_loop_t loop;
static struct soon soon;
static struct fake_store store;
static struct http_client *http;
static struct twilio_accounts *accounts;
static struct twilio_client *twilio;
static struct peer *peer;
static struct chunk_pool chunks;
static struct hasher hasher;
static struct transfer *transfer;
static struct ledger_job work;
static unsigned done;
static int done_status;
static bool inside;

static void set_up(void)
{
	struct error error = {0};
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	REQUIRE(uv_loop_init(&loop) == 0);
	soon_init(&soon, &loop);
	fake_store_init(&store, &loop);
	http = http_client_new(&loop, &(struct http_client_options){0});
	accounts = twilio_accounts_new();
	work = (struct ledger_job){.recording_sid = fake_sid("RE", 1),
				   .account_sid = fake_sid("AC", 1),
				   .call_sid = fake_sid("CA", 1),
				   .duration_s = -1,
				   .start_time_ms = -1};
	REQUIRE(http != NULL && accounts != NULL &&
		twilio_accounts_add(accounts, work.account_sid.text, "0123456789abcdef0123456789abcdef", NULL, NULL, &error) ==
			0);
}

static void on_http_closed(void *data) {}

static void tear_down(void)
{
	if (peer != NULL)
		peer_close(peer);
	transfer_free(&transfer);
	hasher_close(&hasher);
	chunk_pool_free(&chunks);
	twilio_client_free(&twilio);
	twilio_accounts_free(&accounts);
	cr_assert_eq(store.open_puts, 0, "an upload was left open");
	fake_store_close(&store, NULL);
	soon_close(&soon, NULL);
	http_client_close(http, on_http_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(transfer, .init = set_up, .fini = tear_down, .timeout = 60);

static void on_done(struct transfer *of, void *data, int status)
{
	cr_assert_not(inside, "called back from inside a call");
	cr_assert_eq(data, &work);
	done++;
	done_status = status;
}

static void begin(const struct peer_script *scripts, size_t count, size_t buffer)
{
	char base[64];
	if (scripts != NULL)
		peer = peer_new(&loop, "127.0.0.1", scripts, count);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", scripts != NULL ? peer_port(peer) : 1);
	twilio = twilio_client_new(&(struct twilio_client_options){.http = http, .base = base, .accounts = accounts});
	chunk_pool_init(&chunks, transfer_chunk_size(buffer));
	hasher_init(&hasher, &loop, &soon);
	struct transfer_options options = {
		.soon = &soon, .twilio = twilio, .store = &store.store, .chunks = &chunks, .hasher = &hasher};
	REQUIRE(twilio != NULL && transfer_new(&transfer, &options, NULL) == 0);
}

static void start(int channels)
{
	inside = true;
	transfer_start(transfer, &(struct transfer_job){.work = &work, .key = KEY, .format = MEDIA_WAV, .channels = channels},
		       on_done, &work);
	inside = false;
}

static void wait_done(void)
{
	uint64_t give_up = uv_hrtime() + 120000000000ULL; /* of a busy machine */
	while (done == 0) {
		turn_run(&loop);
		cr_assert(uv_hrtime() < give_up, "no end");
	}
	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(done, 1);
}

static void run(const struct peer_script *scripts, size_t count, size_t buffer)
{
	begin(scripts, count, buffer);
	start(0);
	wait_done();
}

static void expect_failure(int code, enum transfer_side side)
{
	cr_assert_eq(done_status, code, "%s", err_name(done_status));
	cr_assert_eq(transfer_result(transfer)->side, side);
	cr_assert_eq(store.count, 0);
	cr_assert_eq(store.ops[FAKE_ABORT], store.ops[FAKE_OPEN]);
}

/* The digest the bytes of a script must have. */
static void expect_stored(size_t body_bytes)
{
	cr_assert_eq(done_status, 0, "%s: %s", err_name(done_status), transfer_result(transfer)->error.detail);
	struct crypto_digest *digest;
	struct crypto_digest_result sums;
	char block[4096];
	REQUIRE(crypto_digest_new(&digest, NULL) == 0);
	crypto_digest_update(digest, WAV, sizeof(WAV) - 1);
	for (size_t offset = 0; offset < body_bytes;) {
		size_t len = body_bytes - offset < sizeof(block) ? body_bytes - offset : sizeof(block);
		for (size_t i = 0; i < len; i++)
			block[i] = peer_body(offset + i);
		crypto_digest_update(digest, block, len);
		offset += len;
	}
	crypto_digest_final(digest, &sums);
	crypto_digest_free(&digest);
	const struct fake_object *object = fake_store_find(&store, KEY);
	cr_assert_not_null(object);
	cr_assert_eq(object->digest.bytes, (int64_t)(body_bytes + sizeof(WAV) - 1));
	cr_assert_eq(memcmp(object->digest.sha256, sums.sha256, 32), 0);
	cr_assert_eq(memcmp(object->digest.md5, sums.md5, 16), 0);
}

Test(transfer, the_bytes_of_the_wire_arrive_in_the_store)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 300012\r\n\r\n" WAV, .body_bytes = 300000}};
	run(scripts, 1, 64 * 1024);
	expect_stored(300000);
	cr_assert_eq(store.objects[0].announced, 300012);
}

Test(transfer, a_body_that_ends_with_the_connection_is_whole_too)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Connection: close\r\n\r\n" WAV, .body_bytes = 5000, .close = true}};
	run(scripts, 1, 64 * 1024);
	expect_stored(5000);
	cr_assert_eq(store.objects[0].announced, -1);
}

Test(transfer, a_ring_smaller_than_what_curl_delivers_still_takes_everything)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 1000012\r\n\r\n" WAV, .body_bytes = 1000000}};
	store.slow_turns = 2;
	run(scripts, 1, 4096);
	expect_stored(1000000);
}

Test(transfer, can_be_used_again)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("404 Not Found", "application/xml") "Content-Length: 0\r\n\r\n"},
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 50012\r\n\r\n" WAV, .body_bytes = 50000}};
	run(scripts, 2, 64 * 1024);
	expect_failure(ERR_HTTP_NOT_FOUND, TRANSFER_SOURCE);
	cr_assert_eq(transfer_result(transfer)->http_status, 404);
	done = 0;
	start(0);
	wait_done();
	expect_stored(50000);
}

Test(transfer, two_channels_refused_become_one)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("400 Bad Request", "application/xml") "Content-Length: 2\r\n\r\n<>"},
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 50012\r\n\r\n" WAV, .body_bytes = 50000}};
	begin(scripts, 2, 64 * 1024);
	start(2);
	wait_done();
	expect_stored(50000);
	cr_assert_not_null(strstr(peer_request(peer, 0), "RequestedChannels=2"));
	cr_assert_not_null(strstr(peer_request(peer, 1), "RequestedChannels=1"));
	cr_assert_str_eq(store.objects[0].channels, "1");
}

Test(transfer, a_cut_connection_leaves_nothing)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 300012\r\n\r\n" WAV,
		 .body_bytes = 300000,
		 .cut_after = 100000}};
	run(scripts, 1, 16 * 1024);
	cr_assert_neq(done_status, 0);
	expect_failure(done_status, TRANSFER_SOURCE);
	cr_assert_eq(err_class(done_status), ERR_CLASS_RETRY, "%s", err_name(done_status));
}

Test(transfer, an_error_page_with_status_200_never_opens_an_upload)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "text/xml") "Content-Length: 70\r\n\r\n<?xml "
						      "version='1.0'?><TwilioResponse><RestException><Code>20404</Code>"}};
	run(scripts, 1, 64 * 1024);
	expect_failure(ERR_MEDIA_TYPE, TRANSFER_SOURCE);
	cr_assert_eq(store.ops[FAKE_OPEN], 0);
	cr_assert_not_null(strstr(transfer_result(transfer)->error.detail, "<?xml"));
}

Test(transfer, too_many_requests_says_when_to_come_back)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("429 Too Many Requests",
				"application/json") "Retry-After: 7\r\nContent-Length: 14\r\n\r\n{\"code\":20429}"}};
	run(scripts, 1, 64 * 1024);
	expect_failure(ERR_HTTP_THROTTLED, TRANSFER_SOURCE);
	cr_assert_eq(transfer_result(transfer)->retry_after_ms, 7000);
}

Test(transfer, nobody_there_is_told_as_such)
{
	run(NULL, 0, 64 * 1024);
	expect_failure(ERR_CONNECT, TRANSFER_SOURCE);
	cr_assert_eq(transfer_result(transfer)->http_status, 0);
}

static int fail_late(struct fake_store *fake, enum fake_store_op op, const char *key)
{
	return op == FAKE_WRITE && fake->bytes_written > 50000 ? ERR_NO_SPACE : 0;
}

Test(transfer, a_store_that_fails_in_the_middle_ends_the_download)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 67108876\r\n\r\n" WAV, .body_bytes = 64 * MIB}};
	store.fault = fail_late;
	run(scripts, 1, 16 * 1024);
	expect_failure(ERR_NO_SPACE, TRANSFER_STORE);
	cr_assert_lt(peer_sent(peer), 32 * MIB);
}

Test(transfer, a_large_recording_needs_no_more_memory_than_a_small_one)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 67108876\r\n\r\n" WAV, .body_bytes = 64 * MIB}};
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	run(scripts, 1, 256 * 1024);
	getrusage(RUSAGE_SELF, &after);
	expect_stored(64 * MIB);
	cr_assert_lt(after.ru_maxrss - before.ru_maxrss, RSS_SLACK_KIB, "grew by %ld KiB", after.ru_maxrss - before.ru_maxrss);
}

Test(transfer, a_slow_store_holds_the_server_back)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 67108876\r\n\r\n" WAV, .body_bytes = 64 * MIB}};
	store.slow_turns = 50;
	begin(scripts, 1, 64 * 1024);
	start(0);
	while (store.bytes_written < (int64_t)MIB) {
		turn_run(&loop);
		/* What lies between them is the ring and the kernel's socket buffers. */
		cr_assert_lt((int64_t)peer_sent(peer) - store.bytes_written, (int64_t)(16 * MIB));
	}
	transfer_cancel(transfer);
	wait_done();
	expect_failure(ERR_CANCELLED, TRANSFER_NEITHER);
}

Test(transfer, can_be_cancelled_in_every_turn_of_the_loop)
{
	static const struct peer_script scripts[] = {
		{.answer = HEAD("200 OK", "audio/x-wav") "Content-Length: 100012\r\n\r\n" WAV, .body_bytes = 100000}};
	unsigned cut = 0;
	begin(scripts, 1, 8 * 1024);
	for (unsigned turns = 0; turns < 200; turns++) {
		done = 0;
		start(0);
		for (unsigned i = 0; i < turns && done == 0; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		bool was_done = done > 0;
		inside = true;
		transfer_cancel(transfer);
		transfer_cancel(transfer);
		inside = false;
		wait_done();
		cr_assert(done_status == 0 || (done_status == ERR_CANCELLED && !was_done), "%u turns: %s", turns,
			  err_name(done_status));
		cr_assert_eq(store.open_puts, 0);
		cut += done_status == ERR_CANCELLED;
	}
	cr_assert_gt(cut, 10);
}
