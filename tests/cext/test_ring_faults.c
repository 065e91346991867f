/* SPDX-License-Identifier: MIT */
/*
 * Faults of the refill ring itself, one by one: what is claimed after a tail
 * that lied, which verdicts an entry may earn that changes while it is read,
 * what a scrub leaves of what the user knew, and what is accounted for when a
 * user dies in the middle.
 */
#include "giver.h"
#include "faults/ring_faults.h"

#define BAD_PAD BIT(ZCRX_BAD_PAD)
#define BAD_AREA BIT(ZCRX_BAD_AREA)
#define BAD_INDEX BIT(ZCRX_BAD_INDEX)
#define NEVER UINT64_MAX

static uint32_t refill(struct giver *giver)
{
	struct zcrx_ifq *ifq = &giver->queue->ifq;

	zcrx_pp_empty_cache(zcrx_ifq_pool(ifq));
	return zcrx_ifq_refill_ring(ifq, zcrx_ifq_pool(ifq));
}

static uint64_t consumed(struct giver *giver)
{
	return zcrx_queue_consumed(giver->queue);
}

static struct io_uring_zcrx_rqe slot_of(struct giver *giver, uint64_t position)
{
	uint32_t index = giver->queue->shape.initial_index + (uint32_t)position;
	const struct zcrx_rqe_slot *slot =
		&giver->queue->ifq.rq.rqes[index & giver->queue->ifq.rq.mask];
	uint64_t len_pad = slot->len_pad;

	return (struct io_uring_zcrx_rqe){slot->off, (uint32_t)len_pad, (uint32_t)(len_pad >> 32)};
}

/* Everything that waits goes through the ring and is judged, however small the ring is. */
static void settle(struct giver *giver, struct zcrx_reconciler *reconciler)
{
	for (uint32_t i = 0; i < 1000; i++) {
		bool waits = zcrx_returns_flush(&giver->returns) != 0;

		if (refill(giver) == 0 && !waits)
			break;
		zcrx_reconcile(reconciler, giver->queue);
	}
	CHECK_EQ(giver->returns.pending_tail, giver->returns.pending_head);
}

/* ---- a tail that lies ----------------------------------------------------------------------- */

static const uint32_t rings[] = {1, 2, 8, 64, 128, 4096};

/*
 * The second return is preceded by a malformed entry, the third is followed by the lie. The slots
 * hold them, and zeros.
 */
static void init_liar(struct giver *giver, struct zcrx_reconciler *reconciler, uint32_t rq_entries,
		      uint32_t kind, uint32_t param)
{
	const struct zcrx_fault_rule rules[] = {
		rule_with(kind, 2, param),
		rule_with(ZCRX_FAULT_BAD_PAD, 1, 2),
	};
	struct zcrx_shape shape = small_shape();

	shape.rq_entries = rq_entries;
	shape.log_entries = 16384;
	giver_init(giver, &shape, &plain, rules, COUNT_OF(rules));
	giver->queue->ifq.is_checked = true;
	*reconciler = reconciler_of(giver);
	for (uint32_t i = 0; i < 2; i++)
		zcrx_returns_give(&giver->returns, deliver_one(giver, 1));
	settle(giver, reconciler);
	give(giver, deliver_one(giver, 1));
	CHECK_EQ(giver->returns.ring_faults.astray, FIRST);
	CHECK_EQ(word_of(&giver->queue->notes->astray_rule), FIRST);
}

static void check_claimed(struct giver *giver, uint64_t from)
{
	CHECK(giver->returns.writer.position > from);
	for (uint64_t at = from; at < giver->returns.writer.position; at++)
		CHECK_MEANT(giver, at, FIRST,
			    slot_of(giver, at).__pad ? BAD_PAD : MAY_FIND_NOTHING);
}

static void check_recovered(struct giver *giver)
{
	uint32_t tail = word_of(giver->queue->ifq.rq.tail);
	uint32_t entries = giver->queue->shape.rq_entries;

	CHECK_EQ(giver->returns.ring_faults.astray, 0);
	CHECK_EQ(word_of(&giver->queue->notes->astray_rule), 0);
	CHECK_EQ(tail, giver->returns.writer.rq.cached_tail);
	CHECK_EQ(tail - giver->queue->shape.initial_index,
		 (uint32_t)giver->returns.writer.position);
	CHECK(tail - word_of(giver->queue->ifq.rq.head) >= (entries < 64 ? entries : 64));
	CHECK_EQ(count_of(&giver->queue->notes->written), giver->returns.writer.position);
}

static void what_was_taken_beyond_the_tail_is_claimed_by_its_bytes(void)
{
	static const struct {
		uint32_t kind, param;
	} lies[] = {{ZCRX_FAULT_TAIL_BACK, 2},
		    {ZCRX_FAULT_TAIL_BACK, 32768},
		    {ZCRX_FAULT_TAIL_RANDOM, 0}};

	for (size_t i = 0; i < COUNT_OF(lies) * COUNT_OF(rings); i++) {
		struct zcrx_reconciler reconciler;
		struct giver giver;
		uint64_t written;

		init_liar(&giver, &reconciler, rings[i / COUNT_OF(lies)],
			  lies[i % COUNT_OF(lies)].kind, lies[i % COUNT_OF(lies)].param);
		written = giver.returns.writer.position;
		for (uint32_t rounds = 0; rounds < 3; rounds++)
			refill(&giver);
		CHECK(consumed(&giver) >= written);
		/* Nobody said yet what those beyond mean: the reconciler waits. */
		zcrx_reconcile(&reconciler, giver.queue);
		CHECK_EQ(reconciler.checked, written);
		CHECK_EQ(zcrx_returns_flush(&giver.returns), 0);
		check_claimed(&giver, written);
		check_recovered(&giver);
		CHECK(giver.returns.writer.position >= consumed(&giver));
		settle(&giver, &reconciler);
		CHECK_EQ(reconciler.checked, giver.returns.writer.position);
		CHECK_EQ(reconciler.mismatch_count, 0);
		CHECK_EQ(reconciler.lost, 0);
		giver_free(&giver);
	}
}

/* The provider sleeps: nothing is beyond the tail, and so much is put in front of it all the same. */
static void a_lie_that_nobody_saw_is_put_right_too(void)
{
	for (size_t i = 0; i < COUNT_OF(rings); i++) {
		struct zcrx_reconciler reconciler;
		struct giver giver;

		init_liar(&giver, &reconciler, rings[i], ZCRX_FAULT_TAIL_BACK, 1);
		zcrx_returns_flush(&giver.returns);
		check_recovered(&giver);
		settle(&giver, &reconciler);
		CHECK_EQ(reconciler.mismatch_count, 0);
		giver_free(&giver);
	}
}

static void nothing_is_written_while_the_log_has_no_room_to_put_a_lie_right(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_TAIL_BACK, 0, 8);
	struct zcrx_reconciler reconciler;
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.log_entries = 16;
	giver_init(&giver, &shape, &plain, &rule, 1);
	reconciler = reconciler_of(&giver);
	giver.queue->ifq.is_checked = true;
	give(&giver, deliver_one(&giver, 1));
	while (refill(&giver))
		;
	CHECK_EQ(consumed(&giver), 16); /* where the log ends */
	zcrx_returns_give(&giver.returns, deliver_one(&giver, 1));
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 2); /* the return, and the lie */
	CHECK_EQ(giver.returns.writer.position, 16);
	CHECK_EQ(giver.returns.ordinal, 1);
	zcrx_reconcile(&reconciler, giver.queue);
	CHECK_EQ(reconciler.checked, 16);
	settle(&giver, &reconciler);
	CHECK_EQ(giver.returns.ring_faults.astray, 0);
	CHECK_EQ(giver.returns.ordinal, 2);
	CHECK_EQ(reconciler.mismatch_count, 0);
	giver_free(&giver);
}

/* ---- a head that lies ------------------------------------------------------------------------ */

static void a_scribbled_head_is_never_near_the_true_one(void)
{
	struct zcrx_rng rng = zcrx_rng_for(1, 0);

	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t index = (uint32_t)zcrx_rng_next(&rng);
		uint32_t random = i == 0 ? 0 : i == 1 ? UINT32_MAX : (uint32_t)zcrx_rng_next(&rng);
		uint32_t apart = zcrx_ring_faults_scribble(index, random) - index;

		CHECK(apart >= 1U << 24 && apart <= UINT32_MAX - (1U << 24));
	}
}

/* What was published before the scribble is known after it. */
static void the_last_head_is_not_lost_under_a_scribble(void)
{
	struct giver giver;

	giver_init_small(&giver, &plain, NULL, 0);
	for (uint32_t niov = 0; niov < 4; niov++)
		receive_and_give(&giver, niov, 1);
	taken(&giver);
	taken(&giver);
	zcrx_ring_faults_scribble_head(&giver.returns.ring_faults, 5);
	CHECK_EQ(giver.returns.writer.rq.cached_head, giver.queue->shape.initial_index + 2);
	zcrx_ring_faults_scribble_head(&giver.returns.ring_faults, 77); /* over the first */
	CHECK_EQ(giver.returns.writer.rq.cached_head, giver.queue->shape.initial_index + 2);
	taken(&giver);
	zcrx_ring_faults_scribble_head(&giver.returns.ring_faults, 78);
	CHECK_EQ(giver.returns.writer.rq.cached_head, giver.queue->shape.initial_index + 3);
	giver_free(&giver);
}

/* ---- entries that change ----------------------------------------------------------------------- */

/* A ring of two whose slots hold the returns of buffers 0 and 1; then the return of buffer 2. */
static void write_third(struct giver *giver, struct zcrx_fault_rule rule, uint32_t pad_of_old)
{
	const struct zcrx_fault_rule rules[] = {rule};
	struct zcrx_shape shape = small_shape();

	shape.rq_entries = 2;
	giver_init(giver, &shape, &plain, rules, 1);
	receive_and_give(giver, 0, 1);
	receive_and_give(giver, 1, 1);
	take_all(giver);
	giver->queue->ifq.rq.rqes[shape.initial_index & 1].len_pad = (uint64_t)pad_of_old << 32;
	receive_and_give(giver, 2, 1);
}

static void an_entry_published_early_may_be_the_old_one_or_the_new_one(void)
{
	struct giver giver;

	write_third(&giver, rule_with(ZCRX_FAULT_TAIL_EARLY, 2, 0), 0);
	CHECK_MEANT(&giver, 2, FIRST, MAY_FIND_NOTHING);
	CHECK_EQ(slot_of(&giver, 2).off, 2 << 12);
	CHECK_EQ(written(&giver), 1);
	/* Either may lose a reference to it; its own entry is one of the two. */
	CHECK_EQ(giver.returns.holdings.known[0].balance, -1);
	CHECK_EQ(giver.returns.holdings.known[1].balance, 0);
	CHECK_EQ(giver.returns.holdings.known[2].balance, 0);
	CHECK_EQ(giver.returns.holdings.known[0].suspect, FIRST);
	CHECK_EQ(giver.returns.holdings.known[1].suspect, 0);
	giver_free(&giver);

	write_third(&giver, rule_with(ZCRX_FAULT_TAIL_EARLY, 2, 0), 9);
	CHECK_MEANT(&giver, 2, FIRST, MAY_FIND_NOTHING | BAD_PAD);
	giver_free(&giver);
}

static void an_entry_that_is_rewritten_may_be_malformed_in_its_way(void)
{
	static const uint32_t malformed[] = {BAD_INDEX, BAD_PAD, BAD_AREA};

	for (uint32_t value = 0; value < COUNT_OF(malformed); value++) {
		struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_RQE_REWRITE, 2, 5);
		struct io_uring_zcrx_rqe rqe;
		struct giver giver;

		rule.params[1] = value;
		write_third(&giver, rule, 0);
		CHECK_MEANT(&giver, 2, FIRST, MAY_FIND_NOTHING | malformed[value]);
		rqe = taken(&giver);
		CHECK_EQ(rqe.off, 2 << 12);
		CHECK_EQ(rqe.__pad, 0);
		CHECK_EQ(giver.returns.holdings.known[0].balance, 0); /* what stood there is over */
		CHECK_EQ(giver.returns.holdings.known[2].balance, 0);
		giver_free(&giver);
	}
}

/* ---- over a full ring ------------------------------------------------------------------------------ */

/*
 * A ring of eight with the returns of buffers 0 to 7, of which 6 was received
 * twice; then its other one and a second of buffer 1, in spite of the full ring.
 */
static void init_overrun(struct giver *giver, uint32_t log_entries)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_RQ_OVERRUN, 7, 2);
	struct zcrx_shape shape = small_shape();

	shape.rq_entries = 8;
	shape.log_entries = log_entries;
	giver_init(giver, &shape, &plain, &rule, 1);
	for (uint32_t niov = 0; niov < 8; niov++)
		zcrx_returns_give(&giver->returns, receive(giver, niov, 1));
	zcrx_returns_give(&giver->returns, receive(giver, 6, 1));
	zcrx_returns_give(&giver->returns, receive(giver, 1, 1));
	zcrx_returns_give(&giver->returns, receive(giver, 0, 1)); /* one too many */
}

static void a_return_over_another_is_found_twice_and_may_rob_those_between(void)
{
	struct giver giver;

	init_overrun(&giver, 1024);
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 1);
	CHECK_EQ(NOTES(&giver, injected[0]), 1);
	CHECK_EQ(giver.returns.writer.position, 10);
	CHECK_EQ(word_of(giver.queue->ifq.rq.tail), giver.queue->shape.initial_index + 10);
	/* At their first place they are what was there, or what is there now. */
	CHECK_MEANT(&giver, 0, FIRST, MAY_FIND_NOTHING);
	CHECK_MEANT(&giver, 1, FIRST, MAY_FIND_NOTHING);
	for (uint32_t position = 2; position < 8; position++)
		CHECK_MEANT(&giver, position, VALID, position == 6 ? MAY_FIND_NOTHING : SUCCEEDS);
	CHECK_MEANT(&giver, 8, FIRST, MAY_FIND_NOTHING);
	CHECK_MEANT(&giver, 9, FIRST, MAY_FIND_NOTHING);
	CHECK_EQ(slot_of(&giver, 0).off, 6 << 12);
	CHECK_EQ(slot_of(&giver, 1).off, 1 << 12);
	CHECK_EQ(NOTES(&giver, rqe_valid), 10);
	giver_free(&giver);
}

static void an_overrun_waits_for_a_full_ring_and_for_the_other_rules(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_with(ZCRX_FAULT_RQ_OVERRUN, 0, 100),
		rule_at(ZCRX_FAULT_BAD_PAD, 10),
	};
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.rq_entries = 8;
	giver_init(&giver, &shape, &plain, rules, 2);
	for (uint32_t niov = 0; niov < 7; niov++)
		receive_and_give(&giver, niov, 1);
	CHECK_EQ(NOTES(&giver, injected[0]), 0);
	for (uint32_t i = 0; i < 8; i++)
		zcrx_returns_give(&giver.returns, receive(&giver, i, 2));
	zcrx_returns_flush(&giver.returns);
	CHECK_EQ(NOTES(&giver, injected[0]), 1);
	CHECK_EQ(giver.returns.ordinal, 10); /* the eleventh has a malformed entry before it */
	CHECK_EQ(NOTES(&giver, injected[1]), 0);
	giver_free(&giver);
}

/* What finds no room is gone: no entry, no buffer, and the next return has its turn. */
static void returns_are_forgotten_when_the_ring_is_full_and_not_before(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_with(ZCRX_FAULT_DROP_WHEN_FULL, 0, 100),
		rule_at(ZCRX_FAULT_BAD_PAD, 10),
	};
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.rq_entries = 8;
	giver_init(&giver, &shape, &plain, rules, 2);
	for (uint32_t niov = 0; niov < 8; niov++)
		receive_and_give(&giver, niov, 1);
	CHECK_EQ(NOTES(&giver, injected[0]), 0);
	CHECK_EQ(NOTES(&giver, hoarded), 0);
	for (uint32_t niov = 0; niov < 4; niov++)
		zcrx_returns_give(&giver.returns, receive(&giver, niov, 2));
	/* Two go before the other rule's turn; it and what follows wait for room. */
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 2);
	CHECK_EQ(NOTES(&giver, injected[0]), 1);
	CHECK_EQ(NOTES(&giver, hoarded), 2);
	CHECK_EQ(NOTES(&giver, injected[1]), 0);
	CHECK_EQ(giver.returns.writer.position, 8);
	CHECK_EQ(giver.returns.ordinal, 10);
	CHECK_EQ(giver.returns.holdings.known[0].held, 0);
	CHECK_EQ(giver.returns.holdings.known[0].balance, 1); /* its reference is still out */
	CHECK_EQ(giver.returns.holdings.known[2].held, 1);
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 2); /* once is all */
	CHECK_EQ(NOTES(&giver, hoarded), 2);
	giver_free(&giver);
}

static void an_overrun_ends_where_the_log_does(void)
{
	struct giver giver;

	init_overrun(&giver, 8);
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 3);
	CHECK_EQ(giver.returns.writer.position, 8);
	CHECK_EQ(NOTES(&giver, injected[0]), 0);
	for (uint32_t position = 0; position < 8; position++)
		CHECK_MEANT(&giver, position, VALID, SUCCEEDS);
	giver_free(&giver);
}

/* ---- returns that wait ------------------------------------------------------------------------------ */

static void a_stalled_tail_publishes_nothing_before_its_time_and_then_everything(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_TAIL_STALL, 1, 3600000000);
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.rq_entries = 8;
	giver_init(&giver, &shape, &plain, &rule, 1);
	receive_and_give(&giver, 0, 1);
	CHECK_EQ(written(&giver), 1);
	for (uint32_t i = 0; i < 10; i++)
		zcrx_returns_give(&giver.returns, receive(&giver, 1 + i % 7, 1));
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 3);
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 3);
	CHECK_EQ(written(&giver), 1); /* as the provider sees it */
	CHECK_EQ(NOTES(&giver, rqe_submitted), 8);
	CHECK_EQ(count_of(&giver.queue->notes->written), 8);
	giver.returns.writer.withheld_until = 0;
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 3);
	CHECK_EQ(written(&giver), 8);
	take_all(&giver);
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 0);
	CHECK_EQ(written(&giver), 3);
	giver_free(&giver);
}

/* A fragment is not held any more once its return is written, whether or not its copies are. */
static void a_buffer_comes_again_before_the_copies_of_its_return_find_room(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_DOUBLE_RETURN, 0, 4);
	struct zcrx_shape shape = small_shape();
	struct giver giver;

	shape.rq_entries = 1;
	giver_init(&giver, &shape, &plain, &rule, 1);
	receive_and_give(&giver, 3, 1);
	taken(&giver);
	receive(&giver, 3, 2);
	CHECK_EQ(NOTES(&giver, ownership_errors), 0);
	CHECK_EQ(giver.returns.holdings.known[3].held, 1);
	for (uint32_t i = 0; i < 4; i++) {
		zcrx_returns_flush(&giver.returns);
		CHECK_EQ(taken(&giver).off, 3 << 12);
	}
	CHECK_EQ(giver.returns.holdings.known[3].held, 1);
	giver_free(&giver);
}

static void as_many_returns_wait_as_there_are_and_in_their_order(void)
{
	struct zcrx_shape shape = small_shape();
	struct giver giver;
	uint64_t count;

	shape.rq_entries = 1;
	giver_init(&giver, &shape, &plain, NULL, 0);
	count = 3 * (giver.returns.pending_mask + 1) + 1;
	for (uint64_t i = 0; i < count; i++) {
		receive_and_give(&giver, i % 8, 1 + (uint32_t)i);
		if (i == 5) /* somewhere in the middle of the FIFO */
			taken(&giver);
	}
	for (uint64_t i = 1; i < count; i++) {
		shm_store_release_u64(&giver.queue->notes->checked, giver.returns.writer.position,
				      POINT_LOG);
		zcrx_returns_flush(&giver.returns);
		CHECK_EQ(taken(&giver).off, (i % 8) << 12);
	}
	CHECK_EQ(zcrx_returns_flush(&giver.returns), 0);
	CHECK_EQ(written(&giver), 0);
	giver_free(&giver);
}

/* ---- by the wrong ring --------------------------------------------------------------------------------- */

struct pair {
	struct giver first; /* queue 0 */
	struct zcrx_mapping mapping; /* of queue 1, which shares the bells */
	struct zcrx_queue queue;
	struct zcrx_returns returns;
};

static void pair_init(struct pair *pair, const struct zcrx_fault_rule *rule)
{
	struct zcrx_consumer_params params = plain;
	struct zcrx_shape shape = small_shape();
	struct queue_memory *memory = &pair->first.memory;

	params.queues = 2;
	giver_init(&pair->first, &shape, &params, rule, 1);
	pair->mapping = queue_objects(&shape, memory->mapping.run, memory->mapping.bells);
	REQUIRE(zcrx_queue_attach(&pair->queue, &shape, 1, &pair->mapping) == 0);
	REQUIRE(zcrx_queue_format(&pair->queue) == 0);
	REQUIRE(zcrx_returns_init(&pair->returns, &pair->queue, &params, rule, 1) == 0);
	pair->returns.writer.rq = user_of(&pair->queue);
}

static void pair_free(struct pair *pair)
{
	zcrx_returns_destroy(&pair->returns);
	queue_objects_free(&pair->mapping);
	giver_free(&pair->first);
}

static struct zcrx_fault_rule rule_of_wrong_ring(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_WRONG_RING, 1);

	rule.params[0] = 1;
	rule.params[1] = 100;
	return rule;
}

static void a_return_goes_through_the_other_ring_one_at_a_time(void)
{
	struct zcrx_fault_rule rule = rule_of_wrong_ring();

	/* Also if the rule is that of queue 0 alone. */
	for (int32_t queue = -1; queue < 1; queue++) {
		struct pair pair;

		rule.queue = queue;
		pair_init(&pair, &rule);
		receive_and_give(&pair.first, 3, 1);
		CHECK_EQ(written(&pair.first), 0);
		CHECK_EQ(NOTES(&pair.first, hoarded), 1);
		receive_and_give(&pair.first, 4, 1); /* the other is still on its way */
		CHECK_EQ(taken(&pair.first).off, 4 << 12);
		CHECK_EQ(zcrx_returns_flush(&pair.returns), 0);
		CHECK_EQ(zcrx_rq_available(&pair.queue.ifq.rq), 1);
		CHECK_EQ(zcrx_rq_take(&pair.queue.ifq.rq).off, 3 << 12);
		CHECK_EQ(pair.queue.intents[0], ZCRX_INTENT(FIRST, MAY_FIND_NOTHING));
		CHECK_EQ(pair.returns.holdings.known[3].suspect, FIRST);
		CHECK_EQ(pair.returns.holdings.known[3].balance, -1);
		zcrx_returns_flush(&pair.returns); /* it is there once */
		CHECK_EQ(zcrx_rq_available(&pair.queue.ifq.rq), 0);
		receive_and_give(&pair.first, 5, 1);
		CHECK_EQ(written(&pair.first), 0);
		pair_free(&pair);
	}
}

/* Every user can write there: what no rule of ours has sent is dropped. */
static void nonsense_among_misdirected_returns_is_ignored(void)
{
	const uint64_t letters[] = {1, UINT64_C(2) << 56, UINT64_C(65) << 56, UINT64_MAX,
				    UINT64_C(0xff) << 56 | 3 << 12};
	struct zcrx_fault_rule rule = rule_of_wrong_ring();
	struct pair pair;

	pair_init(&pair, &rule);
	for (size_t i = 0; i < COUNT_OF(letters); i++) {
		shm_u64 *mailbox = &pair.queue.bells->misdirected[1];

		shm_store_relaxed_u64(mailbox, letters[i], POINT_BELL_SEQ);
		zcrx_returns_flush(&pair.returns);
		CHECK_EQ(count_of(mailbox), 0);
	}
	CHECK_EQ(pair.returns.writer.position, 0);
	/* An offset of any kind, from a rule that exists, is an RQE like any other. */
	shm_store_relaxed_u64(&pair.queue.bells->misdirected[1],
			      UINT64_C(1) << 56 | UINT64_C(99) << 12, POINT_BELL_SEQ);
	zcrx_returns_flush(&pair.returns);
	CHECK_EQ(pair.queue.intents[0], ZCRX_INTENT(FIRST, BAD_INDEX));
	pair_free(&pair);
}

/* ---- scrubbed while alive ---------------------------------------------------------------------------------- */

/* Buffers 0 to 2 held, 0 on its way back; 5 was delivered and not read. */
static void init_scrubbed(struct giver *giver, const struct zcrx_fault_rule *rule, uint32_t rules)
{
	struct zcrx_shape shape = small_shape();

	shape.rq_entries = 8;
	giver_init(giver, &shape, &plain, rule, rules);
	receive(giver, 1, 1);
	receive(giver, 2, 1);
	receive_and_give(giver, 0, 1);
	shm_store_release_u32(giver->queue->cq.tail, shape.initial_index + 4, POINT_CQ_TAIL_STORE);
}

static void scrub_living(struct giver *giver, uint32_t rule)
{
	zcrx_queue_scrub_begin(giver->queue, rule);
	zcrx_queue_scrub(giver->queue, NULL);
	zcrx_queue_scrub_end(giver->queue);
}

static void a_scrub_leaves_nothing_to_count_on_that_was_there_before(void)
{
	struct zcrx_held held;
	struct giver giver;
	uint32_t index;
	uint64_t seen;

	init_scrubbed(&giver, NULL, 0);
	scrub_living(&giver, SECOND);
	CHECK(!zcrx_queue_scrub_seen(giver.queue, &seen));
	zcrx_findings_look(&giver.returns.findings);
	CHECK(zcrx_queue_scrub_seen(giver.queue, &seen));
	CHECK_EQ(seen, 1);
	CHECK_EQ(giver.returns.holdings.known[0].balance, -1); /* it takes what comes from now on */
	CHECK_EQ(giver.returns.holdings.known[1].balance, 0);
	CHECK_EQ(giver.returns.holdings.known[2].balance, 0);
	CHECK_EQ(giver.returns.holdings.known[1].suspect, SECOND);
	CHECK_EQ(giver.returns.holdings.known[3].strayed, 0);

	/* Delivered before, or it may have been: what was not visible yet fills the queue at most. */
	index = giver.queue->shape.initial_index + 4 + giver.queue->shape.cq_entries;
	held = fragment_of(&giver, 5, 1);
	zcrx_findings_received(&giver.returns.findings, &held, index - 1);
	CHECK_EQ(giver.returns.holdings.known[5].balance, 0);
	CHECK_EQ(giver.returns.holdings.known[5].suspect, SECOND);
	give(&giver, held);
	CHECK_MEANT(&giver, 1, VALID, MAY_FIND_NOTHING);

	held = fragment_of(&giver, 6, 1);
	zcrx_findings_received(&giver.returns.findings, &held, index);
	CHECK_EQ(giver.returns.holdings.known[6].balance, 1);
	CHECK_EQ(giver.returns.holdings.known[6].strayed, 0);
	give(&giver, held);
	CHECK_MEANT(&giver, 2, VALID, SUCCEEDS);
	giver_free(&giver);
}

static void a_scrub_is_not_followed_before_it_is_over(void)
{
	struct giver giver;
	uint64_t seen;

	init_scrubbed(&giver, NULL, 0);
	zcrx_queue_scrub_begin(giver.queue, FIRST);
	zcrx_findings_look(&giver.returns.findings);
	CHECK(!zcrx_queue_scrub_seen(giver.queue, &seen));
	CHECK_EQ(giver.returns.holdings.known[1].balance, 1);
	CHECK(zcrx_queue_nic_is_quiet(giver.queue));
	shm_store_release_u32(&giver.queue->nic->publishing, 1, POINT_USER);
	CHECK(!zcrx_queue_nic_is_quiet(giver.queue));
	zcrx_queue_scrub_end(giver.queue);
	zcrx_queue_scrub_begin(giver.queue, FIRST); /* the next one, before the user looks */
	zcrx_findings_look(&giver.returns.findings);
	CHECK(!zcrx_queue_scrub_seen(giver.queue, &seen));
	giver_free(&giver);
}

/* With a tail far ahead a slot is found again and again. */
static void all_returns_on_their_way_count_after_a_scrub(void)
{
	const struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_TAIL_AHEAD, 0, 24);
	struct giver giver;

	init_scrubbed(&giver, &rule, 1); /* one entry, and 24 more in a ring of 8: zeros */
	scrub_living(&giver, FIRST);
	zcrx_findings_look(&giver.returns.findings);
	CHECK_EQ(giver.returns.holdings.known[0].balance, -25);
	giver_free(&giver);
}

/* The provider may have read the old entry, and take its reference after the scrub. */
static void what_an_entry_was_counts_after_a_scrub_as_well(void)
{
	struct giver giver;

	write_third(&giver, rule_with(ZCRX_FAULT_TAIL_EARLY, 2, 0), 0);
	scrub_living(&giver, FIRST);
	zcrx_findings_look(&giver.returns.findings);
	CHECK_EQ(giver.returns.holdings.known[2].balance, -2);
	CHECK_EQ(giver.returns.holdings.known[0].balance, -1);
	CHECK_EQ(giver.returns.holdings.known[1].balance, 0);
	take_all(&giver);
	scrub_living(&giver, FIRST);
	zcrx_findings_look(&giver.returns.findings);
	CHECK_EQ(giver.returns.holdings.known[0].balance, 0); /* over with it */
	giver_free(&giver);
}

/* ---- causes not taken note of yet -------------------------------------------------------------------------- */

static void a_consequence_of_a_lie_is_its_own_before_it_is_put_right(void)
{
	struct zcrx_reconciler reconciler;
	struct giver giver;

	init_liar(&giver, &reconciler, 8, ZCRX_FAULT_TAIL_BACK, 2);
	receive(&giver, 0, 5);
	refill(&giver); /* stale entries: the zeros name buffer 0 */
	refill(&giver);
	receive(&giver, 0, 6); /* given again while it is held */
	CHECK_EQ(NOTES(&giver, ownership_errors), 0);
	CHECK_EQ(NOTES(&giver, consequences[0]), 1);
	CHECK_EQ(giver.queue->notes->consequence[0].niov, 0);
	giver_free(&giver);
}

static void a_consequence_of_a_scrub_is_its_own_before_the_user_knows(void)
{
	struct giver giver;

	init_scrubbed(&giver, NULL, 0);
	receive(&giver, 3, 1);
	receive(&giver, 3, 2);
	CHECK_EQ(NOTES(&giver, ownership_errors), 1); /* nothing explains that */
	zcrx_queue_scrub_begin(giver.queue, SECOND);
	receive(&giver, 1, 2);
	CHECK_EQ(NOTES(&giver, ownership_errors), 1);
	CHECK_EQ(NOTES(&giver, consequences[1]), 1);
	giver_free(&giver);
}

/* ---- the user is gone ------------------------------------------------------------------------------------------ */

static void what_a_dead_liar_did_not_claim_is_claimed_for_it(void)
{
	struct zcrx_reconciler reconciler;
	struct giver giver;
	uint64_t written, count;

	init_liar(&giver, &reconciler, 64, ZCRX_FAULT_TAIL_RANDOM, 0);
	written = giver.returns.writer.position;
	CHECK_EQ(zcrx_queue_claim(giver.queue), 0); /* nothing was taken yet */
	refill(&giver);
	refill(&giver);
	count = consumed(&giver) - written;
	CHECK(count > 64);
	CHECK_EQ(zcrx_queue_claim(giver.queue), count);
	for (uint64_t at = written; at < written + count; at++)
		CHECK_MEANT(&giver, at, FIRST,
			    slot_of(&giver, at).__pad ? BAD_PAD : MAY_FIND_NOTHING);
	CHECK_EQ(NOTES(&giver, rqe_submitted), consumed(&giver));
	CHECK_EQ(zcrx_queue_claim(giver.queue), 0);
	zcrx_reconcile(&reconciler, giver.queue);
	CHECK_EQ(reconciler.checked, consumed(&giver));
	CHECK_EQ(reconciler.mismatch_count, 0);
	giver_free(&giver);
}

static void what_no_rule_explains_is_legal_in_no_way(void)
{
	const uint32_t rules[] = {0, ZCRX_RULES_MAX + 1, UINT32_MAX};

	for (size_t i = 0; i < COUNT_OF(rules); i++) {
		struct zcrx_reconciler reconciler;
		struct giver giver;
		uint64_t count;

		init_liar(&giver, &reconciler, 64, ZCRX_FAULT_TAIL_RANDOM, 0);
		refill(&giver);
		shm_store_relaxed_u32(&giver.queue->notes->astray_rule, rules[i], POINT_LOG);
		count = zcrx_queue_claim(giver.queue);
		CHECK(count > 0);
		shm_store_relaxed_u32(&giver.queue->notes->astray_rule, 0, POINT_LOG);
		zcrx_reconcile(&reconciler, giver.queue);
		CHECK_EQ(reconciler.mismatch_count, count);
		giver_free(&giver);
	}
}

/* The user can write any number of RQEs into its notes. */
static void a_count_that_cannot_be_leads_out_of_no_log(void)
{
	const uint64_t written[] = {UINT64_MAX, (uint64_t)INT64_MAX + 1, NEVER / 2, 1000000};
	struct zcrx_reconciler reconciler;
	struct giver giver;

	init_liar(&giver, &reconciler, 64, ZCRX_FAULT_TAIL_RANDOM, 0);
	refill(&giver);
	for (size_t i = 0; i < COUNT_OF(written); i++) {
		shm_store_relaxed_u64(&giver.queue->notes->written, written[i], POINT_LOG);
		zcrx_queue_claim(giver.queue);
	}
	giver_free(&giver);

	/* More than a log full ago: all that the log still holds is nobody's. */
	init_liar(&giver, &reconciler, 64, ZCRX_FAULT_TAIL_RANDOM, 0);
	refill(&giver);
	shm_store_relaxed_u64(&giver.queue->ifq.shared->consumed, 100000, POINT_LOG);
	shm_store_relaxed_u64(&giver.queue->notes->written, 7, POINT_LOG);
	CHECK_EQ(zcrx_queue_claim(giver.queue), 100000 - 7);
	for (uint32_t i = 0; i < 16384; i++)
		CHECK_EQ(giver.queue->intents[i], 0);
	giver_free(&giver);
}

CHECK_MAIN(CASE(what_was_taken_beyond_the_tail_is_claimed_by_its_bytes),
	   CASE(a_lie_that_nobody_saw_is_put_right_too),
	   CASE(nothing_is_written_while_the_log_has_no_room_to_put_a_lie_right),
	   CASE(a_scribbled_head_is_never_near_the_true_one),
	   CASE(the_last_head_is_not_lost_under_a_scribble),
	   CASE(an_entry_published_early_may_be_the_old_one_or_the_new_one),
	   CASE(an_entry_that_is_rewritten_may_be_malformed_in_its_way),
	   CASE(a_return_over_another_is_found_twice_and_may_rob_those_between),
	   CASE(an_overrun_waits_for_a_full_ring_and_for_the_other_rules),
	   CASE(returns_are_forgotten_when_the_ring_is_full_and_not_before),
	   CASE(an_overrun_ends_where_the_log_does),
	   CASE(a_stalled_tail_publishes_nothing_before_its_time_and_then_everything),
	   CASE(a_buffer_comes_again_before_the_copies_of_its_return_find_room),
	   CASE(as_many_returns_wait_as_there_are_and_in_their_order),
	   CASE(a_return_goes_through_the_other_ring_one_at_a_time),
	   CASE(nonsense_among_misdirected_returns_is_ignored),
	   CASE(a_scrub_leaves_nothing_to_count_on_that_was_there_before),
	   CASE(a_scrub_is_not_followed_before_it_is_over),
	   CASE(all_returns_on_their_way_count_after_a_scrub),
	   CASE(what_an_entry_was_counts_after_a_scrub_as_well),
	   CASE(a_consequence_of_a_lie_is_its_own_before_it_is_put_right),
	   CASE(a_consequence_of_a_scrub_is_its_own_before_the_user_knows),
	   CASE(what_a_dead_liar_did_not_claim_is_claimed_for_it),
	   CASE(what_no_rule_explains_is_legal_in_no_way),
	   CASE(a_count_that_cannot_be_leads_out_of_no_log))
