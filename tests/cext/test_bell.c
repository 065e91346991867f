/* SPDX-License-Identifier: MIT */
/* Doorbells: who is rung wakes up, who sleeps for something else is left alone. */
#include "wire/bell.h"
#include "wire/ring.h"
#include "threads.h"

/* Longer than any test: a sleep that ends by it was missed. */
#define LONG_US 60000000U
#define LONG_NS (UINT64_C(1000) * LONG_US)

static uint32_t seq_of(const struct zcrx_bell *bell)
{
	return shm_load_relaxed_u32(&bell->seq, POINT_BELL_SEQ);
}

static uint32_t waiting_of(const struct zcrx_bell *bell)
{
	return shm_load_relaxed_u32(&bell->waiting, POINT_BELL_WAITING);
}

static void preparing_announces_the_reason(void)
{
	struct zcrx_bell bell = {0};

	CHECK_EQ(zcrx_bell_prepare(&bell, ZCRX_BELL_ROOM), 0);
	CHECK_EQ(waiting_of(&bell), ZCRX_BELL_ROOM);
	zcrx_bell_cancel(&bell);
	CHECK_EQ(waiting_of(&bell), ZCRX_BELL_NONE);
	CHECK_EQ(seq_of(&bell), 0);
}

static void ringing_for_another_reason_wakes_nobody(void)
{
	struct zcrx_bell bell = {0};

	zcrx_bell_ring(&bell, ZCRX_BELL_WORK); /* nobody sleeps at all */
	CHECK_EQ(seq_of(&bell), 0);
	zcrx_bell_prepare(&bell, ZCRX_BELL_ROOM | ZCRX_BELL_WORK);
	zcrx_bell_ring(&bell, ZCRX_BELL_GRANTS);
	zcrx_bell_ring(&bell, zcrx_bell_refill(3));
	CHECK_EQ(seq_of(&bell), 0);
	zcrx_bell_ring(&bell, ZCRX_BELL_GRANTS | ZCRX_BELL_ROOM);
	CHECK_EQ(seq_of(&bell), 1);
	CHECK_EQ(waiting_of(&bell), ZCRX_BELL_NONE);
	zcrx_bell_ring(&bell, ZCRX_BELL_ROOM); /* once a sleep is enough */
	CHECK_EQ(seq_of(&bell), 1);
}

static void queues_next_to_each_other_have_their_own_refill_reason(void)
{
	uint32_t reasons = ZCRX_BELL_WORK | ZCRX_BELL_GRANTS | ZCRX_BELL_ROOM;

	for (uint32_t queue = 0; queue < 24; queue++) {
		CHECK_EQ(reasons & zcrx_bell_refill(queue), 0);
		reasons |= zcrx_bell_refill(queue);
	}
	CHECK(zcrx_bell_refill(63) != 0);
}

/* Rung between the announcement and the sleep: the sleep must not begin. */
static void a_ring_before_the_sleep_is_not_lost(void)
{
	struct zcrx_bell bell = {0};
	uint32_t seq = zcrx_bell_prepare(&bell, ZCRX_BELL_WORK);
	uint64_t start = check_now_ns();

	zcrx_bell_ring(&bell, ZCRX_BELL_WORK);
	zcrx_bell_sleep(&bell, seq, LONG_US);
	CHECK(check_now_ns() - start < LONG_NS);
}

static void a_sleep_ends_by_itself_and_takes_the_announcement_down(void)
{
	struct zcrx_bell bell = {0};
	uint64_t start = check_now_ns();

	zcrx_bell_sleep(&bell, zcrx_bell_prepare(&bell, ZCRX_BELL_WORK), 2000);
	CHECK(check_now_ns() - start >= 1900000);
	CHECK_EQ(waiting_of(&bell), ZCRX_BELL_NONE);
	zcrx_bell_sleep(&bell, zcrx_bell_prepare(&bell, ZCRX_BELL_WORK), 0);
}

static void a_waiter_stays_awake_for_a_while_and_then_sleeps(void)
{
	uint32_t crowds[] = {1, UINT32_MAX}; /* processes: of a core each, and not */

	for (uint32_t i = 0; i < COUNT_OF(crowds); i++) {
		struct zcrx_bell bell = {0};
		struct zcrx_waiter waiter;
		uint64_t start = check_now_ns();

		zcrx_waiter_init(&waiter, &bell, crowds[i]);
		CHECK_EQ(waiter.is_crowded, i);
		while (!zcrx_waiter_idle(&waiter))
			continue;
		CHECK(check_now_ns() - start >= 50000);
		CHECK(atomic_load(&bell.idle) > 0);
		CHECK(atomic_load(&bell.cpu) > 0);
		CHECK(zcrx_waiter_idle(&waiter)); /* at once: it has waited */
		zcrx_waiter_worked(&waiter);
		CHECK(!zcrx_waiter_idle(&waiter));
	}
}

static void the_clock_goes_forward_in_nanoseconds(void)
{
	uint64_t before = check_now_ns(), now = zcrx_now_ns(), after = check_now_ns();

	CHECK(before <= now && now <= after);
}

/* ---- store and load across two cores --------------------------------------------- */

struct crossing {
	struct meeting meeting;
	struct zcrx_bell bell;
	_Alignas(SHM_CACHE_LINE) shm_u32 posted;
	_Alignas(SHM_CACHE_LINE) shm_u32 saw;
	uint32_t rounds;
};

static void *post_across(void *context)
{
	struct crossing *crossing = context;

	uint32_t seq = seq_of(&crossing->bell);

	while (meeting_lead(&crossing->meeting, crossing->rounds)) {
		shm_store_release_u32(&crossing->posted, 1, POINT_COUNTER);
		zcrx_bell_ring(&crossing->bell, ZCRX_BELL_WORK);
		if (!meeting_part(&crossing->meeting))
			break;
		/* Not seen, not rung: the other would sleep on. */
		CHECK(shm_load_acquire_u32(&crossing->saw, POINT_COUNTER) ||
		      seq_of(&crossing->bell) != seq);
		zcrx_bell_cancel(&crossing->bell);
		shm_store_release_u32(&crossing->posted, 0, POINT_COUNTER);
		seq = seq_of(&crossing->bell);
	}
	return NULL;
}

static void *announce_across(void *context)
{
	struct crossing *crossing = context;

	while (meeting_follow(&crossing->meeting)) {
		uint32_t saw;

		zcrx_bell_prepare(&crossing->bell, ZCRX_BELL_WORK);
		saw = shm_load_relaxed_u32(&crossing->posted, POINT_COUNTER);
		shm_store_relaxed_u32(&crossing->saw, saw, POINT_COUNTER);
		if (!meeting_part(&crossing->meeting))
			break;
	}
	return NULL;
}

/* Each side stores and then loads; without the fences both loads may come first. */
static void a_sleeper_and_a_ringer_never_miss_each_other(void)
{
	static struct crossing crossing;

	crossing.rounds = CHECK_REPEAT(150000);
	run_both(post_across, announce_across, &crossing);
}

/* ---- two threads ------------------------------------------------------------------ */

struct side {
	struct zcrx_bell bell;
	_Alignas(SHM_CACHE_LINE) shm_u32 posted; /* how often the other side has posted to us */
};

struct handshakes {
	struct side sides[2];
	uint32_t rounds;
	shm_u32 next_side;
	shm_u32 last; /* the round that is the last one, once that is decided */
};

/* Publish, then ring: as every loop of the core does. */
static void post(struct side *side, uint32_t number)
{
	shm_store_release_u32(&side->posted, number, POINT_COUNTER);
	zcrx_bell_ring(&side->bell, ZCRX_BELL_WORK);
}

/* Announce, look once more, sleep. False when a post was there and nobody woke us for it. */
static bool wait_for(struct side *side, uint32_t number)
{
	while (shm_load_acquire_u32(&side->posted, POINT_COUNTER) != number) {
		uint32_t seq = zcrx_bell_prepare(&side->bell, ZCRX_BELL_WORK);
		uint64_t start;

		if (shm_load_acquire_u32(&side->posted, POINT_COUNTER) == number) {
			zcrx_bell_cancel(&side->bell);
			return true;
		}
		start = check_now_ns();
		zcrx_bell_sleep(&side->bell, seq, LONG_US);
		if (!CHECK(check_now_ns() - start < LONG_NS))
			return false;
	}
	return true;
}

static void *shake(void *context)
{
	struct handshakes *handshakes = context;
	uint32_t own = shm_fetch_add_u32(&handshakes->next_side, 1, POINT_COUNTER);
	struct side *ours = &handshakes->sides[own], *theirs = &handshakes->sides[!own];
	struct budget budget = {0};

	for (uint32_t round = 1;; round++) {
		/* The first side says when it is enough, before the post that the other waits for. */
		if (own == 0 && (round == handshakes->rounds || !in_budget(&budget)))
			shm_store_relaxed_u32(&handshakes->last, round, POINT_COUNTER);
		if (own == 0)
			post(theirs, round);
		if (!wait_for(ours, round))
			break;
		if (own == 1)
			post(theirs, round);
		if (round == shm_load_relaxed_u32(&handshakes->last, POINT_COUNTER))
			break;
	}
	return NULL;
}

static void no_wake_up_is_lost_in_100000_handshakes(void)
{
	static struct handshakes handshakes;

	handshakes.rounds = CHECK_REPEAT(100000);
	run_both(shake, shake, &handshakes);
}

/*
 * One posts without waiting for answers, so that its rings fall anywhere into
 * the other's way to sleep; what is left unseen for long was not rung.
 */
static void *post_all(void *context)
{
	struct handshakes *handshakes = context;
	struct patience patience = {0};
	struct budget budget = {0};
	uint32_t round = 1;

	for (; round < handshakes->rounds && in_budget(&budget); round++) {
		post(&handshakes->sides[1], round);
		for (uint32_t pause = 0; pause < round % 128; pause++)
			shm_pause();
	}
	shm_store_relaxed_u32(&handshakes->last, round, POINT_COUNTER);
	post(&handshakes->sides[1], round);
	while (shm_load_acquire_u32(&handshakes->sides[0].posted, POINT_COUNTER) == 0 &&
	       wait_more(&patience))
		;
	return NULL;
}

static void *see_all(void *context)
{
	struct handshakes *handshakes = context;
	struct side *ours = &handshakes->sides[1];
	uint32_t seen = 0;

	while (seen == 0 || seen != shm_load_relaxed_u32(&handshakes->last, POINT_COUNTER)) {
		uint32_t seq = zcrx_bell_prepare(&ours->bell, ZCRX_BELL_WORK);
		uint32_t posted = shm_load_acquire_u32(&ours->posted, POINT_COUNTER);
		uint64_t start = check_now_ns();

		if (posted != seen) {
			zcrx_bell_cancel(&ours->bell);
			seen = posted;
			continue;
		}
		zcrx_bell_sleep(&ours->bell, seq, LONG_US);
		if (!CHECK(check_now_ns() - start < LONG_NS))
			break;
	}
	shm_store_release_u32(&handshakes->sides[0].posted, 1, POINT_COUNTER);
	return NULL;
}

static void no_wake_up_is_lost_in_a_stream_of_posts(void)
{
	static struct handshakes handshakes;

	handshakes.rounds = CHECK_REPEAT(200000);
	run_both(post_all, see_all, &handshakes);
}

CHECK_MAIN(CASE(preparing_announces_the_reason), CASE(ringing_for_another_reason_wakes_nobody),
	   CASE(queues_next_to_each_other_have_their_own_refill_reason),
	   CASE(a_ring_before_the_sleep_is_not_lost),
	   CASE(a_sleep_ends_by_itself_and_takes_the_announcement_down),
	   CASE(a_waiter_stays_awake_for_a_while_and_then_sleeps),
	   CASE(the_clock_goes_forward_in_nanoseconds),
	   CASE(a_sleeper_and_a_ringer_never_miss_each_other),
	   CASE(no_wake_up_is_lost_in_100000_handshakes),
	   CASE(no_wake_up_is_lost_in_a_stream_of_posts))
