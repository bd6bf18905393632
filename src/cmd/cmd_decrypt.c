/* SPDX-License-Identifier: MIT */
/*
 * reeld recordings decrypt: a ciphertext that was archived without the keys, by hand. It is read twice: nothing is written before all of it is known to be
 * authentic.
 */
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "pipeline/decrypt.h"
#include "twilio/private_keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)256 * 1024)

static const char usage[] = "TWILIO_ENCRYPTION_KEYS=DIRECTORY reeld recordings decrypt FILE [DETAILS.json] > AUDIO.wav";

static int read_details(const char *path, struct twilio_encryption *encryption)
{
	char text[4096];
	struct error error = {0};
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return cmd_failed("recordings", "the encryption details, %s: %s", path, strerror(errno));
	size_t len = fread(text, 1, sizeof(text), file);
	fclose(file);
	if (twilio_encryption_parse(slice_make(text, len), encryption, &error) != 0)
		return cmd_failed("recordings", "%s: %s", path, error.detail);
	return CMD_OK;
}

/* All of the file; what comes out goes to `out` unless that is NULL. */
static int decrypt_all(struct decrypt *decrypt, FILE *in, FILE *out, char *chunk, struct error *error)
{
	int status = 0;
	rewind(in);
	for (;;) {
		size_t len = fread(chunk, 1, CHUNK, in);
		if (len == 0)
			break;
		status = decrypt_chunk(decrypt, chunk, &len, error);
		if (status == 0 && out != NULL && fwrite(chunk, 1, len, out) != len)
			status = error_set(error, err_from_errno(errno), "cannot write: %s", strerror(errno));
		if (status != 0)
			return status;
	}
	if (ferror(in))
		return error_set(error, ERR_IO, "cannot read: %s", strerror(errno));
	return decrypt_end(decrypt, error);
}

static int decrypt_file(const char *path, const struct twilio_encryption *encryption, struct rsa_key *key)
{
	struct error error = {0};
	struct decrypt *decrypt = NULL;
	char *chunk = malloc(CHUNK);
	FILE *in = fopen(path, "re");
	int status = in == NULL ? error_set(&error, ERR_IO, "%s", strerror(errno)) : 0;
	if (status == 0 && (chunk == NULL || decrypt_new(&decrypt) != 0))
		status = error_set(&error, ERR_NOMEM, "out of memory");
	FILE *const outs[] = {NULL, stdout};
	for (size_t i = 0; status == 0 && i < 2; i++) {
		decrypt_begin(decrypt, encryption, key);
		status = decrypt_all(decrypt, in, outs[i], chunk, &error);
	}
	if (status == 0 && fflush(stdout) != 0)
		status = error_set(&error, ERR_IO, "cannot write: %s", strerror(errno));
	decrypt_free(&decrypt);
	free(chunk);
	if (in != NULL)
		fclose(in);
	return status == 0 ? CMD_OK : cmd_failed("recordings", "%s: %s", path, error.detail);
}

int cmd_recordings_decrypt(const struct config *config, int argc, char **argv)
{
	struct twilio_encryption encryption;
	struct private_keys *keys = NULL;
	struct error error = {0};
	char beside[4096];
	if (argc < 2 || argc > 3 || argv[1][0] == '-')
		return cmd_usage_error("recordings", usage,
				       "decrypt wants a file and, if they are not beside it in FILE.json, its details");
	if (config->twilio_encryption_keys == NULL)
		return cmd_usage_error("recordings", usage, "TWILIO_ENCRYPTION_KEYS is unset: where are the private keys?");
	if (isatty(STDOUT_FILENO) == 1)
		return cmd_usage_error("recordings", usage, "the audio goes to the standard output, which is a terminal");
	snprintf(beside, sizeof(beside), "%s.json", argv[1]);
	int status = read_details(argc == 3 ? argv[2] : beside, &encryption);
	if (status != CMD_OK)
		return status;
	if (private_keys_load(&keys, config->twilio_encryption_keys, NULL, NULL, &error) != 0)
		return cmd_failed("recordings", "%s", error.detail);
	struct rsa_key *key = private_keys_find(keys, &encryption.public_key_sid);
	if (key == NULL)
		status = cmd_failed("recordings", "%s has no %s.pem, the private key of this recording",
				    config->twilio_encryption_keys, encryption.public_key_sid.text);
	else
		status = decrypt_file(argv[1], &encryption, key);
	private_keys_free(&keys);
	return status;
}
