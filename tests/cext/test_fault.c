/* SPDX-License-Identifier: MIT */
/*
 * Fault plans: whatever the area's shape, each kind of entry earns its verdict
 * from the real provider; and rules fire where they say, or as often as they
 * say, the same for the same seed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <sys/mman.h>

#include "faults/fault.h"
#include "queue_memory.h"
#include "rules.h"

#define NEVER ZCRX_FAULT_NEVER
#define VALUES 5U /* variants of a content fault, at most: 0 .. 4 */

static const struct io_uring_zcrx_rqe valid = {.off = 0x3040, .len = 1448};
static const struct zcrx_fault_area eight = {.num_niovs = 8, .niov_shift = 12};

/* ---- mutations ---------------------------------------------------------------- */

/*
 * A provider for any shape, without its memory. Malformed entries never get as
 * far as a reference: one that did would find its count 0 and earn NO_USER_REF.
 */
struct judge {
	struct queue_memory memory;
	struct zcrx_area area;
	struct zcrx_fault_area shape;
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
	judge->shape = (struct zcrx_fault_area){.num_niovs = num_niovs, .niov_shift = niov_shift};
	/* Zeros for up to 2^24 buffers that cost nothing until they are looked at. */
	judge->area.niovs = mmap(NULL, num_niovs * sizeof(struct zcrx_niov), PROT_READ | PROT_WRITE,
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

/* A kind and its variant. */
struct content {
	enum zcrx_fault_kind kind;
	uint32_t value;
};

static struct io_uring_zcrx_rqe random_return(const struct judge *judge, struct zcrx_rng *rng)
{
	return (struct io_uring_zcrx_rqe){
		.off = ((uint64_t)zcrx_rng_below(rng, judge->shape.num_niovs)
			<< judge->shape.niov_shift) +
		       zcrx_rng_below(rng, UINT32_C(1) << judge->shape.niov_shift),
		.len = (uint32_t)zcrx_rng_next(rng),
	};
}

/* The provider's word on all 64 entries that were put. */
static void judge_all(struct judge *judge)
{
	struct zcrx_ifq *ifq = &judge->memory.queue.ifq;

	zcrx_rq_user_publish(&judge->user);
	judge->trace.count = 0;
	REQUIRE(zcrx_ifq_refill_ring(ifq, zcrx_ifq_pool(ifq)) == 64);
}

static void say_which(const struct judge *judge, const struct content *content)
{
	fprintf(stderr, "kind %d, value %u, num_niovs %u, niov_shift %u\n", (int)content->kind,
		content->value, judge->shape.num_niovs, judge->shape.niov_shift);
}

/* 64 mutations of a random valid entry: all of them earn that verdict. */
static void judge_bad(struct judge *judge, struct content content, enum zcrx_verdict verdict,
		      struct zcrx_rng *rng)
{
	uint32_t wrong = 0, aliases = 0;

	for (uint32_t i = 0; i < 64; i++) {
		struct io_uring_zcrx_rqe from = random_return(judge, rng);
		struct io_uring_zcrx_rqe rqe =
			zcrx_fault_mutate(content.kind, content.value, rng, &from, &judge->shape);

		wrong += rqe.len != from.len; /* the least that is changed */
		zcrx_rq_user_put(&judge->user, rqe.off, rqe.len, rqe.__pad);
	}
	judge_all(judge);
	for (uint32_t i = 0; i < 64; i++) {
		wrong += judge->judged[i].verdict != verdict;
		aliases += judge->judged[i].alias;
	}
	if (!CHECK_EQ(wrong, 0) || !CHECK_EQ(aliases, 0))
		say_which(judge, &content);
}

/*
 * 64 returns that stay valid: each of them takes back the one reference that its
 * buffer has for it (while the stack keeps its own), and no other.
 */
static void judge_valid(struct judge *judge, struct content content, uint32_t aliases_expected,
			struct zcrx_rng *rng)
{
	uint32_t niovs[64], wrong = 0, aliases = 0;

	for (uint32_t i = 0; i < 64; i++) {
		struct io_uring_zcrx_rqe from = random_return(judge, rng);
		struct io_uring_zcrx_rqe rqe =
			zcrx_fault_mutate(content.kind, content.value, rng, &from, &judge->shape);

		niovs[i] = (uint32_t)(from.off >> judge->shape.niov_shift);
		zcrx_pp_ref_init(&judge->area, niovs[i]);
		zcrx_rq_user_put(&judge->user, rqe.off, rqe.len, rqe.__pad);
	}
	for (uint32_t i = 0; i < 64; i++) {
		zcrx_pp_ref_get(&judge->area, niovs[i], 1);
		zcrx_user_ref_give(&judge->area, niovs[i], 1);
	}
	judge_all(judge);
	for (uint32_t i = 0; i < 64; i++) {
		wrong += judge->judged[i].verdict != ZCRX_STILL_REFERENCED ||
			 judge->judged[i].niov != niovs[i] ||
			 word_of(&judge->area.niovs[niovs[i]].user_refs) != 0 ||
			 word_of(&judge->area.niovs[niovs[i]].pp_refs) != 1;
		aliases += judge->judged[i].alias;
	}
	if (!CHECK_EQ(wrong, 0) || !CHECK_EQ(aliases, aliases_expected))
		say_which(judge, &content);
}

static void judge_kinds(uint32_t num_niovs, uint32_t niov_shift, struct zcrx_rng *rng)
{
	struct judge judge;

	judge_init(&judge, num_niovs, niov_shift);
	for (uint32_t value = 0; value < VALUES; value++) {
		judge_bad(&judge, (struct content){ZCRX_FAULT_BAD_PAD, value}, ZCRX_BAD_PAD, rng);
		judge_bad(&judge, (struct content){ZCRX_FAULT_BAD_AREA, value}, ZCRX_BAD_AREA, rng);
		judge_bad(&judge, (struct content){ZCRX_FAULT_BAD_INDEX, value}, ZCRX_BAD_INDEX,
			  rng);
	}
	judge_bad(&judge, (struct content){ZCRX_FAULT_BAD_OFFSET, 1}, ZCRX_BAD_AREA, rng);
	judge_bad(&judge, (struct content){ZCRX_FAULT_BAD_OFFSET, 2}, ZCRX_BAD_INDEX, rng);
	judge_free(&judge);
}

/* Indices have more than 32 bits only in buffers of less than 64 KiB. */
static void judge_valid_kinds(uint32_t num_niovs, uint32_t niov_shift, struct zcrx_rng *rng)
{
	struct judge judge;

	judge_init(&judge, num_niovs, niov_shift);
	judge_valid(&judge, (struct content){ZCRX_FAULT_ALIAS, 0}, niov_shift < 16 ? 64 : 0, rng);
	judge_valid(&judge, (struct content){ZCRX_FAULT_MID_BUFFER, 0}, 0, rng);
	for (uint32_t value = 0; value < 3; value++)
		judge_valid(&judge, (struct content){ZCRX_FAULT_LEN_GARBAGE, value}, 0, rng);
	judge_free(&judge);
}

static void every_kind_earns_its_verdict_for_any_area(void)
{
	const uint32_t sizes[] = {1, 2, 17, 256, 65535, 1 << 20, (1 << 24) - 1, 1 << 24};
	const uint32_t shifts[] = {6, 11, 12, 15, 16, 17, 20, 23};
	struct zcrx_rng rng = zcrx_rng_for(3, 0);

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		for (size_t j = 0; j < COUNT_OF(shifts); j++) {
			judge_kinds(sizes[i], shifts[j], &rng);
			judge_valid_kinds(sizes[i], shifts[j], &rng);
		}
	}
	for (uint32_t i = 0; i < CHECK_REPEAT(400); i++) {
		uint32_t shift = 6 + zcrx_rng_below(&rng, 25);
		uint32_t most = shift <= 24 ? 1U << 24 : 1U << (48 - shift);

		judge_kinds(1 + zcrx_rng_below(&rng, most - 1), shift, &rng);
		judge_valid_kinds(1 + zcrx_rng_below(&rng, most - 1), shift, &rng);
	}
}

/* Random offsets may be anything; what the provider says of them is what their bits say. */
static void a_random_offset_is_judged_by_its_bits(void)
{
	struct zcrx_rng rng = zcrx_rng_for(6, 0);
	struct io_uring_zcrx_rqe rqes[64];
	uint32_t ids = 0;
	struct judge judge;

	judge_init(&judge, 1 << 24, 12);
	for (uint32_t i = 0; i < 64; i++) {
		rqes[i] = zcrx_fault_mutate(ZCRX_FAULT_BAD_OFFSET, 0, &rng, &valid, &judge.shape);
		CHECK_EQ(rqes[i].len, valid.len);
		CHECK_EQ(rqes[i].__pad, 0);
		zcrx_rq_user_put(&judge.user, rqes[i].off, rqes[i].len, rqes[i].__pad);
	}
	judge_all(&judge);
	for (uint32_t i = 0; i < 64; i++) {
		ids += judge.judged[i].verdict == ZCRX_BAD_AREA;
		CHECK_EQ(judge.judged[i].verdict == ZCRX_BAD_AREA, rqes[i].off >> 48 != 0);
	}
	CHECK(ids > 60);
	judge_free(&judge);
}

/* The bits that vanish lie above the index's 32nd: a shift in 32 bits would change the buffer. */
static void an_alias_keeps_the_low_32_bits_of_the_index_and_sets_one_above(void)
{
	struct zcrx_rng rng = zcrx_rng_for(7, 0);

	for (uint32_t shift = 6; shift <= 30; shift++) {
		const struct zcrx_fault_area area = {1 << 10, shift, 0};
		uint64_t seen = 0;

		for (uint32_t i = 0; i < 1000; i++) {
			struct io_uring_zcrx_rqe from = {
				.off = (uint64_t)zcrx_rng_below(&rng, 1 << 10) << shift | 33,
				.len = 5,
			};
			struct io_uring_zcrx_rqe rqe =
				zcrx_fault_mutate(ZCRX_FAULT_ALIAS, 0, &rng, &from, &area);
			uint64_t index = rqe.off >> shift;

			CHECK_EQ((uint32_t)index, from.off >> shift);
			CHECK_EQ(index >> 32 != 0, shift < 16);
			CHECK_EQ(rqe.off >> 48, 0);
			CHECK_EQ(rqe.off & 63, 33);
			CHECK_EQ(rqe.len, 5);
			CHECK_EQ(rqe.__pad, 0);
			seen |= index >> 32;
		}
		CHECK_EQ(seen,
			 shift < 16 ? (1 << (16 - shift)) - 1 : 0); /* each of them is drawn */
	}
}

static void the_variants_of_a_fault_are_the_values_that_they_name(void)
{
	struct zcrx_rng rng = zcrx_rng_for(8, 0);
	const struct {
		struct content content;
		uint64_t off;
		uint32_t len, pad;
	} expected[] = {
		{{ZCRX_FAULT_BAD_PAD, 2}, 0x3040, 1448, UINT32_MAX},
		{{ZCRX_FAULT_BAD_AREA, 1}, UINT64_C(1) << 48 | 0x3040, 1448, 0},
		{{ZCRX_FAULT_BAD_AREA, 2}, UINT64_C(0xffff) << 48 | 0x3040, 1448, 0},
		{{ZCRX_FAULT_BAD_INDEX, 1}, 0x8040, 1448, 0},
		{{ZCRX_FAULT_BAD_INDEX, 2}, 0x9040, 1448, 0},
		{{ZCRX_FAULT_BAD_INDEX, 3}, UINT64_C(0x80000000) << 12 | 0x40, 1448, 0},
		{{ZCRX_FAULT_BAD_INDEX, 4}, UINT64_C(0xfffffffff) << 12 | 0x40, 1448, 0},
		{{ZCRX_FAULT_BAD_OFFSET, 1}, UINT64_MAX, 1448, 0},
		{{ZCRX_FAULT_BAD_OFFSET, 2}, (UINT64_C(1) << 48) - 1, 1448, 0},
		{{ZCRX_FAULT_LEN_GARBAGE, 1}, 0x3040, 0, 0},
		{{ZCRX_FAULT_LEN_GARBAGE, 2}, 0x3040, UINT32_MAX, 0},
		{{ZCRX_FAULT_DOUBLE_RETURN, 1}, 0x3040, 1448, 0}, /* no content fault */
	};

	for (size_t i = 0; i < COUNT_OF(expected); i++) {
		struct io_uring_zcrx_rqe rqe = zcrx_fault_mutate(
			expected[i].content.kind, expected[i].content.value, &rng, &valid, &eight);

		CHECK_EQ(rqe.off, expected[i].off);
		CHECK_EQ(rqe.len, expected[i].len);
		CHECK_EQ(rqe.__pad, expected[i].pad);
	}
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t pad = zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, 1, &rng, &valid, &eight).__pad;

		CHECK(pad && (pad & (pad - 1)) == 0); /* one bit */
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
			zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, 0, &rng, &valid, &eight);

		CHECK(rqe.__pad != 0);
		CHECK_EQ(rqe.off, valid.off);
		rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_AREA, 0, &rng, &valid, &eight);
		CHECK(rqe.off >> 48 != 0);
		CHECK_EQ(rqe.off & ~IORING_ZCRX_AREA_MASK, valid.off);
		CHECK_EQ(rqe.__pad, 0);
		rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_INDEX, 0, &rng, &valid, &eight);
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
		CHECK(zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, 0, &rng, &valid, &eight).__pad != 0);
		rng.state = states[i];
		rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_AREA, 0, &rng, &valid, &eight);
		CHECK(rqe.off >> 48 != 0);
		for (uint32_t shift = 6; shift <= 30; shift++) {
			const struct zcrx_fault_area area = {8, shift, 0};

			rng.state = states[i];
			rqe = zcrx_fault_mutate(ZCRX_FAULT_BAD_INDEX, 0, &rng, &valid, &area);
			CHECK((uint32_t)(rqe.off >> shift) >= 8);
			CHECK_EQ(rqe.off >> 48, 0);
		}
	}
}

/* ---- plans ----------------------------------------------------------------------- */

static struct zcrx_fault_plan compiled(const struct zcrx_fault_rule *rules, uint32_t count,
				       uint64_t seed)
{
	struct zcrx_fault_plan plan;

	REQUIRE(zcrx_fault_compile(&plan, rules, count, seed, 0, &eight) == 0);
	return plan;
}

/* Firings of each rule at ordinals from .. until - 1. */
static void count_firings_from(struct zcrx_fault_plan *plan, uint64_t from, uint64_t until,
			       uint64_t *firings)
{
	for (uint64_t ordinal = from; ordinal < until; ordinal++) {
		uint64_t fired = 0;

		while (zcrx_fault_is_due(plan, ordinal)) {
			int rule = zcrx_fault_take(plan, ordinal);

			if (!CHECK(rule >= 0 && (uint32_t)rule < plan->count))
				return;
			CHECK(!(fired >> rule & 1)); /* each rule once an ordinal */
			fired |= UINT64_C(1) << rule;
			firings[rule]++;
		}
	}
}

static void count_firings(struct zcrx_fault_plan *plan, uint64_t entries, uint64_t *firings)
{
	count_firings_from(plan, 0, entries, firings);
}

/* One rule fires at these ordinals below 1000, and at no other. */
static void check_firings(struct zcrx_fault_plan *plan, uint64_t from, const uint64_t *ordinals,
			  uint32_t count)
{
	uint32_t fired = 0;

	for (uint64_t ordinal = from; ordinal < 1000; ordinal++) {
		if (!zcrx_fault_is_due(plan, ordinal)) {
			CHECK_EQ(zcrx_fault_take(plan, ordinal), -1);
			continue;
		}
		CHECK_EQ(zcrx_fault_take(plan, ordinal), 0);
		if (CHECK(fired < count))
			CHECK_EQ(ordinal, ordinals[fired++]);
	}
	CHECK_EQ(fired, count);
}

#define CHECK_FIRES_AT(rule, ...)                                      \
	do {                                                           \
		const uint64_t ordinals[] = {__VA_ARGS__};             \
		struct zcrx_fault_plan plan = compiled(&(rule), 1, 1); \
                                                                       \
		check_firings(&plan, 0, ordinals, COUNT_OF(ordinals)); \
	} while (0)

static struct zcrx_fault_plan plan_of(double probability, uint64_t seed)
{
	const struct zcrx_fault_rule rule = rule_likely(ZCRX_FAULT_BAD_PAD, probability);

	return compiled(&rule, 1, seed);
}

/* ---- triggers by arithmetic ------------------------------------------------------------ */

static void a_rule_fires_once_at_its_ordinal(void)
{
	struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_BAD_PAD, 7);
	struct zcrx_fault_plan plan;

	CHECK_FIRES_AT(rule, 7);
	rule.at = 0;
	CHECK_FIRES_AT(rule, 0);
	rule.first = 1;
	plan = compiled(&rule, 1, 1);
	CHECK_EQ(plan.next, NEVER); /* outside its window */
	rule = rule_at(ZCRX_FAULT_BAD_PAD, NEVER - 1);
	plan = compiled(&rule, 1, 1);
	CHECK_EQ(plan.next, NEVER - 1);
	CHECK_EQ(zcrx_fault_take(&plan, NEVER - 1), 0);
	CHECK_EQ(plan.next, NEVER);
}

static void a_rule_fires_once_at_each_ordinal_of_a_list(void)
{
	static const uint64_t list[] = {0, 1, 7, 500, 999, NEVER - 1};
	struct zcrx_fault_rule rule = rule_listed(ZCRX_FAULT_BAD_PAD, list, COUNT_OF(list));

	CHECK_FIRES_AT(rule, 0, 1, 7, 500, 999);
	rule.limit = 3;
	CHECK_FIRES_AT(rule, 0, 1, 7);
	rule.limit = 0;
	rule.first = 2;
	rule.last = 500;
	CHECK_FIRES_AT(rule, 7, 500);
}

static void a_list_that_does_not_ascend_is_refused(void)
{
	static const uint64_t twice[] = {1, 5, 5}, down[] = {1, 5, 4};
	const uint64_t *const lists[] = {twice, down};
	struct zcrx_fault_plan plan;

	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		struct zcrx_fault_rule rule = rule_listed(ZCRX_FAULT_BAD_PAD, lists[i], 3);

		CHECK_EQ(zcrx_fault_compile(&plan, &rule, 1, 1, 0, &eight), -EINVAL);
		rule.at_count = 2;
		CHECK_EQ(zcrx_fault_compile(&plan, &rule, 1, 1, 0, &eight), 0);
	}
}

static void a_rule_fires_at_each_multiple_within_its_window(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_BAD_PAD, 250);

	CHECK_FIRES_AT(rule, 0, 250, 500, 750);
	rule.first = 1;
	CHECK_FIRES_AT(rule, 250, 500, 750);
	rule.first = 250;
	rule.last = 500; /* both ends belong to it */
	CHECK_FIRES_AT(rule, 250, 500);
	rule.first = 251;
	rule.last = 749;
	CHECK_FIRES_AT(rule, 500);
	rule.every = 1;
	rule.first = 3;
	rule.last = 5;
	CHECK_FIRES_AT(rule, 3, 4, 5);
	rule.first = rule.last = 8;
	CHECK_FIRES_AT(rule, 8);
}

static void a_window_without_a_multiple_is_silent(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_BAD_PAD, 10);
	struct zcrx_fault_plan plan;

	rule.first = 11;
	rule.last = 19;
	plan = compiled(&rule, 1, 1);
	CHECK_EQ(plan.next, NEVER);
	rule.last = 5; /* before its start */
	plan = compiled(&rule, 1, 1);
	CHECK_EQ(plan.next, NEVER);
	rule = rule_every(ZCRX_FAULT_BAD_PAD,
			  UINT64_MAX / 2 + 2); /* twice that is beyond counting */
	rule.first = UINT64_MAX / 2 + 3;
	plan = compiled(&rule, 1, 1);
	CHECK_EQ(plan.next, NEVER);
}

static void a_probability_keeps_to_its_window(void)
{
	struct zcrx_fault_rule rule = rule_likely(ZCRX_FAULT_BAD_PAD, 1.0);
	uint64_t firings = 0;
	struct zcrx_fault_plan plan;

	rule.first = 10;
	rule.last = 12;
	CHECK_FIRES_AT(rule, 10, 11, 12);
	rule.probability = 0.5;
	rule.first = 100;
	rule.last = 199;
	plan = compiled(&rule, 1, 1);
	count_firings_from(&plan, 0, 100, &firings);
	CHECK_EQ(firings, 0);
	count_firings_from(&plan, 100, 200, &firings);
	CHECK(firings > 20 && firings < 80);
	CHECK_EQ(plan.next, NEVER);
}

static void a_limit_ends_a_rule(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_BAD_PAD, 10);

	rule.limit = 3;
	CHECK_FIRES_AT(rule, 0, 10, 20);
	rule.first = 95;
	rule.limit = 1;
	CHECK_FIRES_AT(rule, 100);
	rule = rule_likely(ZCRX_FAULT_BAD_PAD, 1.0);
	rule.limit = 2;
	CHECK_FIRES_AT(rule, 0, 1);
}

/* Firings of rule 0 at 5 put rule 1 on from 6, and its first at 8 puts on rule 2 from 9. */
static void a_rule_waits_for_the_first_firing_of_another(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 5),
		rule_every(ZCRX_FAULT_BAD_AREA, 4),
		rule_likely(ZCRX_FAULT_BAD_INDEX, 1.0),
	};
	uint64_t firings[3] = {0};
	struct zcrx_fault_plan plan;

	rules[1].after = 1;
	rules[2].after = 2;
	plan = compiled(rules, 3, 1);
	CHECK_EQ(plan.next, 5);
	count_firings_from(&plan, 0, 8, firings);
	CHECK_EQ(firings[0], 1);
	CHECK_EQ(firings[1], 0); /* not at 0 and 4 */
	count_firings_from(&plan, 8, 9, firings);
	CHECK_EQ(firings[1], 1);
	CHECK_EQ(firings[2], 0); /* not at the same ordinal */
	count_firings_from(&plan, 9, 13, firings);
	CHECK_EQ(firings[1], 2);
	CHECK_EQ(firings[2], 4);
}

/* Whichever stands first in the plan. */
static void a_rule_may_wait_for_one_behind_it(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 1.0),
		rule_at(ZCRX_FAULT_BAD_AREA, 3),
	};
	struct zcrx_fault_plan plan;

	rules[0].after = 2;
	plan = compiled(rules, 2, 1);
	CHECK_EQ(zcrx_fault_take(&plan, 2), -1);
	CHECK_EQ(zcrx_fault_take(&plan, 3), 1);
	CHECK_EQ(zcrx_fault_take(&plan, 3), -1);
	CHECK_EQ(zcrx_fault_take(&plan, 4), 0);
	CHECK_EQ(zcrx_fault_take(&plan, 4), -1);
	CHECK_EQ(plan.next, 5);
}

/* Carried out late by Python: a multiple is passed over, one of a list is not. */
static void a_rule_that_is_carried_out_late_stays_due_until_then(void)
{
	const uint64_t list[] = {2, 3, 20};
	struct zcrx_fault_rule rules[] = {
		rule_every(ZCRX_FAULT_BAD_PAD, 4),
		rule_listed(ZCRX_FAULT_BAD_AREA, list, 3),
		rule_likely(ZCRX_FAULT_BAD_INDEX, 1.0),
	};
	struct zcrx_fault_plan *plan;

	rules[2].after = 2;
	plan = zcrx_fault_new(rules, 3, 1);
	REQUIRE(plan);
	CHECK_EQ(zcrx_fault_next(plan, 0), 0);
	zcrx_fault_fire(plan, 0, 11);
	CHECK_EQ(zcrx_fault_next(plan, 0), 12);
	CHECK_EQ(zcrx_fault_next(plan, 1), 2);
	CHECK_EQ(zcrx_fault_next(plan, 2), NEVER);
	zcrx_fault_fire(plan, 1, 11);
	CHECK_EQ(zcrx_fault_next(plan, 1), 3);
	CHECK_EQ(zcrx_fault_next(plan, 2), 11);
	zcrx_fault_fire(plan, 1, 12);
	zcrx_fault_fire(plan, 1, 30);
	CHECK_EQ(zcrx_fault_next(plan, 1), NEVER);
	zcrx_fault_free(plan);
	rules[0].probability = 2.0;
	CHECK(zcrx_fault_new(rules, 3, 1) == NULL);
}

/* Passed by, it neither counts as fired nor uses up its limit, and is due again. */
static void a_rule_of_a_flow_passes_the_others_by(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_every(ZCRX_FAULT_BAD_PAD, 2),
		rule_every(ZCRX_FAULT_BAD_AREA, 3),
	};
	struct zcrx_fault_plan plan;

	rules[0].flow = 8;
	rules[0].limit = 1;
	plan = compiled(rules, 2, 1);
	CHECK_EQ(zcrx_fault_take_of(&plan, 0, 5), 1);
	CHECK_EQ(zcrx_fault_take_of(&plan, 0, 5), -1);
	CHECK_EQ(plan.next, 2);
	CHECK_EQ(zcrx_fault_take_of(&plan, 2, 6), -1);
	CHECK_EQ(plan.next, 3);
	CHECK_EQ(plan.lanes[0].fired, 0);
	CHECK_EQ(zcrx_fault_take_of(&plan, 4, 7), 0);
	CHECK_EQ(zcrx_fault_take_of(&plan, 4, 7), 1); /* due since 3 */
	CHECK_EQ(zcrx_fault_take_of(&plan, 6, 7), 1);
	CHECK_EQ(zcrx_fault_take_of(&plan, 6, 7), -1);
}

static void a_rule_that_waits_for_nothing_that_happens_is_silent(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 0.0),
		rule_every(ZCRX_FAULT_BAD_AREA, 1),
	};
	struct zcrx_fault_plan plan;

	rules[1].after = 1;
	plan = compiled(rules, 2, 1);
	CHECK_EQ(plan.next, NEVER);
	rules[0].after = 2; /* each for the other */
	plan = compiled(rules, 2, 1);
	CHECK_EQ(plan.next, NEVER);
}

static void a_rule_keeps_to_its_queue(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 1),
		rule_at(ZCRX_FAULT_BAD_AREA, 2),
		rule_at(ZCRX_FAULT_BAD_INDEX, 3),
	};

	rules[0].queue = 0;
	rules[1].queue = 2;
	for (uint32_t queue = 0; queue < 3; queue++) {
		uint64_t firings[3] = {0};
		struct zcrx_fault_plan plan;

		REQUIRE(zcrx_fault_compile(&plan, rules, 3, 1, queue, &eight) == 0);
		count_firings(&plan, 10, firings);
		CHECK_EQ(firings[0], queue == 0);
		CHECK_EQ(firings[1], queue == 2);
		CHECK_EQ(firings[2], 1);
	}
}

/* It has its place in the plan, so that numbers are the same for every actor. */
static void another_actors_rule_never_fires(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_every(ZCRX_FAULT_NONE, 1),
		rule_likely(ZCRX_FAULT_NONE, 1.0),
		rule_at(ZCRX_FAULT_BAD_PAD, 4),
	};
	struct zcrx_fault_plan plan = compiled(rules, 3, 1);
	uint64_t firings[3] = {0};

	count_firings(&plan, 100, firings);
	CHECK_EQ(firings[0], 0);
	CHECK_EQ(firings[1], 0);
	CHECK_EQ(firings[2], 1);
}

static void queues_draw_different_numbers(void)
{
	const struct zcrx_fault_rule rule = rule_likely(ZCRX_FAULT_BAD_PAD, 0.01);
	uint64_t next[4];

	for (uint32_t queue = 0; queue < 4; queue++) {
		struct zcrx_fault_plan plan;

		REQUIRE(zcrx_fault_compile(&plan, &rule, 1, 1, queue, &eight) == 0);
		next[queue] = plan.next;
	}
	CHECK(next[0] != next[1] || next[1] != next[2] || next[2] != next[3]);
}

/* ---- a plan that is taken over ------------------------------------------------------------ */

/* Compiled, and taken over at `ordinal` when its rules had fired so often. */
static struct zcrx_fault_plan resumed(const struct zcrx_fault_rule *rules, uint32_t count,
				      uint64_t ordinal, const uint64_t *fired)
{
	struct zcrx_fault_plan plan = compiled(rules, count, 1);
	shm_u64 counters[4];

	for (uint32_t i = 0; i < count; i++)
		shm_store_relaxed_u64(&counters[i], fired[i], POINT_COUNTER);
	zcrx_fault_resume(&plan, ordinal, counters);
	return plan;
}

#define RESUMED(rule, ordinal, fired) resumed(&(rule), 1, (ordinal), (const uint64_t[]){fired})

/* Wherever it is taken over, and whether or not all that was passed had fired. */
static void a_list_is_taken_up_at_its_place(void)
{
	static const uint64_t list[] = {3, 10, 11, 40, 700, 701};
	const struct zcrx_fault_rule rule = rule_listed(ZCRX_FAULT_BAD_PAD, list, COUNT_OF(list));

	for (uint64_t ordinal = 0; ordinal < 800; ordinal++) {
		uint32_t passed = 0;

		while (passed < COUNT_OF(list) && list[passed] < ordinal)
			passed++;
		for (uint64_t fired = 0; fired <= COUNT_OF(list) + 1; fired++) {
			struct zcrx_fault_plan plan = RESUMED(rule, ordinal, fired);
			/* What fired was counted before the ordinal was. */
			uint64_t place = fired > passed ? fired : passed;

			CHECK_EQ(plan.next, place < COUNT_OF(list) ? list[place] : NEVER);
		}
	}
}

static void what_was_skipped_does_not_fire_and_what_follows_does(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_BAD_PAD, 100);
	struct zcrx_fault_plan plan = RESUMED(rule, 700, 7);

	check_firings(&plan, 700, (uint64_t[]){700, 800, 900}, 3);
	plan = RESUMED(rule, 701, 8);
	check_firings(&plan, 701, (uint64_t[]){800, 900}, 2);
	rule.last = 750;
	plan = RESUMED(rule, 701, 8);
	CHECK_EQ(plan.next, NEVER);
	rule.first = 900;
	rule.last = NEVER;
	plan = RESUMED(rule, 701, 0);
	check_firings(&plan, 701, (uint64_t[]){900}, 1);
	rule = rule_likely(ZCRX_FAULT_BAD_PAD, 1.0);
	plan = RESUMED(rule, 998, 998);
	check_firings(&plan, 998, (uint64_t[]){998, 999}, 2);
}

static void a_rule_that_fired_at_its_ordinal_does_not_fire_there_again(void)
{
	const struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_BAD_PAD, 40);

	CHECK_EQ(RESUMED(rule, 39, 0).next, 40);
	CHECK_EQ(RESUMED(rule, 40, 0).next, 40);
	CHECK_EQ(RESUMED(rule, 40, 1).next, NEVER);
	CHECK_EQ(RESUMED(rule, 41, 0).next, NEVER);
}

static void a_limit_counts_what_was_fired_before(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_BAD_PAD, 100);
	struct zcrx_fault_plan plan;

	rule.limit = 5;
	plan = RESUMED(rule, 301, 3);
	check_firings(&plan, 301, (uint64_t[]){400, 500}, 2);
	CHECK_EQ(RESUMED(rule, 301, 5).next, NEVER);
	CHECK_EQ(RESUMED(rule, 301, 6).next, NEVER);
}

static void a_rule_waits_on_unless_what_it_waited_for_has_fired(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_every(ZCRX_FAULT_BAD_PAD, 10),
		rule_likely(ZCRX_FAULT_BAD_AREA, 1.0),
	};
	uint64_t firings[2] = {0};
	struct zcrx_fault_plan plan;

	rules[1].after = 1;
	plan = resumed(rules, 2, 15, (uint64_t[]){0, 0});
	count_firings_from(&plan, 15, 21, firings);
	CHECK_EQ(firings[0], 1);
	CHECK_EQ(firings[1], 0);
	count_firings_from(&plan, 21, 23, firings);
	CHECK_EQ(firings[1], 2);
	plan = resumed(rules, 2, 15, (uint64_t[]){2, 4});
	count_firings_from(&plan, 15, 17, firings);
	CHECK_EQ(firings[1], 4);
}

/* ---- triggers by chance ------------------------------------------------------------------ */

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
	struct zcrx_fault_plan plan = compiled(NULL, 0, 1);

	CHECK(!zcrx_fault_is_due(&plan, 1000000));
	CHECK_EQ(zcrx_fault_take(&plan, 1000000), -1);
}

static void rules_that_are_due_together_fire_once_each(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 1.0),
		rule_likely(ZCRX_FAULT_BAD_AREA, 1.0),
		rule_likely(ZCRX_FAULT_BAD_INDEX, 0.5),
	};
	struct zcrx_fault_plan plan = compiled(rules, 3, 1);
	uint64_t firings[3] = {0};

	count_firings(&plan, 1000, firings);
	CHECK_EQ(firings[0], 1000);
	CHECK_EQ(firings[1], 1000);
	CHECK(firings[2] > 400 && firings[2] < 600);
}

/* The same rules at the same ordinals, and the same entries from their numbers. */
static bool same_firings(struct zcrx_fault_plan *first, struct zcrx_fault_plan *second)
{
	for (uint64_t ordinal = 0; ordinal < 20000; ordinal++) {
		struct io_uring_zcrx_rqe one, other;
		int rule = zcrx_fault_take(first, ordinal);

		if (rule != zcrx_fault_take(second, ordinal))
			return false;
		if (rule < 0)
			continue;
		one = zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, 0, &first->lanes[rule].rng, &valid,
					&eight);
		other = zcrx_fault_mutate(ZCRX_FAULT_BAD_PAD, 0, &second->lanes[rule].rng, &valid,
					  &eight);
		if (memcmp(&one, &other, sizeof(one)) != 0)
			return false;
		ordinal--; /* further rules may be due before the same entry */
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

/* ---- what a firing draws ------------------------------------------------------------------ */

static uint64_t drawn(struct zcrx_fault_plan *plan, int rule)
{
	return zcrx_rng_next(&plan->lanes[rule].rng);
}

/*
 * Rules of three kinds, two of one kind, fire with probabilities; their journal
 * names the ordinals of a second plan. Both draw the same.
 */
static void a_journal_draws_what_the_probabilities_drew(void)
{
	static const uint32_t kinds[] = {ZCRX_FAULT_BAD_PAD, ZCRX_FAULT_BAD_AREA,
					 ZCRX_FAULT_BAD_PAD, ZCRX_FAULT_NEVER_GIVEN};
	static uint64_t lists[4][4000];
	static struct zcrx_journal journal;
	struct zcrx_fault_rule rules[4];
	uint32_t counts[4] = {0};
	struct zcrx_fault_plan plan, again;
	uint32_t at = 0;

	memset(&journal, 0, sizeof(journal));
	for (uint32_t i = 0; i < 4; i++)
		rules[i] = rule_likely(kinds[i], 0.25 + 0.1 * i);
	plan = compiled(rules, 4, 9);
	plan.journal = &journal;
	for (uint64_t ordinal = 0; ordinal < 2000; ordinal++) {
		while (zcrx_fault_take(&plan, ordinal) >= 0)
			;
	}
	for (; at < journal.count; at++) {
		uint64_t entry = shm_load_relaxed_u64(&journal.entries[at], POINT_LOG);
		uint32_t rule = (uint32_t)(entry >> ZCRX_JOURNAL_RULE_SHIFT);

		lists[rule][counts[rule]++] = entry & 0xffffffffffffff;
	}
	CHECK(at > 2000);
	for (uint32_t i = 0; i < 4; i++)
		rules[i] = rule_listed(kinds[i], lists[i], counts[i]);
	again = compiled(rules, 4, 9);
	for (uint32_t i = 0; i < 4; i++)
		rules[i] = rule_likely(kinds[i], 0.25 + 0.1 * i);
	plan = compiled(rules, 4, 9);
	for (uint64_t ordinal = 0; ordinal < 2000; ordinal++) {
		int rule;

		while ((rule = zcrx_fault_take(&plan, ordinal)) >= 0) {
			if (!CHECK_EQ(zcrx_fault_take(&again, ordinal), rule))
				return;
			CHECK_EQ(drawn(&plan, rule), drawn(&again, rule));
		}
		CHECK_EQ(zcrx_fault_take(&again, ordinal), -1);
	}
}

static uint64_t first_draw(uint32_t kind, uint32_t custom, uint64_t seed, uint32_t queue,
			   uint64_t ordinal)
{
	struct zcrx_fault_rule rule = rule_at(kind, ordinal);
	struct zcrx_fault_plan plan;

	rule.custom = custom;
	REQUIRE(zcrx_fault_compile(&plan, &rule, 1, seed, queue, &eight) == 0);
	REQUIRE(zcrx_fault_take(&plan, ordinal) == 0);
	return drawn(&plan, 0);
}

static void seed_queue_fault_and_ordinal_each_decide_what_is_drawn(void)
{
	const uint64_t numbers[] = {
		first_draw(ZCRX_FAULT_BAD_PAD, 0, 1, 0, 5),
		first_draw(ZCRX_FAULT_BAD_AREA, 0, 1, 0, 5),
		first_draw(ZCRX_FAULT_CUSTOM, 7, 1, 0, 5),
		first_draw(ZCRX_FAULT_CUSTOM, 8, 1, 0, 5),
		first_draw(ZCRX_FAULT_BAD_PAD, 0, 2, 0, 5),
		first_draw(ZCRX_FAULT_BAD_PAD, 0, 1, 1, 5),
		first_draw(ZCRX_FAULT_BAD_PAD, 0, 1, 0, 6),
	};

	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		for (size_t j = 0; j < i; j++)
			CHECK(numbers[i] != numbers[j]);
	}
	CHECK_EQ(first_draw(ZCRX_FAULT_BAD_PAD, 0, 1, 0, 5), numbers[0]);
}

/* Two rules of one fault at one ordinal draw differently; another fault is not in their way. */
static void rules_of_a_fault_are_told_apart_at_one_ordinal(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_AREA, 5),
		rule_at(ZCRX_FAULT_BAD_PAD, 5),
		rule_at(ZCRX_FAULT_BAD_PAD, 5),
	};
	struct zcrx_fault_plan plan = compiled(rules, 3, 1);
	uint64_t numbers[3];

	for (int i = 0; i < 3; i++) {
		CHECK_EQ(zcrx_fault_take(&plan, 5), i);
		numbers[i] = drawn(&plan, i);
	}
	CHECK(numbers[1] != numbers[2]);
	CHECK_EQ(numbers[0], first_draw(ZCRX_FAULT_BAD_AREA, 0, 1, 0, 5));
	CHECK_EQ(numbers[1], first_draw(ZCRX_FAULT_BAD_PAD, 0, 1, 0, 5));
}

static void a_full_journal_counts_on_and_says_from_where(void)
{
	static struct zcrx_journal journal;
	struct zcrx_fault_plan plan = plan_of(1.0, 1);

	memset(&journal, 0, sizeof(journal));
	plan.journal = &journal;
	for (uint64_t ordinal = 0; ordinal < ZCRX_JOURNAL_MAX + 3; ordinal++)
		CHECK_EQ(zcrx_fault_take(&plan, ordinal), 0);
	CHECK_EQ(journal.count, ZCRX_JOURNAL_MAX + 3);
	CHECK_EQ(journal.missing_from, ZCRX_JOURNAL_MAX);
	CHECK_EQ(journal.entries[ZCRX_JOURNAL_MAX - 1], ZCRX_JOURNAL_MAX - 1);
}

/* A plan can be cut down without changing what is left of it. */
static void a_rule_fires_the_same_whatever_stands_behind_it(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 0.25),
		rule_likely(ZCRX_FAULT_BAD_AREA, 0.5),
	};
	struct zcrx_fault_plan plan = compiled(rules, 1, 5), both = compiled(rules, 2, 5);
	uint64_t firings[2] = {0}, alone = 0;

	count_firings(&plan, 10000, &alone);
	count_firings(&both, 10000, firings);
	CHECK_EQ(firings[0], alone);
}

static void impossible_plans_are_refused(void)
{
	static struct zcrx_fault_rule rules[ZCRX_FAULT_RULES_MAX + 1];
	const double bad[] = {-1e-9, 1.0000001, (double)NAN, (double)INFINITY, -(double)INFINITY};
	struct zcrx_fault_plan plan;

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		rules[0] = rule_likely(ZCRX_FAULT_BAD_PAD, bad[i]);
		CHECK_EQ(zcrx_fault_compile(&plan, rules, 1, 1, 0, &eight), -EINVAL);
	}
	for (uint32_t i = 0; i < COUNT_OF(rules); i++)
		rules[i] = rule_likely(ZCRX_FAULT_BAD_PAD, 1.0);
	CHECK_EQ(zcrx_fault_compile(&plan, rules, ZCRX_FAULT_RULES_MAX, 1, 0, &eight), 0);
	CHECK_EQ(zcrx_fault_compile(&plan, rules, ZCRX_FAULT_RULES_MAX + 1, 1, 0, &eight), -EINVAL);
}

static void a_rule_waits_only_for_another_rule_of_the_plan(void)
{
	struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_BAD_PAD, 1),
		rule_at(ZCRX_FAULT_BAD_PAD, 2),
	};
	const struct {
		uint32_t after;
		int result;
	} expected[] = {{0, 0}, {1, 0}, {2, -EINVAL}, {3, -EINVAL}, {UINT32_MAX, -EINVAL}};
	struct zcrx_fault_plan plan;

	for (size_t i = 0; i < COUNT_OF(expected); i++) {
		rules[1].after = expected[i].after;
		CHECK_EQ(zcrx_fault_compile(&plan, rules, 2, 1, 0, &eight), expected[i].result);
	}
}

static void an_index_out_of_range_needs_an_index_that_is_out_of_range(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_likely(ZCRX_FAULT_BAD_PAD, 1.0),
		rule_likely(ZCRX_FAULT_BAD_INDEX, 1.0),
	};
	const struct {
		struct zcrx_fault_area area;
		uint32_t count;
		int result;
	} expected[] = {
		{{1 << 18, 30, 0}, 2, -EINVAL},
		{{(1 << 18) - 1, 30, 0}, 2, 0},
		{{1 << 18, 30, 0}, 1, 0},
		{{1 << 24, 12, 0}, 2, 0},
	};
	struct zcrx_fault_plan plan;

	for (size_t i = 0; i < COUNT_OF(expected); i++)
		CHECK_EQ(zcrx_fault_compile(&plan, rules, expected[i].count, 1, 0,
					    &expected[i].area),
			 expected[i].result);
}

static void an_alias_needs_an_index_of_more_than_32_bits(void)
{
	const struct zcrx_fault_rule rule = rule_likely(ZCRX_FAULT_ALIAS, 1.0);
	const struct zcrx_fault_area narrow = {8, 16, 0}, wide = {8, 15, 0};
	struct zcrx_fault_plan plan;

	CHECK_EQ(zcrx_fault_compile(&plan, &rule, 1, 1, 0, &narrow), -EINVAL);
	CHECK_EQ(zcrx_fault_compile(&plan, &rule, 1, 1, 0, &wide), 0);
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
	   CASE(a_random_offset_is_judged_by_its_bits),
	   CASE(an_alias_keeps_the_low_32_bits_of_the_index_and_sets_one_above),
	   CASE(the_variants_of_a_fault_are_the_values_that_they_name),
	   CASE(an_area_with_one_index_to_spare_can_still_be_missed),
	   CASE(a_mutation_changes_one_field_and_leaves_the_rest),
	   CASE(the_least_and_the_greatest_numbers_drawn_are_mutations_too),
	   CASE(a_rule_fires_once_at_its_ordinal),
	   CASE(a_rule_fires_once_at_each_ordinal_of_a_list),
	   CASE(a_list_that_does_not_ascend_is_refused), CASE(a_list_is_taken_up_at_its_place),
	   CASE(a_journal_draws_what_the_probabilities_drew),
	   CASE(seed_queue_fault_and_ordinal_each_decide_what_is_drawn),
	   CASE(rules_of_a_fault_are_told_apart_at_one_ordinal),
	   CASE(a_full_journal_counts_on_and_says_from_where),
	   CASE(a_rule_fires_at_each_multiple_within_its_window),
	   CASE(a_window_without_a_multiple_is_silent), CASE(a_probability_keeps_to_its_window),
	   CASE(a_limit_ends_a_rule), CASE(a_rule_waits_for_the_first_firing_of_another),
	   CASE(a_rule_may_wait_for_one_behind_it),
	   CASE(a_rule_that_is_carried_out_late_stays_due_until_then),
	   CASE(a_rule_of_a_flow_passes_the_others_by),
	   CASE(a_rule_that_waits_for_nothing_that_happens_is_silent),
	   CASE(a_rule_keeps_to_its_queue), CASE(another_actors_rule_never_fires),
	   CASE(queues_draw_different_numbers),
	   CASE(what_was_skipped_does_not_fire_and_what_follows_does),
	   CASE(a_rule_that_fired_at_its_ordinal_does_not_fire_there_again),
	   CASE(a_limit_counts_what_was_fired_before),
	   CASE(a_rule_waits_on_unless_what_it_waited_for_has_fired),
	   CASE(rules_fire_as_often_as_their_probability_says), CASE(probability_0_never_fires),
	   CASE(probability_1_fires_before_each_entry), CASE(an_empty_plan_is_never_due),
	   CASE(rules_that_are_due_together_fire_once_each),
	   CASE(the_same_seed_gives_the_same_firings_and_entries),
	   CASE(a_rule_fires_the_same_whatever_stands_behind_it),
	   CASE(impossible_plans_are_refused), CASE(a_rule_waits_only_for_another_rule_of_the_plan),
	   CASE(an_index_out_of_range_needs_an_index_that_is_out_of_range),
	   CASE(an_alias_needs_an_index_of_more_than_32_bits), CASE(the_generator_is_splitmix64),
	   CASE(bounded_numbers_stay_below_their_bound_and_reach_it))
