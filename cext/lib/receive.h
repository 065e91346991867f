/* SPDX-License-Identifier: MIT */
/* From sockets to completions: receives that are armed hand what waits to the program. */
#ifndef ZCRX_LIB_RECEIVE_H
#define ZCRX_LIB_RECEIVE_H

#include "instance.h"

int zcrx_lib_arm(struct zcrx_emu *emu, const struct zcrx_emu_recv *recv);
bool zcrx_lib_is_armed(const struct zcrx_emu *emu, uint32_t flow);
int zcrx_lib_fail(struct zcrx_emu *emu, uint32_t flow, int error);
int zcrx_lib_close(struct zcrx_emu *emu, uint32_t flow);
/* How many completions that made. */
uint32_t zcrx_lib_receive_all(struct zcrx_emu *emu);
/* Report what nobody attends to. */
void zcrx_lib_receive_close(struct zcrx_emu *emu);
/* All buffers that wait are given up. */
void zcrx_lib_receive_free(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_RECEIVE_H */
