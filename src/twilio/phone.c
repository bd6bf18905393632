/* SPDX-License-Identifier: MIT */
/*
 * In three steps: what kind of thing the text is; which digits it has, with a '+' or not; which country's number they are.
 */
#include <reeld/phone.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 15  /* of an E.164 number */
#define DIALLED_MAX 20 /* with an international and a trunk prefix before it */
#define EXTENSION_MAX 15
#define MASK_VISIBLE 4

/* A set of lengths: bit n for n digits. */
#define LENGTHS(least, most) ((2U << (most)) - (1U << (least)))

struct plan {
	unsigned code;
	const char *trunk; /* alternatives with '|' between them */
	uint32_t lengths;
	const char *international;
	const char *countries; /* with a space between them */
};

static const struct plan plans[] = {
#define PLAN(code_, trunk_, lengths_, international_, countries_) {code_, trunk_, lengths_, international_, countries_},
#include "twilio/phone_plan.def"
#undef PLAN
};

#define PLANS (sizeof(plans) / sizeof(*plans))

/* A part of the given text. */
struct span {
	const char *start;
	size_t len;
};

/* What was dialled. */
struct digits {
	char text[DIALLED_MAX + 1];
	size_t len;
	bool plus;
};

/* ---- Characters ---- */

enum character { DIGIT, PLUS, SEPARATOR, OTHER };

/* Takes the UTF-8 character at the start of *in; 0 bytes are left untouched. Malformed: OTHER. */
static uint32_t next_character(struct span *in)
{
	const unsigned char *at = (const unsigned char *)in->start;
	size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 0;
	uint32_t value = size == 1 ? at[0] : at[0] & (0x7fU >> size);

	if (size > in->len)
		size = 0;
	for (size_t i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80) {
			size = 0;
			break;
		}
		value = value << 6 | (at[i] & 0x3fU);
	}
	/* Nothing above U+FFFF has a meaning here, nor anything malformed. */
	if (size == 0 || (size == 3 && value < 0x800)) {
		value = UINT32_MAX;
		size = 1;
	}
	in->start += size;
	in->len -= size;
	return value;
}

static bool is_in(uint32_t c, uint32_t first, uint32_t last)
{
	return c >= first && c <= last;
}

static bool is_separator(uint32_t c)
{
	if (c < 0x80)
		return c != 0 && strchr(" \t\r\n-./~()[]", (int)c) != NULL;
	return c == 0xa0 || c == 0xad || is_in(c, 0x2000, 0x2015) || is_in(c, 0x2028, 0x202f) || is_in(c, 0x205f, 0x2069) ||
	       c == 0x2212 || c == 0x3000 || c == 0xfeff || is_in(c, 0xff08, 0xff09) || is_in(c, 0xff0d, 0xff0f) || c == 0xff5e;
}

/* Sets *digit to '0'..'9' for a digit. */
static enum character classify(uint32_t c, char *digit)
{
	static const uint32_t zeros[] = {'0', 0x0660, 0x06f0, 0xff10};

	for (size_t i = 0; i < sizeof(zeros) / sizeof(*zeros); i++)
		if (is_in(c, zeros[i], zeros[i] + 9)) {
			*digit = (char)('0' + (c - zeros[i]));
			return DIGIT;
		}
	if (c == '+' || c == 0xff0b)
		return PLUS;
	return is_separator(c) ? SEPARATOR : OTHER;
}

static bool is_ascii_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* `prefix` in lower case. ASCII, whatever the locale. */
static bool starts_with(struct span in, const char *prefix)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; i < len; i++)
		if (i == in.len || lower(in.start[i]) != prefix[i])
			return false;
	return true;
}

static bool is_text(struct span in, const char *text)
{
	return in.len == strlen(text) && starts_with(in, text);
}

static struct span skip(struct span in, size_t len)
{
	return (struct span){in.start + len, in.len - len};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span trim(struct span in)
{
	while (in.len > 0 && is_blank(in.start[0]))
		in = skip(in, 1);
	while (in.len > 0 && is_blank(in.start[in.len - 1]))
		in.len--;
	return in;
}

/* ---- What is no number ---- */

/* Ends with this, in lower case. */
static bool ends_with(struct span in, const char *end)
{
	size_t len = strlen(end);

	return in.len >= len && is_text(skip(in, in.len - len), end);
}

static bool is_withheld(struct span in)
{
	static const char *const texts[] = {
		"anonymous", "blocked",    "private",  "restricted",  "unavailable",  "unknown",
		"withheld",  "+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (is_text(in, texts[i]))
			return true;
	return ends_with(in, "@anonymous.invalid");
}

/* True and *kind when it is an address of a kind that is passed through. */
static bool find_address(struct span in, enum reeld_phone_kind *kind)
{
	static const struct {
		const char *scheme;
		enum reeld_phone_kind kind;
	} schemes[] = {
		{"client:", REELD_PHONE_CLIENT}, {"sip:", REELD_PHONE_SIP},          {"sips:", REELD_PHONE_SIP},
		{"sim:", REELD_PHONE_SIM},       {"whatsapp:", REELD_PHONE_CHANNEL}, {"messenger:", REELD_PHONE_CHANNEL},
	};

	if (is_withheld(in)) {
		*kind = REELD_PHONE_WITHHELD;
		return true;
	}
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (starts_with(in, schemes[i].scheme) && in.len > strlen(schemes[i].scheme)) {
			*kind = schemes[i].kind;
			return true;
		}
	*kind = REELD_PHONE_SIP;
	return memchr(in.start + 1, '@', in.len - 1) != NULL && in.start[in.len - 1] != '@';
}

/* An address is passed on as it is, so it must be harmless where it goes. */
static bool has_control_character(struct span in)
{
	for (size_t i = 0; i < in.len; i++)
		if ((unsigned char)in.start[i] < 0x20 || in.start[i] == 0x7f)
			return true;
	return false;
}

/* ---- Digits ---- */

/* "ext. 12", "x12" or "#12" to the end of the text. */
static bool take_extension(struct span in, struct reeld_phone *phone)
{
	static const char *const words[] = {"extension", "extn", "ext", "x", "#"};
	size_t i = 0;

	while (i < sizeof(words) / sizeof(*words) && !starts_with(in, words[i]))
		i++;
	if (i == sizeof(words) / sizeof(*words))
		return false;
	in = skip(in, strlen(words[i]));
	while (in.len > 0 && (is_blank(*in.start) || *in.start == '.' || *in.start == ':'))
		in = skip(in, 1);
	size_t len = 0;
	while (len < in.len && is_ascii_digit(in.start[len]))
		len++;
	if (len == 0 || len > EXTENSION_MAX || len != in.len)
		return false;
	phone->extension = in.start;
	phone->extension_len = len;
	return true;
}

/* Reads to the end, or to an extension. */
static enum reeld_phone_result take_digits(struct span in, struct digits *digits, struct reeld_phone *phone)
{
	while (in.len > 0) {
		struct span here = in;
		char digit = 0;
		switch (classify(next_character(&in), &digit)) {
		case DIGIT:
			if (digits->len == DIALLED_MAX)
				return REELD_PHONE_TOO_LONG;
			digits->text[digits->len++] = digit;
			break;
		case PLUS:
			if (digits->plus || digits->len > 0)
				return REELD_PHONE_BAD_CHARACTER;
			digits->plus = true;
			break;
		case SEPARATOR:
			break;
		case OTHER:
			return digits->len > 0 && take_extension(here, phone) ? REELD_PHONE_OK : REELD_PHONE_BAD_CHARACTER;
		}
	}
	return REELD_PHONE_OK;
}

/* ";ext=12;phone-context=+44" of RFC 3966. What else there is says nothing about the number. */
static enum reeld_phone_result take_parameters(struct span in, struct span *context, struct reeld_phone *phone)
{
	while (in.len > 0) {
		in = skip(in, 1);
		const char *end = memchr(in.start, ';', in.len);
		struct span parameter = {in.start, end == NULL ? in.len : (size_t)(end - in.start)};
		in = skip(in, parameter.len);
		if (starts_with(parameter, "phone-context=")) {
			*context = skip(parameter, strlen("phone-context="));
		} else if (starts_with(parameter, "ext=")) {
			parameter = skip(parameter, strlen("ext="));
			for (size_t i = 0; i < parameter.len; i++)
				if (!is_ascii_digit(parameter.start[i]))
					return REELD_PHONE_BAD_CHARACTER;
			if (parameter.len == 0 || parameter.len > EXTENSION_MAX)
				return REELD_PHONE_BAD_CHARACTER;
			phone->extension = parameter.start;
			phone->extension_len = parameter.len;
		}
	}
	return REELD_PHONE_OK;
}

static enum reeld_phone_result read_digits(struct span in, struct digits *digits, struct reeld_phone *phone)
{
	struct span context = {0};

	if (starts_with(in, "tel:"))
		in = skip(in, strlen("tel:"));
	const char *parameters = memchr(in.start, ';', in.len);
	if (parameters != NULL) {
		struct span rest = {parameters, in.len - (size_t)(parameters - in.start)};
		in.len -= rest.len;
		enum reeld_phone_result result = take_parameters(rest, &context, phone);
		if (result != REELD_PHONE_OK)
			return result;
	}
	/* A context that is a domain says nothing. */
	bool is_global = memchr(in.start, '+', in.len) != NULL;
	if (!is_global && context.len > 0 && *context.start == '+') {
		enum reeld_phone_result result = take_digits(context, digits, phone);
		if (result != REELD_PHONE_OK)
			return result;
		if (digits->len == 0)
			return REELD_PHONE_BAD_CHARACTER;
	}
	enum reeld_phone_result result = take_digits(in, digits, phone);
	if (result == REELD_PHONE_OK && digits->len == 0)
		return REELD_PHONE_TOO_SHORT;
	return result;
}

/* ---- Countries ---- */

static const struct plan *find_country(const char *country)
{
	if (strlen(country) != 2)
		return NULL;
	for (size_t i = 0; i < PLANS; i++)
		for (const char *at = plans[i].countries; *at != '\0'; at += at[2] == ' ' ? 3 : 2)
			if (lower(at[0]) == lower(country[0]) && lower(at[1]) == lower(country[1]))
				return &plans[i];
	return NULL;
}

/* Calling codes have one to three digits; none begins with 0, and none with another. */
static const struct plan *find_code(const char *digits, size_t len, size_t *code_len)
{
	unsigned code = 0;

	*code_len = 0;
	if (len == 0 || *digits == '0')
		return NULL;
	for (*code_len = 1; *code_len <= 3 && *code_len <= len; ++*code_len) {
		code = code * 10 + (unsigned)(digits[*code_len - 1] - '0');
		for (size_t i = 0; i < PLANS; i++)
			if (plans[i].code == code)
				return &plans[i];
	}
	return NULL;
}

static bool has_length(const struct plan *plan, size_t len)
{
	return len <= DIGITS_MAX && (plan->lengths >> len & 1) != 0;
}

/*
 * How many digits of trunk prefix the number begins with. No national number of a plan whose prefix begins with 0 begins with 0. Of
 * the others it may, so there the length must tell.
 */
static size_t trunk_len(const struct plan *plan, const char *digits, size_t len)
{
	for (const char *trunk = plan->trunk; *trunk != '\0';) {
		size_t size = strcspn(trunk, "|");
		if (size < len && strncmp(digits, trunk, size) == 0 &&
		    (*trunk == '0' || (!has_length(plan, len) && has_length(plan, len - size))))
			return size;
		trunk += trunk[size] == '|' ? size + 1 : size;
	}
	return 0;
}

/* A national number, with or without its trunk prefix. */
static enum reeld_phone_result finish(const struct plan *plan, const char *digits, size_t len, struct reeld_phone *phone)
{
	size_t trunk = trunk_len(plan, digits, len);
	char code[4] = "";
	size_t code_len = 0;

	digits += trunk;
	len -= trunk;
	for (unsigned rest = plan->code; rest > 0; rest /= 10)
		code_len++;
	for (unsigned rest = plan->code, i = (unsigned)code_len; rest > 0; rest /= 10)
		code[--i] = (char)('0' + rest % 10);
	if (len == 0 || len > DIGITS_MAX || plan->lengths >> len == 0)
		return len == 0 ? REELD_PHONE_TOO_SHORT : REELD_PHONE_TOO_LONG;
	if (!has_length(plan, len))
		return (plan->lengths & ((1U << len) - 1)) == 0 ? REELD_PHONE_TOO_SHORT : REELD_PHONE_BAD_NUMBER;
	if (code_len + len > DIGITS_MAX)
		return REELD_PHONE_TOO_LONG;
	if (*plan->trunk == '0' && *digits == '0')
		return REELD_PHONE_BAD_NUMBER;
	phone->number[0] = '+';
	memcpy(phone->number + 1, code, code_len);
	memcpy(phone->number + 1 + code_len, digits, len);
	phone->number[1 + code_len + len] = '\0';
	return REELD_PHONE_OK;
}

static enum reeld_phone_result finish_international(const char *digits, size_t len, struct reeld_phone *phone)
{
	size_t code_len;
	const struct plan *plan = find_code(digits, len, &code_len);

	if (plan == NULL)
		return len < 3 ? REELD_PHONE_TOO_SHORT : REELD_PHONE_UNKNOWN_CODE;
	return finish(plan, digits + code_len, len - code_len, phone);
}

static enum reeld_phone_result finish_dialled(const struct digits *digits, const char *country, struct reeld_phone *phone)
{
	if (digits->plus)
		return finish_international(digits->text, digits->len, phone);
	if (country == NULL)
		return REELD_PHONE_NO_COUNTRY;
	const struct plan *plan = find_country(country);
	if (plan == NULL)
		return REELD_PHONE_UNKNOWN_COUNTRY;

	size_t prefix = strlen(plan->international);
	bool has_prefix = prefix > 0 && digits->len > prefix && strncmp(digits->text, plan->international, prefix) == 0;
	if (has_prefix && digits->text[prefix] != '0') {
		enum reeld_phone_result result = finish_international(digits->text + prefix, digits->len - prefix, phone);
		/* Where the prefix is a single 0 (Cape Verde, Samoa) a national number may begin so. */
		if (result == REELD_PHONE_OK || prefix > 1)
			return result;
	}
	enum reeld_phone_result result = finish(plan, digits->text, digits->len, phone);
	if (result != REELD_PHONE_TOO_LONG)
		return result;
	/* "49 30 …" where the '+' was lost. */
	size_t code_len;
	if (find_code(digits->text, digits->len, &code_len) != plan)
		return result;
	return finish(plan, digits->text + code_len, digits->len - code_len, phone);
}

enum reeld_phone_result reeld_phone_parse(const char *text, size_t len, const char *country, struct reeld_phone *phone)
{
	struct digits digits = {0};
	struct span in = trim((struct span){text, len});

	*phone = (struct reeld_phone){.text = in.start, .text_len = in.len};
	if (in.len == 0)
		return REELD_PHONE_EMPTY;
	if (in.len > REELD_PHONE_TEXT_MAX)
		return REELD_PHONE_TOO_LONG;
	if (find_address(in, &phone->kind))
		return has_control_character(in) ? REELD_PHONE_BAD_CHARACTER : REELD_PHONE_OK;
	phone->kind = REELD_PHONE_NUMBER;
	enum reeld_phone_result result = read_digits(in, &digits, phone);
	return result == REELD_PHONE_OK ? finish_dialled(&digits, country, phone) : result;
}

/* ---- For people ---- */

/* The byte begins a character, or is one of a text that is no UTF-8. */
static bool begins_character(const char *text, size_t i)
{
	return i == 0 || ((unsigned char)text[i] & 0xc0) != 0x80;
}

void reeld_phone_mask(const char *text, size_t len, char *out, size_t size)
{
	size_t characters = 0;
	size_t used = 0;

	if (size == 0)
		return;
	for (size_t i = 0; i < len; i++)
		characters += begins_character(text, i) ? 1 : 0;
	for (size_t i = 0, next; i < len; i = next, characters--) {
		for (next = i + 1; next < len && !begins_character(text, next);)
			next++;
		size_t bytes = characters > MASK_VISIBLE ? 1 : next - i;
		if (bytes >= size - used)
			break;
		if (characters > MASK_VISIBLE)
			out[used] = '*';
		else
			memcpy(out + used, text + i, bytes);
		used += bytes;
	}
	out[used] = '\0';
}

const char *reeld_phone_message(enum reeld_phone_result result)
{
	switch (result) {
	case REELD_PHONE_OK:
		return "ok";
	case REELD_PHONE_EMPTY:
		return "empty";
	case REELD_PHONE_BAD_CHARACTER:
		return "not a phone number: it has a character that none has";
	case REELD_PHONE_TOO_SHORT:
		return "too short for its country";
	case REELD_PHONE_TOO_LONG:
		return "too long for its country";
	case REELD_PHONE_BAD_NUMBER:
		return "not a number of its country";
	case REELD_PHONE_NO_COUNTRY:
		return "has no '+', and no default country is given";
	case REELD_PHONE_UNKNOWN_COUNTRY:
		return "the default country is not known";
	case REELD_PHONE_UNKNOWN_CODE:
		return "no country has this calling code";
	}
	return "unknown result";
}
