/* SPDX-License-Identifier: MIT */
#ifndef ZCRX_LIB_DESCRIPTORS_H
#define ZCRX_LIB_DESCRIPTORS_H

#include "zcrx_emu.h"

/* This process's own. */
extern const struct zcrx_emu_descriptors zcrx_lib_own_descriptors;

#endif /* ZCRX_LIB_DESCRIPTORS_H */
