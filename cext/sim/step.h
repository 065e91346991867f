/* SPDX-License-Identifier: MIT */
/* The frame of each step: wait for one's turn, say what is done, let time pass. */
#ifndef ZCRX_SIM_STEP_H
#define ZCRX_SIM_STEP_H

#include "execution.h"

/* Stop before a step until it is this actor's turn. */
void step_await_turn(struct sim_engine *engine, uint8_t kind, uint32_t offset, bool writes);
/* Where to say it; it has its number. */
struct sim_event *step_begin(struct sim_engine *engine, uint32_t actor, struct sim_event event);
void step_end(struct sim_engine *engine, const struct sim_event *event);

#endif /* ZCRX_SIM_STEP_H */
