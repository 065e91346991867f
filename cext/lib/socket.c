/* SPDX-License-Identifier: MIT */
#include "socket.h"

#include <stdlib.h>

#include "late.h"

struct zcrx_lib_flow *zcrx_lib_flow_of(struct zcrx_emu *emu, uint32_t id, bool make)
{
	struct zcrx_lib_flow **bucket, *flow;

	if (!emu->flows) {
		if (!make)
			return NULL;
		emu->flows = calloc(FLOW_BUCKETS, sizeof(struct zcrx_lib_flow *));
		if (!emu->flows)
			return NULL;
	}
	bucket = &emu->flows[id % FLOW_BUCKETS];
	for (flow = *bucket; flow; flow = flow->next) {
		if (flow->id == id)
			return flow;
	}
	flow = make ? calloc(1, sizeof(*flow)) : NULL;
	if (!flow)
		return NULL;
	flow->id = id;
	flow->end = &flow->first;
	flow->next = *bucket;
	*bucket = flow;
	return flow;
}

/* One without bytes is kept for the next: each buffer that arrives has one. */
static struct zcrx_lib_waiting *take_spare(struct zcrx_emu *emu)
{
	struct zcrx_lib_waiting *waiting = emu->spare;

	if (waiting)
		emu->spare = waiting->next;
	return waiting;
}

struct zcrx_lib_waiting *zcrx_lib_flow_add(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
					   struct zcrx_lib_flow *flow, uint32_t length,
					   bool is_copy)
{
	struct zcrx_lib_waiting *waiting = is_copy ? NULL : take_spare(emu);

	if (!waiting)
		waiting = malloc(sizeof(*waiting) + (is_copy ? length : 0));
	if (!waiting)
		return NULL;
	waiting->next = NULL;
	waiting->queue = queue;
	waiting->at = 0;
	waiting->length = length;
	waiting->is_copy = is_copy;
	waiting->is_linear = false;
	waiting->is_repeated = false;
	waiting->meets_full = false;
	*flow->end = waiting;
	flow->end = &waiting->next;
	return waiting;
}

void zcrx_lib_flow_pass(struct zcrx_emu *emu, struct zcrx_lib_flow *flow)
{
	struct zcrx_lib_waiting *waiting = flow->first;

	flow->first = waiting->next;
	if (!flow->first)
		flow->end = &flow->first;
	if (waiting->is_copy) {
		free(waiting);
		return;
	}
	waiting->next = emu->spare;
	emu->spare = waiting;
}

void zcrx_lib_flow_clear(struct zcrx_emu *emu, struct zcrx_lib_flow *flow)
{
	while (flow->first) {
		struct zcrx_lib_waiting *waiting = flow->first;

		if (!waiting->is_copy)
			zcrx_ifq_drop(&waiting->queue->ifq, waiting->niov, 1);
		zcrx_lib_flow_pass(emu, flow);
	}
}

int64_t zcrx_lib_flow_cut(struct zcrx_emu *emu, struct zcrx_lib_flow *flow,
			  struct zcrx_lib_waiting **from)
{
	struct zcrx_lib_flow cut = {.first = *from, .end = flow->end};
	int64_t bytes = 0;

	*from = NULL;
	flow->end = from;
	for (const struct zcrx_lib_waiting *waiting = cut.first; waiting; waiting = waiting->next)
		bytes += waiting->is_repeated ? 0 : waiting->length;
	zcrx_lib_flow_clear(emu, &cut);
	return bytes;
}

int64_t zcrx_lib_flow_withdraw(struct zcrx_emu *emu, uint32_t id)
{
	struct zcrx_lib_flow *flow = zcrx_lib_flow_of(emu, id, false);

	return flow ? zcrx_lib_flow_cut(emu, flow, &flow->first) +
			       (int64_t)zcrx_lib_late_drop_flow(emu, id) :
		      0;
}

void zcrx_lib_flows_free(struct zcrx_emu *emu)
{
	for (uint32_t bucket = 0; emu->flows && bucket < FLOW_BUCKETS; bucket++) {
		while (emu->flows[bucket]) {
			struct zcrx_lib_flow *flow = emu->flows[bucket];

			zcrx_lib_flow_clear(emu, flow);
			emu->flows[bucket] = flow->next;
			free(flow);
		}
	}
	free(emu->flows);
	while (emu->spare)
		free(take_spare(emu));
}
