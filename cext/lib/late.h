/* SPDX-License-Identifier: MIT */
/*
 * A packet that others overtake, as a plan has it: its bytes are kept beside the area until its
 * time has come. One of a queue at a time. Whose it is may end before: then it never comes.
 */
#ifndef ZCRX_LIB_LATE_H
#define ZCRX_LIB_LATE_H

#include "instance.h"

struct zcrx_lib_late {
	struct zcrx_emu *ring; /* by which it came */
	uint32_t flow;
	struct zcrx_emu_shape shape;
	uint32_t packets; /* so many of the queue come before it */
	uint32_t turns; /* the queue has so many turns yet: then it waits for no others */
	size_t size;
	uint8_t bytes[];
};

/* The queue keeps it; false: there is no memory, and it is not kept. */
bool zcrx_lib_late_keep(struct zcrx_lib_ifq *queue, struct zcrx_emu *ring, uint32_t flow,
			const uint8_t *bytes, size_t size, const struct zcrx_emu_shape *shape,
			uint32_t packets);
/* It never comes. */
void zcrx_lib_late_drop(struct zcrx_lib_ifq *queue);
/* The same of all that came by a ring: of a flow, and how many bytes that is; or of each. */
size_t zcrx_lib_late_drop_flow(struct zcrx_emu *ring, uint32_t flow);
void zcrx_lib_late_drop_all(struct zcrx_emu *ring);

static inline bool zcrx_lib_late_is_of(const struct zcrx_lib_ifq *queue,
				       const struct zcrx_emu *ring, uint32_t flow)
{
	return queue->late && queue->late->ring == ring && queue->late->flow == flow;
}

#endif /* ZCRX_LIB_LATE_H */
