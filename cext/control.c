/* SPDX-License-Identifier: MIT */
#include "control.h"

size_t zcrx_run_size(void)
{
	return sizeof(struct zcrx_run_shared);
}

size_t zcrx_bells_size(void)
{
	return sizeof(struct zcrx_bells);
}

size_t zcrx_queue_size(void)
{
	return sizeof(struct zcrx_queue);
}

void zcrx_run_format(struct zcrx_run_shared *run, uint32_t queues)
{
	run->version = ZCRX_LAYOUT_VERSION;
	run->queues = queues;
	shm_store_release_u32(&run->state, ZCRX_RUN_STARTING, POINT_RUN_STATE);
}

void zcrx_run_set_state(struct zcrx_run_shared *run, struct zcrx_bells *bells, uint32_t state)
{
	/* Pairs with the acquires of the loops: what was prepared for the state is there. */
	shm_store_release_u32(&run->state, state, POINT_RUN_STATE);
	zcrx_bell_force(&bells->provider);
	zcrx_bell_force(&bells->nic);
}

void zcrx_run_abort(struct zcrx_run_shared *run)
{
	shm_store_release_u32(&run->aborted, 1, POINT_RUN_STATE);
}

uint32_t zcrx_run_nic_ack(const struct zcrx_run_shared *run)
{
	return shm_load_acquire_u32(&run->nic_ack, POINT_ACK);
}

uint32_t zcrx_run_provider_ack(const struct zcrx_run_shared *run)
{
	return shm_load_acquire_u32(&run->provider_ack, POINT_ACK);
}

uint32_t zcrx_control_prepare(struct zcrx_bells *bells)
{
	return zcrx_bell_prepare(&bells->control, ZCRX_BELL_WORK);
}

void zcrx_control_sleep(struct zcrx_bells *bells, uint32_t seq, uint32_t timeout_us)
{
	zcrx_bell_sleep(&bells->control, seq, timeout_us);
}

void zcrx_queue_set_user(struct zcrx_queue *queue, uint32_t user)
{
	if (user)
		shm_store_relaxed_u32(&queue->rings->stop, 0, POINT_RUN_STATE);
	/* Pairs with the acquires in zcrx_nq_follow_user() and the provider's follow_user(). */
	shm_store_release_u32(&queue->user->wanted, user, POINT_USER);
	zcrx_bell_force(&queue->bells->provider);
	zcrx_bell_force(&queue->bells->nic);
}

bool zcrx_queue_user_is(const struct zcrx_queue *queue, uint32_t user)
{
	return shm_load_acquire_u32(&queue->user->nic, POINT_USER) == user &&
	       shm_load_acquire_u32(&queue->user->provider, POINT_USER) == user;
}

void zcrx_queue_stop_consumer(struct zcrx_queue *queue)
{
	shm_store_release_u32(&queue->rings->stop, 1, POINT_RUN_STATE);
	zcrx_bell_force(&queue->bells->consumers[queue->index]);
}

uint64_t zcrx_queue_scrub(struct zcrx_queue *queue, uint64_t *buffers)
{
	return zcrx_ifq_scrub(&queue->ifq, buffers);
}

uint64_t zcrx_queue_consumed(const struct zcrx_queue *queue)
{
	return shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG);
}

void zcrx_queue_set_flight_clock(struct zcrx_queue *queue, uint32_t clock)
{
	for (uint32_t writer = 0; writer < ZCRX_WRITERS; writer++) {
		if (queue->flights[writer].shared)
			shm_store_relaxed_u32(&queue->flights[writer].shared->clock, clock,
					      POINT_LOG);
	}
}
