/* SPDX-License-Identifier: MIT */
/*
 * The consumer's way back: fragments that it holds, the order in which they are
 * returned, and who sees to what on the way. Its parts know each other in one
 * direction only, the first of them nobody:
 *
 *	holdings	what the user has of each buffer, and may claim
 *	writer		the refill ring, and what each entry means
 *	ring_faults	breaking the ring itself
 *	findings	what befell a fragment, and which rule did it
 *	injection	what the plan makes of a return
 */
#ifndef ZCRX_RETURNS_H
#define ZCRX_RETURNS_H

#include "consumer.h"
#include "faults/injection.h"

struct zcrx_returns {
	struct zcrx_holdings holdings;
	struct zcrx_rq_writer writer;
	struct zcrx_ring_faults ring_faults;
	struct zcrx_findings findings;
	struct zcrx_injection injection;

	struct zcrx_consumer_params params;
	struct zcrx_fault_plan plan;
	struct zcrx_rng rng;
	uint64_t ordinal; /* valid returns so far, hoarded ones included */
	uint64_t rechecked;

	struct zcrx_held *hold; /* [params.hold + 1] */
	uint32_t hold_count, hold_oldest;
	struct zcrx_held *pending; /* [pending_mask + 1], FIFO of returns that want into the ring */
	uint64_t pending_mask, pending_head, pending_tail;
};

/*
 * 0, -ENOMEM, or what zcrx_fault_compile() says. The queue outlives it, and it stays
 * where it is: its parts know each other by address.
 */
int zcrx_returns_init(struct zcrx_returns *returns, struct zcrx_queue *queue,
		      const struct zcrx_consumer_params *params,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_returns_destroy(struct zcrx_returns *returns);
/* Before anything else: the rings, as the user found them. */
void zcrx_returns_attach(struct zcrx_returns *returns, const struct zcrx_rq_user *rq,
			 shm_u32 *cq_head, shm_u32 *cq_tail);

/* A fragment may go back (the hold window permitting). */
void zcrx_returns_give(struct zcrx_returns *returns, struct zcrx_held held);

/*
 * Where a fragment that goes back at once is noted in place, for zcrx_returns_flush(); NULL
 * if it may have to wait or to be looked at again: zcrx_returns_give() sees to that.
 */
static inline struct zcrx_held *zcrx_returns_place(struct zcrx_returns *returns)
{
	const struct zcrx_consumer_params *params = &returns->params;

	if (params->hold || (params->recheck_every && params->verify == ZCRX_VERIFY_CRC) ||
	    returns->pending_tail - returns->pending_head > returns->pending_mask)
		return NULL;
	return &returns->pending[returns->pending_tail++ & returns->pending_mask];
}
/* Write and publish what there is room for; how many returns still wait. */
uint64_t zcrx_returns_flush(struct zcrx_returns *returns);

#endif /* ZCRX_RETURNS_H */
