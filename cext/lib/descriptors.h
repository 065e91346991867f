/* SPDX-License-Identifier: MIT */
#ifndef ZCRX_LIB_DESCRIPTORS_H
#define ZCRX_LIB_DESCRIPTORS_H

#include "instance.h"

/* This process's own. */
extern const struct zcrx_emu_descriptors zcrx_lib_own_descriptors;

/* Bytes of the dma-buf that the program's descriptor is; -EBADF: of none, -EINVAL: of something else. */
int64_t zcrx_lib_dmabuf_size(struct zcrx_emu *emu, int fd);

#endif /* ZCRX_LIB_DESCRIPTORS_H */
