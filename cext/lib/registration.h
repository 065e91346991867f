/* SPDX-License-Identifier: MIT */
/*
 * Registering an interface queue: each field is checked in the kernel's order and refused
 * with its code, and nothing of a refused registration remains.
 */
#ifndef ZCRX_LIB_REGISTRATION_H
#define ZCRX_LIB_REGISTRATION_H

#include "instance.h"

/* `address` is that of a struct io_uring_zcrx_ifq_reg. 0 or -errno. */
int zcrx_lib_register_ifq(struct zcrx_emu *emu, uint64_t address);
/* That of a struct zcrx_ctrl. 0 or -errno. */
int zcrx_lib_register_ctrl(struct zcrx_emu *emu, uint64_t address, uint32_t nr_args);

#endif /* ZCRX_LIB_REGISTRATION_H */
