/* SPDX-License-Identifier: MIT */
/*
 * Where AWS credentials come from: looks at variables and files only, and says what is left to ask over the network.
 *
 * The order, in which the first that is configured is the source:
 *   1. environment    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   2. web identity   AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME: STS AssumeRoleWithWebIdentity
 *   3. profile        AWS_PROFILE (default) in AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE: keys, or role_arn with
 *                     web_identity_token_file, which is then a web identity
 *   4. container      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, with AWS_CONTAINER_AUTHORIZATION_TOKEN(_FILE)
 *   5. instance role  EC2's metadata service, where asked for and AWS_EC2_METADATA_DISABLED is not "true"
 *
 * Blocking where files are read; any thread, one object by one thread at a time.
 */
#ifndef REELD_STORE_AWS_SOURCE_H
#define REELD_STORE_AWS_SOURCE_H

#include "base/err.h"
#include "store/aws_keys.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name): every variable of the chain. */
#define AWS_VARIABLES(X)                          \
	X(AWS_ACCESS_KEY_ID)                      \
	X(AWS_SECRET_ACCESS_KEY)                  \
	X(AWS_SESSION_TOKEN)                      \
	X(AWS_WEB_IDENTITY_TOKEN_FILE)            \
	X(AWS_ROLE_ARN)                           \
	X(AWS_ROLE_SESSION_NAME)                  \
	X(AWS_REGION)                             \
	X(AWS_DEFAULT_REGION)                     \
	X(AWS_ENDPOINT_URL)                       \
	X(AWS_ENDPOINT_URL_STS)                   \
	X(AWS_PROFILE)                            \
	X(AWS_SHARED_CREDENTIALS_FILE)            \
	X(AWS_CONFIG_FILE)                        \
	X(HOME)                                   \
	X(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI) \
	X(AWS_CONTAINER_CREDENTIALS_FULL_URI)     \
	X(AWS_CONTAINER_AUTHORIZATION_TOKEN)      \
	X(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE) \
	X(AWS_EC2_METADATA_DISABLED)              \
	X(AWS_EC2_METADATA_SERVICE_ENDPOINT)      \
	X(AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE)

enum aws_variable {
#define VARIABLE(name) VARIABLE_##name,
	AWS_VARIABLES(VARIABLE)
#undef VARIABLE
		VARIABLE_COUNT
};

/* A copy of the variables, which can go to another thread. Secrets among them. */
struct aws_variables {
	char *values[VARIABLE_COUNT]; /* NULL: not set, or empty, which is the same */
};

/* `lookup` as in aws_credentials_options; NULL: getenv. 0 or ERR_NOMEM (and *variables is empty). */
int aws_variables_read(struct aws_variables *variables, const char *(*lookup)(void *data, const char *name), void *data);
/* Wiped, freed and empty. */
void aws_variables_free(struct aws_variables *variables);

enum aws_source_kind {
	AWS_SOURCE_NONE,
	AWS_SOURCE_ENVIRONMENT,
	AWS_SOURCE_WEB_IDENTITY,
	AWS_SOURCE_PROFILE,
	AWS_SOURCE_CONTAINER,
	AWS_SOURCE_INSTANCE,
};

/* STS takes 20000 characters of a web identity's token. */
#define AWS_SOURCE_TOKEN_SIZE 20001
#define AWS_SOURCE_URL_SIZE 1024
#define AWS_SOURCE_PATH_SIZE 4096

struct aws_source {
	enum aws_source_kind kind;
	struct aws_keys keys; /* ENVIRONMENT, PROFILE */
	/* WEB_IDENTITY: STS; CONTAINER: what to GET; INSTANCE: the metadata service, without a slash at the end */
	char url[AWS_SOURCE_URL_SIZE];
	char role_arn[2049]; /* WEB_IDENTITY */
	char session_name[65];
	char token_file[AWS_SOURCE_PATH_SIZE]; /* WEB_IDENTITY, CONTAINER; "": none */
	char token[AWS_SOURCE_TOKEN_SIZE];     /* of token_file, or CONTAINER's own; "": none */
};

/* "environment", "web identity", "profile", "container", "instance role"; "none". */
const char *aws_source_name(enum aws_source_kind kind);

/*
 * Finds the source. Overwrites *source, also on failure: its kind says what was configured (AWS_SOURCE_NONE: nothing). 0; ERR_CONFIG with a message (nothing configured, or unusable); ERR_NOMEM.
 */
int aws_source_find(const struct aws_variables *variables, bool instance_role, struct aws_source *source, struct error *error);

/*
 * The region that AWS_REGION or AWS_DEFAULT_REGION names, or else the profile; "" when none does. 0; ERR_CONFIG when it does not fit, or
 * a profile file was named and cannot be read; ERR_NOMEM.
 */
int aws_source_find_region(const struct aws_variables *variables, char *out, size_t size, struct error *error);

/* Reads token_file, if there is one, into token. 0, or an error with a message that names the file. */
int aws_source_read_token(struct aws_source *source, struct error *error);

void aws_source_wipe(struct aws_source *source);

/*
 * Whether credentials may be asked of this URL: https to any host, http only to this machine or the container's metadata addresses
 * (loopback, 169.254.170.2, 169.254.170.23, fd00:ec2::23), for whatever answers gets the authorization token. Pure.
 */
bool aws_source_url_is_safe(const char *url);

#endif
