/* SPDX-License-Identifier: MIT */
/* The user's operations: completions in, returns out, and what it should not write. */
#ifndef ZCRX_SIM_USER_H
#define ZCRX_SIM_USER_H

#include "world.h"

void user_await_cqes(struct world_view *view);
void user_take(struct world_view *view, uint64_t count);
void user_take_bytes(struct world_view *view, uint64_t count);
void user_give(struct world_view *view, uint64_t count);
void user_return(struct world_view *view, uint64_t niov, uint64_t count);
void user_push(struct world_view *view, uint64_t off, uint64_t len, uint64_t pad);
void user_write(struct world_view *view, uint64_t slot, uint64_t off, uint64_t pad);
void user_tail(struct world_view *view, uint64_t word);

#endif /* ZCRX_SIM_USER_H */
