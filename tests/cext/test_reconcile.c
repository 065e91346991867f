/* SPDX-License-Identifier: MIT */
/*
 * Reconciliation must find what is wrong: a verdict that its intent does not
 * allow, entries that nobody looked at in time, and only the excuse that a
 * scrub really gives.
 */
#include "fault.h"
#include "queue_memory.h"
#include "reconcile.h"

#define RULE 1U
#define MAY(verdict) (UINT32_C(1) << (verdict))
#define RETURN (MAY(ZCRX_ACCEPTED) | MAY(ZCRX_STILL_REFERENCED) | MAY(ZCRX_OTHER_POOL))

static const uint16_t valid = ZCRX_INTENT(ZCRX_INTENT_VALID, RETURN);
static const uint16_t bad_pad = ZCRX_INTENT(RULE, MAY(ZCRX_BAD_PAD));

struct desk {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_reconciler reconciler;
	uint64_t written;
};

static void desk_init(struct desk *desk, uint32_t log_entries)
{
	struct zcrx_shape shape = small_shape();

	memset(desk, 0, sizeof(*desk));
	shape.log_entries = log_entries;
	queue_memory_init(&desk->memory, &shape);
	desk->queue = &desk->memory.queue;
	desk->reconciler.scrubbed_from = desk->reconciler.scrubbed_until = UINT64_MAX;
}

static void desk_free(struct desk *desk)
{
	queue_memory_free(&desk->memory);
}

/* The user meant `intent`, the provider logged `verdict`. */
static void consume(struct desk *desk, uint16_t intent, uint8_t verdict)
{
	uint64_t slot = desk->written++ & (desk->queue->shape.log_entries - 1);

	desk->queue->intents[slot] = intent;
	shm_store_release_u64(&desk->queue->lab->written, desk->written, POINT_LOG);
	shm_log_put(desk->queue->ifq.verdict_log, slot, verdict);
	shm_store_release_u64(&desk->queue->ifq.shared->consumed, desk->written, POINT_LOG);
}

static uint64_t reconcile(struct desk *desk)
{
	return zcrx_reconcile(&desk->reconciler, desk->queue);
}

static void what_must_be_is_tabulated_without_complaint(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	CHECK_EQ(reconcile(&desk), 0);
	consume(&desk, valid, ZCRX_ACCEPTED);
	consume(&desk, bad_pad, ZCRX_BAD_PAD);
	consume(&desk, valid, ZCRX_STILL_REFERENCED);
	CHECK_EQ(reconcile(&desk), 3);
	consume(&desk, valid, ZCRX_OTHER_POOL);
	consume(&desk, valid, ZCRX_ACCEPTED);
	CHECK_EQ(reconcile(&desk), 2);
	CHECK_EQ(reconcile(&desk), 0);
	CHECK_EQ(desk.reconciler.mismatch_count, 0);
	CHECK_EQ(desk.reconciler.table[ZCRX_INTENT_VALID][ZCRX_ACCEPTED], 2);
	CHECK_EQ(desk.reconciler.table[ZCRX_INTENT_VALID][ZCRX_STILL_REFERENCED], 1);
	CHECK_EQ(desk.reconciler.table[RULE][ZCRX_BAD_PAD], 1);
	CHECK_EQ(desk.reconciler.table[RULE][ZCRX_ACCEPTED], 0);
	CHECK_EQ(count_of(&desk.queue->lab->checked), 5); /* the user may write on */
	desk_free(&desk);
}

/* What the whole chain writes down by itself: RQEs through a real refill. */
static void a_real_refill_reconciles(void)
{
	struct desk desk;
	struct zcrx_rq_user user;
	struct zcrx_page_pool *pool;
	int64_t niov;

	desk_init(&desk, 64);
	user = user_of(desk.queue);
	pool = zcrx_ifq_pool(&desk.queue->ifq);
	niov = zcrx_pp_alloc(pool);
	deliver(desk.queue, (uint32_t)niov, 1);
	desk.queue->intents[0] = bad_pad;
	zcrx_rq_user_put(&user, 0, 0, 9);
	desk.queue->intents[1] = valid;
	shm_store_release_u64(&desk.queue->lab->written, 2, POINT_LOG);
	zcrx_rq_user_put(&user, (uint64_t)niov << 12 | UINT64_C(1) << 44, 0, 0);
	zcrx_rq_user_publish(&user);
	CHECK_EQ(zcrx_ifq_refill_ring(&desk.queue->ifq, pool), 2);
	CHECK_EQ(reconcile(&desk), 2);
	CHECK_EQ(desk.reconciler.mismatch_count, 0);
	CHECK_EQ(desk.reconciler.aliases, 1);
	desk_free(&desk);
}

static void a_wrong_verdict_is_found_with_its_ring_index(void)
{
	struct desk desk;
	const struct zcrx_mismatch *found = desk.reconciler.mismatches;

	desk_init(&desk, 64);
	for (uint32_t i = 0; i < 10; i++)
		consume(&desk, valid, ZCRX_ACCEPTED);
	consume(&desk, bad_pad, ZCRX_ACCEPTED);
	consume(&desk, valid, ZCRX_BAD_INDEX | ZCRX_LOG_ALIAS);
	consume(&desk, bad_pad, ZCRX_BAD_AREA);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 3);
	CHECK_EQ(found[0].position, 10);
	CHECK_EQ(found[0].index, 4); /* from 2^32 - 6 on */
	CHECK_EQ(found[0].intent, bad_pad);
	CHECK_EQ(found[0].verdict, ZCRX_ACCEPTED);
	CHECK_EQ(found[1].position, 11);
	CHECK_EQ(found[1].verdict, ZCRX_BAD_INDEX | ZCRX_LOG_ALIAS);
	CHECK_EQ(found[1].intent, valid);
	CHECK_EQ(found[2].verdict, ZCRX_BAD_AREA);
	CHECK_EQ(desk.reconciler.wrong[RULE], 2);
	CHECK_EQ(desk.reconciler.wrong[ZCRX_INTENT_VALID], 1);
	CHECK_EQ(desk.reconciler.wrong[RULE + 1], 0);
	CHECK_EQ(desk.reconciler.aliases, 1);
	desk_free(&desk);
}

/* The lab is the user's to write: an intent can be any two bytes. */
static void an_intent_that_no_rule_has_is_a_mismatch(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	consume(&desk, ZCRX_INTENT(ZCRX_RULES_MAX + 1, 0xff), ZCRX_ACCEPTED);
	consume(&desk, UINT16_MAX, ZCRX_BAD_PAD);
	consume(&desk, ZCRX_RULES_MAX, ZCRX_ACCEPTED); /* the last rule, and nothing is legal */
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 3);
	CHECK_EQ(desk.reconciler.mismatches[1].intent, UINT16_MAX);
	CHECK_EQ(desk.reconciler.wrong[ZCRX_RULES_MAX], 1);
	desk_free(&desk);
}

/* Each entry has its own set, whichever rule wrote it. */
static void every_verdict_is_legal_exactly_where_the_intent_says_so(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	for (uint32_t allowed = 0; allowed < ZCRX_VERDICT_COUNT; allowed++) {
		for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++) {
			uint64_t before = desk.reconciler.mismatch_count;

			consume(&desk, ZCRX_INTENT(RULE, MAY(allowed)), (uint8_t)verdict);
			consume(&desk, ZCRX_INTENT(RULE, 0xff & ~MAY(allowed)), (uint8_t)verdict);
			reconcile(&desk);
			CHECK_EQ(desk.reconciler.mismatch_count - before, 1);
		}
	}
	desk_free(&desk);
}

static void all_mismatches_are_counted_and_the_first_are_kept(void)
{
	struct desk desk;

	desk_init(&desk, 256);
	for (uint32_t i = 0; i < ZCRX_MISMATCHES_MAX + 10; i++)
		consume(&desk, bad_pad, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, ZCRX_MISMATCHES_MAX + 10);
	CHECK_EQ(desk.reconciler.mismatches[ZCRX_MISMATCHES_MAX - 1].position,
		 ZCRX_MISMATCHES_MAX - 1);
	desk_free(&desk);
}

static void entries_overwritten_before_they_were_compared_are_lost(void)
{
	struct desk desk;

	desk_init(&desk, 16);
	consume(&desk, valid, ZCRX_ACCEPTED);
	reconcile(&desk);
	for (uint32_t i = 0; i < 16; i++)
		consume(&desk, valid, ZCRX_ACCEPTED);
	CHECK_EQ(reconcile(&desk), 16);
	CHECK_EQ(desk.reconciler.lost, 0); /* exactly one log full */
	for (uint32_t i = 0; i < 21; i++)
		consume(&desk, valid, ZCRX_ACCEPTED);
	CHECK_EQ(reconcile(&desk), 21);
	CHECK_EQ(desk.reconciler.lost, 5);
	CHECK_EQ(desk.reconciler.table[ZCRX_INTENT_VALID][ZCRX_ACCEPTED], 1 + 16 + 16);
	CHECK_EQ(desk.reconciler.checked, 38);
	desk_free(&desk);
}

static void a_valid_entry_may_find_nothing_only_after_the_scrub(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	consume(&desk, valid, ZCRX_ACCEPTED);
	consume(&desk, valid, ZCRX_NO_USER_REF); /* before it: a buffer is gone */
	consume(&desk, valid, ZCRX_NO_USER_REF);
	consume(&desk, valid, ZCRX_ACCEPTED);
	desk.reconciler.scrubbed_from = 2;
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	CHECK_EQ(desk.reconciler.mismatches[0].position, 1);
	CHECK_EQ(desk.reconciler.after_scrub, 1);
	CHECK_EQ(desk.reconciler.wrong[ZCRX_INTENT_VALID], 1);
	desk_free(&desk);
}

static void a_scrub_excuses_nothing_else(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	desk.reconciler.scrubbed_from = 0;
	consume(&desk, valid, ZCRX_BAD_PAD);
	consume(&desk, valid, ZCRX_BAD_INDEX);
	consume(&desk, bad_pad, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 3);
	CHECK_EQ(desk.reconciler.after_scrub, 0);
	desk_free(&desk);
}

CHECK_MAIN(CASE(what_must_be_is_tabulated_without_complaint), CASE(a_real_refill_reconciles),
	   CASE(a_wrong_verdict_is_found_with_its_ring_index),
	   CASE(an_intent_that_no_rule_has_is_a_mismatch),
	   CASE(every_verdict_is_legal_exactly_where_the_intent_says_so),
	   CASE(all_mismatches_are_counted_and_the_first_are_kept),
	   CASE(entries_overwritten_before_they_were_compared_are_lost),
	   CASE(a_valid_entry_may_find_nothing_only_after_the_scrub),
	   CASE(a_scrub_excuses_nothing_else))
