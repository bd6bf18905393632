/* SPDX-License-Identifier: MIT */
#include "store/aws_profile.h"

static struct slice take_line(struct slice *rest)
{
	const char *newline = memchr(rest->ptr, '\n', rest->len);
	struct slice line = {rest->ptr, newline == NULL ? rest->len : (size_t)(newline - rest->ptr)};
	size_t taken = line.len + (newline != NULL);

	*rest = slice_make(rest->ptr + taken, rest->len - taken);
	return line;
}

/* Cuts off "value # comment". */
static struct slice without_comment(struct slice s)
{
	for (size_t i = 1; i < s.len; i++) {
		if ((s.ptr[i] == '#' || s.ptr[i] == ';') && slice_is_blank(s.ptr[i - 1]))
			return slice_make(s.ptr, i);
	}
	return s;
}

/* Whether the heading, what stands between [ and ], is the profile's. */
static bool is_section_of(struct slice heading, enum aws_profile_file file, struct slice name)
{
	struct slice word = SLICE("profile");

	heading = slice_trim(heading);
	if (file == AWS_PROFILE_CREDENTIALS || slice_equal(heading, SLICE("default")))
		return slice_equal(heading, name);
	if (!slice_starts_with(heading, word) || heading.len == word.len || !slice_is_blank(heading.ptr[word.len]))
		return false;
	heading = slice_trim(slice_make(heading.ptr + word.len, heading.len - word.len));
	if (heading.len >= 2 && heading.ptr[0] == '"' && heading.ptr[heading.len - 1] == '"')
		heading = slice_make(heading.ptr + 1, heading.len - 2);
	return slice_equal(heading, name);
}

static void take_property(struct aws_profile *profile, struct slice key, struct slice value)
{
#define TAKE(field, text)                           \
	if (slice_equal_nocase(key, SLICE(text))) { \
		profile->field = value;             \
		return;                             \
	}
	AWS_PROFILE_KEYS(TAKE)
#undef TAKE
}

int aws_profile_parse(struct slice text, enum aws_profile_file file, const char *name, const char *path,
		      struct aws_profile *profile, struct error *error)
{
	bool inside = false;       /* the profile's section */
	bool has_property = false; /* in this section, so that an indented line belongs to it */

	*profile = (struct aws_profile){0};
	for (unsigned number = 1; text.len > 0; number++) {
		struct slice raw = take_line(&text);
		struct slice line = slice_trim(raw);
		if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
			continue;
		if (line.ptr[0] == '[') {
			const char *end = memchr(line.ptr, ']', line.len);
			if (end == NULL)
				return error_set(error, ERR_CONFIG, "%s:%u: section heading without ]", path, number);
			inside = is_section_of(slice_make(line.ptr + 1, (size_t)(end - line.ptr) - 1), file,
					       slice_from_cstr(name));
			has_property = false;
			profile->found = profile->found || inside;
			continue;
		}
		const char *equals = memchr(line.ptr, '=', line.len);
		bool nested = has_property && slice_is_blank(raw.ptr[0]);
		if (!inside || nested || equals == NULL)
			continue;
		has_property = true;
		size_t key_len = (size_t)(equals - line.ptr);
		take_property(profile, slice_trim(slice_make(line.ptr, key_len)),
			      slice_trim(without_comment(slice_make(equals + 1, line.len - key_len - 1))));
	}
	return 0;
}
