/* SPDX-License-Identifier: MIT */
/*
 * The fault applier: a compiled plan that the consumer loop consults before
 * each valid RQE. A malformed entry stands beside the valid return and never
 * replaces it, so that no fault costs a buffer.
 */
#ifndef ZCRX_FAULT_H
#define ZCRX_FAULT_H

#include "abi.h"
#include "rng.h"

#include <stdbool.h>

#define ZCRX_INTENT_VALID 0U /* intent-log byte of a valid RQE; rule r is r + 1 */

/* What can be done to an entry. Numbers are shared with Python's faults.catalogue. */
enum zcrx_fault_kind {
	ZCRX_FAULT_BAD_PAD = 1, /* a valid entry with nonzero __pad */
	ZCRX_FAULT_BAD_AREA = 2, /* a valid entry with an area id other than 0 */
	ZCRX_FAULT_BAD_INDEX = 3, /* a niov index that is out of range, truncated or not */
};

/* One rule of a plan, as compiled by Python. */
struct zcrx_fault_rule {
	uint32_t kind;
	uint32_t reserved;
	double probability; /* per valid RQE, 0 .. 1 */
};

struct zcrx_fault_lane {
	struct zcrx_fault_rule rule;
	struct zcrx_rng rng;
	uint64_t next; /* ordinal of the valid RQE before which the rule fires next */
};

struct zcrx_fault_plan {
	uint64_t next; /* the least of the lanes' */
	uint32_t count;
	uint32_t num_niovs;
	uint32_t niov_shift;
	struct zcrx_fault_lane lanes[64];
};

/*
 * 0, or -EINVAL for an unknown kind or one that this area makes impossible, a
 * probability outside 0..1, or too many rules.
 */
int zcrx_fault_compile(struct zcrx_fault_plan *plan, const struct zcrx_fault_rule *rules,
		       uint32_t count, uint64_t seed, uint32_t num_niovs, uint32_t niov_shift);

/* Is any rule due before valid RQE number `ordinal`? The one branch of the hot path. */
static inline bool zcrx_fault_is_due(const struct zcrx_fault_plan *plan, uint64_t ordinal)
{
	return ordinal >= plan->next;
}

/*
 * The next malformed entry due before `ordinal`: its rule's number, with the
 * entry in *rqe, or -1 when no rule is due any more.
 */
int zcrx_fault_make(struct zcrx_fault_plan *plan, uint64_t ordinal,
		    const struct io_uring_zcrx_rqe *valid, struct io_uring_zcrx_rqe *rqe);

/* The mutation alone, for the fuzzer's and Python's use. */
struct io_uring_zcrx_rqe zcrx_fault_mutate(enum zcrx_fault_kind kind, struct zcrx_rng *rng,
					   const struct io_uring_zcrx_rqe *valid,
					   uint32_t num_niovs, uint32_t niov_shift);

#endif /* ZCRX_FAULT_H */
