/* SPDX-License-Identifier: MIT */
/* What a program asks the kernel: IORING_REGISTER_QUERY. */
#ifndef ZCRX_LIB_QUERY_H
#define ZCRX_LIB_QUERY_H

#include "instance.h"

/* `address` is that of the first question; 0: there is none. 0 or -errno. */
int zcrx_lib_query(struct zcrx_emu *emu, uint64_t address, uint32_t nr_args);

#endif /* ZCRX_LIB_QUERY_H */
