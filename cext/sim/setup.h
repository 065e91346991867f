/* SPDX-License-Identifier: MIT */
/* A scenario's setup: done once, by one alone, before there are executions. */
#ifndef ZCRX_SIM_SETUP_H
#define ZCRX_SIM_SETUP_H

#include "world.h"

/* False, and which operation, when one of them would do nothing, or less than it says. */
bool setup_do(struct world_view *view, const struct script *script, struct world_refusal *refusal);

#endif /* ZCRX_SIM_SETUP_H */
