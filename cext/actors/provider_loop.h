/* SPDX-License-Identifier: MIT */
/*
 * The provider process: keeps each queue's grant ring filled from its page
 * pool, as a driver keeps its receive descriptors filled, and sees buffers
 * home when the run ends. It sleeps while all grant rings are full.
 */
#ifndef ZCRX_PROVIDER_LOOP_H
#define ZCRX_PROVIDER_LOOP_H

#include "faults/fault.h"
#include "run/layout.h"

struct zcrx_provider_loop;

/*
 * One provider for all queues. NULL without memory, for an impossible shape or
 * for impossible rules. Ordinals of the rules are the allocations of a queue;
 * one that a fault made fail is tried again under the same number.
 */
struct zcrx_provider_loop *zcrx_provider_loop_new(const struct zcrx_shape *shape, uint32_t queues,
						  const struct zcrx_mapping *mappings,
						  const struct zcrx_fault_rule *rules,
						  uint32_t rule_count, uint64_t seed,
						  uint32_t window);
void zcrx_provider_loop_free(struct zcrx_provider_loop *loop);

/* Run for about slice_ms. 0: call again; 1: the run is over. */
int zcrx_provider_loop_run(struct zcrx_provider_loop *loop, uint32_t slice_ms);

#endif /* ZCRX_PROVIDER_LOOP_H */
