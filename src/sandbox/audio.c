/* SPDX-License-Identifier: MIT */
/*
 * A file is a head (WAV header or ID3 tag with its padding) and a body of 8-byte words, each a function of the key and its number. The padding of the ID3 tag takes up
 * what is not a whole number of MP3 frames, so that every length can be had exactly.
 */
#include "sandbox/audio.h"

#include "base/check.h"
#include "sandbox/random.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define WORD 8

#define MP3_FRAME 144 /* 72 * 32000 / 16000 */
#define MP3_FRAME_WORDS (MP3_FRAME / WORD)
#define MP3_BYTES_PER_SECOND 4000
#define ID3_MIN 64 /* tag header, one text frame, a little padding */

/* Four samples of a tone above the noise's six bits. */
#define NOISE_MASK UINT64_C(0x003f003f003f003f)

/* One tone has a period of TONE_STEPS words of four samples. */
#define TONE_STEPS_MIN 3
#define TONE_STEPS_MAX 8

static size_t wav_align(const struct audio *media)
{
	return (size_t)media->channels * 2;
}

static uint64_t head_bytes(const struct audio *media)
{
	if (media->format == AUDIO_WAV)
		return AUDIO_WAV_HEADER;
	return ID3_MIN + (media->bytes - ID3_MIN) % MP3_FRAME;
}

struct audio audio_make(enum audio_format format, int channels, uint64_t key, uint64_t bytes)
{
	struct audio media = {.format = format, .channels = channels, .key = key, .bytes = bytes};
	REQUIRE(channels == 1 || channels == 2);
	REQUIRE(bytes >= AUDIO_MIN_BYTES && bytes <= AUDIO_MAX_BYTES);
	if (format == AUDIO_WAV)
		media.bytes -= (bytes - AUDIO_WAV_HEADER) % wav_align(&media);
	return media;
}

static void put_u16(unsigned char *out, uint16_t value)
{
	value = htole16(value);
	memcpy(out, &value, sizeof(value));
}

static void put_u32(unsigned char *out, uint32_t value)
{
	value = htole32(value);
	memcpy(out, &value, sizeof(value));
}

static void wav_head(const struct audio *media, unsigned char out[AUDIO_WAV_HEADER])
{
	uint32_t data = (uint32_t)(media->bytes - AUDIO_WAV_HEADER);
	uint16_t align = (uint16_t)wav_align(media);
	memcpy(out, "RIFF", 4);
	put_u32(out + 4, data + AUDIO_WAV_HEADER - 8);
	memcpy(out + 8, "WAVEfmt ", 8);
	put_u32(out + 16, 16);
	put_u16(out + 20, 1); /* PCM */
	put_u16(out + 22, (uint16_t)media->channels);
	put_u32(out + 24, AUDIO_SAMPLE_RATE);
	put_u32(out + 28, (uint32_t)AUDIO_SAMPLE_RATE * align);
	put_u16(out + 32, align);
	put_u16(out + 34, 16);
	memcpy(out + 36, "data", 4);
	put_u32(out + 40, data);
}

/* The tag's size field counts what follows its 10 bytes, seven bits to a byte. The rest up to the first frame is zero padding. */
static void id3_head(const struct audio *media, unsigned char out[ID3_MIN])
{
	static const char title[] = "Recording of the sandbox";
	uint64_t size = head_bytes(media) - 10;
	memset(out, 0, ID3_MIN);
	memcpy(out, "ID3\x03", 4);
	for (unsigned i = 0; i < 4; i++)
		out[6 + i] = (unsigned char)(size >> (7 * (3 - i)) & 0x7f);
	memcpy(out + 10, "TIT2", 4);
	out[17] = sizeof(title); /* an encoding byte (0: Latin-1) and the text without its NUL */
	memcpy(out + 21, title, sizeof(title) - 1);
}

struct tone {
	uint64_t step[TONE_STEPS_MAX];
	uint64_t steps;
};

/* A triangle: its samples leave the noise's six bits free, so that both are joined by an "or". */
static struct tone tone_make(uint64_t key)
{
	struct tone tone = {.steps = TONE_STEPS_MIN + key % (TONE_STEPS_MAX - TONE_STEPS_MIN + 1)};
	int period = (int)tone.steps * 4;
	for (int i = 0; i < period; i++) {
		int up = i < period / 2 ? i : period - i;
		int sample = up * 6000 / (period / 2) - 3000;
		uint64_t lane = (uint16_t)((unsigned)sample & 0xffc0u);
		tone.step[i / 4] |= lane << (16 * (i % 4));
	}
	return tone;
}

/*
 * Frame header (MPEG-2, layer III, no CRC, 32 kbit/s, 16 kHz, mono), nine zero bytes of side information (no main data: silence), then bytes that decoders skip;
 * their top bit is clear so that none looks like the start of a frame.
 */
static uint64_t mp3_word(const struct audio *media, uint64_t number)
{
	static const unsigned char head[WORD] = {0xff, 0xf3, 0x48, 0xc0, 0, 0, 0, 0};
	uint64_t word = 0;
	if (number % MP3_FRAME_WORDS == 0) {
		memcpy(&word, head, WORD);
		return le64toh(word);
	}
	if (number % MP3_FRAME_WORDS == 1)
		return 0;
	return scramble(media->key + number) & UINT64_C(0x7f7f7f7f7f7f7f7f);
}

/* Calls for whole words from `number` on; each is written little endian. */
static void write_words(const struct audio *media, uint64_t number, unsigned char *out, size_t count)
{
	if (media->format == AUDIO_MP3) {
		for (size_t i = 0; i < count; i++) {
			uint64_t word = htole64(mp3_word(media, number + i));
			memcpy(out + i * WORD, &word, WORD);
		}
		return;
	}
	struct tone tone = tone_make(media->key);
	uint64_t phase = number % tone.steps;
	for (size_t i = 0; i < count; i++) {
		uint64_t word = htole64(tone.step[phase] | (scramble(media->key + number + i) & NOISE_MASK));
		memcpy(out + i * WORD, &word, WORD);
		phase = phase + 1 == tone.steps ? 0 : phase + 1;
	}
}

static void read_body(const struct audio *media, uint64_t offset, unsigned char *out, size_t len)
{
	unsigned char word[WORD];
	size_t skip = (size_t)(offset % WORD);
	uint64_t number = offset / WORD;
	if (skip > 0) {
		size_t take = WORD - skip < len ? WORD - skip : len;
		write_words(media, number++, word, 1);
		memcpy(out, word + skip, take);
		out += take;
		len -= take;
	}
	write_words(media, number, out, len / WORD);
	if (len % WORD > 0) {
		write_words(media, number + len / WORD, word, 1);
		memcpy(out + len / WORD * WORD, word, len % WORD);
	}
}

void audio_read(const struct audio *media, uint64_t offset, void *out, size_t len)
{
	unsigned char head[ID3_MIN];
	unsigned char *at = out;
	uint64_t head_end = head_bytes(media);
	size_t head_written = media->format == AUDIO_WAV ? AUDIO_WAV_HEADER : ID3_MIN;

	REQUIRE(offset <= media->bytes && len <= media->bytes - offset);
	if (offset < head_end) {
		size_t take = head_end - offset < len ? (size_t)(head_end - offset) : len;
		if (media->format == AUDIO_WAV)
			wav_head(media, head);
		else
			id3_head(media, head);
		memset(at, 0, take);
		if (offset < head_written) {
			size_t part = head_written - (size_t)offset;
			memcpy(at, head + offset, part < take ? part : take);
		}
		at += take;
		offset += take;
		len -= take;
	}
	if (len > 0)
		read_body(media, offset - head_end, at, len);
}

uint64_t audio_seconds(const struct audio *media)
{
	uint64_t rate = media->format == AUDIO_WAV ? (uint64_t)AUDIO_SAMPLE_RATE * wav_align(media) : MP3_BYTES_PER_SECOND;
	uint64_t data = media->bytes - head_bytes(media);
	uint64_t seconds = (data + rate - 1) / rate;
	return seconds == 0 ? 1 : seconds;
}

const char *audio_content_type(enum audio_format format)
{
	return format == AUDIO_WAV ? "audio/x-wav" : "audio/mpeg";
}
