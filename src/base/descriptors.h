/* SPDX-License-Identifier: MIT */
/* How many files and sockets the process may have open. */
#ifndef REELD_BASE_DESCRIPTORS_H
#define REELD_BASE_DESCRIPTORS_H

#include <stdint.h>

/* Raises the soft limit to the hard one. The limit that holds now; UINT64_MAX when there is none. Once, at the start of the process. */
uint64_t descriptors_raise(void);

#endif
