/* SPDX-License-Identifier: MIT */
/*
 * The consumer's way back: what is written into ring and intent log for each
 * return, with the plan's faults around it, and who is blamed when a fragment
 * is not what it was. The test stands in the place of NIC and provider; where
 * verdicts matter, the real provider and the real reconciler say what they are.
 */
#include "giver.h"

/* ---- what an entry may earn ------------------------------------------------------------- */

static void a_return_of_what_was_received_must_succeed(void)
{
	struct giver giver;

	giver_init_small(&giver, &plain, NULL, 0);
	for (uint32_t niov = 0; niov < 8; niov++)
		receive_and_give(&giver, niov, 1);
	for (uint32_t niov = 0; niov < 8; niov++) {
		CHECK_MEANT(&giver, niov, VALID, SUCCEEDS);
		CHECK_EQ(taken(&giver).off, niov << 12);
	}
	CHECK_EQ(NOTES(&giver, rqe_submitted), 8);
	CHECK_EQ(NOTES(&giver, rqe_valid), 8);
	giver_free(&giver);
}

/*
 * A neighbour is returned of which 0, 1, 2 fragments were received: as many
 * stray returns must succeed, the others may find something that was not read yet.
 */
static void a_stray_return_must_succeed_while_more_was_received_than_written(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_NEIGHBOUR_RETURN, 1);

	rule.params[0] = 1;
	for (uint32_t received = 0; received < 3; received++) {
		struct giver giver;

		giver_init_small(&giver, &plain, &rule, 1);
		for (uint32_t i = 0; i < received; i++)
			receive(&giver, 4, 1);
		for (uint32_t i = 0; i < 3; i++) {
			receive_and_give(&giver, 3, 1 + i);
			CHECK_MEANT(&giver, 2 * i, FIRST,
				    i < received ? SUCCEEDS : MAY_FIND_NOTHING);
			CHECK_MEANT(&giver, 2 * i + 1, VALID, SUCCEEDS);
			CHECK_EQ(taken(&giver).off, 4 << 12);
			CHECK_EQ(taken(&giver).off, 3 << 12);
		}
		CHECK_EQ(NOTES(&giver, injected[0]), 3);
		giver_free(&giver);
	}
}

/* What a stray return took may be missing for a valid one, of that buffer only. */
static void a_return_may_find_nothing_once_a_stray_has_robbed_its_buffer(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_NEIGHBOUR_RETURN, 0, 1);
	struct zcrx_held robbed;
	struct giver giver;

	giver_init_small(&giver, &plain, &rule, 1);
	robbed = receive(&giver, 4, 1);
	receive_and_give(&giver, 3, 1);
	give(&giver, robbed);
	CHECK_MEANT(&giver, 2, VALID, MAY_FIND_NOTHING);
	receive_and_give(&giver, 4, 2); /* its reference may have gone to the one before */
	CHECK_MEANT(&giver, 3, VALID, MAY_FIND_NOTHING);
	receive(&giver, 4, 3);
	receive_and_give(&giver, 4, 3); /* two more than written, less one: enough */
	CHECK_MEANT(&giver, 4, VALID, SUCCEEDS);
	receive_and_give(&giver, 3, 2);
	CHECK_MEANT(&giver, 5, VALID, SUCCEEDS);
	giver_free(&giver);
}

/* Twice by a mistake of the user's own: the second must come out as a mismatch. */
static void a_fragment_given_back_twice_keeps_its_strict_meaning(void)
{
	/* The quick way, and the other one: a rule is due that writes nothing. */
	const struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_SLOW, 1);

	for (uint32_t rules = 0; rules < 2; rules++) {
		struct zcrx_held held;
		struct giver giver;

		giver_init_small(&giver, &plain, &rule, rules);
		held = receive(&giver, 3, 1);
		give(&giver, held);
		give(&giver, held);
		CHECK_MEANT(&giver, 0, VALID, SUCCEEDS);
		CHECK_MEANT(&giver, 1, VALID, SUCCEEDS);
		giver.returns.holdings.known[3].strayed = 1;
		give(&giver, held);
		CHECK_MEANT(&giver, 2, VALID, MAY_FIND_NOTHING);
		giver_free(&giver);
	}
}

/*
 * By the user's own mistake: what it gives back is not out. Against the real
 * provider, with the same returned honestly before, after, and in between.
 */
static void what_is_given_back_without_being_out_is_nobodys_return(void)
{
	const struct zcrx_fault_rule none[] = {rule_of(ZCRX_FAULT_NONE)};
	const struct zcrx_fault_rule staged[] = {rule_every(ZCRX_FAULT_LEN_GARBAGE, 2)};

	for (uint32_t i = 0; i < 2; i++) {
		struct zcrx_reconciler reconciler;
		struct giver giver;

		giver_init_small(&giver, &plain, i ? staged : none, 1);
		reconciler = reconciler_of(&giver);
		for (uint32_t generation = 1; generation < 100; generation++) {
			struct zcrx_held held = deliver_one(&giver, generation);
			struct zcrx_held again = held;

			again.astray = 1;
			if (generation % 3 == 0) /* it robs the honest one, which is excused */
				give(&giver, again);
			give(&giver, held);
			give(&giver, again);
			CHECK_EQ(giver.queue->dues[(giver.returns.writer.position - 1) & 1023],
				 ZCRX_DUE_NONE);
			provide_and_reconcile(&giver, &reconciler);
		}
		CHECK_EQ(reconciler.checked, 99 * 2 + 33);
		CHECK_EQ(reconciler.mismatch_count, 0);
		CHECK_EQ(reconciler.after_stray, 33);
		CHECK_EQ(reconciler.strays[VALID] + reconciler.strays[FIRST], 33);
		/* The same, said to be a return: it had no right to be. */
		give(&giver, fragment_of(&giver, 3, 100));
		provide_and_reconcile(&giver, &reconciler);
		CHECK_EQ(reconciler.mismatch_count, 1);
		giver_free(&giver);
	}
}

static void malformed_entries_earn_what_their_bytes_say(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 0),		rule_at(ZCRX_FAULT_BAD_AREA, 0),
		rule_at(ZCRX_FAULT_BAD_INDEX, 0),	rule_with(ZCRX_FAULT_BAD_OFFSET, 0, 1),
		rule_with(ZCRX_FAULT_BAD_OFFSET, 0, 2),
	};
	struct giver giver;

	giver_init_small(&giver, &plain, rules, COUNT_OF(rules));
	receive_and_give(&giver, 3, 1);
	CHECK_MEANT(&giver, 0, 1U, BIT(ZCRX_BAD_PAD));
	CHECK_MEANT(&giver, 1, 2U, BIT(ZCRX_BAD_AREA));
	CHECK_MEANT(&giver, 2, 3U, BIT(ZCRX_BAD_INDEX));
	CHECK_MEANT(&giver, 3, 4U, BIT(ZCRX_BAD_AREA));
	CHECK_MEANT(&giver, 4, 5U, BIT(ZCRX_BAD_INDEX));
	CHECK_MEANT(&giver, 5, VALID, SUCCEEDS);
	CHECK_EQ(written(&giver), 6);
	giver_free(&giver);
}

static void a_return_that_is_written_differently_stays_one_return(void)
{
	const uint32_t kinds[] = {ZCRX_FAULT_ALIAS, ZCRX_FAULT_MID_BUFFER, ZCRX_FAULT_LEN_GARBAGE};

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		const struct zcrx_fault_rule rule = rule_at(kinds[i], 0);
		struct io_uring_zcrx_rqe rqe;
		struct giver giver;

		giver_init_small(&giver, &plain, &rule, 1);
		receive_and_give(&giver, 3, 1);
		receive_and_give(&giver, 3, 2);
		CHECK_EQ(written(&giver), 2);
		rqe = taken(&giver);
		CHECK_EQ((uint32_t)(rqe.off >> 12), 3);
		CHECK(rqe.off != 3 << 12 || rqe.len != 64);
		CHECK_MEANT(&giver, 0, FIRST, SUCCEEDS);
		CHECK_MEANT(&giver, 1, VALID, SUCCEEDS);
		CHECK_EQ(giver.returns.holdings.known[3].balance, 0);
		giver_free(&giver);
	}
}

static void an_alias_stands_beside_the_return_of_a_strict_provider(void)
{
	const struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_ALIAS, 0);
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.contract.deviations = ZCRX_CONTRACT_STRICT_ALIAS;
	giver_init(&giver, &shape, &plain, &rule, 1);
	receive_and_give(&giver, 3, 1);
	CHECK_MEANT(&giver, 0, FIRST, BIT(ZCRX_BAD_INDEX));
	CHECK_MEANT(&giver, 1, VALID, SUCCEEDS);
	CHECK(taken(&giver).off >> 44 != 0);
	CHECK_EQ(taken(&giver).off, 3 << 12);
	giver_free(&giver);
}

static void the_copies_of_a_double_return_follow_it(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_with(ZCRX_FAULT_DOUBLE_RETURN, 1, 2),
		rule_at(ZCRX_FAULT_MID_BUFFER, 1),
	};
	struct io_uring_zcrx_rqe rqe;
	struct giver giver;

	giver_init_small(&giver, &plain, rules, 2);
	receive_and_give(&giver, 2, 1);
	receive_and_give(&giver, 3, 1);
	CHECK_EQ(written(&giver), 4);
	CHECK_MEANT(&giver, 1, SECOND, SUCCEEDS);
	CHECK_MEANT(&giver, 2, FIRST, MAY_FIND_NOTHING);
	CHECK_MEANT(&giver, 3, FIRST, MAY_FIND_NOTHING);
	taken(&giver);
	rqe = taken(&giver);
	CHECK_EQ(taken(&giver).off, rqe.off);
	CHECK_EQ(taken(&giver).off, rqe.off);
	giver_free(&giver);
}

/* Distance 1 is the return just before this one. */
static void a_stale_return_repeats_the_one_so_far_back(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_with(ZCRX_FAULT_STALE_RETURN, 1, 1),
		rule_with(ZCRX_FAULT_STALE_RETURN, 5, 3),
		rule_with(ZCRX_FAULT_STALE_RETURN, 6, 7), /* further back than there were any */
	};
	const uint32_t niovs[] = {0, 0, 1, 2, 3, 4, 2, 5, 6};
	struct giver giver;

	giver_init_small(&giver, &plain, rules, COUNT_OF(rules));
	for (uint32_t niov = 0; niov < 7; niov++)
		receive_and_give(&giver, niov, 1);
	REQUIRE(written(&giver) == COUNT_OF(niovs));
	for (size_t i = 0; i < COUNT_OF(niovs); i++)
		CHECK_EQ(taken(&giver).off, niovs[i] << 12);
	CHECK_MEANT(&giver, 1, FIRST, MAY_FIND_NOTHING);
	CHECK_MEANT(&giver, 6, SECOND, MAY_FIND_NOTHING);
	giver_free(&giver);
}

/* ---- two ways of writing ------------------------------------------------------------------ */

/* Random fragments received and given back, some of them twice. */
static void give_at_random(struct giver *giver, uint32_t steps)
{
	struct zcrx_rng rng = zcrx_rng_for(11, 0);
	struct zcrx_held held[16];
	uint32_t count = 0;

	for (uint32_t i = 0; i < steps; i++) {
		uint32_t niov = zcrx_rng_below(&rng, 8), victim;

		giver->returns.holdings.known[i % 8].strayed = i / 8 % 2;
		if (count < COUNT_OF(held))
			held[count++] = receive(giver, niov, 1 + i / 64);
		victim = zcrx_rng_below(&rng, count);
		zcrx_returns_give(&giver->returns, held[victim]);
		if (zcrx_rng_below(&rng, 4))
			held[victim] = held[--count];
		if (zcrx_rng_below(&rng, 3))
			continue;
		zcrx_returns_flush(&giver->returns);
		while (written(giver) && zcrx_rng_below(&rng, 8))
			taken(giver);
	}
	while (zcrx_returns_flush(&giver->returns))
		take_all(giver);
}

static void both_ways_write_the_same_when_no_rule_writes_anything(void)
{
	const uint32_t steps = 700; /* no more than the intent log is long */
	const struct zcrx_fault_rule far = rule_at(ZCRX_FAULT_BAD_PAD, 1000000);
	const struct zcrx_fault_rule due = rule_every(ZCRX_FAULT_SLOW, 1);
	const struct zcrx_fault_rule some = rule_likely(ZCRX_FAULT_SLOW, 0.2);
	const struct zcrx_fault_rule *rules[] = {&far, &due, &some};
	struct zcrx_consumer_params params = checking;
	struct giver quick;

	params.return_order = ZCRX_RETURN_SHUFFLE;
	params.hold = 3;
	giver_init_small(&quick, &params, NULL, 0);
	give_at_random(&quick, steps);
	CHECK(quick.returns.writer.position > 600);
	for (size_t i = 0; i < COUNT_OF(rules); i++) {
		struct giver other;

		giver_init_small(&other, &params, rules[i], 1);
		give_at_random(&other, steps);
		CHECK_EQ(other.returns.writer.position, quick.returns.writer.position);
		CHECK_EQ(other.returns.ordinal, quick.returns.ordinal);
		CHECK_BYTES(other.queue->intents, quick.queue->intents, 2 * 1024);
		CHECK_BYTES(other.queue->ifq.rq.rqes, quick.queue->ifq.rq.rqes, 16 * 128);
		CHECK_BYTES(other.returns.holdings.known, quick.returns.holdings.known,
			    8 * sizeof(struct zcrx_known));
		CHECK_EQ(NOTES(&other, rqe_submitted), NOTES(&quick, rqe_submitted));
		CHECK_EQ(NOTES(&other, rqe_valid), NOTES(&quick, rqe_valid));
		giver_free(&other);
	}
	giver_free(&quick);
}

/* The same returns through a ring of one entry and through one that takes them at once. */
static void staged_entries_survive_a_ring_with_room_for_one(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_with(ZCRX_FAULT_DOUBLE_RETURN, 1, 3),
		rule_likely(ZCRX_FAULT_BAD_PAD, 1.0),
		rule_every(ZCRX_FAULT_NEVER_GIVEN, 2),
		rule_with(ZCRX_FAULT_NEIGHBOUR_RETURN, 3, 1),
		rule_likely(ZCRX_FAULT_MID_BUFFER, 0.5),
	};
	struct zcrx_shape shape = small_shape();
	struct giver narrow, wide;
	uint32_t count;

	giver_init(&wide, &shape, &plain, rules, COUNT_OF(rules));
	shape.rq_entries = 1;
	giver_init(&narrow, &shape, &plain, rules, COUNT_OF(rules));
	for (uint32_t i = 0; i < 6; i++) {
		zcrx_returns_give(&wide.returns, receive(&wide, i, 1));
		zcrx_returns_give(&narrow.returns, receive(&narrow, i, 1));
	}
	CHECK_EQ(zcrx_returns_flush(&wide.returns), 0);
	count = written(&wide);
	CHECK_EQ(count, 6 + 3 + 6 + 3 + 1);
	for (uint32_t i = 0; i < count; i++) {
		struct io_uring_zcrx_rqe got, expected = taken(&wide);

		zcrx_returns_flush(&narrow.returns);
		CHECK_EQ(NOTES(&narrow, rqe_submitted), i + 1);
		got = taken(&narrow);
		CHECK_BYTES(&got, &expected, sizeof(got));
		CHECK_EQ(narrow.queue->intents[i], wide.queue->intents[i]);
	}
	CHECK_EQ(zcrx_returns_flush(&narrow.returns), 0);
	CHECK_EQ(written(&narrow), 0);
	for (size_t i = 0; i < COUNT_OF(rules); i++)
		CHECK_EQ(NOTES(&narrow, injected[i]), NOTES(&wide, injected[i]));
	CHECK_EQ(NOTES(&narrow, rqe_valid), 6);
	giver_free(&narrow);
	giver_free(&wide);
}

/* ---- hoarding ------------------------------------------------------------------------------- */

static void hoarded_fragments_are_never_written_and_no_more_than_asked_for(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_HOARD, 2);
	struct giver giver;

	rule.params[0] = 2;
	giver_init_small(&giver, &plain, &rule, 1);
	for (uint32_t niov = 0; niov < 8; niov++)
		receive_and_give(&giver, niov, 1);
	CHECK_EQ(written(&giver), 6);
	CHECK_EQ(taken(&giver).off, 1 << 12); /* 0 and 2 stay */
	for (uint32_t niov = 3; niov < 8; niov++)
		CHECK_EQ(taken(&giver).off, niov << 12);
	CHECK_EQ(NOTES(&giver, hoarded), 2);
	CHECK_EQ(NOTES(&giver, rqe_submitted), 6);
	CHECK_EQ(NOTES(&giver, pending_returns), 0);
	CHECK_EQ(giver.returns.ordinal, 8); /* they were returns that came up */
	CHECK_EQ(giver.returns.holdings.known[0].balance,
		 1); /* a stray return of it must succeed */
	CHECK_EQ(giver.returns.holdings.known[1].balance, 0);
	giver_free(&giver);
}

/* ---- reading on ------------------------------------------------------------------------------ */

/* The return of buffer 3 at position 1 is read on for two RQEs; is it found when it changes? */
static void check_early(bool changes, uint32_t consequences)
{
	const struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 100),
		rule_with(ZCRX_FAULT_EARLY_RETURN, 1, 2),
	};
	const struct zcrx_consequence *found;
	struct giver giver;

	giver_init_small(&giver, &checking, rules, 2);
	found = giver.queue->notes->consequence;
	receive_and_give(&giver, 2, 1);
	receive_and_give(&giver, 3, 1);
	CHECK_MEANT(&giver, 1, SECOND, SUCCEEDS);
	bytes_of(&giver, 3)[9] ^= changes;
	receive_and_give(&giver, 4, 1);
	zcrx_returns_flush(&giver.returns);
	CHECK_EQ(NOTES(&giver, consequence_count), consequences);
	CHECK_EQ(NOTES(&giver, consequences[1]), consequences);
	CHECK_EQ(NOTES(&giver, consequences[0]), 0);
	CHECK_EQ(NOTES(&giver, integrity_errors), 0);
	if (consequences) {
		CHECK_EQ(found->rule, 1);
		CHECK_EQ(found->kind, ZCRX_BYTES_CHANGED);
		CHECK_EQ(found->niov, 3);
		CHECK_EQ(found->flow, 2);
		CHECK_EQ(found->seq, 101);
		CHECK_EQ(found->position, 1);
	}
	zcrx_returns_flush(&giver.returns);
	CHECK_EQ(NOTES(&giver, consequence_count), consequences); /* looked at once */
	giver_free(&giver);
}

static void bytes_that_change_after_an_early_return_are_found_and_blamed_on_it(void)
{
	check_early(true, 1);
	check_early(false, 0);
}

static void an_early_return_is_not_looked_at_before_its_time(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_EARLY_RETURN, 0, 4);
	struct giver giver;

	giver_init_small(&giver, &checking, &rule, 1);
	receive_and_give(&giver, 3, 1);
	bytes_of(&giver, 3)[9] ^= 1;
	receive_and_give(&giver, 4, 1);
	receive_and_give(&giver, 5, 1);
	zcrx_returns_flush(&giver.returns);
	CHECK_EQ(NOTES(&giver, consequence_count), 0);
	receive_and_give(&giver, 6, 1);
	zcrx_returns_flush(&giver.returns);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	giver_free(&giver);
}

/* Other rules put entries before it: the position is that of its own RQE. */
static void an_early_return_is_blamed_at_its_own_position(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 0),
		rule_with(ZCRX_FAULT_EARLY_RETURN, 0, 1),
		rule_at(ZCRX_FAULT_BAD_AREA, 0),
	};
	struct giver giver;

	giver_init_small(&giver, &checking, rules, COUNT_OF(rules));
	receive_and_give(&giver, 3, 1);
	CHECK_MEANT(&giver, 2, SECOND, SUCCEEDS);
	bytes_of(&giver, 3)[9] ^= 1;
	zcrx_returns_flush(&giver.returns);
	REQUIRE(NOTES(&giver, consequence_count) == 1);
	CHECK_EQ(giver.queue->notes->consequence[0].position, 2);
	giver_free(&giver);
}

/* ---- the tail too far -------------------------------------------------------------------------- */

/* A ring of 8 that starts at slot 2: three returns are done with, the fourth jumps over five. */
static void a_tail_ahead_publishes_as_many_more_and_says_what_they_mean(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_TAIL_AHEAD, 3, 5);
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.rq_entries = 8;
	giver_init(&giver, &shape, &plain, &rule, 1);
	receive(&giver, 0, 1); /* one reference of the buffer that zeros name */
	for (uint32_t niov = 3; niov < 6; niov++)
		receive_and_give(&giver, niov, 1);
	take_all(&giver);
	receive(&giver, 3, 2);
	receive_and_give(&giver, 6, 1);
	CHECK_EQ(word_of(giver.queue->ifq.rq.tail), shape.initial_index + 4 + 5);
	CHECK_EQ(NOTES(&giver, rqe_submitted), 4 + 5);
	CHECK_EQ(NOTES(&giver, rqe_valid), 4);
	REQUIRE(written(&giver) == 6);
	CHECK_EQ(taken(&giver).off, 6 << 12);
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(taken(&giver).off, 0); /* never written */
	CHECK_EQ(taken(&giver).off, 3 << 12); /* the first one once more */
	CHECK_MEANT(&giver, 3, VALID, SUCCEEDS);
	CHECK_MEANT(&giver, 4, FIRST, SUCCEEDS);
	for (uint32_t position = 5; position < 8; position++)
		CHECK_MEANT(&giver, position, FIRST, MAY_FIND_NOTHING);
	CHECK_MEANT(&giver, 8, FIRST, SUCCEEDS);
	CHECK_EQ(giver.returns.holdings.known[3].suspect, FIRST);
	CHECK_EQ(giver.returns.holdings.known[3].suspect_position, 8);
	giver_free(&giver);
}

/* Whatever stands in the ring: the real provider's verdicts are among those foreseen. */
static void the_real_provider_agrees_with_what_a_tail_ahead_means(void)
{
	const uint32_t jumps[] = {1, 7, 8, 9, 64, 200};

	for (size_t i = 0; i < COUNT_OF(jumps); i++) {
		struct zcrx_fault_rule rules[] = {
			rule_every(ZCRX_FAULT_TAIL_AHEAD, 3),
			rule_every(ZCRX_FAULT_BAD_PAD, 2),
			rule_every(ZCRX_FAULT_DOUBLE_RETURN, 5),
			rule_every(ZCRX_FAULT_BAD_OFFSET, 1),
		};
		struct zcrx_reconciler reconciler;
		struct zcrx_shape shape = small_shape();
		struct giver giver;

		shape.rq_entries = 8;
		rules[0].params[0] = jumps[i];
		rules[2].params[0] = 2;
		giver_init(&giver, &shape, &plain, rules, COUNT_OF(rules));
		reconciler = reconciler_of(&giver);
		for (uint32_t generation = 1; generation < 200; generation++) {
			struct zcrx_held held = deliver_one(&giver, generation);

			give(&giver, held);
			provide_and_reconcile(&giver, &reconciler);
			while (zcrx_returns_flush(&giver.returns))
				provide_and_reconcile(&giver, &reconciler);
			provide_and_reconcile(&giver, &reconciler);
		}
		CHECK_EQ(reconciler.mismatch_count, 0);
		CHECK_EQ(reconciler.lost, 0);
		CHECK_EQ(reconciler.checked, giver.returns.writer.position);
		CHECK(reconciler.checked > 199 + 66 * jumps[i]);
		giver_free(&giver);
	}
}

static void a_tail_ahead_stops_where_the_intent_log_ends(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_TAIL_AHEAD, 0, 32768);
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.log_entries = 16;
	giver_init(&giver, &shape, &plain, &rule, 1);
	receive_and_give(&giver, 3, 1);
	CHECK_EQ(giver.returns.writer.position, 16);
	CHECK_EQ(word_of(giver.queue->ifq.rq.tail), shape.initial_index + 16);
	receive_and_give(&giver, 3, 2);
	CHECK_EQ(giver.returns.writer.position, 16); /* until some of it was compared */
	giver_free(&giver);
}

static void a_head_that_was_scribbled_on_loses_no_return(void)
{
	const struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_HEAD_SCRIBBLE, 1);
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.rq_entries = 4;
	giver_init(&giver, &shape, &plain, &rule, 1);
	for (uint32_t i = 0; i < 64; i += 8) {
		for (uint32_t niov = 0; niov < 8; niov++)
			zcrx_returns_give(&giver.returns, receive(&giver, niov, 1 + i));
		for (uint32_t niov = 0; niov < 8; niov++) {
			zcrx_returns_flush(&giver.returns);
			CHECK_EQ(taken(&giver).off, niov << 12);
		}
	}
	CHECK_EQ(written(&giver), 0);
	CHECK_EQ(NOTES(&giver, injected[0]), 64);
	giver_free(&giver);
}

/* ---- who is to blame --------------------------------------------------------------------------- */

/* Two rules, of which the second returns buffer 4 at position 3, before the return of buffer 3. */
static void init_stray(struct giver *giver)
{
	const struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 1),
		rule_with(ZCRX_FAULT_NEIGHBOUR_RETURN, 2, 1),
	};

	giver_init_small(giver, &checking, rules, 2);
}

static void commit_stray(struct giver *giver)
{
	receive_and_give(giver, 1, 1);
	receive_and_give(giver, 2, 1);
	receive_and_give(giver, 3, 1);
	REQUIRE(giver->queue->intents[3] == ZCRX_INTENT(SECOND, MAY_FIND_NOTHING) ||
		giver->queue->intents[3] == ZCRX_INTENT(SECOND, SUCCEEDS));
}

static void bytes_that_are_wrong_are_blamed_on_the_stray_that_named_their_buffer(void)
{
	const struct zcrx_consequence *found;
	struct giver giver;

	init_stray(&giver);
	found = giver.queue->notes->consequence;
	commit_stray(&giver);
	receive_changed(&giver, 4, 7);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	CHECK_EQ(NOTES(&giver, consequences[1]), 1);
	CHECK_EQ(NOTES(&giver, integrity_errors), 0);
	CHECK_EQ(found->rule, 1);
	CHECK_EQ(found->kind, ZCRX_BYTES_CHANGED);
	CHECK_EQ(found->niov, 4);
	CHECK_EQ(found->seq, 107);
	CHECK_EQ(found->position, 3);
	receive_changed(&giver, 5, 1); /* no rule had to do with that one */
	CHECK_EQ(NOTES(&giver, integrity_errors), 1);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	giver_free(&giver);
}

/* The last error of the consumer's flight recorder. */
static uint32_t error_recorded(const struct giver *giver)
{
	const struct zcrx_flight *flight = &giver->queue->flights[ZCRX_WRITER_CONSUMER];
	uint64_t count = count_of(&flight->shared->count);
	uint64_t kind_a;

	REQUIRE(count > 0);
	kind_a = count_of(&flight->shared->events[(count - 1) & flight->mask].kind_a);
	CHECK_EQ((uint16_t)kind_a, ZCRX_EVENT_ERROR);
	return (uint32_t)(kind_a >> 32);
}

/* Two enums that look alike at their start: each cause is recorded under its own name. */
static void a_fault_of_the_nic_that_is_not_found_is_recorded_as_what_it_is(void)
{
	const struct {
		uint32_t kind, error;
	} missed[] = {
		{ZCRX_FAULT_NIC_CORRUPT, ZCRX_ERROR_CORRUPT_MISSED},
		{ZCRX_FAULT_NIC_TRUNCATE, ZCRX_ERROR_TRUNCATED_MISSED},
	};

	for (size_t i = 0; i < COUNT_OF(missed); i++) {
		const struct zcrx_fault_rule rule = rule_of(ZCRX_FAULT_NONE);
		struct zcrx_shape shape = small_shape();
		struct zcrx_held held;
		struct giver giver;

		shape.flight_entries = 16;
		giver_init(&giver, &shape, &checking, &rule, 1);
		shm_store_relaxed_u32(&giver.queue->notes->mark_kinds[FIRST - 1], missed[i].kind,
				      POINT_LOG);
		held = fragment_of(&giver, 4, 1);
		held.mark = FIRST;
		zcrx_findings_received(&giver.returns.findings, &held, 0);
		CHECK_EQ(error_recorded(&giver), missed[i].error);
		CHECK_EQ(NOTES(&giver, integrity_errors), 1);
		receive_changed(&giver, 5, 1);
		CHECK_EQ(NOTES(&giver, integrity_errors), 2);
		CHECK_EQ(error_recorded(&giver), ZCRX_ERROR_BYTES_CHANGED);
		giver_free(&giver);
	}
}

static void a_buffer_given_again_is_blamed_on_the_stray_that_freed_it(void)
{
	const struct zcrx_consequence *found;
	struct giver giver;

	init_stray(&giver);
	found = giver.queue->notes->consequence;
	receive(&giver, 4, 6);
	commit_stray(&giver);
	receive(&giver, 4, 7);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	CHECK_EQ(NOTES(&giver, ownership_errors), 0);
	CHECK_EQ(found->rule, 1);
	CHECK_EQ(found->kind, ZCRX_GIVEN_AGAIN);
	CHECK_EQ(found->niov, 4);
	CHECK_EQ(found->generation_held, 6);
	CHECK_EQ(found->generation_now, 7);
	CHECK_EQ(found->position, 3);
	receive(&giver, 5, 1);
	receive(&giver, 5, 2); /* no rule had to do with that one */
	CHECK_EQ(NOTES(&giver, ownership_errors), 1);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	giver_free(&giver);
}

/* The NIC's rule is in the fragment's mark; not to notice it is an error of the system. */
static void a_corruption_on_purpose_must_be_found(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_of(ZCRX_FAULT_NONE),
		rule_of(ZCRX_FAULT_NONE),
	};
	struct zcrx_held held;
	struct giver giver;

	giver_init_small(&giver, &checking, rules, 2);
	held = fragment_of(&giver, 3, 1);
	held.mark = SECOND;
	held.crc ^= 1;
	zcrx_findings_received(&giver.returns.findings, &held, 0);
	give(&giver, held); /* not found a second time */
	CHECK_EQ(NOTES(&giver, integrity_errors), 0);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	CHECK_EQ(NOTES(&giver, consequences[1]), 1);
	CHECK_EQ(giver.queue->notes->consequence[0].kind, ZCRX_CORRUPT_FOUND);
	CHECK_EQ(giver.queue->notes->consequence[0].niov, 3);
	held = fragment_of(&giver, 4, 1);
	held.mark = SECOND;
	zcrx_findings_received(&giver.returns.findings, &held, 0);
	CHECK_EQ(NOTES(&giver, integrity_errors), 1);
	CHECK_EQ(NOTES(&giver, consequence_count), 1);
	giver_free(&giver);
}

static void all_consequences_are_counted_and_the_first_are_kept(void)
{
	const uint32_t count = ZCRX_CONSEQUENCES_MAX + 10;
	struct giver giver;

	init_stray(&giver);
	commit_stray(&giver);
	for (uint32_t i = 0; i < count; i++)
		receive_changed(&giver, 4, 1);
	CHECK_EQ(NOTES(&giver, consequence_count), count);
	CHECK_EQ(NOTES(&giver, consequences[1]), count);
	CHECK_EQ(giver.queue->notes->consequence[ZCRX_CONSEQUENCES_MAX - 1].niov, 4);
	CHECK_EQ(count_of(&giver.queue->notes->checked), 0); /* what lies behind them */
	giver_free(&giver);
}

/* ---- suspicion ----------------------------------------------------------------------------------- */

/* The buffer that a rule has made suspicious; all others are not. */
static uint32_t suspect_of(struct giver *giver)
{
	uint32_t suspects = 0, suspect = 0;

	for (uint32_t niov = 0; niov < 8; niov++) {
		if (giver->returns.holdings.known[niov].suspect) {
			suspects++;
			suspect = niov;
		}
	}
	REQUIRE(suspects == 1);
	return suspect;
}

static void init_foreign(struct giver *giver)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_WRITE_FOREIGN, 0, 64);

	giver_init_small(giver, &checking, &rule, 1);
	receive_and_give(giver, 3, 1);
	CHECK_MEANT(giver, 0, VALID, SUCCEEDS); /* the return itself is none the worse */
	CHECK_EQ(written(giver), 1);
}

static void a_foreign_write_changes_as_many_bytes_of_a_buffer_that_is_not_held(void)
{
	uint32_t niov, changed = 0;
	struct giver giver;

	init_foreign(&giver);
	niov = suspect_of(&giver);
	CHECK(niov != 3);
	for (uint32_t i = 0; i < 8 << 12; i++) {
		bool is_there = i >> 12 == niov;

		changed += bytes_of(&giver, 0)[i] != 0;
		CHECK(bytes_of(&giver, 0)[i] == 0 || is_there);
	}
	CHECK_EQ(changed, 64);
	giver_free(&giver);
}

/* Generation by generation, with nothing wrong: how many until an error is the system's own. */
static uint32_t generations_under_suspicion(struct giver *giver, uint32_t niov)
{
	uint32_t generations = 1;

	for (; generations < 20 && giver->returns.holdings.known[niov].suspect; generations++) {
		receive_and_give(giver, niov, generations);
		take_all(giver);
	}
	return generations;
}

static void a_foreign_write_is_suspected_until_its_bytes_are_over(void)
{
	uint32_t niov, generations;
	struct giver giver;

	init_foreign(&giver);
	niov = suspect_of(&giver);
	take_all(&giver);
	receive_changed(&giver, niov, 1);
	CHECK_EQ(NOTES(&giver, consequences[0]), 1);
	CHECK_EQ(NOTES(&giver, integrity_errors), 0);
	giver_free(&giver);

	init_foreign(&giver);
	take_all(&giver);
	generations = generations_under_suspicion(&giver, niov);
	CHECK(generations > 2 && generations < 6);
	receive_changed(&giver, niov, 100);
	CHECK_EQ(NOTES(&giver, consequences[0]), 0);
	CHECK_EQ(NOTES(&giver, integrity_errors), 1);
	giver_free(&giver);
}

/* Until the provider has passed it, what is received may still be from before. */
static void a_suspicion_does_not_age_before_the_provider_has_passed_it(void)
{
	struct giver giver;
	uint32_t niov;

	init_foreign(&giver);
	niov = suspect_of(&giver);
	for (uint32_t generation = 1; generation < 10; generation++) {
		struct zcrx_held held = receive(&giver, niov, generation);

		zcrx_returns_give(&giver.returns, held);
		giver.returns.holdings.known[niov].held = 0;
	}
	CHECK_EQ(giver.returns.holdings.known[niov].suspect, FIRST);
	giver_free(&giver);
}

static void a_stray_is_suspected_for_ever(void)
{
	struct giver giver;

	init_stray(&giver);
	commit_stray(&giver);
	take_all(&giver);
	CHECK_EQ(suspect_of(&giver), 4);
	CHECK_EQ(generations_under_suspicion(&giver, 4), 20);
	receive_changed(&giver, 4, 100);
	CHECK_EQ(NOTES(&giver, consequences[1]), 1);
	CHECK_EQ(NOTES(&giver, integrity_errors), 0);
	giver_free(&giver);
}

/* ---- the journal ----------------------------------------------------------------------- */

struct written_rqe {
	struct io_uring_zcrx_rqe rqe;
	uint16_t intent;
};

/* A fixed series of returns under these rules; what stands in the ring for it. */
static uint32_t rqes_of(const struct zcrx_fault_rule *rules, uint32_t count,
			struct zcrx_journal *journal, struct written_rqe *to)
{
	struct zcrx_consumer_params params = plain;
	struct giver giver;
	uint32_t found = 0;

	params.seed = 77;
	giver_init_small(&giver, &params, rules, count);
	for (uint32_t i = 0; i < 400; i++) {
		give(&giver, receive(&giver, i % 8, 1 + i / 8));
		while (written(&giver) > 0) {
			uint32_t slot = found & (giver.queue->shape.log_entries - 1);
			uint16_t intent = giver.queue->intents[slot];

			to[found++] = (struct written_rqe){.rqe = taken(&giver), .intent = intent};
		}
		shm_store_release_u64(&giver.queue->notes->checked, found, POINT_LOG);
	}
	*journal = *giver.queue->journals[ZCRX_JOURNAL_CONSUMER];
	giver_free(&giver);
	return found;
}

/* Every byte is the same when the ordinals of the first run trigger the second. */
static void a_journal_writes_the_same_entries_again(void)
{
	static const uint32_t kinds[] = {
		ZCRX_FAULT_BAD_PAD,	  ZCRX_FAULT_BAD_AREA,	  ZCRX_FAULT_BAD_INDEX,
		ZCRX_FAULT_BAD_OFFSET,	  ZCRX_FAULT_ALIAS,	  ZCRX_FAULT_MID_BUFFER,
		ZCRX_FAULT_LEN_GARBAGE,	  ZCRX_FAULT_NEVER_GIVEN, ZCRX_FAULT_BAD_PAD,
		ZCRX_FAULT_DOUBLE_RETURN,
	};
	static struct written_rqe first[8000], second[8000];
	static struct zcrx_journal journal, again;
	static uint64_t lists[COUNT_OF(kinds)][400];
	struct zcrx_fault_rule rules[COUNT_OF(kinds)];
	uint32_t counts[COUNT_OF(kinds)] = {0};
	uint32_t count;

	for (uint32_t i = 0; i < COUNT_OF(kinds); i++)
		rules[i] = rule_likely(kinds[i], 0.2 + 0.02 * i);
	rules[9].params[0] = 1;
	count = rqes_of(rules, COUNT_OF(kinds), &journal, first);
	CHECK(journal.count > 800);
	for (uint32_t i = 0; i < journal.count; i++) {
		uint64_t entry = journal.entries[i];
		uint32_t rule = (uint32_t)(entry >> ZCRX_JOURNAL_RULE_SHIFT);

		lists[rule][counts[rule]++] = entry & 0xffffffffffffff;
	}
	for (uint32_t i = 0; i < COUNT_OF(kinds); i++)
		rules[i] = rule_listed(kinds[i], lists[i], counts[i]);
	rules[9].params[0] = 1;
	CHECK_EQ(rqes_of(rules, COUNT_OF(kinds), &again, second), count);
	for (uint32_t i = 0; i < count; i++) {
		CHECK_EQ(first[i].rqe.off, second[i].rqe.off);
		CHECK_EQ(first[i].rqe.len, second[i].rqe.len);
		CHECK_EQ(first[i].rqe.__pad, second[i].rqe.__pad);
		CHECK_EQ(first[i].intent, second[i].intent);
	}
	CHECK(memcmp(&journal, &again, sizeof(journal)) == 0);
}

/* ---- users' own faults ------------------------------------------------------------------- */

/* What a made-up fault answers, and what it was told last. */
struct custom {
	struct giver giver;
	struct io_uring_zcrx_rqe entries[ZCRX_CUSTOM_ENTRIES_MAX];
	uint32_t count, in_place;
	int result;
	uint32_t asked;
	struct zcrx_custom_call told;
};

static int answer(void *context, struct zcrx_custom_call *call)
{
	struct custom *custom = context;

	custom->asked++;
	custom->told = *call;
	memcpy(call->entries, custom->entries, sizeof(call->entries));
	call->count = custom->count;
	call->in_place = custom->in_place;
	return custom->result;
}

static void custom_init(struct custom *custom, const struct zcrx_fault_rule *rules, uint32_t count)
{
	memset(custom, 0, sizeof(*custom));
	giver_init_small(&custom->giver, &checking, rules, count);
	zcrx_injection_set_custom(&custom->giver.returns.injection, answer, custom);
}

static struct zcrx_fault_rule custom_at(uint64_t at, uint32_t verdicts)
{
	struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_CUSTOM, at);

	rule.custom = 5;
	rule.custom_verdicts = verdicts;
	return rule;
}

static struct io_uring_zcrx_rqe rqe_of(uint64_t off, uint32_t pad)
{
	return (struct io_uring_zcrx_rqe){.off = off, .len = 64, .__pad = pad};
}

static void a_users_fault_is_told_where_it_stands(void)
{
	const struct zcrx_fault_rule rule = custom_at(2, BIT(ZCRX_BAD_PAD));
	struct custom custom;

	custom_init(&custom, &rule, 1);
	for (uint32_t niov = 0; niov < 4; niov++)
		receive_and_give(&custom.giver, niov, 1);
	CHECK_EQ(custom.asked, 1);
	CHECK_EQ(custom.told.rule, 0);
	CHECK_EQ(custom.told.ordinal, 2);
	CHECK_EQ(custom.told.position, 2);
	CHECK_EQ(custom.told.valid.off, 2 << 12);
	CHECK_EQ(custom.told.history_count, 2);
	CHECK_EQ(custom.told.history[1].off, 1 << 12);
	CHECK_EQ(NOTES(&custom.giver, injected[0]), 1);
	CHECK_EQ(written(&custom.giver), 4); /* it answered with nothing */
	giver_free(&custom.giver);
}

/* Before the return, in order, each held to what the fault says as far as the bytes allow. */
static void a_users_entries_stand_beside_the_return(void)
{
	const struct zcrx_fault_rule rule =
		custom_at(0, BIT(ZCRX_BAD_PAD) | BIT(ZCRX_BAD_INDEX) | BIT(ZCRX_NO_USER_REF));
	struct custom custom;

	custom_init(&custom, &rule, 1);
	custom.entries[0] = rqe_of(1 << 12, 1);
	custom.entries[1] = rqe_of(UINT64_C(8) << 12, 0);
	custom.entries[2] = rqe_of(UINT64_C(1) << 48, 0); /* earns what it does not say */
	custom.entries[3] = rqe_of(6 << 12, 0);
	custom.count = 4;
	receive_and_give(&custom.giver, 3, 1);
	CHECK_MEANT(&custom.giver, 0, FIRST, BIT(ZCRX_BAD_PAD));
	CHECK_MEANT(&custom.giver, 1, FIRST, BIT(ZCRX_BAD_INDEX));
	CHECK_MEANT(&custom.giver, 2, FIRST, rule.custom_verdicts);
	CHECK_MEANT(&custom.giver, 3, FIRST, BIT(ZCRX_NO_USER_REF));
	CHECK_MEANT(&custom.giver, 4, VALID, SUCCEEDS);
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(taken(&custom.giver).off, custom.entries[i].off);
	CHECK_EQ(taken(&custom.giver).off, 3 << 12);
	giver_free(&custom.giver);
}

static void a_users_stray_is_suspected_like_any_other(void)
{
	const struct zcrx_fault_rule rule = custom_at(0, MAY_FIND_NOTHING);
	struct custom custom;

	custom_init(&custom, &rule, 1);
	receive(&custom.giver, 4, 1);
	custom.entries[0] = rqe_of(4 << 12, 0);
	custom.count = 1;
	receive_and_give(&custom.giver, 3, 1);
	CHECK_EQ(custom.giver.returns.holdings.known[4].suspect, FIRST);
	CHECK(custom.giver.returns.holdings.known[4].strayed);
	CHECK(!custom.giver.returns.holdings.known[3].strayed);
	receive(&custom.giver, 4, 2); /* while its first life is held */
	CHECK_EQ(NOTES(&custom.giver, consequences[0]), 1);
	CHECK_EQ(NOTES(&custom.giver, ownership_errors), 0);
	giver_free(&custom.giver);
}

/* The first entry for the buffer is the return; what else names a buffer strays. */
static void a_users_entries_take_the_place_of_the_return(void)
{
	const struct zcrx_fault_rule rule = custom_at(0, MAY_FIND_NOTHING);
	struct custom custom;

	custom_init(&custom, &rule, 1);
	custom.entries[0] = rqe_of(3 << 12 | 5, 0);
	custom.count = 1;
	custom.in_place = 1;
	receive_and_give(&custom.giver, 3, 1);
	CHECK_EQ(written(&custom.giver), 1);
	CHECK_MEANT(&custom.giver, 0, FIRST, SUCCEEDS);
	CHECK_EQ(taken(&custom.giver).off, 3 << 12 | 5);
	CHECK(!custom.giver.returns.holdings.known[3].strayed);
	giver_free(&custom.giver);

	custom_init(&custom, &rule, 1);
	custom.entries[0] = rqe_of(3 << 12, 0);
	custom.entries[1] = rqe_of(3 << 12, 0);
	custom.count = 2;
	custom.in_place = 1;
	receive_and_give(&custom.giver, 3, 1);
	CHECK_EQ(written(&custom.giver), 2);
	CHECK_MEANT(&custom.giver, 1, FIRST, MAY_FIND_NOTHING);
	CHECK(custom.giver.returns.holdings.known[3].strayed);
	giver_free(&custom.giver);

	custom_init(&custom, &rule, 1);
	custom.entries[0] = rqe_of(5 << 12, 0);
	custom.count = 1;
	custom.in_place = 1;
	receive_and_give(&custom.giver, 3, 1);
	CHECK_EQ(written(&custom.giver), 1);
	CHECK_EQ(custom.giver.returns.holdings.known[5].suspect, FIRST);
	giver_free(&custom.giver);
}

static void no_entry_in_place_of_a_return_keeps_the_fragment(void)
{
	const struct zcrx_fault_rule rule = custom_at(0, MAY_FIND_NOTHING);
	struct custom custom;

	custom_init(&custom, &rule, 1);
	custom.in_place = 1;
	receive_and_give(&custom.giver, 3, 1);
	CHECK_EQ(written(&custom.giver), 0);
	CHECK_EQ(NOTES(&custom.giver, hoarded), 1);
	receive_and_give(&custom.giver, 4, 1);
	CHECK_EQ(written(&custom.giver), 1);
	giver_free(&custom.giver);
}

/* A buffer that another stray may have robbed: no word about it can be kept. */
static void a_users_word_does_not_count_where_another_strayed(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_with(ZCRX_FAULT_NEIGHBOUR_RETURN, 0, 1),
		custom_at(1, SUCCEEDS),
	};
	struct custom custom;

	custom_init(&custom, rules, 2);
	custom.entries[0] = rqe_of(4 << 12 | 7, 0);
	custom.count = 1;
	custom.in_place = 1;
	receive_and_give(&custom.giver, 3, 1); /* and its neighbour, 4 */
	receive_and_give(&custom.giver, 4, 1);
	CHECK_MEANT(&custom.giver, 2, SECOND, MAY_FIND_NOTHING);
	giver_free(&custom.giver);
}

static void a_users_fault_that_fails_is_not_asked_again(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_CUSTOM, 1);
	struct custom custom;

	custom_init(&custom, &rule, 1);
	custom.count = ZCRX_CUSTOM_ENTRIES_MAX;
	custom.result = -1;
	for (uint32_t niov = 0; niov < 3; niov++)
		receive_and_give(&custom.giver, niov, 1);
	CHECK(custom.giver.returns.injection.custom_failed);
	CHECK_EQ(custom.asked, 1);
	CHECK_EQ(written(&custom.giver), 3); /* the returns themselves */
	giver_free(&custom.giver);

	custom_init(&custom, &rule, 1);
	custom.count = ZCRX_CUSTOM_ENTRIES_MAX + 1;
	receive_and_give(&custom.giver, 0, 1);
	CHECK(custom.giver.returns.injection.custom_failed);
	CHECK_EQ(written(&custom.giver), 1);
	giver_free(&custom.giver);
}

/* Changes three bytes of its copy of the area, in two buffers. */
static int scribble(void *context, struct zcrx_custom_call *call)
{
	struct custom *custom = context;
	static uint8_t before[8 << 12], after[8 << 12];

	memcpy(before, bytes_of(&custom->giver, 0), sizeof(before));
	memcpy(after, before, sizeof(after));
	after[(2 << 12) + 10] ^= 1;
	after[(5 << 12) + 20] ^= 2;
	after[(5 << 12) + 4095] ^= 4;
	bytes_of(&custom->giver, 5)[30] = 77; /* the NIC, meanwhile */
	zcrx_injection_custom_wrote(&custom->giver.returns.injection, before, after);
	call->count = 0;
	return 0;
}

static void what_a_users_fault_wrote_is_put_down_to_it(void)
{
	const struct zcrx_fault_rule rule = custom_at(0, 0);
	struct zcrx_held held;
	struct custom custom;

	custom_init(&custom, &rule, 1);
	zcrx_injection_set_custom(&custom.giver.returns.injection, scribble, &custom);
	held = receive(&custom.giver, 2, 1);
	receive_and_give(&custom.giver, 3, 1);
	CHECK_EQ(bytes_of(&custom.giver, 5)[20], 2);
	CHECK_EQ(bytes_of(&custom.giver, 5)[30], 77);
	CHECK_EQ(bytes_of(&custom.giver, 5)[4095], 4);
	for (uint32_t niov = 0; niov < 8; niov++)
		CHECK_EQ(custom.giver.returns.holdings.known[niov].suspect, niov == 2 || niov == 5);
	give(&custom.giver, held);
	CHECK_EQ(NOTES(&custom.giver, consequences[0]), 1);
	CHECK_EQ(NOTES(&custom.giver, integrity_errors), 0);
	giver_free(&custom.giver);
}

CHECK_MAIN(CASE(a_return_of_what_was_received_must_succeed),
	   CASE(a_stray_return_must_succeed_while_more_was_received_than_written),
	   CASE(a_return_may_find_nothing_once_a_stray_has_robbed_its_buffer),
	   CASE(a_fragment_given_back_twice_keeps_its_strict_meaning),
	   CASE(what_is_given_back_without_being_out_is_nobodys_return),
	   CASE(malformed_entries_earn_what_their_bytes_say),
	   CASE(a_return_that_is_written_differently_stays_one_return),
	   CASE(an_alias_stands_beside_the_return_of_a_strict_provider),
	   CASE(the_copies_of_a_double_return_follow_it),
	   CASE(a_stale_return_repeats_the_one_so_far_back),
	   CASE(both_ways_write_the_same_when_no_rule_writes_anything),
	   CASE(staged_entries_survive_a_ring_with_room_for_one),
	   CASE(hoarded_fragments_are_never_written_and_no_more_than_asked_for),
	   CASE(bytes_that_change_after_an_early_return_are_found_and_blamed_on_it),
	   CASE(an_early_return_is_not_looked_at_before_its_time),
	   CASE(an_early_return_is_blamed_at_its_own_position),
	   CASE(a_tail_ahead_publishes_as_many_more_and_says_what_they_mean),
	   CASE(the_real_provider_agrees_with_what_a_tail_ahead_means),
	   CASE(a_tail_ahead_stops_where_the_intent_log_ends),
	   CASE(a_head_that_was_scribbled_on_loses_no_return),
	   CASE(bytes_that_are_wrong_are_blamed_on_the_stray_that_named_their_buffer),
	   CASE(a_buffer_given_again_is_blamed_on_the_stray_that_freed_it),
	   CASE(a_corruption_on_purpose_must_be_found),
	   CASE(a_fault_of_the_nic_that_is_not_found_is_recorded_as_what_it_is),
	   CASE(all_consequences_are_counted_and_the_first_are_kept),
	   CASE(a_foreign_write_changes_as_many_bytes_of_a_buffer_that_is_not_held),
	   CASE(a_foreign_write_is_suspected_until_its_bytes_are_over),
	   CASE(a_suspicion_does_not_age_before_the_provider_has_passed_it),
	   CASE(a_stray_is_suspected_for_ever), CASE(a_journal_writes_the_same_entries_again),
	   CASE(a_users_fault_is_told_where_it_stands),
	   CASE(a_users_entries_stand_beside_the_return),
	   CASE(a_users_stray_is_suspected_like_any_other),
	   CASE(a_users_entries_take_the_place_of_the_return),
	   CASE(no_entry_in_place_of_a_return_keeps_the_fragment),
	   CASE(a_users_word_does_not_count_where_another_strayed),
	   CASE(a_users_fault_that_fails_is_not_asked_again),
	   CASE(what_a_users_fault_wrote_is_put_down_to_it))
