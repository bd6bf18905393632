/* SPDX-License-Identifier: MIT */
/* Recordings that Twilio encrypted: whole jobs with the key, without it, and with everything that can be wrong. */
#include "adapters/crypto.h"
#include "base/hex.h"
#include "loop/pipeline/fixture.h"
#include "support/sealed_audio.h"
#include "twilio/private_keys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SID "CR0123456789abcdef0123456789abcdef"
#define OTHER_SID "CR00000000000000000000000000000002"
#define DETAILS SEALED_DETAILS(SID)
#define KEY_OF(n) "rec/2022/04/20/CA0000000000000000000000000000000" #n "/RE0000000000000000000000000000000" #n
#define MAX_BYTES 70000

static uint8_t plain[MAX_BYTES];
static uint8_t sealed[MAX_BYTES + GCM_TAG_SIZE];
static struct private_keys *keys;

/* `plain` as Twilio would send it: encrypted, and the tag. Returns its length. */
static size_t seal(size_t bytes)
{
	memcpy(sealed, plain, bytes);
	return sealed_encrypt(sealed, bytes);
}

/* A WAV of `bytes` bytes, sealed. */
static size_t make_sealed(size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		plain[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
	memcpy(plain, "RIFF....WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\x00\x7d\0\0\x04\0\x10\0data....", 44);
	uint32_t size = (uint32_t)bytes - 8;
	memcpy(plain + 4, &size, 4);
	return seal(bytes);
}

/* TWILIO_ENCRYPTION_KEYS with the key of the test vector as `sid`. */
static struct private_keys *load_keys(const char *sid)
{
	struct private_keys *loaded = NULL;
	char directory[] = "/tmp/reeld-keys-XXXXXX", path[128];
	REQUIRE(mkdtemp(directory) != NULL);
	snprintf(path, sizeof(path), "%s/%s.pem", directory, sid);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	REQUIRE(fd >= 0 && write(fd, SEALED_KEY_PEM, sizeof(SEALED_KEY_PEM) - 1) == sizeof(SEALED_KEY_PEM) - 1);
	close(fd);
	REQUIRE(private_keys_load(&loaded, directory, NULL, NULL, NULL) == 0);
	unlink(path);
	rmdir(directory);
	return loaded;
}

static struct fake_row *row(size_t n)
{
	return &fx.ledger.rows[n];
}

static void begin(size_t recordings)
{
	memset(&fx, 0, sizeof(fx));
	fixture_init(recordings);
	fx.media.raw = (const char *)sealed;
	fx.media.bytes = make_sealed(20000);
	fx.options.keys = keys;
	for (size_t i = 0; i < recordings; i++)
		snprintf(row(i)->job.encryption, sizeof(row(i)->job.encryption), "%s", DETAILS);
}

static void setup(void)
{
	keys = load_keys(SID);
	begin(1);
}

static void teardown(void)
{
	fixture_close();
	private_keys_free(&keys);
}

TestSuite(encrypted, .init = setup, .fini = teardown, .timeout = 120);

static void run_to_the_end(void)
{
	fixture_start();
	RUN_UNTIL(ALL_ENDED() && pipeline_running(fx.pipeline) == 0);
}

static void run_until_it_waits(void)
{
	fixture_start();
	RUN_UNTIL(row(0)->outcomes[LEDGER_OUTCOME_WAIT] > 0);
}

static void expect_plain(const char *key, size_t bytes)
{
	uint8_t sha256[32];
	const struct fake_object *object = fake_store_find(&fx.store, key);
	cr_assert_not_null(object, "%s: %s", key, row(0)->last_error);
	REQUIRE(crypto_sha256(plain, bytes, sha256) == 0);
	cr_assert_eq(object->digest.bytes, (int64_t)bytes);
	cr_assert_eq(object->announced, (int64_t)bytes);
	cr_assert_eq(memcmp(object->digest.sha256, sha256, 32), 0);
	cr_assert_str_eq(object->content_type, "audio/wav");
	cr_assert_str_eq(object->encryption, "");
}

/* Nothing was ever near being visible. */
static void expect_nothing(void)
{
	cr_assert_eq(fx.store.count, 0);
	cr_assert_eq(fx.store.ops[FAKE_COMMIT], 0);
	cr_assert_eq(fx.store.ops[FAKE_ABORT], fx.store.ops[FAKE_OPEN]);
}

static void expect_dead(const char *reason)
{
	cr_assert_eq(row(0)->status, LEDGER_DEAD);
	cr_assert_not_null(strstr(row(0)->last_error, reason), "%s", row(0)->last_error);
	expect_nothing();
}

/* ---- with the key ---- */

Test(encrypted, with_its_key_the_audio_is_stored)
{
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 20000);
	cr_assert_str_eq(fake_store_find(&fx.store, KEY_OF(0) ".wav")->channels, "2");
	cr_assert_str_eq(row(0)->content_type, "audio/wav");
	cr_assert_eq(row(0)->job.bytes, 20000);
	cr_assert_eq(fx.twilio.started[TWILIO_RECORDING], 0);
}

Test(encrypted, whether_the_tag_lies_before_on_or_behind_a_chunk_border)
{
	/* Chunks of 2048 bytes, blocks of the wire that do not fit them. */
	for (size_t bytes = 2 * 2048 - 20; bytes <= 2 * 2048 + 20; bytes++) {
		fixture_close();
		begin(1);
		fx.twilio.block = 700;
		fx.media.bytes = make_sealed(bytes);
		run_to_the_end();
		expect_plain(KEY_OF(0) ".wav", bytes);
	}
}

Test(encrypted, the_smallest_one_and_one_of_many_chunks_of_unknown_length)
{
	fixture_close();
	begin(1);
	fx.media.bytes = make_sealed(44);
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 44);
	fixture_close();
	begin(1);
	fx.media.bytes = make_sealed(MAX_BYTES);
	fx.media.content_length = -1;
	fx.store.slow_turns = 3;
	run_to_the_end();
	cr_assert_eq(row(0)->job.bytes, MAX_BYTES);
	cr_assert_eq(fake_store_find(&fx.store, KEY_OF(0) ".wav")->announced, -1);
	cr_assert_gt(fx.twilio.paused, 0);
}

Test(encrypted, no_channels_are_asked_for)
{
	fx.options.channels = 2;
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 20000);
	cr_assert_eq(fx.twilio.last_media_channels, 0);
}

Test(encrypted, a_wrong_tag_leaves_nothing)
{
	sealed[20000 + 15] ^= 1;
	run_to_the_end();
	expect_dead("decrypt");
	cr_assert_eq(row(0)->job.attempts, fx.options.max_attempts);
}

Test(encrypted, a_changed_byte_in_the_middle_leaves_nothing)
{
	sealed[12345] ^= 0x80;
	run_to_the_end();
	expect_dead("decrypt");
	cr_assert_gt(fx.store.bytes_written, 0);
}

Test(encrypted, a_truncated_one_leaves_nothing_also_where_its_length_was_not_told)
{
	fx.media.bytes -= 1;
	fx.media.content_length = -1;
	run_to_the_end();
	expect_dead("decrypt");
}

Test(encrypted, shorter_than_any_recording_is_no_recording)
{
	fx.media.bytes = 59;
	run_to_the_end();
	expect_dead("media_length");
}

Test(encrypted, what_was_decrypted_must_be_audio)
{
	memcpy(plain, "<?xml", 5);
	seal(20000);
	run_to_the_end();
	expect_dead("media_type");
	cr_assert_eq(fx.store.ops[FAKE_OPEN], 0);
}

Test(encrypted, a_wav_that_announces_more_than_was_decrypted_is_truncated)
{
	uint32_t size = 20001;
	memcpy(plain + 4, &size, 4);
	seal(20000);
	run_to_the_end();
	expect_dead("media_length");
}

/* ---- keys ---- */

Test(encrypted, without_its_key_it_waits_uncharged_and_nothing_is_fetched_until_the_key_is_there)
{
	struct private_keys *right = keys;
	fx.options.keys = keys = load_keys(OTHER_SID);
	run_until_it_waits();
	cr_assert_eq(row(0)->job.attempts, 0);
	cr_assert_eq(row(0)->last_delay_ms, fx.options.retry_max_ms, "as long as RETRY_MAX allows");
	cr_assert_not_null(strstr(row(0)->last_error, "encryption_key"));
	cr_assert_not_null(strstr(row(0)->last_error, SID));
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 0);
	expect_nothing();
	pipeline_set_keys(fx.pipeline, right);
	private_keys_free(&keys);
	keys = right;
	RUN_UNTIL(ALL_ENDED() && pipeline_running(fx.pipeline) == 0);
	expect_plain(KEY_OF(0) ".wav", 20000);
}

Test(encrypted, the_pause_for_an_operator_is_minutes_where_retry_max_allows_it)
{
	private_keys_free(&keys);
	fx.options.keys = keys = load_keys(OTHER_SID);
	fx.options.retry_max_ms = 3600000;
	run_until_it_waits();
	cr_assert_geq(row(0)->last_delay_ms, 300000);
	cr_assert_leq(row(0)->last_delay_ms, 310000);
}

static void give_the_key(struct private_keys *right)
{
	pipeline_set_keys(fx.pipeline, right);
	private_keys_free(&keys);
	keys = right;
	RUN_UNTIL(ALL_ENDED() && pipeline_running(fx.pipeline) == 0);
	expect_plain(KEY_OF(0) ".wav", 20000);
	cr_assert_eq(row(0)->job.attempts, 0);
}

Test(encrypted, the_key_ends_the_pause)
{
	struct private_keys *right = keys;
	fx.options.keys = keys = load_keys(OTHER_SID);
	fx.options.retry_max_ms = 3600000;
	run_until_it_waits();
	cr_assert_str_eq(row(0)->waits_for, SID);
	give_the_key(right);
	cr_assert_eq(row(0)->leases, 2);
}

static bool key_given, asked_for_it;
/* FINISH takes effect only after what waits for the new key was asked for. */
static int late_finish(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	asked_for_it = asked_for_it || (request->op == LEDGER_CLAIM_WAITING && key_given);
	return request->op == LEDGER_FINISH && !asked_for_it ? ERR_LEDGER : 0;
}

Test(encrypted, the_key_may_come_while_the_recording_is_on_its_way_back)
{
	struct private_keys *right = keys;
	fx.options.keys = keys = load_keys(OTHER_SID);
	fx.options.retry_max_ms = 3600000;
	fx.ledger.fault = late_finish;
	fixture_start();
	RUN_UNTIL(fx.ledger.submitted[LEDGER_FINISH] > 0 && fx.ledger.submitted[LEDGER_CLAIM_WAITING] == 2 &&
		  !fx.pipeline->claiming);
	key_given = true;
	give_the_key(right);
}

Test(encrypted, a_key_that_opens_nothing_is_tried_once_and_not_again_and_again)
{
	char *at = strstr(row(0)->job.encryption, "CWlY");
	cr_assert_not_null(at);
	at[5] = at[5] == 'A' ? 'B' : 'A';
	fx.options.retry_max_ms = 3600000;
	run_until_it_waits();
	pipeline_wake(fx.pipeline);
	for (int i = 0; i < 50; i++)
		uv_run(&fx.loop, UV_RUN_NOWAIT);
	cr_assert_eq(row(0)->leases, 1);
	cr_assert_str_eq(row(0)->waits_for, SID);
}

Test(encrypted, another_keys_file_under_its_name_waits_too)
{
	/* As if sealed with another key: nothing that this one opens. */
	char *at = strstr(row(0)->job.encryption, "CWlY");
	cr_assert_not_null(at);
	at[5] = at[5] == 'A' ? 'B' : 'A';
	run_until_it_waits();
	cr_assert_eq(row(0)->job.attempts, 0);
	cr_assert_not_null(strstr(row(0)->last_error, "encryption_key"), "%s", row(0)->last_error);
	expect_nothing();
}

Test(encrypted, a_sealed_key_of_another_size_is_an_end)
{
	uint8_t cek[RSA_KEY_BYTES_MAX];
	char base64[BASE64_LEN(RSA_KEY_BYTES_MAX) + 1];
	size_t len = sizeof(cek);
	struct sid sid;
	REQUIRE(sid_parse(SLICE(SID), "CR", &sid));
	REQUIRE(rsa_key_seal(private_keys_find(keys, &sid), "0123456789abcdef", 16, cek, &len) == 0);
	base64_encode(cek, len, base64);
	snprintf(row(0)->job.encryption, sizeof(row(0)->job.encryption),
		 "{\"type\":\"rsa-aes\",\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"%s\",\"iv\":\"" SEALED_IV "\"}",
		 base64);
	run_to_the_end();
	expect_dead("encryption_details");
	cr_assert_eq(row(0)->job.attempts, 1, "the first one was the last");
}

/* ---- without keys ---- */

Test(encrypted, without_keys_the_ciphertext_is_stored_with_what_it_takes_to_decrypt_it)
{
	uint8_t sha256[32];
	fx.options.keys = NULL;
	run_to_the_end();
	const struct fake_object *object = fake_store_find(&fx.store, KEY_OF(0) ".wav");
	cr_assert_not_null(object);
	REQUIRE(crypto_sha256(sealed, 20016, sha256) == 0);
	cr_assert_eq(object->digest.bytes, 20016);
	cr_assert_eq(memcmp(object->digest.sha256, sha256, 32), 0);
	cr_assert_str_eq(object->content_type, "application/octet-stream");
	cr_assert_str_eq(object->encryption, "rsa-aes " SID " " SEALED_CEK_BASE64 " " SEALED_IV);
	cr_assert_str_eq(row(0)->content_type, "application/octet-stream");
	cr_assert_str_eq(object->channels, "2", "as the webhook said");
}

Test(encrypted, an_error_page_is_no_ciphertext)
{
	fx.options.keys = NULL;
	fx.media.raw = NULL;
	fx.media.text = "<?xml version='1.0' encoding='UTF-8'?><TwilioResponse><RestException><Code>20404</Code></RestException>";
	run_to_the_end();
	expect_dead("media_type");
	cr_assert_eq(fx.store.ops[FAKE_OPEN], 0);
}

Test(encrypted, a_plain_wav_is_no_ciphertext)
{
	fx.options.keys = NULL;
	fx.media = fake_media(20000);
	run_to_the_end();
	expect_dead("media_type");
}

/* ---- where the details come from ---- */

Test(encrypted, what_the_webhook_did_not_say_twilios_rest_does)
{
	row(0)->job.encryption[0] = '\0';
	fx.json.encryption = DETAILS;
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 20000);
	cr_assert_eq(fx.twilio.started[TWILIO_RECORDING], 1);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 2);
	cr_assert_str_eq(row(0)->job.encryption, DETAILS, "kept in the ledger");
	cr_assert_eq(row(0)->job.attempts, 0);
}

Test(encrypted, what_looks_encrypted_and_is_not_is_what_it_was)
{
	row(0)->job.encryption[0] = '\0';
	run_to_the_end();
	expect_dead("media_type");
	cr_assert_eq(fx.twilio.started[TWILIO_RECORDING], fx.options.max_attempts, "asked once an attempt");
}

Test(encrypted, twilio_that_does_not_answer_why_is_an_outage)
{
	row(0)->job.encryption[0] = '\0';
	fx.json = fake_failure(503);
	run_until_it_waits();
	cr_assert_not_null(strstr(row(0)->last_error, "http_server"), "%s", row(0)->last_error);
	expect_nothing();
}

Test(encrypted, details_that_cannot_be_read_are_asked_for_again)
{
	snprintf(row(0)->job.encryption, sizeof(row(0)->job.encryption), "{\"type\":\"rsa-aes\"}");
	fx.json.encryption = DETAILS;
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 20000);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
}

Test(encrypted, details_that_nobody_has_are_an_end_and_the_reason_says_so)
{
	snprintf(row(0)->job.encryption, sizeof(row(0)->job.encryption), "unreadable");
	run_to_the_end();
	expect_dead("encryption_details");
	cr_assert_not_null(strstr(row(0)->last_error, "not JSON"), "%s", row(0)->last_error);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 0);
}

/* ---- mp3 ---- */

Test(encrypted, of_mp3_there_is_only_wav)
{
	fx.options.mp3 = true;
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 20000);
}

static struct fake_answer no_mp3(struct fake_twilio *fake, const struct twilio_request *request)
{
	if (request->op == TWILIO_MEDIA && request->mp3)
		return fake_failure(400);
	return request->op == TWILIO_MEDIA ? fx.media : fx.json;
}

Test(encrypted, an_mp3_that_is_refused_is_asked_about_and_its_key_is_chosen_anew)
{
	row(0)->job.encryption[0] = '\0';
	fx.options.mp3 = true;
	fx.json.encryption = DETAILS;
	fx.twilio.answer = no_mp3;
	run_to_the_end();
	expect_plain(KEY_OF(0) ".wav", 20000);
	cr_assert_null(fake_store_find(&fx.store, KEY_OF(0) ".mp3"));
}

/* ---- cut ---- */

Test(encrypted, can_be_closed_in_every_turn_of_the_loop)
{
	for (unsigned turns = 0; turns < 60; turns++) {
		fixture_close();
		begin(2);
		fixture_start();
		for (unsigned i = 0; i < turns; i++)
			uv_run(&fx.loop, UV_RUN_NOWAIT);
	}
}
