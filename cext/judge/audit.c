/* SPDX-License-Identifier: MIT */
#include "audit.h"
#include "legal.h"

#include <errno.h>
#include <stdlib.h>

/* ---- counters ----------------------------------------------------------------- */

#define PROVIDER_COUNTERS(X)  \
	X(consumed)           \
	X(aliases)            \
	X(alloc_failures)     \
	X(destroy_warnings)   \
	X(ring_refills)       \
	X(accepted)           \
	X(still_referenced)   \
	X(other_pool)         \
	X(bad_pad)            \
	X(bad_area)           \
	X(bad_index)          \
	X(no_user_ref)        \
	X(instance_refs)      \
	X(free_count)         \
	X(freelist_overflows) \
	X(ref_underflows)     \
	X(restarts)           \
	X(warnings_due)

#define COUNTER_NAME(name) #name,
static const char *const nic_names[] = {ZCRX_NIC_COUNTERS(COUNTER_NAME)};
static const char *const provider_names[] = {PROVIDER_COUNTERS(COUNTER_NAME)};
static const char *const pool_names[] = {ZCRX_PP_COUNTERS(COUNTER_NAME)};
static const char *const consumer_names[] = {ZCRX_CONSUMER_COUNTERS(COUNTER_NAME)};
#undef COUNTER_NAME

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *const *names;
	uint32_t count;
} groups[] = {
	[ZCRX_COUNTERS_NIC] = {nic_names, COUNT_OF(nic_names)},
	[ZCRX_COUNTERS_PROVIDER] = {provider_names, COUNT_OF(provider_names)},
	[ZCRX_COUNTERS_POOL] = {pool_names, COUNT_OF(pool_names)},
	[ZCRX_COUNTERS_CONSUMER] = {consumer_names, COUNT_OF(consumer_names)},
};

uint32_t zcrx_counters_size(enum zcrx_counters group)
{
	return groups[group].count;
}

const char *zcrx_counters_name(enum zcrx_counters group, uint32_t number)
{
	return number < groups[group].count ? groups[group].names[number] : NULL;
}

static uint64_t value_of(const shm_u64 *counter)
{
	return shm_load_relaxed_u64(counter, POINT_COUNTER);
}

static void read_provider(struct zcrx_queue *queue, uint64_t *values)
{
	struct zcrx_ifq_shared *ifq = queue->ifq.shared;

	*values++ = value_of(&ifq->consumed);
	*values++ = value_of(&ifq->aliases);
	*values++ = value_of(&ifq->alloc_failures);
	*values++ = value_of(&ifq->destroy_warnings);
	*values++ = value_of(&ifq->ring_refills);
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
		*values++ = value_of(&ifq->verdicts[verdict]);
	*values++ = shm_load_relaxed_u32(&ifq->refs, POINT_COUNTER);
	*values++ = zcrx_area_free_count(&queue->area);
	*values++ = value_of(&queue->area.shared->freelist_overflows);
	*values++ = value_of(&queue->area.shared->ref_underflows);
	*values++ = value_of(&ifq->restarts);
	*values++ = value_of(&ifq->warnings_due);
}

static void add_counters(const struct zcrx_pp_counters *counters, uint64_t *values)
{
#define POOL_VALUE(name) *values++ += value_of(&counters->name);
	ZCRX_PP_COUNTERS(POOL_VALUE)
#undef POOL_VALUE
}

/* All pools of the queue together, those that are gone included. */
static void read_pools(struct zcrx_queue *queue, uint64_t *values)
{
	memset(values, 0, sizeof(*values) * COUNT_OF(pool_names));
	add_counters(&queue->ifq.shared->replaced, values);
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		add_counters(&queue->ifq.pools[slot].shared->counters, values);
}

void zcrx_counters_read(struct zcrx_queue *queue, enum zcrx_counters group, uint64_t *values)
{
	switch (group) {
	case ZCRX_COUNTERS_NIC:
#define NIC_VALUE(name) *values++ = value_of(&queue->nic->name);
		ZCRX_NIC_COUNTERS(NIC_VALUE)
#undef NIC_VALUE
		break;
	case ZCRX_COUNTERS_PROVIDER:
		read_provider(queue, values);
		break;
	case ZCRX_COUNTERS_POOL:
		read_pools(queue, values);
		break;
	case ZCRX_COUNTERS_CONSUMER:
#define CONSUMER_VALUE(name) *values++ = value_of(&queue->notes->name);
		ZCRX_CONSUMER_COUNTERS(CONSUMER_VALUE)
#undef CONSUMER_VALUE
		break;
	}
}

void zcrx_injected_read(const struct zcrx_queue *queue, uint64_t *values)
{
	zcrx_notes_injected_read(queue, values);
	for (uint32_t rule = 0; rule < ZCRX_RULES_MAX; rule++) {
		if (values[rule] > ZCRX_COUNT_MAX)
			values[rule] = 0;
		values[rule] += value_of(&queue->nic->injected[rule]) +
				value_of(&queue->provider->injected[rule]);
	}
}

void zcrx_notes_injected_read(const struct zcrx_queue *queue, uint64_t *values)
{
	for (uint32_t rule = 0; rule < ZCRX_RULES_MAX; rule++)
		values[rule] = value_of(&queue->notes->injected[rule]);
}

uint32_t zcrx_notes_astray_rule(const struct zcrx_queue *queue)
{
	return shm_load_relaxed_u32(&queue->notes->astray_rule, POINT_LOG);
}

void zcrx_consequences_read(const struct zcrx_queue *queue, uint64_t *values)
{
	for (uint32_t rule = 0; rule < ZCRX_RULES_MAX; rule++)
		values[rule] = value_of(&queue->notes->consequences[rule]);
}

uint32_t zcrx_consequence_list(const struct zcrx_queue *queue, struct zcrx_consequence *to,
			       uint32_t max)
{
	/* Pairs with the release in the consumer's blame(). */
	uint64_t count = shm_load_acquire_u64(&queue->notes->consequence_count, POINT_COUNTER);

	if (count > ZCRX_CONSEQUENCES_MAX)
		count = ZCRX_CONSEQUENCES_MAX;
	if (count > max)
		count = max;
	memcpy(to, queue->notes->consequence, count * sizeof(*to));
	return (uint32_t)count;
}

uint32_t zcrx_journal_read(const struct zcrx_queue *queue, enum zcrx_journal_actor actor,
			   uint64_t *to, uint64_t *count, uint64_t *missing_from)
{
	const struct zcrx_journal *journal = queue->journals[actor];
	uint32_t noted;

	/* Pairs with the release in zcrx_journal_note(): so many entries are there. */
	*count = shm_load_acquire_u64(&journal->count, POINT_LOG);
	noted = *count < ZCRX_JOURNAL_MAX ? (uint32_t)*count : ZCRX_JOURNAL_MAX;
	for (uint32_t i = 0; i < noted; i++)
		to[i] = shm_load_relaxed_u64(&journal->entries[i], POINT_LOG);
	*missing_from = shm_load_relaxed_u64(&journal->missing_from, POINT_LOG);
	return noted;
}

/* ---- for findings ---------------------------------------------------------------- */

/* Destroy warnings that no restart explains: each may lead to one. The audit has them exactly. */
static uint64_t warnings_beyond_restarts(const struct zcrx_queue *queue)
{
	uint64_t warnings = value_of(&queue->ifq.shared->destroy_warnings);
	uint64_t restarts = value_of(&queue->ifq.shared->restarts);

	return warnings > restarts ? warnings - restarts : 0;
}

void zcrx_alarms_read(const struct zcrx_queue *queue, uint64_t *values)
{
	values[0] = value_of(&queue->notes->integrity_errors);
	values[1] = value_of(&queue->notes->bad_completions);
	values[2] = value_of(&queue->notes->ownership_errors);
	values[3] = value_of(&queue->notes->order_errors);
	values[4] = value_of(&queue->nic->ownership_violations);
	values[5] = value_of(&queue->area.shared->freelist_overflows);
	values[6] = value_of(&queue->area.shared->ref_underflows);
	values[7] = warnings_beyond_restarts(queue);
	values[8] = value_of(&queue->notes->own_strays);
	values[9] = value_of(&queue->notes->own_touches);
}

uint32_t zcrx_queue_flight(const struct zcrx_queue *queue, uint32_t writer, void *to,
			   uint64_t *first)
{
	return zcrx_flight_copy(&queue->flights[writer], to, first);
}

void zcrx_queue_peek(const struct zcrx_queue *queue, uint32_t index, struct zcrx_peek *peek)
{
	const struct zcrx_rq *rq = &queue->ifq.rq;
	/* The provider is long past it, and what its writer does now is what we report. */
	struct io_uring_zcrx_rqe rqe = zcrx_slot_read(&rq->rqes[index & rq->mask]);
	struct zcrx_legal legal;

	memset(peek, 0, sizeof(*peek));
	peek->off = rqe.off;
	peek->len = rqe.len;
	peek->pad = rqe.__pad;
	peek->tail = shm_load_relaxed_u32(rq->tail, POINT_RQ_TAIL_LOAD);
	peek->areas = zcrx_area_count(&queue->area);
	/* By the bytes alone: what they name if they are as they should be. */
	rqe.__pad = 0;
	legal = zcrx_legal_of(&rqe, &queue->shape, peek->areas);
	peek->niov = legal.niov;
	if (!legal.names)
		return;
	peek->user_refs =
		shm_load_relaxed_u32(&queue->area.niovs[peek->niov].user_refs, POINT_USER_REF_LOAD);
	peek->pp_refs =
		shm_load_relaxed_u32(&queue->area.niovs[peek->niov].pp_refs, POINT_PP_REF_LOAD);
}

/* ---- places -------------------------------------------------------------------- */

/* Pairs with the releases of either end: zcrx_cq_publish(), zcrx_grant_release() and the like. */
static uint32_t distance(const shm_u32 *tail, const shm_u32 *head, uint32_t max)
{
	uint32_t count = shm_load_acquire_u32(tail, POINT_COUNTER) -
			 shm_load_acquire_u32(head, POINT_COUNTER);

	return count < max ? count : max;
}

static uint32_t ring_count(const struct zcrx_page_pool *pool)
{
	uint32_t head = shm_load_relaxed_u32(&pool->shared->ring_head, POINT_PTR_RING_INDEX);
	uint32_t tail = shm_load_relaxed_u32(&pool->shared->ring_tail, POINT_PTR_RING_INDEX);

	if (head != tail)
		return tail > head ? tail - head : pool->ring_size - head + tail;
	return shm_load_relaxed_u32(&pool->ring[head], POINT_PTR_RING_SLOT) ? pool->ring_size : 0;
}

/* Granted buffers that the NIC holds back. */
static uint32_t held_by_nic(const struct zcrx_queue *queue)
{
	/* Pairs with the release in hold(): those niovs are there. */
	uint32_t count = shm_load_acquire_u32(&queue->nic->held_count, POINT_COUNTER);

	return count < ZCRX_NIC_HELD_MAX ? count : ZCRX_NIC_HELD_MAX;
}

void zcrx_places_read(struct zcrx_queue *queue, struct zcrx_places *places)
{
	uint32_t elsewhere, niovs = zcrx_area_niovs(&queue->area);

	memset(places, 0, sizeof(*places));
	places->freelist = zcrx_area_free_count(&queue->area);
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		if (zcrx_pp_phase(&queue->ifq.pools[slot]) == ZCRX_POOL_UNUSED)
			continue;
		places->cache += zcrx_pp_cache_count(&queue->ifq.pools[slot]);
		places->ptr_ring += ring_count(&queue->ifq.pools[slot]);
	}
	places->grant_ring = distance(&queue->grants.shared->tail, &queue->grants.shared->head,
				      queue->grants.entries);
	places->nic = (shm_load_relaxed_u32(&queue->nic->open_niov, POINT_COUNTER) != 0) +
		      held_by_nic(queue);
	places->in_flight = distance(queue->cq.tail, queue->cq.head, queue->cq.entries);
	elsewhere = places->freelist + places->cache + places->ptr_ring + places->grant_ring +
		    places->nic;
	places->user = elsewhere < niovs ? niovs - elsewhere : 0;
}

/* ---- the audit ------------------------------------------------------------------- */

static void seen(struct zcrx_audit *audit, uint8_t *places, uint32_t niov, uint32_t *count)
{
	(*count)++;
	if (places[niov]++ == 1 && audit->doubled++ == 0)
		audit->first_doubled = niov;
}

static void find_in_pools(struct zcrx_queue *queue, struct zcrx_audit *audit, uint8_t *places,
			  uint32_t *niovs)
{
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &queue->ifq.pools[slot];
		uint32_t count;

		if (zcrx_pp_phase(pool) == ZCRX_POOL_UNUSED)
			continue;
		for (uint32_t i = 0; i < zcrx_pp_cache_count(pool); i++)
			seen(audit, places, pool->shared->cache[i], &audit->places.cache);
		count = zcrx_pp_ring_snapshot(pool, niovs, pool->ring_size);
		for (uint32_t i = 0; i < count; i++)
			seen(audit, places, niovs[i], &audit->places.ptr_ring);
	}
}

static void find_buffers(struct zcrx_queue *queue, struct zcrx_audit *audit, uint8_t *places,
			 uint32_t *niovs)
{
	struct zcrx_grant_shared *grants = queue->grants.shared;
	uint32_t head = shm_load_relaxed_u32(&grants->head, POINT_GRANT_HEAD_LOAD);
	uint32_t granted = distance(&grants->tail, &grants->head, queue->grants.entries);
	uint32_t open = shm_load_relaxed_u32(&queue->nic->open_niov, POINT_COUNTER);
	uint32_t free = zcrx_area_free_snapshot(&queue->area, niovs, queue->area.num_niovs);

	for (uint32_t i = 0; i < free; i++)
		seen(audit, places, niovs[i], &audit->places.freelist);
	find_in_pools(queue, audit, places, niovs);
	for (uint32_t i = 0; i < granted; i++)
		seen(audit, places,
		     shm_load_relaxed_u32(&queue->grants.slots[(head + i) & queue->grants.mask],
					  POINT_GRANT_SLOT),
		     &audit->places.grant_ring);
	if (open)
		seen(audit, places, open - 1, &audit->places.nic);
	for (uint32_t i = 0; i < held_by_nic(queue); i++)
		seen(audit, places, shm_load_relaxed_u32(&queue->nic_held[i], POINT_COUNTER),
		     &audit->places.nic);
	for (uint32_t niov = 0; niov < zcrx_area_niovs(&queue->area); niov++) {
		uint32_t refs = shm_load_relaxed_u32(&queue->area.niovs[niov].user_refs,
						     POINT_USER_REF_LOAD);

		audit->user_refs += refs;
		/* A buffer still being cut is with the NIC, fragments at the user or not. */
		if (refs && open != niov + 1)
			seen(audit, places, niov, &audit->places.user);
		if (places[niov] == 0 && audit->lost++ == 0)
			audit->first_lost = niov;
	}
}

static void check_flows(struct zcrx_queue *queue, struct zcrx_audit *audit)
{
	for (uint32_t flow = 0; flow < queue->shape.flows_max; flow++) {
		struct zcrx_flow_sent *sent = &queue->flows_sent[flow];
		struct zcrx_flow_received *received = &queue->flows_received[flow];
		uint32_t delivered = shm_load_relaxed_u32(&sent->delivered, POINT_COUNTER);
		uint32_t repeated = shm_load_relaxed_u32(&sent->repeated, POINT_COUNTER);
		uint32_t dropped = shm_load_relaxed_u32(&sent->next_seq, POINT_COUNTER) -
				   (delivered - repeated);
		uint32_t got = shm_load_relaxed_u32(&received->received, POINT_COUNTER);
		uint32_t gaps = shm_load_relaxed_u32(&received->gaps, POINT_COUNTER);

		if (delivered == got && gaps <= dropped)
			continue;
		/* Each way by itself: the difference of two u32 words is no count. */
		if (got < delivered)
			audit->fragments_missing += delivered - got;
		else
			audit->fragments_surplus += got - delivered;
		if (audit->flows_wrong++ == 0)
			audit->first_flow_wrong = flow;
	}
}

void zcrx_flow_read(const struct zcrx_queue *queue, uint32_t flow, uint32_t values[4])
{
	const struct zcrx_flow_sent *sent = &queue->flows_sent[flow];
	const struct zcrx_flow_received *received = &queue->flows_received[flow];

	values[0] = shm_load_relaxed_u32(&sent->delivered, POINT_COUNTER);
	values[1] = shm_load_relaxed_u32(&sent->next_seq, POINT_COUNTER) -
		    (values[0] - shm_load_relaxed_u32(&sent->repeated, POINT_COUNTER));
	values[2] = shm_load_relaxed_u32(&received->received, POINT_COUNTER);
	values[3] = shm_load_relaxed_u32(&received->gaps, POINT_COUNTER);
}

void zcrx_own_mistakes_read(const struct zcrx_queue *queue, uint64_t values[2])
{
	values[0] = value_of(&queue->notes->own_strays);
	values[1] = value_of(&queue->notes->own_touches);
}

int zcrx_audit_run(struct zcrx_queue *queue, struct zcrx_audit *audit)
{
	uint8_t *places = calloc(queue->area.num_niovs, 1);
	uint32_t most = queue->shape.ptr_ring_size > queue->area.num_niovs ?
				queue->shape.ptr_ring_size :
				queue->area.num_niovs;
	uint32_t *niovs = calloc(most, sizeof(*niovs));
	int error = -ENOMEM;

	memset(audit, 0, sizeof(*audit));
	if (!places || !niovs)
		goto out_free;
	find_buffers(queue, audit, places, niovs);
	check_flows(queue, audit);
	audit->places.in_flight = distance(queue->cq.tail, queue->cq.head, queue->cq.entries);
	error = 0;
out_free:
	free(places);
	free(niovs);
	return error;
}
