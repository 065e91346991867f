/* SPDX-License-Identifier: MIT */
/*
 * Reconciliation must find what is wrong: a verdict that its intent does not
 * allow, entries that nobody looked at in time, returns that find nothing more
 * often than something took their reference, references that do not add up.
 */
#include "faults/fault.h"
#include "queue_memory.h"
#include "judge/reconcile.h"

#define RULE 1U
#define MAY(verdict) (UINT32_C(1) << (verdict))
#define ROBBED (RETURN | MAY(ZCRX_NO_USER_REF))
#define RETURN (MAY(ZCRX_ACCEPTED) | MAY(ZCRX_STILL_REFERENCED) | MAY(ZCRX_OTHER_POOL))

static const uint16_t valid = ZCRX_INTENT(ZCRX_INTENT_VALID, RETURN);
static const uint16_t unsure = ZCRX_INTENT(ZCRX_INTENT_VALID, ROBBED);
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
	REQUIRE(zcrx_reconciler_init(&desk->reconciler, shape.num_niovs) == 0);
}

static void desk_free(struct desk *desk)
{
	zcrx_reconciler_destroy(&desk->reconciler);
	queue_memory_free(&desk->memory);
}

/* The user meant `intent` and gave back `due`, the provider logged `verdict` of `niov`. */
static void consume_of(struct desk *desk, uint16_t intent, uint32_t due, uint32_t niov,
		       uint8_t verdict)
{
	uint64_t slot = desk->written++ & (desk->queue->shape.log_entries - 1);

	desk->queue->intents[slot] = intent;
	desk->queue->dues[slot] = (uint16_t)due;
	desk->queue->ifq.niov_log[slot] = (uint16_t)niov;
	shm_store_release_u64(&desk->queue->notes->written, desk->written, POINT_LOG);
	shm_log_put(desk->queue->ifq.verdict_log, slot, verdict);
	shm_store_release_u64(&desk->queue->ifq.shared->consumed, desk->written, POINT_LOG);
}

/* An entry that is nobody's return. */
static void consume(struct desk *desk, uint16_t intent, uint8_t verdict)
{
	consume_of(desk, intent, ZCRX_DUE_NONE, 0, verdict);
}

/* The return of a fragment of that buffer. */
static void give_back(struct desk *desk, uint16_t intent, uint32_t niov, uint8_t verdict)
{
	consume_of(desk, intent, ZCRX_DUE(niov), niov, verdict);
}

/* An entry of a rule that names that buffer. */
static void stray(struct desk *desk, uint32_t niov, uint8_t verdict)
{
	consume_of(desk, ZCRX_INTENT(RULE, ROBBED), ZCRX_DUE_NONE, niov, verdict);
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
	CHECK_EQ(count_of(&desk.queue->notes->checked), 5); /* the user may write on */
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
	shm_store_release_u64(&desk.queue->notes->written, 2, POINT_LOG);
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

/* The notes is the user's to write: an intent can be any two bytes. */
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

/* ---- credits --------------------------------------------------------------------------------- */

static void check_found(struct desk *desk, uint64_t number, uint64_t position,
			enum zcrx_mismatch_why why)
{
	CHECK_EQ(reconcile(desk) > 0, true);
	CHECK_EQ(desk->reconciler.mismatch_count, number);
	CHECK_EQ(desk->reconciler.mismatches[number - 1].position, position);
	CHECK_EQ(desk->reconciler.mismatches[number - 1].why, why);
}

static void a_scrub_excuses_as_many_returns_as_it_took_references(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	give_back(&desk, valid, 3, ZCRX_NO_USER_REF); /* before it: a buffer is gone */
	check_found(&desk, 1, 0, ZCRX_WHY_ILLEGAL);
	zcrx_area_note_scrubbed(&desk.queue->area, 3, 2);
	for (uint32_t i = 0; i < 2; i++)
		give_back(&desk, valid, 3, ZCRX_NO_USER_REF);
	give_back(&desk, valid, 3, ZCRX_ACCEPTED);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	CHECK_EQ(desk.reconciler.after_scrub, 2);
	give_back(&desk, valid, 3, ZCRX_NO_USER_REF);
	check_found(&desk, 2, 4, ZCRX_WHY_ILLEGAL);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	check_found(&desk, 3, 5, ZCRX_WHY_NO_CREDIT);
	give_back(&desk, valid, 4, ZCRX_NO_USER_REF); /* another buffer's reference */
	check_found(&desk, 4, 6, ZCRX_WHY_ILLEGAL);
	CHECK_EQ(desk.reconciler.wrong[ZCRX_INTENT_VALID], 4);
	desk_free(&desk);
}

static void a_scrub_excuses_nothing_else(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	zcrx_area_note_scrubbed(&desk.queue->area, 0, 10);
	give_back(&desk, valid, 0, ZCRX_BAD_PAD);
	give_back(&desk, valid, 0, ZCRX_BAD_INDEX);
	consume(&desk, bad_pad, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 3);
	CHECK_EQ(desk.reconciler.after_scrub, 0);
	desk_free(&desk);
}

static void a_stray_that_took_a_reference_excuses_one_return_of_its_buffer(void)
{
	struct desk desk;
	const struct zcrx_mismatch *found = desk.reconciler.mismatches;

	desk_init(&desk, 64);
	stray(&desk, 3, ZCRX_STILL_REFERENCED);
	stray(&desk, 3, ZCRX_ACCEPTED);
	stray(&desk, 3, ZCRX_NO_USER_REF); /* took none */
	stray(&desk, 5, ZCRX_ACCEPTED);
	for (uint32_t i = 0; i < 2; i++)
		give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	give_back(&desk, unsure, 3, ZCRX_ACCEPTED);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 0);
	CHECK_EQ(desk.reconciler.strays[RULE], 3);
	CHECK_EQ(desk.reconciler.after_stray, 2);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	check_found(&desk, 1, 7, ZCRX_WHY_NO_CREDIT);
	CHECK_EQ(ZCRX_INTENT_LEGAL(found[0].intent), RETURN); /* what was left to it */
	CHECK_EQ(found[0].account, 3);
	CHECK_EQ(found[0].put_down, 2);
	CHECK_EQ(found[0].spent, 2);
	/* Of what the consumer is sure a stray cannot be the reason. */
	give_back(&desk, valid, 5, ZCRX_NO_USER_REF);
	check_found(&desk, 2, 8, ZCRX_WHY_ILLEGAL);
	desk_free(&desk);
}

/* A stray that was sure of a reference was robbed of none: it leaves the credit to its owner. */
static void a_stray_that_a_scrub_robbed_spends_no_returns_credit(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	zcrx_area_note_scrubbed(&desk.queue->area, 3, 1);
	consume_of(&desk, ZCRX_INTENT(RULE, RETURN), ZCRX_DUE_NONE, 3, ZCRX_NO_USER_REF);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 0);
	consume_of(&desk, ZCRX_INTENT(RULE, RETURN), ZCRX_DUE_NONE, 3, ZCRX_NO_USER_REF);
	check_found(&desk, 1, 2, ZCRX_WHY_ILLEGAL);
	desk_free(&desk);
}

/* An entry that may be found as either of two: what it was found as tells whose return it is. */
static void an_entry_that_was_found_as_something_else_is_nobodys_return(void)
{
	const uint16_t either = ZCRX_INTENT(RULE, ROBBED);
	struct desk desk;

	desk_init(&desk, 64);
	consume_of(&desk, either, ZCRX_DUE(3), 7, ZCRX_ACCEPTED); /* a stray to 7 */
	give_back(&desk, unsure, 7, ZCRX_NO_USER_REF);
	consume_of(&desk, either, ZCRX_DUE(3), 3, ZCRX_ACCEPTED); /* no stray to 3 */
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 0);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	check_found(&desk, 1, 3, ZCRX_WHY_NO_CREDIT);
	consume_of(&desk, valid, ZCRX_DUE(3), 7, ZCRX_ACCEPTED);
	check_found(&desk, 2, 4, ZCRX_WHY_OTHER_BUFFER);
	consume_of(&desk, valid, ZCRX_DUE(3), UINT16_MAX, ZCRX_ACCEPTED);
	check_found(&desk, 3, 5, ZCRX_WHY_OTHER_BUFFER);
	desk_free(&desk);
}

static void a_new_user_has_no_credit_of_the_last_one(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	stray(&desk, 3, ZCRX_ACCEPTED);
	zcrx_area_note_scrubbed(&desk.queue->area, 3, 5);
	reconcile(&desk);
	zcrx_reconcile_new_user(&desk.reconciler, desk.queue);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	check_found(&desk, 1, 1, ZCRX_WHY_NO_CREDIT);
	zcrx_area_note_scrubbed(&desk.queue->area, 3, 1);
	give_back(&desk, valid, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	desk_free(&desk);
}

/* ---- the balance ------------------------------------------------------------------------------- */

static void give_references(struct desk *desk, uint32_t niov, uint32_t count)
{
	shm_tally(&desk->queue->area.niovs[niov].delivered, count);
	zcrx_user_ref_give(&desk->queue->area, niov, count);
}

static struct zcrx_balance balance_of(struct desk *desk)
{
	struct zcrx_balance balance;

	reconcile(desk);
	zcrx_reconcile_balance(&desk->reconciler, desk->queue, &balance);
	return balance;
}

static void references_that_went_nowhere_are_found_with_their_buffer(void)
{
	struct desk desk;

	desk_init(&desk, 64);
	give_references(&desk, 3, 4);
	CHECK_EQ(balance_of(&desk).wrong, 0); /* all held */
	zcrx_user_ref_take(&desk.queue->area, 3, 1);
	give_back(&desk, valid, 3, ZCRX_STILL_REFERENCED);
	CHECK_EQ(balance_of(&desk).wrong, 0);
	zcrx_area_note_scrubbed(&desk.queue->area, 3, zcrx_user_ref_take_all(&desk.queue->area, 3));
	CHECK_EQ(balance_of(&desk).wrong, 0);
	zcrx_reconcile_new_user(&desk.reconciler, desk.queue);
	CHECK_EQ(balance_of(&desk).wrong, 0); /* of all users together */
	give_references(&desk, 6, 2);
	give_back(&desk, valid, 6, ZCRX_ACCEPTED); /* it says so, and took none */
	zcrx_user_ref_take(&desk.queue->area, 3, 1);
	give_references(&desk, 5, 3);
	zcrx_user_ref_take(&desk.queue->area, 5, 1); /* taken, and nobody says so */
	CHECK_EQ(balance_of(&desk).wrong, 2);
	CHECK_EQ(balance_of(&desk).account, 5);
	CHECK_EQ(balance_of(&desk).delivered, 3);
	CHECK_EQ(balance_of(&desk).taken, 0);
	CHECK_EQ(balance_of(&desk).held, 2);
	desk_free(&desk);
}

/* ---- runs that are taken all or none ------------------------------------------------------------ */

static void desk_init_by_runs(struct desk *desk)
{
	desk_init(desk, 64);
	desk->queue->shape.contract.level = ZCRX_LEVEL_7_3;
}

static void a_stray_takes_the_returns_of_its_run_with_it(void)
{
	struct desk desk;

	desk_init_by_runs(&desk);
	give_back(&desk, valid, 3, ZCRX_NO_USER_REF); /* sure of its own reference, if alone */
	consume(&desk, bad_pad, ZCRX_BAD_PAD);
	stray(&desk, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 0);
	CHECK_EQ(desk.reconciler.after_stray, 1);
	/* What it left behind is one more for the next: that one has no excuse. */
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	CHECK_EQ(desk.reconciler.mismatches[0].why, ZCRX_WHY_NO_CREDIT);
	desk_free(&desk);
}

static void a_run_without_a_stray_fails_by_a_credit_only(void)
{
	struct desk desk;

	desk_init_by_runs(&desk);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1); /* once for the run */
	stray(&desk, 4, ZCRX_STILL_REFERENCED);
	give_back(&desk, unsure, 4, ZCRX_NO_USER_REF);
	give_back(&desk, unsure, 4, ZCRX_NO_USER_REF);
	give_back(&desk, unsure, 5, ZCRX_ACCEPTED);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	desk_free(&desk);
}

static void a_run_whose_last_entry_is_sure_must_not_fail(void)
{
	struct desk desk;

	desk_init_by_runs(&desk);
	stray(&desk, 3, ZCRX_NO_USER_REF);
	give_back(&desk, valid, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	CHECK_EQ(desk.reconciler.mismatches[0].why, ZCRX_WHY_ILLEGAL);
	/* But for a scrub that it does not know of. */
	zcrx_area_note_scrubbed(&desk.queue->area, 5, 1);
	give_back(&desk, valid, 5, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	give_back(&desk, valid, 5, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 2);
	desk_free(&desk);
}

static void a_return_that_fails_alone_has_no_excuse_in_another_run(void)
{
	struct desk desk;

	desk_init_by_runs(&desk);
	give_back(&desk, unsure, 3, ZCRX_NO_USER_REF);
	stray(&desk, 4, ZCRX_NO_USER_REF);
	stray(&desk, 3, ZCRX_NO_USER_REF);
	reconcile(&desk);
	CHECK_EQ(desk.reconciler.mismatch_count, 1);
	desk_free(&desk);
}

CHECK_MAIN(CASE(a_stray_takes_the_returns_of_its_run_with_it),
	   CASE(a_run_without_a_stray_fails_by_a_credit_only),
	   CASE(a_run_whose_last_entry_is_sure_must_not_fail),
	   CASE(a_return_that_fails_alone_has_no_excuse_in_another_run),
	   CASE(what_must_be_is_tabulated_without_complaint), CASE(a_real_refill_reconciles),
	   CASE(a_wrong_verdict_is_found_with_its_ring_index),
	   CASE(an_intent_that_no_rule_has_is_a_mismatch),
	   CASE(every_verdict_is_legal_exactly_where_the_intent_says_so),
	   CASE(all_mismatches_are_counted_and_the_first_are_kept),
	   CASE(entries_overwritten_before_they_were_compared_are_lost),
	   CASE(a_scrub_excuses_as_many_returns_as_it_took_references),
	   CASE(a_scrub_excuses_nothing_else),
	   CASE(a_stray_that_took_a_reference_excuses_one_return_of_its_buffer),
	   CASE(a_stray_that_a_scrub_robbed_spends_no_returns_credit),
	   CASE(an_entry_that_was_found_as_something_else_is_nobodys_return),
	   CASE(a_new_user_has_no_credit_of_the_last_one),
	   CASE(references_that_went_nowhere_are_found_with_their_buffer))
