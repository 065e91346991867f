/* SPDX-License-Identifier: MIT */
/*
 * A rule that fires with probability p before each valid entry is not asked
 * each time: the distance to its next firing is drawn once (geometric), so an
 * empty or quiet plan costs one comparison an entry.
 */
#include "fault.h"

#include <errno.h>
#include <math.h>

#define NEVER UINT64_MAX
#define UNIT (1.0 / 9007199254740992.0) /* 2^-53 */
/* Above this it is cheaper to toss a coin for each entry than to take logarithms. */
#define COIN_PROBABILITY 0.0625

static double uniform(struct zcrx_rng *rng)
{
	return (double)(zcrx_rng_next(rng) >> 11) * UNIT;
}

/* Entries to skip before the next firing. */
static uint64_t draw_gap(struct zcrx_fault_lane *lane)
{
	double p = lane->rule.probability;
	double gap;
	uint64_t skipped = 0;

	if (p <= 0.0)
		return NEVER;
	if (p >= COIN_PROBABILITY) {
		while (uniform(&lane->rng) >= p)
			skipped++;
		return skipped;
	}
	gap = floor(log1p(-uniform(&lane->rng)) / log1p(-p));
	return gap < 9e18 ? (uint64_t)gap : NEVER;
}

static uint64_t later(uint64_t ordinal, uint64_t gap)
{
	return gap > NEVER - ordinal ? NEVER : ordinal + gap;
}

static void find_next(struct zcrx_fault_plan *plan)
{
	plan->next = NEVER;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->lanes[i].next < plan->next)
			plan->next = plan->lanes[i].next;
	}
}

/* An area that fills all 48 bits of an offset leaves no index that is out of its range. */
static bool is_possible(uint32_t kind, uint32_t num_niovs, uint32_t niov_shift)
{
	if (kind == ZCRX_FAULT_BAD_INDEX)
		return num_niovs < (uint64_t)1 << (IORING_ZCRX_AREA_SHIFT - niov_shift);
	return kind == ZCRX_FAULT_BAD_PAD || kind == ZCRX_FAULT_BAD_AREA;
}

int zcrx_fault_compile(struct zcrx_fault_plan *plan, const struct zcrx_fault_rule *rules,
		       uint32_t count, uint64_t seed, uint32_t num_niovs, uint32_t niov_shift)
{
	if (count > sizeof(plan->lanes) / sizeof(plan->lanes[0]))
		return -EINVAL;
	plan->count = count;
	plan->num_niovs = num_niovs;
	plan->niov_shift = niov_shift;
	for (uint32_t i = 0; i < count; i++) {
		struct zcrx_fault_lane *lane = &plan->lanes[i];

		if (!is_possible(rules[i].kind, num_niovs, niov_shift) ||
		    !(rules[i].probability >= 0.0 && rules[i].probability <= 1.0))
			return -EINVAL;
		lane->rule = rules[i];
		lane->rng = zcrx_rng_for(seed, i + 1);
		lane->next = draw_gap(lane);
	}
	find_next(plan);
	return 0;
}

struct io_uring_zcrx_rqe zcrx_fault_mutate(enum zcrx_fault_kind kind, struct zcrx_rng *rng,
					   const struct io_uring_zcrx_rqe *valid,
					   uint32_t num_niovs, uint32_t niov_shift)
{
	struct io_uring_zcrx_rqe rqe = *valid;
	uint32_t index_bits = IORING_ZCRX_AREA_SHIFT - niov_shift;
	uint64_t low, high, in_niov;

	switch (kind) {
	case ZCRX_FAULT_BAD_PAD:
		rqe.__pad = 1 + zcrx_rng_below(rng, UINT32_MAX);
		break;
	case ZCRX_FAULT_BAD_AREA:
		rqe.off &= ~IORING_ZCRX_AREA_MASK;
		rqe.off |= (uint64_t)(1 + zcrx_rng_below(rng, 0xffff)) << IORING_ZCRX_AREA_SHIFT;
		break;
	case ZCRX_FAULT_BAD_INDEX:
		/*
		 * The low 32 bits must be out of range by themselves: an index
		 * that is out of range only above them is an alias, and legal.
		 */
		in_niov = rqe.off & (((uint64_t)1 << niov_shift) - 1);
		if (index_bits > 32) {
			low = num_niovs + zcrx_rng_below(rng, UINT32_MAX - num_niovs);
			high = zcrx_rng_next(rng) & (((uint64_t)1 << (index_bits - 32)) - 1);
		} else {
			uint64_t indices = (uint64_t)1 << index_bits;

			low = num_niovs + zcrx_rng_below(rng, (uint32_t)(indices - num_niovs));
			high = 0;
		}
		rqe.off = ((high << 32 | low) << niov_shift) | in_niov;
		break;
	}
	return rqe;
}

int zcrx_fault_make(struct zcrx_fault_plan *plan, uint64_t ordinal,
		    const struct io_uring_zcrx_rqe *valid, struct io_uring_zcrx_rqe *rqe)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		struct zcrx_fault_lane *lane = &plan->lanes[i];

		if (lane->next > ordinal)
			continue;
		*rqe = zcrx_fault_mutate((enum zcrx_fault_kind)lane->rule.kind, &lane->rng, valid,
					 plan->num_niovs, plan->niov_shift);
		lane->next = later(ordinal + 1, draw_gap(lane));
		find_next(plan);
		return (int)i;
	}
	return -1;
}
