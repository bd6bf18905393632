/* SPDX-License-Identifier: MIT */
#include <reeld/twiml.h>

#include <criterion/criterion.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>"
#define TAIL "</Response>"

struct document {
	struct reeld_twiml t;
	char out[REELD_TWIML_MAX + 1];
	size_t len;
};

static struct document doc;

static struct reeld_twiml *begin(void)
{
	reeld_twiml_begin(&doc.t, doc.out, sizeof(doc.out));
	return &doc.t;
}

static void expect_xml(const char *xml)
{
	cr_expect_eq(reeld_twiml_end(&doc.t, &doc.len), REELD_TWIML_OK);
	cr_expect_str_eq(doc.out, xml);
	cr_expect_eq(doc.len, strlen(doc.out));
}

static void expect_failure(enum reeld_twiml_result result, const char *what)
{
	doc.len = 99;
	cr_expect_eq(reeld_twiml_end(&doc.t, &doc.len), result, "%s: %s", what, reeld_twiml_message(doc.t.result));
	cr_expect_eq(doc.len, 0);
	cr_expect_str_eq(doc.out, "");
	cr_expect_str_eq(doc.t.what, what);
}

/* What a parser finds: the text of the document, and the attributes one after the other, "name=value;". */
struct meaning {
	char text[4096];
	char attributes[4096];
};

static void XMLCALL on_text(void *user, const XML_Char *text, int len)
{
	struct meaning *meaning = user;

	strncat(meaning->text, text, (size_t)len);
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	struct meaning *meaning = user;

	for (; *attributes != NULL; attributes += 2) {
		size_t used = strlen(meaning->attributes);
		(void)snprintf(meaning->attributes + used, sizeof(meaning->attributes) - used, "%s=%s;", attributes[0],
			       attributes[1]);
	}
}

static void parse(struct meaning *meaning)
{
	XML_Parser parser = XML_ParserCreate(NULL);

	*meaning = (struct meaning){0};
	XML_SetUserData(parser, meaning);
	XML_SetElementHandler(parser, on_start, NULL);
	XML_SetCharacterDataHandler(parser, on_text);
	cr_expect_eq(XML_Parse(parser, doc.out, (int)doc.len, 1), XML_STATUS_OK, "%s in %s",
		     XML_ErrorString(XML_GetErrorCode(parser)), doc.out);
	XML_ParserFree(parser);
}

Test(twiml, an_empty_document)
{
	begin();
	expect_xml(HEAD TAIL);
}

Test(twiml, the_declaration_is_the_first_byte)
{
	begin();
	cr_expect_eq(reeld_twiml_end(&doc.t, &doc.len), REELD_TWIML_OK);
	cr_expect_eq(strncmp(doc.out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>", 38), 0);
}

Test(twiml, all_verbs_in_order)
{
	const struct reeld_twiml_recording recording = {
		.callback = "https://example.com/cb?a=1&b=%20#rc=5&rp=all",
		.method = "POST",
		.events = "in-progress completed absent failed",
		.channels = "dual",
		.track = "both",
		.trim = "do-not-trim",
		.name = "main",
	};
	const struct reeld_twiml_parameter parameters[] = {{"token", "a&b"}, {"empty", ""}};
	struct reeld_twiml *t = begin();

	reeld_twiml_say(t, "Hello", 5, "Polly.Joanna-Neural", "en-US");
	reeld_twiml_start_recording(t, &recording);
	reeld_twiml_connect_stream(t, "wss://media.example.com:8443/stream", "inbound_track", parameters, 2);
	expect_xml(
		HEAD
		"<Say voice=\"Polly.Joanna-Neural\" language=\"en-US\">Hello</Say>"
		"<Start><Recording name=\"main\" recordingStatusCallback=\"https://example.com/cb?a=1&amp;b=%20#rc=5&amp;rp=all\""
		" recordingStatusCallbackMethod=\"POST\" recordingStatusCallbackEvent=\"in-progress completed absent failed\""
		" channels=\"dual\" track=\"both\" trim=\"do-not-trim\"/></Start>"
		"<Connect><Stream url=\"wss://media.example.com:8443/stream\" track=\"inbound_track\">"
		"<Parameter name=\"token\" value=\"a&amp;b\"/><Parameter name=\"empty\" value=\"\"/></Stream></Connect>" TAIL);
}

Test(twiml, record_with_all_attributes)
{
	const struct reeld_twiml_record record = {
		.action = "/next?x=1",
		.method = "GET",
		.timeout_s = 7,
		.max_length_s = 120,
		.finish_on_key = "#*0",
		.play_beep = "false",
		.trim = "trim-silence",
		.callback = "https://example.com/cb",
		.callback_method = "GET",
		.events = "completed",
		.transcribe = "true",
		.transcribe_callback = "transcribed",
	};

	reeld_twiml_record(begin(), &record);
	expect_xml(
		HEAD
		"<Record action=\"/next?x=1\" method=\"GET\" timeout=\"7\" maxLength=\"120\" finishOnKey=\"#*0\" "
		"playBeep=\"false\""
		" trim=\"trim-silence\" recordingStatusCallback=\"https://example.com/cb\" recordingStatusCallbackMethod=\"GET\""
		" recordingStatusCallbackEvent=\"completed\" transcribe=\"true\" transcribeCallback=\"transcribed\"/>" TAIL);
}

Test(twiml, what_is_not_given_is_left_out)
{
	struct reeld_twiml *t = begin();

	reeld_twiml_say(t, "a", 1, NULL, NULL);
	reeld_twiml_record(t, NULL);
	reeld_twiml_start_recording(t, NULL);
	reeld_twiml_connect_stream(t, "wss://h", NULL, NULL, 0);
	expect_xml(HEAD "<Say>a</Say><Record/><Start><Recording/></Start><Connect><Stream url=\"wss://h\"/></Connect>" TAIL);
}

Test(twiml, text_means_the_same_after_a_parser)
{
	static const char text[] = "1 < 2 & 3 > 2 ]]> \"q\" 'a' </Say><Hangup/> &amp; tab\t cr\r crlf\r\n lf\n \xc3\xa9 "
				   "\xe2\x82\xac \xf0\x9f\x93\x9e \xc2\x85";
	const struct reeld_twiml_parameter parameter = {"n\"<&>'\t\r\n", text};
	struct reeld_twiml *t = begin();
	struct meaning meaning;
	char expected[4096];

	reeld_twiml_say(t, text, sizeof(text) - 1, NULL, NULL);
	reeld_twiml_connect_stream(t, "wss://h/", NULL, &parameter, 1);
	cr_assert_eq(reeld_twiml_end(t, &doc.len), REELD_TWIML_OK);
	parse(&meaning);
	cr_expect_str_eq(meaning.text, text);
	(void)snprintf(expected, sizeof(expected), "url=wss://h/;name=n\"<&>'\t\r\n;value=%s;", text);
	cr_expect_str_eq(meaning.attributes, expected);
}

Test(twiml, only_characters_that_xml_has)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{"a\0b", 3},
		{"\x01", 1},
		{"\x08", 1},
		{"\x0b", 1},
		{"\x1f", 1},
		{"\xef\xbf\xbe", 3},
		{"\xef\xbf\xbf", 3}, /* U+FFFE, U+FFFF */
		{"\xed\xa0\x80", 3},
		{"\xed\xbf\xbf", 3}, /* surrogates */
		{"\x80", 1},
		{"\xbf", 1},
		{"\xc0\x80", 2},
		{"\xc1\xbf", 2},
		{"\xe0\x80\x80", 3},
		{"\xe0\x9f\xbf", 3},
		{"\xf0\x8f\xbf\xbf", 4},
		{"\xf4\x90\x80\x80", 4},
		{"\xf5\x80\x80\x80", 4},
		{"\xff", 1},
		{"\xc3", 1},
		{"\xe2\x82", 2},
		{"\xf0\x9f\x93", 3},
		{"\xc3(", 2},
		{"\xe2\x82(", 3},
	};
	static const char *const good[] = {
		"\t\n\r",       " ~\x7f",       "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		/* on the heap, so that a read past the end is seen by the sanitizer */
		char *text = malloc(bad[i].len);
		cr_assert_not_null(text);
		memcpy(text, bad[i].text, bad[i].len);
		reeld_twiml_say(begin(), text, bad[i].len, NULL, NULL);
		expect_failure(REELD_TWIML_BAD_TEXT, "Say");
		free(text);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct meaning meaning;
		reeld_twiml_say(begin(), good[i], strlen(good[i]), NULL, NULL);
		cr_expect_eq(reeld_twiml_end(&doc.t, &doc.len), REELD_TWIML_OK, "case %zu", i);
		parse(&meaning);
		cr_expect_str_eq(meaning.text, good[i]);
	}
}

Test(twiml, bad_text_in_attributes)
{
	const struct reeld_twiml_recording name = {.name = "a\x01"}, no_name = {.name = ""};
	const struct reeld_twiml_parameter parameter = {"a", "\xff"}, nameless = {"", "a"};

	reeld_twiml_start_recording(begin(), &name);
	expect_failure(REELD_TWIML_BAD_TEXT, "name");
	reeld_twiml_start_recording(begin(), &no_name);
	expect_failure(REELD_TWIML_BAD_TEXT, "name");
	reeld_twiml_connect_stream(begin(), "wss://h", NULL, &parameter, 1);
	expect_failure(REELD_TWIML_BAD_TEXT, "value");
	reeld_twiml_connect_stream(begin(), "wss://h", NULL, &nameless, 1);
	expect_failure(REELD_TWIML_BAD_TEXT, "Parameter");
	reeld_twiml_say(begin(), "", 0, NULL, NULL);
	expect_failure(REELD_TWIML_BAD_TEXT, "Say");
}

static void expect_bad_recording(struct reeld_twiml_recording options, const char *what)
{
	reeld_twiml_start_recording(begin(), &options);
	expect_failure(REELD_TWIML_BAD_VALUE, what);
}

static void expect_bad_record(struct reeld_twiml_record options, const char *what)
{
	reeld_twiml_record(begin(), &options);
	expect_failure(REELD_TWIML_BAD_VALUE, what);
}

Test(twiml, values_that_twilio_does_not_know)
{
	expect_bad_recording((struct reeld_twiml_recording){.method = "post"}, "recordingStatusCallbackMethod");
	expect_bad_recording((struct reeld_twiml_recording){.method = ""}, "recordingStatusCallbackMethod");
	expect_bad_recording((struct reeld_twiml_recording){.events = ""}, "recordingStatusCallbackEvent");
	expect_bad_recording((struct reeld_twiml_recording){.events = "completed  absent"}, "recordingStatusCallbackEvent");
	expect_bad_recording((struct reeld_twiml_recording){.events = "completed "}, "recordingStatusCallbackEvent");
	expect_bad_recording((struct reeld_twiml_recording){.events = "completed,absent"}, "recordingStatusCallbackEvent");
	expect_bad_recording((struct reeld_twiml_recording){.events = "complete"}, "recordingStatusCallbackEvent");
	expect_bad_recording((struct reeld_twiml_recording){.channels = "stereo"}, "channels");
	expect_bad_recording((struct reeld_twiml_recording){.track = "both_tracks"}, "track");
	expect_bad_recording((struct reeld_twiml_recording){.trim = "true"}, "trim");
	expect_bad_record((struct reeld_twiml_record){.max_length_s = 1}, "maxLength");
	expect_bad_record((struct reeld_twiml_record){.max_length_s = 86401}, "maxLength");
	expect_bad_record((struct reeld_twiml_record){.finish_on_key = "a"}, "finishOnKey");
	expect_bad_record((struct reeld_twiml_record){.finish_on_key = ""}, "finishOnKey");
	expect_bad_record((struct reeld_twiml_record){.play_beep = "yes"}, "playBeep");
	expect_bad_record((struct reeld_twiml_record){.transcribe = "1"}, "transcribe");
	expect_bad_record((struct reeld_twiml_record){.method = "PUT"}, "method");
	reeld_twiml_connect_stream(begin(), "wss://h", "both", NULL, 0);
	expect_failure(REELD_TWIML_BAD_VALUE, "track");
	reeld_twiml_say(begin(), "a", 1, "Polly Joanna", NULL);
	expect_failure(REELD_TWIML_BAD_VALUE, "voice");
	reeld_twiml_say(begin(), "a", 1, NULL, "en_US\"");
	expect_failure(REELD_TWIML_BAD_VALUE, "language");
}

Test(twiml, callback_urls)
{
	static const char *const good[] = {
		"https://example.com",
		"HTTP://example.com:8080/a",
		"https://user:pw@example.com/?x=%C3%A9&y=a+b#rc=5&rp=all",
		"/api/twilio/recording",
		"next",
		"?a=b:c",
		"#rc=1",
		"a/b:c",
		"https://[2001:db8::1]:8443/x",
		"https://203.0.113.7/",
	};
	static const char *const bad[] = {
		"",
		"https://",
		"https:///path",
		"https://?x",
		"https://h:80x/",
		"https://h_h.example.com/",
		"https://user@/",
		"https://h/a b",
		"https://h/%SPACE%",
		"https://h/%",
		"https://h/%2",
		"https://h/%2g",
		"https://h/%%20",
		"https://h/\"",
		"https://h/<",
		"https://h/\\",
		"https://h/{a}",
		"https://h/\xc3\xa9",
		"https://h/\n",
		"https://[::1",
		"https://[::1/]",
		"https://[]x/",
		"ftp://h/",
		"javascript:alert(1)",
		"mailto:a@b",
		"//h/x",
		"https:/h",
		"wss://h",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_expect(reeld_twiml_callback_url_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_not(reeld_twiml_callback_url_valid(bad[i]), "%s", bad[i]);

	/* https://github.com/twilio/twilio-node/issues/591 */
	const struct reeld_twiml_recording recording = {.callback = "https://example.com/a%SPACE%b"};
	reeld_twiml_start_recording(begin(), &recording);
	expect_failure(REELD_TWIML_BAD_URL, "recordingStatusCallback");
	reeld_twiml_record(begin(), &(struct reeld_twiml_record){.action = "ftp://h"});
	expect_failure(REELD_TWIML_BAD_URL, "action");
	reeld_twiml_record(begin(), &(struct reeld_twiml_record){.transcribe_callback = "%"});
	expect_failure(REELD_TWIML_BAD_URL, "transcribeCallback");
}

Test(twiml, stream_urls)
{
	static const char *const good[] = {"wss://h", "WSS://h:443/", "wss://media.example.com/a/b@c", "wss://[::1]:8443/s"};
	static const char *const bad[] = {
		"",           "ws://h",     "https://h",  "wss:h",       "wss://",     "wss:///a",  "/relative", "wss://h?a=b",
		"wss://h/?a", "wss://h/#a", "wss://u@h/", "wss://u:p@h", "wss://h/%2", "wss://h/ ",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_expect(reeld_twiml_stream_url_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_expect_not(reeld_twiml_stream_url_valid(bad[i]), "%s", bad[i]);
		reeld_twiml_connect_stream(begin(), bad[i], NULL, NULL, 0);
		expect_failure(REELD_TWIML_BAD_URL, "url");
	}
}

Test(twiml, the_first_failure_is_reported)
{
	struct reeld_twiml *t = begin();

	reeld_twiml_say(t, "a", 1, NULL, "en US");
	reeld_twiml_connect_stream(t, "http://h", NULL, NULL, 0);
	reeld_twiml_say(t, "\xff", 1, NULL, NULL);
	expect_failure(REELD_TWIML_BAD_VALUE, "language");
}

Test(twiml, a_buffer_that_is_too_small)
{
	size_t whole = strlen(HEAD "<Say>abc&amp;</Say>" TAIL);

	for (size_t cap = 0; cap <= whole + 1; cap++) {
		struct reeld_twiml t;
		char *out = malloc(cap == 0 ? 1 : cap);
		size_t len = 99;
		cr_assert_not_null(out);
		reeld_twiml_begin(&t, out, cap);
		reeld_twiml_say(&t, "abc&", 4, NULL, NULL);
		enum reeld_twiml_result result = reeld_twiml_end(&t, &len);
		cr_expect_eq(result, cap == whole + 1 ? REELD_TWIML_OK : REELD_TWIML_TOO_LONG, "cap %zu", cap);
		cr_expect_eq(len, result == REELD_TWIML_OK ? whole : 0);
		cr_expect(cap == 0 || strlen(out) == len);
		free(out);
	}
}

Test(twiml, at_most_64_kB)
{
	static char huge[2 * REELD_TWIML_MAX];
	static char text[REELD_TWIML_MAX];
	size_t fits = REELD_TWIML_MAX - strlen(HEAD "<Say></Say>" TAIL);
	struct reeld_twiml t;
	size_t len;

	memset(text, 'a', sizeof(text));
	for (int more = 0; more <= 1; more++) {
		reeld_twiml_begin(&t, huge, sizeof(huge));
		reeld_twiml_say(&t, text, fits + (size_t)more, NULL, NULL);
		cr_expect_eq(reeld_twiml_end(&t, &len), more == 0 ? REELD_TWIML_OK : REELD_TWIML_TOO_LONG);
		cr_expect_eq(len, more == 0 ? REELD_TWIML_MAX : 0);
	}
}

/* ---- Beside the twilio package: the same elements, attributes and text, however they are spelled ---- */

struct canonical {
	char text[8192];
	size_t len;
};

static void add(struct canonical *c, const char *format, const char *a, const char *b)
{
	c->len += (size_t)snprintf(c->text + c->len, sizeof(c->text) - c->len, format, a, b);
	cr_assert_lt(c->len, sizeof(c->text));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void XMLCALL canonical_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	const char *pairs[32][2];
	size_t count = 0;

	for (; attributes[count * 2] != NULL; count++) {
		cr_assert_lt(count, 32);
		pairs[count][0] = attributes[count * 2];
		pairs[count][1] = attributes[count * 2 + 1];
	}
	qsort(pairs, count, sizeof(*pairs), by_name);
	add(user, "<%s%s", name, "");
	for (size_t i = 0; i < count; i++)
		add(user, "|%s=%s", pairs[i][0], pairs[i][1]);
	add(user, ">%s%s", "", "");
}

static void XMLCALL canonical_end(void *user, const XML_Char *name)
{
	add(user, "</%s>%s", name, "");
}

static void XMLCALL canonical_text(void *user, const XML_Char *text, int len)
{
	char copy[1024];

	(void)snprintf(copy, sizeof(copy), "%.*s", len, text);
	add(user, "%s%s", copy, "");
}

static void canonicalize(const char *xml, size_t len, struct canonical *canonical)
{
	XML_Parser parser = XML_ParserCreate(NULL);

	*canonical = (struct canonical){0};
	XML_SetUserData(parser, canonical);
	XML_SetElementHandler(parser, canonical_start, canonical_end);
	XML_SetCharacterDataHandler(parser, canonical_text);
	cr_assert_eq(XML_Parse(parser, xml, (int)len, 1), XML_STATUS_OK, "%s", XML_ErrorString(XML_GetErrorCode(parser)));
	XML_ParserFree(parser);
}

static void expect_as_package(const char *name)
{
	char path[512], xml[4096];
	struct canonical ours, theirs;

	(void)snprintf(path, sizeof(path), "%s/twiml/%s.xml", TEST_DATA_DIR, name);
	FILE *file = fopen(path, "r");
	cr_assert_not_null(file, "%s", path);
	size_t len = fread(xml, 1, sizeof(xml), file);
	(void)fclose(file);
	cr_assert_eq(reeld_twiml_end(&doc.t, &doc.len), REELD_TWIML_OK, "%s: %s", name, doc.t.what);
	canonicalize(xml, len, &theirs);
	canonicalize(doc.out, doc.len, &ours);
	cr_expect_str_eq(ours.text, theirs.text, "%s: %s, not %s", name, ours.text, theirs.text);
}

/* The files are made by tests/unit/data/twiml/make.js. */
Test(twiml, as_the_twilio_package)
{
	static const char escapes[] =
		"1 < 2 & 3 > 2 ]]> \"q\" 'a' &amp; <Hangup/>\tz\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x93\x9e\nnext line\r\nend";
	const struct reeld_twiml_record record = {
		.action = "/next?x=1&y=2",
		.method = "GET",
		.timeout_s = 7,
		.max_length_s = 120,
		.finish_on_key = "#*0",
		.play_beep = "false",
		.trim = "do-not-trim",
		.callback = "https://example.com/cb?a=1&b=2",
		.callback_method = "POST",
		.events = "in-progress completed absent",
		.transcribe = "true",
		.transcribe_callback = "https://example.com/text",
	};
	const struct reeld_twiml_recording recording = {
		.name = "main \"call\" <1>",
		.callback = "https://user:pw@example.com/cb?a=1&b=%20#rc=5&rp=all",
		.method = "POST",
		.events = "completed absent",
		.channels = "dual",
		.track = "both",
		.trim = "trim-silence",
	};
	const struct reeld_twiml_parameter parameters[] = {
		{"token", "a&b<c>\"d\"'e'"},
		{"lines", "tab\there\nnext\rback"},
		{"empty", ""},
	};

	begin();
	expect_as_package("empty");
	reeld_twiml_say(begin(), "Hello, World", 12, NULL, NULL);
	expect_as_package("say");
	reeld_twiml_say(begin(), escapes, sizeof(escapes) - 1, "Polly.Joanna-Neural", "en-US");
	expect_as_package("say_escapes");
	reeld_twiml_record(begin(), &record);
	expect_as_package("record");
	reeld_twiml_start_recording(begin(), &recording);
	expect_as_package("start_recording");
	reeld_twiml_connect_stream(begin(), "wss://media.example.com:8443/stream", "inbound_track", parameters, 3);
	expect_as_package("connect_stream");
	struct reeld_twiml *t = begin();
	reeld_twiml_say(t, "Welcome", 7, NULL, NULL);
	reeld_twiml_start_recording(t, &(struct reeld_twiml_recording){.callback = "/cb"});
	reeld_twiml_connect_stream(t, "wss://example.com/s", NULL, NULL, 0);
	expect_as_package("greet_record_stream");
}

Test(twiml, messages)
{
	for (int result = REELD_TWIML_BAD_VALUE; result <= REELD_TWIML_OK; result++)
		cr_expect(strlen(reeld_twiml_message((enum reeld_twiml_result)result)) > 1);
	cr_expect_str_eq(reeld_twiml_message((enum reeld_twiml_result)77), "unknown result");
}
