/* SPDX-License-Identifier: MIT */
/*
 * The program's memory, as a kernel has it: by address, from somewhere else. What is not
 * there is answered by -EFAULT, never by a fault of ours.
 */
#ifndef ZCRX_LIB_MEMORY_H
#define ZCRX_LIB_MEMORY_H

#include "zcrx_emu.h"

/* This process's own. */
extern const struct zcrx_emu_memory zcrx_lib_own_memory;

#endif /* ZCRX_LIB_MEMORY_H */
