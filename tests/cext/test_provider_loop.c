/* SPDX-License-Identifier: MIT */
/*
 * The provider's loop, step by step in one thread: what it grants, whom it
 * wakes, what it does with entries that wait when the queue goes down.
 */
#include "actors/provider_loop.h"
#include <errno.h>

#include "judge/audit.h"
#include "queue_memory.h"
#include "rules.h"

struct post {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_provider_loop *loop;
	struct zcrx_rq_user user;
};

static void post_init_faulty(struct post *post, const struct zcrx_shape *shape,
			     const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	memset(post, 0, sizeof(*post));
	queue_memory_init(&post->memory, shape);
	post->queue = &post->memory.queue;
	post->user = user_of(post->queue);
	post->loop =
		zcrx_provider_loop_new(shape, 1, &post->memory.mapping, rules, rule_count, 1, 0);
	REQUIRE(post->loop);
	zcrx_run_set_state(post->queue->run, post->queue->bells, ZCRX_RUN_TRAFFIC);
}

static void post_init_with(struct post *post, const struct zcrx_shape *shape)
{
	post_init_faulty(post, shape, NULL, 0);
}

static void post_init(struct post *post)
{
	struct zcrx_shape shape = small_shape();

	post_init_with(post, &shape);
}

static void post_free(struct post *post)
{
	zcrx_provider_loop_free(post->loop);
	queue_memory_free(&post->memory);
}

static void run(struct post *post)
{
	CHECK_EQ(zcrx_provider_loop_run(post->loop, 0), 0);
}

static void set_state(struct post *post, uint32_t state)
{
	zcrx_run_set_state(post->queue->run, post->queue->bells, state);
	run(post);
}

/* The NIC takes a granted buffer. */
static uint32_t take(struct post *post)
{
	uint32_t niov;

	REQUIRE(zcrx_grant_available(&post->queue->grants, 1) > 0);
	niov = zcrx_grant_take(&post->queue->grants);
	zcrx_grant_release(&post->queue->grants);
	return niov;
}

static uint32_t granted(struct post *post)
{
	return zcrx_grant_available(&post->queue->grants, UINT32_MAX);
}

static void give_back(struct post *post, uint64_t off, uint32_t pad)
{
	zcrx_rq_user_put(&post->user, off, 0, pad);
	zcrx_rq_user_publish(&post->user);
}

static uint64_t consumed(const struct post *post)
{
	return zcrx_queue_consumed(post->queue);
}

/* ---- traffic --------------------------------------------------------------------- */

static void the_grant_ring_is_filled_and_kept_full(void)
{
	struct zcrx_shape shape = small_shape();
	struct post post;

	shape.num_niovs = 20;
	post_init_with(&post, &shape);
	run(&post);
	CHECK_EQ(granted(&post), 8);
	for (uint32_t niov = 0; niov < 12; niov++) {
		CHECK_EQ(take(&post), niov);
		run(&post);
		CHECK_EQ(granted(&post), 8);
	}
	post_free(&post);
}

static void nothing_is_granted_before_traffic(void)
{
	struct post post;

	post_init(&post);
	set_state(&post, ZCRX_RUN_STARTING);
	CHECK_EQ(granted(&post), 0);
	post_free(&post);
}

static void without_buffers_it_waits_for_the_user(void)
{
	struct post post;

	post_init(&post);
	run(&post);
	for (uint32_t niov = 0; niov < 8; niov++)
		deliver(post.queue, take(&post), 1);
	run(&post);
	CHECK_EQ(granted(&post), 0);
	CHECK(count_of(&post.queue->ifq.shared->alloc_failures) > 0);
	give_back(&post, 0, 77);
	give_back(&post, 5 << 12, 0);
	give_back(&post, 2 << 12, 0);
	run(&post);
	CHECK_EQ(granted(&post), 2);
	CHECK_EQ(take(&post), 2);
	CHECK_EQ(take(&post), 5);
	CHECK_EQ(count_of(&post.queue->ifq.shared->verdicts[ZCRX_BAD_PAD]), 1);
	post_free(&post);
}

static void no_more_than_the_window_circulate_while_they_come_back(void)
{
	struct zcrx_shape shape = small_shape();
	struct post post;
	uint32_t niovs[63];
	struct patience patience = {0};
	uint64_t start;

	shape.num_niovs = 512;
	shape.grant_entries = 128;
	shape.rq_entries = 128;
	shape.ptr_ring_size = 128;
	memset(&post, 0, sizeof(post));
	queue_memory_init(&post.memory, &shape);
	post.queue = &post.memory.queue;
	post.user = user_of(post.queue);
	post.loop = zcrx_provider_loop_new(&shape, 1, &post.memory.mapping, NULL, 0, 1, 64);
	REQUIRE(post.loop);
	zcrx_run_set_state(post.queue->run, post.queue->bells, ZCRX_RUN_TRAFFIC);
	run(&post);
	CHECK_EQ(granted(&post), 64);
	for (uint32_t i = 0; i < 63; i++) {
		niovs[i] = take(&post);
		deliver(post.queue, niovs[i], 1);
	}
	/* Some come back: those, and no others. */
	for (uint32_t i = 0; i < 40; i++)
		give_back(&post, (uint64_t)niovs[i] << 12, 0);
	start = check_now_ns(); /* before it looks at a clock of its own */
	run(&post);
	CHECK_EQ(granted(&post), 41);
	/* The NIC is short, and nothing comes: more are taken, but not at once. */
	for (uint32_t i = 0; i < 41; i++)
		deliver(post.queue, take(&post), 1);
	while (granted(&post) == 0 && work_more(&patience))
		run(&post);
	CHECK(check_now_ns() - start >= 1000000);
	CHECK_EQ(granted(&post), 64);
	post_free(&post);
}

static void a_nic_that_waits_for_grants_is_rung(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_bell *bell;
	struct post post;

	shape.num_niovs = 20;
	post_init_with(&post, &shape);
	bell = &post.queue->bells->nic;
	zcrx_bell_prepare(bell, ZCRX_BELL_ROOM); /* for something else */
	run(&post);
	CHECK_EQ(word_of(&bell->waiting), ZCRX_BELL_ROOM);
	take(&post);
	zcrx_bell_prepare(bell, ZCRX_BELL_GRANTS);
	run(&post);
	CHECK_EQ(word_of(&bell->waiting), ZCRX_BELL_NONE);
	post_free(&post);
}

static void strictness_is_passed_on_to_the_provider(void)
{
	for (uint32_t strict = 0; strict < 2; strict++) {
		struct zcrx_shape shape = small_shape();
		struct post post;

		shape.contract.deviations = strict ? ZCRX_CONTRACT_STRICT_ALIAS : 0;
		post_init_with(&post, &shape);
		run(&post);
		for (uint32_t niov = 0; niov < 8; niov++)
			deliver(post.queue, take(&post), 1);
		give_back(&post, UINT64_C(1) << 44, 0);
		run(&post);
		CHECK_EQ(granted(&post), !strict);
		post_free(&post);
	}
}

/* ---- users ---------------------------------------------------------------------------- */

static void without_a_user_the_ring_is_not_read_and_a_new_one_finds_it_empty(void)
{
	struct post post;
	uint32_t start;

	post_init(&post);
	start = post.queue->shape.initial_index;
	run(&post);
	for (uint32_t niov = 0; niov < 8; niov++)
		deliver(post.queue, take(&post), 1);
	zcrx_queue_set_user(post.queue, 0);
	run(&post);
	CHECK_EQ(word_of(&post.queue->user->provider), 0);
	give_back(&post, 0, 0); /* what the last user left */
	run(&post);
	CHECK_EQ(consumed(&post), 0);
	shm_store_release_u32(post.queue->ifq.rq.head, 4711, POINT_RQ_HEAD_STORE);
	zcrx_queue_set_user(post.queue, 2);
	run(&post);
	CHECK_EQ(word_of(&post.queue->user->provider), 2);
	CHECK_EQ(word_of(post.queue->ifq.rq.head), start);
	CHECK_EQ(word_of(post.queue->ifq.rq.tail), start);
	run(&post);
	CHECK_EQ(consumed(&post), 0);
	post.user = user_of(post.queue);
	give_back(&post, 3 << 12, 0);
	run(&post);
	CHECK_EQ(consumed(&post), 1);
	CHECK_EQ(take(&post), 3);
	post_free(&post);
}

/* ---- faults -------------------------------------------------------------------------- */

/* A queue with buffers to spare and one rule. */
static void post_init_rule(struct post *post, struct zcrx_fault_rule rule)
{
	struct zcrx_shape shape = small_shape();

	shape.num_niovs = 20;
	post_init_faulty(post, &shape, &rule, 1);
}

static uint64_t injected(struct post *post)
{
	uint64_t values[ZCRX_RULES_MAX];

	zcrx_injected_read(post->queue, values);
	return values[0];
}

static uint64_t failures(const struct post *post)
{
	return count_of(&post->queue->ifq.shared->alloc_failures);
}

static void allocations_fail_in_a_row_and_the_ring_is_filled_later(void)
{
	struct post post;

	post_init_rule(&post, rule_with(ZCRX_FAULT_ALLOC_FAIL, 3, 5));
	for (uint32_t i = 1; i <= 5; i++) {
		run(&post);
		CHECK_EQ(granted(&post), 3);
		CHECK_EQ(failures(&post), i);
	}
	run(&post);
	CHECK_EQ(granted(&post), 8);
	CHECK_EQ(failures(&post), 5);
	CHECK_EQ(injected(&post), 1);
	post_free(&post);
}

/* No rule can fire by its own effect: the queue goes on whatever the rule is. */
static void a_queue_goes_on_although_every_allocation_fails_first(void)
{
	const uint32_t kinds[] = {ZCRX_FAULT_ALLOC_FAIL, ZCRX_FAULT_FREELIST_EMPTY};

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		struct zcrx_fault_rule rule = rule_likely(kinds[i], 1.0);
		uint32_t rounds = 0;
		struct post post;

		rule.params[0] = 30;
		post_init_rule(&post, rule);
		while (granted(&post) < 8 && rounds++ < 1000)
			run(&post);
		CHECK_EQ(granted(&post), 8);
		CHECK(failures(&post) >= 30);
		CHECK(injected(&post) >= 8);
		post_free(&post);
	}
}

static void a_hidden_freelist_is_found_again(void)
{
	struct post post;

	post_init_rule(&post, rule_with(ZCRX_FAULT_FREELIST_EMPTY, 0, 4));
	for (uint32_t i = 1; i <= 4; i++) {
		run(&post);
		CHECK_EQ(granted(&post), 0);
		CHECK_EQ(failures(&post), i);
	}
	run(&post);
	CHECK_EQ(granted(&post), 8);
	CHECK_EQ(injected(&post), 1);
	post_free(&post);
}

/* The provider needs no buffer meanwhile, and the NIC waits for one to copy into. */
static void a_hidden_freelist_is_found_again_by_who_copies(void)
{
	struct post post;

	post_init_rule(&post, rule_with(ZCRX_FAULT_FREELIST_EMPTY, 7, 3));
	run(&post);
	CHECK_EQ(granted(&post), 8);
	zcrx_pp_empty_cache(zcrx_ifq_pool(&post.queue->ifq));
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(zcrx_ifq_take_copy_buffer(&post.queue->ifq), -ENOMEM);
		run(&post);
	}
	CHECK(zcrx_ifq_take_copy_buffer(&post.queue->ifq) >= 0);
	post_free(&post);
}

static void buffers_find_the_ptr_ring_full_by_plan(void)
{
	struct post post;
	struct zcrx_pp_counters *counters;

	post_init_rule(&post, rule_with(ZCRX_FAULT_PTR_RING_FULL, 2, 2));
	run(&post);
	counters = &post.queue->ifq.pools[0].shared->counters;
	for (uint32_t i = 0; i < 3; i++)
		zcrx_ifq_drop(&post.queue->ifq, take(&post), 1);
	CHECK_EQ(count_of(&counters->recycle_ring_full), 2);
	CHECK_EQ(count_of(&counters->recycle_ring), 1);
	CHECK_EQ(zcrx_area_free_count(&post.queue->area), 2);
	CHECK_EQ(injected(&post), 1);
	post_free(&post);
}

static void a_rule_about_another_queue_does_nothing_here(void)
{
	struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_ALLOC_FAIL, 0, 5);
	struct post post;

	rule.queue = 1;
	post_init_rule(&post, rule);
	run(&post);
	CHECK_EQ(granted(&post), 8);
	CHECK_EQ(injected(&post), 0);
	post_free(&post);
}

/* ---- restarts ------------------------------------------------------------------------ */

static enum zcrx_pool_phase phase(const struct post *post, uint32_t slot)
{
	return zcrx_pp_phase(&post->queue->ifq.pools[slot]);
}

static void a_restarted_queue_gets_its_buffers_from_a_new_pool(void)
{
	struct zcrx_ifq_shared *shared;
	struct post post;

	post_init(&post);
	shared = post.queue->ifq.shared;
	run(&post);
	for (uint32_t niov = 0; niov < 8; niov++)
		deliver(post.queue, take(&post), 1);
	zcrx_queue_restart(post.queue);
	CHECK_EQ(zcrx_queue_restarted(post.queue), -EAGAIN);
	run(&post);
	CHECK_EQ(zcrx_queue_restarted(post.queue), 1);
	CHECK_EQ(phase(&post, 0), ZCRX_POOL_DYING);
	CHECK_EQ(granted(&post), 0);
	give_back(&post, 5 << 12, 0);
	run(&post); /* home to the old pool, and on to the freelist */
	run(&post);
	CHECK_EQ(take(&post), 5);
	CHECK_EQ(word_of(&post.queue->area.niovs[5].pool), 2);
	CHECK_EQ(count_of(&shared->verdicts[ZCRX_OTHER_POOL]), 1);
	for (uint64_t niov = 0; niov < 8; niov++) {
		if (niov != 5)
			give_back(&post, niov << 12, 0);
	}
	run(&post);
	run(&post);
	CHECK_EQ(count_of(&shared->verdicts[ZCRX_OTHER_POOL]), 8);
	CHECK_EQ(phase(&post, 0), ZCRX_POOL_UNUSED);
	CHECK_EQ(granted(&post), 7);
	CHECK_EQ(count_of(&shared->restarts), 1);
	CHECK_EQ(count_of(&shared->warnings_due), 1);
	CHECK_EQ(count_of(&shared->destroy_warnings), 1);
	post_free(&post);
}

/* Each pool's buffers are with the user; the control process asks for one pool too many. */
static void a_restart_without_a_slot_is_refused_and_possible_later(void)
{
	struct zcrx_shape shape = small_shape();
	struct post post;

	shape.num_niovs = 8 * 17;
	post_init_with(&post, &shape);
	for (int slot = 0; slot < (int)ZCRX_POOLS_MAX; slot++) {
		run(&post);
		for (uint32_t i = 0; i < 8; i++)
			deliver(post.queue, take(&post), 1);
		run(&post);
		for (uint32_t i = 0; i < 8; i++)
			deliver(post.queue, take(&post), 1);
		zcrx_queue_restart(post.queue);
		run(&post);
		CHECK_EQ(zcrx_queue_restarted(post.queue),
			 slot + 1 < (int)ZCRX_POOLS_MAX ? slot + 1 : -ENOSPC);
	}
	CHECK_EQ(count_of(&post.queue->ifq.shared->restarts), ZCRX_POOLS_MAX - 1);
	CHECK_EQ(phase(&post, ZCRX_POOLS_MAX - 1), ZCRX_POOL_CURRENT);
	zcrx_ifq_scrub(&post.queue->ifq, NULL);
	run(&post);
	CHECK_EQ(phase(&post, 0), ZCRX_POOL_UNUSED);
	zcrx_queue_restart(post.queue);
	run(&post);
	CHECK_EQ(zcrx_queue_restarted(post.queue), 0);
	set_state(&post, ZCRX_RUN_DRAIN);
	while (granted(&post))
		zcrx_ifq_drop(&post.queue->ifq, take(&post), 1);
	set_state(&post, ZCRX_RUN_DESTROY);
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		CHECK_EQ(phase(&post, slot), ZCRX_POOL_UNUSED);
	CHECK_EQ(zcrx_area_free_count(&post.queue->area), shape.num_niovs);
	CHECK_EQ(count_of(&post.queue->ifq.shared->destroy_warnings),
		 count_of(&post.queue->ifq.shared->warnings_due));
	CHECK_EQ(word_of(&post.queue->ifq.shared->refs),
		 1 + count_of(&post.queue->ifq.shared->warnings_due));
	post_free(&post);
}

static void the_last_check_finds_buffers_of_an_old_pool_home(void)
{
	struct post post;

	post_init(&post);
	run(&post);
	for (uint32_t i = 0; i < 8; i++)
		deliver(post.queue, take(&post), 1);
	zcrx_queue_restart(post.queue);
	run(&post);
	set_state(&post, ZCRX_RUN_DRAIN);
	zcrx_ifq_scrub(&post.queue->ifq, NULL);
	set_state(&post, ZCRX_RUN_DESTROY);
	CHECK_EQ(zcrx_area_free_count(&post.queue->area), 8);
	CHECK_EQ(count_of(&post.queue->ifq.shared->destroy_warnings), 0);
	CHECK_EQ(word_of(&post.queue->ifq.shared->refs), 1);
	CHECK_EQ(phase(&post, 0), ZCRX_POOL_UNUSED);
	CHECK_EQ(phase(&post, 1), ZCRX_POOL_UNUSED);
	post_free(&post);
}

/* ---- what is seen from outside ---------------------------------------------------------- */

static void what_can_be_taken_from_the_ring_is_what_was_published(void)
{
	struct post post;
	uint32_t tail;

	post_init(&post);
	run(&post);
	for (uint32_t niov = 0; niov < 8; niov++)
		deliver(post.queue, take(&post), 1);
	zcrx_rq_user_put(&post.user, 0, 0, 1);
	CHECK_EQ(zcrx_queue_rq_available(post.queue), 0); /* written, and not published */
	give_back(&post, 1, 1);
	CHECK_EQ(zcrx_queue_rq_available(post.queue), 2);
	run(&post);
	CHECK_EQ(zcrx_queue_rq_available(post.queue), 0);
	tail = word_of(post.queue->ifq.rq.tail);
	shm_store_release_u32(post.queue->ifq.rq.tail, tail - 1, POINT_RQ_TAIL_STORE);
	CHECK_EQ(zcrx_queue_rq_available(post.queue), 128); /* whatever it says: one ring */
	zcrx_queue_set_user(post.queue, 0);
	run(&post);
	CHECK_EQ(zcrx_queue_rq_available(post.queue), 0); /* nobody reads it */
	post_free(&post);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void draining_judges_what_waits_and_grants_no_more(void)
{
	struct post post;

	post_init(&post);
	run(&post);
	for (uint32_t niov = 0; niov < 8; niov++)
		deliver(post.queue, take(&post), 1);
	for (uint64_t niov = 0; niov < 8; niov++) {
		give_back(&post, 0, 1);
		give_back(&post, niov << 12, 0);
	}
	set_state(&post, ZCRX_RUN_DRAIN);
	CHECK_EQ(zcrx_run_provider_ack(post.queue->run), ZCRX_RUN_DRAIN);
	CHECK_EQ(granted(&post), 0);
	CHECK_EQ(consumed(&post), 16);
	CHECK_EQ(count_of(&post.queue->ifq.shared->verdicts[ZCRX_ACCEPTED]), 8);
	CHECK_EQ(zcrx_area_free_count(&post.queue->area), 8);
	set_state(&post, ZCRX_RUN_DESTROY);
	CHECK_EQ(zcrx_run_provider_ack(post.queue->run), ZCRX_RUN_DESTROY);
	CHECK_EQ(word_of(&post.queue->ifq.shared->refs), 1);
	CHECK_EQ(count_of(&post.queue->ifq.shared->destroy_warnings), 0);
	zcrx_run_set_state(post.queue->run, post.queue->bells, ZCRX_RUN_EXIT);
	CHECK_EQ(zcrx_provider_loop_run(post.loop, 1000), 1);
	post_free(&post);
}

static void draining_ends_although_the_tail_never_does(void)
{
	struct zcrx_shape shape = small_shape();
	struct post post;

	shape.rq_entries = 64;
	post_init_with(&post, &shape);
	shm_store_release_u32(post.queue->ifq.rq.tail, shape.initial_index - 1,
			      POINT_RQ_TAIL_STORE);
	set_state(&post, ZCRX_RUN_DRAIN);
	CHECK_EQ(consumed(&post), 64);
	CHECK_EQ(zcrx_run_provider_ack(post.queue->run), ZCRX_RUN_DRAIN);
	post_free(&post);
}

static void entries_that_come_while_draining_are_judged_at_the_end(void)
{
	struct post post;

	post_init(&post);
	set_state(&post, ZCRX_RUN_DRAIN);
	give_back(&post, 0, 1);
	run(&post);
	CHECK_EQ(consumed(&post), 0); /* once is enough, the user is gone */
	set_state(&post, ZCRX_RUN_DESTROY);
	CHECK_EQ(consumed(&post), 1);
	post_free(&post);
}

static void a_missing_buffer_fails_the_destroy_check(void)
{
	struct post post;

	post_init(&post);
	run(&post);
	deliver(post.queue, take(&post), 1);
	set_state(&post, ZCRX_RUN_DESTROY);
	CHECK_EQ(count_of(&post.queue->ifq.shared->destroy_warnings), 1);
	CHECK_EQ(word_of(&post.queue->ifq.shared->refs), 2);
	post_free(&post);
}

static void an_impossible_shape_is_refused(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_mapping nothing = {0};

	shape.grant_entries = 3;
	CHECK(!zcrx_provider_loop_new(&shape, 1, &nothing, NULL, 0, 0, 0));
	zcrx_provider_loop_free(NULL);
}

static void impossible_rules_are_refused(void)
{
	struct zcrx_fault_rule rule = rule_likely(ZCRX_FAULT_ALLOC_FAIL, 1.5);
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;

	queue_memory_init(&memory, &shape);
	CHECK(!zcrx_provider_loop_new(&shape, 1, &memory.mapping, &rule, 1, 1, 0));
	queue_memory_free(&memory);
}

CHECK_MAIN(CASE(the_grant_ring_is_filled_and_kept_full), CASE(nothing_is_granted_before_traffic),
	   CASE(without_buffers_it_waits_for_the_user),
	   CASE(no_more_than_the_window_circulate_while_they_come_back),
	   CASE(a_nic_that_waits_for_grants_is_rung), CASE(strictness_is_passed_on_to_the_provider),
	   CASE(without_a_user_the_ring_is_not_read_and_a_new_one_finds_it_empty),
	   CASE(allocations_fail_in_a_row_and_the_ring_is_filled_later),
	   CASE(a_queue_goes_on_although_every_allocation_fails_first),
	   CASE(a_hidden_freelist_is_found_again),
	   CASE(a_hidden_freelist_is_found_again_by_who_copies),
	   CASE(buffers_find_the_ptr_ring_full_by_plan),
	   CASE(a_rule_about_another_queue_does_nothing_here),
	   CASE(a_restarted_queue_gets_its_buffers_from_a_new_pool),
	   CASE(a_restart_without_a_slot_is_refused_and_possible_later),
	   CASE(the_last_check_finds_buffers_of_an_old_pool_home),
	   CASE(what_can_be_taken_from_the_ring_is_what_was_published),
	   CASE(draining_judges_what_waits_and_grants_no_more),
	   CASE(draining_ends_although_the_tail_never_does),
	   CASE(entries_that_come_while_draining_are_judged_at_the_end),
	   CASE(a_missing_buffer_fails_the_destroy_check), CASE(an_impossible_shape_is_refused),
	   CASE(impossible_rules_are_refused))
