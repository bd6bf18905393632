/* SPDX-License-Identifier: MIT */
/* What a callback says, and its signature. Parameters and their order: as captured from Twilio (docs/sandbox.md names what was captured and what is a guess). Pure. */
#ifndef REELD_SANDBOX_CALLBACK_FORM_H
#define REELD_SANDBOX_CALLBACK_FORM_H

#include "base/buffer.h"
#include "sandbox/model.h"

#include <reeld/signature.h>

enum callback_kind {
	CALLBACK_COMPLETED,   /* of a recording */
	CALLBACK_IN_PROGRESS, /* of a recording */
	CALLBACK_CALL_INCOMING,
	CALLBACK_CALL_RINGING,
	CALLBACK_CALL_ANSWERED,
	CALLBACK_CALL_ENDED,
};

/* Whether it is about a recording rather than its call. */
bool callback_is_of_recording(enum callback_kind kind);

struct callback_form {
	const struct model *model;
	struct reeld_signature_key *key;
	const char *account_sid;
};

/* Writes the form and signs it for `url` (without fragment). 0, ERR_NOMEM (also when it does not fit), ERR_IO when it cannot be encrypted. */
int callback_form_write(const struct callback_form *form, enum callback_kind kind, const struct model_recording *recording,
			const char *url, struct buffer *body, char signature[REELD_SIGNATURE_SIZE]);

#endif
