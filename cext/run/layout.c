/* SPDX-License-Identifier: MIT */
/*
 * Sizes and offsets are computed by the same walk ("carve") that sets the
 * pointers, so that the two can never disagree.
 */
#include "layout.h"
#include "areas.h"
#include "wire/rng.h"

#include <errno.h>

#define NIOVS_MAX (1U << 24)
#define RING_GAP_LINES 8U /* between pieces of a drawn layout, at most */

struct carver {
	uint8_t *base; /* NULL: only measure */
	uint64_t used;
};

static void *carve(struct carver *carver, uint64_t size)
{
	void *at = carver->base ? carver->base + carver->used : NULL;

	carver->used += (size + SHM_CACHE_LINE - 1) & ~(uint64_t)(SHM_CACHE_LINE - 1);
	return at;
}

static bool has_extents(const struct zcrx_shape *shape)
{
	return shape->areas_max > 1;
}

static bool areas_are_possible(const struct zcrx_shape *shape)
{
	uint32_t niovs = 0;

	if (!has_extents(shape))
		return true;
	if (!zcrx_level_of(shape->contract.level)->has_areas || shape->areas_max > ZCRX_AREAS_MAX ||
	    shape->areas == 0 || shape->areas > shape->areas_max || shape->area_niovs[0] == 0)
		return false;
	for (uint32_t id = 0; id < shape->areas; id++) {
		if (zcrx_areas_size(shape, id) > shape->num_niovs - niovs)
			return false;
		niovs += zcrx_areas_size(shape, id);
	}
	return true;
}

/* An offset in the area has 48 bits; its id stands above them. */
static bool fit_in_offsets(const struct zcrx_shape *shape)
{
	const uint64_t most = (uint64_t)1 << IORING_ZCRX_AREA_SHIFT >> shape->niov_shift;

	if (!has_extents(shape))
		return shape->num_niovs <= most;
	for (uint32_t i = 0; i < ZCRX_AREA_SIZES; i++) {
		if (shape->area_niovs[i] > most)
			return false;
	}
	return true;
}

static bool shape_is_possible(const struct zcrx_shape *shape)
{
	return shape->num_niovs > 0 && shape->num_niovs <= NIOVS_MAX && shape->niov_shift >= 6 &&
	       shape->niov_shift <= 30 && fit_in_offsets(shape) &&
	       zcrx_is_power_of_two(shape->rq_entries) && shape->rq_entries <= IO_RQ_MAX_ENTRIES &&
	       zcrx_is_power_of_two(shape->cq_entries) && shape->cq_entries <= (1U << 20) &&
	       shape->ptr_ring_size > 0 && shape->ptr_ring_size <= (1U << 20) &&
	       zcrx_is_power_of_two(shape->grant_entries) &&
	       zcrx_is_power_of_two(shape->log_entries) && shape->flows_max > 0 &&
	       shape->flows_max <= (1U << 24) && /* the ledger's room for a flow's number */
	       (shape->flight_entries == 0 || zcrx_is_power_of_two(shape->flight_entries)) &&
	       shape->flight_entries <= ZCRX_FLIGHT_ENTRIES_MAX &&
	       zcrx_contract_is_possible(shape->contract) && areas_are_possible(shape) &&
	       (!shape->has_no_device ||
		(zcrx_level_of(shape->contract.level)->has_flush && shape->niov_shift == 12));
}

static void carve_flight(struct zcrx_queue *queue, enum zcrx_writer writer, struct carver *carver,
			 uint32_t entries)
{
	struct zcrx_flight *flight = &queue->flights[writer];

	if (entries == 0)
		return;
	flight->shared = carve(carver, sizeof(*flight->shared) +
					       sizeof(struct zcrx_event) * (uint64_t)entries);
	flight->mask = entries - 1;
}

static void carve_handoff(struct zcrx_handoff *handoff, const struct zcrx_shape *shape,
			  struct carver *carver)
{
	handoff->shared = carve(carver, sizeof(*handoff->shared));
	handoff->slots = carve(carver, sizeof(*handoff->slots) * (uint64_t)ZCRX_HANDOFF_ENTRIES);
	handoff->counts = carve(carver, sizeof(*handoff->counts) * (uint64_t)shape->num_niovs);
}

static void carve_witness(struct zcrx_queue *queue, struct carver *carver, uint64_t entries)
{
	struct zcrx_witness *witness = &queue->witness;

	witness->shared = carve(carver, sizeof(*witness->shared));
	witness->deliveries = carve(carver, 2 * sizeof(*witness->deliveries) * entries);
	witness->entries = carve(carver, sizeof(*witness->entries) * entries);
	witness->mask = entries - 1;
}

static uint64_t carve_kern(struct zcrx_queue *queue, const struct zcrx_shape *shape, void *base)
{
	struct carver carver = {.base = base};
	struct zcrx_ifq *ifq = &queue->ifq;

	ifq->shared = carve(&carver, sizeof(*ifq->shared));
	queue->area.shared = carve(&carver, sizeof(*queue->area.shared));
	queue->nic = carve(&carver, sizeof(*queue->nic));
	queue->user = carve(&carver, sizeof(*queue->user));
	queue->restart = carve(&carver, sizeof(*queue->restart));
	queue->adding = carve(&carver, sizeof(*queue->adding));
	queue->provider = carve(&carver, sizeof(*queue->provider));
	queue->calls = carve(&carver, sizeof(*queue->calls));
	queue->grants.shared = carve(&carver, sizeof(*queue->grants.shared));
	queue->grants.slots = carve(&carver, sizeof(shm_u32) * (uint64_t)shape->grant_entries);
	queue->area.niovs = carve(&carver, sizeof(*queue->area.niovs) * (uint64_t)shape->num_niovs);
	queue->area.freelist = carve(&carver, sizeof(shm_u32) * (uint64_t)shape->num_niovs);
	if (has_extents(shape))
		queue->area.extents =
			carve(&carver, sizeof(*queue->area.extents) * (uint64_t)shape->areas_max);
	queue->area.scrubbed =
		carve(&carver, sizeof(shm_u32) * (uint64_t)zcrx_account_count(shape->num_niovs));
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		pool->shared = carve(&carver, sizeof(*pool->shared));
		pool->ring = carve(&carver, sizeof(shm_u32) * (uint64_t)shape->ptr_ring_size);
	}
	queue->given = carve(&carver, sizeof(*queue->given) * (uint64_t)shape->num_niovs);
	queue->nic_held = carve(&carver, sizeof(shm_u32) * (uint64_t)ZCRX_NIC_HELD_MAX);
	queue->flows_sent = carve(&carver, sizeof(*queue->flows_sent) * (uint64_t)shape->flows_max);
	queue->journals[ZCRX_JOURNAL_NIC] = carve(&carver, sizeof(struct zcrx_journal));
	queue->journals[ZCRX_JOURNAL_PROVIDER] = carve(&carver, sizeof(struct zcrx_journal));
	ifq->niov_log = carve(&carver, sizeof(*ifq->niov_log) * (uint64_t)shape->log_entries);
	ifq->verdict_log = carve(&carver, shape->log_entries);
	carve_flight(queue, ZCRX_WRITER_NIC, &carver, shape->flight_entries);
	carve_flight(queue, ZCRX_WRITER_PROVIDER, &carver, shape->flight_entries);
	if (zcrx_contract_hands_over(shape->contract))
		carve_handoff(&ifq->handoff, shape, &carver);
	if (shape->is_witnessed)
		carve_witness(queue, &carver, shape->log_entries);
	return carver.used;
}

/* What stands behind the header of the rings object, in the usual order. */
enum ring_piece { RQ_HEAD, RQ_TAIL, CQ_HEAD, CQ_TAIL, RQES, CQES, RING_PIECES };

/* Draw the order of the pieces, and how many cache lines stay empty before each. */
static void draw_ring_layout(uint32_t layout, uint32_t index, uint32_t *order, uint32_t *gaps)
{
	struct zcrx_rng rng = zcrx_rng_for(layout, index + 1);

	for (uint32_t left = RING_PIECES; left > 1; left--) {
		uint32_t chosen = zcrx_rng_below(&rng, left);
		uint32_t last = order[left - 1];

		order[left - 1] = order[chosen];
		order[chosen] = last;
	}
	for (uint32_t i = 0; i < RING_PIECES; i++)
		gaps[i] = zcrx_rng_below(&rng, RING_GAP_LINES + 1);
}

static uint64_t carve_rings(struct zcrx_queue *queue, const struct zcrx_shape *shape, void *base)
{
	const uint64_t sizes[RING_PIECES] = {
		[RQ_HEAD] = SHM_CACHE_LINE,
		[RQ_TAIL] = SHM_CACHE_LINE,
		[CQ_HEAD] = SHM_CACHE_LINE,
		[CQ_TAIL] = SHM_CACHE_LINE,
		[RQES] = sizeof(struct zcrx_rqe_slot) * (uint64_t)shape->rq_entries,
		[CQES] = sizeof(struct zcrx_cqe_slot) * (uint64_t)shape->cq_entries,
	};
	const struct zcrx_level *level = zcrx_level_of(shape->contract.level);
	uint32_t order[RING_PIECES] = {RQ_HEAD, RQ_TAIL, CQ_HEAD, CQ_TAIL, RQES, CQES};
	uint32_t gaps[RING_PIECES] = {0};
	struct carver carver = {.base = base};
	void *at[RING_PIECES];
	uint64_t spare = 0;

	if (shape->ring_layout) {
		draw_ring_layout(shape->ring_layout, queue->index, order, gaps);
		spare = (uint64_t)RING_PIECES * RING_GAP_LINES * SHM_CACHE_LINE;
	}
	queue->rings = carve(&carver, sizeof(*queue->rings));
	for (uint32_t i = 0; i < RING_PIECES; i++) {
		uint64_t gap = (uint64_t)gaps[i] * SHM_CACHE_LINE;

		carve(&carver, gap);
		spare -= gap;
		at[order[i]] = carve(&carver, sizes[order[i]]);
	}
	/* The size is the same for each queue, whatever was drawn for it. */
	carve(&carver, spare);
	/* What a kernel keeps together; drawn apart it is found all the same. */
	if (level->rqes_at && !shape->ring_layout) {
		uint8_t *ring = carve(&carver, level->rqes_at + sizes[RQES]);

		at[RQ_HEAD] = ring;
		at[RQ_TAIL] = ring ? ring + level->tail_at : NULL;
		at[RQES] = ring ? ring + level->rqes_at : NULL;
	}
	queue->ifq.rq.head = at[RQ_HEAD];
	queue->ifq.rq.tail = at[RQ_TAIL];
	queue->cq.head = at[CQ_HEAD];
	queue->cq.tail = at[CQ_TAIL];
	queue->ifq.rq.rqes = at[RQES];
	queue->cq.cqes = at[CQES];
	return carver.used;
}

static uint64_t carve_notes(struct zcrx_queue *queue, const struct zcrx_shape *shape, void *base)
{
	struct carver carver = {.base = base};

	queue->notes = carve(&carver, sizeof(*queue->notes));
	queue->flows_received =
		carve(&carver, sizeof(*queue->flows_received) * (uint64_t)shape->flows_max);
	queue->ledger =
		carve(&carver, sizeof(struct zcrx_ledger_entry) * (uint64_t)shape->cq_entries);
	queue->journals[ZCRX_JOURNAL_CONSUMER] = carve(&carver, sizeof(struct zcrx_journal));
	queue->dues = carve(&carver, sizeof(*queue->dues) * (uint64_t)shape->log_entries);
	queue->intents = carve(&carver, sizeof(*queue->intents) * (uint64_t)shape->log_entries);
	carve_flight(queue, ZCRX_WRITER_CONSUMER, &carver, shape->flight_entries);
	return carver.used;
}

int zcrx_layout_sizes(const struct zcrx_shape *shape, struct zcrx_sizes *sizes)
{
	struct zcrx_queue queue;

	if (!shape_is_possible(shape))
		return -EINVAL;
	memset(&queue, 0, sizeof(queue));
	sizes->kern = carve_kern(&queue, shape, NULL);
	sizes->rings = carve_rings(&queue, shape, NULL);
	sizes->notes = carve_notes(&queue, shape, NULL);
	sizes->area = (uint64_t)shape->num_niovs << shape->niov_shift;
	return 0;
}

int zcrx_queue_attach(struct zcrx_queue *queue, const struct zcrx_shape *shape, uint32_t index,
		      const struct zcrx_mapping *mapping)
{
	if (!shape_is_possible(shape) || index >= ZCRX_QUEUES_MAX)
		return -EINVAL;
	if (mapping->provider && zcrx_contract_hands_over(shape->contract))
		return -EINVAL; /* what it is shown has all references */
	if (mapping->provider && has_extents(shape))
		return -EINVAL; /* what it is shown has one area */
	memset(queue, 0, sizeof(*queue));
	queue->shape = *shape;
	queue->index = index;
	queue->run = mapping->run;
	queue->bells = mapping->bells;
	carve_kern(queue, shape, mapping->kern);
	/* A consumer goes by the header's offsets, and must not know better. */
	if (mapping->kern)
		carve_rings(queue, shape, mapping->rings);
	else
		queue->rings = mapping->rings;
	carve_notes(queue, shape, mapping->notes);

	queue->area.num_niovs = shape->num_niovs;
	queue->area.areas_max = shape->areas_max;
	queue->area.niov_shift = shape->niov_shift;
	queue->area.contract = shape->contract;
	queue->area.bytes = mapping->area;
	queue->area.aborted = queue->run ? &queue->run->aborted : NULL;

	queue->ifq.area = &queue->area;
	queue->ifq.has_no_device = shape->has_no_device;
	queue->ifq.log_mask = shape->log_entries - 1;
	queue->ifq.flight = &queue->flights[ZCRX_WRITER_PROVIDER];
	if (queue->witness.shared)
		queue->ifq.witness = &queue->witness;
	queue->ifq.rq.entries = shape->rq_entries;
	queue->ifq.rq.mask = shape->rq_entries - 1;
	queue->ifq.rq.cached_head = shape->initial_index;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		queue->ifq.pools[slot].ring_size = shape->ptr_ring_size;
	zcrx_ifq_setup(&queue->ifq);
	if (mapping->provider) {
		zcrx_plugin_attach(&queue->plugin, mapping->provider, &queue->ifq);
		if (mapping->caller)
			queue->plugin.call = &queue->calls->call[mapping->caller];
	}

	queue->grants.entries = shape->grant_entries;
	queue->grants.mask = shape->grant_entries - 1;
	queue->cq.entries = shape->cq_entries;
	queue->cq.mask = shape->cq_entries - 1;
	queue->cq.cached_head = shape->initial_index;
	queue->cq.cached_tail = shape->initial_index;
	return 0;
}

static uint32_t offset_in(const struct zcrx_rings_header *rings, const void *at)
{
	return (uint32_t)((const uint8_t *)at - (const uint8_t *)rings);
}

/* Relaxed: whoever else has the words gets them from their creator afterwards. */
static void format_area_counts(struct zcrx_queue *queue, uint32_t areas)
{
	shm_store_relaxed_u32(&queue->adding->wanted, areas, POINT_USER);
	shm_store_relaxed_u32(&queue->adding->done, areas, POINT_USER);
	shm_store_relaxed_u32(&queue->rings->areas_begun, areas, POINT_USER);
	shm_store_relaxed_u32(&queue->rings->areas_done, areas, POINT_USER);
}

void zcrx_queue_format_objects(struct zcrx_queue *queue)
{
	struct zcrx_rings_header *rings = queue->rings;
	uint32_t start = queue->shape.initial_index;

	zcrx_area_format(&queue->area);
	for (uint32_t id = 0; has_extents(&queue->shape) && id < queue->shape.areas; id++)
		zcrx_area_add(&queue->area, zcrx_areas_size(&queue->shape, id));
	/* Cleared whatever the memory held before, head and tail too (Linux since 7.1). */
	memset(rings, 0, sizeof(*rings));
	rings->rq.head = offset_in(rings, queue->ifq.rq.head);
	rings->rq.tail = offset_in(rings, queue->ifq.rq.tail);
	rings->rq.rqes = offset_in(rings, queue->ifq.rq.rqes);
	rings->cq.head = offset_in(rings, queue->cq.head);
	rings->cq.tail = offset_in(rings, queue->cq.tail);
	rings->cq.rqes = offset_in(rings, queue->cq.cqes);
	rings->rq_entries = queue->shape.rq_entries;
	rings->cq_entries = queue->shape.cq_entries;
	shm_store_relaxed_u32(queue->ifq.rq.head, start, POINT_RQ_HEAD_STORE);
	shm_store_relaxed_u32(queue->ifq.rq.tail, start, POINT_RQ_TAIL_STORE);
	shm_store_relaxed_u32(queue->cq.head, start, POINT_CQ_HEAD_STORE);
	shm_store_relaxed_u32(queue->cq.tail, start, POINT_CQ_TAIL_STORE);
	format_area_counts(queue, zcrx_area_count(&queue->area));
	shm_store_relaxed_u32(&queue->user->wanted, 1, POINT_USER);
	shm_store_relaxed_u32(&queue->user->nic, 1, POINT_USER);
	shm_store_relaxed_u32(&queue->user->provider, 1, POINT_USER);
	zcrx_ifq_format(&queue->ifq);
}

int zcrx_queue_create_pool(struct zcrx_queue *queue)
{
	int slot = zcrx_ifq_restart(&queue->ifq);

	return slot < 0 ? slot : 0;
}

int zcrx_queue_format(struct zcrx_queue *queue)
{
	zcrx_queue_format_objects(queue);
	return queue->shape.has_no_device ? 0 : zcrx_queue_create_pool(queue);
}
