/* SPDX-License-Identifier: MIT */
#include "turn.h"

#include "arrival.h"
#include "late.h"
#include "nic.h"
#include "queue.h"
#include "trouble.h"

/* With a page pool in each place it waits until one is gone. */
static void restart(struct zcrx_lib_ifq *queue)
{
	queue->trouble.is_restart_due = zcrx_lib_nic_restart(queue) == -ENOSPC;
}

void zcrx_lib_turn(struct zcrx_lib_ifq *queue)
{
	zcrx_lib_queue_step(queue);
	zcrx_ifq_retry_release(&queue->ifq);
	if (zcrx_lib_trouble_turn(queue))
		restart(queue);
	if (queue->late && queue->late->turns-- == 0)
		zcrx_lib_arrive_late(queue);
}
