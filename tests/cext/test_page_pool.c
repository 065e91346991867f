/* SPDX-License-Identifier: MIT */
/*
 * The page pool by itself, with a provider behind it that only writes down what
 * it is asked: the order of supply, the ptr ring at its edges, teardown.
 */
#include <errno.h>

#include "kernel/page_pool.h"
#include "threads.h"

#define NIOVS 256U

/* What the pool asked of its provider. */
struct asked {
	int64_t supply; /* the next answer of alloc_netmems */
	uint32_t allocs;
	uint32_t released[NIOVS];
	uint32_t release_count;
	int init_answer, destroy_answer;
	uint32_t inits, destroys;
	bool unbind; /* release unbinds, as a provider must */
};

struct pool_memory {
	struct zcrx_page_pool pool;
	struct zcrx_pool_shared *shared;
	struct zcrx_area area;
	struct zcrx_area_shared area_shared;
	shm_u32 aborted;
	struct asked asked;
};

static int64_t fake_alloc(struct zcrx_page_pool *pool, void *provider)
{
	struct asked *asked = provider;

	(void)pool;
	asked->allocs++;
	return asked->supply;
}

static void fake_release(struct zcrx_page_pool *pool, void *provider, uint32_t niov)
{
	struct asked *asked = provider;

	if (asked->unbind)
		zcrx_pp_unbind(pool, niov);
	asked->released[asked->release_count++ % NIOVS] = niov;
}

static int fake_init(struct zcrx_page_pool *pool, void *provider)
{
	struct asked *asked = provider;

	(void)pool;
	asked->inits++;
	return asked->init_answer;
}

static int fake_destroy(struct zcrx_page_pool *pool, void *provider)
{
	struct asked *asked = provider;

	(void)pool;
	asked->destroys++;
	return asked->destroy_answer;
}

static const struct zcrx_mp_ops fake_ops = {fake_alloc, fake_release, fake_init, fake_destroy};

static void pool_init(struct pool_memory *memory, uint32_t ring_size)
{
	memset(memory, 0, sizeof(*memory));
	memory->shared = aligned_alloc(SHM_CACHE_LINE, sizeof(*memory->shared));
	REQUIRE(memory->shared);
	/* Not zeroed: creating the pool must be enough, a slot is used again and again. */
	memset(memory->shared, 0x5a, sizeof(*memory->shared));
	memset(&memory->shared->producer_lock, 0, sizeof(memory->shared->producer_lock));
	memory->area = (struct zcrx_area){
		.shared = &memory->area_shared,
		.niovs = calloc(NIOVS, sizeof(struct zcrx_niov)),
		.freelist = calloc(NIOVS, sizeof(shm_u32)),
		.aborted = &memory->aborted,
		.num_niovs = NIOVS,
		.niov_shift = 12,
	};
	memory->pool = (struct zcrx_page_pool){
		.shared = memory->shared,
		.ring = malloc(ring_size * sizeof(shm_u32)),
		.area = &memory->area,
		.ops = &fake_ops,
		.provider = &memory->asked,
		.ring_size = ring_size,
		.slot = 2,
	};
	REQUIRE(memory->area.niovs && memory->area.freelist && memory->pool.ring);
	memset(memory->pool.ring, 0x5a, ring_size * sizeof(shm_u32));
	memory->asked.supply = -ENOMEM;
	memory->asked.unbind = true;
	REQUIRE(zcrx_pp_create(&memory->pool) == 0);
}

static void pool_free(struct pool_memory *memory)
{
	free(memory->shared);
	free(memory->pool.ring);
	free(memory->area.niovs);
	free(memory->area.freelist);
}

static void put_in_cache(struct pool_memory *memory, uint32_t niov)
{
	uint32_t count = zcrx_pp_cache_count(&memory->pool);

	zcrx_pp_bind(&memory->pool, niov);
	memory->shared->cache[count] = niov;
	zcrx_pp_cache_set_count(&memory->pool, count + 1);
}

static void put_in_ring(struct pool_memory *memory, uint32_t niov)
{
	zcrx_pp_bind(&memory->pool, niov);
	zcrx_pp_put_unreferenced(&memory->pool, niov);
}

static uint64_t counter(const shm_u64 *counter)
{
	return shm_load_relaxed_u64(counter, POINT_COUNTER);
}

#define COUNTER(memory, name) counter(&(memory)->shared->counters.name)

/* ---- life ---------------------------------------------------------------------- */

static void a_new_pool_is_empty_and_current(void)
{
	struct pool_memory memory;
	uint32_t niovs[4];

	pool_init(&memory, 4);
	CHECK_EQ(zcrx_pp_phase(&memory.pool), ZCRX_POOL_CURRENT);
	CHECK_EQ(zcrx_pp_cache_count(&memory.pool), 0);
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 0);
	CHECK_EQ(zcrx_pp_ring_snapshot(&memory.pool, niovs, 4), 0);
	CHECK_EQ(COUNTER(&memory, alloc_fast) + COUNTER(&memory, recycle_ring), 0);
	CHECK_EQ(memory.asked.inits, 1);
	pool_free(&memory);
}

static void what_the_providers_init_answers_is_passed_on(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	put_in_cache(&memory, 1);
	memory.asked.init_answer = -EOPNOTSUPP;
	CHECK_EQ(zcrx_pp_create(&memory.pool), -EOPNOTSUPP);
	CHECK_EQ(zcrx_pp_cache_count(&memory.pool), 1); /* nothing was touched */
	pool_free(&memory);
}

static void a_bound_buffer_has_one_reference_and_names_its_pool(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	zcrx_pp_bind(&memory.pool, 7);
	CHECK_EQ(shm_load_relaxed_u32(&memory.area.niovs[7].pool, POINT_NIOV_POOL), 3);
	CHECK_EQ(shm_load_relaxed_u32(&memory.area.niovs[7].pp_refs, POINT_PP_REF_LOAD), 1);
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 1);
	zcrx_pp_unbind(&memory.pool, 7);
	CHECK_EQ(shm_load_relaxed_u32(&memory.area.niovs[7].pool, POINT_NIOV_POOL), ZCRX_NO_POOL);
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 1); /* until its provider has put it away */
	pool_free(&memory);
}

static void buffers_in_flight_are_counted_across_the_wrap(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	shm_store_relaxed_u32(&memory.shared->hold_count, UINT32_MAX, POINT_POOL_COUNT);
	shm_store_relaxed_u32(&memory.shared->release_count, UINT32_MAX, POINT_POOL_COUNT);
	zcrx_pp_bind(&memory.pool, 1);
	zcrx_pp_bind(&memory.pool, 2);
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 2);
	zcrx_pp_refuse_ring(&memory.pool, 1);
	zcrx_pp_put_unreferenced(&memory.pool, 2);
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 1);
	pool_free(&memory);
}

/* ---- the order of supply -------------------------------------------------------- */

static void the_alloc_cache_supplies_first_and_as_a_stack(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	put_in_ring(&memory, 9);
	put_in_cache(&memory, 1);
	put_in_cache(&memory, 2);
	CHECK_EQ(zcrx_pp_alloc(&memory.pool), 2);
	CHECK_EQ(zcrx_pp_alloc(&memory.pool), 1);
	CHECK_EQ(COUNTER(&memory, alloc_fast), 2);
	CHECK_EQ(COUNTER(&memory, alloc_refill), 0);
	CHECK_EQ(memory.asked.allocs, 0);
	pool_free(&memory);
}

/* Moved in batches of 64, oldest first, into a stack: out they come newest first. */
static void the_ptr_ring_supplies_second_in_reversed_batches_of_64(void)
{
	struct pool_memory memory;

	pool_init(&memory, 128);
	for (uint32_t niov = 0; niov < 100; niov++)
		put_in_ring(&memory, niov);
	for (uint32_t i = 0; i < 64; i++)
		CHECK_EQ(zcrx_pp_alloc(&memory.pool), 63 - i);
	for (uint32_t i = 0; i < 36; i++)
		CHECK_EQ(zcrx_pp_alloc(&memory.pool), 99 - i);
	CHECK_EQ(COUNTER(&memory, recycle_ring), 100);
	CHECK_EQ(COUNTER(&memory, alloc_refill), 2);
	CHECK_EQ(COUNTER(&memory, alloc_fast), 98);
	CHECK_EQ(memory.asked.allocs, 0);
	pool_free(&memory);
}

static void the_provider_is_asked_last(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	memory.asked.supply = 42;
	CHECK_EQ(zcrx_pp_alloc(&memory.pool), 42);
	memory.asked.supply = -ENOMEM;
	CHECK_EQ(zcrx_pp_alloc(&memory.pool), -ENOMEM);
	CHECK_EQ(memory.asked.allocs, 2);
	CHECK_EQ(COUNTER(&memory, alloc_empty), 2);
	CHECK_EQ(COUNTER(&memory, alloc_slow), 1);
	CHECK_EQ(COUNTER(&memory, alloc_fast) + COUNTER(&memory, alloc_refill), 0);
	pool_free(&memory);
}

/* ---- the ptr ring ---------------------------------------------------------------- */

static void the_ptr_ring_keeps_its_order_across_its_end(void)
{
	struct pool_memory memory;
	uint32_t niovs[3];

	pool_init(&memory, 3); /* not a power of two: its indices are not free-running */
	for (uint32_t round = 0; round < 10; round++) {
		put_in_ring(&memory, 2 * round);
		put_in_ring(&memory, 2 * round + 1);
		CHECK_EQ(zcrx_pp_ring_snapshot(&memory.pool, niovs, 3), 2);
		CHECK_EQ(niovs[0], 2 * round);
		CHECK_EQ(niovs[1], 2 * round + 1);
		CHECK_EQ(zcrx_pp_alloc(&memory.pool), 2 * round + 1);
		CHECK_EQ(zcrx_pp_alloc(&memory.pool), 2 * round);
	}
	CHECK_EQ(memory.asked.release_count, 0);
	pool_free(&memory);
}

static void a_full_ptr_ring_releases_to_the_provider(void)
{
	struct pool_memory memory;
	uint32_t niovs[4];

	pool_init(&memory, 2);
	for (uint32_t niov = 10; niov < 14; niov++)
		put_in_ring(&memory, niov);
	CHECK_EQ(memory.asked.release_count, 2);
	CHECK_BYTES(memory.asked.released, ((uint32_t[]){12, 13}), 2 * sizeof(uint32_t));
	CHECK_EQ(zcrx_pp_ring_snapshot(&memory.pool, niovs, 4), 2);
	CHECK_BYTES(niovs, ((uint32_t[]){10, 11}), 2 * sizeof(uint32_t));
	CHECK_EQ(COUNTER(&memory, recycle_ring), 2);
	CHECK_EQ(COUNTER(&memory, recycle_ring_full), 2);
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 2);
	pool_free(&memory);
}

static void a_ptr_ring_of_one_slot_works(void)
{
	struct pool_memory memory;

	pool_init(&memory, 1);
	for (uint32_t round = 0; round < 5; round++) {
		put_in_ring(&memory, round);
		put_in_ring(&memory, 100 + round);
		CHECK_EQ(memory.asked.released[round], 100 + round);
		CHECK_EQ(zcrx_pp_alloc(&memory.pool), round);
	}
	pool_free(&memory);
}

static void buffer_0_is_a_buffer_like_any_other(void)
{
	struct pool_memory memory;
	uint32_t niov = 99;

	pool_init(&memory, 2);
	put_in_ring(&memory, 0);
	CHECK_EQ(zcrx_pp_ring_snapshot(&memory.pool, &niov, 1), 1);
	CHECK_EQ(niov, 0);
	CHECK_EQ(zcrx_pp_alloc(&memory.pool), 0);
	pool_free(&memory);
}

static void a_ptr_ring_whose_producer_died_is_given_up(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	REQUIRE(zcrx_lock(&memory.shared->producer_lock, &memory.aborted));
	shm_store_relaxed_u32(&memory.aborted, 1, POINT_RUN_STATE);
	put_in_ring(&memory, 5);
	CHECK_EQ(memory.asked.release_count, 1);
	pool_free(&memory);
}

/* ---- teardown ----------------------------------------------------------------------- */

static void teardown_gives_up_the_cache_from_its_top_then_the_ring_from_its_oldest(void)
{
	struct pool_memory memory;
	int destroyed = 1;

	pool_init(&memory, 4);
	for (uint32_t niov = 1; niov <= 3; niov++)
		put_in_cache(&memory, niov);
	for (uint32_t niov = 4; niov <= 6; niov++)
		put_in_ring(&memory, niov);
	CHECK(zcrx_pp_destroy(&memory.pool, &destroyed));
	CHECK_EQ(destroyed, 0);
	CHECK_EQ(memory.asked.release_count, 6);
	CHECK_BYTES(memory.asked.released, ((uint32_t[]){3, 2, 1, 4, 5, 6}), 6 * sizeof(uint32_t));
	CHECK_EQ(memory.asked.destroys, 1);
	CHECK_EQ(zcrx_pp_phase(&memory.pool), ZCRX_POOL_UNUSED);
	pool_free(&memory);
}

static void a_ring_that_is_told_to_refuse_does_so_that_often(void)
{
	struct pool_memory memory;

	pool_init(&memory, 4);
	zcrx_pp_refuse_ring(&memory.pool, 2);
	zcrx_pp_refuse_ring(&memory.pool, 1); /* not added up */
	for (uint32_t niov = 0; niov < 4; niov++)
		put_in_ring(&memory, niov);
	CHECK_EQ(COUNTER(&memory, recycle_ring_full), 2);
	CHECK_EQ(COUNTER(&memory, recycle_ring), 2);
	CHECK_BYTES(memory.asked.released, ((uint32_t[]){0, 1}), 2 * sizeof(uint32_t));
	CHECK_EQ(zcrx_pp_inflight(&memory.pool), 2);
	pool_free(&memory);
}

static void refusals_are_not_used_up_by_a_ring_that_is_full(void)
{
	struct pool_memory memory;
	int destroyed;

	pool_init(&memory, 2);
	put_in_ring(&memory, 0);
	put_in_ring(&memory, 1);
	zcrx_pp_refuse_ring(&memory.pool, 1);
	put_in_ring(&memory, 2);
	CHECK_EQ(zcrx_pp_alloc(&memory.pool), 1);
	put_in_ring(&memory, 3);
	put_in_ring(&memory, 4);
	CHECK_EQ(COUNTER(&memory, recycle_ring_full), 2);
	CHECK_EQ(COUNTER(&memory, recycle_ring), 3);
	/* The next pool of this slot starts afresh. */
	zcrx_pp_refuse_ring(&memory.pool, 1);
	zcrx_pp_put_unreferenced(&memory.pool, 1);
	zcrx_pp_refuse_ring(&memory.pool, 1);
	CHECK(zcrx_pp_destroy(&memory.pool, &destroyed));
	CHECK_EQ(zcrx_pp_create(&memory.pool), 0);
	put_in_ring(&memory, 0);
	CHECK_EQ(COUNTER(&memory, recycle_ring_full), 0);
	pool_free(&memory);
}

static void a_pool_with_buffers_out_lingers_until_they_are_home(void)
{
	struct pool_memory memory;
	int destroyed = 1;

	pool_init(&memory, 4);
	put_in_cache(&memory, 1);
	zcrx_pp_bind(&memory.pool, 2);
	zcrx_pp_bind(&memory.pool, 3);
	CHECK(!zcrx_pp_destroy(&memory.pool, &destroyed));
	CHECK_EQ(zcrx_pp_phase(&memory.pool), ZCRX_POOL_DYING);
	zcrx_pp_put_unreferenced(&memory.pool, 3);
	CHECK(!zcrx_pp_retry_release(&memory.pool, &destroyed));
	CHECK_EQ(memory.asked.destroys, 0);
	zcrx_pp_put_unreferenced(&memory.pool, 2);
	memory.asked.destroy_answer = -EBUSY;
	CHECK(zcrx_pp_retry_release(&memory.pool, &destroyed));
	CHECK_EQ(destroyed, -EBUSY);
	CHECK_EQ(zcrx_pp_phase(&memory.pool), ZCRX_POOL_UNUSED);
	CHECK_BYTES(memory.asked.released, ((uint32_t[]){1, 3, 2}), 3 * sizeof(uint32_t));
	pool_free(&memory);
}

static void emptying_the_cache_leaves_the_ring_alone(void)
{
	struct pool_memory memory;
	uint32_t niovs[4];

	pool_init(&memory, 4);
	put_in_cache(&memory, 1);
	put_in_cache(&memory, 2);
	put_in_ring(&memory, 3);
	zcrx_pp_empty_cache(&memory.pool);
	CHECK_EQ(zcrx_pp_cache_count(&memory.pool), 0);
	CHECK_BYTES(memory.asked.released, ((uint32_t[]){2, 1}), 2 * sizeof(uint32_t));
	CHECK_EQ(zcrx_pp_ring_snapshot(&memory.pool, niovs, 4), 1);
	pool_free(&memory);
}

/* ---- many producers, one consumer ------------------------------------------------------ */

#define RETURNERS 2U
#define OWN_NIOVS 24U /* of each returner: more than half the ring, so that it gets full */

struct traffic {
	struct pool_memory memory;
	shm_u32 is_out[RETURNERS * OWN_NIOVS]; /* 1: with its returner */
	shm_u32 next_returner;
	uint32_t rounds;
	shm_u64 returned, released;
};

static void release_to_returner(struct zcrx_page_pool *pool, void *provider, uint32_t niov)
{
	struct traffic *traffic = provider;

	(void)pool;
	shm_fetch_add_u64(&traffic->released, 1, POINT_COUNTER);
	CHECK_EQ(shm_xchg_u32(&traffic->is_out[niov], 1, POINT_COUNTER), 0);
}

static int64_t supply_nothing(struct zcrx_page_pool *pool, void *provider)
{
	(void)pool;
	(void)provider;
	return -ENOMEM;
}

static const struct zcrx_mp_ops traffic_ops = {
	.alloc_netmems = supply_nothing,
	.release_netmem = release_to_returner,
};

static void *return_own_buffers(void *context)
{
	struct traffic *traffic = context;
	uint32_t own = shm_fetch_add_u32(&traffic->next_returner, 1, POINT_COUNTER) * OWN_NIOVS;
	struct patience patience = {0};
	struct budget budget = {0};

	for (uint32_t round = 0; round < traffic->rounds && in_budget(&budget); round++) {
		uint32_t returned = 0;

		for (uint32_t niov = own; niov < own + OWN_NIOVS; niov++) {
			if (!shm_xchg_u32(&traffic->is_out[niov], 0, POINT_COUNTER))
				continue;
			zcrx_pp_put_unreferenced(&traffic->memory.pool, niov);
			returned++;
		}
		shm_fetch_add_u64(&traffic->returned, returned, POINT_COUNTER);
		if (returned == 0 && !wait_more(&patience))
			break;
	}
	return NULL;
}

static bool allocate_all(struct traffic *traffic, uint64_t *allocated)
{
	int64_t niov = zcrx_pp_alloc(&traffic->memory.pool);

	if (niov < 0)
		return false;
	for (; niov >= 0; niov = zcrx_pp_alloc(&traffic->memory.pool)) {
		(*allocated)++;
		CHECK_EQ(shm_xchg_u32(&traffic->is_out[niov], 1, POINT_COUNTER), 0);
	}
	return true;
}

/* Each buffer that is put in comes out once, through the ring or, when it is full, by release. */
static void the_ptr_ring_neither_loses_nor_doubles_under_many_producers(void)
{
	struct traffic traffic = {.rounds = CHECK_REPEAT(40000)};
	struct threads threads = {0};
	struct budget budget = {0};
	uint64_t allocated = 0;

	pool_init(&traffic.memory, 2 * OWN_NIOVS - 16);
	traffic.memory.pool.ops = &traffic_ops;
	traffic.memory.pool.provider = &traffic;
	for (uint32_t niov = 0; niov < RETURNERS * OWN_NIOVS; niov++)
		shm_store_relaxed_u32(&traffic.is_out[niov], 1, POINT_COUNTER);
	for (uint32_t i = 0; i < RETURNERS; i++)
		threads_start(&threads, return_own_buffers, &traffic);
	for (uint32_t i = 0; i < traffic.rounds && in_budget(&budget); i++) {
		if (!allocate_all(&traffic, &allocated))
			sched_yield();
	}
	threads_join(&threads);
	allocate_all(&traffic, &allocated);
	CHECK_EQ(allocated + counter(&traffic.released), counter(&traffic.returned));
	for (uint32_t niov = 0; niov < RETURNERS * OWN_NIOVS; niov++)
		CHECK_EQ(shm_load_relaxed_u32(&traffic.is_out[niov], POINT_COUNTER), 1);
	CHECK_EQ(COUNTER(&traffic.memory, recycle_ring), allocated);
	CHECK_EQ(COUNTER(&traffic.memory, recycle_ring_full), counter(&traffic.released));
	pool_free(&traffic.memory);
}

CHECK_MAIN(CASE(a_new_pool_is_empty_and_current),
	   CASE(what_the_providers_init_answers_is_passed_on),
	   CASE(a_bound_buffer_has_one_reference_and_names_its_pool),
	   CASE(buffers_in_flight_are_counted_across_the_wrap),
	   CASE(the_alloc_cache_supplies_first_and_as_a_stack),
	   CASE(the_ptr_ring_supplies_second_in_reversed_batches_of_64),
	   CASE(the_provider_is_asked_last), CASE(the_ptr_ring_keeps_its_order_across_its_end),
	   CASE(a_full_ptr_ring_releases_to_the_provider), CASE(a_ptr_ring_of_one_slot_works),
	   CASE(buffer_0_is_a_buffer_like_any_other),
	   CASE(a_ptr_ring_whose_producer_died_is_given_up),
	   CASE(teardown_gives_up_the_cache_from_its_top_then_the_ring_from_its_oldest),
	   CASE(a_ring_that_is_told_to_refuse_does_so_that_often),
	   CASE(refusals_are_not_used_up_by_a_ring_that_is_full),
	   CASE(a_pool_with_buffers_out_lingers_until_they_are_home),
	   CASE(emptying_the_cache_leaves_the_ring_alone),
	   CASE(the_ptr_ring_neither_loses_nor_doubles_under_many_producers))
