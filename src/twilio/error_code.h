/* SPDX-License-Identifier: MIT */
/*
 * Twilio's error codes about recordings, in our own words. Sources: https://www.twilio.com/docs/api/errors (a page for each code)
 * and https://support.twilio.com/hc/en-us/articles/360014251313 (16101 and 16102 come with the callback). Pure.
 */
#ifndef REELD_TWILIO_ERROR_CODE_H
#define REELD_TWILIO_ERROR_CODE_H

#include <stddef.h>
#include <stdint.h>

#define TWILIO_ERROR_TEXT_SIZE 160

/* What the code means: "shorter than the least that Twilio keeps". NULL for a code that we have no words for. */
const char *twilio_error_words(int64_t code);

/*
 * "error 16101: shorter than …" into `out`, at most TWILIO_ERROR_TEXT_SIZE bytes with the NUL; for a code without words where Twilio
 * explains it: "error 12345, see https://www.twilio.com/docs/api/errors/12345". Returns `out`.
 */
const char *twilio_error_describe(int64_t code, char out[TWILIO_ERROR_TEXT_SIZE]);

#endif
