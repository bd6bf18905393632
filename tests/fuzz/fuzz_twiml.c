/* SPDX-License-Identifier: MIT */
/*
 * TwiML of any text: a parser reads what was written, and finds the text, the attribute and the elements that were meant, or it was
 * refused.
 */
#include "base/check.h"

#include <expat.h>
#include <reeld/twiml.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct found {
	char text[TEXT_MAX * 2];
	size_t len;
	char name[TEXT_MAX + 1];
	unsigned elements;
};

static void XMLCALL on_text(void *user, const XML_Char *text, int len)
{
	struct found *found = user;

	REQUIRE(found->len + (size_t)len <= sizeof(found->text));
	memcpy(found->text + found->len, text, (size_t)len);
	found->len += (size_t)len;
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	struct found *found = user;

	found->elements++;
	if (strcmp(name, "Recording") != 0)
		return;
	REQUIRE(strcmp(attributes[0], "name") == 0 && attributes[2] == NULL && strlen(attributes[1]) < sizeof(found->name));
	memcpy(found->name, attributes[1], strlen(attributes[1]) + 1);
}

static void read_back(const char *xml, size_t len, struct found *found)
{
	XML_Parser parser = XML_ParserCreate(NULL);

	REQUIRE(parser != NULL);
	memset(found, 0, sizeof(*found));
	XML_SetUserData(parser, found);
	XML_SetElementHandler(parser, on_start, NULL);
	XML_SetCharacterDataHandler(parser, on_text);
	REQUIRE(XML_Parse(parser, xml, (int)len, 1) == XML_STATUS_OK);
	XML_ParserFree(parser);
}

static void check_urls(const char *url)
{
	if (reeld_twiml_stream_url_valid(url))
		REQUIRE(strpbrk(url, " \"<>?#\\\n") == NULL);
	if (reeld_twiml_callback_url_valid(url))
		REQUIRE(strpbrk(url, " \"<>\\\n") == NULL);
}

/* The input up to its first NUL is the name, what follows is the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct found found;
	static char out[REELD_TWIML_MAX + 1];
	const char *text = (const char *)data;
	const char *nul = memchr(text, '\0', size);
	struct reeld_twiml twiml;
	size_t len;

	if (size > TEXT_MAX)
		return 0;
	size_t name_len = nul == NULL ? 0 : (size_t)(nul - text);
	char *name = strndup(text, name_len);
	REQUIRE(name != NULL);
	const char *said = nul == NULL ? text : nul + 1;
	size_t said_len = size - (size_t)(said - text);

	const struct reeld_twiml_recording recording = {.name = name};
	reeld_twiml_begin(&twiml, out, sizeof(out));
	reeld_twiml_say(&twiml, said, said_len, NULL, NULL);
	reeld_twiml_start_recording(&twiml, &recording);
	enum reeld_twiml_result result = reeld_twiml_end(&twiml, &len);
	REQUIRE(strlen(out) == len && (result == REELD_TWIML_OK) == (len > 0));
	if (result == REELD_TWIML_OK) {
		read_back(out, len, &found);
		REQUIRE(found.elements == 4 && strcmp(found.name, name) == 0);
		REQUIRE(found.len == said_len && memcmp(found.text, said, said_len) == 0);
	}
	check_urls(name);
	free(name);
	return 0;
}
