/* SPDX-License-Identifier: MIT */
/*
 * Waking this process costs more than all the work it does for a few buffers.
 * It therefore works in large steps: it is woken when a grant ring is half
 * empty and fills it up, and it never spins, since NIC and consumer may need
 * both cores of a small machine.
 */
#include "grantor.h"

#include <stdlib.h>

#define SLEEP_US 5000U

struct zcrx_grantor {
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	uint32_t acked;
	uint32_t queue_count;
	struct zcrx_queue queues[];
};

struct zcrx_grantor *zcrx_grantor_new(const struct zcrx_shape *shape, uint32_t queues,
				      const struct zcrx_mapping *mappings, bool strict_alias)
{
	struct zcrx_grantor *grantor =
		calloc(1, sizeof(*grantor) + queues * sizeof(grantor->queues[0]));

	if (!grantor)
		return NULL;
	grantor->run = mappings[0].run;
	grantor->bells = mappings[0].bells;
	grantor->queue_count = queues;
	for (uint32_t i = 0; i < queues; i++) {
		if (zcrx_queue_attach(&grantor->queues[i], shape, i, &mappings[i])) {
			free(grantor);
			return NULL;
		}
		grantor->queues[i].ifq.strict_alias = strict_alias;
	}
	return grantor;
}

void zcrx_grantor_free(struct zcrx_grantor *grantor)
{
	free(grantor);
}

/* Follow the control process's word on who the queue's user is. */
static void follow_user(struct zcrx_queue *queue)
{
	struct zcrx_user_shared *user = queue->user;
	/* Pairs with the release in zcrx_queue_set_user(). */
	uint32_t wanted = shm_load_acquire_u32(&user->wanted, POINT_USER);

	if (wanted == shm_load_relaxed_u32(&user->provider, POINT_USER))
		return;
	queue->ifq.detached = wanted == 0;
	if (wanted) {
		zcrx_ifq_reset_ring(&queue->ifq);
		zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_RING_RESET,
				   queue->ifq.rq.cached_head, 0, 0);
	}
	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_USER, wanted, 0, 0);
	/* Pairs with the acquire in zcrx_queue_user_is(): the ring is as it must be. */
	shm_store_release_u32(&user->provider, wanted, POINT_USER);
	zcrx_bell_ring(&queue->bells->control, ZCRX_BELL_WORK);
}

/* Fill one grant ring; how many buffers were granted. *starved: the pool had no more. */
static uint32_t grant(struct zcrx_queue *queue, bool *starved)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&queue->ifq);
	uint32_t room = zcrx_grant_room(&queue->grants);
	uint32_t granted = 0;

	follow_user(queue);
	if (!pool)
		return 0;
	while (granted < room) {
		int64_t niov = zcrx_pp_alloc(pool);

		if (niov < 0) {
			*starved = true;
			zcrx_flight_record_once(queue->ifq.flight, ZCRX_EVENT_STARVED, granted, 0,
						0);
			break;
		}
		zcrx_grant_put(&queue->grants, (uint32_t)niov);
		granted++;
	}
	if (granted) {
		zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_GRANT, granted,
				   queue->grants.cached_tail, 0);
		zcrx_grant_publish(&queue->grants);
		zcrx_bell_ring(&queue->bells->nic, ZCRX_BELL_GRANTS);
	}
	return granted;
}

static void acknowledge(struct zcrx_grantor *grantor, uint32_t state)
{
	grantor->acked = state;
	shm_store_release_u32(&grantor->run->provider_ack, state, POINT_ACK);
	zcrx_bell_ring(&grantor->bells->control, ZCRX_BELL_WORK);
	zcrx_bell_ring(&grantor->bells->nic, UINT32_MAX);
}

/*
 * The queue goes down: judge what still waits in the refill ring, so that each
 * entry has its verdict. One ring full at most: a tail that was moved back
 * would make us read stale slots almost for ever.
 */
static void drain_ring(struct zcrx_queue *queue)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&queue->ifq);
	uint32_t left = queue->shape.rq_entries;

	while (pool && left > 0) {
		uint32_t consumed;

		zcrx_pp_empty_cache(pool);
		consumed = zcrx_ifq_refill_ring(&queue->ifq, pool);
		if (consumed == 0)
			break;
		left -= consumed < left ? consumed : left;
	}
	if (pool)
		zcrx_pp_empty_cache(pool);
	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_DRAIN, 0,
			   shm_load_relaxed_u64(&queue->ifq.shared->consumed, POINT_LOG), 0);
}

static void for_each_queue(struct zcrx_grantor *grantor, void (*visit)(struct zcrx_queue *queue))
{
	for (uint32_t i = 0; i < grantor->queue_count; i++)
		visit(&grantor->queues[i]);
}

static void teardown(struct zcrx_queue *queue)
{
	int left = zcrx_ifq_teardown(&queue->ifq);

	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_TEARDOWN, left != 0,
			   zcrx_area_free_count(&queue->area), 0);
}

/* One round; the bell reasons to sleep for when it found nothing to do, 0 if it did. */
static uint32_t round_of(struct zcrx_grantor *grantor, uint32_t state)
{
	uint32_t reasons = ZCRX_BELL_WORK;
	uint32_t granted = 0;

	switch ((enum zcrx_run_state)state) {
	case ZCRX_RUN_TRAFFIC:
	case ZCRX_RUN_QUIESCE:
		for (uint32_t i = 0; i < grantor->queue_count; i++) {
			bool starved = false;

			granted += grant(&grantor->queues[i], &starved);
			reasons |= starved ? zcrx_bell_refill(i) : ZCRX_BELL_GRANTS;
		}
		return granted ? 0 : reasons;
	case ZCRX_RUN_DRAIN:
		if (grantor->acked >= ZCRX_RUN_DRAIN)
			break;
		acknowledge(grantor, ZCRX_RUN_DRAIN); /* no grant after this */
		for_each_queue(grantor, drain_ring); /* while the control process scrubs */
		return 0;
	case ZCRX_RUN_DESTROY:
		if (grantor->acked >= ZCRX_RUN_DESTROY)
			break;
		for_each_queue(grantor, drain_ring);
		for_each_queue(grantor, teardown);
		acknowledge(grantor, ZCRX_RUN_DESTROY);
		return 0;
	case ZCRX_RUN_STARTING:
	case ZCRX_RUN_EXIT:
		break;
	}
	return reasons;
}

/* Is there something to do on a queue, seen from why we are about to sleep? */
static bool wants_us(struct zcrx_queue *queue, uint32_t reasons)
{
	struct zcrx_user_shared *user = queue->user;

	if (shm_load_relaxed_u32(&user->wanted, POINT_USER) !=
	    shm_load_relaxed_u32(&user->provider, POINT_USER))
		return true;
	/* A queue without buffers waits for RQEs, the others for the NIC to take some. */
	if (reasons & zcrx_bell_refill(queue->index))
		return !queue->ifq.detached && zcrx_rq_available(&queue->ifq.rq);
	return zcrx_grant_room(&queue->grants) > queue->grants.entries / 2;
}

static void sleep_until_rung(struct zcrx_grantor *grantor, uint32_t state, uint32_t reasons)
{
	uint32_t seq = zcrx_bell_prepare(&grantor->bells->provider, reasons);
	bool work = shm_load_acquire_u32(&grantor->run->state, POINT_RUN_STATE) != state;

	/* Looked at again after the announcement: see zcrx_bell_prepare(). */
	for (uint32_t i = 0; i < grantor->queue_count && !work; i++)
		work = reasons != ZCRX_BELL_WORK && wants_us(&grantor->queues[i], reasons);
	if (work)
		zcrx_bell_cancel(&grantor->bells->provider);
	else
		zcrx_bell_sleep(&grantor->bells->provider, seq, SLEEP_US);
}

int zcrx_grantor_run(struct zcrx_grantor *grantor, uint32_t slice_ms)
{
	uint64_t deadline = zcrx_now_ns() + (uint64_t)slice_ms * 1000000;

	for (;;) {
		uint32_t state = shm_load_acquire_u32(&grantor->run->state, POINT_RUN_STATE);
		uint32_t reasons;

		if (state == ZCRX_RUN_EXIT)
			return 1;
		reasons = round_of(grantor, state);
		if (reasons) {
			sleep_until_rung(grantor, state, reasons);
			if (zcrx_now_ns() >= deadline)
				return 0;
		} else if (zcrx_now_ns() >= deadline) {
			return 0;
		}
	}
}
