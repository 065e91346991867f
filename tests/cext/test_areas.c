/* SPDX-License-Identifier: MIT */
/*
 * Several areas in a run: the map that shape and core each have of them, what an entry may
 * earn that names one, and an area that is added while there is traffic.
 */
#include "judge/legal.h"
#include "wire/rng.h"
#include "wire.h"

#define MANY 40U

static struct zcrx_shape areas_shape(uint32_t areas, uint32_t areas_max)
{
	struct zcrx_shape shape = small_shape();

	shape.contract.level = ZCRX_LEVEL_7_3;
	shape.areas = areas;
	shape.areas_max = areas_max;
	shape.area_niovs[0] = 8;
	shape.area_niovs[1] = 2;
	shape.num_niovs = zcrx_areas_first(&shape, areas_max);
	return shape;
}

/* As many areas as are drawn, of sizes that are drawn; all of them there. */
static struct zcrx_shape drawn_shape(struct zcrx_rng *rng)
{
	struct zcrx_shape shape = areas_shape(1, 2 + zcrx_rng_below(rng, MANY - 1));
	uint32_t given = 1 + zcrx_rng_below(rng, ZCRX_AREA_SIZES);

	memset(shape.area_niovs, 0, sizeof(shape.area_niovs));
	for (uint32_t i = 0; i < given; i++)
		shape.area_niovs[i] = 1 + zcrx_rng_below(rng, 20);
	shape.areas = shape.areas_max;
	shape.num_niovs = zcrx_areas_first(&shape, shape.areas_max);
	return shape;
}

static void the_shape_and_the_core_have_the_same_map(void)
{
	struct zcrx_rng rng = {.state = 1};

	for (uint32_t round = 0; round < CHECK_REPEAT(50U); round++) {
		struct zcrx_shape shape = drawn_shape(&rng);
		struct queue_memory memory;
		const struct zcrx_area *area = &memory.queue.area;

		queue_memory_init(&memory, &shape);
		CHECK_EQ(zcrx_area_count(area), zcrx_areas_max(&shape));
		CHECK_EQ(zcrx_area_niovs(area), shape.num_niovs);
		for (uint32_t id = 0; id < shape.areas_max; id++)
			CHECK_EQ(zcrx_areas_size(&shape, id), zcrx_area_size(area, id));
		for (uint32_t niov = 0; niov < shape.num_niovs; niov++) {
			uint64_t off = zcrx_areas_offset(&shape, niov);

			CHECK_EQ(zcrx_areas_id(&shape, niov), zcrx_area_id(area, niov));
			CHECK_EQ(off, zcrx_area_offset(area, niov));
			CHECK_EQ(zcrx_areas_niov(&shape, off), niov);
			CHECK_EQ(zcrx_areas_byte(&shape, off | 7), ((uint64_t)niov << 12) + 7);
		}
		queue_memory_free(&memory);
	}
}

static void with_one_area_the_map_is_the_offset(void)
{
	struct zcrx_shape shape = small_shape();

	CHECK_EQ(zcrx_areas_max(&shape), 1);
	CHECK_EQ(zcrx_areas_at_start(&shape), 1);
	for (uint32_t niov = 0; niov < shape.num_niovs; niov++) {
		CHECK_EQ(zcrx_areas_id(&shape, niov), 0);
		CHECK_EQ(zcrx_areas_offset(&shape, niov), (uint64_t)niov << 12);
		CHECK_EQ(zcrx_areas_niov(&shape, (uint64_t)niov << 12 | 9), niov);
	}
}

/* ---- what an entry may earn ---------------------------------------------------------- */

static struct io_uring_zcrx_rqe drawn_entry(struct zcrx_rng *rng)
{
	return (struct io_uring_zcrx_rqe){
		.off = (uint64_t)zcrx_rng_below(rng, 5) << 48 |
		       (uint64_t)(zcrx_rng_below(rng, 8) == 0) << 44 |
		       (uint64_t)zcrx_rng_below(rng, 12) << 12 | zcrx_rng_below(rng, 4096),
		.__pad = zcrx_rng_below(rng, 8) == 0,
	};
}

/* What the core says of an entry when no buffer has a reference. */
static uint32_t verdict_of(struct zcrx_queue *queue, struct zcrx_rq_user *user,
			   const struct io_uring_zcrx_rqe *rqe)
{
	uint64_t at = shm_load_relaxed_u64(&queue->ifq.shared->consumed, POINT_LOG);

	zcrx_rq_user_put(user, rqe->off, rqe->len, rqe->__pad);
	zcrx_rq_user_publish(user);
	CHECK_EQ(zcrx_ifq_flush_rq(&queue->ifq), 1);
	return queue->ifq.verdict_log[at & queue->ifq.log_mask] & 7U;
}

static void what_may_be_earned_is_what_the_core_says(void)
{
	struct zcrx_shape shape = areas_shape(1, 4);
	struct zcrx_rng rng = {.state = 2};
	struct queue_memory memory;
	struct zcrx_rq_user user;
	uint32_t seen = 0;

	queue_memory_init(&memory, &shape);
	user = user_of(&memory.queue);
	for (uint32_t areas = 1; areas <= 4; areas++) {
		for (uint32_t i = 0; i < CHECK_REPEAT(400U); i++) {
			struct io_uring_zcrx_rqe rqe = drawn_entry(&rng);
			struct zcrx_legal now = zcrx_legal_of(&rqe, &shape, areas);
			struct zcrx_legal before = zcrx_legal_of(&rqe, &shape, 1);
			uint32_t verdict = verdict_of(&memory.queue, &user, &rqe);
			bool is_there = rqe.off >> 48 < areas;

			seen |= ZCRX_VERDICT_BIT(verdict);
			CHECK(now.verdicts >> verdict & 1);
			CHECK(before.verdicts >> verdict & 1);
			/* Of those that are there for certain the bytes alone decide. */
			if (is_there)
				CHECK_EQ(now.names, verdict == ZCRX_NO_USER_REF);
		}
		if (areas < 4)
			CHECK_EQ(zcrx_ifq_add_area(&memory.queue.ifq, 2), (int)areas);
	}
	CHECK_EQ(seen, ZCRX_VERDICT_BIT(ZCRX_BAD_PAD) | ZCRX_VERDICT_BIT(ZCRX_BAD_AREA) |
			       ZCRX_VERDICT_BIT(ZCRX_BAD_INDEX) |
			       ZCRX_VERDICT_BIT(ZCRX_NO_USER_REF));
	queue_memory_free(&memory);
}

static void of_an_area_that_is_still_to_come_either_is_legal(void)
{
	struct zcrx_shape shape = areas_shape(1, 2);
	const struct io_uring_zcrx_rqe inside = {.off = (uint64_t)1 << 48 | 1 << 12};
	const struct io_uring_zcrx_rqe outside = {.off = (uint64_t)1 << 48 | 2 << 12};
	const struct io_uring_zcrx_rqe beyond = {.off = (uint64_t)2 << 48};

	CHECK_EQ(zcrx_legal_of(&inside, &shape, 1).verdicts,
		 ZCRX_LEGAL_OF_NIOV | ZCRX_VERDICT_BIT(ZCRX_BAD_AREA));
	CHECK_EQ(zcrx_legal_of(&inside, &shape, 1).niov, 9);
	CHECK_EQ(zcrx_legal_of(&inside, &shape, 2).verdicts, ZCRX_LEGAL_OF_NIOV);
	CHECK_EQ(zcrx_legal_of(&outside, &shape, 1).verdicts,
		 ZCRX_VERDICT_BIT(ZCRX_BAD_INDEX) | ZCRX_VERDICT_BIT(ZCRX_BAD_AREA));
	CHECK_EQ(zcrx_legal_of(&outside, &shape, 2).verdicts, ZCRX_VERDICT_BIT(ZCRX_BAD_INDEX));
	CHECK_EQ(zcrx_legal_of(&beyond, &shape, 1).verdicts, ZCRX_VERDICT_BIT(ZCRX_BAD_AREA));
}

/* ---- ADD_AREA ------------------------------------------------------------------------ */

static void an_area_is_added_by_the_nic_when_it_is_asked_for(void)
{
	struct zcrx_shape shape = areas_shape(1, 2);
	struct wire wire;
	struct zcrx_queue *queue;

	wire_init_with(&wire, &shape, &plain, LENS(100));
	queue = wire.queue;
	CHECK_EQ(zcrx_queue_areas(queue), 1);
	CHECK_EQ(zcrx_queue_niovs(queue), 8);
	zcrx_queue_add_area(queue);
	CHECK(!zcrx_queue_area_added(queue));
	/* A completion may name it from here on; who asks for certainty is told later. */
	CHECK_EQ(word_of(&queue->rings->areas_begun), 2);
	CHECK_EQ(word_of(&queue->rings->areas_done), 1);
	zcrx_queue_add_area(queue); /* once more: it is the same one */
	run(&wire);
	CHECK(zcrx_queue_area_added(queue));
	CHECK_EQ(word_of(&queue->rings->areas_done), 2);
	CHECK_EQ(zcrx_queue_areas(queue), 2);
	CHECK_EQ(zcrx_queue_niovs(queue), 10);
	wire_free(&wire);
}

static void a_fragment_names_its_area(void)
{
	struct zcrx_shape shape = areas_shape(2, 2);
	struct wire wire;

	wire_init_with(&wire, &shape, &plain, LENS(100, 4096));
	zcrx_grant_put(&wire.queue->grants, 8); /* the first of area 1 */
	zcrx_grant_put(&wire.queue->grants, 9);
	zcrx_grant_publish(&wire.queue->grants);
	run(&wire);
	CHECK_EQ(next_of(&wire, 0).zcrx.off, (uint64_t)1 << 48);
	CHECK_EQ(next_of(&wire, 0).zcrx.off, (uint64_t)1 << 48 | 1 << 12);
	wire_free(&wire);
}

CHECK_MAIN(CASE(the_shape_and_the_core_have_the_same_map),
	   CASE(with_one_area_the_map_is_the_offset),
	   CASE(what_may_be_earned_is_what_the_core_says),
	   CASE(of_an_area_that_is_still_to_come_either_is_legal),
	   CASE(an_area_is_added_by_the_nic_when_it_is_asked_for), CASE(a_fragment_names_its_area))
