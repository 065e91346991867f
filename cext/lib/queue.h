/* SPDX-License-Identifier: MIT */
/*
 * One interface queue at work: the provider is asked for buffers, and sees the refill
 * ring; each entry that it judged goes to the ledger, and each buffer that came home by
 * it is poisoned.
 */
#ifndef ZCRX_LIB_QUEUE_H
#define ZCRX_LIB_QUEUE_H

#include <errno.h>

#include "area.h"

/* The kernel has its turn: what is new in the ring is looked at, and a head that is due published. */
void zcrx_lib_queue_step(struct zcrx_lib_ifq *queue);
/* The program sees how far its entries were judged. */
void zcrx_lib_queue_publish(struct zcrx_lib_ifq *queue);
/* A buffer for the NIC, or -ENOMEM. */
int64_t zcrx_lib_queue_alloc(struct zcrx_lib_ifq *queue);
/* A buffer for bytes that must be copied, or -ENOMEM. */
int64_t zcrx_lib_queue_copy_buffer(struct zcrx_lib_ifq *queue);
/* Judge all that waits in the ring, one ring full at most; how many entries. */
uint32_t zcrx_lib_queue_drain(struct zcrx_lib_ifq *queue);
/* The same, and the program sees how far that went at once. */
uint32_t zcrx_lib_queue_drain_now(struct zcrx_lib_ifq *queue);
/* Another page pool serves the queue from now on. 0, -ENOSPC: all wait for buffers, or -ENOMEM. */
int zcrx_lib_queue_restart(struct zcrx_lib_ifq *queue);
/* The program asks for it (FLUSH_RQ): see zcrx_ifq_flush_rq(). 0 or -errno. */
int zcrx_lib_queue_flush(struct zcrx_lib_ifq *queue);
/* Bytes go into a buffer. 0 or -errno: it is not there any more. */
static inline int zcrx_lib_queue_fill(struct zcrx_lib_ifq *queue, uint32_t niov, uint32_t at,
				      const void *bytes, uint32_t size)
{
	const struct zcrx_lib_window *window;
	uint64_t begin = zcrx_lib_area_at(queue, niov, &window);

	return zcrx_lib_window_put(window, begin + at, bytes, size) ? 0 : -EFAULT;
}
/* The refill ring's tail as it stands now: whatever is before it was written before. */
uint32_t zcrx_lib_queue_tail(struct zcrx_lib_ifq *queue);
/*
 * The same, for completions that a round of receives is about to give: it is as it stood before
 * the first of them, where each look is a call.
 */
uint32_t zcrx_lib_queue_tail_of_round(struct zcrx_lib_ifq *queue);
/* Write the header that a registration leaves, and remember it. 0 or -errno. */
int zcrx_lib_queue_start(struct zcrx_lib_ifq *queue);
/*
 * From now on its ring is a copy of what stands in the program's memory: to be freed by the
 * caller, when nobody looks at the ring any more. NULL: that may be something else by now.
 */
void *zcrx_lib_queue_set_aside(struct zcrx_lib_ifq *queue);
/* Its last user is gone, the NIC has stopped: all references are taken back. Of one half made, too. */
void zcrx_lib_queue_free(struct zcrx_lib_ifq *queue);

#endif /* ZCRX_LIB_QUEUE_H */
