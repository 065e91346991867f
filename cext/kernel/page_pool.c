/* SPDX-License-Identifier: MIT */
/*
 * Why a page pool and not the provider alone: buffers come back from many
 * places at many times, and the allocating side must not take a lock for each.
 * The pool absorbs them (ptr ring) and the provider is asked only when both
 * the cache and the ring are empty. That is why RQEs can wait for long.
 */
#include "page_pool.h"

#include <errno.h>

int zcrx_pp_create(struct zcrx_page_pool *pool)
{
	struct zcrx_pool_shared *shared = pool->shared;
	int error = pool->ops->init(pool, pool->provider);

	if (error)
		return error;
	memset(&shared->counters, 0, sizeof(shared->counters));
	for (uint32_t slot = 0; slot < pool->ring_size; slot++)
		shm_store_relaxed_u32(&pool->ring[slot], 0, POINT_PTR_RING_SLOT);
	shm_store_relaxed_u32(&shared->ring_head, 0, POINT_PTR_RING_INDEX);
	shm_store_relaxed_u32(&shared->ring_tail, 0, POINT_PTR_RING_INDEX);
	shm_store_relaxed_u32(&shared->ring_refusals, 0, POINT_PTR_RING_INDEX);
	shm_store_relaxed_u32(&shared->hold_count, 0, POINT_POOL_COUNT);
	shm_store_relaxed_u32(&shared->release_count, 0, POINT_POOL_COUNT);
	zcrx_pp_cache_set_count(pool, 0);
	/* Relaxed: others find the pool by its slot, which zcrx_ifq_restart() publishes. */
	shm_store_relaxed_u32(&shared->phase, ZCRX_POOL_CURRENT, POINT_POOL_COUNT);
	return 0;
}

void zcrx_pp_bind(struct zcrx_page_pool *pool, uint32_t niov)
{
	shm_u32 *hold = &pool->shared->hold_count;

	zcrx_pp_ref_init(pool->area, niov);
	shm_store_relaxed_u32(&pool->area->niovs[niov].pool, pool->slot + 1, POINT_NIOV_POOL);
	shm_store_relaxed_u32(hold, shm_load_relaxed_u32(hold, POINT_POOL_COUNT) + 1,
			      POINT_POOL_COUNT);
}

void zcrx_pp_unbind(struct zcrx_page_pool *pool, uint32_t niov)
{
	shm_store_relaxed_u32(&pool->area->niovs[niov].pool, ZCRX_NO_POOL, POINT_NIOV_POOL);
}

/*
 * Counted last: a pool without a buffer in flight has them all on the freelist,
 * and nobody touches its slot any more. Ordering: the addition pairs with the
 * acquire in zcrx_pp_inflight(), which sees the buffer where it was put.
 */
static void give_up(struct zcrx_page_pool *pool, uint32_t niov)
{
	pool->ops->release_netmem(pool, pool->provider, niov);
	/* Pairs with the acquire in zcrx_pp_inflight(). */
	shm_fetch_add_u32(&pool->shared->release_count, 1, POINT_POOL_COUNT);
}

/*
 * One buffer out of the ptr ring; false when it is empty. Only one process
 * consumes, so the consumer's side of the kernel's ptr_ring needs no lock.
 *
 * Ordering: the acquire pairs with the release in ptr_ring_put(): what the
 * producer did to the buffer is over. The release of the emptied slot pairs
 * with the acquire of that function's test for "full".
 */
static bool ptr_ring_take(struct zcrx_page_pool *pool, uint32_t *niov)
{
	struct zcrx_pool_shared *shared = pool->shared;
	uint32_t head = shm_load_relaxed_u32(&shared->ring_head, POINT_PTR_RING_INDEX);
	shm_u32 *slot = &pool->ring[head];
	uint32_t value = shm_load_acquire_u32(slot, POINT_PTR_RING_SLOT);

	if (value == 0)
		return false;
	*niov = value - 1;
	shm_store_release_u32(slot, 0, POINT_PTR_RING_SLOT);
	shm_store_relaxed_u32(&shared->ring_head, head + 1 < pool->ring_size ? head + 1 : 0,
			      POINT_PTR_RING_INDEX);
	return true;
}

/* Is a fault pretending that the ring is full? Caller holds the producer lock. */
static bool is_refused(struct zcrx_pool_shared *shared)
{
	uint32_t left = shm_load_relaxed_u32(&shared->ring_refusals, POINT_PTR_RING_INDEX);

	if (left == 0)
		return false;
	shm_store_relaxed_u32(&shared->ring_refusals, left - 1, POINT_PTR_RING_INDEX);
	return true;
}

void zcrx_pp_refuse_ring(struct zcrx_page_pool *pool, uint32_t count)
{
	struct zcrx_pool_shared *shared = pool->shared;

	if (!zcrx_lock(&shared->producer_lock, pool->area->aborted))
		return;
	if (shm_load_relaxed_u32(&shared->ring_refusals, POINT_PTR_RING_INDEX) < count)
		shm_store_relaxed_u32(&shared->ring_refusals, count, POINT_PTR_RING_INDEX);
	zcrx_unlock(&shared->producer_lock);
}

/*
 * False when the ring is full (or the run aborted). Ordering: the acquire of an empty
 * slot, and the release of a full one, pair with those in ptr_ring_take().
 */
static bool ptr_ring_put(struct zcrx_page_pool *pool, uint32_t niov)
{
	struct zcrx_pool_shared *shared = pool->shared;
	uint32_t tail;
	bool room;

	if (!zcrx_lock(&shared->producer_lock, pool->area->aborted))
		return false;
	tail = shm_load_relaxed_u32(&shared->ring_tail, POINT_PTR_RING_INDEX);
	room = shm_load_acquire_u32(&pool->ring[tail], POINT_PTR_RING_SLOT) == 0 &&
	       !is_refused(shared);
	if (room) {
		shm_store_relaxed_u32(&shared->ring_tail, tail + 1 < pool->ring_size ? tail + 1 : 0,
				      POINT_PTR_RING_INDEX);
		shm_store_release_u32(&pool->ring[tail], niov + 1, POINT_PTR_RING_SLOT);
		shm_count(&shared->counters.recycle_ring, 1); /* writers are under the lock */
	} else {
		shm_count(&shared->counters.recycle_ring_full, 1);
	}
	zcrx_unlock(&shared->producer_lock);
	return room;
}

int64_t zcrx_pp_alloc(struct zcrx_page_pool *pool)
{
	struct zcrx_pool_shared *shared = pool->shared;
	uint32_t count = zcrx_pp_cache_count(pool);
	int64_t niov;

	if (count > 0) {
		shm_count(&shared->counters.alloc_fast, 1);
		zcrx_pp_cache_set_count(pool, count - 1);
		return shared->cache[count - 1];
	}
	while (count < ZCRX_PP_REFILL && ptr_ring_take(pool, &shared->cache[count]))
		count++;
	if (count > 0) {
		shm_count(&shared->counters.alloc_refill, 1);
		zcrx_pp_cache_set_count(pool, count - 1);
		return shared->cache[count - 1];
	}
	shm_count(&shared->counters.alloc_empty, 1);
	niov = pool->ops->alloc_netmems(pool, pool->provider);
	if (niov >= 0)
		shm_count(&shared->counters.alloc_slow, 1);
	return niov;
}

void zcrx_pp_put_unreferenced(struct zcrx_page_pool *pool, uint32_t niov)
{
	if (!ptr_ring_put(pool, niov))
		give_up(pool, niov);
}

void zcrx_pp_empty_cache(struct zcrx_page_pool *pool)
{
	struct zcrx_pool_shared *shared = pool->shared;
	uint32_t count = zcrx_pp_cache_count(pool);

	while (count > 0) {
		zcrx_pp_cache_set_count(pool, --count);
		give_up(pool, shared->cache[count]);
	}
}

static void give_up_all(struct zcrx_page_pool *pool)
{
	uint32_t niov;

	zcrx_pp_empty_cache(pool);
	while (ptr_ring_take(pool, &niov))
		give_up(pool, niov);
}

bool zcrx_pp_retry_release(struct zcrx_page_pool *pool, int *destroyed)
{
	assert(zcrx_pp_phase(pool) == ZCRX_POOL_DYING);

	give_up_all(pool);
	if (zcrx_pp_inflight(pool) != 0)
		return false;
	*destroyed = pool->ops->destroy(pool, pool->provider);
	/* Pairs with the acquire in zcrx_pp_phase(), as does the next: another one is in charge. */
	shm_store_release_u32(&pool->shared->phase, ZCRX_POOL_UNUSED, POINT_POOL_COUNT);
	return true;
}

bool zcrx_pp_destroy(struct zcrx_page_pool *pool, int *destroyed)
{
	assert(zcrx_pp_phase(pool) == ZCRX_POOL_CURRENT);

	/* Pairs with the acquire in zcrx_pp_phase(). */
	shm_store_release_u32(&pool->shared->phase, ZCRX_POOL_DYING, POINT_POOL_COUNT);
	return zcrx_pp_retry_release(pool, destroyed);
}

uint32_t zcrx_pp_ring_snapshot(const struct zcrx_page_pool *pool, uint32_t *niovs, uint32_t max)
{
	uint32_t at = shm_load_relaxed_u32(&pool->shared->ring_head, POINT_PTR_RING_INDEX);
	uint32_t count;

	for (count = 0; count < max && count < pool->ring_size; count++) {
		/* Pairs with the release in ptr_ring_put(). */
		uint32_t value = shm_load_acquire_u32(&pool->ring[at], POINT_PTR_RING_SLOT);

		if (value == 0)
			break;
		niovs[count] = value - 1;
		at = at + 1 < pool->ring_size ? at + 1 : 0;
	}
	return count;
}
