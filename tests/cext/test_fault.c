/* SPDX-License-Identifier: MIT */
/*
 * The fault applier: whatever the area's shape, each kind of entry earns its
 * verdict from the real provider; and plans fire as often as they say, the
 * same for the same seed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <sys/mman.h>

#include "fault.h"
#include "queue_memory.h"

static const struct io_uring_zcrx_rqe valid = {.off = 0x3040, .len = 1448};

/* ---- mutations ---------------------------------------------------------------- */

/*
 * A provider for any shape, without its memory: malformed entries never get as
 * far as a reference. One that did would find its count 0 and earn NO_USER_REF.
 */
struct judge {
	struct queue_memory memory;
	struct zcrx_area area;
	struct zcrx_rq_user user;
	struct zcrx_trace trace;
	struct zcrx_judgement judged[64];
};

static void judge_init(struct judge *judge, uint32_t num_niovs, uint32_t niov_shift)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_ifq *ifq = &judge->memory.queue.ifq;

	memset(judge, 0, sizeof(*judge));
	shape.rq_entries = 64;
	queue_memory_init(&judge->memory, &shape);
	judge->area = judge->memory.queue.area;
	judge->area.num_niovs = num_niovs;
	judge->area.niov_shift = niov_shift;
	/* Zeros for up to 2^24 buffers that cost nothing until they are looked at. */
	judge->area.niovs = mmap(NULL, num_niovs * sizeof(struct zcrx_niov), PROT_READ,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(judge->area.niovs != MAP_FAILED);
	ifq->area = &judge->area;
	judge->user = user_of(&judge->memory.queue);
	judge->trace = (struct zcrx_trace){.entries = judge->judged, .capacity = 64};
	ifq->trace = &judge->trace;
}

static void judge_free(struct judge *judge)
{
	munmap(judge->area.niovs, judge->area.num_niovs * sizeof(struct zcrx_niov));
	queue_memory_free(&judge->memory);
}

/* 64 mutations of a random valid entry, each judged. */
static void judge_kind(struct judge *judge, enum zcrx_fault_kind kind, enum zcrx_verdict verdict,
		       struct zcrx_rng *rng)
{
	uint32_t num_niovs = judge->area.num_niovs, niov_shift = judge->area.niov_shift;
	struct zcrx_ifq *ifq = &judge->memory.queue.ifq;
	uint32_t wrong = 0, aliases = 0;

	for (uint32_t i = 0; i < 64; i++) {
		struct io_uring_zcrx_rqe from = {
			.off = ((uint64_t)zcrx_rng_below(rng, num_niovs) << niov_shift) +
			       zcrx_rng_below(rng, UINT32_C(1) << niov_shift),
			.len = (uint32_t)zcrx_rng_next(rng),
		};
		struct io_uring_zcrx_rqe rqe =
			zcrx_fault_mutate(kind, rng, &from, num_niovs, niov_shift);

		wrong += rqe.len != from.len; /* the least that is changed */
		zcrx_rq_user_put(&judge->user, rqe.off, rqe.len, rqe.__pad);
	}
	zcrx_rq_user_publish(&judge->user);
	judge->trace.count = 0;
	REQUIRE(zcrx_ifq_refill_ring(ifq, zcrx_ifq_pool(ifq)) == 64);
	for (uint32_t i = 0; i < 64; i++) {
		wrong += judge->judged[i].verdict != verdict;
		aliases += judge->judged[i].alias;
	}
	if (!CHECK_EQ(wrong, 0) || !CHECK_EQ(aliases, 0))
		fprintf(stderr, "kind %d, num_niovs %u, niov_shift %u\n", (int)kind, num_niovs,
			niov_shift);
}

static void judge_kinds(uint32_t num_niovs, uint32_t niov_shift, struct zcrx_rng *rng)
{
	struct judge judge;

	judge_init(&judge, num_niovs, niov_shift);
	judge_kind(&judge, ZCRX_FAULT_BAD_PAD, ZCRX_BAD_PAD, rng);
	judge_kind(&judge, ZCRX_FAULT_BAD_AREA, ZCRX_BAD_AREA, rng);
	judge_kind(&judge, ZCRX_FAULT_BAD_INDEX, ZCRX_BAD_INDEX, rng);
	judge_free(&judge);
}

static void every_kind_earns_its_verdict_for_any_area(void)
{
	const uint32_t sizes[] = {1, 2, 17, 256, 65535, 1 << 20, (1 << 24) - 1, 1 << 24};
	const uint32_t shifts[] = {6, 11, 12, 15, 16, 17, 20, 23};
	struct zcrx_rng rng = zcrx_rng_for(3, 0);

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		for (size_t j = 0; j < COUNT_OF(shifts); j++)
			judge_kinds(sizes[i], shifts[j], &rng);
	}
	for (uint32_t i = 0; i < CHECK_REPEAT(400); i++) {
		uint32_t shift = 6 + zcrx_rng_below(&rng, 25);
		uint32_t most = shift <= 24 ? 1U << 24 : 1U << (48 - shift);

		judge_kinds(1 + zcrx_rng_below(&rng, most - 1), shift, &rng);
	}
}

/* One niov index is left beside the area: it must be the one that is drawn. */
static void an_area_with_one_index_to_spare_can_still_be_missed(void)
{
	struct zcrx_rng rng = zcrx_rng_for(4, 0);

	for (uint32_t shift = 25; shift <= 30; shift++)
		judge_kinds((1U << (48 - shift)) - 1, shift, &rng);
}

static void a_mutation_changes_one_field_and_leaves_the_rest(void)
{
	struct zcrx_rng rng = zcrx_rng_for(5, 0);

	for (uint32_t i = 0; i < 1000; i++) {
		struct io_uring_zcrx_rqe rqe =
			zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, &rng, &valid, 8, 12);

		CHECK(rqe.__pad != 0);
		CHECK_EQ(rqe.off, valid.off);
		rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_AREA, &rng, &valid, 8, 12);
		CHECK(rqe.off >> 48 != 0);
		CHECK_EQ(rqe.off & ~IORING_ZCRX_AREA_MASK, valid.off);
		CHECK_EQ(rqe.__pad, 0);
		rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_INDEX, &rng, &valid, 8, 12);
		CHECK((uint32_t)(rqe.off >> 12) >= 8);
		CHECK_EQ(rqe.off >> 48, 0);
		CHECK_EQ(rqe.off & 0xfff, valid.off & 0xfff);
		CHECK_EQ(rqe.__pad, 0);
	}
}

/* Generators whose next number is 0, and all ones: splitmix64 run backwards. */
static void the_least_and_the_greatest_numbers_drawn_are_mutations_too(void)
{
	const uint64_t states[] = {UINT64_C(0x61c8864680b583eb), UINT64_C(0x31628af67b2131ab)};

	for (size_t i = 0; i < COUNT_OF(states); i++) {
		struct zcrx_rng rng = {.state = states[i]};
		struct io_uring_zcrx_rqe rqe;

		CHECK_EQ(zcrx_rng_next(&rng), i ? UINT64_MAX : 0);
		rng.state = states[i];
		CHECK(zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, &rng, &valid, 8, 12).__pad != 0);
		rng.state = states[i];
		rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_AREA, &rng, &valid, 8, 12);
		CHECK(rqe.off >> 48 != 0);
		for (uint32_t shift = 6; shift <= 30; shift++) {
			rng.state = states[i];
			rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_INDEX, &rng, &valid, 8, shift);
			CHECK((uint32_t)(rqe.off >> shift) >= 8);
			CHECK_EQ(rqe.off >> 48, 0);
		}
	}
}

/* ---- plans ----------------------------------------------------------------------- */

/* Firings of each rule before valid entries 0 .. entries - 1. */
static void count_firings(struct zcrx_fault_plan *plan, uint64_t entries, uint64_t *firings)
{
	for (uint64_t ordinal = 0; ordinal < entries; ordinal++) {
		uint32_t fired = 0;

		while (zcrx_fault_is_due(plan, ordinal)) {
			struct io_uring_zcrx_rqe rqe;
			int rule = zcrx_fault_make(plan, ordinal, &valid, &rqe);

			if (!CHECK(rule >= 0 && (uint32_t)rule < plan->count))
				return;
			CHECK(!(fired >> rule & 1)); /* each rule once an entry */
			fired |= 1U << rule;
			firings[rule]++;
		}
	}
}

static struct zcrx_fault_plan plan_of(double probability, uint64_t seed)
{
	const struct zcrx_fault_rule rule = {ZCRX_FAULT_BAD_PAD, 0, probability};
	struct zcrx_fault_plan plan;

	REQUIRE(zcrx_fault_compile(&plan, &rule, 1, seed, 8, 12) == 0);
	return plan;
}

/* Within five standard deviations of what the probability promises. */
static void check_rate(double probability, uint64_t entries)
{
	struct zcrx_fault_plan plan = plan_of(probability, 99);
	double expected = probability * (double)entries;
	double margin = 5 * sqrt(expected * (1 - probability)) + 1;
	uint64_t firings = 0;

	count_firings(&plan, entries, &firings);
	if (!CHECK((double)firings >= expected - margin && (double)firings <= expected + margin))
		fprintf(stderr, "probability %g: %" PRIu64 " of %" PRIu64 "\n", probability,
			firings, entries);
}

static void rules_fire_as_often_as_their_probability_says(void)
{
	/* On both sides of where the way of drawing changes. */
	const double probabilities[] = {0.9, 0.5, 0.1, 0.0626, 0.0625, 0.0624, 0.01, 0.001, 1e-5};

	for (size_t i = 0; i < COUNT_OF(probabilities); i++)
		check_rate(probabilities[i], CHECK_REPEAT(1000000));
}

static void probability_0_never_fires(void)
{
	const double never[] = {0.0, -0.0, 5e-324, 1e-300};

	for (size_t i = 0; i < COUNT_OF(never); i++) {
		struct zcrx_fault_plan plan = plan_of(never[i], 1);

		CHECK(!zcrx_fault_is_due(&plan, 0));
		CHECK(!zcrx_fault_is_due(&plan, UINT64_MAX / 4));
	}
}

static void probability_1_fires_before_each_entry(void)
{
	struct zcrx_fault_plan plan = plan_of(1.0, 1);
	uint64_t firings = 0;

	count_firings(&plan, 10000, &firings);
	CHECK_EQ(firings, 10000);
}

static void an_empty_plan_is_never_due(void)
{
	struct zcrx_fault_plan plan;
	struct io_uring_zcrx_rqe rqe;

	CHECK_EQ(zcrx_fault_compile(&plan, NULL, 0, 1, 8, 12), 0);
	CHECK(!zcrx_fault_is_due(&plan, 1000000));
	CHECK_EQ(zcrx_fault_make(&plan, 1000000, &valid, &rqe), -1);
}

static void rules_that_are_due_together_fire_once_each(void)
{
	const struct zcrx_fault_rule rules[] = {
		{ZCRX_FAULT_BAD_PAD, 0, 1.0},
		{ZCRX_FAULT_BAD_AREA, 0, 1.0},
		{ZCRX_FAULT_BAD_INDEX, 0, 0.5},
	};
	struct zcrx_fault_plan plan;
	uint64_t firings[3] = {0};

	REQUIRE(zcrx_fault_compile(&plan, rules, 3, 1, 8, 12) == 0);
	count_firings(&plan, 1000, firings);
	CHECK_EQ(firings[0], 1000);
	CHECK_EQ(firings[1], 1000);
	CHECK(firings[2] > 400 && firings[2] < 600);
}

static bool same_firings(struct zcrx_fault_plan *first, struct zcrx_fault_plan *second)
{
	for (uint64_t ordinal = 0; ordinal < 20000; ordinal++) {
		struct io_uring_zcrx_rqe one = {0}, other = {0};
		int rule = zcrx_fault_make(first, ordinal, &valid, &one);

		if (rule != zcrx_fault_make(second, ordinal, &valid, &other) ||
		    memcmp(&one, &other, sizeof(one)) != 0)
			return false;
		ordinal -= rule >= 0; /* further rules may be due before the same entry */
	}
	return true;
}

static void the_same_seed_gives_the_same_firings_and_entries(void)
{
	const double probabilities[] = {0.5, 0.01};

	for (size_t i = 0; i < COUNT_OF(probabilities); i++) {
		struct zcrx_fault_plan plan = plan_of(probabilities[i], 7);
		struct zcrx_fault_plan same = plan_of(probabilities[i], 7);
		struct zcrx_fault_plan again = plan_of(probabilities[i], 7);
		struct zcrx_fault_plan other = plan_of(probabilities[i], 8);

		CHECK(same_firings(&plan, &same));
		CHECK(!same_firings(&again, &other));
	}
}

/* A plan can be cut down without changing what is left of it. */
static void a_rule_fires_the_same_whatever_stands_behind_it(void)
{
	const struct zcrx_fault_rule rules[] = {
		{ZCRX_FAULT_BAD_PAD, 0, 0.25},
		{ZCRX_FAULT_BAD_AREA, 0, 0.5},
	};
	struct zcrx_fault_plan plan, both;
	uint64_t firings[2] = {0}, alone = 0;

	REQUIRE(zcrx_fault_compile(&plan, rules, 1, 5, 8, 12) == 0);
	REQUIRE(zcrx_fault_compile(&both, rules, 2, 5, 8, 12) == 0);
	count_firings(&plan, 10000, &alone);
	count_firings(&both, 10000, firings);
	CHECK_EQ(firings[0], alone);
}

static void impossible_plans_are_refused(void)
{
	static struct zcrx_fault_rule rules[65];
	struct zcrx_fault_plan plan;
	const struct {
		uint32_t kind;
		double probability;
	} bad[] = {
		{0, 0.5}, {4, 0.5}, {UINT32_MAX, 0.5},
		{1, -1e-9}, {1, 1.0000001}, {1, NAN}, {1, INFINITY}, {1, -INFINITY},
	};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		rules[0] = (struct zcrx_fault_rule){bad[i].kind, 0, bad[i].probability};
		CHECK_EQ(zcrx_fault_compile(&plan, rules, 1, 1, 8, 12), -EINVAL);
	}
	for (uint32_t i = 0; i < 65; i++)
		rules[i] = (struct zcrx_fault_rule){ZCRX_FAULT_BAD_PAD, 0, 1.0};
	CHECK_EQ(zcrx_fault_compile(&plan, rules, 64, 1, 8, 12), 0);
	CHECK_EQ(zcrx_fault_compile(&plan, rules, 65, 1, 8, 12), -EINVAL);
}

static void an_index_out_of_range_needs_an_index_that_is_out_of_range(void)
{
	const struct zcrx_fault_rule rules[] = {
		{ZCRX_FAULT_BAD_PAD, 0, 1.0},
		{ZCRX_FAULT_BAD_INDEX, 0, 1.0},
	};
	struct zcrx_fault_plan plan;

	CHECK_EQ(zcrx_fault_compile(&plan, rules, 2, 1, 1 << 18, 30), -EINVAL);
	CHECK_EQ(zcrx_fault_compile(&plan, rules, 2, 1, (1 << 18) - 1, 30), 0);
	CHECK_EQ(zcrx_fault_compile(&plan, rules, 1, 1, 1 << 18, 30), 0);
	CHECK_EQ(zcrx_fault_compile(&plan, rules, 2, 1, 1 << 24, 12), 0);
}

/* ---- the numbers behind it ------------------------------------------------------------ */

/* Published outputs of splitmix64 for the states 0 and 1234567. */
static void the_generator_is_splitmix64(void)
{
	struct zcrx_rng zero = {.state = 0}, other = {.state = 1234567};

	CHECK_EQ(zcrx_rng_next(&zero), UINT64_C(0xe220a8397b1dcdaf));
	CHECK_EQ(zcrx_rng_next(&zero), UINT64_C(0x6e789e6aa1b965f4));
	CHECK_EQ(zcrx_rng_next(&zero), UINT64_C(0x06c45d188009454f));
	CHECK_EQ(zcrx_rng_next(&other), UINT64_C(6457827717110365317));
	CHECK_EQ(zcrx_rng_next(&other), UINT64_C(3203168211198807973));
	CHECK_EQ(zcrx_rng_next(&other), UINT64_C(9817491932198370423));
}

static void bounded_numbers_stay_below_their_bound_and_reach_it(void)
{
	struct zcrx_rng rng = zcrx_rng_for(1, 1);
	uint32_t seen[7] = {0};

	for (uint32_t i = 0; i < 7000; i++) {
		uint32_t number = zcrx_rng_below(&rng, 7);

		if (CHECK(number < 7))
			seen[number]++;
		CHECK_EQ(zcrx_rng_below(&rng, 1), 0);
	}
	for (uint32_t i = 0; i < 7; i++)
		CHECK(seen[i] > 800 && seen[i] < 1200);
}

CHECK_MAIN(CASE(every_kind_earns_its_verdict_for_any_area),
	   CASE(an_area_with_one_index_to_spare_can_still_be_missed),
	   CASE(a_mutation_changes_one_field_and_leaves_the_rest),
	   CASE(the_least_and_the_greatest_numbers_drawn_are_mutations_too),
	   CASE(rules_fire_as_often_as_their_probability_says), CASE(probability_0_never_fires),
	   CASE(probability_1_fires_before_each_entry), CASE(an_empty_plan_is_never_due),
	   CASE(rules_that_are_due_together_fire_once_each),
	   CASE(the_same_seed_gives_the_same_firings_and_entries),
	   CASE(a_rule_fires_the_same_whatever_stands_behind_it), CASE(impossible_plans_are_refused),
	   CASE(an_index_out_of_range_needs_an_index_that_is_out_of_range),
	   CASE(the_generator_is_splitmix64),
	   CASE(bounded_numbers_stay_below_their_bound_and_reach_it))
