/* SPDX-License-Identifier: MIT */
/*
 * The subject is compiled once, with counters for an engine that wants them. Where there is no
 * such engine they announce themselves to nobody. A sanitizer's runtime has functions of these
 * names, too, which do the same; any of them will do.
 */
#include <stdint.h>

void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);

__attribute__((weak)) void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop)
{
	(void)start, (void)stop;
}

__attribute__((weak)) void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop)
{
	(void)start, (void)stop;
}
