/* SPDX-License-Identifier: MIT */
#include "pipeline/media.h"

#include <criterion/criterion.h>
#include <string.h>

static struct media_info info;
static struct error error;

/* A canonical header: 44 bytes, then `data` bytes of samples. */
static void wav_header(unsigned char out[44], uint32_t data, int channels)
{
	static const unsigned char model[44] = "RIFF....WAVEfmt \x10\0\0\0\x01\0.\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data....";
	memcpy(out, model, 44);
	uint32_t riff = data + 36;
	for (int i = 0; i < 4; i++) {
		out[4 + i] = (unsigned char)(riff >> (8 * i));
		out[40 + i] = (unsigned char)(data >> (8 * i));
	}
	out[22] = (unsigned char)channels;
}

static int probe(enum media_format format, const char *type, const void *bytes, size_t len)
{
	error = (struct error){0};
	return media_probe(format, type, slice_make(bytes, len), &info, &error);
}

Test(media, a_wav_tells_its_length_and_channels)
{
	unsigned char header[44];
	wav_header(header, 16000, 2);
	cr_assert_eq(probe(MEDIA_WAV, "audio/x-wav", header, sizeof(header)), 0);
	cr_assert_eq(info.announced, 16044);
	cr_assert_eq(info.channels, 2);
}

Test(media, content_types_that_may_carry_audio)
{
	static const char *const good[] = {"audio/wav",
					   "audio/x-wav",
					   "AUDIO/WAVE; charset=binary",
					   "application/octet-stream",
					   "binary/octet-stream",
					   "application/octet-stream;x=y",
					   ""};
	static const char *const bad[] = {"text/xml",        "application/json", "text/html; charset=utf-8",
					  "application/xml", "video/mp4",        "audio"};
	unsigned char header[44];
	wav_header(header, 0x1000, 1);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_assert_eq(probe(MEDIA_WAV, good[i], header, 44), 0, "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(probe(MEDIA_WAV, bad[i], header, 44), ERR_MEDIA_TYPE, "%s", bad[i]);
}

Test(media, an_error_page_is_refused_whatever_its_content_type_and_described)
{
	static const char *const pages[] = {
		"<?xml version='1.0' encoding='UTF-8'?><TwilioResponse><RestException>", "<!DOCTYPE html><html><head>",
		"{\"code\":20404,\"message\":\"The requested resource was not found\"}", "\n\n  <html>"};
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		cr_assert_eq(probe(MEDIA_WAV, "audio/x-wav", pages[i], strlen(pages[i])), ERR_MEDIA_TYPE);
		cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", pages[i], strlen(pages[i])), ERR_MEDIA_TYPE);
	}
	probe(MEDIA_WAV, "text/xml", pages[0], strlen(pages[0]));
	cr_assert_not_null(strstr(error.detail, "text/xml"));
	cr_assert_not_null(strstr(error.detail, "<?xml version='1.0'"), "%s", error.detail);
}

Test(media, the_description_holds_nothing_that_could_hurt_a_log)
{
	probe(MEDIA_WAV, "x", "\x1b[31m\r\n\"quoted\"\\\x80", 18);
	for (const char *c = error.detail; *c != '\0'; c++)
		cr_assert(*c >= 0x20 && *c < 0x7f);
}

Test(media, mp3_by_tag_or_by_frame)
{
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "ID3\x04\0\0\0\0\0\x23TSSE", 14), 0);
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xfb\x90\x64....", 8), 0); /* MPEG 1 layer 3 */
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xf3\x40\xc4....", 8), 0); /* MPEG 2 layer 3 */
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xe3\x18\xc4....", 8), 0); /* MPEG 2.5 layer 3 */
	cr_assert_eq(info.announced, -1);
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xf1\x50\x80....", 8), ERR_MEDIA_TYPE); /* AAC in ADTS: layer 0 */
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xeb\x90\x64....", 8), ERR_MEDIA_TYPE); /* version reserved */
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xfb\xf0\x64....", 8), ERR_MEDIA_TYPE); /* bitrate bad */
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "\xff\xfb\x9c\x64....", 8), ERR_MEDIA_TYPE); /* sampling rate reserved */
	cr_assert_eq(probe(MEDIA_MP3, "audio/mpeg", "ID3", 3), ERR_MEDIA_TYPE);
}

Test(media, the_other_format_is_not_what_was_asked_for)
{
	unsigned char header[44];
	wav_header(header, 16000, 1);
	cr_assert_eq(probe(MEDIA_MP3, "audio/x-wav", header, 44), ERR_MEDIA_TYPE);
	cr_assert_eq(probe(MEDIA_WAV, "audio/mpeg", "ID3\x04\0\0\0\0\0\x23TSSE", 14), ERR_MEDIA_TYPE);
}

Test(media, every_cut_of_a_header_is_judged_without_reading_past_it)
{
	unsigned char header[44];
	wav_header(header, 16000, 2);
	for (size_t len = 0; len <= sizeof(header); len++) {
		unsigned char *exact = malloc(len > 0 ? len : 1); /* so that a sanitizer sees a read past the end */
		memcpy(exact, header, len);
		int rc = probe(MEDIA_WAV, "audio/wav", exact, len);
		cr_assert_eq(rc, len == 0 ? ERR_MEDIA_LENGTH : len < 12 ? ERR_MEDIA_TYPE : 0, "%zu", len);
		free(exact);
	}
}

Test(media, streamed_wav_headers_announce_nothing)
{
	unsigned char header[44];
	wav_header(header, 0, 1);
	memset(header + 4, 0, 4);
	cr_assert_eq(probe(MEDIA_WAV, "audio/wav", header, 44), 0);
	cr_assert_eq(info.announced, -1);
	memset(header + 4, 0xff, 4);
	cr_assert_eq(probe(MEDIA_WAV, "audio/wav", header, 44), 0);
	cr_assert_eq(info.announced, -1);
}

Test(media, length_must_be_what_was_announced)
{
	struct media_info wav = {.announced = 1000};
	cr_assert_eq(media_check_length(&wav, 1000, 1000, &error), 0);
	cr_assert_eq(media_check_length(&wav, -1, 1000, &error), 0);
	cr_assert_eq(media_check_length(&wav, -1, 1001, &error), 0);
	cr_assert_eq(media_check_length(&wav, -1, 999, &error), ERR_MEDIA_LENGTH);
	cr_assert_not_null(strstr(error.detail, "999"));
	cr_assert_eq(media_check_length(&wav, 999, 999, &error), ERR_MEDIA_LENGTH);
	cr_assert_eq(media_check_length(&wav, 2000, 1000, &error), ERR_MEDIA_LENGTH);
	struct media_info mp3 = {.announced = -1};
	cr_assert_eq(media_check_length(&mp3, -1, 1, &error), 0);
	cr_assert_eq(media_check_length(&mp3, 0, 0, &error), ERR_MEDIA_LENGTH);
	cr_assert_eq(media_check_length(&mp3, 5, 4, &error), ERR_MEDIA_LENGTH);
}

Test(media, a_header_that_announces_more_than_4_GiB_minus_one_does_not_overflow)
{
	unsigned char header[44];
	wav_header(header, 0xfffffff0U - 36, 1);
	cr_assert_eq(probe(MEDIA_WAV, "audio/wav", header, 44), 0);
	cr_assert_eq(info.announced, 0xfffffff0LL + 8);
}

Test(media, of_a_ciphertext_only_that_it_is_no_text_and_no_plain_audio_is_known)
{
	char bytes[44];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 77 + 200);
	struct slice first = slice_make(bytes, sizeof(bytes));
	cr_assert_eq(media_probe_ciphertext("audio/x-wav", first, &info, &error), 0);
	cr_assert_eq(info.announced, -1);
	cr_assert_eq(info.channels, 0);
	cr_assert_eq(media_probe_ciphertext("", first, &info, &error), 0);
	cr_assert_eq(media_probe_ciphertext("application/octet-stream", first, &info, &error), 0);
	cr_assert_eq(media_probe_ciphertext("text/html", first, &info, &error), ERR_MEDIA_TYPE);
	cr_assert_eq(media_probe_ciphertext("application/xml", first, &info, &error), ERR_MEDIA_TYPE);
	/* One that happens to begin like a page is still one. */
	memcpy(bytes, "<?xml {\"", 8);
	cr_assert_eq(media_probe_ciphertext("audio/x-wav", first, &info, &error), 0);
	memset(bytes, 'a', sizeof(bytes));
	memcpy(bytes, "{\"code\":\r\n\t", 11);
	cr_assert_eq(media_probe_ciphertext("audio/x-wav", first, &info, &error), ERR_MEDIA_TYPE);
	cr_assert_not_null(strstr(error.detail, "code"));
	cr_assert_not(media_may_be_encrypted("audio/x-wav", first));
	memcpy(bytes, "RIFF\1\2\3\4WAVE", 12);
	cr_assert_eq(media_probe_ciphertext("audio/x-wav", first, &info, &error), ERR_MEDIA_TYPE);
	cr_assert_eq(media_probe_ciphertext("audio/x-wav", slice_make(bytes, 43), &info, &error), ERR_MEDIA_LENGTH);
	cr_assert_eq(media_probe_ciphertext("audio/x-wav", slice_make(bytes, 0), &info, &error), ERR_MEDIA_LENGTH);
}

Test(media, names_of_formats)
{
	cr_assert_str_eq(media_type_of(MEDIA_WAV), "audio/wav");
	cr_assert_str_eq(media_type_of(MEDIA_MP3), "audio/mpeg");
	cr_assert_str_eq(media_extension(MEDIA_WAV), "wav");
	cr_assert_str_eq(media_extension(MEDIA_MP3), "mp3");
}
