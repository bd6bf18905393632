/* SPDX-License-Identifier: MIT */
/*
 * What those who give out AWS credentials answer: JSON from containers and EC2's metadata service, XML from STS. Pure.
 *
 * Sources: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html,
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html,
 * https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
 */
#ifndef REELD_STORE_AWS_ANSWER_H
#define REELD_STORE_AWS_ANSWER_H

#include "base/err.h"
#include "base/slice.h"
#include "store/aws_keys.h"

/*
 * The code of a refusal ("AccessDenied"), "" where there is none or it is no word. Messages are left out: who answers was sent
 * a token and may repeat it.
 */
struct aws_answer_error {
	char code[64];
};

/*
 * Credentials. 0; ERR_DENIED (the metadata service's "Code" is there and not "Success"; *refused says more); ERR_PROTOCOL:
 * no JSON object, key id, secret or token missing or not of their form, a date that is none. Without "Expiration" they never
 * expire. On failure *keys is wiped.
 */
int aws_answer_json(struct slice body, struct aws_keys *keys, struct aws_answer_error *refused);
/* The same from AssumeRoleWithWebIdentityResponse. 0 or ERR_PROTOCOL, also without an expiration. */
int aws_answer_sts(struct slice body, struct aws_keys *keys);

/* Error answers: {"code": …} or {"Code": …}, and ErrorResponse/Error/Code. */
void aws_answer_json_error(struct slice body, struct aws_answer_error *out);
void aws_answer_sts_error(struct slice body, struct aws_answer_error *out);

#endif
