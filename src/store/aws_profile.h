/* SPDX-License-Identifier: MIT */
/*
 * One profile of the shared AWS files ~/.aws/config and ~/.aws/credentials. Pure.
 *
 * Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html. Sections are [default], [profile name] (config) and
 * [name] (credentials); a profile may be spread over several; of two lines with one key the last counts. Lines that begin with
 * # or ; are comments, and so is what follows them after white space. Indented lines under a key belong to it (nested
 * settings) and are skipped. Unknown keys, sections and lines without '=' are skipped: the files are shared with other programs.
 */
#ifndef REELD_STORE_AWS_PROFILE_H
#define REELD_STORE_AWS_PROFILE_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>

/* X(field, key) */
#define AWS_PROFILE_KEYS(X)                                   \
	X(access_key_id, "aws_access_key_id")                 \
	X(secret_access_key, "aws_secret_access_key")         \
	X(session_token, "aws_session_token")                 \
	X(role_arn, "role_arn")                               \
	X(web_identity_token_file, "web_identity_token_file") \
	X(role_session_name, "role_session_name")             \
	X(region, "region")                                   \
	X(endpoint_url, "endpoint_url")                       \
	X(source_profile, "source_profile")                   \
	X(credential_source, "credential_source")             \
	X(credential_process, "credential_process")           \
	X(sso_session, "sso_session")                         \
	X(sso_start_url, "sso_start_url")

enum aws_profile_file { AWS_PROFILE_CONFIG, AWS_PROFILE_CREDENTIALS };

/* Values point into the parsed text; length 0: not set. */
struct aws_profile {
	bool found;
#define FIELD(field, key) struct slice field;
	AWS_PROFILE_KEYS(FIELD)
#undef FIELD
};

/*
 * Reads what `text` says about the profile `name` into *profile, which is overwritten. `path` is for messages. 0, or ERR_CONFIG
 * and "path:line: problem" for a section heading without its end. The text must outlive *profile.
 */
int aws_profile_parse(struct slice text, enum aws_profile_file file, const char *name, const char *path,
		      struct aws_profile *profile, struct error *error);

#endif
