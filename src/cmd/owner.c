/* SPDX-License-Identifier: MIT */
#include "cmd/cmd_ledger.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int become(uid_t uid, gid_t gid)
{
	const struct passwd *user = getpwuid(uid);
	if (user != NULL)
		gid = user->pw_gid;
	if ((user != NULL ? initgroups(user->pw_name, gid) : setgroups(0, NULL)) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
		return errno;
	/* Where credentials are looked for. */
	return user == NULL || setenv("HOME", user->pw_dir, 1) == 0 ? 0 : errno;
}

int cmd_become_owner(const char *command, const char *data_dir)
{
	struct stat status;
	if (geteuid() != 0 || stat(data_dir, &status) != 0 || status.st_uid == 0)
		return CMD_OK;
	int errnum = become(status.st_uid, status.st_gid);
	if (errnum == 0)
		return CMD_OK;
	return cmd_failed(command,
			  "DATA_DIR %s belongs to user %lu, and root cannot become that user (%s): run the command as that user, "
			  "or reeld could not use the files made here",
			  data_dir, (unsigned long)status.st_uid, strerror(errnum));
}
