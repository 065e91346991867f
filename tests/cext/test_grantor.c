/* SPDX-License-Identifier: MIT */
/*
 * The provider's loop, step by step in one thread: what it grants, whom it
 * wakes, what it does with entries that wait when the queue goes down.
 */
#include "grantor.h"
#include "queue_memory.h"

struct post {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_grantor *grantor;
	struct zcrx_rq_user user;
};

static void post_init_with(struct post *post, const struct zcrx_shape *shape, bool strict_alias)
{
	memset(post, 0, sizeof(*post));
	queue_memory_init(&post->memory, shape);
	post->queue = &post->memory.queue;
	post->user = user_of(post->queue);
	post->grantor = zcrx_grantor_new(shape, 1, &post->memory.mapping, strict_alias);
	REQUIRE(post->grantor);
	zcrx_run_set_state(post->queue->run, post->queue->bells, ZCRX_RUN_TRAFFIC);
}

static void post_init(struct post *post)
{
	struct zcrx_shape shape = small_shape();

	post_init_with(post, &shape, false);
}

static void post_free(struct post *post)
{
	zcrx_grantor_free(post->grantor);
	queue_memory_free(&post->memory);
}

static void run(struct post *post)
{
	CHECK_EQ(zcrx_grantor_run(post->grantor, 0), 0);
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
	post_init_with(&post, &shape, false);
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

static void a_nic_that_waits_for_grants_is_rung(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_bell *bell;
	struct post post;

	shape.num_niovs = 20;
	post_init_with(&post, &shape, false);
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

		post_init_with(&post, &shape, strict);
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
	CHECK_EQ(zcrx_grantor_run(post.grantor, 1000), 1);
	post_free(&post);
}

static void draining_ends_although_the_tail_never_does(void)
{
	struct zcrx_shape shape = small_shape();
	struct post post;

	shape.rq_entries = 64;
	post_init_with(&post, &shape, false);
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
	CHECK(!zcrx_grantor_new(&shape, 1, &nothing, false));
	zcrx_grantor_free(NULL);
}

CHECK_MAIN(CASE(the_grant_ring_is_filled_and_kept_full), CASE(nothing_is_granted_before_traffic),
	   CASE(without_buffers_it_waits_for_the_user), CASE(a_nic_that_waits_for_grants_is_rung),
	   CASE(strictness_is_passed_on_to_the_provider),
	   CASE(without_a_user_the_ring_is_not_read_and_a_new_one_finds_it_empty),
	   CASE(draining_judges_what_waits_and_grants_no_more),
	   CASE(draining_ends_although_the_tail_never_does),
	   CASE(entries_that_come_while_draining_are_judged_at_the_end),
	   CASE(a_missing_buffer_fails_the_destroy_check), CASE(an_impossible_shape_is_refused))
