/* SPDX-License-Identifier: MIT */
/* Recordings that the sandbox encrypts, opened with the private key and what Twilio's pages say, not with the sandbox's own code. */
#include "adapters/gcm.h"
#include "fixture.h"
#include "support/sealed.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define SID "CR0123456789abcdef0123456789abcdef"

static struct fixture fixture;
static char directory[] = "/tmp/reeld-sealing-XXXXXX";
static char path[128];
static struct rsa_key *key;

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/" SID ".pem", directory);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	cr_assert_eq(write(fd, SEALED_KEY_PEM, sizeof(SEALED_KEY_PEM) - 1), (ssize_t)sizeof(SEALED_KEY_PEM) - 1);
	close(fd);
	cr_assert_eq(rsa_key_parse(&key, SLICE(SEALED_KEY_PEM), false, NULL), 0);
}

static void tear_down(void)
{
	rsa_key_free(&key);
	unlink(path);
	rmdir(directory);
}

TestSuite(sealing, .init = set_up, .fini = tear_down, .timeout = 60);

static void start(double rate, const char *faults)
{
	struct sandbox_options options = {.seed = 3,
					  .bytes_min = 10000,
					  .bytes_max = 90000,
					  .existing = 40,
					  .stall_ms = 50,
					  .encrypt = path,
					  .encrypted_rate = rate,
					  .faults = {.attempts = 1}};
	cr_assert_eq(fault_plan_parse(&options.faults, slice_from_cstr(faults), NULL), 0);
	fixture_start(&fixture, options);
	cr_assert_str_eq(sandbox_public_key_sid(fixture.sandbox), SID);
}

static json_t *describe(uint64_t index)
{
	struct answer answer = get(&fixture, recording_path(&fixture, index, ".json"));
	json_t *json = json_loads(answer.body, 0, NULL);
	cr_assert_not_null(json);
	free(answer.body);
	return json;
}

/* Opens the body with the details of the description: the bytes of the recording, or ERR_DECRYPT. */
static int open_media(uint64_t index, struct answer *answer)
{
	struct twilio_encryption details;
	uint8_t cek[64];
	size_t cek_len = sizeof(cek);
	struct gcm *gcm;
	json_t *json = describe(index);
	cr_assert_eq(twilio_encryption_from_json(json_object_get(json, "encryption_details"), &details, NULL), 0);
	json_decref(json);
	cr_assert_str_eq(details.public_key_sid.text, SID);
	cr_assert_eq(rsa_key_unseal(key, details.sealed, details.sealed_len, cek, &cek_len), 0);
	cr_assert_eq(cek_len, 32);
	cr_assert_eq(gcm_new(&gcm), 0);
	cr_assert_eq(gcm_open_begin(gcm, cek, details.iv, details.iv_len), 0);
	cr_assert_eq(gcm_open_update(gcm, (uint8_t *)answer->body, &answer->len), 0);
	int status = gcm_open_end(gcm);
	gcm_free(&gcm);
	return status;
}

static void expect_audio(uint64_t index, const struct answer *answer)
{
	struct model_recording recording;
	struct audio media;
	model_recording(sandbox_model(fixture.sandbox), index, &recording);
	cr_assert(model_audio(sandbox_model(fixture.sandbox), &recording, AUDIO_WAV, 0, &media));
	cr_assert_eq(answer->len, media.bytes);
	char *expected = malloc(media.bytes);
	audio_read(&media, 0, expected, media.bytes);
	cr_assert_eq(memcmp(answer->body, expected, media.bytes), 0);
	free(expected);
}

Test(sealing, media_open_with_the_private_key_and_the_details_of_the_description)
{
	start(0, "slow:0.2,redirect:0.2");
	for (uint64_t i = 0; i < 10; i++) {
		struct answer answer = get(&fixture, recording_path(&fixture, i, ".wav"));
		if (answer.status == 302) { /* the fault strikes once */
			free(answer.body);
			answer = get(&fixture, recording_path(&fixture, i, ".wav"));
		}
		cr_assert_eq(answer.status, 200);
		cr_assert_eq(answer.content_length, (int64_t)answer.len);
		cr_assert_eq(open_media(i, &answer), 0, "recording %llu", (unsigned long long)i);
		expect_audio(i, &answer);
		free(answer.body);
	}
	fixture_stop(&fixture);
}

Test(sealing, there_is_no_mp3)
{
	start(0, "");
	struct answer answer = get(&fixture, recording_path(&fixture, 0, ".mp3"));
	cr_assert_eq(answer.status, 400);
	cr_assert_not_null(strstr(answer.body, "16109"));
	free(answer.body);
	fixture_stop(&fixture);
}

Test(sealing, a_rate_leaves_some_as_they_are)
{
	unsigned encrypted = 0;
	start(0.5, "");
	for (uint64_t i = 0; i < 40; i++) {
		json_t *json = describe(i);
		struct answer answer = get(&fixture, recording_path(&fixture, i, ".wav"));
		bool plain = json_is_null(json_object_get(json, "encryption_details"));
		cr_assert_eq(plain, memcmp(answer.body, "RIFF", 4) == 0);
		if (plain)
			expect_audio(i, &answer);
		encrypted += !plain;
		free(answer.body);
		json_decref(json);
	}
	cr_assert(encrypted > 8 && encrypted < 32, "%u of 40", encrypted);
	fixture_stop(&fixture);
}

Test(sealing, half_a_file_does_not_open)
{
	start(0, "wrong-length");
	struct answer answer = get(&fixture, recording_path(&fixture, 0, ".wav"));
	cr_assert_eq(answer.status, 200);
	cr_assert_eq(open_media(0, &answer), ERR_DECRYPT);
	free(answer.body);
	fixture_stop(&fixture);
}

Test(sealing, callbacks_are_signed_with_the_details_in_them)
{
	start(0, "");
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = 0, .count = 5}), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 5);
	for (unsigned i = 0; i < 5; i++)
		cr_assert(fixture.events[i].signed_right);
	fixture_stop(&fixture);
}

Test(sealing, a_file_that_is_no_key_is_named)
{
	struct sandbox *sandbox = NULL;
	struct error error = {0};
	uv_loop_t loop;
	cr_assert_eq(uv_loop_init(&loop), 0);
	struct sandbox_options options = {.encrypt = "/etc/hostname"};
	cr_assert_neq(sandbox_new(&sandbox, &loop, &options, &error), 0);
	cr_assert_not_null(strstr(error.detail, "/etc/hostname"));
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}
