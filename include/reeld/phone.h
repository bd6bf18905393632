/* SPDX-License-Identifier: MIT */
/*
 * Phone numbers as people and Twilio write them, to E.164 ("+14155552671"); and what Twilio puts in place of a number (From, To,
 * Caller): clients, SIP and SIM addresses, withheld callers. Sources: ITU-T E.164, RFC 3966 (tel:), and the tables of
 * src/twilio/phone_plan.def.
 *
 * Checked: that the calling code is assigned, and that the national number has a length that occurs in that numbering plan.
 * Not checked: whether the number, its area code or its operator exist, and whether it is a mobile. Not understood: carrier
 * selection codes (Brazil, Colombia, parts of Asia), Argentina's 15 and 9 for mobiles, local numbers without their area code,
 * letters ("1-800-FLOWERS"), short codes and emergency numbers. Google's libphonenumber does all this with a megabyte of tables.
 *
 * Pure: no allocation, no state, any thread.
 */
#ifndef REELD_PHONE_H
#define REELD_PHONE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* '+', 15 digits and a NUL. */
#define REELD_PHONE_SIZE 17
/* Longest text that is looked at, in bytes. */
#define REELD_PHONE_TEXT_MAX 512

enum reeld_phone_kind {
	REELD_PHONE_NUMBER = 0,   /* E.164, in `number` */
	REELD_PHONE_CLIENT = 1,   /* "client:alice" */
	REELD_PHONE_SIP = 2,      /* "sip:…", "sips:…" or "name@host" */
	REELD_PHONE_SIM = 3,      /* "sim:DE…" */
	REELD_PHONE_CHANNEL = 4,  /* "whatsapp:…", "messenger:…" */
	REELD_PHONE_WITHHELD = 5, /* the caller has no number, or does not show it */
};

struct reeld_phone {
	enum reeld_phone_kind kind;
	char number[REELD_PHONE_SIZE]; /* "" unless kind is REELD_PHONE_NUMBER */
	/* The given text without white space around it, whatever the kind. Points into it, has no NUL. */
	const char *text;
	size_t text_len;
	/* Digits of an extension ("ext. 12", "x12", "#12", ";ext=12") in the given text, or NULL. E.164 has no room for one. */
	const char *extension;
	size_t extension_len;
};

enum reeld_phone_result {
	REELD_PHONE_OK = 0,
	REELD_PHONE_EMPTY = -1,
	REELD_PHONE_BAD_CHARACTER = -2,   /* one that is neither digit nor separator, or a '+' in the middle */
	REELD_PHONE_TOO_SHORT = -3,       /* for its country */
	REELD_PHONE_TOO_LONG = -4,        /* for its country, or the text for REELD_PHONE_TEXT_MAX */
	REELD_PHONE_BAD_NUMBER = -5,      /* has a length or a beginning that its country does not use */
	REELD_PHONE_NO_COUNTRY = -6,      /* neither '+' nor a default country */
	REELD_PHONE_UNKNOWN_COUNTRY = -7, /* the default country is no ISO 3166-1 code with a calling code */
	REELD_PHONE_UNKNOWN_CODE = -8,    /* no country has this calling code */
};

/*
 * Reads `len` bytes of UTF-8. `country`: the ISO 3166-1 alpha-2 code ("GB", either case) of where the text was written, which decides
 * about numbers without '+': international with that country's prefix ("011", "00"), or national, with or without its trunk prefix
 * ("0", "8", "06"). NULL: only numbers with '+' are read. A number with '+' means the same with any country.
 *
 * Digits may be ASCII, full-width (U+FF10), Arabic-Indic (U+0660) or Extended Arabic-Indic (U+06F0). Between them are allowed: space (any
 * of Unicode's), '-' and other dashes, '.', '/', '~', parentheses, brackets, and the invisible marks that address books add
 * (U+200B to U+200F, U+202A to U+202E, U+2060 to U+2069, U+FEFF, U+00AD). A trunk prefix in an international number ("+44 (0)20…") is dropped.
 * "tel:" and its ";phone-context=+44" are understood.
 *
 * Withheld are the words "anonymous", "blocked", "private", "restricted", "unavailable", "unknown" and "withheld" in either case,
 * addresses at anonymous.invalid (RFC 3323), and the numbers that spell the words on a keypad: +266696687, +2562533,
 * +7378742833, +86282452253, +8656696 (Twilio, "Why am I getting calls from these strange numbers"). None of them is a possible number.
 *
 * *phone is only good with REELD_PHONE_OK, but its `text` is always set.
 */
enum reeld_phone_result reeld_phone_parse(const char *text, size_t len, const char *country, struct reeld_phone *phone);

/*
 * For logs and pages: writes all but the last four characters of `len` bytes as '*', cut to fit, and a NUL. A character of
 * UTF-8 is never cut. Takes any text, also an address; four characters or fewer stay as they are.
 */
void reeld_phone_mask(const char *text, size_t len, char *out, size_t size);

/* A sentence for people: "too short for its country". */
const char *reeld_phone_message(enum reeld_phone_result result);

#ifdef __cplusplus
}
#endif
#endif
