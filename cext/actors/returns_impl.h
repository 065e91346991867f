/* SPDX-License-Identifier: MIT */
/* What returns.c, intent.c, injection.c and ring_faults.c share, and nobody else needs. */
#ifndef ZCRX_RETURNS_IMPL_H
#define ZCRX_RETURNS_IMPL_H

#include "judge/legal.h"
#include "returns.h"

static inline uint32_t zcrx_niov_of(const struct zcrx_returns *returns, uint64_t off)
{
	return (uint32_t)((off & ~IORING_ZCRX_AREA_MASK) >> returns->fault_area.niov_shift);
}

/* Of a rule + 1; 0 = a return by the rules. */
static inline enum zcrx_fault_kind zcrx_kind_of(const struct zcrx_returns *returns, uint32_t rule)
{
	return rule ? (enum zcrx_fault_kind)returns->plan.lanes[rule - 1].rule.kind :
		      ZCRX_FAULT_NONE;
}

static inline struct zcrx_legal zcrx_returns_legal(const struct zcrx_returns *returns,
						   const struct io_uring_zcrx_rqe *rqe)
{
	return zcrx_legal_of(rqe, returns->fault_area.num_niovs, returns->fault_area.niov_shift,
			     returns->params.strict_alias);
}

static inline struct zcrx_rqe_slot *zcrx_next_slot(const struct zcrx_returns *returns)
{
	return &returns->rq.rqes[returns->rq.cached_tail & returns->rq.mask];
}

/* Another meaning of an entry that keeps its part in the accounts. */
static inline void zcrx_intent_change(struct zcrx_returns *returns, uint64_t position,
				      uint32_t rule, uint32_t legal)
{
	uint64_t mask = returns->queue->shape.log_entries - 1;

	shm_store_relaxed_u16(&returns->queue->intents[position & mask], ZCRX_INTENT(rule, legal),
			      POINT_LOG);
}

/* `due`: ZCRX_DUE() of the buffer whose fragment the entry gives back, or ZCRX_DUE_NONE. */
static inline void zcrx_intent_put(struct zcrx_returns *returns, uint64_t position, uint32_t rule,
				   uint32_t legal, uint32_t due)
{
	uint64_t mask = returns->queue->shape.log_entries - 1;

	shm_store_relaxed_u16(&returns->queue->dues[position & mask], (uint16_t)due, POINT_LOG);
	zcrx_intent_change(returns, position, rule, legal);
}

/* How many intents may be written now without overtaking the reconciler. */
uint64_t zcrx_returns_log_room(struct zcrx_returns *returns, uint64_t wanted);
/* An entry that the rule has no right to names this buffer. */
void zcrx_returns_stray(struct zcrx_returns *returns, uint32_t niov, uint32_t rule);
/* The rule did something to this buffer: what happens to its fragments is put down to it. */
void zcrx_returns_suspect(struct zcrx_returns *returns, uint32_t niov, uint32_t rule);
/*
 * Write an entry where there is room for it, and note what it means. `strays`: a
 * rule that the entry is put down to if it names a buffer, whatever wrote it; or 0.
 * `is_due`: it is the one return of a fragment that was delivered.
 */
void zcrx_returns_put(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
		      uint32_t rule, uint32_t strays, bool is_due);
/*
 * Note what the entry at the private tail means, as it stands there, and pass it.
 * Late: it may have been taken before now.
 */
void zcrx_returns_claim(struct zcrx_returns *returns, uint32_t rule, bool late);
/* Let the reconciler look at all intents written so far. */
void zcrx_returns_note_written(struct zcrx_returns *returns);
/* Publish the tail, unless a fault withholds it. */
void zcrx_returns_publish(struct zcrx_returns *returns);

#endif /* ZCRX_RETURNS_IMPL_H */
