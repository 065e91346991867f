/* SPDX-License-Identifier: MIT */
/*
 * The observer of a consumer that writes its rings itself: whose mistake a failed return is,
 * by what NIC and provider have witnessed, and what a right consumer may do without a word.
 * The test stands in the place of both, and of the consumer.
 */
#include "judge/legal.h"
#include "judge/reconcile.h"
#include "lib/zcrx_emu.h"
#include "queue_memory.h"
#include "raw/observer.h"

#include <stdio.h>
#include <stdlib.h>

#define LENGTH 100U

struct desk {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_observer *observer;
	struct zcrx_reconciler reconciler;
	uint64_t seen; /* fragments whose completions the consumer has read */
};

static void desk_init(struct desk *desk, enum zcrx_kernel_level level)
{
	struct zcrx_shape shape = small_shape();

	memset(desk, 0, sizeof(*desk));
	shape.is_witnessed = 1;
	shape.contract.level = level;
	queue_memory_init(&desk->memory, &shape);
	desk->queue = &desk->memory.queue;
	desk->observer = zcrx_observer_new(desk->queue, true);
	REQUIRE(desk->observer);
	REQUIRE(zcrx_reconciler_init(&desk->reconciler, shape.num_niovs) == 0);
}

static void desk_free(struct desk *desk)
{
	zcrx_reconciler_destroy(&desk->reconciler);
	zcrx_observer_free(desk->observer);
	queue_memory_free(&desk->memory);
}

static uint64_t judged(const struct desk *desk)
{
	return count_of(&desk->queue->ifq.shared->consumed);
}

/* The NIC delivers a fragment; the consumer has not seen it yet. */
static void delivery(struct desk *desk, uint32_t niov, uint32_t at, bool is_first)
{
	struct zcrx_queue *queue = desk->queue;

	zcrx_witness_note(&queue->witness, &(struct zcrx_delivery){
						   .judged = judged(desk),
						   .niov = niov,
						   .at = at,
						   .length = LENGTH,
						   .tail = word_of(queue->ifq.rq.tail),
						   .is_first = is_first,
					   });
	zcrx_witness_publish(&queue->witness);
}

static void delivery_seen(struct desk *desk, uint32_t niov, uint32_t at, bool is_first)
{
	delivery(desk, niov, at, is_first);
	desk->seen = zcrx_witness_delivered(&desk->queue->witness);
}

/* The consumer writes an entry, and the provider says what it earned. */
static void entry(struct desk *desk, uint64_t off, uint32_t pad, uint8_t verdict)
{
	struct zcrx_queue *queue = desk->queue;
	uint64_t position = judged(desk);
	uint64_t slot = position & (queue->shape.log_entries - 1);

	zcrx_witness_note_entry(&queue->witness, position,
				(struct io_uring_zcrx_rqe){.off = off, .len = LENGTH, .__pad = pad},
				desk->seen);
	queue->ifq.niov_log[slot] = (uint16_t)(off >> queue->shape.niov_shift);
	shm_log_put(queue->ifq.verdict_log, slot, verdict);
	shm_store_relaxed_u32(queue->ifq.rq.tail, word_of(queue->ifq.rq.tail) + 1,
			      POINT_RQ_TAIL_STORE);
	shm_store_relaxed_u32(queue->ifq.rq.head, word_of(queue->ifq.rq.head) + 1,
			      POINT_RQ_HEAD_STORE);
	shm_store_relaxed_u32(&queue->ifq.shared->cached_rq_head, word_of(queue->ifq.rq.head),
			      POINT_RQ_HEAD_STORE);
	shm_store_release_u64(&queue->ifq.shared->consumed, position + 1, POINT_LOG);
}

static uint64_t of(uint32_t niov, uint32_t at)
{
	return ((uint64_t)niov << 12) + at;
}

/* Look, and reconcile what that says; mismatches so far. */
static uint64_t look(struct desk *desk)
{
	zcrx_observer_step(desk->observer);
	zcrx_reconcile(&desk->reconciler, desk->queue);
	return desk->reconciler.mismatch_count;
}

/* Reports of a kind; -1 if there is any of another kind. */
static int only(const struct desk *desk, uint32_t kind)
{
	size_t size = zcrx_observer_json(desk->observer, NULL, 0) + 1;
	char *text = malloc(size), wanted[64];
	const char *found;
	int count;

	REQUIRE(text);
	zcrx_observer_json(desk->observer, text, size);
	snprintf(wanted, sizeof(wanted), "\"%s\": ", zcrx_emu_kind_name(kind));
	found = strstr(text, wanted);
	REQUIRE(found);
	count = atoi(found + strlen(wanted));
	free(text);
	return (uint64_t)count == zcrx_observer_reports(desk->observer) ? count : -1;
}

static void right_returns_are_dues_and_nothing_is_said(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	delivery_seen(&desk, 3, 128, false);
	entry(&desk, of(3, 128), 0, ZCRX_STILL_REFERENCED);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	CHECK_EQ(shm_load_relaxed_u16(&desk.queue->dues[0], POINT_LOG), ZCRX_DUE(3));
	CHECK_EQ(shm_load_relaxed_u16(&desk.queue->dues[1], POINT_LOG), ZCRX_DUE(3));
	CHECK_EQ(desk.reconciler.checked, 2);
	desk_free(&desk);
}

/* Delivered, returned, granted and delivered again, and only then looked at. */
static void both_logs_are_read_in_the_order_that_they_have(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	for (uint32_t round = 0; round < 200; round++) {
		delivery_seen(&desk, round % 8, 0, true);
		delivery_seen(&desk, round % 8, 128, false);
		entry(&desk, of(round % 8, 0), 0, ZCRX_STILL_REFERENCED);
		entry(&desk, of(round % 8, 128), 0, ZCRX_ACCEPTED);
		if (round % 50 == 49)
			CHECK_EQ(look(&desk), 0);
	}
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	CHECK_EQ(zcrx_observer_out(desk.observer, (char[64]){0}, 64), 0);
	CHECK_EQ(desk.reconciler.table[ZCRX_INTENT_VALID][ZCRX_ACCEPTED], 200);
	desk_free(&desk);
}

static void malformed_entries_are_reported_and_reconciled(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	entry(&desk, of(3, 0), 1, ZCRX_BAD_PAD);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_BAD_PAD), 1);
	CHECK_EQ(count_of(&desk.queue->notes->own_strays), 1);
	/* A provider that takes one is wrong, whatever its writer is. */
	entry(&desk, of(3, 0), 1, ZCRX_ACCEPTED);
	CHECK_EQ(look(&desk), 1);
	/* So is one whose verdict is none. */
	entry(&desk, of(3, 0), 0, 7);
	CHECK_EQ(look(&desk), 2);
	CHECK_EQ(only(&desk, ZCRX_EMU_BAD_PAD), 1);
	desk_free(&desk);
}

/* Its bytes prove it, whatever becomes of its reference. */
static void alias_is_said_once_although_a_scrub_excuses_the_rest(void)
{
	const uint64_t far = UINT64_C(1) << 45;
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	for (uint32_t niov = 2; niov < 6; niov++)
		delivery_seen(&desk, niov, 0, true);
	entry(&desk, of(2, 0) | far, 0, ZCRX_ACCEPTED | ZCRX_LOG_ALIAS);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_ALIAS), 1);
	zcrx_observer_scrub_begin(desk.observer);
	entry(&desk, of(3, 0) | far, 0, ZCRX_ACCEPTED | ZCRX_LOG_ALIAS);
	entry(&desk, of(4, 0) | far, 0, ZCRX_NO_USER_REF | ZCRX_LOG_ALIAS);
	zcrx_observer_scrub_end(desk.observer);
	CHECK_EQ(only(&desk, ZCRX_EMU_ALIAS), 3);
	entry(&desk, of(5, 0) | far, 0, ZCRX_NO_USER_REF | ZCRX_LOG_ALIAS);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_ALIAS), 4);
	desk_free(&desk);
}

static void alias_is_the_consumers_where_the_rejection_is_the_providers(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0) | UINT64_C(1) << 45, 0, ZCRX_NO_USER_REF | ZCRX_LOG_ALIAS);
	CHECK_EQ(look(&desk), 1);
	CHECK_EQ(only(&desk, ZCRX_EMU_ALIAS), 1);
	desk_free(&desk);
}

/* A provider of somebody else's says so of an entry whose bytes do not. */
static void alias_is_no_matter_of_the_providers_word(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED | ZCRX_LOG_ALIAS);
	look(&desk);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	desk_free(&desk);
}

static void entry_before_any_delivery_primes_the_ring(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_PRIMED), 1);
	desk_free(&desk);
}

static void return_of_what_was_not_given_is_the_consumers(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 2, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_NEVER_GIVEN), 1);
	desk_free(&desk);
}

static void second_return_is_the_consumers(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_TWICE), 1);
	desk_free(&desk);
}

/* The buffer comes again while the second return is on its way: its writer had not seen that. */
static void second_return_is_the_consumers_although_the_buffer_comes_again(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED);
	delivery(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_TWICE), 1);
	desk_free(&desk);
}

static void rejected_good_return_is_the_providers(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 1);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	CHECK_EQ(desk.reconciler.mismatches[0].why, ZCRX_WHY_ILLEGAL);
	desk_free(&desk);
}

static void reference_that_nobody_gave_is_not_put_down_to_the_consumer(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED);
	look(&desk);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	desk_free(&desk);
}

/* 7.3: two entries in a row and one fragment: none is taken, and one was too many. */
static void row_that_is_too_long_is_the_consumers(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_7_3);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	entry(&desk, of(4, 0), 1, ZCRX_BAD_PAD);
	delivery_seen(&desk, 5, 0, true);
	entry(&desk, of(5, 0), 0, ZCRX_ACCEPTED);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 2); /* twice, bad-pad */
	CHECK_EQ(zcrx_observer_out(desk.observer, (char[64]){0}, 64), 1);
	desk_free(&desk);
}

static void row_of_what_is_out_must_not_fail(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_7_3);
	delivery_seen(&desk, 3, 0, true);
	delivery_seen(&desk, 3, 128, false);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	entry(&desk, of(3, 128), 0, ZCRX_NO_USER_REF);
	delivery_seen(&desk, 5, 0, true);
	entry(&desk, of(5, 0), 0, ZCRX_ACCEPTED);
	CHECK_EQ(look(&desk), 1);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	desk_free(&desk);
}

static void what_a_scrub_took_is_given_back_in_vain_and_in_silence(void)
{
	struct desk desk;
	char text[128] = "";

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	delivery_seen(&desk, 4, 0, true);
	look(&desk);
	zcrx_observer_scrub_begin(desk.observer);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF); /* while it is at work */
	zcrx_observer_scrub_end(desk.observer);
	CHECK_EQ(zcrx_observer_out(desk.observer, text, sizeof(text)), 1);
	CHECK(strstr(text, "buffer 4"));
	entry(&desk, of(4, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	/* From there on it is as before. */
	entry(&desk, of(4, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_TWICE), 1);
	desk_free(&desk);
}

static void new_user_has_nothing_of_the_last_one(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	look(&desk);
	zcrx_observer_user_gone(desk.observer);
	CHECK_EQ(zcrx_observer_out(desk.observer, (char[64]){0}, 64), 0);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(only(&desk, ZCRX_EMU_PRIMED), 1);
	desk_free(&desk);
}

/* The NIC delivers to a new user as soon as there is one, before that has begun. */
static void what_comes_before_a_new_user_has_begun_is_its_own(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	zcrx_observer_user_gone(desk.observer);
	delivery_seen(&desk, 4, 0, true);
	look(&desk);
	zcrx_observer_new_user(desk.observer);
	entry(&desk, of(4, 0), 0, ZCRX_ACCEPTED);
	CHECK_EQ(look(&desk), 0);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	CHECK_EQ(zcrx_observer_out(desk.observer, (char[64]){0}, 64), 0);
	desk_free(&desk);
}

/* ---- the rings' words --------------------------------------------------------------- */

static void set(shm_u32 *word, uint32_t value)
{
	shm_store_relaxed_u32(word, value, POINT_RQ_TAIL_STORE);
}

static void tail_that_moves_back_is_seen(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	delivery_seen(&desk, 3, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED);
	look(&desk);
	set(desk.queue->ifq.rq.tail, word_of(desk.queue->ifq.rq.tail) - 1);
	look(&desk);
	CHECK_EQ(only(&desk, ZCRX_EMU_TAIL_BACK), 1);
	look(&desk); /* said once */
	CHECK_EQ(only(&desk, ZCRX_EMU_TAIL_BACK), 1);
	desk_free(&desk);
}

static void full_ring_is_right_and_one_entry_more_is_not(void)
{
	struct desk desk;
	uint32_t start;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	start = word_of(desk.queue->ifq.rq.tail);
	set(desk.queue->ifq.rq.tail, start + desk.queue->shape.rq_entries);
	look(&desk);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	/* The head is published before it is counted: the room is there. */
	set(desk.queue->ifq.rq.head, start + 2);
	set(desk.queue->ifq.rq.tail, start + 2 + desk.queue->shape.rq_entries);
	look(&desk);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	set(desk.queue->ifq.rq.tail, start + 3 + desk.queue->shape.rq_entries);
	look(&desk);
	CHECK_EQ(only(&desk, ZCRX_EMU_RING_OVERRUN), 1);
	desk_free(&desk);
}

static void written_head_is_seen(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	set(desk.queue->ifq.rq.head, word_of(desk.queue->ifq.rq.head) - 1);
	look(&desk);
	CHECK_EQ(only(&desk, ZCRX_EMU_HEAD_WRITTEN), 1);
	desk_free(&desk);
}

static void completion_queue_is_not_read_beyond_its_tail(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	set(desk.queue->cq.head, word_of(desk.queue->cq.tail) + 1);
	look(&desk);
	CHECK_EQ(only(&desk, ZCRX_EMU_CQ_HEAD), 1);
	desk_free(&desk);
}

/* A user is being changed: the provider resets the words itself. */
static void words_of_a_user_who_is_gone_are_not_looked_at(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	set(&desk.queue->user->provider, 0);
	zcrx_observer_user_gone(desk.observer);
	set(desk.queue->ifq.rq.tail, word_of(desk.queue->ifq.rq.tail) - 1);
	look(&desk);
	set(&desk.queue->user->wanted, 2);
	set(&desk.queue->user->provider, 2);
	look(&desk);
	zcrx_observer_new_user(desk.observer);
	look(&desk);
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	desk_free(&desk);
}

/* ---- out of sight ---------------------------------------------------------------------- */

static void deliveries_that_were_overwritten_prove_nothing(void)
{
	struct desk desk;

	desk_init(&desk, ZCRX_LEVEL_SEED);
	for (uint32_t i = 0; i <= desk.queue->shape.log_entries; i++)
		delivery_seen(&desk, i % 8, 0, true);
	entry(&desk, of(3, 0), 0, ZCRX_ACCEPTED);
	entry(&desk, of(3, 0), 0, ZCRX_NO_USER_REF);
	CHECK_EQ(look(&desk), 0);
	CHECK(zcrx_observer_is_blind(desk.observer));
	CHECK_EQ(zcrx_observer_reports(desk.observer), 0);
	/* Of what the bytes decide it is sure all the same. */
	entry(&desk, of(3, 0), 1, ZCRX_ACCEPTED);
	CHECK_EQ(look(&desk), 1);
	desk_free(&desk);
}

CHECK_MAIN(CASE(right_returns_are_dues_and_nothing_is_said),
	   CASE(both_logs_are_read_in_the_order_that_they_have),
	   CASE(malformed_entries_are_reported_and_reconciled),
	   CASE(alias_is_said_once_although_a_scrub_excuses_the_rest),
	   CASE(alias_is_the_consumers_where_the_rejection_is_the_providers),
	   CASE(alias_is_no_matter_of_the_providers_word),
	   CASE(entry_before_any_delivery_primes_the_ring),
	   CASE(return_of_what_was_not_given_is_the_consumers),
	   CASE(second_return_is_the_consumers),
	   CASE(second_return_is_the_consumers_although_the_buffer_comes_again),
	   CASE(rejected_good_return_is_the_providers),
	   CASE(reference_that_nobody_gave_is_not_put_down_to_the_consumer),
	   CASE(row_that_is_too_long_is_the_consumers), CASE(row_of_what_is_out_must_not_fail),
	   CASE(what_a_scrub_took_is_given_back_in_vain_and_in_silence),
	   CASE(new_user_has_nothing_of_the_last_one),
	   CASE(what_comes_before_a_new_user_has_begun_is_its_own),
	   CASE(tail_that_moves_back_is_seen), CASE(full_ring_is_right_and_one_entry_more_is_not),
	   CASE(written_head_is_seen), CASE(completion_queue_is_not_read_beyond_its_tail),
	   CASE(words_of_a_user_who_is_gone_are_not_looked_at),
	   CASE(deliveries_that_were_overwritten_prove_nothing))
