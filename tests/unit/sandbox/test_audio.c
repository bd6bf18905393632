/* SPDX-License-Identifier: MIT */
#include "sandbox/audio.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static unsigned char *whole(const struct audio *media)
{
	unsigned char *bytes = malloc((size_t)media->bytes);
	cr_assert_not_null(bytes);
	audio_read(media, 0, bytes, (size_t)media->bytes);
	return bytes;
}

static uint32_t u32(const unsigned char *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint16_t u16(const unsigned char *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

Test(audio, wav_header_says_what_follows)
{
	for (int channels = 1; channels <= 2; channels++) {
		for (uint64_t bytes = 1000; bytes < 1010; bytes++) {
			struct audio media = audio_make(AUDIO_WAV, channels, 42, bytes);
			unsigned char *data = whole(&media);
			cr_assert_leq(bytes - media.bytes, 3);
			cr_assert_arr_eq(data, "RIFF", 4);
			cr_assert_eq(u32(data + 4), media.bytes - 8);
			cr_assert_arr_eq(data + 8, "WAVEfmt ", 8);
			cr_assert_eq(u16(data + 20), 1);
			cr_assert_eq(u16(data + 22), channels);
			cr_assert_eq(u32(data + 24), 8000);
			cr_assert_eq(u32(data + 28), 16000u * (unsigned)channels);
			cr_assert_eq(u16(data + 32), 2 * channels);
			cr_assert_arr_eq(data + 36, "data", 4);
			cr_assert_eq(u32(data + 40), media.bytes - 44);
			cr_assert_eq((media.bytes - 44) % (2u * (unsigned)channels), 0);
			free(data);
		}
	}
}

Test(audio, mp3_is_a_tag_and_whole_frames_at_every_length)
{
	for (uint64_t bytes = AUDIO_MIN_BYTES; bytes < AUDIO_MIN_BYTES + 300; bytes++) {
		struct audio media = audio_make(AUDIO_MP3, 1, bytes, bytes);
		unsigned char *data = whole(&media);
		cr_assert_eq(media.bytes, bytes);
		cr_assert_arr_eq(data, "ID3\x03\0\0", 6);
		size_t at = 10 + ((size_t)data[6] << 21 | (size_t)data[7] << 14 | (size_t)data[8] << 7 | data[9]);
		cr_assert_leq(at, bytes);
		for (; at < bytes; at += 144) {
			/* MPEG-2 layer III without CRC, 32 kbit/s, 16 kHz, no padding, mono */
			cr_assert_arr_eq(data + at, "\xff\xf3\x48\xc0", 4);
			for (size_t i = 4; i < 144; i++)
				cr_assert_neq(data[at + i], 0xff, "a byte that looks like the start of a frame");
		}
		cr_assert_eq(at, bytes, "the last frame is whole");
		free(data);
	}
}

Test(audio, any_piece_reads_as_the_same_bytes)
{
	for (int format = AUDIO_WAV; format <= AUDIO_MP3; format++) {
		struct audio media = audio_make((enum audio_format)format, 2, 99, 1000);
		unsigned char *data = whole(&media);
		unsigned char piece[1000];
		for (uint64_t offset = 0; offset <= media.bytes; offset += 7) {
			for (size_t len = 0; len <= 61 && offset + len <= media.bytes; len++) {
				audio_read(&media, offset, piece, len);
				cr_assert_arr_eq(piece, data + offset, len, "format %d, %zu bytes at %zu", format, len,
						 (size_t)offset);
			}
		}
		free(data);
	}
}

Test(audio, other_keys_and_formats_are_other_bytes)
{
	struct audio a = audio_make(AUDIO_WAV, 1, 1, 5000);
	struct audio b = audio_make(AUDIO_WAV, 1, 2, 5000);
	unsigned char *first = whole(&a);
	unsigned char *second = whole(&b);
	unsigned same = 0;
	for (size_t i = 44; i < 5000; i++)
		same += first[i] == second[i];
	cr_assert_lt(same, 2500);
	free(first);
	free(second);
}

Test(audio, the_end_of_the_largest_file_can_be_read)
{
	struct audio media = audio_make(AUDIO_WAV, 1, 1, AUDIO_MAX_BYTES);
	unsigned char head[44];
	char tail[16];
	audio_read(&media, 0, head, sizeof(head));
	cr_assert_eq(u32(head + 40), media.bytes - 44);
	audio_read(&media, media.bytes - sizeof(tail), tail, sizeof(tail));
}

Test(audio, lasts_as_long_as_its_bytes_at_its_rate)
{
	struct audio mono = audio_make(AUDIO_WAV, 1, 1, 44 + 16000 * 60);
	struct audio dual = audio_make(AUDIO_WAV, 2, 1, 44 + 16000 * 60 + 4);
	struct audio small = audio_make(AUDIO_MP3, 1, 1, AUDIO_MIN_BYTES);
	cr_assert_eq(audio_seconds(&mono), 60);
	cr_assert_eq(audio_seconds(&dual), 31);
	cr_assert_eq(audio_seconds(&small), 1);
}
