/* SPDX-License-Identifier: MIT */
#include "sandbox/twiml_read.h"

#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct reading {
	XML_Parser parser;
	struct twiml_recording *out;
	bool rooted;
	int status;
};

static void refuse(struct reading *reading, int status)
{
	reading->status = status;
	XML_StopParser(reading->parser, XML_FALSE);
}

static const char *attribute_of(const char **attributes, const char *name)
{
	for (; attributes[0] != NULL; attributes += 2)
		if (strcmp(attributes[0], name) == 0)
			return attributes[1];
	return NULL;
}

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = words; at != NULL; at = strchr(at, ' ')) {
		at += strspn(at, " ");
		if (strncmp(at, word, len) == 0 && (at[len] == ' ' || at[len] == '\0'))
			return true;
	}
	return false;
}

static void on_start(void *data, const char *name, const char **attributes)
{
	struct reading *reading = data;
	struct twiml_recording *out = reading->out;
	const char *callback = attribute_of(attributes, "recordingStatusCallback");
	const char *events = attribute_of(attributes, "recordingStatusCallbackEvent");
	if (!reading->rooted && strcmp(name, "Response") != 0) {
		refuse(reading, ERR_MALFORMED);
		return;
	}
	reading->rooted = true;
	if (callback == NULL || out->callback[0] != '\0')
		return;
	if ((size_t)snprintf(out->callback, sizeof(out->callback), "%s", callback) >= sizeof(out->callback))
		refuse(reading, ERR_LIMIT);
	out->completed = events == NULL || has_word(events, "completed");
	out->in_progress = events != NULL && has_word(events, "in-progress");
}

static void on_doctype(void *data, const char *name, const char *system_id, const char *public_id, int has_subset)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_subset;
	refuse(data, ERR_MALFORMED);
}

int twiml_read(struct slice document, struct twiml_recording *ret)
{
	struct reading reading = {.out = ret};
	*ret = (struct twiml_recording){0};
	reading.parser = XML_ParserCreate(NULL);
	if (reading.parser == NULL)
		return ERR_NOMEM;
	XML_SetUserData(reading.parser, &reading);
	XML_SetStartElementHandler(reading.parser, on_start);
	XML_SetStartDoctypeDeclHandler(reading.parser, on_doctype);
	bool parsed = document.len <= INT_MAX && XML_Parse(reading.parser, document.ptr, (int)document.len, 1) == XML_STATUS_OK;
	XML_ParserFree(reading.parser);
	return reading.status != 0 ? reading.status : parsed ? 0 : ERR_MALFORMED;
}
