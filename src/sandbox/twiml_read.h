/* SPDX-License-Identifier: MIT */
/* What the answer to a call says about its recording, as far as Twilio would act on it. Pure. */
#ifndef REELD_SANDBOX_TWIML_READ_H
#define REELD_SANDBOX_TWIML_READ_H

#include "base/err.h"
#include "base/slice.h"
#include "sandbox/callback_url.h"

#include <stdbool.h>

struct twiml_recording {
	char callback[CALLBACK_URL_SIZE]; /* recordingStatusCallback, with its fragment; "" when nobody asked for one */
	/* recordingStatusCallbackEvent; without it completed alone */
	bool in_progress;
	bool completed;
};

/*
 * The first element with a recordingStatusCallback, whichever it is (<Recording>, <Dial>, <Record>). 0; ERR_MALFORMED when the document is not well-formed, has a
 * DTD, or its root is not <Response>; ERR_LIMIT when the URL is too long; ERR_NOMEM.
 */
int twiml_read(struct slice document, struct twiml_recording *ret);

#endif
