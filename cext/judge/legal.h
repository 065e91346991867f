/* SPDX-License-Identifier: MIT */
/*
 * The contract as the judge of a run reads it: which verdicts the bytes of an
 * RQE allow. Written apart from the provider on purpose.
 */
#ifndef ZCRX_LEGAL_H
#define ZCRX_LEGAL_H

#include "run/areas.h"

#define ZCRX_VERDICT_BIT(verdict) (1U << (verdict))
#define ZCRX_LEGAL_SUCCEEDS                                                          \
	(ZCRX_VERDICT_BIT(ZCRX_ACCEPTED) | ZCRX_VERDICT_BIT(ZCRX_STILL_REFERENCED) | \
	 ZCRX_VERDICT_BIT(ZCRX_OTHER_POOL))
#define ZCRX_LEGAL_OF_NIOV (ZCRX_LEGAL_SUCCEEDS | ZCRX_VERDICT_BIT(ZCRX_NO_USER_REF))

struct zcrx_legal {
	uint32_t verdicts; /* a set, ZCRX_VERDICT_BIT() each */
	bool names; /* the entry names a buffer: references have the last word */
	uint32_t niov;
};

/*
 * By the order of the contract's tests: __pad, area id, niov index, user reference. `areas`:
 * so many were there for certain when it was judged. Of one that may have been added since,
 * either is legal.
 */
static inline struct zcrx_legal zcrx_legal_of(const struct io_uring_zcrx_rqe *rqe,
					      const struct zcrx_shape *shape, uint32_t areas)
{
	uint64_t index = (rqe->off & ~IORING_ZCRX_AREA_MASK) >> shape->niov_shift;
	uint32_t id = (uint32_t)(rqe->off >> IORING_ZCRX_AREA_SHIFT), low = (uint32_t)index;
	struct zcrx_legal legal = {.niov = low};

	if (rqe->__pad) {
		legal.verdicts = ZCRX_VERDICT_BIT(ZCRX_BAD_PAD);
		return legal;
	}
	if (id >= zcrx_areas_max(shape)) {
		legal.verdicts = ZCRX_VERDICT_BIT(ZCRX_BAD_AREA);
		return legal;
	}
	if (low >= zcrx_areas_size(shape, id) ||
	    (index != low && zcrx_contract_is_strict(shape->contract)))
		legal.verdicts = ZCRX_VERDICT_BIT(ZCRX_BAD_INDEX);
	else
		legal = (struct zcrx_legal){ZCRX_LEGAL_OF_NIOV, true,
					    zcrx_areas_first(shape, id) + low};
	if (id >= areas)
		legal.verdicts |= ZCRX_VERDICT_BIT(ZCRX_BAD_AREA);
	return legal;
}

/* An entry that stands in the ring, each word read once. */
static inline struct io_uring_zcrx_rqe zcrx_slot_read(const struct zcrx_rqe_slot *slot)
{
	uint64_t len_pad = shm_load_relaxed_u64(&slot->len_pad, POINT_RQE_LOAD);

	return (struct io_uring_zcrx_rqe){
		.off = shm_load_relaxed_u64(&slot->off, POINT_RQE_LOAD),
		.len = (uint32_t)len_pad,
		.__pad = (uint32_t)(len_pad >> 32),
	};
}

#endif /* ZCRX_LEGAL_H */
