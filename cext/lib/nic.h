/* SPDX-License-Identifier: MIT */
/*
 * What a NIC keeps: the buffer that it goes on to fill, and those that stand in its receive
 * descriptors, taken from the page pool long before a packet comes for them.
 */
#ifndef ZCRX_LIB_NIC_H
#define ZCRX_LIB_NIC_H

#include "instance.h"

#define ZCRX_LIB_MTU 1500U /* of a NIC of which it was not told */

/* The NIC of the ring is this queue's. 0 or -ENOMEM. */
int zcrx_lib_nic_make(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue);
/*
 * The queue is open: its descriptors are filled, as far as the area goes, and what the ring
 * holds already may be judged for it. Where they want more buffers than there are, it is said.
 */
void zcrx_lib_nic_start(struct zcrx_lib_ifq *queue);
/* The queue has more buffers: as many more may stand there. 0, or -ENOMEM: as many as before. */
int zcrx_lib_nic_grow(struct zcrx_lib_ifq *queue);
/* The queue is closed: all of it goes back. */
void zcrx_lib_nic_stop(struct zcrx_lib_ifq *queue);

/* The buffer for what comes next: one that stands, or one of the page pool. -ENOMEM if none. */
int64_t zcrx_lib_nic_take(struct zcrx_lib_ifq *queue);
/* So many buffers can be held back, half of what there is; 0: some are already. */
static inline uint32_t zcrx_lib_nic_may_hold(struct zcrx_lib_ifq *queue)
{
	const struct zcrx_lib_nic *nic = &queue->nic;

	if (queue->is_nodev || nic->held_count)
		return 0;
	if (nic->capacity)
		return nic->count / 2;
	return (zcrx_area_free_count(&queue->area) +
		zcrx_pp_cache_count(zcrx_ifq_pool(&queue->ifq))) /
	       2;
}

/* Hold up to `count` back until so many packets more have come, or there are no others. */
void zcrx_lib_nic_hold(struct zcrx_lib_ifq *queue, uint32_t count, uint32_t packets);
/* Those go back to the page pool. */
void zcrx_lib_nic_give_back(struct zcrx_lib_ifq *queue);
/* A packet has been dealt with. */
static inline void zcrx_lib_nic_pass(struct zcrx_lib_ifq *queue)
{
	if (queue->nic.held_count && queue->nic.hold_left-- == 0)
		zcrx_lib_nic_give_back(queue);
}
/*
 * The queue is restarted: what stands goes back to the page pool that goes, and another pool
 * fills the descriptors. 0, or -ENOSPC: too many pools wait for their buffers.
 */
int zcrx_lib_nic_restart(struct zcrx_lib_ifq *queue);
/* Fill the descriptors that are empty. */
void zcrx_lib_nic_refill(struct zcrx_lib_ifq *queue);
/* It is done with the buffer that it was filling. */
static inline void zcrx_lib_nic_close_buffer(struct zcrx_lib_ifq *queue)
{
	if (queue->nic.open.is_open)
		zcrx_ifq_drop(&queue->ifq, queue->nic.open.niov, 1);
	queue->nic.open.is_open = false;
}

#endif /* ZCRX_LIB_NIC_H */
