/* SPDX-License-Identifier: MIT */
/*
 * Which core the provider works on, where there is not one for each process. It has
 * little to do and the others much; beside the busiest of them it would either take
 * that one's time or wait for it, and make all others wait.
 */
#ifndef ZCRX_PLACEMENT_H
#define ZCRX_PLACEMENT_H

#include "run/layout.h"

struct zcrx_placement;

/* NULL where there is nothing to choose: a core for each process, or one for all. */
struct zcrx_placement *zcrx_placement_new(const struct zcrx_bells *bells, uint32_t queues);
void zcrx_placement_free(struct zcrx_placement *placement);

/*
 * Go where the process is that had least to do since the last time. Looks at the
 * clock, and at the others' words only now and then. A user who writes nonsense there
 * moves us to a core that we may use anyway.
 */
void zcrx_placement_follow(struct zcrx_placement *placement);
/* About to sleep for long: whoever wakes us may do so on any core. */
void zcrx_placement_release(struct zcrx_placement *placement);

#endif /* ZCRX_PLACEMENT_H */
