/* SPDX-License-Identifier: MIT */
/* From the wire to sockets: the NIC cuts what arrives into fragments, in buffers that it takes. */
#ifndef ZCRX_LIB_ARRIVAL_H
#define ZCRX_LIB_ARRIVAL_H

#include "instance.h"

/* How many bytes were taken, or -errno. */
int64_t zcrx_lib_deliver(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint32_t flow,
			 const uint8_t *data, size_t size, const struct zcrx_emu_shape *shape);
/* The packet that others have overtaken comes now. */
void zcrx_lib_arrive_late(struct zcrx_lib_ifq *queue);
/* The sender ends it. 0 or -errno. */
int zcrx_lib_end(struct zcrx_emu *emu, uint32_t flow);

#endif /* ZCRX_LIB_ARRIVAL_H */
