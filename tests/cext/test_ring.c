/* SPDX-License-Identifier: MIT */
/*
 * The rings: each is filled and emptied across the wrap at 2^32, then fed with
 * indices that no honest peer would write, then used by two threads at once.
 */
#include "wire/ring.h"
#include "wire/rng.h"
#include "threads.h"

#define ENTRIES_MAX 64U

/* Where free-running indices are interesting: the wrap falls before, in and after the ring. */
static const uint32_t starts[] = {
	0, 1, 7, INT32_MAX, UINT32_MAX - 64, UINT32_MAX - 7, UINT32_MAX - 1, UINT32_MAX,
};

/* Both sides of all three rings on private memory, with slots of exactly the ring's size. */
struct rings {
	shm_u32 head, tail;
	struct zcrx_grant_shared grants;
	struct zcrx_rq rq;
	struct zcrx_rq_user rq_user;
	struct zcrx_cq cq;
	struct zcrx_cq_user cq_user;
	struct zcrx_grant_ring granter, grantee;
	uint64_t total; /* entries that the threads move at most */
	shm_u64 end; /* how many they do move, once that is decided */
};

static void rings_init(struct rings *rings, uint32_t entries, uint32_t start)
{
	struct zcrx_rqe_slot *rqes = calloc(entries, sizeof(*rqes));
	struct zcrx_cqe_slot *cqes = calloc(entries, sizeof(*cqes));
	shm_u32 *niovs = calloc(entries, sizeof(*niovs));

	REQUIRE(rqes && cqes && niovs);
	memset(rings, 0, sizeof(*rings));
	shm_store_relaxed_u32(&rings->head, start, POINT_RQ_HEAD_STORE);
	shm_store_relaxed_u32(&rings->tail, start, POINT_RQ_TAIL_STORE);
	shm_store_relaxed_u32(&rings->grants.head, start, POINT_GRANT_HEAD_STORE);
	shm_store_relaxed_u32(&rings->grants.tail, start, POINT_GRANT_TAIL_STORE);
	rings->rq = (struct zcrx_rq){
		&rings->head, &rings->tail, rqes, entries, entries - 1, start, 0,
	};
	rings->rq_user = (struct zcrx_rq_user){
		&rings->head, &rings->tail, rqes, entries, entries - 1, start, start,
	};
	rings->cq = (struct zcrx_cq){
		&rings->head, &rings->tail, cqes, entries, entries - 1, start, start,
	};
	rings->cq_user = (struct zcrx_cq_user){
		&rings->head, &rings->tail, cqes, entries, entries - 1, start, start,
	};
	rings->granter = (struct zcrx_grant_ring){
		&rings->grants, niovs, entries, entries - 1, start, start, false,
	};
	rings->grantee = rings->granter;
}

static void rings_free(struct rings *rings)
{
	free(rings->rq.rqes);
	free(rings->cq.cqes);
	free(rings->granter.slots);
}

static uint32_t word(const shm_u32 *at)
{
	return shm_load_acquire_u32(at, POINT_COUNTER);
}

static void scribble(shm_u32 *at, uint32_t value)
{
	shm_store_release_u32(at, value, POINT_COUNTER);
}

static void for_each_ring(void (*test)(struct rings *rings, uint32_t start))
{
	for (uint32_t entries = 1; entries <= ENTRIES_MAX; entries *= 2) {
		for (size_t i = 0; i < COUNT_OF(starts); i++) {
			struct rings rings;

			rings_init(&rings, entries, starts[i]);
			test(&rings, starts[i]);
			rings_free(&rings);
		}
	}
}

/* ---- filled and emptied ---------------------------------------------------- */

static void fill_and_empty_rq(struct rings *rings, uint32_t start)
{
	uint32_t entries = rings->rq.entries;

	CHECK_EQ(zcrx_rq_available(&rings->rq), 0);
	for (uint32_t lap = 0; lap < 3; lap++) {
		CHECK_EQ(zcrx_rq_user_room(&rings->rq_user, entries), entries);
		for (uint32_t i = 0; i < entries; i++)
			zcrx_rq_user_put(&rings->rq_user, lap * 1000 + i, i, ~i);
		CHECK_EQ(zcrx_rq_available(&rings->rq), 0); /* nothing is published yet */
		zcrx_rq_user_publish(&rings->rq_user);
		CHECK_EQ(zcrx_rq_available(&rings->rq), entries);
		CHECK_EQ(zcrx_rq_user_room(&rings->rq_user, 1), 0);
		for (uint32_t i = 0; i < entries; i++) {
			struct io_uring_zcrx_rqe rqe = zcrx_rq_take(&rings->rq);

			CHECK_EQ(rqe.off, lap * 1000 + i);
			CHECK_EQ(rqe.len, i);
			CHECK_EQ(rqe.__pad, ~i);
		}
		CHECK_EQ(zcrx_rq_available(&rings->rq), 0);
		CHECK_EQ(word(&rings->head), start + lap * entries); /* not yet moved */
		CHECK_EQ(zcrx_rq_user_room(&rings->rq_user, 1), 0);
		zcrx_rq_release(&rings->rq);
		CHECK_EQ(word(&rings->head), start + (lap + 1) * entries);
	}
}

static void fill_and_empty_cq(struct rings *rings, uint32_t start)
{
	uint32_t entries = rings->cq.entries;

	CHECK_EQ(zcrx_cq_user_available(&rings->cq_user), 0);
	for (uint32_t lap = 0; lap < 3; lap++) {
		CHECK_EQ(zcrx_cq_room(&rings->cq, entries), entries);
		for (uint32_t i = 0; i < entries; i++)
			zcrx_cq_put(&rings->cq, lap * 1000 + i, -(int32_t)i, i, ~(uint64_t)i);
		CHECK_EQ(zcrx_cq_user_available(&rings->cq_user), 0);
		zcrx_cq_publish(&rings->cq);
		CHECK_EQ(zcrx_cq_user_available(&rings->cq_user), entries);
		CHECK_EQ(zcrx_cq_room(&rings->cq, 1), 0);
		for (uint32_t i = 0; i < entries; i++) {
			struct zcrx_cqe32 cqe = zcrx_cq_user_take(&rings->cq_user);

			CHECK_EQ(cqe.cqe.user_data, lap * 1000 + i);
			CHECK_EQ(cqe.cqe.res, -(int32_t)i);
			CHECK_EQ(cqe.cqe.flags, i);
			CHECK_EQ(cqe.zcrx.off, ~(uint64_t)i);
			CHECK_EQ(cqe.zcrx.__pad, 0);
		}
		CHECK_EQ(zcrx_cq_room(&rings->cq, 1), 0);
		zcrx_cq_user_release(&rings->cq_user);
		CHECK_EQ(word(&rings->head), start + (lap + 1) * entries);
	}
}

static void fill_and_empty_grants(struct rings *rings, uint32_t start)
{
	uint32_t entries = rings->granter.entries;

	CHECK_EQ(zcrx_grant_available(&rings->grantee, 1), 0);
	for (uint32_t lap = 0; lap < 3; lap++) {
		CHECK_EQ(zcrx_grant_room(&rings->granter), entries);
		for (uint32_t i = 0; i < entries; i++)
			zcrx_grant_put(&rings->granter, lap * 1000 + i);
		CHECK_EQ(zcrx_grant_available(&rings->grantee, 1), 0);
		zcrx_grant_publish(&rings->granter);
		CHECK_EQ(zcrx_grant_room(&rings->granter), 0);
		CHECK_EQ(zcrx_grant_available(&rings->grantee, entries), entries);
		for (uint32_t i = 0; i < entries; i++)
			CHECK_EQ(zcrx_grant_take(&rings->grantee), lap * 1000 + i);
		CHECK_EQ(zcrx_grant_available(&rings->grantee, 1), 0);
		CHECK_EQ(zcrx_grant_room(&rings->granter), 0);
		zcrx_grant_release(&rings->grantee);
		CHECK_EQ(word(&rings->grants.head), start + (lap + 1) * entries);
	}
}

/* Newest first is the order of a stack; what is not taken stays between head and tail. */
static void grant_and_take_as_from_a_stack(struct rings *rings, uint32_t start)
{
	struct zcrx_grant_ring *grantee = &rings->grantee;
	uint32_t entries = grantee->entries, granted = 0, count = 0;
	uint32_t *stack = calloc(entries, sizeof(*stack));
	struct zcrx_rng rng = zcrx_rng_for(start, entries);

	REQUIRE(stack != NULL);
	grantee->newest_first = true;
	for (uint32_t round = 0; round < 64; round++) {
		uint32_t room = zcrx_grant_room(&rings->granter);
		uint32_t takes, sum = 0;

		for (uint32_t i = zcrx_rng_below(&rng, room + 1); i > 0; i--) {
			zcrx_grant_put(&rings->granter, granted);
			stack[count++] = granted++;
		}
		zcrx_grant_publish(&rings->granter);
		CHECK_EQ(zcrx_grant_available(grantee, entries), count);
		for (takes = zcrx_rng_below(&rng, count + 1); takes > 0; takes--)
			CHECK_EQ(zcrx_grant_take(grantee), stack[--count]);
		zcrx_grant_release(grantee);
		for (uint32_t at = word(&rings->grants.head); at != word(&rings->grants.tail); at++)
			sum += word(&grantee->slots[at & grantee->mask]);
		for (uint32_t i = 0; i < count; i++)
			sum -= stack[i];
		CHECK_EQ(sum, 0);
	}
	free(stack);
}

static void a_refill_ring_fills_and_empties_across_the_wrap(void)
{
	for_each_ring(fill_and_empty_rq);
}

static void a_completion_queue_fills_and_empties_across_the_wrap(void)
{
	for_each_ring(fill_and_empty_cq);
}

static void a_grant_ring_fills_and_empties_across_the_wrap(void)
{
	for_each_ring(fill_and_empty_grants);
}

static void the_newest_grants_are_taken_first_across_the_wrap(void)
{
	for_each_ring(grant_and_take_as_from_a_stack);
}

/* Any mixture of puts and takes, one index moving at a time, against plain counting. */
static void count_rq(struct rings *rings, uint32_t start)
{
	struct zcrx_rng rng = zcrx_rng_for(start, rings->rq.entries);
	uint64_t put = 0, taken = 0;

	for (uint32_t i = 0; i < 500; i++) {
		uint32_t room = zcrx_rq_user_room(&rings->rq_user, rings->rq.entries);
		uint32_t puts = zcrx_rng_below(&rng, room + 1);
		uint32_t takes;

		CHECK_EQ(room, rings->rq.entries - (put - taken));
		while (puts--)
			zcrx_rq_user_put(&rings->rq_user, put++, 0, 0);
		zcrx_rq_user_publish(&rings->rq_user);
		CHECK_EQ(zcrx_rq_available(&rings->rq), put - taken);
		takes = zcrx_rng_below(&rng, (uint32_t)(put - taken) + 1);
		while (takes--)
			CHECK_EQ(zcrx_rq_take(&rings->rq).off, taken++);
		zcrx_rq_release(&rings->rq);
	}
}

static void a_refill_ring_agrees_with_plain_counting(void)
{
	for_each_ring(count_rq);
}

/* ---- words of a hostile user -------------------------------------------------- */

static void hostile_tail(struct rings *rings, uint32_t start)
{
	struct zcrx_rng rng = zcrx_rng_for(1, start);
	uint32_t entries = rings->rq.entries;
	const uint32_t nonsense[] = {
		start + entries + 1,
		start - 1,
		start - entries,
		start + INT32_MAX,
		start + (uint32_t)INT32_MAX + 1,
	};

	for (uint32_t ahead = 0; ahead <= entries; ahead++) {
		scribble(&rings->tail, start + ahead);
		CHECK_EQ(zcrx_rq_available(&rings->rq), ahead);
	}
	for (size_t i = 0; i < COUNT_OF(nonsense); i++) {
		scribble(&rings->tail, nonsense[i]);
		CHECK_EQ(zcrx_rq_available(&rings->rq), entries);
	}
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t tail = (uint32_t)zcrx_rng_next(&rng);
		uint32_t ahead = tail - start;

		scribble(&rings->tail, tail);
		CHECK_EQ(zcrx_rq_available(&rings->rq), ahead < entries ? ahead : entries);
	}
	CHECK_EQ(rings->rq.cached_head, start);
	CHECK_EQ(word(&rings->head), start);
}

static void a_tail_that_makes_no_sense_reads_as_full(void)
{
	for_each_ring(hostile_tail);
}

/* Takes follow the private head round and round; the sanitizer watches the slots' bounds. */
static void take_for_long(struct rings *rings, uint32_t start)
{
	for (uint32_t slot = 0; slot < rings->rq.entries; slot++)
		shm_store_relaxed_u64(&rings->rq.rqes[slot].off, slot, POINT_RQE_STORE);
	scribble(&rings->tail, start - 1);
	for (uint32_t i = 0; i < 3 * rings->rq.entries; i++) {
		CHECK_EQ(zcrx_rq_available(&rings->rq),
			 start - 1 - (start + i) < rings->rq.entries ? start - 1 - (start + i) :
								       rings->rq.entries);
		CHECK_EQ(zcrx_rq_take(&rings->rq).off, (start + i) & rings->rq.mask);
	}
}

static void takes_behind_a_tail_that_moved_back_stay_in_the_ring(void)
{
	for_each_ring(take_for_long);
}

static void the_published_head_is_never_read_back(void)
{
	struct rings rings;

	rings_init(&rings, 4, UINT32_MAX - 1);
	zcrx_rq_user_put(&rings.rq_user, 1, 0, 0);
	zcrx_rq_user_put(&rings.rq_user, 2, 0, 0);
	zcrx_rq_user_publish(&rings.rq_user);
	scribble(&rings.head, 12345);
	CHECK_EQ(zcrx_rq_available(&rings.rq), 2);
	CHECK_EQ(zcrx_rq_take(&rings.rq).off, 1);
	CHECK_EQ(word(&rings.head), 12345);
	zcrx_rq_release(&rings.rq);
	CHECK_EQ(word(&rings.head), UINT32_MAX);
	rings_free(&rings);
}

static void a_user_loads_the_head_only_when_it_wants_more_room(void)
{
	struct rings rings;

	rings_init(&rings, 8, UINT32_MAX - 1);
	zcrx_rq_user_put(&rings.rq_user, 1, 0, 0);
	scribble(&rings.head, UINT32_MAX); /* honest: one was taken */
	CHECK_EQ(zcrx_rq_user_room(&rings.rq_user, 7), 7);
	CHECK_EQ(zcrx_rq_user_room(&rings.rq_user, 8), 8);
	rings_free(&rings);
}

/* The user may have scribbled on the head itself: the last one that made sense counts. */
static void a_head_that_makes_no_sense_tells_its_user_nothing(void)
{
	const uint32_t nonsense[] = {1, 3, UINT32_MAX - 1, UINT32_MAX / 2, 1000};
	struct rings rings;

	rings_init(&rings, 8, UINT32_MAX - 1);
	zcrx_rq_user_put(&rings.rq_user, 1, 0, 0);
	scribble(&rings.head, UINT32_MAX);
	CHECK_EQ(zcrx_rq_user_room(&rings.rq_user, 8), 8);
	zcrx_rq_user_put(&rings.rq_user, 2, 0, 0);
	for (size_t i = 0; i < COUNT_OF(nonsense); i++) {
		scribble(&rings.head, nonsense[i]); /* ahead of the tail, or behind the last one */
		CHECK_EQ(zcrx_rq_user_room(&rings.rq_user, 8), 7);
	}
	scribble(&rings.head, 0);
	CHECK_EQ(zcrx_rq_user_room(&rings.rq_user, 8), 8);
	rings_free(&rings);
}

/* A user that published too much has no room until all of that was read, as often as it takes. */
static void a_tail_too_far_leaves_no_room_until_the_provider_has_caught_up(void)
{
	struct rings rings;

	rings_init(&rings, 8, UINT32_MAX - 1);
	rings.rq_user.cached_tail += 20;
	zcrx_rq_user_publish(&rings.rq_user);
	for (uint32_t taken = 0; taken <= 20; taken++) {
		CHECK_EQ(zcrx_rq_available(&rings.rq), taken < 12 ? 8 : 20 - taken);
		CHECK_EQ(zcrx_rq_user_room(&rings.rq_user, 8), taken < 12 ? 0 : taken - 12);
		zcrx_rq_take(&rings.rq);
		zcrx_rq_release(&rings.rq);
	}
	rings_free(&rings);
}

static void hostile_head(struct rings *rings, uint32_t start)
{
	struct zcrx_rng rng = zcrx_rng_for(2, start);
	uint32_t entries = rings->cq.entries;
	uint32_t tail = start + entries;

	for (uint32_t i = 0; i < entries; i++)
		zcrx_cq_put(&rings->cq, i, 0, 0, 0);
	zcrx_cq_publish(&rings->cq);
	scribble(&rings->head, tail + 1);
	CHECK_EQ(zcrx_cq_room(&rings->cq, 1), 0);
	scribble(&rings->head, start - 1);
	CHECK_EQ(zcrx_cq_room(&rings->cq, 1), 0);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t head = (uint32_t)zcrx_rng_next(&rng);

		if (tail - head > entries) {
			scribble(&rings->head, head);
			CHECK_EQ(zcrx_cq_room(&rings->cq, 1), 0);
		}
	}
	/* Nonsense is not remembered: the first head that makes sense counts. */
	for (uint32_t read = 0; read <= entries; read++) {
		scribble(&rings->head, start + read);
		CHECK_EQ(zcrx_cq_room(&rings->cq, entries), read);
	}
}

static void a_completion_head_that_makes_no_sense_gives_no_room(void)
{
	for_each_ring(hostile_head);
}

static void the_published_completion_tail_is_never_read_back(void)
{
	struct rings rings;

	rings_init(&rings, 4, UINT32_MAX - 1);
	zcrx_cq_put(&rings.cq, 1, 0, 0, 0);
	zcrx_cq_publish(&rings.cq);
	scribble(&rings.tail, 12345);
	CHECK_EQ(zcrx_cq_room(&rings.cq, 4), 3);
	zcrx_cq_put(&rings.cq, 2, 0, 0, 0);
	zcrx_cq_publish(&rings.cq);
	CHECK_EQ(word(&rings.tail), 0);
	rings_free(&rings);
}

static void completions_beyond_one_ring_are_not_available(void)
{
	struct rings rings;

	rings_init(&rings, 4, UINT32_MAX - 1);
	scribble(&rings.tail, UINT32_MAX - 1 + 5);
	CHECK_EQ(zcrx_cq_user_available(&rings.cq_user), 4);
	scribble(&rings.tail, UINT32_MAX - 2);
	CHECK_EQ(zcrx_cq_user_available(&rings.cq_user), 4);
	rings_free(&rings);
}

static void grants_are_bounded_by_their_ring(void)
{
	struct rings rings;

	rings_init(&rings, 4, UINT32_MAX - 1);
	scribble(&rings.grants.tail, UINT32_MAX - 1 + 9);
	CHECK_EQ(zcrx_grant_available(&rings.grantee, 9), 4);
	scribble(&rings.grants.head, UINT32_MAX);
	CHECK_EQ(zcrx_grant_room(&rings.granter), 0);
	rings_free(&rings);
}

/* ---- two threads ------------------------------------------------------------------ */

/* What stands at an index: a word that a torn or stale read would not have. */
static uint64_t content(uint64_t index)
{
	struct zcrx_rng rng = {.state = index};

	return zcrx_rng_next(&rng);
}

static void *put_rqes(void *context)
{
	struct rings *rings = context;
	struct patience patience = {0};
	struct budget budget = {0};
	uint64_t put = 0;

	while (put < rings->total && in_budget(&budget)) {
		uint32_t room = zcrx_rq_user_room(&rings->rq_user, 1);

		if (room == 0 && !wait_more(&patience))
			break;
		for (; room > 0 && put < rings->total; room--, put++)
			zcrx_rq_user_put(&rings->rq_user, content(put), (uint32_t)content(~put),
					 (uint32_t)(content(~put) >> 32));
		zcrx_rq_user_publish(&rings->rq_user);
	}
	shm_store_release_u64(&rings->end, put, POINT_COUNTER);
	return NULL;
}

static void *take_rqes(void *context)
{
	struct rings *rings = context;
	struct patience patience = {0};
	uint64_t taken = 0, wrong = 0;

	while (taken < shm_load_acquire_u64(&rings->end, POINT_COUNTER)) {
		uint32_t available = zcrx_rq_available(&rings->rq);

		if (available == 0 && !wait_more(&patience))
			break;
		for (; available > 0; available--, taken++) {
			struct io_uring_zcrx_rqe rqe = zcrx_rq_take(&rings->rq);

			wrong += rqe.off != content(taken);
			wrong += ((uint64_t)rqe.__pad << 32 | rqe.len) != content(~taken);
		}
		zcrx_rq_release(&rings->rq);
	}
	CHECK_EQ(taken, shm_load_acquire_u64(&rings->end, POINT_COUNTER));
	CHECK_EQ(wrong, 0);
	return NULL;
}

static void *put_cqes(void *context)
{
	struct rings *rings = context;
	struct patience patience = {0};
	struct budget budget = {0};
	uint64_t put = 0;

	while (put < rings->total && in_budget(&budget)) {
		uint32_t room = zcrx_cq_room(&rings->cq, 1);

		if (room == 0 && !wait_more(&patience))
			break;
		for (; room > 0 && put < rings->total; room--, put++)
			zcrx_cq_put(&rings->cq, content(put), (int32_t)put, (uint32_t)~put,
				    content(~put));
		zcrx_cq_publish(&rings->cq);
	}
	shm_store_release_u64(&rings->end, put, POINT_COUNTER);
	return NULL;
}

static void *take_cqes(void *context)
{
	struct rings *rings = context;
	struct patience patience = {0};
	uint64_t taken = 0, wrong = 0;

	while (taken < shm_load_acquire_u64(&rings->end, POINT_COUNTER)) {
		uint32_t available = zcrx_cq_user_available(&rings->cq_user);

		if (available == 0 && !wait_more(&patience))
			break;
		for (; available > 0; available--, taken++) {
			struct zcrx_cqe32 cqe = zcrx_cq_user_take(&rings->cq_user);

			wrong += cqe.cqe.user_data != content(taken);
			wrong += cqe.cqe.res != (int32_t)taken;
			wrong += cqe.cqe.flags != (uint32_t)~taken;
			wrong += cqe.zcrx.off != content(~taken);
			wrong += cqe.zcrx.__pad != 0;
		}
		zcrx_cq_user_release(&rings->cq_user);
	}
	CHECK_EQ(taken, shm_load_acquire_u64(&rings->end, POINT_COUNTER));
	CHECK_EQ(wrong, 0);
	return NULL;
}

static void *put_grants(void *context)
{
	struct rings *rings = context;
	struct patience patience = {0};
	struct budget budget = {0};
	uint64_t put = 0;

	while (put < rings->total && in_budget(&budget)) {
		uint32_t room = zcrx_grant_room(&rings->granter);

		if (room == 0 && !wait_more(&patience))
			break;
		for (; room > 0 && put < rings->total; room--, put++)
			zcrx_grant_put(&rings->granter, (uint32_t)content(put));
		zcrx_grant_publish(&rings->granter);
	}
	shm_store_release_u64(&rings->end, put, POINT_COUNTER);
	return NULL;
}

static void *take_grants(void *context)
{
	struct rings *rings = context;
	struct patience patience = {0};
	uint64_t taken = 0, wrong = 0;

	while (taken < shm_load_acquire_u64(&rings->end, POINT_COUNTER)) {
		uint32_t available = zcrx_grant_available(&rings->grantee, 1);

		if (available == 0 && !wait_more(&patience))
			break;
		for (; available > 0; available--, taken++)
			wrong += zcrx_grant_take(&rings->grantee) != (uint32_t)content(taken);
		zcrx_grant_release(&rings->grantee);
	}
	CHECK_EQ(taken, shm_load_acquire_u64(&rings->end, POINT_COUNTER));
	CHECK_EQ(wrong, 0);
	return NULL;
}

/* A large ring for long bursts, a tiny one for the full and empty edges. */
static void transfer(thread_body put, thread_body take)
{
	static const struct {
		uint32_t entries, total;
	} cases[] = {{64, 3000000}, {1, 20000}};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct rings rings;

		rings_init(&rings, cases[i].entries, UINT32_MAX - 10000);
		rings.total = CHECK_REPEAT(cases[i].total);
		shm_store_relaxed_u64(&rings.end, UINT64_MAX, POINT_COUNTER);
		run_both(put, take, &rings);
		rings_free(&rings);
	}
}

static void rqes_cross_between_two_threads_whole_and_in_order(void)
{
	transfer(put_rqes, take_rqes);
}

static void cqes_cross_between_two_threads_whole_and_in_order(void)
{
	transfer(put_cqes, take_cqes);
}

static void grants_cross_between_two_threads_whole_and_in_order(void)
{
	transfer(put_grants, take_grants);
}

CHECK_MAIN(CASE(a_refill_ring_fills_and_empties_across_the_wrap),
	   CASE(a_completion_queue_fills_and_empties_across_the_wrap),
	   CASE(a_grant_ring_fills_and_empties_across_the_wrap),
	   CASE(the_newest_grants_are_taken_first_across_the_wrap),
	   CASE(a_refill_ring_agrees_with_plain_counting),
	   CASE(a_tail_that_makes_no_sense_reads_as_full),
	   CASE(takes_behind_a_tail_that_moved_back_stay_in_the_ring),
	   CASE(the_published_head_is_never_read_back),
	   CASE(a_user_loads_the_head_only_when_it_wants_more_room),
	   CASE(a_head_that_makes_no_sense_tells_its_user_nothing),
	   CASE(a_tail_too_far_leaves_no_room_until_the_provider_has_caught_up),
	   CASE(a_completion_head_that_makes_no_sense_gives_no_room),
	   CASE(the_published_completion_tail_is_never_read_back),
	   CASE(completions_beyond_one_ring_are_not_available),
	   CASE(grants_are_bounded_by_their_ring),
	   CASE(rqes_cross_between_two_threads_whole_and_in_order),
	   CASE(cqes_cross_between_two_threads_whole_and_in_order),
	   CASE(grants_cross_between_two_threads_whole_and_in_order))
