/* SPDX-License-Identifier: MIT */
#include "store/aws_profile.h"

#include <criterion/criterion.h>

static struct aws_profile profile;
static struct error error;

static int parse(const char *text, enum aws_profile_file file, const char *name)
{
	error = (struct error){0};
	return aws_profile_parse(slice_from_cstr(text), file, name, "/h/file", &profile, &error);
}

static void expect(struct slice value, const char *expected, const char *what)
{
	cr_expect(slice_equal(value, slice_from_cstr(expected)), "%s is '%.*s'", what, SLICE_FMT(value));
}

Test(aws_profile, reads_the_credentials_file)
{
	static const char text[] = "# comment\n"
				   "[default]\n"
				   "aws_access_key_id = AKIADEFAULT\n"
				   "aws_secret_access_key=d/e+f=\n"
				   "\n"
				   "; another\n"
				   "[rec]\r\n"
				   "  aws_access_key_id=AKIAREC\r\n"
				   "AWS_SECRET_ACCESS_KEY\t=\tr=e=c # not part of it\r\n"
				   "aws_session_token = tok#en;x\r\n"
				   "output = json\n"
				   "no equals sign\n";

	cr_assert_eq(parse(text, AWS_PROFILE_CREDENTIALS, "default"), 0);
	cr_expect(profile.found);
	expect(profile.access_key_id, "AKIADEFAULT", "id");
	expect(profile.secret_access_key, "d/e+f=", "secret");
	expect(profile.session_token, "", "token");
	cr_assert_eq(parse(text, AWS_PROFILE_CREDENTIALS, "rec"), 0);
	expect(profile.access_key_id, "AKIAREC", "id");
	expect(profile.secret_access_key, "r=e=c", "secret");
	expect(profile.session_token, "tok#en;x", "token");
	cr_assert_eq(parse(text, AWS_PROFILE_CREDENTIALS, "other"), 0);
	cr_expect_not(profile.found);
	expect(profile.access_key_id, "", "id");
}

Test(aws_profile, reads_the_config_file)
{
	static const char text[] =
		"[default]\nregion = eu-central-1\n"
		"[profile rec]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /var/run/token\n"
		"role_session_name = me\nendpoint_url = http://127.0.0.1:1\n"
		"[rec]\nregion = wrong-1\n"
		"[profile \"with space\"]\nregion = us-west-2\n"
		"[ profile\ttabs ]\nregion = us-east-2\n"
		"[sso-session rec]\nregion = wrong-2\n"
		"[profilerec]\nregion = wrong-3\n"
		"[profile]\nregion = wrong-4\n"
		"[services rec]\ns3 =\n  endpoint_url = http://wrong\n"
		"[profile src]\nsource_profile = a\ncredential_source = b\ncredential_process = c\nsso_session = d\n"
		"sso_start_url = e\n";

	cr_assert_eq(parse(text, AWS_PROFILE_CONFIG, "default"), 0);
	expect(profile.region, "eu-central-1", "region");
	cr_assert_eq(parse(text, AWS_PROFILE_CONFIG, "rec"), 0);
	cr_expect(profile.found);
	expect(profile.region, "", "region");
	expect(profile.role_arn, "arn:aws:iam::1:role/r", "role");
	expect(profile.web_identity_token_file, "/var/run/token", "file");
	expect(profile.role_session_name, "me", "session");
	expect(profile.endpoint_url, "http://127.0.0.1:1", "endpoint");
	cr_assert_eq(parse(text, AWS_PROFILE_CONFIG, "with space"), 0);
	expect(profile.region, "us-west-2", "region");
	cr_assert_eq(parse(text, AWS_PROFILE_CONFIG, "tabs"), 0);
	expect(profile.region, "us-east-2", "region");
	cr_assert_eq(parse(text, AWS_PROFILE_CONFIG, ""), 0);
	cr_expect_not(profile.found);
	cr_assert_eq(parse(text, AWS_PROFILE_CONFIG, "src"), 0);
	expect(profile.source_profile, "a", "source_profile");
	expect(profile.credential_source, "b", "credential_source");
	expect(profile.credential_process, "c", "credential_process");
	expect(profile.sso_session, "d", "sso_session");
	expect(profile.sso_start_url, "e", "sso_start_url");
}

Test(aws_profile, skips_nested_settings)
{
	cr_assert_eq(parse("[default]\ns3 =\n  region = wrong\n\tendpoint_url = wrong\nregion = right\n  region = wrong\n",
			   AWS_PROFILE_CONFIG, "default"),
		     0);
	expect(profile.region, "right", "region");
	expect(profile.endpoint_url, "", "endpoint");
	/* a first line that is indented belongs to nothing above it */
	cr_assert_eq(parse("[default]\n  region = right\n", AWS_PROFILE_CONFIG, "default"), 0);
	expect(profile.region, "right", "region");
}

Test(aws_profile, joins_sections_and_lets_the_last_line_count)
{
	cr_assert_eq(parse("[a]\naws_access_key_id=1\nregion=x\n[b]\nregion=y\n[a]\naws_access_key_id=2\n",
			   AWS_PROFILE_CREDENTIALS, "a"),
		     0);
	expect(profile.access_key_id, "2", "id");
	expect(profile.region, "x", "region");
}

Test(aws_profile, names_the_line_of_a_broken_heading)
{
	cr_expect_eq(parse("[a]\nregion=x\n[b\n", AWS_PROFILE_CREDENTIALS, "a"), ERR_CONFIG);
	cr_expect_str_eq(error.detail, "/h/file:3: section heading without ]");
}

Test(aws_profile, survives_odd_files)
{
	static const char *const texts[] = {"",
					    "\n",
					    "[",
					    "[]",
					    "]",
					    "=",
					    "[a]\n=\n==\n = x\n",
					    "[a]\nregion",
					    "[a]\nregion=",
					    "\xef\xbb\xbf[a]",
					    "   ",
					    "[a]#",
					    "[a]\nregion= #\n",
					    "[a]\nregion=#x"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int status = parse(texts[i], AWS_PROFILE_CREDENTIALS, "a");
		cr_expect(status == 0 || status == ERR_CONFIG, "%s", texts[i]);
	}
	expect(profile.region, "#x", "a # without white space before it is part of the value");
}
