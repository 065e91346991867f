/* SPDX-License-Identifier: MIT */
#include "invariants.h"

static bool is_word(const struct world *world, uint32_t offset, const volatile void *word)
{
	return world->shared + offset == (const volatile unsigned char *)word;
}

/* Sleeping and giving the ring to a new user look at it, too, and need no lock for it. */
static bool takes_entries(uint8_t kind)
{
	return kind == OP_ALLOC || kind == OP_GRANT || kind == OP_REFILL || kind == OP_FLUSH ||
	       kind == OP_FLUSH_RQ;
}

/*
 * Whoever takes entries holds the ring's lock from the load of the tail to the
 * store of the head. An interleaving in which that does harm need not be among a
 * scenario's: the lock that is not held is the mistake.
 */
void invariants_check_access(void *context, uint32_t actor, const struct sim_access *access)
{
	struct world *world = context;
	const struct zcrx_ifq *ifq = &world->views[SIM_ACTORS_MAX].nq.queue.ifq;

	if (is_word(world, access->offset, &ifq->shared->rq_lock.word)) {
		if (access->writes && access->before == 0 && access->after != 0)
			world->lock_holder = actor;
		else if (access->writes && access->after == 0)
			world->lock_holder = WORLD_NOBODY;
		return;
	}
	if (!takes_entries(world->views[actor].doing) || world->lock_holder == actor)
		return;
	if (!access->writes && is_word(world, access->offset, ifq->rq.tail))
		sim_fail(TAIL_UNLOCKED);
	else if (access->writes && is_word(world, access->offset, ifq->rq.head))
		sim_fail(HEAD_UNLOCKED);
	else if (!access->writes && access->offset - world->slots[0].offset < world->slots[0].size)
		sim_fail(ENTRY_UNLOCKED);
}

/* How often each buffer is in a place where it is the only one to be. */
static void count_places(struct world *world, uint32_t *places, uint32_t *held)
{
	struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	uint32_t niovs[SCRIPT_NIOVS_MAX], count;

	count = zcrx_area_free_snapshot(&queue->area, niovs, SCRIPT_NIOVS_MAX);
	for (uint32_t i = 0; i < count; i++)
		places[niovs[i]]++;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &queue->ifq.pools[slot];

		if (zcrx_pp_phase(pool) == ZCRX_POOL_UNUSED)
			continue;
		for (uint32_t i = 0; i < zcrx_pp_cache_count(pool); i++)
			places[pool->shared->cache[i]]++;
		count = zcrx_pp_ring_snapshot(pool, niovs, SCRIPT_NIOVS_MAX);
		for (uint32_t i = 0; i < count; i++)
			places[niovs[i]]++;
	}
	for (uint32_t at = queue->grants.shared->head; at != queue->grants.shared->tail; at++)
		held[queue->grants.slots[at & queue->grants.mask]]++;
	for (uint32_t actor = 0; actor <= SIM_ACTORS_MAX; actor++) {
		for (uint32_t i = 0; i < world->views[actor].hand_count; i++)
			held[world->views[actor].hand[i]]++;
	}
}

/* A page pool's buffers: what waits in it is bound to it, and it counts how many it has out. */
static void judge_pool(const struct zcrx_queue *queue, const struct zcrx_page_pool *pool)
{
	uint32_t niovs[64], count = zcrx_pp_cache_count(pool), bound = 0, out;

	for (uint32_t i = 0; i < count; i++) {
		if (queue->area.niovs[pool->shared->cache[i]].pool != pool->slot + 1)
			sim_fail(CACHED_UNBOUND, pool->shared->cache[i]);
	}
	count = zcrx_pp_ring_snapshot(pool, niovs, 64);
	for (uint32_t i = 0; i < count; i++) {
		if (queue->area.niovs[niovs[i]].pool != pool->slot + 1)
			sim_fail(QUEUED_UNBOUND, niovs[i]);
	}
	for (uint32_t niov = 0; niov < queue->shape.num_niovs; niov++)
		bound += queue->area.niovs[niov].pool == pool->slot + 1;
	out = (uint32_t)(pool->shared->hold_count - pool->shared->release_count);
	if (out != bound)
		sim_fail(INFLIGHT, pool->slot, out, bound);
}

static void judge_pools(struct world *world)
{
	const struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;

	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		if (zcrx_pp_phase(&queue->ifq.pools[slot]) != ZCRX_POOL_UNUSED)
			judge_pool(queue, &queue->ifq.pools[slot]);
	}
}

static void judge_buffers(struct world *world)
{
	struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	uint32_t places[SCRIPT_NIOVS_MAX] = {0}, held[SCRIPT_NIOVS_MAX] = {0};

	count_places(world, places, held);
	for (uint32_t niov = 0; niov < zcrx_area_niovs(&queue->area); niov++) {
		const struct zcrx_niov *now = &queue->area.niovs[niov];
		uint32_t user = zcrx_ifq_user_refs(&queue->ifq, niov), refs = held[niov] + user;

		if (places[niov] + (refs != 0) != 1)
			sim_fail(NOT_IN_ONE_PLACE, niov, places[niov], held[niov], user);
		if (refs && now->pp_refs != refs)
			sim_fail(PP_REFS, niov, now->pp_refs, refs);
	}
}

static void judge_counters(struct world *world)
{
	struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	uint64_t verdicts = 0;

	if (queue->area.shared->freelist_overflows)
		sim_fail(FREED_TWICE);
	if (queue->area.shared->ref_underflows)
		sim_fail(REFS_UNDERFLOW);
	if (queue->nic->ownership_violations)
		sim_fail(GRANTED_WHILE_HELD);
	for (uint32_t i = 0; i < ZCRX_VERDICT_COUNT; i++)
		verdicts += queue->ifq.shared->verdicts[i];
	if (verdicts != queue->ifq.shared->consumed)
		sim_fail(UNJUDGED, queue->ifq.shared->consumed, verdicts);
	if (queue->area.shared->freelist_lock.word || queue->ifq.shared->rq_lock.word)
		sim_fail(LOCK_LEFT);
}

void invariants_check_end(struct world *world)
{
	judge_counters(world);
	judge_buffers(world);
	judge_pools(world);
}
