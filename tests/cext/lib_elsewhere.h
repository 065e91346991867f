/* SPDX-License-Identifier: MIT */
/* Memory that libzcrx_emu reaches by functions alone, as it does another process's. */
#ifndef LIB_ELSEWHERE_H
#define LIB_ELSEWHERE_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* What the "other process" calls an address is an offset of ours. */
#define ELSEWHERE 0x100000000ULL
static uint8_t elsewhere[64 * 4096] __attribute__((aligned(4096)));

static inline int read_elsewhere(void *context, void *to, uint64_t from, size_t size)
{
	(void)context;
	if (from < ELSEWHERE || from + size > ELSEWHERE + sizeof(elsewhere))
		return -EFAULT;
	memcpy(to, elsewhere + (from - ELSEWHERE), size);
	return 0;
}

static inline int write_elsewhere(void *context, uint64_t to, const void *from, size_t size)
{
	(void)context;
	if (to < ELSEWHERE || to + size > ELSEWHERE + sizeof(elsewhere))
		return -EFAULT;
	memcpy(elsewhere + (to - ELSEWHERE), from, size);
	return 0;
}

#endif /* LIB_ELSEWHERE_H */
