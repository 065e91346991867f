/* SPDX-License-Identifier: MIT */
/*
 * The page pool of one queue: the alloc cache (a stack that only the
 * allocating process touches) and the ptr ring (a FIFO where buffers wait that
 * came back from elsewhere: many producers under a lock, one consumer).
 *
 * Order of supply: alloc cache; else up to ZCRX_PP_REFILL buffers from the ptr
 * ring; else the memory provider behind the pool.
 */
#ifndef ZCRX_PAGE_POOL_H
#define ZCRX_PAGE_POOL_H

#include "area.h"

#define ZCRX_PP_CACHE_SIZE 128U
#define ZCRX_PP_REFILL 64U
#define ZCRX_PTR_RING_DEFAULT 1024U

enum zcrx_pool_phase {
	ZCRX_POOL_UNUSED = 0,
	ZCRX_POOL_CURRENT = 1,
	ZCRX_POOL_DYING = 2,
};

/* The names that `ethtool -S` shows for a page pool, behind "rx_pp_". */
#define ZCRX_PP_COUNTERS(X)   \
	X(alloc_fast)         \
	X(alloc_slow)         \
	X(alloc_slow_ho)      \
	X(alloc_empty)        \
	X(alloc_refill)       \
	X(alloc_waive)        \
	X(recycle_cached)     \
	X(recycle_cache_full) \
	X(recycle_ring)       \
	X(recycle_ring_full)  \
	X(recycle_released_ref)

struct zcrx_pp_counters {
#define ZCRX_PP_FIELD(name) shm_u64 name;
	ZCRX_PP_COUNTERS(ZCRX_PP_FIELD)
#undef ZCRX_PP_FIELD
};

struct zcrx_pool_shared {
	/* Written by the allocating process alone. */
	_Alignas(SHM_CACHE_LINE) shm_u32 phase;
	shm_u32 cache_count;
	shm_u32 hold_count; /* buffers ever bound here, u32, wraps */
	shm_u32 ring_head;
	uint32_t cache[ZCRX_PP_CACHE_SIZE];
	/* Written by whoever returns a buffer. */
	_Alignas(SHM_CACHE_LINE) struct zcrx_lock producer_lock;
	shm_u32 ring_tail;
	shm_u32 ring_refusals; /* a fault: so many more buffers find the ring full */
	shm_u32 release_count; /* buffers ever given up, u32, wraps */
	_Alignas(SHM_CACHE_LINE) struct zcrx_pp_counters counters;
};

struct zcrx_page_pool;

/* What a memory provider supplies (Linux: struct memory_provider_ops). */
struct zcrx_mp_ops {
	/* Called with an empty alloc cache: a niov, or -ENOMEM. */
	int64_t (*alloc_netmems)(struct zcrx_page_pool *pool, void *provider);
	/* The pool gives a buffer up: unbind it. The pool counts it once this has returned. */
	void (*release_netmem)(struct zcrx_page_pool *pool, void *provider, uint32_t niov);
	int (*init)(struct zcrx_page_pool *pool, void *provider);
	/* 0, or -EBUSY when buffers are missing. */
	int (*destroy)(struct zcrx_page_pool *pool, void *provider);
};

struct zcrx_pp_params {
	uint32_t order;
	bool dma_map; /* the pool wants to map buffers itself (PP_FLAG_DMA_MAP) */
	uint32_t device;
};

/* One process's view of a pool. */
struct zcrx_page_pool {
	struct zcrx_pool_shared *shared;
	shm_u32 *ring; /* [ring_size]: niov + 1, 0 = empty */
	struct zcrx_area *area;
	const struct zcrx_mp_ops *ops;
	void *provider;
	struct zcrx_pp_params params;
	uint32_t ring_size;
	uint32_t slot; /* which pool of its queue this is */
};

/* Empty cache and ring, counters 0, phase CURRENT, provider init'ed; -errno from init. */
int zcrx_pp_create(struct zcrx_page_pool *pool);

/* One buffer for the NIC, or -ENOMEM. Only the allocating process. */
int64_t zcrx_pp_alloc(struct zcrx_page_pool *pool);

/*
 * A buffer whose last reference was dropped outside the provider goes to the
 * ptr ring, when that is full back to the provider. Any kernel-side process.
 */
void zcrx_pp_put_unreferenced(struct zcrx_page_pool *pool, uint32_t niov);

/*
 * A fault: the next `count` buffers that come to the ptr ring find it full,
 * room or not. Only the allocating process; not added to what is left of the last.
 */
void zcrx_pp_refuse_ring(struct zcrx_page_pool *pool, uint32_t count);

/*
 * Tear down: alloc cache (top first), then ptr ring (oldest first) go back to
 * the provider; the pool is DYING, or gone when nothing is out any more.
 * True if it is gone (phase UNUSED, provider's destroy called, its result in
 * *destroyed).
 */
bool zcrx_pp_destroy(struct zcrx_page_pool *pool, int *destroyed);

/* Give what the alloc cache holds back to the provider, top first. */
void zcrx_pp_empty_cache(struct zcrx_page_pool *pool);

/* The delayed worker: look again at a DYING pool. Same result as above. */
bool zcrx_pp_retry_release(struct zcrx_page_pool *pool, int *destroyed);

/* Bind a buffer that came from the freelist: first reference, one more to wait for. */
void zcrx_pp_bind(struct zcrx_page_pool *pool, uint32_t niov);
/* The buffer is no pool's; called by the provider's release, before anyone else can have it. */
void zcrx_pp_unbind(struct zcrx_page_pool *pool, uint32_t niov);

static inline uint32_t zcrx_pp_cache_count(const struct zcrx_page_pool *pool)
{
	return shm_load_relaxed_u32(&pool->shared->cache_count, POINT_POOL_COUNT);
}

static inline void zcrx_pp_cache_set_count(struct zcrx_page_pool *pool, uint32_t count)
{
	assert(count <= ZCRX_PP_CACHE_SIZE);
	shm_store_relaxed_u32(&pool->shared->cache_count, count, POINT_POOL_COUNT);
}

/*
 * Ordering: pairs with the releases in zcrx_pp_destroy() and zcrx_pp_retry_release(): who
 * sees that a pool goes sees the one that is in charge instead.
 */
static inline enum zcrx_pool_phase zcrx_pp_phase(const struct zcrx_page_pool *pool)
{
	return (enum zcrx_pool_phase)shm_load_acquire_u32(&pool->shared->phase, POINT_POOL_COUNT);
}

/*
 * Buffers bound here and not released. Ordering: the second pairs with the addition in
 * give_up(): a buffer that is counted there is where it was put. (One that is bound is
 * counted by the process that asks, or does not matter to it.)
 */
static inline uint32_t zcrx_pp_inflight(const struct zcrx_page_pool *pool)
{
	uint32_t held = shm_load_relaxed_u32(&pool->shared->hold_count, POINT_POOL_COUNT);

	return held - shm_load_acquire_u32(&pool->shared->release_count, POINT_POOL_COUNT);
}

/* Buffers in the ptr ring, oldest first, up to max; exact only while nobody else moves it. */
uint32_t zcrx_pp_ring_snapshot(const struct zcrx_page_pool *pool, uint32_t *niovs, uint32_t max);

#endif /* ZCRX_PAGE_POOL_H */
