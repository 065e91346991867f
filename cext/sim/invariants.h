/* SPDX-License-Identifier: MIT */
/* What holds in every scenario: at each access, and when all actors have ended. */
#ifndef ZCRX_SIM_INVARIANTS_H
#define ZCRX_SIM_INVARIANTS_H

#include "world.h"

/* For sim_setup: the refill ring's lock is held by whoever takes entries. */
void invariants_check_access(void *context, uint32_t actor, const struct sim_access *access);
/* Each buffer in one place, references that match, a verdict for each entry, no lock taken. */
void invariants_check_end(struct world *world);

#endif /* ZCRX_SIM_INVARIANTS_H */
