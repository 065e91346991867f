/* SPDX-License-Identifier: MIT */
/*
 * A rule that fires with probability p is not asked each time: the distance to
 * its next firing is drawn once (geometric). Every other trigger is arithmetic
 * on ordinals. So each lane knows the one ordinal at which it fires next.
 */
#include "fault.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define NEVER ZCRX_FAULT_NEVER
#define UNIT (1.0 / 9007199254740992.0) /* 2^-53 */
/* Above this it is cheaper to toss a coin for each entry than to take logarithms. */
#define COIN_PROBABILITY 0.0625

static double uniform(struct zcrx_rng *rng)
{
	return (double)(zcrx_rng_next(rng) >> 11) * UNIT;
}

/* Ordinals to skip before the next firing of a rule with a probability. */
static uint64_t draw_gap(struct zcrx_fault_lane *lane)
{
	double p = lane->rule.probability;
	double gap;
	uint64_t skipped = 0;

	if (p <= 0.0)
		return NEVER;
	if (p >= COIN_PROBABILITY) {
		while (uniform(&lane->gaps) >= p)
			skipped++;
		return skipped;
	}
	gap = floor(log1p(-uniform(&lane->gaps)) / log1p(-p));
	return gap < 9e18 ? (uint64_t)gap : NEVER;
}

static uint64_t later(uint64_t ordinal, uint64_t gap)
{
	return gap > NEVER - ordinal ? NEVER : ordinal + gap;
}

/* The first of a list's ordinals from `from` on; those before it are over. */
static uint64_t next_listed(struct zcrx_fault_lane *lane, uint64_t from)
{
	const struct zcrx_fault_rule *rule = &lane->rule;

	while (lane->at_index < rule->at_count && rule->at_list[lane->at_index] < from)
		lane->at_index++;
	return lane->at_index < rule->at_count ? rule->at_list[lane->at_index] : NEVER;
}

/* The first ordinal, from `from` on, at which the lane fires. */
static uint64_t next_firing(struct zcrx_fault_lane *lane, uint64_t from)
{
	const struct zcrx_fault_rule *rule = &lane->rule;
	uint64_t next;

	if (rule->kind == ZCRX_FAULT_NONE || (rule->limit && lane->fired >= rule->limit))
		return NEVER;
	if (from < rule->first)
		from = rule->first;
	if (rule->at_count)
		next = next_listed(lane, from);
	else if (rule->at != NEVER)
		next = rule->at >= from && lane->fired == 0 ? rule->at : NEVER;
	else if (rule->every)
		next = later(from, (rule->every - from % rule->every) % rule->every);
	else
		next = later(from, draw_gap(lane));
	return next <= rule->last ? next : NEVER;
}

static void find_next(struct zcrx_fault_plan *plan)
{
	plan->next = NEVER;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->lanes[i].next < plan->next)
			plan->next = plan->lanes[i].next;
	}
}

/*
 * An area that fills all 48 bits of an offset leaves no index that is out of its
 * range, and an index of 32 bits has none that vanish.
 */
static bool is_possible(const struct zcrx_fault_rule *rule, const struct zcrx_fault_area *area)
{
	if (rule->kind == ZCRX_FAULT_BAD_INDEX)
		return area->num_niovs < (uint64_t)1 << (IORING_ZCRX_AREA_SHIFT - area->niov_shift);
	if (rule->kind == ZCRX_FAULT_ALIAS)
		return IORING_ZCRX_AREA_SHIFT - area->niov_shift > 32;
	return true;
}

static bool ascends(const struct zcrx_fault_rule *rule)
{
	for (uint32_t i = 1; i < rule->at_count; i++) {
		if (rule->at_list[i] <= rule->at_list[i - 1])
			return false;
	}
	return true;
}

int zcrx_fault_compile(struct zcrx_fault_plan *plan, const struct zcrx_fault_rule *rules,
		       uint32_t count, uint64_t seed, uint32_t queue,
		       const struct zcrx_fault_area *area)
{
	if (count > ZCRX_FAULT_RULES_MAX)
		return -EINVAL;
	plan->count = count;
	plan->seed = seed;
	plan->queue = queue;
	plan->journal = NULL;
	for (uint32_t i = 0; i < count; i++) {
		struct zcrx_fault_lane *lane = &plan->lanes[i];

		if (!is_possible(&rules[i], area) || rules[i].after > count ||
		    rules[i].after == i + 1 || !ascends(&rules[i]) ||
		    !(rules[i].probability >= 0.0 && rules[i].probability <= 1.0))
			return -EINVAL;
		lane->rule = rules[i];
		if (rules[i].queue >= 0 && (uint32_t)rules[i].queue != queue)
			lane->rule.kind = ZCRX_FAULT_NONE;
		lane->gaps = zcrx_rng_for(seed + queue, i + 1);
		lane->rng = lane->gaps;
		lane->fired = 0;
		lane->fired_at = NEVER;
		lane->at_index = 0;
		lane->next = rules[i].after ? NEVER : next_firing(lane, 0);
	}
	find_next(plan);
	return 0;
}

/* How many of a list's ordinals are below `ordinal`. */
static uint32_t count_below(const struct zcrx_fault_rule *rule, uint64_t ordinal)
{
	uint32_t low = 0, high = rule->at_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (rule->at_list[middle] < ordinal)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * A firing is counted before the ordinal is: so many of the list are over, even
 * if the ordinal says less. (An ordinal can be passed over without a firing.)
 */
static void find_place(struct zcrx_fault_lane *lane, uint64_t ordinal)
{
	uint32_t below = count_below(&lane->rule, ordinal);
	uint64_t over = lane->fired > below ? lane->fired : below;

	lane->at_index = over < lane->rule.at_count ? (uint32_t)over : lane->rule.at_count;
}

void zcrx_fault_resume(struct zcrx_fault_plan *plan, uint64_t ordinal, const shm_u64 *fired)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		struct zcrx_fault_lane *lane = &plan->lanes[i];
		uint32_t after = lane->rule.after;

		/* Relaxed: its writer is dead, and a death seen by the control process orders. */
		lane->fired = shm_load_relaxed_u64(&fired[i], POINT_COUNTER);
		if (after && shm_load_relaxed_u64(&fired[after - 1], POINT_COUNTER))
			lane->rule.after = after = 0;
		find_place(lane, ordinal);
		lane->next = after ? NEVER : next_firing(lane, ordinal);
	}
	find_next(plan);
}

/* Rules that waited for this one are on. */
static void wake_followers(struct zcrx_fault_plan *plan, uint32_t fired, uint64_t from)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		struct zcrx_fault_lane *lane = &plan->lanes[i];

		if (lane->rule.after != fired + 1)
			continue;
		lane->rule.after = 0;
		lane->next = next_firing(lane, from);
	}
}

/* See zcrx_fault_take() in the header. */
static struct zcrx_rng draws_of(const struct zcrx_fault_plan *plan,
				const struct zcrx_fault_lane *lane, uint64_t ordinal)
{
	uint64_t place = 0; /* among the firings of that fault at that ordinal */
	struct zcrx_rng rng = zcrx_rng_for(plan->seed, plan->queue);

	for (uint32_t i = 0; i < plan->count; i++)
		place += plan->lanes[i].fired_at == ordinal &&
			 plan->lanes[i].rule.kind == lane->rule.kind &&
			 plan->lanes[i].rule.custom == lane->rule.custom;
	rng = zcrx_rng_for(rng.state, (uint64_t)lane->rule.custom << 32 | lane->rule.kind);
	rng = zcrx_rng_for(rng.state, ordinal);
	return zcrx_rng_for(rng.state, place);
}

#define ANY_FLOW UINT32_MAX

int zcrx_fault_take(struct zcrx_fault_plan *plan, uint64_t ordinal)
{
	return zcrx_fault_take_of(plan, ordinal, ANY_FLOW);
}

int zcrx_fault_take_of(struct zcrx_fault_plan *plan, uint64_t ordinal, uint32_t flow)
{
	bool passed = false;

	for (uint32_t i = 0; i < plan->count; i++) {
		struct zcrx_fault_lane *lane = &plan->lanes[i];

		if (lane->next > ordinal)
			continue;
		if (lane->rule.flow && flow != ANY_FLOW && lane->rule.flow != flow + 1) {
			lane->next = next_firing(lane, ordinal + 1);
			passed = true;
			continue;
		}
		lane->rng = draws_of(plan, lane, ordinal);
		lane->fired_at = ordinal;
		if (plan->journal)
			zcrx_journal_note(plan->journal, i, ordinal);
		if (lane->fired++ == 0)
			wake_followers(plan, i, ordinal + 1);
		lane->next = next_firing(lane, ordinal + 1);
		find_next(plan);
		return (int)i;
	}
	if (passed)
		find_next(plan);
	return -1;
}

struct zcrx_fault_plan *zcrx_fault_new(const struct zcrx_fault_rule *rules, uint32_t count,
				       uint64_t seed)
{
	const struct zcrx_fault_area none = {0}; /* these rules make no entries */
	struct zcrx_fault_plan *plan = malloc(sizeof(*plan));

	if (!plan)
		return NULL;
	if (zcrx_fault_compile(plan, rules, count, seed, 0, &none)) {
		free(plan);
		return NULL;
	}
	return plan;
}

void zcrx_fault_free(struct zcrx_fault_plan *plan)
{
	free(plan);
}

uint64_t zcrx_fault_next(const struct zcrx_fault_plan *plan, uint32_t rule)
{
	assert(rule < plan->count);
	return plan->lanes[rule].next;
}

void zcrx_fault_fire(struct zcrx_fault_plan *plan, uint32_t rule, uint64_t from)
{
	uint64_t due = zcrx_fault_next(plan, rule);
	struct zcrx_fault_lane *lane = &plan->lanes[rule];

	assert(due != NEVER);
	if (lane->fired++ == 0)
		wake_followers(plan, rule, from);
	lane->next = next_firing(lane, lane->rule.at_count ? due + 1 : from);
	find_next(plan);
}

/* ---- the content faults -------------------------------------------------------- */

static uint32_t index_bits(const struct zcrx_fault_area *area)
{
	return IORING_ZCRX_AREA_SHIFT - area->niov_shift;
}

/*
 * An index that is out of range in its low 32 bits: one that is so only above
 * them is an alias, and legal.
 */
static uint64_t bad_index(uint32_t value, struct zcrx_rng *rng, const struct zcrx_fault_area *area)
{
	uint64_t indices = (uint64_t)1 << index_bits(area);
	uint64_t low32 = indices < (uint64_t)1 << 32 ? indices : (uint64_t)1 << 32;
	uint64_t high = 0;

	switch (value) {
	case 1: /* the first one beyond */
		return area->num_niovs;
	case 2:
		return area->num_niovs + 1 < low32 ? area->num_niovs + 1 : area->num_niovs;
	case 3: /* far */
		return low32 / 2 > area->num_niovs ? low32 / 2 : low32 - 1;
	case 4: /* the last one that an offset can name */
		return indices - 1;
	default:
		if (indices > low32)
			high = zcrx_rng_next(rng) & (indices / low32 - 1);
		return high << 32 |
		       (area->num_niovs + zcrx_rng_below(rng, (uint32_t)(low32 - area->num_niovs)));
	}
}

static uint64_t bad_offset(uint32_t value, struct zcrx_rng *rng)
{
	switch (value) {
	case 1:
		return UINT64_MAX;
	case 2:
		return ~IORING_ZCRX_AREA_MASK;
	default:
		return zcrx_rng_next(rng);
	}
}

/* An id that no area will ever have. */
static uint64_t bad_area(uint32_t value, struct zcrx_rng *rng, const struct zcrx_fault_area *area)
{
	uint32_t first = area->areas_max > 1 ? area->areas_max : 1;

	switch (value) {
	case 1:
		return first;
	case 2:
		return 0xffff;
	default:
		return first + zcrx_rng_below(rng, 0x10000 - first);
	}
}

static uint32_t bad_pad(uint32_t value, struct zcrx_rng *rng)
{
	switch (value) {
	case 1:
		return (uint32_t)1 << zcrx_rng_below(rng, 32);
	case 2:
		return UINT32_MAX;
	default:
		return 1 + zcrx_rng_below(rng, UINT32_MAX);
	}
}

static uint32_t garbage_len(uint32_t value, struct zcrx_rng *rng)
{
	switch (value) {
	case 1:
		return 0;
	case 2:
		return UINT32_MAX;
	default:
		return (uint32_t)zcrx_rng_next(rng);
	}
}

enum zcrx_content zcrx_fault_content(uint32_t kind)
{
	static const enum zcrx_content contents[] = {
		[ZCRX_FAULT_BAD_PAD] = ZCRX_CONTENT_BESIDE,
		[ZCRX_FAULT_BAD_AREA] = ZCRX_CONTENT_BESIDE,
		[ZCRX_FAULT_BAD_INDEX] = ZCRX_CONTENT_BESIDE,
		[ZCRX_FAULT_BAD_OFFSET] = ZCRX_CONTENT_BESIDE,
		[ZCRX_FAULT_ALIAS] = ZCRX_CONTENT_INSTEAD,
		[ZCRX_FAULT_MID_BUFFER] = ZCRX_CONTENT_INSTEAD,
		[ZCRX_FAULT_LEN_GARBAGE] = ZCRX_CONTENT_INSTEAD,
	};

	return kind < sizeof(contents) / sizeof(contents[0]) ? contents[kind] : ZCRX_CONTENT_NONE;
}

struct io_uring_zcrx_rqe zcrx_fault_mutate(enum zcrx_fault_kind kind, uint32_t value,
					   struct zcrx_rng *rng,
					   const struct io_uring_zcrx_rqe *valid,
					   const struct zcrx_fault_area *area)
{
	struct io_uring_zcrx_rqe rqe = *valid;
	uint64_t in_niov = ((uint64_t)1 << area->niov_shift) - 1;
	uint64_t vanishing;

	switch (kind) {
	case ZCRX_FAULT_BAD_PAD:
		rqe.__pad = bad_pad(value, rng);
		break;
	case ZCRX_FAULT_BAD_AREA:
		rqe.off &= ~IORING_ZCRX_AREA_MASK;
		rqe.off |= bad_area(value, rng, area) << IORING_ZCRX_AREA_SHIFT;
		break;
	case ZCRX_FAULT_BAD_INDEX:
		rqe.off = (rqe.off & (IORING_ZCRX_AREA_MASK | in_niov)) |
			  bad_index(value, rng, area) << area->niov_shift;
		break;
	case ZCRX_FAULT_BAD_OFFSET:
		rqe.off = bad_offset(value, rng);
		break;
	case ZCRX_FAULT_ALIAS:
		/* Bits of the index above its 32nd; none with buffers of 64 KiB and more. */
		vanishing = index_bits(area) > 32 ? ((uint64_t)1 << (index_bits(area) - 32)) - 1 :
						    0;
		if (vanishing)
			rqe.off |= (uint64_t)(1 + zcrx_rng_below(rng, (uint32_t)vanishing))
				   << (32 + area->niov_shift);
		break;
	case ZCRX_FAULT_MID_BUFFER:
		rqe.off = (rqe.off & ~in_niov) | (zcrx_rng_next(rng) & in_niov);
		break;
	case ZCRX_FAULT_LEN_GARBAGE:
		rqe.len = garbage_len(value, rng);
		break;
	default:
		break;
	}
	return rqe;
}
