/* SPDX-License-Identifier: MIT */
/* Stepping: the operations reach the same core, and what can be looked at is what is there. */
#include <errno.h>

#include "queue_memory.h"
#include "run/step.h"

static struct zcrx_step *new_step(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_step *step = zcrx_step_new(&shape);

	REQUIRE(step);
	return step;
}

/* The user returns a buffer: entry at the tail, tail moved on. */
static void give_back(struct zcrx_step *step, uint64_t off, uint32_t pad)
{
	uint32_t tail = zcrx_step_tail(step);

	zcrx_step_write_rqe(step, tail, off, 0, pad);
	zcrx_step_set_tail(step, tail + 1);
}

static void a_buffer_goes_out_and_comes_home(void)
{
	struct zcrx_step *step = new_step();
	struct zcrx_judgement judged[4];
	uint32_t user_refs[8], pp_refs[8], pools[8];
	uint32_t start = UINT32_MAX - 5;

	for (uint32_t niov = 0; niov < 8; niov++)
		CHECK_EQ(zcrx_step_alloc(step), niov);
	CHECK_EQ(zcrx_step_alloc(step), -ENOMEM);
	zcrx_step_deliver(step, 3, 2);
	zcrx_step_drop(step, 3);
	zcrx_step_buffers(step, user_refs, pp_refs, pools);
	CHECK_EQ(user_refs[3], 2);
	CHECK_EQ(pp_refs[3], 2);
	CHECK_EQ(pools[3], 1);
	give_back(step, 3 << 12, 0);
	give_back(step, 3 << 12, 9);
	give_back(step, 3 << 12, 0);
	CHECK_EQ(zcrx_step_alloc(step), 3);
	CHECK_EQ(zcrx_step_head(step), start + 3);
	CHECK_EQ(zcrx_step_cached_head(step), start + 3);
	CHECK_EQ(zcrx_step_take_verdicts(step, judged, 2), 2);
	CHECK_EQ(judged[0].verdict, ZCRX_STILL_REFERENCED);
	CHECK_EQ(judged[0].index, start);
	CHECK_EQ(judged[1].verdict, ZCRX_BAD_PAD);
	CHECK_EQ(zcrx_step_take_verdicts(step, judged, 4), 1);
	CHECK_EQ(judged[0].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(judged[0].index, start + 2);
	CHECK_EQ(zcrx_step_take_verdicts(step, judged, 4), 0);
	zcrx_step_free(step);
}

static void no_verdict_is_lost_however_many_are_left_unread(void)
{
	struct zcrx_step *step = new_step();
	static struct zcrx_judgement judged[10000];

	while (zcrx_step_alloc(step) >= 0)
		;
	for (uint32_t i = 0; i < 5000; i++) {
		give_back(step, 0, i + 1);
		if (i % 50 == 49)
			CHECK_EQ(zcrx_step_alloc(step), -ENOMEM);
	}
	CHECK_EQ(zcrx_step_take_verdicts(step, judged, 10000), 5000);
	for (uint32_t i = 0; i < 5000; i++)
		CHECK_EQ(judged[i].index, UINT32_MAX - 5 + i);
	zcrx_step_free(step);
}

static void pools_and_freelist_can_be_looked_at(void)
{
	struct zcrx_step *step = new_step();
	struct zcrx_step_pool pool;
	uint32_t cache[ZCRX_PP_CACHE_SIZE], ring[16], niovs[8];

	CHECK_EQ(zcrx_step_freelist(step, niovs), 8);
	CHECK_EQ(niovs[7], 7);
	for (uint32_t niov = 0; niov < 3; niov++)
		zcrx_step_alloc(step);
	zcrx_step_deliver(step, 1, 1);
	zcrx_step_drop(step, 1);
	zcrx_step_drop(step, 2);
	CHECK_EQ(zcrx_step_scrub(step), 1);
	zcrx_step_pool_read(step, 0, &pool, cache, ring);
	CHECK_EQ(pool.phase, ZCRX_POOL_CURRENT);
	CHECK_EQ(pool.cache_count, 5);
	CHECK_EQ(cache[4], 3);
	CHECK_EQ(pool.ring_count, 2);
	CHECK_BYTES(ring, ((uint32_t[]){2, 1}), 2 * sizeof(uint32_t));
	CHECK_EQ(pool.inflight, 8);
	zcrx_step_pool_read(step, 1, &pool, cache, ring);
	CHECK_EQ(pool.phase, ZCRX_POOL_UNUSED);
	CHECK_EQ(zcrx_step_freelist(step, niovs), 0);
	CHECK_EQ(zcrx_step_copy_fallback(step), -ENOMEM);
	zcrx_step_free(step);
}

static void restart_retry_and_destroy_reach_the_provider(void)
{
	struct zcrx_step *step = new_step();

	zcrx_step_alloc(step);
	CHECK_EQ(zcrx_step_retry_release(step, 0), -ENOENT);
	CHECK_EQ(zcrx_step_restart(step), 1);
	CHECK_EQ(zcrx_step_current_pool(step), 2);
	CHECK_EQ(zcrx_step_retry_release(step, 0), 0); /* a buffer of it is still out */
	zcrx_step_drop(step, 0);
	CHECK_EQ(zcrx_step_retry_release(step, 0), 1);
	CHECK_EQ(zcrx_step_destroy(step), 0);
	CHECK_EQ(zcrx_step_current_pool(step), 0);
	CHECK_EQ(zcrx_step_alloc(step), -ENOENT);
	zcrx_step_free(step);
}

static void the_user_may_write_any_head_and_tail(void)
{
	struct zcrx_step *step = new_step();

	while (zcrx_step_alloc(step) >= 0)
		;
	zcrx_step_set_head(step, 17);
	CHECK_EQ(zcrx_step_head(step), 17);
	zcrx_step_set_tail(step, 12345678);
	CHECK_EQ(zcrx_step_alloc(step), -ENOMEM);
	CHECK_EQ(zcrx_step_head(step), UINT32_MAX - 5 + 64);
	CHECK_EQ(zcrx_step_tail(step), 12345678);
	zcrx_step_free(step);
}

static void a_strict_step_rejects_aliases(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_judgement judged;
	struct zcrx_step *step;

	shape.contract.deviations = ZCRX_CONTRACT_STRICT_ALIAS;
	step = zcrx_step_new(&shape);
	REQUIRE(step);
	while (zcrx_step_alloc(step) >= 0)
		;
	zcrx_step_deliver(step, 0, 1);
	zcrx_step_drop(step, 0);
	give_back(step, UINT64_C(1) << 44, 0);
	CHECK_EQ(zcrx_step_alloc(step), -ENOMEM);
	CHECK_EQ(zcrx_step_take_verdicts(step, &judged, 1), 1);
	CHECK_EQ(judged.verdict, ZCRX_BAD_INDEX);
	zcrx_step_free(step);
}

static void an_impossible_shape_gives_nothing(void)
{
	struct zcrx_shape shape = small_shape();

	shape.rq_entries = 5;
	CHECK(!zcrx_step_new(&shape));
	zcrx_step_free(NULL);
}

CHECK_MAIN(CASE(a_buffer_goes_out_and_comes_home),
	   CASE(no_verdict_is_lost_however_many_are_left_unread),
	   CASE(pools_and_freelist_can_be_looked_at),
	   CASE(restart_retry_and_destroy_reach_the_provider),
	   CASE(the_user_may_write_any_head_and_tail), CASE(a_strict_step_rejects_aliases),
	   CASE(an_impossible_shape_gives_nothing))
