/* SPDX-License-Identifier: MIT */
/*
 * The consumer, with the test in the place of NIC and provider: what it checks
 * of each fragment, in which order it returns them, what it writes into ring
 * and intent log, and when it is done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "actors/consumer.h"
#include "wire/crc32c.h"
#include "queue_memory.h"
#include "rules.h"

struct user {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_shape shape;
	struct zcrx_consumer *consumer;
};

static const struct zcrx_consumer_params plain = {.output_fd = -1};
static const uint16_t valid_return =
	ZCRX_INTENT(ZCRX_INTENT_VALID,
		    1U << ZCRX_ACCEPTED | 1U << ZCRX_STILL_REFERENCED | 1U << ZCRX_OTHER_POOL);

static void user_init(struct user *user, const struct zcrx_shape *shape,
		      const struct zcrx_consumer_params *params,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	memset(user, 0, sizeof(*user));
	user->shape = *shape;
	queue_memory_init(&user->memory, shape);
	user->queue = &user->memory.queue;
	user->consumer =
		zcrx_consumer_new(shape, 0, &user->memory.mapping, params, rules, rule_count);
	REQUIRE(user->consumer);
}

static void user_init_plain(struct user *user, uint32_t verify)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;

	params.verify = verify;
	user_init(user, &shape, &params, NULL, 0);
}

static void user_free(struct user *user)
{
	zcrx_consumer_free(user->consumer);
	queue_memory_free(&user->memory);
}

/* ---- the NIC's side ------------------------------------------------------------- */

struct sent {
	uint32_t flow, seq, niov, in_niov, generation;
	int32_t res;
	bool is_end;
	uint32_t mark; /* rule + 1 of the NIC's */
};

static uint8_t *bytes_of(struct user *user, uint32_t niov)
{
	return zcrx_area_niov(&user->queue->area, niov);
}

/* Deliver one fragment and note its true CRC, as the NIC does. */
static void send(struct user *user, const struct sent *sent)
{
	struct zcrx_cq *cq = &user->queue->cq;
	struct zcrx_ledger_entry *note = &user->queue->ledger[cq->cached_tail & cq->mask];
	uint64_t off = ((uint64_t)sent->niov << user->shape.niov_shift) + sent->in_niov;
	bool is_sound = sent->niov < user->shape.num_niovs && sent->in_niov + 64 <= 4096;
	uint32_t crc = is_sound ? zcrx_crc32c(user->queue->area.bytes + off, 64) : 0;

	shm_store_relaxed_u64(&note->flow_seq,
			      (uint64_t)sent->mark << 56 | (uint64_t)sent->flow << 32 | sent->seq,
			      POINT_LOG);
	shm_store_relaxed_u64(&note->crc_generation, (uint64_t)crc << 32 | sent->generation,
			      POINT_LOG);
	zcrx_cq_put(cq, sent->flow, sent->res, sent->is_end ? 0 : IORING_CQE_F_MORE, off);
	zcrx_cq_publish(cq);
}

/* 64 bytes at the start of a buffer, the seq-th fragment of flow 0. */
static void send_plain(struct user *user, uint32_t niov, uint32_t seq)
{
	send(user, &(struct sent){.seq = seq, .niov = niov, .res = 64});
}

static uint32_t take_and_give_back(struct user *user)
{
	struct zcrx_fragment fragments[64];
	uint32_t count = zcrx_consumer_take(user->consumer, fragments, 64);

	zcrx_consumer_give_back(user->consumer, fragments, count);
	return count;
}

/* The provider takes one RQE; its niov. */
static uint32_t taken_niov(struct user *user)
{
	struct zcrx_rq *rq = &user->queue->ifq.rq;
	struct io_uring_zcrx_rqe rqe;

	REQUIRE(zcrx_rq_available(rq) > 0);
	rqe = zcrx_rq_take(rq);
	zcrx_rq_release(rq);
	return (uint32_t)(rqe.off >> user->shape.niov_shift);
}

#define NOTES(user, name) count_of(&(user)->queue->notes->name)

/* ---- what is checked of a fragment --------------------------------------------------- */

static void a_fragment_arrives_as_it_was_sent(void)
{
	struct user user;
	struct zcrx_fragment fragment;

	user_init_plain(&user, ZCRX_VERIFY_CRC);
	memset(bytes_of(&user, 3) + 128, 0x7e, 64);
	send(&user, &(struct sent){.flow = 2, .niov = 3, .in_niov = 128, .res = 64});
	CHECK_EQ(zcrx_consumer_take(user.consumer, &fragment, 1), 1);
	CHECK_EQ(fragment.off, (3 << 12) + 128);
	CHECK_EQ(fragment.user_data, 2);
	CHECK_EQ(fragment.res, 64);
	CHECK_EQ(fragment.flags, IORING_CQE_F_MORE);
	CHECK_EQ(fragment.seq, 0);
	CHECK_EQ(fragment.crc, zcrx_crc32c(bytes_of(&user, 3) + 128, 64));
	CHECK_EQ(zcrx_consumer_take(user.consumer, &fragment, 1), 0);
	CHECK_EQ(NOTES(&user, fragments), 1);
	CHECK_EQ(NOTES(&user, bytes), 64);
	CHECK_EQ(NOTES(&user, integrity_errors), 0);
	CHECK_EQ(word_of(&user.queue->flows_received[2].received), 1);
	CHECK_EQ(word_of(user.queue->cq.head), user.shape.initial_index + 1);
	user_free(&user);
}

static void no_more_are_taken_than_asked_for(void)
{
	struct user user;
	struct zcrx_fragment fragments[8];

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	for (uint32_t seq = 0; seq < 5; seq++)
		send_plain(&user, seq, seq);
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 2), 2);
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 0), 0);
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 8), 3);
	CHECK_EQ(fragments[2].seq, 4);
	user_free(&user);
}

static void bytes_that_are_not_what_was_sent_are_found(void)
{
	const uint32_t verifies[] = {ZCRX_VERIFY_CRC, ZCRX_VERIFY_TOUCH, ZCRX_VERIFY_NONE};

	for (size_t i = 0; i < COUNT_OF(verifies); i++) {
		struct user user;

		user_init_plain(&user, verifies[i]);
		send_plain(&user, 1, 0);
		send_plain(&user, 2, 1);
		bytes_of(&user, 2)[63] ^= 1;
		bytes_of(&user, 1)[64] ^= 1; /* not of the fragment */
		CHECK_EQ(take_and_give_back(&user), 2);
		CHECK_EQ(NOTES(&user, integrity_errors), verifies[i] == ZCRX_VERIFY_CRC);
		user_free(&user);
	}
}

static void bytes_that_change_while_they_are_held_are_found_on_return(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;
	struct zcrx_fragment fragments[6];
	struct user user;

	params.verify = ZCRX_VERIFY_CRC;
	params.recheck_every = 3;
	user_init(&user, &shape, &params, NULL, 0);
	for (uint32_t seq = 0; seq < 6; seq++)
		send_plain(&user, seq, seq);
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 6), 6);
	CHECK_EQ(NOTES(&user, integrity_errors), 0);
	for (uint32_t niov = 0; niov < 6; niov++)
		bytes_of(&user, niov)[7] = 0xff;
	zcrx_consumer_give_back(user.consumer, fragments, 6);
	CHECK_EQ(NOTES(&user, integrity_errors), 2);
	user_free(&user);
}

static void gaps_are_counted_and_steps_back_are_errors(void)
{
	const uint32_t seqs[] = {0, 1, 4, 5, 5, 3, 4};
	struct user user;

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	for (size_t i = 0; i < COUNT_OF(seqs); i++) {
		send_plain(&user, (uint32_t)i, seqs[i]);
		/* A flow of its own is not disturbed. */
		send(&user, &(struct sent){.flow = 3, .seq = (uint32_t)i, .niov = 7, .res = 64});
	}
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 2);
	CHECK_EQ(NOTES(&user, order_errors), 2); /* 5 again, and 3 after it */
	CHECK_EQ(word_of(&user.queue->flows_received[0].received), 7);
	CHECK_EQ(word_of(&user.queue->flows_received[0].gaps), 2);
	CHECK_EQ(word_of(&user.queue->flows_received[3].received), 7);
	CHECK_EQ(word_of(&user.queue->flows_received[3].gaps), 0);
	user_free(&user);
}

static void a_flow_that_starts_late_has_a_gap_at_its_start(void)
{
	struct user user;

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	send_plain(&user, 0, 3);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 3);
	user_free(&user);
}

/* Marks stand for these: rule 0 for copies, 1 for late ones, 2 for what was cut short. */
enum { COPY = 1, LATE = 2, CUT = 3 };

static void user_init_marked(struct user *user, uint32_t verify)
{
	const uint32_t kinds[] = {ZCRX_FAULT_NIC_DUPLICATE, ZCRX_FAULT_NIC_REORDER,
				  ZCRX_FAULT_NIC_TRUNCATE};

	user_init_plain(user, verify);
	for (uint32_t i = 0; i < COUNT_OF(kinds); i++)
		shm_store_relaxed_u32(&user->queue->notes->mark_kinds[i], kinds[i], POINT_LOG);
}

/* 64 bytes of flow 0, in a buffer that was granted twice as often as its number says. */
static void send_marked(struct user *user, uint32_t niov, uint32_t seq, uint32_t mark)
{
	send(user,
	     &(struct sent){
		     .seq = seq, .niov = niov, .generation = 2 * niov, .res = 64, .mark = mark});
}

static void check_found(struct user *user, uint64_t number, uint32_t kind, uint32_t rule,
			uint32_t niov, uint32_t seq)
{
	struct zcrx_consequence *found = &user->queue->notes->consequence[number];

	CHECK_EQ(found->kind, kind);
	CHECK_EQ(found->rule, rule - 1);
	CHECK_EQ(found->niov, niov);
	CHECK_EQ(found->seq, seq);
	CHECK_EQ(found->generation_held, 2 * niov);
	CHECK_EQ(found->generation_now, 2 * niov);
}

static void a_copy_is_found_and_is_no_step_back(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_CRC);
	send_marked(&user, 0, 0, 0);
	send_marked(&user, 1, 1, 0);
	send_marked(&user, 2, 0, COPY);
	send_marked(&user, 3, 1, COPY);
	send_marked(&user, 4, 2, 0);
	CHECK_EQ(take_and_give_back(&user), 5);
	CHECK_EQ(NOTES(&user, order_errors) + NOTES(&user, order_gaps), 0);
	CHECK_EQ(NOTES(&user, integrity_errors), 0);
	CHECK_EQ(word_of(&user.queue->flows_received[0].received), 5);
	CHECK_EQ(NOTES(&user, consequence_count), 2);
	CHECK_EQ(NOTES(&user, consequences[COPY - 1]), 2);
	check_found(&user, 0, ZCRX_DUPLICATE_FOUND, COPY, 2, 0);
	check_found(&user, 1, ZCRX_DUPLICATE_FOUND, COPY, 3, 1);
	CHECK_EQ(NOTES(&user, rqe_valid), 5); /* each is returned */
	user_free(&user);
}

static void a_copy_of_what_never_came_is_an_error(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_NONE);
	send_marked(&user, 0, 0, COPY);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_errors), 1);
	CHECK_EQ(NOTES(&user, consequence_count), 0);
	user_free(&user);
}

static void a_copy_that_is_not_marked_is_an_error(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_NONE);
	send_marked(&user, 0, 0, 0);
	send_marked(&user, 1, 0, CUT); /* another mark is none for this */
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_errors), 1);
	CHECK_EQ(NOTES(&user, consequence_count), 0);
	user_free(&user);
}

static void bytes_of_a_copy_are_checked_like_any(void)
{
	struct user user;
	struct zcrx_fragment fragments[2];

	user_init_marked(&user, ZCRX_VERIFY_CRC);
	send_marked(&user, 0, 0, 0);
	send_marked(&user, 1, 0, COPY);
	bytes_of(&user, 1)[9] = 1;
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 2), 2);
	CHECK_EQ(fragments[1].mark, 0); /* no word about its bytes */
	CHECK_EQ(NOTES(&user, integrity_errors), 1);
	user_free(&user);
}

static void a_late_fragment_closes_its_gap(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_CRC);
	send_marked(&user, 0, 0, 0);
	send_marked(&user, 1, 4, 0); /* 1 to 3 are missing */
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 3);
	send_marked(&user, 2, 1, LATE);
	send_marked(&user, 3, 3, LATE);
	send_marked(&user, 4, 5, 0);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 1);
	CHECK_EQ(word_of(&user.queue->flows_received[0].gaps), 1);
	CHECK_EQ(word_of(&user.queue->flows_received[0].received), 5);
	CHECK_EQ(NOTES(&user, order_errors), 0);
	CHECK_EQ(NOTES(&user, consequence_count), 2);
	check_found(&user, 0, ZCRX_LATE_FOUND, LATE, 2, 1);
	check_found(&user, 1, ZCRX_LATE_FOUND, LATE, 3, 3);
	user_free(&user);
}

/* Others of its queue overtook it, none of its flow. */
static void a_late_fragment_may_be_in_the_order_of_its_flow(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_NONE);
	send_marked(&user, 0, 0, LATE);
	send_marked(&user, 1, 2, LATE); /* behind a real gap */
	send_marked(&user, 2, 3, 0);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 1);
	CHECK_EQ(NOTES(&user, order_errors), 0);
	CHECK_EQ(NOTES(&user, consequence_count), 2);
	user_free(&user);
}

/* Its predecessor saw the flow go on, so the gap was never counted. */
static void a_gap_that_was_not_counted_is_not_closed(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_NONE);
	send_marked(&user, 0, 0, 0);
	take_and_give_back(&user);
	zcrx_consumer_free(user.consumer);
	user.consumer = zcrx_consumer_new(&user.shape, 0, &user.memory.mapping, &plain, NULL, 0);
	REQUIRE(user.consumer);
	send_marked(&user, 1, 7, 0);
	send_marked(&user, 2, 6, LATE);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 0);
	CHECK_EQ(word_of(&user.queue->flows_received[0].gaps), 0);
	CHECK_EQ(NOTES(&user, order_errors), 0);
	CHECK_EQ(NOTES(&user, consequence_count), 1);
	user_free(&user);
}

static void what_was_cut_short_is_found_once(void)
{
	struct user user;

	user_init_marked(&user, ZCRX_VERIFY_CRC);
	send_marked(&user, 3, 0, CUT);
	bytes_of(&user, 3)[5] = 1; /* its checksum is not that of these bytes */
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, integrity_errors), 0);
	CHECK_EQ(NOTES(&user, consequence_count), 1);
	check_found(&user, 0, ZCRX_TRUNCATED_FOUND, CUT, 3, 0);
	send_marked(&user, 4, 1, CUT);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, integrity_errors), 1); /* not noticed: the error */
	CHECK_EQ(NOTES(&user, consequence_count), 1);
	user_free(&user);
}

static void a_buffer_filled_again_while_it_is_held_is_found(void)
{
	struct user user;
	struct zcrx_fragment fragments[4];

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	send(&user, &(struct sent){.niov = 1, .generation = 5, .res = 64});
	send(&user, &(struct sent){.niov = 1, .in_niov = 64, .seq = 1, .generation = 5, .res = 64});
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 4), 2);
	CHECK_EQ(NOTES(&user, ownership_errors), 0); /* two fragments of one filling */
	zcrx_consumer_give_back(user.consumer, fragments, 1);
	send(&user, &(struct sent){.niov = 1, .seq = 2, .generation = 6, .res = 64});
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments + 2, 4), 1);
	CHECK_EQ(NOTES(&user, ownership_errors), 1);
	zcrx_consumer_give_back(user.consumer, fragments + 1, 2);
	send(&user, &(struct sent){.niov = 1, .seq = 3, .generation = 7, .res = 64});
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 4), 1);
	CHECK_EQ(NOTES(&user, ownership_errors), 1);
	user_free(&user);
}

static void completions_that_cannot_be_are_counted_and_dropped(void)
{
	const struct sent bad[] = {
		{.niov = 8, .res = 64},
		{.niov = 1 << 20, .res = 64},
		{.niov = 7, .in_niov = 4033, .res = 64},
		{.niov = 0, .res = 4097},
		{.niov = 0, .res = 0},
		{.niov = 0, .res = -22},
		{.niov = 0, .res = INT32_MIN},
	};
	struct user user;
	struct zcrx_fragment fragments[8];

	user_init_plain(&user, ZCRX_VERIFY_CRC);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		send(&user, &bad[i]);
	send(&user, &(struct sent){.niov = 7, .in_niov = 4032, .res = 64});
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 8), 1);
	CHECK_EQ(fragments[0].off, (7 << 12) + 4032);
	CHECK_EQ(NOTES(&user, bad_completions), COUNT_OF(bad));
	CHECK_EQ(NOTES(&user, fragments), 1);
	user_free(&user);
}

static void a_flow_beyond_the_table_is_counted(void)
{
	struct user user;

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	send(&user, &(struct sent){.flow = 4, .niov = 1, .res = 64});
	CHECK_EQ(take_and_give_back(&user), 1);
	CHECK_EQ(NOTES(&user, bad_completions), 1);
	CHECK_EQ(taken_niov(&user), 1); /* its buffer is returned all the same */
	user_free(&user);
}

static void the_end_of_a_flow_brings_no_buffer(void)
{
	struct user user;
	struct zcrx_fragment fragments[4];

	user_init_plain(&user, ZCRX_VERIFY_CRC);
	send_plain(&user, 1, 0);
	send(&user, &(struct sent){.is_end = true, .res = 0});
	send(&user, &(struct sent){.flow = 1, .is_end = true, .res = -104});
	CHECK_EQ(zcrx_consumer_take(user.consumer, fragments, 4), 3);
	CHECK_EQ(fragments[2].res, -104);
	CHECK_EQ(fragments[2].flags, 0);
	zcrx_consumer_give_back(user.consumer, fragments, 3);
	CHECK_EQ(NOTES(&user, ends), 2);
	CHECK_EQ(NOTES(&user, fragments), 1);
	CHECK_EQ(NOTES(&user, rqe_submitted), 1);
	user_free(&user);
}

/* ---- returns -------------------------------------------------------------------------- */

static void check_return_order(enum zcrx_return_order order, uint32_t hold, const uint32_t *niovs,
			       uint32_t count)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;
	struct user user;

	params.return_order = order;
	params.hold = hold;
	user_init(&user, &shape, &params, NULL, 0);
	for (uint32_t seq = 0; seq < 8; seq++) {
		send_plain(&user, seq, seq);
		take_and_give_back(&user);
	}
	CHECK_EQ(zcrx_rq_available(&user.queue->ifq.rq), count);
	for (uint32_t i = 0; i < count; i++)
		CHECK_EQ(taken_niov(&user), niovs[i]);
	user_free(&user);
}

static void fragments_go_back_in_the_order_asked_for(void)
{
	check_return_order(ZCRX_RETURN_FIFO, 0, (uint32_t[]){0, 1, 2, 3, 4, 5, 6, 7}, 8);
	check_return_order(ZCRX_RETURN_LIFO, 0, (uint32_t[]){0, 1, 2, 3, 4, 5, 6, 7}, 8);
	check_return_order(ZCRX_RETURN_SHUFFLE, 0, (uint32_t[]){0, 1, 2, 3, 4, 5, 6, 7}, 8);
	check_return_order(ZCRX_RETURN_FIFO, 3, (uint32_t[]){0, 1, 2, 3, 4}, 5);
	check_return_order(ZCRX_RETURN_LIFO, 3, (uint32_t[]){3, 2, 1, 0, 7, 6, 5, 4}, 8);
	check_return_order(ZCRX_RETURN_FIFO, 8, NULL, 0);
}

/* Four of eight fragments are held: the buffers of the other four, in the order of their return. */
static uint64_t shuffled(uint64_t seed)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;
	uint64_t order = 0;
	uint32_t seen = 0;
	struct user user;

	params.return_order = ZCRX_RETURN_SHUFFLE;
	params.hold = 4;
	params.seed = seed;
	user_init(&user, &shape, &params, NULL, 0);
	for (uint32_t seq = 0; seq < 8; seq++) {
		send_plain(&user, seq, seq);
		take_and_give_back(&user);
	}
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t niov = taken_niov(&user);

		CHECK(niov < 8 && !(seen >> niov & 1));
		seen |= 1U << niov;
		order = order << 4 | niov;
	}
	CHECK_EQ(zcrx_rq_available(&user.queue->ifq.rq), 0);
	user_free(&user);
	return order;
}

static void a_shuffle_returns_each_once_and_follows_its_seed(void)
{
	uint64_t first = shuffled(1);
	bool differs = false;

	CHECK_EQ(shuffled(1), first);
	for (uint64_t seed = 2; seed < 6; seed++)
		differs |= shuffled(seed) != first;
	CHECK(differs);
}

static void returns_that_find_the_ring_full_wait_and_lose_nothing(void)
{
	struct zcrx_shape shape = small_shape();
	struct user user;

	shape.rq_entries = 2;
	user_init(&user, &shape, &plain, NULL, 0);
	for (uint32_t seq = 0; seq < 5; seq++)
		send_plain(&user, seq, seq);
	CHECK_EQ(take_and_give_back(&user), 5);
	CHECK_EQ(NOTES(&user, pending_returns), 3);
	CHECK_EQ(zcrx_consumer_flush(user.consumer), 3);
	CHECK(NOTES(&user, waits_rq_full) > 0);
	CHECK_EQ(taken_niov(&user), 0);
	CHECK_EQ(zcrx_consumer_flush(user.consumer), 2);
	CHECK_EQ(taken_niov(&user), 1);
	CHECK_EQ(taken_niov(&user), 2);
	CHECK_EQ(zcrx_consumer_flush(user.consumer), 0);
	CHECK_EQ(taken_niov(&user), 3);
	CHECK_EQ(taken_niov(&user), 4);
	CHECK_EQ(NOTES(&user, rqe_submitted), 5);
	CHECK_EQ(NOTES(&user, pending_returns), 0);
	user_free(&user);
}

static void the_user_never_runs_ahead_of_the_reconciler(void)
{
	struct zcrx_shape shape = small_shape();
	struct user user;

	shape.log_entries = 4;
	user_init(&user, &shape, &plain, NULL, 0);
	for (uint32_t seq = 0; seq < 8; seq++)
		send_plain(&user, seq, seq);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, rqe_submitted), 4);
	CHECK_EQ(zcrx_consumer_flush(user.consumer), 4);
	CHECK(NOTES(&user, waits_log_full) > 0);
	shm_store_release_u64(&user.queue->notes->checked, 3, POINT_LOG);
	CHECK_EQ(zcrx_consumer_flush(user.consumer), 1);
	CHECK_EQ(NOTES(&user, rqe_submitted), 7);
	user_free(&user);
}

/* ---- faults ----------------------------------------------------------------------------- */

static void malformed_entries_stand_before_the_valid_one_with_their_intents(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 1.0),
		rule_likely(ZCRX_FAULT_BAD_INDEX, 1.0),
	};
	const uint16_t meant[] = {
		ZCRX_INTENT(1, 1U << ZCRX_BAD_PAD),
		ZCRX_INTENT(2, 1U << ZCRX_BAD_INDEX),
		valid_return,
	};
	struct zcrx_shape shape = small_shape();
	struct zcrx_rq *rq;
	struct user user;

	user_init(&user, &shape, &plain, rules, 2);
	rq = &user.queue->ifq.rq;
	for (uint32_t seq = 0; seq < 8; seq++)
		send_plain(&user, seq, seq);
	take_and_give_back(&user);
	CHECK_EQ(zcrx_rq_available(rq), 24);
	for (uint32_t niov = 0; niov < 8; niov++) {
		struct io_uring_zcrx_rqe rqe = zcrx_rq_take(rq);

		CHECK(rqe.__pad != 0);
		rqe = zcrx_rq_take(rq);
		CHECK((uint32_t)(rqe.off >> 12) >= 8);
		rqe = zcrx_rq_take(rq);
		CHECK_EQ(rqe.off, niov << 12);
		CHECK_EQ(rqe.len, 64);
		CHECK_EQ(rqe.__pad, 0);
		CHECK_BYTES(user.queue->intents + 3 * niov, meant, sizeof(meant));
	}
	CHECK_EQ(NOTES(&user, rqe_submitted), 24);
	CHECK_EQ(NOTES(&user, rqe_valid), 8);
	CHECK_EQ(NOTES(&user, injected[0]), 8);
	CHECK_EQ(NOTES(&user, injected[1]), 8);
	user_free(&user);
}

/* A ring of one entry cuts every group of faults and return apart. */
static void faults_are_not_lost_when_the_ring_is_full_between_them(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 1.0),
		rule_likely(ZCRX_FAULT_BAD_AREA, 1.0),
	};
	const uint16_t meant[] = {
		ZCRX_INTENT(1, 1U << ZCRX_BAD_PAD),
		ZCRX_INTENT(2, 1U << ZCRX_BAD_AREA),
		valid_return,
	};
	struct zcrx_shape shape = small_shape();
	struct zcrx_rq *rq;
	struct user user;

	shape.rq_entries = 1;
	user_init(&user, &shape, &plain, rules, 2);
	rq = &user.queue->ifq.rq;
	for (uint32_t seq = 0; seq < 5; seq++)
		send_plain(&user, seq, seq);
	take_and_give_back(&user);
	for (uint32_t i = 0; i < 15; i++) {
		struct io_uring_zcrx_rqe rqe;

		REQUIRE(zcrx_rq_available(rq) == 1);
		rqe = zcrx_rq_take(rq);
		zcrx_rq_release(rq);
		CHECK_EQ(user.queue->intents[i], meant[i % 3]);
		CHECK_EQ(rqe.__pad != 0, i % 3 == 0);
		CHECK_EQ(rqe.off >> 48 != 0, i % 3 == 1);
		CHECK_EQ((rqe.off & ~IORING_ZCRX_AREA_MASK) >> 12, i / 3);
		zcrx_consumer_flush(user.consumer);
	}
	CHECK_EQ(zcrx_rq_available(rq), 0);
	CHECK_EQ(NOTES(&user, injected[0]), 5);
	CHECK_EQ(NOTES(&user, injected[1]), 5);
	user_free(&user);
}

/* ---- the loop ----------------------------------------------------------------------------- */

/* The NIC sees no room in it, so there will be nothing to read: nobody else puts it right. */
static void a_scribbled_completion_head_is_put_right_by_an_idle_consumer(void)
{
	const struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_CQ_HEAD_SCRIBBLE, 0);
	struct zcrx_shape shape = small_shape();
	struct zcrx_fragment fragment;
	struct user user;
	uint32_t read;

	user_init(&user, &shape, &plain, &rule, 1);
	send_plain(&user, 3, 0);
	take_and_give_back(&user);
	read = shape.initial_index + 1;
	CHECK(word_of(user.queue->cq.head) != read);
	CHECK_EQ(zcrx_consumer_take(user.consumer, &fragment, 1), 0);
	CHECK_EQ(word_of(user.queue->cq.head), read);
	user_free(&user);
}

static void the_loop_ends_when_it_is_asked_and_has_read_everything(void)
{
	struct user user;

	user_init_plain(&user, ZCRX_VERIFY_CRC);
	CHECK_EQ(zcrx_consumer_run(user.consumer, 0), 0); /* nothing to do, nobody asked */
	send_plain(&user, 1, 0);
	CHECK(!zcrx_consumer_should_stop(user.consumer));
	zcrx_queue_stop_consumer(user.queue);
	CHECK(zcrx_consumer_should_stop(user.consumer));
	CHECK_EQ(zcrx_consumer_run(user.consumer, 1000), 1);
	CHECK_EQ(NOTES(&user, fragments), 1);
	CHECK_EQ(taken_niov(&user), 1);
	user_free(&user);
}

static void the_loop_ends_after_as_many_flows_as_asked_for(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;
	struct user user;

	params.stop_at_end = 2;
	user_init(&user, &shape, &params, NULL, 0);
	send(&user, &(struct sent){.is_end = true});
	CHECK_EQ(zcrx_consumer_run(user.consumer, 0), 0);
	send(&user, &(struct sent){.flow = 1, .is_end = true});
	CHECK_EQ(zcrx_consumer_run(user.consumer, 1000), 1);
	user_free(&user);
}

static void waiting_ends_at_once_when_there_is_something(void)
{
	struct user user;
	uint64_t start = check_now_ns();

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	send_plain(&user, 0, 0);
	zcrx_consumer_wait(user.consumer, 60000000);
	take_and_give_back(&user);
	zcrx_queue_stop_consumer(user.queue);
	zcrx_consumer_wait(user.consumer, 60000000);
	CHECK(check_now_ns() - start < UINT64_C(60000000000));
	user_free(&user);
}

static void the_payload_is_written_out_in_order(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;
	uint8_t expected[8 * 64], got[8 * 64 + 1];
	struct user user;
	int ends[2];

	REQUIRE(pipe(ends) == 0);
	params.output_fd = ends[1];
	user_init(&user, &shape, &params, NULL, 0);
	for (uint32_t seq = 0; seq < 8; seq++) {
		uint32_t niov = (seq * 5 + 3) % 8;

		memset(bytes_of(&user, niov), (int)(0x10 + seq), 64);
		memset(expected + 64 * seq, (int)(0x10 + seq), 64);
		send_plain(&user, niov, seq);
	}
	send(&user, &(struct sent){.is_end = true});
	zcrx_queue_stop_consumer(user.queue);
	CHECK_EQ(zcrx_consumer_run(user.consumer, 1000), 1);
	close(ends[1]);
	CHECK_EQ(read(ends[0], got, sizeof(got)), sizeof(expected));
	CHECK_BYTES(got, expected, sizeof(expected));
	close(ends[0]);
	user_free(&user);
}

static void a_closed_output_ends_the_loop_with_its_error(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_consumer_params params = plain;
	struct user user;
	int ends[2];

	REQUIRE(pipe(ends) == 0);
	signal(SIGPIPE, SIG_IGN);
	close(ends[0]);
	params.output_fd = ends[1];
	user_init(&user, &shape, &params, NULL, 0);
	send_plain(&user, 0, 0);
	CHECK_EQ(zcrx_consumer_run(user.consumer, 1000), -EPIPE);
	close(ends[1]);
	user_free(&user);
}

/* ---- life ------------------------------------------------------------------------------- */

/* The second user of a queue meets flows in their middle, and goes on in the intent log. */
static void a_new_consumer_takes_over_in_the_middle_of_the_flows(void)
{
	struct zcrx_consumer_params params = plain;
	struct user user;

	user_init_plain(&user, ZCRX_VERIFY_NONE);
	for (uint32_t seq = 0; seq < 5; seq++)
		send_plain(&user, seq, seq);
	take_and_give_back(&user);
	zcrx_consumer_free(user.consumer);
	for (uint32_t niov = 0; niov < 5; niov++)
		CHECK_EQ(taken_niov(&user), niov);
	params.position = 5;
	user.consumer = zcrx_consumer_new(&user.shape, 0, &user.memory.mapping, &params, NULL, 0);
	REQUIRE(user.consumer);
	memset(user.queue->intents, 0xee, 2 * user.shape.log_entries);
	send_plain(&user, 6, 9);
	send_plain(&user, 7, 11);
	take_and_give_back(&user);
	CHECK_EQ(NOTES(&user, order_gaps), 1);
	CHECK_EQ(NOTES(&user, order_errors), 0);
	CHECK_EQ(taken_niov(&user), 6);
	CHECK_EQ(NOTES(&user, rqe_valid), 7);
	CHECK_BYTES(user.queue->intents + 4,
		    ((uint16_t[]){0xeeee, valid_return, valid_return, 0xeeee}), 8);
	user_free(&user);
}

/*
 * The rings stand where the header says and not where the consumer's own shape
 * would put them: completions, returns and both faults that write to an index
 * word must find them there.
 */
static void rings_are_found_through_the_header_alone(void)
{
	const struct zcrx_fault_rule rules[] = {rule_at(ZCRX_FAULT_CQ_HEAD_SCRIBBLE, 5),
						rule_at(ZCRX_FAULT_HEAD_SCRIBBLE, 5)};

	for (uint32_t layout = 1; layout <= 32; layout++) {
		struct zcrx_shape shape = small_shape();
		struct zcrx_mapping mapping;
		struct zcrx_sizes sizes;
		struct user user = {0};

		shape.ring_layout = layout;
		user.shape = shape;
		queue_memory_init(&user.memory, &shape);
		user.queue = &user.memory.queue;
		REQUIRE(zcrx_layout_sizes(&shape, &sizes) == 0);
		memset(user.memory.mapping.rings, 0x5a, sizes.rings);
		zcrx_queue_format_objects(user.queue);
		mapping = user.memory.mapping;
		mapping.kern = mapping.run = NULL;
		shape.ring_layout = 0;
		user.consumer = zcrx_consumer_new(&shape, 0, &mapping, &plain, rules, 2);
		REQUIRE(user.consumer);
		CHECK_EQ(take_and_give_back(&user), 0);
		for (uint32_t seq = 0; seq < 6; seq++)
			send_plain(&user, seq, seq);
		CHECK_EQ(take_and_give_back(&user), 6);
		/* The sixth return came with nonsense in both head words, and in no other. */
		CHECK(word_of(user.queue->cq.head) != shape.initial_index + 6);
		CHECK(word_of(user.queue->ifq.rq.head) != shape.initial_index);
		CHECK_EQ(word_of(user.queue->cq.tail), shape.initial_index + 6);
		CHECK_EQ(word_of(user.queue->ifq.rq.tail), shape.initial_index + 6);
		for (uint32_t niov = 0; niov < 6; niov++)
			CHECK_EQ(taken_niov(&user), niov);
		CHECK_EQ(zcrx_rq_available(&user.queue->ifq.rq), 0);
		CHECK_EQ(NOTES(&user, bad_completions), 0);
		user_free(&user);
	}
}

static void impossible_consumers_are_refused(void)
{
	const struct zcrx_fault_rule rule = rule_likely(ZCRX_FAULT_BAD_PAD, 1.5);
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;

	queue_memory_init(&memory, &shape);
	CHECK(!zcrx_consumer_new(&shape, 0, &memory.mapping, &plain, &rule, 1));
	CHECK(!zcrx_consumer_new(&shape, ZCRX_QUEUES_MAX, &memory.mapping, &plain, NULL, 0));
	shape.num_niovs = 0;
	CHECK(!zcrx_consumer_new(&shape, 0, &memory.mapping, &plain, NULL, 0));
	zcrx_consumer_free(NULL);
	queue_memory_free(&memory);
}

CHECK_MAIN(CASE(a_fragment_arrives_as_it_was_sent), CASE(no_more_are_taken_than_asked_for),
	   CASE(bytes_that_are_not_what_was_sent_are_found),
	   CASE(bytes_that_change_while_they_are_held_are_found_on_return),
	   CASE(gaps_are_counted_and_steps_back_are_errors),
	   CASE(a_flow_that_starts_late_has_a_gap_at_its_start),
	   CASE(a_copy_is_found_and_is_no_step_back), CASE(a_copy_of_what_never_came_is_an_error),
	   CASE(a_copy_that_is_not_marked_is_an_error), CASE(bytes_of_a_copy_are_checked_like_any),
	   CASE(a_late_fragment_closes_its_gap),
	   CASE(a_late_fragment_may_be_in_the_order_of_its_flow),
	   CASE(a_gap_that_was_not_counted_is_not_closed), CASE(what_was_cut_short_is_found_once),
	   CASE(a_buffer_filled_again_while_it_is_held_is_found),
	   CASE(completions_that_cannot_be_are_counted_and_dropped),
	   CASE(a_flow_beyond_the_table_is_counted), CASE(the_end_of_a_flow_brings_no_buffer),
	   CASE(fragments_go_back_in_the_order_asked_for),
	   CASE(a_shuffle_returns_each_once_and_follows_its_seed),
	   CASE(returns_that_find_the_ring_full_wait_and_lose_nothing),
	   CASE(the_user_never_runs_ahead_of_the_reconciler),
	   CASE(malformed_entries_stand_before_the_valid_one_with_their_intents),
	   CASE(faults_are_not_lost_when_the_ring_is_full_between_them),
	   CASE(a_scribbled_completion_head_is_put_right_by_an_idle_consumer),
	   CASE(the_loop_ends_when_it_is_asked_and_has_read_everything),
	   CASE(the_loop_ends_after_as_many_flows_as_asked_for),
	   CASE(waiting_ends_at_once_when_there_is_something),
	   CASE(the_payload_is_written_out_in_order),
	   CASE(a_closed_output_ends_the_loop_with_its_error),
	   CASE(rings_are_found_through_the_header_alone),
	   CASE(a_new_consumer_takes_over_in_the_middle_of_the_flows),
	   CASE(impossible_consumers_are_refused))
