/* SPDX-License-Identifier: MIT */
#include "store/aws_source.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static const char *const names[] = {
#define NAME(name) #name,
	AWS_VARIABLES(NAME)
#undef NAME
};

static const char *from_environment(void *data, const char *name)
{
	(void)data;
	return getenv(name);
}

int aws_variables_read(struct aws_variables *variables, const char *(*lookup)(void *data, const char *name), void *data)
{
	*variables = (struct aws_variables){0};
	if (lookup == NULL)
		lookup = from_environment;
	for (size_t i = 0; i < VARIABLE_COUNT; i++) {
		const char *value = lookup(data, names[i]);
		if (value == NULL || value[0] == '\0')
			continue;
		variables->values[i] = strdup(value);
		if (variables->values[i] == NULL) {
			aws_variables_free(variables);
			return ERR_NOMEM;
		}
	}
	return 0;
}

void aws_variables_free(struct aws_variables *variables)
{
	for (size_t i = 0; i < VARIABLE_COUNT; i++) {
		if (variables->values[i] != NULL)
			OPENSSL_cleanse(variables->values[i], strlen(variables->values[i]));
		free(variables->values[i]);
		variables->values[i] = NULL;
	}
}
