/* SPDX-License-Identifier: MIT */
/*
 * The freelist as a stack that refuses what cannot be, and the two reference
 * counts, first by one hand, then by the hands that meet in a real run: the NIC
 * gives, the provider takes a few, the scrub takes all.
 */
#include <errno.h>

#include "kernel/area.h"
#include "wire/rng.h"
#include "threads.h"

#define AREAS_MAX 4U

struct area_memory {
	struct zcrx_area area;
	struct zcrx_area_shared shared;
	struct zcrx_extent extents[AREAS_MAX];
	shm_u32 aborted;
};

static void area_init(struct area_memory *memory, uint32_t num_niovs)
{
	memset(memory, 0, sizeof(*memory));
	memory->area = (struct zcrx_area){
		.shared = &memory->shared,
		.niovs = calloc(num_niovs, sizeof(struct zcrx_niov)),
		.freelist = calloc(num_niovs, sizeof(shm_u32)),
		.aborted = &memory->aborted,
		.num_niovs = num_niovs,
		.niov_shift = 12,
	};
	REQUIRE(memory->area.niovs && memory->area.freelist);
	zcrx_area_format(&memory->area);
}

/* Room for so many buffers, and the first areas. */
static void areas_init(struct area_memory *memory, uint32_t num_niovs, const uint32_t *areas,
		       uint32_t count)
{
	area_init(memory, num_niovs);
	memory->area.extents = memory->extents;
	memory->area.areas_max = AREAS_MAX;
	zcrx_area_format(&memory->area);
	for (uint32_t id = 0; id < count; id++)
		CHECK_EQ(zcrx_area_add(&memory->area, areas[id]), (int)id);
}

static void area_free(struct area_memory *memory)
{
	free(memory->area.niovs);
	free(memory->area.freelist);
}

static uint32_t user_refs(const struct zcrx_area *area, uint32_t niov)
{
	return shm_load_relaxed_u32(&area->niovs[niov].user_refs, POINT_USER_REF_LOAD);
}

static uint32_t pp_refs(const struct zcrx_area *area, uint32_t niov)
{
	return shm_load_relaxed_u32(&area->niovs[niov].pp_refs, POINT_PP_REF_LOAD);
}

static uint64_t overflows(const struct area_memory *memory)
{
	return shm_load_relaxed_u64(&memory->shared.freelist_overflows, POINT_COUNTER);
}

static uint64_t underflows(const struct area_memory *memory)
{
	return shm_load_relaxed_u64(&memory->shared.ref_underflows, POINT_COUNTER);
}

/* ---- the freelist ---------------------------------------------------------- */

static void the_freelist_pops_the_highest_buffer_first(void)
{
	struct area_memory memory;
	uint32_t niovs[8];

	area_init(&memory, 5);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 5);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 3), 3);
	CHECK_BYTES(niovs, ((uint32_t[]){4, 3, 2}), 3 * sizeof(*niovs));
	CHECK_EQ(zcrx_area_free_count(&memory.area), 2);
	area_free(&memory);
}

static void the_freelist_gives_what_was_pushed_last_first(void)
{
	struct area_memory memory;
	uint32_t niovs[8];

	area_init(&memory, 5);
	zcrx_area_pop_free(&memory.area, niovs, 4);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 3), 0);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 1), 0);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 4), 0);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 8), 4);
	CHECK_BYTES(niovs, ((uint32_t[]){4, 1, 3, 0}), 4 * sizeof(*niovs));
	area_free(&memory);
}

static void an_empty_freelist_pops_nothing(void)
{
	struct area_memory memory;
	uint32_t niovs[8];

	area_init(&memory, 2);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 8), 2);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 8), 0);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 0);
	area_free(&memory);
}

static void a_push_beyond_all_buffers_is_refused_and_counted(void)
{
	struct area_memory memory;
	uint32_t niovs[4];

	area_init(&memory, 3);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 0), -EOVERFLOW);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 2), -EOVERFLOW);
	CHECK_EQ(overflows(&memory), 2);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 3);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 4), 3);
	CHECK_BYTES(niovs, ((uint32_t[]){2, 1, 0}), 3 * sizeof(*niovs));
	area_free(&memory);
}

/* Whoever held the lock is dead: nobody waits for it, and nothing is changed without it. */
static void a_freelist_whose_holder_died_is_given_up(void)
{
	struct area_memory memory;
	uint32_t niovs[4];

	area_init(&memory, 4);
	zcrx_area_pop_free(&memory.area, niovs, 1);
	REQUIRE(zcrx_lock(&memory.shared.freelist_lock, &memory.aborted));
	shm_store_relaxed_u32(&memory.aborted, 1, POINT_RUN_STATE);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 4), 0);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 3), -EOWNERDEAD);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 3);
	area_free(&memory);
}

/* ---- user references ----------------------------------------------------------- */

static void user_references_are_taken_at_most_as_often_as_given(void)
{
	struct area_memory memory;
	struct zcrx_area *area = &memory.area;

	area_init(&memory, 3);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 1), 0);
	zcrx_user_ref_give(area, 1, 2);
	zcrx_user_ref_give(area, 1, 3);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 1), 1);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 2), 2);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 64), 2);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 64), 0);
	CHECK_EQ(user_refs(area, 0), 0);
	CHECK_EQ(user_refs(area, 2), 0);
	area_free(&memory);
}

static void a_scrub_takes_all_user_references_once(void)
{
	struct area_memory memory;
	struct zcrx_area *area = &memory.area;

	area_init(&memory, 2);
	zcrx_user_ref_give(area, 1, 7);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 1), 1);
	CHECK_EQ(zcrx_user_ref_take_all(area, 1), 6);
	CHECK_EQ(zcrx_user_ref_take_all(area, 1), 0);
	CHECK_EQ(zcrx_user_ref_take(area, 1, 1), 0);
	CHECK_EQ(zcrx_user_ref_take_all(area, 0), 0);
	area_free(&memory);
}

/* ---- page-pool references ---------------------------------------------------------- */

static void the_last_page_pool_reference_leaves_one_for_the_next_owner(void)
{
	struct area_memory memory;
	struct zcrx_area *area = &memory.area;

	area_init(&memory, 2);
	zcrx_pp_ref_init(area, 1);
	zcrx_pp_ref_get(area, 1, 4);
	CHECK(!zcrx_pp_ref_put(area, 1, 1));
	CHECK_EQ(pp_refs(area, 1), 4);
	CHECK(!zcrx_pp_ref_put(area, 1, 3));
	CHECK(zcrx_pp_ref_put(area, 1, 1));
	CHECK_EQ(pp_refs(area, 1), 1);
	zcrx_pp_ref_get(area, 1, 2);
	CHECK(zcrx_pp_ref_put(area, 1, 3));
	CHECK_EQ(pp_refs(area, 1), 1);
	CHECK_EQ(pp_refs(area, 0), 0);
	CHECK_EQ(underflows(&memory), 0);
	area_free(&memory);
}

static void page_pool_references_that_nobody_held_are_counted(void)
{
	struct area_memory memory;
	struct zcrx_area *area = &memory.area;

	area_init(&memory, 1);
	CHECK(!zcrx_pp_ref_put(area, 0, 1)); /* never used: there is none at all */
	CHECK_EQ(underflows(&memory), 1);
	zcrx_pp_ref_init(area, 0);
	zcrx_pp_ref_get(area, 0, 1);
	CHECK(!zcrx_pp_ref_put(area, 0, 3));
	CHECK_EQ(underflows(&memory), 2);
	CHECK_EQ(pp_refs(area, 0), 2);
	CHECK(zcrx_pp_ref_put(area, 0, 2));
	area_free(&memory);
}

/* ---- several areas ----------------------------------------------------------------- */

static void one_area_is_all_there_is(void)
{
	struct area_memory memory;

	area_init(&memory, 5);
	CHECK_EQ(zcrx_area_count(&memory.area), 1);
	CHECK_EQ(zcrx_area_niovs(&memory.area), 5);
	CHECK_EQ(zcrx_area_id(&memory.area, 4), 0);
	CHECK_EQ(zcrx_area_offset(&memory.area, 4), 4 << 12);
	CHECK_EQ(zcrx_area_add(&memory.area, 1), -EINVAL);
	area_free(&memory);
}

static void buffers_are_numbered_through_all_areas(void)
{
	static const uint64_t offsets[] = {
		0,
		1 << 12,
		(uint64_t)1 << 48,
		(uint64_t)2 << 48,
		(uint64_t)2 << 48 | 1 << 12,
		(uint64_t)2 << 48 | 2 << 12,
	};
	struct area_memory memory;

	areas_init(&memory, 8, (uint32_t[]){2, 1, 3}, 3);
	CHECK_EQ(zcrx_area_count(&memory.area), 3);
	CHECK_EQ(zcrx_area_niovs(&memory.area), COUNT_OF(offsets));
	for (uint32_t niov = 0; niov < COUNT_OF(offsets); niov++)
		CHECK_EQ(zcrx_area_offset(&memory.area, niov), offsets[niov]);
	area_free(&memory);
}

static void areas_are_emptied_one_after_the_other(void)
{
	struct area_memory memory;
	uint32_t niovs[8];

	areas_init(&memory, 8, (uint32_t[]){2, 1, 3}, 3);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 6);
	CHECK_EQ(zcrx_area_free_snapshot(&memory.area, niovs, 8), 6);
	CHECK_BYTES(niovs, ((uint32_t[]){3, 4, 5, 2, 0, 1}), 6 * sizeof(*niovs));
	CHECK_EQ(zcrx_area_free_snapshot(&memory.area, niovs, 4), 4);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 4), 4);
	CHECK_BYTES(niovs, ((uint32_t[]){1, 0, 2, 5}), 4 * sizeof(*niovs));
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 4), 2);
	CHECK_BYTES(niovs, ((uint32_t[]){4, 3}), 2 * sizeof(*niovs));
	CHECK_EQ(zcrx_area_free_count(&memory.area), 0);
	area_free(&memory);
}

static void a_buffer_comes_home_to_its_own_area(void)
{
	struct area_memory memory;
	uint32_t niovs[8];

	areas_init(&memory, 8, (uint32_t[]){2, 1, 3}, 3);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 8), 6);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 4), 0);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 0), 0);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 2), 0);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 1), 0);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 8), 4);
	CHECK_BYTES(niovs, ((uint32_t[]){1, 0, 2, 4}), 4 * sizeof(*niovs));
	area_free(&memory);
}

/* Although there is room on the list of another one. */
static void a_push_beyond_the_buffers_of_its_area_is_refused(void)
{
	struct area_memory memory;
	uint32_t niovs[8];

	areas_init(&memory, 4, (uint32_t[]){2, 2}, 2);
	CHECK_EQ(zcrx_area_pop_free(&memory.area, niovs, 2), 2);
	CHECK_EQ(zcrx_area_push_free(&memory.area, 3), -EOVERFLOW);
	CHECK_EQ(overflows(&memory), 1);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 2);
	area_free(&memory);
}

static void an_area_that_cannot_be_is_refused(void)
{
	struct area_memory memory;

	areas_init(&memory, 8, (uint32_t[]){2}, 1);
	CHECK_EQ(zcrx_area_add(&memory.area, 0), -EINVAL);
	CHECK_EQ(zcrx_area_add(&memory.area, 7), -ENOMEM);
	CHECK_EQ(zcrx_area_add(&memory.area, UINT32_MAX), -ENOMEM);
	memory.area.niov_shift = 30;
	CHECK_EQ(zcrx_area_add(&memory.area, (1 << 18) + 1), -EINVAL);
	memory.area.niov_shift = 12;
	for (uint32_t id = 1; id < AREAS_MAX; id++)
		CHECK_EQ(zcrx_area_add(&memory.area, 1), (int)id);
	CHECK_EQ(zcrx_area_add(&memory.area, 1), -EINVAL);
	CHECK_EQ(zcrx_area_niovs(&memory.area), 5);
	CHECK_EQ(zcrx_area_free_count(&memory.area), 5);
	area_free(&memory);
}

static void an_area_is_not_added_behind_a_dead_holder(void)
{
	struct area_memory memory;

	areas_init(&memory, 8, (uint32_t[]){2}, 1);
	REQUIRE(zcrx_lock(&memory.shared.freelist_lock, &memory.aborted));
	shm_store_relaxed_u32(&memory.aborted, 1, POINT_RUN_STATE);
	CHECK_EQ(zcrx_area_add(&memory.area, 1), -EOWNERDEAD);
	CHECK_EQ(zcrx_area_count(&memory.area), 1);
	area_free(&memory);
}

/* ---- hands that meet ---------------------------------------------------------------- */

#define RACE_NIOVS 64U
#define FEW_NIOVS 2U /* so that they meet at the same one all the time */

struct race {
	struct area_memory memory;
	struct meeting meeting;
	uint32_t rounds;
	shm_u32 done;
	uint64_t given;
	uint64_t taken[2];
	shm_u32 homes[RACE_NIOVS]; /* how often the last reference was dropped; or: is out */
};

static void race_init(struct race *race, uint32_t rounds)
{
	memset(race, 0, sizeof(*race));
	area_init(&race->memory, RACE_NIOVS);
	race->rounds = rounds;
}

static void race_free(struct race *race)
{
	area_free(&race->memory);
}

static void *take_a_few(void *context)
{
	struct race *race = context;
	uint32_t done;

	do {
		done = shm_load_acquire_u32(&race->done, POINT_RUN_STATE);
		for (uint32_t niov = 0; niov < FEW_NIOVS; niov++)
			race->taken[0] +=
				zcrx_user_ref_take(&race->memory.area, niov, 1 + niov % 3);
	} while (!done);
	return NULL;
}

static void *take_all(void *context)
{
	struct race *race = context;
	uint32_t done;

	do {
		done = shm_load_acquire_u32(&race->done, POINT_RUN_STATE);
		for (uint32_t niov = 0; niov < FEW_NIOVS; niov++)
			race->taken[1] += zcrx_user_ref_take_all(&race->memory.area, niov);
	} while (!done);
	return NULL;
}

/* One gives without pause, two take: whoever gets them, the sums agree. */
static void exactly_the_user_references_given_are_taken(void)
{
	struct race race;
	struct threads threads = {0};
	struct zcrx_rng rng = zcrx_rng_for(1, 0);

	race_init(&race, 0);
	threads_start(&threads, take_a_few, &race);
	threads_start(&threads, take_all, &race);
	for (uint32_t i = 0; i < CHECK_REPEAT(3000000); i++) {
		uint32_t count = 1 + zcrx_rng_below(&rng, 8);

		zcrx_user_ref_give(&race.memory.area, zcrx_rng_below(&rng, FEW_NIOVS), count);
		race.given += count;
	}
	shm_store_release_u32(&race.done, 1, POINT_RUN_STATE);
	threads_join(&threads);
	for (uint32_t niov = 0; niov < FEW_NIOVS; niov++)
		race.taken[0] += user_refs(&race.memory.area, niov);
	CHECK_EQ(race.taken[0] + race.taken[1], race.given);
	race_free(&race);
}

static void drop(struct race *race, uint32_t niov, uint32_t count)
{
	if (count && zcrx_pp_ref_put(&race->memory.area, niov, count))
		shm_fetch_add_u32(&race->homes[niov], 1, POINT_COUNTER);
}

static void return_singly(struct race *race)
{
	for (uint32_t niov = 0; niov < FEW_NIOVS; niov++) {
		while (zcrx_user_ref_take(&race->memory.area, niov, 1))
			drop(race, niov, 1);
	}
}

static void *return_all(void *context)
{
	struct race *race = context;

	while (meeting_follow(&race->meeting)) {
		return_singly(race);
		if (!meeting_part(&race->meeting))
			break;
	}
	return NULL;
}

static void give_twenty(struct zcrx_area *area)
{
	for (uint32_t niov = 0; niov < FEW_NIOVS; niov++) {
		zcrx_pp_ref_get(area, niov, 19);
		zcrx_user_ref_give(area, niov, 20);
	}
}

static void *prepare_and_join_in(void *context)
{
	struct race *race = context;
	struct zcrx_area *area = &race->memory.area;

	give_twenty(area);
	for (uint32_t round = 0; meeting_lead(&race->meeting, race->rounds); round++) {
		uint32_t wrong = 0;

		/* As another one who returns, or as the scrub, at another moment each time. */
		for (uint32_t pause = 0; pause < round % 32; pause++)
			shm_pause();
		if (round % 2)
			return_singly(race);
		for (uint32_t niov = 0; niov < FEW_NIOVS; niov++)
			drop(race, niov, zcrx_user_ref_take_all(area, niov));
		if (!meeting_part(&race->meeting))
			break;
		for (uint32_t niov = 0; niov < FEW_NIOVS; niov++)
			wrong += shm_xchg_u32(&race->homes[niov], 0, POINT_COUNTER) != 1 ||
				 pp_refs(area, niov) != 1;
		CHECK_EQ(wrong, 0);
		give_twenty(area);
	}
	return NULL;
}

static void one_of_two_racing_holders_drops_the_last_reference(void)
{
	struct race race;

	race_init(&race, CHECK_REPEAT(40000));
	for (uint32_t niov = 0; niov < FEW_NIOVS; niov++)
		zcrx_pp_ref_init(&race.memory.area, niov);
	run_both(return_all, prepare_and_join_in, &race);
	CHECK_EQ(underflows(&race.memory), 0);
	race_free(&race);
}

static void *pop_and_push(void *context)
{
	struct race *race = context;

	for (uint32_t round = 0; round < race->rounds; round++) {
		uint32_t niovs[64];
		uint32_t count = zcrx_area_pop_free(&race->memory.area, niovs, 1 + round % 48);

		for (uint32_t i = 0; i < count; i++)
			CHECK_EQ(shm_xchg_u32(&race->homes[niovs[i]], 1, POINT_COUNTER), 0);
		for (uint32_t i = 0; i < count; i++) {
			CHECK_EQ(shm_xchg_u32(&race->homes[niovs[i]], 0, POINT_COUNTER), 1);
			CHECK_EQ(zcrx_area_push_free(&race->memory.area, niovs[i]), 0);
		}
	}
	return NULL;
}

static void no_free_buffer_is_popped_by_two_at_once(void)
{
	struct race race;
	uint32_t niovs[RACE_NIOVS];
	bool seen[RACE_NIOVS] = {false};

	race_init(&race, CHECK_REPEAT(10000));
	run_both(pop_and_push, pop_and_push, &race);
	CHECK_EQ(zcrx_area_pop_free(&race.memory.area, niovs, RACE_NIOVS), RACE_NIOVS);
	for (uint32_t i = 0; i < RACE_NIOVS; i++) {
		CHECK(!seen[niovs[i]]);
		seen[niovs[i]] = true;
	}
	CHECK_EQ(overflows(&race.memory), 0);
	race_free(&race);
}

CHECK_MAIN(CASE(the_freelist_pops_the_highest_buffer_first),
	   CASE(the_freelist_gives_what_was_pushed_last_first),
	   CASE(an_empty_freelist_pops_nothing),
	   CASE(a_push_beyond_all_buffers_is_refused_and_counted),
	   CASE(a_freelist_whose_holder_died_is_given_up), CASE(one_area_is_all_there_is),
	   CASE(buffers_are_numbered_through_all_areas),
	   CASE(areas_are_emptied_one_after_the_other), CASE(a_buffer_comes_home_to_its_own_area),
	   CASE(a_push_beyond_the_buffers_of_its_area_is_refused),
	   CASE(an_area_that_cannot_be_is_refused), CASE(an_area_is_not_added_behind_a_dead_holder),
	   CASE(user_references_are_taken_at_most_as_often_as_given),
	   CASE(a_scrub_takes_all_user_references_once),
	   CASE(the_last_page_pool_reference_leaves_one_for_the_next_owner),
	   CASE(page_pool_references_that_nobody_held_are_counted),
	   CASE(exactly_the_user_references_given_are_taken),
	   CASE(one_of_two_racing_holders_drops_the_last_reference),
	   CASE(no_free_buffer_is_popped_by_two_at_once))
