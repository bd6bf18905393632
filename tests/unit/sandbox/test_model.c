/* SPDX-License-Identifier: MIT */
#include "sandbox/model.h"

#include "sandbox/random.h"
#include "sandbox/sandbox.h"

#include <criterion/criterion.h>

static struct model *make(uint64_t seed, uint64_t count)
{
	struct model_options options = {.seed = seed,
					.bytes_min = 1000,
					.bytes_max = 9000,
					.base_ms = INT64_C(1795478400000),
					.account_sid = SANDBOX_ACCOUNT_SID};
	struct model *model = model_new(&options);
	cr_assert_not_null(model);
	cr_assert_eq(model_grow(model, count), 0);
	return model;
}

Test(model, the_well_known_account_is_a_sid)
{
	struct sid sid;
	cr_assert(sid_parse(slice_from_cstr(SANDBOX_ACCOUNT_SID), "AC", &sid));
}

Test(model, unscramble_undoes_scramble)
{
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15);
		cr_assert_eq(unscramble(scramble(x)), x);
	}
}

Test(model, sids_lead_back_to_their_recording)
{
	struct model *model = make(5, 1000);
	for (uint64_t i = 0; i < 1000; i++) {
		struct model_recording recording;
		uint64_t index;
		model_recording(model, i, &recording);
		cr_assert(model_find(model, slice_from_cstr(recording.recording_sid.text), "RE", &index));
		cr_assert_eq(index, i);
		cr_assert(model_find(model, slice_from_cstr(recording.call_sid.text), "CA", &index));
		cr_assert_eq(index, i);
		cr_assert_not(model_find(model, slice_from_cstr(recording.call_sid.text), "RE", &index));
	}
	model_free(&model);
	cr_assert_null(model);
}

Test(model, strange_sids_are_not_found)
{
	struct model *model = make(5, 10);
	struct model *other = make(6, 10);
	struct model *longer = make(5, 11);
	struct model_recording recording;
	uint64_t index;
	model_recording(other, 3, &recording);
	cr_assert_not(model_find(model, slice_from_cstr(recording.recording_sid.text), "RE", &index), "another seed");
	model_recording(longer, 10, &recording);
	cr_assert_not(model_find(model, slice_from_cstr(recording.recording_sid.text), "RE", &index), "not there yet");
	model_recording(model, 3, &recording);
	recording.recording_sid.text[33] ^= 1;
	cr_assert_not(model_find(model, slice_from_cstr(recording.recording_sid.text), "RE", &index), "one bit off");
	cr_assert_not(model_find(model, SLICE("RE"), "RE", &index));
	model_free(&model);
	model_free(&other);
	model_free(&longer);
}

Test(model, the_same_seed_makes_the_same_recordings)
{
	struct model *a = make(5, 100);
	struct model *b = make(5, 100);
	bool mono = false, dual = false;
	for (uint64_t i = 0; i < 100; i++) {
		struct model_recording x, y;
		struct audio m, n;
		model_recording(a, i, &x);
		model_recording(b, i, &y);
		cr_assert_str_eq(x.recording_sid.text, y.recording_sid.text);
		cr_assert_eq(x.bytes, y.bytes);
		cr_assert(x.bytes >= 997 && x.bytes <= 9000);
		cr_assert(model_audio(a, &x, AUDIO_WAV, 0, &m));
		cr_assert(model_audio(b, &y, AUDIO_WAV, 0, &n));
		cr_assert_eq(m.key, n.key);
		cr_assert_eq(m.bytes, x.bytes);
		mono = mono || x.channels == 1;
		dual = dual || x.channels == 2;
	}
	cr_assert(mono && dual, "some of each");
	model_free(&a);
	model_free(&b);
}

Test(model, two_channels_of_a_mono_recording_are_refused)
{
	struct model *model = make(5, 100);
	for (uint64_t i = 0; i < 100; i++) {
		struct model_recording recording;
		struct audio one, two, own;
		model_recording(model, i, &recording);
		cr_assert(model_audio(model, &recording, AUDIO_WAV, 1, &one));
		cr_assert(model_audio(model, &recording, AUDIO_WAV, 0, &own));
		cr_assert_eq(model_audio(model, &recording, AUDIO_WAV, 2, &two), recording.channels == 2);
		cr_assert_eq(one.channels, 1);
		if (recording.channels == 2)
			cr_assert_eq(one.bytes - 44, (own.bytes - 44) / 2, "half the samples");
		else
			cr_assert_eq(one.key, own.key);
	}
	model_free(&model);
}

Test(model, happenings_are_kept_per_recording)
{
	struct model *model = make(5, 10000);
	cr_assert_eq(model_look(model, 5000).deletes, 0);
	model_touch(model, 5000)->deletes = 1;
	model_touch(model, 5001)->callbacks_ok = 3;
	cr_assert_eq(model_look(model, 5000).deletes, 1);
	cr_assert_eq(model_look(model, 5001).callbacks_ok, 3);
	cr_assert_eq(model_look(model, 5002).callbacks_ok, 0);
	model_free(&model);
}

Test(model, grows_to_its_limit_and_no_further)
{
	struct model *model = make(5, 10);
	cr_assert_eq(model_grow(model, MODEL_MAX_RECORDINGS), ERR_LIMIT);
	cr_assert_eq(model_count(model), 10);
	cr_assert_eq(model_grow(model, MODEL_MAX_RECORDINGS - 10), 0);
	cr_assert_eq(model_count(model), MODEL_MAX_RECORDINGS);
	model_free(&model);
}

Test(model, descriptions_have_the_fields_that_are_asked_for)
{
	struct model *model = make(5, 1);
	struct model_recording recording;
	struct buffer out;
	buffer_init(&out, 8192);
	model_recording(model, 0, &recording);
	model_write_recording(model, &recording, "completed", &out);
	cr_assert_not(out.failed);
	cr_assert_not_null(strstr(buffer_cstr(&out), recording.recording_sid.text));
	cr_assert_not_null(strstr(buffer_cstr(&out), "\"status\":\"completed\""));
	cr_assert_not_null(strstr(buffer_cstr(&out), "\"start_time\":\"Tue, 24 Nov 2026 00:00:00 +0000\""));
	buffer_clear(&out);
	model_write_call(model, &recording, &out);
	cr_assert_not(out.failed);
	cr_assert_not_null(strstr(buffer_cstr(&out), recording.call_sid.text));
	buffer_free(&out);
	model_free(&model);
}
