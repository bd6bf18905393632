/* SPDX-License-Identifier: MIT */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of journal records. Pure, thread-safe. */
#ifndef REELD_BASE_CRC32C_H
#define REELD_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of `data` behind bytes whose CRC is `crc` (0 to begin): crc32c(crc32c(0, a), b) is the CRC of a and b together. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same by table, on any CPU. For tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
