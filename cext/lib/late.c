/* SPDX-License-Identifier: MIT */
#include "late.h"

#include <stdlib.h>

#define TURNS 64U

bool zcrx_lib_late_keep(struct zcrx_lib_ifq *queue, struct zcrx_emu *ring, uint32_t flow,
			const uint8_t *bytes, size_t size, const struct zcrx_emu_shape *shape,
			uint32_t packets)
{
	struct zcrx_lib_late *late = malloc(sizeof(*late) + size);

	if (!late)
		return false;
	*late = (struct zcrx_lib_late){
		.ring = ring,
		.flow = flow,
		.shape = *shape,
		.packets = packets,
		.turns = TURNS,
		.size = size,
	};
	memcpy(late->bytes, bytes, size);
	queue->late = late;
	return true;
}

void zcrx_lib_late_drop(struct zcrx_lib_ifq *queue)
{
	free(queue->late);
	queue->late = NULL;
}

size_t zcrx_lib_late_drop_flow(struct zcrx_emu *ring, uint32_t flow)
{
	size_t bytes = 0;

	for (uint32_t id = 0; id < ring->ifq_count; id++) {
		if (!zcrx_lib_late_is_of(ring->ifqs[id], ring, flow))
			continue;
		bytes += ring->ifqs[id]->late->size;
		zcrx_lib_late_drop(ring->ifqs[id]);
	}
	return bytes;
}

void zcrx_lib_late_drop_all(struct zcrx_emu *ring)
{
	for (uint32_t id = 0; id < ring->ifq_count; id++) {
		if (ring->ifqs[id]->late && ring->ifqs[id]->late->ring == ring)
			zcrx_lib_late_drop(ring->ifqs[id]);
	}
}
