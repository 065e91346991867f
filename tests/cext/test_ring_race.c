/* SPDX-License-Identifier: MIT */
/*
 * The refill that is under way while its tail lies, is put right, or while the
 * entry that it reads is rewritten: a provider thread that refills all the time
 * against a user thread whose rules do nothing else, and a reconciler that
 * looks meanwhile. Every verdict must be one that was foreseen.
 */
#include "giver.h"
#include "actors/nic_queue.h"
#include "threads.h"

#define NIOVS 16U

struct race {
	struct giver giver; /* its view of the queue is the user's */
	struct zcrx_queue provider, control;
	struct zcrx_nic_queue nq;
	uint32_t generation[NIOVS];
	struct zcrx_reconciler reconciler;
	atomic_bool over;
};

static void race_init(struct race *race, uint32_t rq_entries, uint64_t seed,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_consumer_params params = plain;
	struct zcrx_shape shape = small_shape();
	struct zcrx_mapping *mapping;

	memset(race, 0, sizeof(*race));
	shape.num_niovs = NIOVS;
	shape.rq_entries = rq_entries;
	params.seed = seed;
	giver_init(&race->giver, &shape, &params, rules, rule_count);
	mapping = &race->giver.memory.mapping;
	REQUIRE(zcrx_queue_attach(&race->provider, &shape, 0, mapping) == 0);
	REQUIRE(zcrx_queue_attach(&race->control, &shape, 0, mapping) == 0);
	REQUIRE(zcrx_queue_attach(&race->nq.queue, &shape, 0, mapping) == 0);
	race->provider.ifq.is_checked = true;
	race->nq.generation = race->generation;
	race->nq.user = 1;
	race->reconciler = reconciler_of(&race->giver);
}

/* Provider and NIC: each buffer that comes home is delivered again, in two fragments. */
static void *refill_and_deliver(void *context)
{
	struct race *race = context;
	struct zcrx_ifq *ifq = &race->provider.ifq;

	while (!atomic_load(&race->over)) {
		if (zcrx_ifq_refill_ring(ifq, zcrx_ifq_pool(ifq)) == 0)
			sched_yield();
		grant(&race->provider, 4);
		while (zcrx_nic_queue_room(&race->nq, 2, 1) == ZCRX_OFFERED) {
			zcrx_nic_queue_open(&race->nq);
			zcrx_nic_queue_fragment(&race->nq, 0, 64, 0);
			zcrx_nic_queue_fragment(&race->nq, 0, 64, 0);
			zcrx_nic_queue_close(&race->nq);
		}
		zcrx_nic_queue_publish(&race->nq);
	}
	return NULL;
}

static void *receive_and_return(void *context)
{
	struct race *race = context;
	struct zcrx_queue *queue = race->giver.queue;
	struct zcrx_cq_user cq = {
		.head = queue->cq.head,
		.tail = queue->cq.tail,
		.cqes = queue->cq.cqes,
		.entries = queue->cq.entries,
		.mask = queue->cq.mask,
		.cached_head = queue->shape.initial_index,
		.cached_tail = queue->shape.initial_index,
	};

	while (!atomic_load(&race->over)) {
		uint32_t available = zcrx_cq_user_available(&cq);

		for (uint32_t i = 0; i < available; i++) {
			struct zcrx_cqe32 cqe = zcrx_cq_user_take(&cq);
			struct zcrx_held held = {.off = cqe.zcrx.off, .len = 64};

			zcrx_findings_received(&race->giver.returns.findings, &held,
					       cq.cached_head - 1);
			zcrx_returns_give(&race->giver.returns, held);
		}
		zcrx_cq_user_release(&cq);
		zcrx_returns_flush(&race->giver.returns);
		if (available == 0)
			sched_yield();
	}
	return NULL;
}

/* Until so many entries were judged, or nothing comes any more. */
static void reconcile_until(struct race *race, uint64_t enough)
{
	struct budget budget = {0};

	while (race->reconciler.checked < enough && in_budget(&budget)) {
		if (zcrx_reconcile(&race->reconciler, &race->control) == 0)
			sched_yield();
	}
}

static void judge(struct race *race)
{
	struct zcrx_reconciler *reconciler = &race->reconciler;

	zcrx_queue_claim(&race->control);
	zcrx_reconcile(reconciler, &race->control);
	if (!CHECK_EQ(reconciler->mismatch_count, 0))
		fprintf(stderr, "position %" PRIu64 ": intent %04x, verdict %x\n",
			reconciler->mismatches[0].position, reconciler->mismatches[0].intent,
			reconciler->mismatches[0].verdict);
	CHECK_EQ(reconciler->lost, 0);
	CHECK_EQ(reconciler->checked, zcrx_queue_consumed(&race->control));
	CHECK_EQ(count_of(&race->control.nic->ownership_violations), 0);
	zcrx_queue_scrub(&race->control, NULL);
	zcrx_nic_queue_return_grants(&race->nq);
	CHECK_EQ(zcrx_ifq_teardown(&race->provider.ifq), 0);
}

/* How many entries were judged. */
static uint64_t run_race(uint32_t rq_entries, uint64_t seed, const struct zcrx_fault_rule *rules,
			 uint32_t rule_count, uint64_t enough)
{
	struct threads threads = {0};
	struct race race;

	race_init(&race, rq_entries, seed, rules, rule_count);
	threads_start(&threads, refill_and_deliver, &race);
	threads_start(&threads, receive_and_return, &race);
	reconcile_until(&race, enough);
	atomic_store(&race.over, true);
	threads_join(&threads);
	judge(&race);
	giver_free(&race.giver);
	return race.reconciler.checked;
}

static struct zcrx_fault_rule rule_often(uint32_t kind, double probability, uint32_t param)
{
	struct zcrx_fault_rule rule = rule_likely(kind, probability);

	rule.params[0] = param;
	return rule;
}

static void a_refill_under_way_never_gets_beyond_what_was_claimed(void)
{
	static const uint32_t rings[] = {1, 8, 64, 128};
	const struct zcrx_fault_rule rules[] = {
		rule_often(ZCRX_FAULT_TAIL_BACK, 0.2, 3),
		rule_often(ZCRX_FAULT_TAIL_RANDOM, 0.1, 0),
		rule_often(ZCRX_FAULT_BAD_PAD, 0.2, 0),
		rule_often(ZCRX_FAULT_HEAD_SCRIBBLE, 0.1, 0),
		rule_often(ZCRX_FAULT_DOUBLE_RETURN, 0.02, 1),
	};
	uint64_t judged = 0;

	for (size_t i = 0; i < COUNT_OF(rings); i++)
		judged += run_race(rings[i], i, rules, COUNT_OF(rules), CHECK_REPEAT(400000U));
	CHECK(judged > 1000);
}

/*
 * Returns are lost by these, so that a queue ends when so many were as there are
 * buffers: many short runs.
 */
static void an_entry_that_changes_under_a_refill_is_one_or_the_other(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_often(ZCRX_FAULT_RQE_REWRITE, 0.05, 200),
		rule_often(ZCRX_FAULT_RQE_REWRITE, 0.05, 200),
		rule_often(ZCRX_FAULT_RQE_REWRITE, 0.05, 200),
		rule_often(ZCRX_FAULT_TAIL_EARLY, 0.05, 2),
		rule_often(ZCRX_FAULT_RQ_OVERRUN, 0.05, 2),
		rule_often(ZCRX_FAULT_TAIL_BACK, 0.05, 2),
	};
	struct budget budget = {0};
	uint64_t judged = 0;

	for (uint32_t i = 0; i < COUNT_OF(rules); i++) {
		rules[i].params[1] = i; /* value of a rewrite */
		rules[i].limit = 2;
	}
	for (uint64_t seed = 1; seed <= CHECK_REPEAT(64U) && in_budget(&budget); seed++)
		judged += run_race(UINT32_C(1) << seed % 8, seed, rules, COUNT_OF(rules), 400);
	CHECK(judged > 100);
}

CHECK_MAIN(CASE(a_refill_under_way_never_gets_beyond_what_was_claimed),
	   CASE(an_entry_that_changes_under_a_refill_is_one_or_the_other))
