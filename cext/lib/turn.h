/* SPDX-License-Identifier: MIT */
/* A step of the kernel, as far as it is a queue's: its ring, its page pools, its NIC. */
#ifndef ZCRX_LIB_TURN_H
#define ZCRX_LIB_TURN_H

#include "instance.h"

void zcrx_lib_turn(struct zcrx_lib_ifq *queue);

#endif /* ZCRX_LIB_TURN_H */
