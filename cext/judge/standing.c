/* SPDX-License-Identifier: MIT */
/*
 * Which buffer is where is told by kernel-side memory alone, but for what the
 * user has not read and what it has returned: that stands in rings that it can
 * write. Each entry is copied once and decides on nothing but a count.
 */
#include "standing.h"
#include "audit.h"
#include "run/control.h"
#include "legal.h"

#include <errno.h>
#include <stdlib.h>

enum place { WITH_USER = 0, UNREAD = 1, RETURNED = 2 };

/* The NIC's account of time. */
static void read_words(struct zcrx_queue *queue, struct zcrx_standing *standing)
{
	const struct zcrx_nic_shared *nic = queue->nic;

	standing->since = shm_load_relaxed_u64(&nic->still_since, POINT_COUNTER);
	standing->looks = shm_load_relaxed_u64(&nic->still_looks, POINT_COUNTER);
	standing->longest = shm_load_relaxed_u64(&nic->still_longest, POINT_COUNTER);
	standing->longest_since = shm_load_relaxed_u64(&nic->still_longest_since, POINT_COUNTER);
	standing->last_since = shm_load_relaxed_u64(&nic->still_last_since, POINT_COUNTER);
	standing->last_until = shm_load_relaxed_u64(&nic->still_last_until, POINT_COUNTER);
	standing->waits_for_cq = shm_load_relaxed_u32(&nic->still_cq, POINT_COUNTER);
	standing->short_rounds =
		shm_load_relaxed_u64(&queue->provider->short_rounds, POINT_COUNTER);
	standing->consumed = zcrx_queue_consumed(queue);
	standing->has_user = shm_load_relaxed_u32(&queue->user->wanted, POINT_USER) != 0;
	standing->consumer_sleeps = shm_load_relaxed_u32(
		&queue->bells->consumers[queue->index].waiting, POINT_BELL_WAITING);
	standing->rqes_unread = zcrx_queue_rq_available(queue);
}

/* What an entry or a completion names, by its bytes: if nothing, it is nobody's. */
static void mark(const struct zcrx_queue *queue, uint8_t *places,
		 const struct io_uring_zcrx_rqe *rqe, enum place place)
{
	struct zcrx_legal legal = zcrx_legal_of(rqe, &queue->shape, zcrx_queue_areas(queue));

	if (legal.names)
		places[legal.niov] = (uint8_t)place;
}

/* What completions name that the user has not read. Pairs with the release in zcrx_cq_publish(). */
static void mark_unread(struct zcrx_queue *queue, uint8_t *places, uint32_t count)
{
	struct zcrx_cq_user cq = {
		.cqes = queue->cq.cqes,
		.mask = queue->cq.mask,
		.cached_head = shm_load_acquire_u32(queue->cq.tail, POINT_COUNTER) - count,
	};

	for (uint32_t i = 0; i < count; i++) {
		struct zcrx_cqe32 cqe = zcrx_cq_user_take(&cq);

		const struct io_uring_zcrx_rqe named = {.off = cqe.zcrx.off};

		if (cqe.cqe.flags & IORING_CQE_F_MORE)
			mark(queue, places, &named, UNREAD);
	}
}

/* What published RQEs name, by their bytes: one that is malformed returns nothing. */
static void mark_returned(struct zcrx_queue *queue, uint8_t *places, uint32_t count)
{
	const struct zcrx_rq *rq = &queue->ifq.rq;
	uint32_t head =
		shm_load_relaxed_u32(&queue->ifq.shared->cached_rq_head, POINT_RQ_HEAD_LOAD);

	for (uint32_t i = 0; i < count; i++) {
		struct io_uring_zcrx_rqe rqe = zcrx_slot_read(&rq->rqes[(head + i) & rq->mask]);

		mark(queue, places, &rqe, RETURNED);
	}
}

static void count_users(struct zcrx_queue *queue, const uint8_t *places,
			struct zcrx_standing *standing)
{
	uint32_t open = shm_load_relaxed_u32(&queue->nic->open_niov, POINT_COUNTER);
	uint32_t tail = shm_load_relaxed_u32(queue->cq.tail, POINT_COUNTER);
	uint32_t oldest = 0;

	for (uint32_t niov = 0; niov < queue->area.num_niovs; niov++) {
		const struct zcrx_given *given = &queue->given[niov];
		uint32_t age = tail - shm_load_relaxed_u32(&given->completion, POINT_COUNTER);

		if (niov + 1 == open || shm_load_relaxed_u32(&queue->area.niovs[niov].user_refs,
							     POINT_USER_REF_LOAD) == 0)
			continue;
		standing->unread += places[niov] == UNREAD;
		standing->returned += places[niov] == RETURNED;
		if (places[niov] != WITH_USER)
			continue;
		standing->kept++;
		if (age < oldest)
			continue;
		oldest = age;
		standing->oldest_niov = niov;
		standing->oldest_completion = tail - age - queue->shape.initial_index;
		standing->oldest_flow = shm_load_relaxed_u32(&given->flow, POINT_COUNTER);
		standing->oldest_seq = shm_load_relaxed_u32(&given->seq, POINT_COUNTER);
	}
}

uint64_t zcrx_still_since(const struct zcrx_queue *queue)
{
	return shm_load_relaxed_u64(&queue->nic->still_since, POINT_COUNTER);
}

int zcrx_standing_read(struct zcrx_queue *queue, struct zcrx_standing *standing)
{
	uint8_t *places = calloc(queue->area.num_niovs, 1);
	struct zcrx_places counted;

	if (!places)
		return -ENOMEM;
	memset(standing, 0, sizeof(*standing));
	read_words(queue, standing);
	zcrx_places_read(queue, &counted);
	standing->freelist = counted.freelist;
	standing->cache = counted.cache;
	standing->ptr_ring = counted.ptr_ring;
	standing->grant_ring = counted.grant_ring;
	standing->nic = counted.nic;
	standing->completions_unread = counted.in_flight;
	mark_returned(queue, places, standing->rqes_unread);
	mark_unread(queue, places, counted.in_flight);
	count_users(queue, places, standing);
	free(places);
	return 0;
}
