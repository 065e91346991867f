/* SPDX-License-Identifier: MIT */
/*
 * The provider: the verdict of each kind of entry, what one refill may take,
 * what it publishes, where buffers go, the scrub, restart and teardown, and the
 * race between refill and scrub.
 */
#include <errno.h>

#include "queue_memory.h"
#include "wire/rng.h"
#include "threads.h"

#define JUDGEMENTS_MAX 4096U

/* A queue, its refill ring as the user sees it, and each verdict in order. */
struct rig {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_ifq *ifq;
	struct zcrx_page_pool *pool;
	struct zcrx_rq_user user;
	struct zcrx_trace trace;
	struct zcrx_judgement judged[JUDGEMENTS_MAX];
};

static void rig_init_with(struct rig *rig, const struct zcrx_shape *shape)
{
	memset(rig, 0, sizeof(*rig));
	queue_memory_init(&rig->memory, shape);
	rig->queue = &rig->memory.queue;
	rig->ifq = &rig->queue->ifq;
	rig->pool = zcrx_ifq_pool(rig->ifq);
	rig->user = user_of(rig->queue);
	rig->trace = (struct zcrx_trace){.entries = rig->judged, .capacity = JUDGEMENTS_MAX};
	rig->ifq->trace = &rig->trace;
}

static void rig_init(struct rig *rig)
{
	struct zcrx_shape shape = small_shape();

	rig_init_with(rig, &shape);
}

static void rig_free(struct rig *rig)
{
	CHECK_EQ(count_of(&rig->queue->area.shared->freelist_overflows), 0);
	CHECK_EQ(count_of(&rig->queue->area.shared->ref_underflows), 0);
	queue_memory_free(&rig->memory);
}

/* The user writes one RQE and publishes it. */
static void put(struct rig *rig, uint64_t off, uint32_t len, uint32_t pad)
{
	zcrx_rq_user_put(&rig->user, off, len, pad);
	zcrx_rq_user_publish(&rig->user);
}

static void give_back(struct rig *rig, uint32_t niov)
{
	put(rig, (uint64_t)niov << rig->queue->shape.niov_shift, 100, 0);
}

/* A buffer that the user holds `fragments` of, and nobody else. */
static uint32_t delivered(struct rig *rig, uint32_t fragments)
{
	int64_t niov = zcrx_pp_alloc(zcrx_ifq_pool(rig->ifq));

	REQUIRE(niov >= 0);
	deliver(rig->queue, (uint32_t)niov, fragments);
	return (uint32_t)niov;
}

static uint32_t refill(struct rig *rig)
{
	return zcrx_ifq_refill_ring(rig->ifq, zcrx_ifq_pool(rig->ifq));
}

/* The verdict of the one entry that waits. */
static enum zcrx_verdict judge_next(struct rig *rig)
{
	REQUIRE(refill(rig) == 1);
	return rig->judged[rig->trace.count - 1].verdict;
}

static uint32_t user_refs(const struct rig *rig, uint32_t niov)
{
	return word_of(&rig->queue->area.niovs[niov].user_refs);
}

static uint32_t pp_refs(const struct rig *rig, uint32_t niov)
{
	return word_of(&rig->queue->area.niovs[niov].pp_refs);
}

static uint64_t verdicts(const struct rig *rig, enum zcrx_verdict verdict)
{
	return count_of(&rig->ifq->shared->verdicts[verdict]);
}

static uint32_t published_head(const struct rig *rig)
{
	return word_of(rig->ifq->rq.head);
}

/* ---- verdicts ------------------------------------------------------------------ */

static void a_return_of_the_last_fragment_is_accepted(void)
{
	struct rig rig;
	uint32_t niov;

	rig_init(&rig);
	niov = delivered(&rig, 1);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	CHECK_EQ(user_refs(&rig, niov), 0);
	CHECK_EQ(pp_refs(&rig, niov), 1);
	CHECK_EQ(zcrx_pp_alloc(rig.pool), niov);
	CHECK_EQ(verdicts(&rig, ZCRX_ACCEPTED), 1);
	CHECK_EQ(rig.judged[0].index, rig.queue->shape.initial_index);
	CHECK_EQ(rig.judged[0].niov, niov);
	rig_free(&rig);
}

static void a_return_while_others_hold_the_buffer_uses_its_user_reference_up(void)
{
	struct rig rig;
	uint32_t niov;

	rig_init(&rig);
	niov = delivered(&rig, 2);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_STILL_REFERENCED);
	CHECK_EQ(user_refs(&rig, niov), 1);
	CHECK_EQ(pp_refs(&rig, niov), 1);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_NO_USER_REF);
	rig_free(&rig);
}

static void a_buffer_the_stack_holds_comes_home_by_its_last_drop_only(void)
{
	struct rig rig;
	uint32_t niov, ring[4];

	rig_init(&rig);
	niov = (uint32_t)zcrx_pp_alloc(rig.pool);
	hand_out(rig.queue, niov, 1);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_STILL_REFERENCED);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_NO_USER_REF);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, NULL), 0);
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 4), 0);
	zcrx_ifq_drop(rig.ifq, niov, 1);
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 4), 1);
	CHECK_EQ(ring[0], niov);
	rig_free(&rig);
}

/* Each malformed entry stands beside a user reference that it must not touch. */
static void a_malformed_entry_earns_its_verdict_and_touches_nothing(void)
{
	const struct {
		uint64_t off;
		uint32_t pad;
		enum zcrx_verdict verdict;
	} cases[] = {
		{0, 1, ZCRX_BAD_PAD},
		{0, UINT32_C(1) << 31, ZCRX_BAD_PAD},
		{UINT64_C(1) << 48, 0, ZCRX_BAD_AREA},
		{UINT64_C(1) << 63, 0, ZCRX_BAD_AREA},
		{8 << 12, 0, ZCRX_BAD_INDEX},
		{(UINT64_C(1) << 44) - 1, 0, ZCRX_BAD_INDEX},
		{UINT64_C(1) << 43, 0, ZCRX_BAD_INDEX},
		{UINT64_C(1) << 44 | 8 << 12, 0, ZCRX_BAD_INDEX},
		{7 << 12, 0, ZCRX_NO_USER_REF},
		/* Several faults at once: the order of the tests decides. */
		{UINT64_MAX, 1, ZCRX_BAD_PAD},
		{UINT64_MAX, UINT32_MAX, ZCRX_BAD_PAD},
		{UINT64_C(3) << 48, 5, ZCRX_BAD_PAD},
		{8 << 12, 5, ZCRX_BAD_PAD},
		{7 << 12, 5, ZCRX_BAD_PAD},
		{UINT64_MAX, 0, ZCRX_BAD_AREA},
		{UINT64_C(1) << 48 | 8 << 12, 0, ZCRX_BAD_AREA},
		{UINT64_C(1) << 48 | 7 << 12, 0, ZCRX_BAD_AREA},
	};
	struct rig rig;

	rig_init(&rig);
	CHECK_EQ(delivered(&rig, 2), 0);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t before = verdicts(&rig, cases[i].verdict);

		put(&rig, cases[i].off, 100, cases[i].pad);
		CHECK_EQ(judge_next(&rig), cases[i].verdict);
		CHECK_EQ(verdicts(&rig, cases[i].verdict), before + 1);
		CHECK_EQ(published_head(&rig), rig.user.cached_tail); /* consumed all the same */
		CHECK(!rig.judged[i].alias);
	}
	CHECK_EQ(user_refs(&rig, 0), 2);
	CHECK_EQ(pp_refs(&rig, 0), 2);
	CHECK_EQ(zcrx_pp_cache_count(rig.pool), 7);
	CHECK_EQ(count_of(&rig.ifq->shared->consumed), COUNT_OF(cases));
	rig_free(&rig);
}

static void length_and_offset_in_the_buffer_are_ignored(void)
{
	const uint32_t in_niov[] = {1, 64, 2048, 4095};
	const uint32_t lens[] = {0, 1, 4096, UINT32_MAX};
	struct rig rig;

	rig_init(&rig);
	for (size_t i = 0; i < COUNT_OF(lens); i++) {
		uint32_t niov = delivered(&rig, 1);

		put(&rig, ((uint64_t)niov << 12) + in_niov[i], lens[i], 0);
		CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	}
	rig_free(&rig);
}

/* The kernel keeps the niov index in 32 bits: offset bits 44..47 vanish. */
static void an_alias_is_accepted_and_counted(void)
{
	struct rig rig;
	uint32_t niov;

	rig_init(&rig);
	for (uint64_t high = 1; high < 16; high++) {
		niov = delivered(&rig, 1);
		put(&rig, high << 44 | (uint64_t)niov << 12, 0, 0);
		CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
		CHECK(rig.judged[high - 1].alias);
		CHECK_EQ(rig.judged[high - 1].niov, niov);
		CHECK_EQ(rig.ifq->verdict_log[high - 1], ZCRX_ACCEPTED | ZCRX_LOG_ALIAS);
	}
	put(&rig, UINT64_C(1) << 44, 0, 0);
	CHECK_EQ(judge_next(&rig), ZCRX_NO_USER_REF); /* an alias of a buffer that is home */
	CHECK_EQ(rig.ifq->verdict_log[15], ZCRX_NO_USER_REF | ZCRX_LOG_ALIAS);
	CHECK_EQ(count_of(&rig.ifq->shared->aliases), 16);
	rig_free(&rig);
}

static void a_strict_provider_rejects_an_alias_and_still_counts_it(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;
	uint32_t niov;

	shape.contract.deviations = ZCRX_CONTRACT_STRICT_ALIAS;
	rig_init_with(&rig, &shape);
	niov = delivered(&rig, 1);
	put(&rig, UINT64_C(1) << 44 | (uint64_t)niov << 12, 0, 0);
	CHECK_EQ(judge_next(&rig), ZCRX_BAD_INDEX);
	CHECK_EQ(user_refs(&rig, niov), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->aliases), 1);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	rig_free(&rig);
}

static void larger_buffers_shift_the_index_and_leave_no_alias(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;
	uint32_t niov;

	shape.niov_shift = 16; /* 32 bits of index: none can vanish */
	rig_init_with(&rig, &shape);
	niov = delivered(&rig, 1);
	put(&rig, UINT64_C(1) << 47 | (uint64_t)niov << 16, 0, 0);
	CHECK_EQ(judge_next(&rig), ZCRX_BAD_INDEX);
	put(&rig, ((uint64_t)niov << 16) + 65535, 0, 0);
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	CHECK_EQ(count_of(&rig.ifq->shared->aliases), 0);
	rig_free(&rig);
}

static void a_duplicate_is_harmless_until_its_buffer_is_out_again(void)
{
	struct rig rig;
	uint32_t niov;

	rig_init(&rig);
	niov = delivered(&rig, 1);
	give_back(&rig, niov);
	give_back(&rig, niov);
	CHECK_EQ(refill(&rig), 2);
	CHECK_EQ(rig.judged[0].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(rig.judged[1].verdict, ZCRX_NO_USER_REF);
	CHECK_EQ(delivered(&rig, 1), niov);
	give_back(&rig, niov); /* the stray one takes a live reference: it cannot be known */
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_NO_USER_REF);
	rig_free(&rig);
}

/* ---- where buffers of other owners go ---------------------------------------------- */

static void a_buffer_of_another_pool_goes_back_to_that_pool(void)
{
	struct rig rig;
	uint32_t niov, ring[4];
	int64_t next;

	rig_init(&rig);
	niov = delivered(&rig, 1);
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), 1);
	CHECK_EQ(zcrx_pp_phase(rig.pool), ZCRX_POOL_DYING);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_OTHER_POOL);
	CHECK_EQ(zcrx_pp_cache_count(zcrx_ifq_pool(rig.ifq)), 0);
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 4), 1);
	CHECK_EQ(ring[0], niov);
	next = zcrx_pp_alloc(zcrx_ifq_pool(rig.ifq));
	CHECK(next >= 0 && next != niov);
	rig_free(&rig);
}

static void a_buffer_of_another_pool_with_a_full_ring_goes_to_the_freelist(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;
	uint32_t first, second, free_count;

	shape.ptr_ring_size = 1;
	rig_init_with(&rig, &shape);
	first = delivered(&rig, 1);
	second = delivered(&rig, 1);
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), 1);
	free_count = zcrx_area_free_count(&rig.queue->area);
	give_back(&rig, first);
	give_back(&rig, second);
	CHECK_EQ(refill(&rig), 2);
	CHECK_EQ(verdicts(&rig, ZCRX_OTHER_POOL), 2);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), free_count + 1);
	CHECK_EQ(word_of(&rig.queue->area.niovs[second].pool), ZCRX_NO_POOL);
	rig_free(&rig);
}

static void a_copy_buffer_returns_to_the_freelist(void)
{
	struct rig rig;
	int64_t niov;

	rig_init(&rig);
	niov = zcrx_ifq_take_copy_buffer(rig.ifq);
	CHECK_EQ(niov, 7);
	CHECK_EQ(pp_refs(&rig, 7), 1);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), 7);
	deliver(rig.queue, 7, 2);
	give_back(&rig, 7);
	CHECK_EQ(judge_next(&rig), ZCRX_STILL_REFERENCED);
	give_back(&rig, 7);
	CHECK_EQ(judge_next(&rig), ZCRX_OTHER_POOL);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), 8);
	CHECK_EQ(zcrx_pp_cache_count(rig.pool), 0);
	rig_free(&rig);
}

static void a_copy_needs_a_free_buffer(void)
{
	struct rig rig;

	rig_init(&rig);
	zcrx_pp_alloc(rig.pool);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), -ENOMEM);
	rig_free(&rig);
}

/* ---- what one refill takes ------------------------------------------------------------ */

static struct zcrx_shape large_shape(void)
{
	struct zcrx_shape shape = small_shape();

	shape.num_niovs = 256;
	shape.rq_entries = 256;
	shape.ptr_ring_size = 512;
	return shape;
}

static void the_nic_sees_the_freelist_in_batches_of_64_from_the_top(void)
{
	struct zcrx_shape shape = large_shape();
	struct rig rig;

	rig_init_with(&rig, &shape);
	for (uint32_t batch = 4; batch-- > 0;) {
		for (uint32_t i = 0; i < 64; i++)
			CHECK_EQ(zcrx_pp_alloc(rig.pool), 64 * batch + i);
	}
	CHECK_EQ(zcrx_pp_alloc(rig.pool), -ENOMEM);
	CHECK_EQ(count_of(&rig.ifq->shared->alloc_failures), 1);
	rig_free(&rig);

	shape.num_niovs = 5;
	rig_init_with(&rig, &shape);
	for (uint32_t i = 0; i < 5; i++)
		CHECK_EQ(zcrx_pp_alloc(rig.pool), i);
	rig_free(&rig);
}

/* Deliver all 256 buffers and give them back in order 0, 1, 2, ... */
static void give_back_all(struct rig *rig)
{
	for (uint32_t i = 0; i < 256; i++)
		delivered(rig, 1);
	for (uint32_t niov = 0; niov < 256; niov++)
		give_back(rig, niov);
}

static void one_refill_takes_what_fits_under_64_in_the_cache(void)
{
	struct zcrx_shape shape = large_shape();
	struct rig rig;
	uint32_t head = shape.initial_index;

	rig_init_with(&rig, &shape);
	give_back_all(&rig);
	CHECK_EQ(refill(&rig), 64);
	CHECK_EQ(published_head(&rig), head += 64);
	CHECK_EQ(refill(&rig), 0); /* the cache has 64 */
	CHECK_EQ(published_head(&rig), head);
	for (uint32_t i = 0; i < 10; i++)
		CHECK_EQ(zcrx_pp_alloc(rig.pool), 63 - i);
	CHECK_EQ(refill(&rig), 10);
	CHECK_EQ(published_head(&rig), head += 10);
	CHECK_EQ(zcrx_pp_cache_count(rig.pool), 64);
	CHECK_EQ(count_of(&rig.ifq->shared->ring_refills), 2);
	zcrx_pp_cache_set_count(rig.pool, ZCRX_PP_CACHE_SIZE);
	CHECK_EQ(refill(&rig), 0);
	rig_free(&rig);
}

static void the_ring_is_asked_only_when_cache_and_ptr_ring_are_empty(void)
{
	struct rig rig;
	uint32_t niov, other;

	rig_init(&rig);
	niov = delivered(&rig, 1);
	other = (uint32_t)zcrx_pp_alloc(rig.pool);
	give_back(&rig, niov);
	while (zcrx_pp_cache_count(rig.pool))
		zcrx_pp_alloc(rig.pool);
	zcrx_ifq_drop(rig.ifq, other, 1); /* into the ptr ring */
	CHECK_EQ(zcrx_pp_alloc(rig.pool), other);
	CHECK_EQ(count_of(&rig.ifq->shared->consumed), 0);
	CHECK_EQ(zcrx_pp_alloc(rig.pool), niov);
	CHECK_EQ(count_of(&rig.ifq->shared->consumed), 1);
	rig_free(&rig);
}

static void bad_entries_fill_a_refill_and_fail_the_allocation(void)
{
	struct zcrx_shape shape = large_shape();
	struct rig rig;

	rig_init_with(&rig, &shape);
	for (uint32_t i = 0; i < 256; i++)
		delivered(&rig, 1);
	for (uint32_t i = 0; i < 64; i++)
		put(&rig, 0, 0, 1);
	give_back(&rig, 200);
	CHECK_EQ(zcrx_pp_alloc(rig.pool), -ENOMEM);
	CHECK_EQ(published_head(&rig), shape.initial_index + 64);
	CHECK_EQ(zcrx_pp_alloc(rig.pool), 200);
	CHECK_EQ(count_of(&rig.ifq->shared->alloc_failures), 1);
	rig_free(&rig);
}

static void the_freelist_serves_although_valid_entries_wait(void)
{
	struct zcrx_shape shape = large_shape();
	struct rig rig;
	uint32_t niov;

	rig_init_with(&rig, &shape);
	niov = delivered(&rig, 1);
	while (zcrx_pp_cache_count(rig.pool))
		zcrx_pp_alloc(rig.pool);
	for (uint32_t i = 0; i < 64; i++)
		put(&rig, 0, 0, 1);
	give_back(&rig, niov);
	CHECK_EQ(zcrx_pp_alloc(rig.pool), 128);
	CHECK_EQ(zcrx_pp_cache_count(rig.pool), 63);
	CHECK_EQ(zcrx_rq_available(&rig.ifq->rq), 1);
	rig_free(&rig);
}

/* ---- what is published ------------------------------------------------------------------- */

static void the_head_is_not_written_when_nothing_is_available(void)
{
	struct rig rig;

	rig_init(&rig);
	shm_store_relaxed_u32(rig.ifq->rq.head, 4711, POINT_RQ_HEAD_STORE);
	CHECK_EQ(refill(&rig), 0);
	CHECK_EQ(published_head(&rig), 4711);
	CHECK_EQ(count_of(&rig.ifq->shared->ring_refills), 0);
	put(&rig, 0, 0, 1);
	CHECK_EQ(refill(&rig), 1);
	CHECK_EQ(published_head(&rig), rig.queue->shape.initial_index + 1);
	rig_free(&rig);
}

static void the_head_moves_once_for_a_whole_refill_across_the_wrap(void)
{
	struct rig rig;

	rig_init(&rig);
	for (uint32_t i = 0; i < 40; i++)
		put(&rig, 0, 0, 1);
	CHECK_EQ(refill(&rig), 40);
	CHECK_EQ(published_head(&rig), 34); /* started at 2^32 - 6 */
	CHECK_EQ(word_of(&rig.ifq->shared->cached_rq_head), 34);
	for (uint32_t i = 0; i < 40; i++)
		CHECK_EQ(rig.judged[i].index, UINT32_MAX - 5 + i);
	rig_free(&rig);
}

static void a_tail_that_moved_back_is_full_and_stale_slots_are_judged_again(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;
	uint32_t niov;

	shape.rq_entries = 4;
	rig_init_with(&rig, &shape);
	niov = delivered(&rig, 1);
	for (uint32_t i = 0; i < 4; i++)
		put(&rig, (uint64_t)(i < 3 ? niov : 99) << 12, 0, 0);
	CHECK_EQ(refill(&rig), 4);
	CHECK_EQ(delivered(&rig, 1), niov); /* a stale entry names it, and it is out again */
	shm_store_release_u32(rig.ifq->rq.tail, rig.user.cached_tail - 1, POINT_RQ_TAIL_STORE);
	CHECK_EQ(refill(&rig), 4);
	CHECK_EQ(rig.judged[4].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(rig.judged[5].verdict, ZCRX_NO_USER_REF);
	CHECK_EQ(rig.judged[6].verdict, ZCRX_NO_USER_REF);
	CHECK_EQ(rig.judged[7].verdict, ZCRX_BAD_INDEX);
	CHECK_EQ(published_head(&rig), shape.initial_index + 8);
	CHECK_EQ(refill(&rig), 4); /* still not where the tail is */
	rig_free(&rig);
}

static void a_tail_that_jumped_ahead_is_full_and_unwritten_slots_return_buffer_0(void)
{
	struct rig rig;

	rig_init(&rig);
	CHECK_EQ(delivered(&rig, 1), 0);
	shm_store_release_u32(rig.ifq->rq.tail, 500000, POINT_RQ_TAIL_STORE);
	CHECK_EQ(refill(&rig), 64 - 7); /* the cache holds the other 7 */
	CHECK_EQ(verdicts(&rig, ZCRX_ACCEPTED), 1);
	CHECK_EQ(rig.judged[0].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(rig.judged[0].niov, 0);
	CHECK_EQ(verdicts(&rig, ZCRX_NO_USER_REF), 64 - 7 - 1);
	rig_free(&rig);
}

static void the_verdict_log_wraps(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.log_entries = 4;
	rig_init_with(&rig, &shape);
	put(&rig, 0, 0, 1);
	put(&rig, UINT64_C(1) << 48, 0, 0);
	put(&rig, 8 << 12, 0, 0);
	put(&rig, 0, 0, 0);
	put(&rig, UINT64_C(1) << 48, 0, 0);
	CHECK_EQ(refill(&rig), 5);
	CHECK_BYTES(rig.ifq->verdict_log,
		    ((uint8_t[]){ZCRX_BAD_AREA, ZCRX_BAD_AREA, ZCRX_BAD_INDEX, ZCRX_NO_USER_REF}),
		    4);
	rig_free(&rig);
}

/* Beside each verdict the buffer that it is about, an alias' as the kernel cuts it. */
static void the_log_says_which_buffer_each_entry_named(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.log_entries = 4;
	rig_init_with(&rig, &shape);
	for (uint32_t niov = 1; niov <= 3; niov++)
		put(&rig, niov << 12, 0, 0);
	CHECK_EQ(refill(&rig), 3);
	put(&rig, 5 << 12 | 77, 0, 0);
	put(&rig, 6 << 12, 0, 0);
	put(&rig, UINT64_C(1) << 44 | 7 << 12, 0, 0);
	CHECK_EQ(refill(&rig), 3);
	CHECK_BYTES(rig.ifq->niov_log, ((uint16_t[]){6, 7, 3, 5}), 8);
	rig_free(&rig);
}

/* A log of 8, of which the control process looks at some now and then. */
static void a_checked_log_is_never_overtaken_whatever_the_user_says(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.log_entries = 8;
	rig_init_with(&rig, &shape);
	rig.ifq->is_checked = true;
	shm_store_release_u32(rig.ifq->rq.tail, rig.ifq->rq.cached_head - 1, POINT_RQ_TAIL_STORE);
	/* The user's own word for how far it was looked at counts for nothing. */
	shm_store_release_u64(&rig.queue->notes->checked, UINT64_MAX, POINT_LOG);
	CHECK_EQ(zcrx_ifq_available(rig.ifq), 8);
	CHECK_EQ(refill(&rig), 8);
	CHECK_EQ(zcrx_ifq_available(rig.ifq), 0);
	CHECK_EQ(refill(&rig), 0);
	shm_store_release_u64(&rig.queue->notes->checked, 0, POINT_LOG);
	shm_store_release_u64(&rig.ifq->shared->checked, 3, POINT_LOG);
	CHECK_EQ(zcrx_ifq_available(rig.ifq), 3);
	CHECK_EQ(refill(&rig), 3);
	CHECK_EQ(refill(&rig), 0);
	shm_store_release_u64(&rig.ifq->shared->checked, 11, POINT_LOG);
	CHECK_EQ(refill(&rig), 8);
	rig_free(&rig);
}

static void a_log_that_nobody_checks_stops_nobody(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.log_entries = 8;
	rig_init_with(&rig, &shape);
	shm_store_release_u32(rig.ifq->rq.tail, rig.ifq->rq.cached_head - 1, POINT_RQ_TAIL_STORE);
	for (uint32_t i = 0; i < 4; i++) {
		CHECK_EQ(zcrx_ifq_available(rig.ifq), shape.rq_entries);
		CHECK_EQ(refill(&rig), 64);
	}
	rig.ifq->detached = true;
	CHECK_EQ(zcrx_ifq_available(rig.ifq), 0);
	CHECK_EQ(refill(&rig), 0);
	rig_free(&rig);
}

static void judgements_that_find_no_room_are_counted(void)
{
	struct rig rig;

	rig_init(&rig);
	rig.trace.capacity = 3;
	for (uint32_t i = 0; i < 5; i++)
		put(&rig, 0, 0, 1);
	CHECK_EQ(refill(&rig), 5);
	CHECK_EQ(rig.trace.count, 3);
	CHECK_EQ(rig.trace.lost, 2);
	rig_free(&rig);
}

static void a_refill_whose_lock_holder_died_is_given_up(void)
{
	struct rig rig;

	rig_init(&rig);
	put(&rig, 0, 0, 1);
	REQUIRE(zcrx_lock(&rig.ifq->shared->rq_lock, NULL));
	zcrx_run_abort(rig.queue->run);
	CHECK_EQ(refill(&rig), 0);
	CHECK_EQ(count_of(&rig.ifq->shared->consumed), 0);
	rig_free(&rig);
}

/* ---- batches against one by one -------------------------------------------------------------- */

struct account {
	uint32_t user, pp;
	bool with_stack;
};

static enum zcrx_verdict judge_plainly(struct account *accounts, uint32_t num_niovs,
				       const struct io_uring_zcrx_rqe *rqe)
{
	uint64_t niov = (rqe->off & 0xffffffffffffU) >> 12 & UINT32_MAX;

	if (rqe->__pad)
		return ZCRX_BAD_PAD;
	if (rqe->off >> 48)
		return ZCRX_BAD_AREA;
	if (niov >= num_niovs)
		return ZCRX_BAD_INDEX;
	if (accounts[niov].user == 0)
		return ZCRX_NO_USER_REF;
	accounts[niov].user--;
	if (--accounts[niov].pp > 0)
		return ZCRX_STILL_REFERENCED;
	accounts[niov].pp = 1;
	return ZCRX_ACCEPTED;
}

static struct io_uring_zcrx_rqe random_rqe(struct zcrx_rng *rng, uint32_t num_niovs)
{
	struct io_uring_zcrx_rqe rqe = {.off = (uint64_t)zcrx_rng_below(rng, num_niovs) << 12};

	switch (zcrx_rng_below(rng, 12)) {
	case 0:
		rqe.__pad = 1;
		break;
	case 1:
		rqe.off |= UINT64_C(1) << 48;
		break;
	case 2:
		rqe.off += (uint64_t)num_niovs << 12;
		break;
	case 3:
		rqe.off |= UINT64_C(1) << 45;
		break;
	default:
		break;
	}
	return rqe;
}

#define ACCOUNTS 6U

/* The stack takes a buffer, hands out some fragments, lets go of some buffers. */
static void act_as_stack(struct rig *rig, struct account *accounts, struct zcrx_rng *rng)
{
	int64_t niov = zcrx_pp_alloc(rig->pool);

	if (niov >= 0) {
		CHECK_EQ(accounts[niov].user, 0);
		accounts[niov] = (struct account){0, 1, true};
	}
	for (uint32_t i = 0; i < ACCOUNTS; i++) {
		uint32_t fragments = zcrx_rng_below(rng, 5);

		if (!accounts[i].with_stack)
			continue;
		accounts[i].user += fragments;
		accounts[i].pp += fragments;
		if (fragments)
			hand_out(rig->queue, i, fragments);
		if (accounts[i].user == 0 || zcrx_rng_below(rng, 2))
			continue;
		accounts[i].with_stack = false;
		accounts[i].pp--;
		zcrx_ifq_drop(rig->ifq, i, 1);
	}
}

/* Random entries, many of them several times in a row; what each must earn. */
static uint32_t act_as_user(struct rig *rig, struct account *accounts, struct zcrx_rng *rng,
			    enum zcrx_verdict *expected)
{
	uint32_t wanted = zcrx_rng_below(rng, 40), count = 0;

	while (count < wanted) {
		struct io_uring_zcrx_rqe rqe = random_rqe(rng, ACCOUNTS);

		for (uint32_t repeat = zcrx_rng_below(rng, 3) + 1; repeat-- > 0;) {
			expected[count++] = judge_plainly(accounts, ACCOUNTS, &rqe);
			put(rig, rqe.off, rqe.len, rqe.__pad);
		}
	}
	return count;
}

static void check_accounts(struct rig *rig, const struct account *accounts)
{
	for (uint32_t i = 0; i < ACCOUNTS; i++) {
		CHECK_EQ(user_refs(rig, i), accounts[i].user);
		CHECK(accounts[i].pp == pp_refs(rig, i) || accounts[i].pp == 0);
	}
}

/* Any entries at all, in batches, earn what they would have earned one after the other. */
static void a_batch_is_judged_as_if_one_by_one(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_rng rng = zcrx_rng_for(7, 0);

	shape.num_niovs = ACCOUNTS;
	for (uint32_t round = 0; round < CHECK_REPEAT(400); round++) {
		struct account accounts[ACCOUNTS] = {{0}};
		struct rig rig;

		rig_init_with(&rig, &shape);
		for (uint32_t step = 0; step < 20; step++) {
			enum zcrx_verdict expected[64];
			uint32_t count;

			act_as_stack(&rig, accounts, &rng);
			count = act_as_user(&rig, accounts, &rng, expected);
			rig.trace.count = 0;
			CHECK_EQ(refill(&rig), count);
			for (uint32_t i = 0; i < count; i++)
				CHECK_EQ(rig.judged[i].verdict, expected[i]);
			check_accounts(&rig, accounts);
		}
		rig_free(&rig);
	}
}

/* ---- scrub -------------------------------------------------------------------------------------- */

static void a_scrub_takes_every_user_reference_in_index_order(void)
{
	struct rig rig;
	uint32_t ring[16];
	uint64_t buffers = 10;

	rig_init(&rig);
	for (uint32_t i = 0; i < 8; i++)
		delivered(&rig, 1 + i % 3);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, &buffers), 1 + 2 + 3 + 1 + 2 + 3 + 1 + 2);
	CHECK_EQ(buffers, 18); /* added to what was there */
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 16), 8);
	for (uint32_t niov = 0; niov < 8; niov++) {
		CHECK_EQ(ring[niov], niov);
		CHECK_EQ(user_refs(&rig, niov), 0);
		CHECK_EQ(pp_refs(&rig, niov), 1);
	}
	CHECK_EQ(zcrx_pp_cache_count(rig.pool), 0);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, &buffers), 0);
	CHECK_EQ(buffers, 18);
	for (uint32_t niov = 8; niov-- > 0;)
		CHECK_EQ(zcrx_pp_alloc(rig.pool), niov);
	rig_free(&rig);
}

static void a_scrub_beyond_the_ptr_ring_fills_the_freelist(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;
	uint32_t ring[3], niovs[8];

	shape.ptr_ring_size = 3;
	rig_init_with(&rig, &shape);
	for (uint32_t i = 0; i < 8; i++)
		delivered(&rig, 1);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, NULL), 8);
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 3), 3);
	CHECK_BYTES(ring, ((uint32_t[]){0, 1, 2}), sizeof(ring));
	CHECK_EQ(zcrx_pp_cache_count(rig.pool), 0);
	CHECK_EQ(zcrx_area_pop_free(&rig.queue->area, niovs, 8), 5);
	CHECK_BYTES(niovs, ((uint32_t[]){7, 6, 5, 4, 3}), 5 * sizeof(uint32_t));
	CHECK_EQ(zcrx_pp_inflight(rig.pool), 3);
	rig_free(&rig);
}

static void a_scrub_leaves_what_the_stack_holds(void)
{
	struct rig rig;
	uint64_t buffers = 0;
	uint32_t niov, ring[4];

	rig_init(&rig);
	niov = (uint32_t)zcrx_pp_alloc(rig.pool);
	hand_out(rig.queue, niov, 3);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, &buffers), 3);
	CHECK_EQ(buffers, 0);
	CHECK_EQ(pp_refs(&rig, niov), 1);
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 4), 0);
	zcrx_ifq_drop(rig.ifq, niov, 1);
	CHECK_EQ(zcrx_pp_ring_snapshot(rig.pool, ring, 4), 1);
	rig_free(&rig);
}

static void entries_after_a_scrub_have_no_user_reference(void)
{
	struct rig rig;
	uint32_t niov;

	rig_init(&rig);
	niov = delivered(&rig, 2);
	give_back(&rig, niov);
	zcrx_ifq_scrub(rig.ifq, NULL);
	give_back(&rig, niov);
	CHECK_EQ(refill(&rig), 2);
	CHECK_EQ(verdicts(&rig, ZCRX_NO_USER_REF), 2);
	rig_free(&rig);
}

static void scrubbed_copy_buffers_go_to_the_freelist(void)
{
	struct rig rig;

	rig_init(&rig);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), 7);
	deliver(rig.queue, 7, 1);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, NULL), 1);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), 8);
	rig_free(&rig);
}

/* ---- init, restart, teardown ----------------------------------------------------------------------- */

static void init_refuses_what_the_kernel_refuses(void)
{
	struct rig rig;
	struct zcrx_page_pool *next;
	struct zcrx_pp_params params;

	rig_init(&rig);
	next = &rig.ifq->pools[1];
	params = next->params;
	next->params.device = 1;
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -EINVAL);
	next->params = params;
	next->params.dma_map = true;
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -EOPNOTSUPP);
	next->params = params;
	next->params.order = 1;
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -EOPNOTSUPP);
	next->params = params;
	next->provider = NULL;
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -EINVAL);
	next->provider = rig.ifq;
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 2);
	CHECK(zcrx_ifq_pool(rig.ifq) == rig.pool); /* the old one serves on */
	CHECK_EQ(zcrx_pp_phase(rig.pool), ZCRX_POOL_CURRENT);
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), 1);
	rig_free(&rig);
}

static void each_restart_takes_the_first_unused_slot(void)
{
	struct rig rig;

	rig_init(&rig);
	for (uint32_t i = 0; i < 20; i++)
		CHECK_EQ(zcrx_ifq_restart(rig.ifq), i % 2 ? 0 : 1);
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 2);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 0);
	rig_free(&rig);
}

static void what_a_pool_counted_outlives_it(void)
{
	struct rig rig;

	rig_init(&rig);
	for (uint32_t i = 0; i < 10; i++) {
		delivered(&rig, 0); /* and home at once */
		CHECK_EQ(zcrx_ifq_restart(rig.ifq), i % 2 ? 0 : 1);
	}
	CHECK_EQ(count_of(&rig.ifq->shared->restarts), 10);
	/* What is in the slots belongs to the last two: nobody has taken it over yet. */
	CHECK_EQ(count_of(&rig.ifq->shared->replaced.alloc_empty) +
			 count_of(&rig.ifq->pools[0].shared->counters.alloc_empty) +
			 count_of(&rig.ifq->pools[1].shared->counters.alloc_empty),
		 10);
	rig_free(&rig);
}

/* The check covers the whole area: a pool that goes warns because of the others' buffers. */
static void warnings_that_restarts_bring_are_told_beforehand(void)
{
	struct rig rig;
	uint32_t first, second;

	rig_init(&rig);
	first = delivered(&rig, 1);
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), 1);
	second = delivered(&rig, 1);
	zcrx_ifq_retry_release(rig.ifq);
	CHECK_EQ(zcrx_pp_phase(&rig.ifq->pools[0]), ZCRX_POOL_DYING);
	give_back(&rig, first);
	zcrx_pp_empty_cache(zcrx_ifq_pool(rig.ifq));
	CHECK_EQ(judge_next(&rig), ZCRX_OTHER_POOL);
	zcrx_ifq_retry_release(rig.ifq);
	CHECK_EQ(zcrx_pp_phase(&rig.ifq->pools[0]), ZCRX_POOL_UNUSED);
	CHECK_EQ(count_of(&rig.ifq->shared->warnings_due), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 1);
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 3);
	zcrx_ifq_retry_release(rig.ifq); /* nothing is left to look at */
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 1);
	/* The slot is free for the next one; this time nobody else has a buffer. */
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), 0);
	give_back(&rig, second);
	CHECK_EQ(judge_next(&rig), ZCRX_OTHER_POOL);
	zcrx_ifq_retry_release(rig.ifq);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->warnings_due), 1);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), 0);
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 2); /* the one that the warning kept */
	rig_free(&rig);
}

/* A copied buffer is no pool's: it makes the check warn, and no restart is to blame. */
static void a_copied_buffer_is_not_what_a_restart_accounts_for(void)
{
	struct rig rig;

	rig_init(&rig);
	CHECK(zcrx_ifq_take_copy_buffer(rig.ifq) >= 0);
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->warnings_due), 0);
	rig_free(&rig);
}

static void a_hidden_freelist_leaves_the_ring_to_supply(void)
{
	struct rig rig;
	struct zcrx_page_pool *pool;
	uint32_t niov;

	rig_init(&rig);
	pool = rig.pool;
	niov = delivered(&rig, 1);
	zcrx_pp_empty_cache(pool);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), 7);
	zcrx_ifq_hide_freelist(rig.ifq, 3);
	zcrx_ifq_hide_freelist(rig.ifq, 2); /* not added up */
	CHECK_EQ(zcrx_pp_alloc(pool), -ENOMEM);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), -ENOMEM);
	CHECK_EQ(count_of(&rig.ifq->shared->alloc_failures), 1);
	give_back(&rig, niov);
	CHECK_EQ(zcrx_pp_alloc(pool), niov);
	CHECK_EQ(zcrx_pp_alloc(pool), -ENOMEM);
	CHECK(!zcrx_ifq_is_hidden(rig.ifq));
	CHECK(!zcrx_ifq_pass_hidden(rig.ifq));
	CHECK(zcrx_ifq_take_copy_buffer(rig.ifq) >= 0);
	CHECK(zcrx_pp_alloc(pool) >= 0);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), 0);
	rig_free(&rig);
}

static void restart_fails_when_every_slot_lingers(void)
{
	struct rig rig;
	uint32_t last;
	int destroyed;

	rig_init(&rig);
	for (uint32_t slot = 1; slot < ZCRX_POOLS_MAX; slot++) {
		delivered(&rig, 1);
		CHECK_EQ(zcrx_ifq_restart(rig.ifq), slot);
	}
	last = delivered(&rig, 1);
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -ENOSPC);
	CHECK_EQ(word_of(&rig.ifq->shared->current_pool), ZCRX_POOLS_MAX);
	give_back(&rig, last);
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	zcrx_ifq_scrub(rig.ifq, NULL);
	/* The destroy check is of the whole area: only the last to go passes it. */
	for (uint32_t slot = 0; slot + 1 < ZCRX_POOLS_MAX; slot++)
		CHECK(zcrx_pp_retry_release(&rig.ifq->pools[slot], &destroyed));
	CHECK_EQ(destroyed, -EBUSY);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), 0);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), ZCRX_POOLS_MAX - 1);
	rig_free(&rig);
}

static void teardown_with_every_buffer_home_drops_the_reference(void)
{
	struct rig rig;
	uint32_t niov;

	rig_init(&rig);
	niov = delivered(&rig, 1);
	give_back(&rig, niov);
	CHECK_EQ(judge_next(&rig), ZCRX_ACCEPTED);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), 0);
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 0);
	CHECK_EQ(zcrx_area_free_count(&rig.queue->area), 8);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), -ENOENT);
	rig_free(&rig);
}

static void teardown_with_a_buffer_missing_warns_and_keeps_the_reference(void)
{
	struct rig rig;

	rig_init(&rig);
	delivered(&rig, 1);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), -EBUSY);
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 2);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 1);
	CHECK_EQ(zcrx_pp_phase(rig.pool), ZCRX_POOL_DYING);
	CHECK(!zcrx_ifq_pool(rig.ifq));
	rig_free(&rig);
}

static void an_idle_pool_fails_the_destroy_check_while_a_copy_is_out(void)
{
	struct rig rig;

	rig_init(&rig);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), 7);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), -EBUSY);
	CHECK_EQ(zcrx_pp_phase(rig.pool), ZCRX_POOL_UNUSED);
	CHECK_EQ(word_of(&rig.ifq->shared->refs), 2);
	rig_free(&rig);
}

static void netlink_dumps_get_an_empty_io_uring_nest(void)
{
	uint8_t queue[4], page_pool[4];

	CHECK_EQ(zcrx_nl_fill(ZCRX_NL_QUEUE_GET, queue, sizeof(queue)), 4);
	CHECK_BYTES(queue, ((uint8_t[]){4, 0, 6, 0x80}), 4);
	CHECK_EQ(zcrx_nl_fill(ZCRX_NL_PAGE_POOL_GET, page_pool, sizeof(page_pool)), 4);
	CHECK_BYTES(page_pool, ((uint8_t[]){4, 0, 8, 0x80}), 4);
	CHECK_EQ(zcrx_nl_fill(ZCRX_NL_QUEUE_GET, queue, 3), -EMSGSIZE);
}

/* ---- refill against scrub ------------------------------------------------------------------------------ */

#define RACE_NIOVS 8U

struct race {
	struct rig rig;
	struct meeting meeting;
	uint32_t rounds;
	uint64_t scrubbed;
};

/*
 * Every buffer out, eight fragments each, and all their returns: of the buffers
 * by turns, so that none is judged with another, and one of them once too often.
 */
static void prepare_round(struct race *race, uint32_t round)
{
	struct rig *rig = &race->rig;

	for (uint32_t i = 0; i < RACE_NIOVS; i++)
		delivered(rig, 8);
	for (uint32_t i = 0; i < 8 * RACE_NIOVS; i++)
		zcrx_rq_user_put(&rig->user, (uint64_t)(i % RACE_NIOVS) << 12, 0, 0);
	zcrx_rq_user_put(&rig->user, (uint64_t)(round % RACE_NIOVS) << 12, 0, 0);
	zcrx_rq_user_publish(&rig->user);
}

/* Where each buffer is: exactly once in cache, ptr ring or freelist. */
static void check_all_home(struct rig *rig)
{
	uint32_t found[RACE_NIOVS] = {0}, niovs[RACE_NIOVS];
	uint32_t wrong = 0, count;

	for (uint32_t i = 0; i < zcrx_pp_cache_count(rig->pool); i++)
		found[rig->pool->shared->cache[i]]++;
	count = zcrx_pp_ring_snapshot(rig->pool, niovs, RACE_NIOVS);
	for (uint32_t i = 0; i < count; i++)
		found[niovs[i]]++;
	for (uint32_t i = 0; i < zcrx_area_free_count(&rig->queue->area); i++)
		found[word_of(&rig->queue->area.freelist[i])]++;
	for (uint32_t niov = 0; niov < RACE_NIOVS; niov++)
		wrong += found[niov] != 1 || user_refs(rig, niov) != 0 || pp_refs(rig, niov) != 1;
	CHECK_EQ(wrong, 0);
}

static void *prepare_and_refill(void *context)
{
	struct race *race = context;
	struct rig *rig = &race->rig;
	uint64_t given = 0;

	prepare_round(race, 0);
	for (uint32_t round = 1; meeting_lead(&race->meeting, race->rounds); round++) {
		uint64_t returned;

		given += 8 * RACE_NIOVS;
		while (refill(rig) > 0)
			zcrx_pp_empty_cache(rig->pool); /* the next refill has room again */
		if (!meeting_part(&race->meeting))
			break;
		returned = verdicts(rig, ZCRX_ACCEPTED) + verdicts(rig, ZCRX_STILL_REFERENCED);
		CHECK_EQ(returned + race->scrubbed, given);
		check_all_home(rig);
		rig->trace.count = 0;
		prepare_round(race, round);
	}
	return NULL;
}

static void *scrub(void *context)
{
	struct race *race = context;

	for (uint32_t round = 0; meeting_follow(&race->meeting); round++) {
		/* Start at another moment of the refill each time. */
		for (uint32_t pause = 0; pause < round % 64 * CHECK_SLOWDOWN; pause++)
			shm_pause();
		race->scrubbed += zcrx_ifq_scrub(race->rig.ifq, NULL);
		if (!meeting_part(&race->meeting))
			break;
	}
	return NULL;
}

/* Both take references of the same buffers at once; each buffer ends exactly once home. */
static void refill_and_scrub_at_once_bring_each_buffer_home_once(void)
{
	static struct race race;
	struct zcrx_shape shape = small_shape();

	shape.num_niovs = RACE_NIOVS;
	shape.ptr_ring_size = 2; /* the scrub spills to the freelist, where the refill's go too */
	/* On a crowded machine the scrub may come too late each time. */
	for (uint32_t tries = 0; tries < 20 && race.scrubbed == 0; tries++) {
		memset(&race, 0, sizeof(race));
		rig_init_with(&race.rig, &shape);
		race.rounds = CHECK_REPEAT(30000);
		run_both(prepare_and_refill, scrub, &race);
		rig_free(&race.rig);
	}
	CHECK(race.scrubbed > 0);
}

/* ---- levels: what no step in Python can show --------------------------------------- */

static void from_7_1_on_a_cache_that_is_not_empty_is_given_nothing(void)
{
	for (uint32_t level = 0; level < ZCRX_LEVELS; level++) {
		struct zcrx_shape shape = small_shape();
		struct rig rig;
		uint32_t niov;

		shape.contract.level = level;
		rig_init_with(&rig, &shape);
		niov = delivered(&rig, 1);
		CHECK(zcrx_pp_cache_count(rig.pool) > 0);
		give_back(&rig, niov);
		CHECK_EQ(refill(&rig), level < ZCRX_LEVEL_7_1);
		CHECK_EQ(published_head(&rig), rig.user.cached_tail - (level >= ZCRX_LEVEL_7_1));
		zcrx_pp_empty_cache(rig.pool);
		CHECK_EQ(refill(&rig), level >= ZCRX_LEVEL_7_1);
		rig_free(&rig);
	}
}

static void what_a_tail_promised_is_forgotten_with_its_user(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.contract.level = ZCRX_LEVEL_7_3;
	shape.rq_entries = 1024;
	rig_init_with(&rig, &shape);
	zcrx_pp_empty_cache(rig.pool);
	shm_store_release_u32(rig.ifq->rq.tail, rig.ifq->rq.cached_head + 1000,
			      POINT_RQ_TAIL_STORE);
	rig.trace.capacity = 0;
	CHECK(refill(&rig) > 0);
	CHECK(rig.ifq->rq.claimed > 0);
	rig.ifq->detached = true;
	zcrx_pp_empty_cache(rig.pool);
	CHECK_EQ(refill(&rig), 0);
	rig.ifq->detached = false;
	zcrx_ifq_reset_ring(rig.ifq);
	CHECK_EQ(refill(&rig), 0);
	rig_free(&rig);
}

static void a_refill_by_runs_stays_in_a_checked_log(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.contract.level = ZCRX_LEVEL_7_3;
	shape.log_entries = 64;
	rig_init_with(&rig, &shape);
	rig.ifq->is_checked = true;
	zcrx_pp_empty_cache(rig.pool);
	for (uint32_t i = 0; i < 100; i++)
		put(&rig, 0, 0, 1);
	CHECK_EQ(refill(&rig), 64);
	CHECK_EQ(refill(&rig), 0);
	shm_store_release_u64(&rig.ifq->shared->checked, 20, POINT_LOG);
	CHECK_EQ(refill(&rig), 20);
	rig_free(&rig);
}

/* ---- several areas ------------------------------------------------------------- */

#define AREA(id) ((uint64_t)(id) << IORING_ZCRX_AREA_SHIFT)

/* Two areas of 4 buffers each; 8 buffers more may come in others. */
static void rig_init_with_areas(struct rig *rig)
{
	struct zcrx_shape shape = small_shape();

	shape.contract.level = ZCRX_LEVEL_7_3;
	shape.num_niovs = 16;
	shape.areas_max = 4;
	shape.areas = 2;
	shape.area_niovs[0] = 4;
	rig_init_with(rig, &shape);
}

/* Hand all that there are to the user; then the cache is empty, as a refill wants it. */
static uint32_t deliver_all(struct rig *rig)
{
	uint32_t count = zcrx_area_free_count(&rig->queue->area);

	for (uint32_t i = 0; i < count; i++)
		delivered(rig, 1);
	return count;
}

static void an_entry_is_judged_by_the_area_that_it_names(void)
{
	static const struct {
		uint64_t off;
		enum zcrx_verdict verdict;
		uint32_t niov;
	} cases[] = {
		{3 << 12, ZCRX_ACCEPTED, 3},
		{AREA(1) | 3 << 12, ZCRX_ACCEPTED, 7},
		{AREA(1), ZCRX_ACCEPTED, 4},
		{4 << 12, ZCRX_BAD_INDEX, 4},
		{AREA(1) | 4 << 12, ZCRX_BAD_INDEX, 4},
		{AREA(2), ZCRX_BAD_AREA, 0},
		{AREA(0xffff), ZCRX_BAD_AREA, 0},
		{AREA(1) | 1ULL << 44 | 1 << 12, ZCRX_ACCEPTED, 5},
		{AREA(1) | 3 << 12, ZCRX_NO_USER_REF, 7},
	};
	struct rig rig;

	rig_init_with_areas(&rig);
	CHECK_EQ(deliver_all(&rig), 8);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		put(&rig, cases[i].off, 0, 0);
	CHECK_EQ(refill(&rig), COUNT_OF(cases));
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		CHECK_EQ(rig.judged[i].verdict, cases[i].verdict);
		if (cases[i].verdict != ZCRX_BAD_AREA)
			CHECK_EQ(rig.judged[i].niov, cases[i].niov);
		CHECK_EQ(rig.judged[i].alias, (cases[i].off >> 44 & 15) != 0);
	}
	rig_free(&rig);
}

/* The buffers that have the same index in two areas are two: their runs fail and succeed apart. */
static void a_run_is_of_one_area(void)
{
	struct rig rig;

	rig_init_with_areas(&rig);
	CHECK_EQ(deliver_all(&rig), 8);
	put(&rig, 0, 0, 0);
	put(&rig, AREA(1), 0, 0);
	put(&rig, AREA(1), 0, 0);
	put(&rig, 0, 0, 0);
	CHECK_EQ(refill(&rig), 4);
	CHECK_EQ(rig.judged[0].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(rig.judged[1].verdict, ZCRX_NO_USER_REF);
	CHECK_EQ(rig.judged[2].verdict, ZCRX_NO_USER_REF);
	CHECK_EQ(rig.judged[3].verdict, ZCRX_NO_USER_REF);
	CHECK_EQ(user_refs(&rig, 4), 1);
	rig_free(&rig);
}

static void an_area_that_was_added_serves_behind_the_others(void)
{
	struct rig rig;

	rig_init_with_areas(&rig);
	put(&rig, AREA(2), 0, 0);
	CHECK_EQ(refill(&rig), 1);
	CHECK_EQ(rig.judged[0].verdict, ZCRX_BAD_AREA);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 2), 2);
	CHECK_EQ(deliver_all(&rig), 10);
	put(&rig, AREA(2), 0, 0);
	put(&rig, AREA(2) | 2 << 12, 0, 0);
	put(&rig, AREA(3), 0, 0);
	CHECK_EQ(refill(&rig), 3);
	CHECK_EQ(rig.judged[1].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(rig.judged[1].niov, 8);
	CHECK_EQ(rig.judged[2].verdict, ZCRX_BAD_INDEX);
	CHECK_EQ(rig.judged[3].verdict, ZCRX_BAD_AREA);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 7), -ENOMEM);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 6), 3);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 1), -EINVAL);
	rig_free(&rig);
}

static void where_there_is_one_area_none_is_added(void)
{
	struct rig rig;

	rig_init(&rig);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 1), -EOPNOTSUPP);
	rig_free(&rig);
}

static void an_area_is_not_added_while_the_ring_is_judged_by_a_dead_one(void)
{
	struct rig rig;

	rig_init_with_areas(&rig);
	REQUIRE(zcrx_lock(&rig.ifq->shared->rq_lock, NULL));
	shm_store_relaxed_u32(&rig.queue->run->aborted, 1, POINT_RUN_STATE);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 1), -EOWNERDEAD);
	CHECK_EQ(zcrx_area_count(&rig.queue->area), 2);
	rig_free(&rig);
}

static void a_scrub_takes_from_all_areas(void)
{
	uint64_t buffers = 0;
	struct rig rig;

	rig_init_with_areas(&rig);
	CHECK_EQ(zcrx_ifq_add_area(rig.ifq, 2), 2);
	CHECK_EQ(deliver_all(&rig), 10);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, &buffers), 10);
	CHECK_EQ(buffers, 10);
	rig_free(&rig);
}

static void a_copy_takes_a_buffer_of_the_first_area_that_has_one(void)
{
	struct rig rig;

	rig_init_with_areas(&rig);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), (i < 4 ? 3 : 11) - i);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), -ENOMEM);
	rig_free(&rig);
}

struct adding {
	struct rig rig;
	struct meeting meeting;
};

static void *add_areas(void *context)
{
	struct adding *adding = context;

	while (meeting_follow(&adding->meeting)) {
		CHECK(zcrx_ifq_add_area(adding->rig.ifq, 1) > 0);
		if (!meeting_part(&adding->meeting))
			break;
	}
	return NULL;
}

/* Each entry names the area that comes just then: it is there with its buffer, or not at all. */
static void *judge_entries_of_the_next_area(void *context)
{
	struct adding *adding = context;
	struct rig *rig = &adding->rig;
	uint32_t next = 1;

	while (meeting_lead(&adding->meeting, ZCRX_AREAS_MAX - 1)) {
		put(rig, AREA(next++), 0, 0);
		CHECK_EQ(refill(rig), 1);
		if (!meeting_part(&adding->meeting))
			break;
	}
	return NULL;
}

static void an_area_is_never_seen_by_half(void)
{
	struct adding adding = {0};
	struct zcrx_shape shape = small_shape();

	shape.contract.level = ZCRX_LEVEL_7_3;
	shape.num_niovs = shape.areas_max = ZCRX_AREAS_MAX;
	shape.areas = shape.area_niovs[0] = 1;
	rig_init_with(&adding.rig, &shape);
	run_both(judge_entries_of_the_next_area, add_areas, &adding);
	CHECK_EQ(verdicts(&adding.rig, ZCRX_BAD_AREA) + verdicts(&adding.rig, ZCRX_NO_USER_REF),
		 adding.rig.trace.count);
	rig_free(&adding.rig);
}

CHECK_MAIN(CASE(an_entry_is_judged_by_the_area_that_it_names), CASE(a_run_is_of_one_area),
	   CASE(an_area_that_was_added_serves_behind_the_others),
	   CASE(where_there_is_one_area_none_is_added),
	   CASE(an_area_is_not_added_while_the_ring_is_judged_by_a_dead_one),
	   CASE(a_scrub_takes_from_all_areas),
	   CASE(a_copy_takes_a_buffer_of_the_first_area_that_has_one),
	   CASE(an_area_is_never_seen_by_half),
	   CASE(from_7_1_on_a_cache_that_is_not_empty_is_given_nothing),
	   CASE(what_a_tail_promised_is_forgotten_with_its_user),
	   CASE(a_refill_by_runs_stays_in_a_checked_log),
	   CASE(a_return_of_the_last_fragment_is_accepted),
	   CASE(a_return_while_others_hold_the_buffer_uses_its_user_reference_up),
	   CASE(a_buffer_the_stack_holds_comes_home_by_its_last_drop_only),
	   CASE(a_malformed_entry_earns_its_verdict_and_touches_nothing),
	   CASE(length_and_offset_in_the_buffer_are_ignored),
	   CASE(an_alias_is_accepted_and_counted),
	   CASE(a_strict_provider_rejects_an_alias_and_still_counts_it),
	   CASE(larger_buffers_shift_the_index_and_leave_no_alias),
	   CASE(a_duplicate_is_harmless_until_its_buffer_is_out_again),
	   CASE(a_buffer_of_another_pool_goes_back_to_that_pool),
	   CASE(a_buffer_of_another_pool_with_a_full_ring_goes_to_the_freelist),
	   CASE(a_copy_buffer_returns_to_the_freelist), CASE(a_copy_needs_a_free_buffer),
	   CASE(the_nic_sees_the_freelist_in_batches_of_64_from_the_top),
	   CASE(one_refill_takes_what_fits_under_64_in_the_cache),
	   CASE(the_ring_is_asked_only_when_cache_and_ptr_ring_are_empty),
	   CASE(bad_entries_fill_a_refill_and_fail_the_allocation),
	   CASE(the_freelist_serves_although_valid_entries_wait),
	   CASE(the_head_is_not_written_when_nothing_is_available),
	   CASE(the_head_moves_once_for_a_whole_refill_across_the_wrap),
	   CASE(a_tail_that_moved_back_is_full_and_stale_slots_are_judged_again),
	   CASE(a_tail_that_jumped_ahead_is_full_and_unwritten_slots_return_buffer_0),
	   CASE(the_verdict_log_wraps), CASE(the_log_says_which_buffer_each_entry_named),
	   CASE(judgements_that_find_no_room_are_counted),
	   CASE(a_refill_whose_lock_holder_died_is_given_up),
	   CASE(a_batch_is_judged_as_if_one_by_one),
	   CASE(a_scrub_takes_every_user_reference_in_index_order),
	   CASE(a_scrub_beyond_the_ptr_ring_fills_the_freelist),
	   CASE(a_scrub_leaves_what_the_stack_holds),
	   CASE(entries_after_a_scrub_have_no_user_reference),
	   CASE(scrubbed_copy_buffers_go_to_the_freelist),
	   CASE(init_refuses_what_the_kernel_refuses),
	   CASE(each_restart_takes_the_first_unused_slot), CASE(what_a_pool_counted_outlives_it),
	   CASE(warnings_that_restarts_bring_are_told_beforehand),
	   CASE(a_copied_buffer_is_not_what_a_restart_accounts_for),
	   CASE(a_hidden_freelist_leaves_the_ring_to_supply),
	   CASE(restart_fails_when_every_slot_lingers),
	   CASE(teardown_with_every_buffer_home_drops_the_reference),
	   CASE(teardown_with_a_buffer_missing_warns_and_keeps_the_reference),
	   CASE(an_idle_pool_fails_the_destroy_check_while_a_copy_is_out),
	   CASE(netlink_dumps_get_an_empty_io_uring_nest),
	   CASE(refill_and_scrub_at_once_bring_each_buffer_home_once),
	   CASE(a_checked_log_is_never_overtaken_whatever_the_user_says),
	   CASE(a_log_that_nobody_checks_stops_nobody))
