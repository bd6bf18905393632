/* SPDX-License-Identifier: MIT */
/* The checkpoint file: two slots written in turn, so that a torn write leaves the older one. Blocking. */
#ifndef REELD_JOURNAL_CHECKPOINT_H
#define REELD_JOURNAL_CHECKPOINT_H

#include "base/err.h"
#include "journal/header.h"

/* The newer of the slots that verify; all zero when there is no file. A file without a good slot is reported and read as none. 0, or an error. */
int checkpoint_load(int directory_fd, struct checkpoint *checkpoint, struct error *error);

/* Writes and syncs the slot of checkpoint->serial. 0 or a negative errno. */
int checkpoint_save(int directory_fd, const struct checkpoint *checkpoint);

#endif
