/* SPDX-License-Identifier: MIT */
#include "journal/checkpoint.h"

#include "base/log.h"
#include "journal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define CHECKPOINT_NAME "checkpoint"

int checkpoint_load(int directory_fd, struct checkpoint *checkpoint, struct error *error)
{
	*checkpoint = (struct checkpoint){0};
	int fd;
	int r = file_open(directory_fd, CHECKPOINT_NAME, O_RDONLY, &fd);
	if (r == -ENOENT)
		return 0;
	if (r != 0)
		return error_set(error, err_from_errno(-r), "cannot open the journal's checkpoint: %s", strerror(-r));
	bool damaged = false;
	bool found = false;
	for (uint64_t i = 0; i < CHECKPOINT_SLOTS && r == 0; i++) {
		char slot[CHECKPOINT_SLOT_SIZE] = {0};
		struct checkpoint candidate;
		uint32_t version;
		size_t got;
		/* A file that is too short reads as blank. */
		r = file_read(fd, slot, sizeof(slot), i * CHECKPOINT_SLOT_STRIDE, &got);
		if (r != 0)
			break;
		switch (checkpoint_slot_parse(slot, &candidate, &version)) {
		case HEADER_OK:
			if (!found || candidate.serial > checkpoint->serial)
				*checkpoint = candidate;
			found = true;
			break;
		case HEADER_BLANK:
			break;
		case HEADER_UNKNOWN:
			file_close(&fd);
			return error_set(error, ERR_INVALID,
					 "the journal's checkpoint has format version %u, this reeld knows version %d: start the "
					 "reeld that wrote it",
					 version, HEADER_VERSION);
		case HEADER_DAMAGED:
			damaged = true;
			break;
		}
	}
	file_close(&fd);
	/* Without it, all that the segments hold is forwarded again, which is harmless. */
	if (r != 0 || damaged)
		log_event(LOG_WARN, "journal.checkpoint_damaged", LOG_STR("error", r != 0 ? strerror(-r) : NULL),
			  LOG_BOOL("older_copy", found));
	return 0;
}

int checkpoint_save(int directory_fd, const struct checkpoint *checkpoint)
{
	char slot[CHECKPOINT_SLOT_SIZE];
	int fd;
	int r = file_open(directory_fd, CHECKPOINT_NAME, O_WRONLY | O_CREAT, &fd);
	if (r != 0)
		return r;
	checkpoint_slot_write(slot, checkpoint);
	r = file_write(fd, slot, sizeof(slot), checkpoint->serial % CHECKPOINT_SLOTS * CHECKPOINT_SLOT_STRIDE);
	if (r == 0)
		r = file_sync(fd);
	file_close(&fd);
	/* The name of a new file has to last, too; for an old one this writes nothing. */
	if (r == 0)
		r = file_sync_directory(directory_fd);
	return r;
}
