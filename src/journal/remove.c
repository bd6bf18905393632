/* SPDX-License-Identifier: MIT */
/*
 * The end of a journal's directory. Segments go first: whatever is left when this is cut short is either a journal whose events may be forwarded once
 * more, or an empty one.
 */
#include "journal/file.h"
#include "journal/journal.h"
#include "journal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct removal {
	int directory_fd;
	bool segments; /* this pass takes segments, else the rest */
};

static int remove_one(void *data, const char *name)
{
	const struct removal *removal = data;
	uint64_t id;
	bool temporary;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || segment_parse_name(name, &id, &temporary) != removal->segments)
		return 0;
	int r = file_unlink(removal->directory_fd, name);
	return r == -ENOENT ? 0 : r;
}

int journal_remove(const char *directory, struct error *error)
{
	struct removal removal = {.directory_fd = -1, .segments = true};
	int r = file_open(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY, &removal.directory_fd);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = file_list(removal.directory_fd, remove_one, &removal);
	removal.segments = false;
	if (r == 0)
		r = file_list(removal.directory_fd, remove_one, &removal);
	file_close(&removal.directory_fd);
	if (r == 0 && rmdir(directory) != 0)
		r = -errno;
	return r == 0 ? 0 : error_set(error, err_from_errno(-r), "cannot remove the journal %s: %s", directory, strerror(-r));
}
