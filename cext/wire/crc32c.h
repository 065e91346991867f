/* SPDX-License-Identifier: MIT */
#ifndef ZCRX_CRC32C_H
#define ZCRX_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC32C (Castagnoli) of `size` bytes, as iSCSI and SCTP compute it. */
uint32_t zcrx_crc32c(const void *data, size_t size);

/* The same of more bytes behind those whose CRC32C is `crc`; 0 = none so far. */
uint32_t zcrx_crc32c_more(uint32_t crc, const void *data, size_t size);

/* The portable computation, for tests and machines without the instruction. */
uint32_t zcrx_crc32c_portable(const void *data, size_t size);

/* The instruction alone, for tests of machines that have more; tables where there is none. */
uint32_t zcrx_crc32c_stepped(const void *data, size_t size);

/* "avx512-vpclmulqdq", "sse4.2", "armv8-crc" or "portable". */
const char *zcrx_crc32c_kind(void);

#endif /* ZCRX_CRC32C_H */
