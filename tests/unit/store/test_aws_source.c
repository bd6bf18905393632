/* SPDX-License-Identifier: MIT */
#include "store/aws_source.h"
#include "base/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLES_MAX 16

static struct {
	const char *name;
	const char *value;
} set_variables[VARIABLES_MAX];
static size_t set_count;
static char directory[] = "/tmp/test-aws-source-XXXXXX";
static struct aws_source source;
static struct error error;
static char texts[8][512];
static size_t text_count;

static void set(const char *name, const char *value)
{
	REQUIRE(set_count < VARIABLES_MAX);
	set_variables[set_count].name = name;
	set_variables[set_count++].value = value;
}

static const char *lookup(void *data, const char *name)
{
	REQUIRE(data == &set_count);
	for (size_t i = 0; i < set_count; i++) {
		if (strcmp(set_variables[i].name, name) == 0)
			return set_variables[i].value;
	}
	return NULL;
}

static const char *below(const char *name)
{
	REQUIRE(text_count < sizeof(texts) / sizeof(texts[0]));
	snprintf(texts[text_count], sizeof(texts[0]), "%s/%s", directory, name);
	return texts[text_count++];
}

static const char *write_file(const char *name, const char *text)
{
	const char *path = below(name);
	FILE *file = fopen(path, "we");

	REQUIRE(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
	return path;
}

static int find_with(bool instance_role)
{
	struct aws_variables variables;

	error = (struct error){0};
	REQUIRE(aws_variables_read(&variables, lookup, &set_count) == 0);
	int status = aws_source_find(&variables, instance_role, &source, &error);
	aws_variables_free(&variables);
	return status;
}

static int find(void)
{
	return find_with(false);
}

static const char *find_region(void)
{
	static char region[64];
	struct aws_variables variables;

	error = (struct error){0};
	REQUIRE(aws_variables_read(&variables, lookup, &set_count) == 0);
	cr_expect_eq(aws_source_find_region(&variables, region, sizeof(region), &error), 0, "%s", error.detail);
	aws_variables_free(&variables);
	return region;
}

static void expect_refused(const char *expected)
{
	cr_expect_eq(find(), ERR_CONFIG);
	cr_expect(strstr(error.detail, expected) != NULL, "%s", error.detail);
	cr_expect(strstr(error.detail, "HUSH") == NULL, "%s", error.detail);
}

static void set_up(void)
{
	REQUIRE(mkdtemp(directory) != NULL);
	set("HOME", directory);
}

static void tear_down(void)
{
	char command[4][128];
	static const char *const names[] = {".aws/config", ".aws/credentials", "config", "credentials"};

	for (size_t i = 0; i < 4; i++) {
		snprintf(command[i], sizeof(command[i]), "%s/%s", directory, names[i]);
		unlink(command[i]);
	}
	for (size_t i = 0; i < text_count; i++)
		unlink(texts[i]);
	snprintf(command[0], sizeof(command[0]), "%s/.aws", directory);
	rmdir(command[0]);
	cr_expect_eq(rmdir(directory), 0);
}

TestSuite(aws_source, .init = set_up, .fini = tear_down);

static void make_dot_aws(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/.aws", directory);
	REQUIRE(mkdir(path, 0700) == 0);
}

/* Environment */

Test(aws_source, is_none_when_nothing_is_configured)
{
	expect_refused("no AWS credentials");
	cr_expect_eq(source.kind, AWS_SOURCE_NONE);
	set("AWS_ACCESS_KEY_ID", "");
	set("AWS_SECRET_ACCESS_KEY", "");
	set("AWS_PROFILE", "");
	set("AWS_REGION", "us-east-1");
	expect_refused("no AWS credentials");
	cr_expect_eq(source.kind, AWS_SOURCE_NONE);
}

Test(aws_source, environment)
{
	set("AWS_ACCESS_KEY_ID", "rec:rec");
	set("AWS_SECRET_ACCESS_KEY", "s/+=");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_ENVIRONMENT);
	cr_expect_str_eq(source.keys.access_key_id, "rec:rec");
	cr_expect_str_eq(source.keys.secret_access_key, "s/+=");
	cr_expect_str_empty(source.keys.session_token);
	cr_expect_eq(source.keys.expires_ms, -1);
	set("AWS_SESSION_TOKEN", "t");
	cr_assert_eq(find(), 0);
	cr_expect_str_eq(source.keys.session_token, "t");
}

Test(aws_source, environment_with_half_a_pair_is_an_error_and_not_the_next_source)
{
	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
	set("AWS_ACCESS_KEY_ID", "A");
	expect_refused("the secret access key is missing");
	cr_expect_eq(source.kind, AWS_SOURCE_ENVIRONMENT);
}

Test(aws_source, environment_with_a_secret_alone)
{
	set("AWS_SECRET_ACCESS_KEY", "HUSH");
	expect_refused("the access key id is missing");
	cr_expect_eq(source.kind, AWS_SOURCE_ENVIRONMENT);
}

Test(aws_source, environment_with_a_line_break)
{
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "HUSH\n");
	expect_refused("has a space");
}

/* Web identity */

Test(aws_source, web_identity)
{
	set("AWS_WEB_IDENTITY_TOKEN_FILE", write_file("token", "jwt.HUSH\n"));
	set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_WEB_IDENTITY);
	cr_expect_str_eq(source.url, "https://sts.amazonaws.com/");
	cr_expect_str_eq(source.role_arn, "arn:aws:iam::1:role/r");
	cr_expect_str_eq(source.session_name, "reeld");
	cr_expect_eq(aws_source_read_token(&source, &error), 0);
	cr_expect_str_eq(source.token, "jwt.HUSH");
	set("AWS_ROLE_SESSION_NAME", "me");
	set("AWS_DEFAULT_REGION", "eu-central-1");
	cr_assert_eq(find(), 0);
	cr_expect_str_eq(source.session_name, "me");
	cr_expect_str_eq(source.url, "https://sts.eu-central-1.amazonaws.com/");
	set("AWS_REGION", "cn-north-1");
	cr_assert_eq(find(), 0);
	cr_expect_str_eq(source.url, "https://sts.cn-north-1.amazonaws.com.cn/");
	set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
	cr_assert_eq(find(), 0);
	cr_expect_str_eq(source.url, "http://127.0.0.1:1");
	set("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:2");
	cr_assert_eq(find(), 0);
	cr_expect_str_eq(source.url, "http://127.0.0.1:2");
}

Test(aws_source, web_identity_takes_the_region_of_the_profile)
{
	set("AWS_WEB_IDENTITY_TOKEN_FILE", "/t");
	set("AWS_ROLE_ARN", "arn");
	set("AWS_CONFIG_FILE", write_file("config", "[default]\nregion=eu-west-3\n"));
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_str_eq(source.url, "https://sts.eu-west-3.amazonaws.com/");
}

Test(aws_source, web_identity_without_role)
{
	set("AWS_WEB_IDENTITY_TOKEN_FILE", "/t");
	expect_refused("AWS_ROLE_ARN is not");
	cr_expect_eq(source.kind, AWS_SOURCE_WEB_IDENTITY);
}

Test(aws_source, web_identity_sends_its_token_to_no_host_made_of_a_region)
{
	set("AWS_WEB_IDENTITY_TOKEN_FILE", "/t");
	set("AWS_ROLE_ARN", "arn");
	set("AWS_REGION", "evil.example/");
	expect_refused("is no AWS region");
}

Test(aws_source, token_files_that_are_none)
{
	set("AWS_WEB_IDENTITY_TOKEN_FILE", below("missing"));
	set("AWS_ROLE_ARN", "arn");
	cr_assert_eq(find(), 0);
	cr_expect_eq(aws_source_read_token(&source, &error), ERR_NOT_FOUND);
	cr_expect(strstr(error.detail, "/missing: No such file") != NULL, "%s", error.detail);
	write_file("missing", " \n");
	cr_expect_eq(aws_source_read_token(&source, &error), ERR_MALFORMED);
	write_file("missing", "HUSH\r\nX: y");
	cr_expect_eq(aws_source_read_token(&source, &error), ERR_MALFORMED);
	cr_expect(strstr(error.detail, "HUSH") == NULL);

	char *big = malloc(AWS_SOURCE_TOKEN_SIZE + 1);
	memset(big, 'x', AWS_SOURCE_TOKEN_SIZE);
	big[AWS_SOURCE_TOKEN_SIZE] = '\0';
	write_file("missing", big);
	cr_expect_eq(aws_source_read_token(&source, &error), ERR_LIMIT);
	big[AWS_SOURCE_TOKEN_SIZE - 1] = '\0';
	write_file("missing", big);
	cr_expect_eq(aws_source_read_token(&source, &error), 0);
	cr_expect_eq(strlen(source.token), AWS_SOURCE_TOKEN_SIZE - 1);
	free(big);
}

/* Profile */

Test(aws_source, profile_in_the_home_directory)
{
	make_dot_aws();
	write_file(".aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=s\naws_session_token=t\n");
	write_file(".aws/config", "[default]\nregion=eu-north-1\naws_access_key_id=X\naws_secret_access_key=x\n");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_PROFILE);
	cr_expect_str_eq(source.keys.access_key_id, "A");
	cr_expect_str_eq(source.keys.secret_access_key, "s");
	cr_expect_str_eq(source.keys.session_token, "t");
	cr_expect_str_eq(find_region(), "eu-north-1");
	set("AWS_REGION", "us-west-1");
	cr_expect_str_eq(find_region(), "us-west-1");
}

Test(aws_source, profile_by_name_and_files_by_name)
{
	set("AWS_SHARED_CREDENTIALS_FILE", write_file("credentials", "[rec]\naws_access_key_id=A\naws_secret_access_key=s\n"));
	set("AWS_CONFIG_FILE", write_file("config", "[profile rec]\nregion=eu-north-1\n[profile keys]\naws_access_key_id=B\n"
						    "aws_secret_access_key=b\n"));
	expect_refused("no AWS credentials");
	cr_expect_str_eq(find_region(), "");
	set("AWS_PROFILE", "rec");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_str_eq(source.keys.access_key_id, "A");
	cr_expect_str_eq(find_region(), "eu-north-1");
}

Test(aws_source, profile_with_keys_in_the_config_file)
{
	set("AWS_PROFILE", "keys");
	set("AWS_CONFIG_FILE", write_file("config", "[profile keys]\naws_access_key_id=B\naws_secret_access_key=b\n"));
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_str_eq(source.keys.access_key_id, "B");
}

Test(aws_source, profile_with_a_web_identity)
{
	set("AWS_CONFIG_FILE", write_file("config", "[default]\nregion=eu-north-1\nrole_arn=arn\nweb_identity_token_file=/t\n"
						    "role_session_name=me\naws_access_key_id=B\naws_secret_access_key=b\n"));
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_WEB_IDENTITY);
	cr_expect_str_eq(source.role_arn, "arn");
	cr_expect_str_eq(source.token_file, "/t");
	cr_expect_str_eq(source.session_name, "me");
	cr_expect_str_eq(source.url, "https://sts.eu-north-1.amazonaws.com/");
}

Test(aws_source, profile_that_does_not_exist)
{
	set("AWS_PROFILE", "other");
	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
	expect_refused("AWS_PROFILE=other: no such profile");
	cr_expect_eq(source.kind, AWS_SOURCE_PROFILE);
}

Test(aws_source, profile_with_half_a_pair)
{
	set("AWS_CONFIG_FILE", write_file("config", "[default]\naws_access_key_id=B\n"));
	expect_refused("AWS profile default: the secret access key is missing");
	cr_expect_eq(source.kind, AWS_SOURCE_PROFILE);
}

Test(aws_source, profile_that_only_the_sdks_can_use)
{
	static const char *const rows[][2] = {
		{"[default]\nrole_arn=arn\nsource_profile=a\n", "source_profile"},
		{"[default]\nrole_arn=arn\ncredential_source=Ec2InstanceMetadata\naws_access_key_id=B\naws_secret_access_key=b\n",
		 "credential_source"},
		{"[default]\ncredential_process=/bin/x\n", "credential_process"},
		{"[default]\nsso_session=x\n", "SSO"},
	};

	set("AWS_CONFIG_FILE", write_file("config", ""));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		FILE *file = fopen(texts[0], "we");
		REQUIRE(file != NULL && fputs(rows[i][0], file) >= 0 && fclose(file) == 0);
		expect_refused(rows[i][1]);
		cr_expect_eq(source.kind, AWS_SOURCE_PROFILE);
	}
}

Test(aws_source, profile_without_credentials_is_none)
{
	set("AWS_CONFIG_FILE", write_file("config", "[default]\nregion=eu-north-1\n"));
	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_CONTAINER);
}

Test(aws_source, profile_file_that_cannot_be_read)
{
	/* a directory is no file, for root, too */
	set("AWS_CONFIG_FILE", directory);
	expect_refused(directory);
	cr_expect_eq(source.kind, AWS_SOURCE_PROFILE);
}

Test(aws_source, profile_file_of_the_home_directory_that_cannot_be_read_is_none)
{
	make_dot_aws();
	char path[128];
	snprintf(path, sizeof(path), "%s/.aws/config", directory);
	REQUIRE(mkdir(path, 0700) == 0);
	expect_refused("no AWS credentials");
	cr_expect_eq(source.kind, AWS_SOURCE_NONE);
	rmdir(path);
}

Test(aws_source, profile_file_with_a_broken_heading)
{
	set("AWS_CONFIG_FILE", write_file("config", "[default\nregion=x\n"));
	expect_refused("config:1: section heading");
	cr_expect_eq(source.kind, AWS_SOURCE_PROFILE);
}

/* Container */

Test(aws_source, container_of_ecs)
{
	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/uuid?x=1");
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/other");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_CONTAINER);
	cr_expect_str_eq(source.url, "http://169.254.170.2/v2/credentials/uuid?x=1");
	cr_expect_str_empty(source.token);
	cr_expect_str_empty(source.token_file);
}

Test(aws_source, container_of_eks)
{
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials");
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic HUSH");
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_str_eq(source.url, "http://169.254.170.23/v1/credentials");
	cr_expect_str_eq(source.token, "Basic HUSH");
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write_file("token", "from file"));
	cr_assert_eq(find(), 0, "%s", error.detail);
	cr_expect_str_empty(source.token);
	cr_expect_eq(aws_source_read_token(&source, &error), 0);
	cr_expect_str_eq(source.token, "from file");
}

Test(aws_source, container_refuses_tokens_that_would_be_headers)
{
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/");
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "HUSH\r\nX: y");
	expect_refused("AWS_CONTAINER_AUTHORIZATION_TOKEN is malformed");
}

Test(aws_source, container_refuses_paths_that_would_be_hosts)
{
	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".evil.example/");
	expect_refused("does not begin with /");
	cr_expect_eq(source.kind, AWS_SOURCE_CONTAINER);
}

Test(aws_source, container_asks_safe_hosts_only)
{
	static const struct {
		const char *url;
		bool safe;
	} rows[] = {
		{"http://127.0.0.1/x", true},
		{"http://127.8.9.1:8080", true},
		{"http://localhost:1/x", true},
		{"HTTP://LOCALHOST/x", true},
		{"http://[::1]:80/x", true},
		{"http://169.254.170.2/x", true},
		{"http://169.254.170.23/x", true},
		{"http://[fd00:ec2::23]/x", true},
		{"http://[fd00:ec2:0:0::23]/x", true},
		{"https://credentials.example/x", true},
		{"https://10.0.0.1/x", true},
		{"http://credentials.example/x", false},
		{"http://localhost.example/x", false},
		{"http://127.0.0.1.example/x", false},
		{"http://127.0.0.1@evil.example/x", false},
		{"http://evil.example\\@127.0.0.1/x", false},
		{"http://evil.example#@127.0.0.1/x", false},
		{"http://169.254.169.254/x", false},
		{"http://169.254.170.3/x", false},
		{"http://10.0.0.1/x", false},
		{"http://0.0.0.0/x", false},
		{"http://[::]/x", false},
		{"http://[fd00:ec2::254]/x", false},
		{"http://[::ffff:10.0.0.1]/x", false},
		{"http://[::1/x", false},
		{"http:///x", false},
		{"http://", false},
		{"ftp://127.0.0.1/x", false},
		{"127.0.0.1/x", false},
		{"https://user:pw@host/x", false},
		{"https://host/x\r\ny", false},
		{"", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(aws_source_url_is_safe(rows[i].url), rows[i].safe, "%s", rows[i].url);
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/");
	expect_refused("http is allowed only");
	cr_expect_eq(source.kind, AWS_SOURCE_CONTAINER);
}

/* Instance */

Test(aws_source, instance_role_is_the_last_and_only_when_asked_for)
{
	expect_refused("no AWS credentials");
	cr_assert_eq(find_with(true), 0, "%s", error.detail);
	cr_expect_eq(source.kind, AWS_SOURCE_INSTANCE);
	cr_expect_str_eq(source.url, "http://169.254.169.254");
	set("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6");
	cr_assert_eq(find_with(true), 0);
	cr_expect_str_eq(source.url, "http://[fd00:ec2::254]");
	set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338//");
	cr_assert_eq(find_with(true), 0);
	cr_expect_str_eq(source.url, "http://127.0.0.1:1338");
	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
	cr_assert_eq(find_with(true), 0);
	cr_expect_eq(source.kind, AWS_SOURCE_CONTAINER);
}

Test(aws_source, instance_role_can_be_disabled)
{
	set("AWS_EC2_METADATA_DISABLED", "TRUE");
	cr_expect_eq(find_with(true), ERR_CONFIG);
	cr_expect_eq(source.kind, AWS_SOURCE_NONE);
}

Test(aws_source, instance_role_with_an_endpoint_that_is_none)
{
	set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254");
	cr_expect_eq(find_with(true), ERR_CONFIG);
	cr_expect(strstr(error.detail, "is no http URL") != NULL, "%s", error.detail);
}

/* The order */

Test(aws_source, the_first_that_is_configured_is_the_source)
{
	static const struct {
		const char *name;
		const char *value;
		enum aws_source_kind kind;
	} rows[] = {
		{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x", AWS_SOURCE_CONTAINER},
		{"AWS_SHARED_CREDENTIALS_FILE", NULL, AWS_SOURCE_PROFILE},
		{"AWS_ROLE_ARN", "arn", AWS_SOURCE_PROFILE},
		{"AWS_WEB_IDENTITY_TOKEN_FILE", "/t", AWS_SOURCE_WEB_IDENTITY},
		{"AWS_SECRET_ACCESS_KEY", "s", AWS_SOURCE_ENVIRONMENT},
		{"AWS_ACCESS_KEY_ID", "A", AWS_SOURCE_ENVIRONMENT},
	};
	const char *file = write_file("credentials", "[default]\naws_access_key_id=P\naws_secret_access_key=p\n");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set(rows[i].name, rows[i].value != NULL ? rows[i].value : file);
		(void)find_with(true);
		cr_expect_eq(source.kind, rows[i].kind, "%s: %s", rows[i].name, aws_source_name(source.kind));
	}
	cr_expect_eq(find(), 0);
}

Test(aws_source, variables_come_from_the_process_by_default)
{
	struct aws_variables variables;

	setenv("AWS_PROFILE", "mine", 1);
	setenv("AWS_REGION", "", 1);
	REQUIRE(aws_variables_read(&variables, NULL, NULL) == 0);
	cr_expect_str_eq(variables.values[VARIABLE_AWS_PROFILE], "mine");
	cr_expect_null(variables.values[VARIABLE_AWS_REGION]);
	aws_variables_free(&variables);
	cr_expect_null(variables.values[VARIABLE_AWS_PROFILE]);
}

Test(aws_source, leaves_no_secret_behind)
{
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "HUSH");
	cr_assert_eq(find(), 0);
	aws_source_wipe(&source);
	cr_expect_null(memmem(&source, sizeof(source), "HUSH", 4));
}
