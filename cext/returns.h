/* SPDX-License-Identifier: MIT */
/*
 * The consumer's way back: fragments that it holds, the order in which they are
 * returned, and everything that a fault plan does to the refill ring. What each
 * RQE means, and which verdicts it may earn, is decided here and written into
 * the intent log beside it.
 */
#ifndef ZCRX_RETURNS_H
#define ZCRX_RETURNS_H

#include "consumer.h"

#define ZCRX_RETURN_BATCH 64U
#define ZCRX_HISTORY 4096U /* returned fragments remembered, for stale returns */

/* A fragment that the consumer may still read. */
struct zcrx_held {
	uint64_t off;
	uint32_t len;
	uint32_t crc; /* what the NIC sent */
	uint32_t flow, seq;
	uint32_t generation; /* of its buffer, when it was delivered */
	uint32_t mark; /* rule + 1 that corrupted it on purpose, or 0 */
};

/* A fragment read on after its return (early-return), to be checked again. */
struct zcrx_early {
	struct zcrx_held held;
	uint64_t due; /* position at which it is looked at again */
	uint64_t position; /* of its RQE */
	uint32_t rule;
};

/* What the consumer knows of one buffer. */
struct zcrx_known {
	uint32_t generation; /* of the fragments held */
	uint32_t held; /* fragments received and not given back */
	/*
	 * Fragments received less RQEs written that name the buffer: the user
	 * references are never fewer. Above 0 a return must succeed.
	 */
	int32_t balance;
	uint32_t strayed; /* a stray return has named it: its references may be short for ever */
	uint32_t suspect; /* rule + 1 of the last stray return or write, 0 = none */
	uint32_t suspect_age; /* generations seen since the provider took it */
	uint64_t suspect_position;
};

struct zcrx_returns {
	struct zcrx_queue *queue;
	struct zcrx_consumer_params params;
	struct zcrx_rq_user rq;
	struct zcrx_fault_plan plan;
	struct zcrx_fault_area fault_area;
	struct zcrx_rng rng;
	struct zcrx_flight *flight; /* the consumer's recorder */
	uint32_t errors_recorded; /* in this batch: bits of enum zcrx_event_error */

	uint64_t position; /* RQEs ever written: where the next one stands in the intent log */
	uint64_t ordinal; /* valid returns among them, hoarded ones included */
	uint64_t checked; /* what was reconciled, as last seen */
	uint64_t rechecked;
	uint32_t ring_after; /* returns that are worth waking a starved provider for */
	bool unrung; /* returns were published and nobody was told */

	struct zcrx_held *hold; /* [params.hold + 1] */
	uint32_t hold_count, hold_oldest;
	struct zcrx_held *pending; /* [pending_mask + 1], FIFO of returns that want into the ring */
	uint64_t pending_mask, pending_head, pending_tail;
	struct zcrx_known *known; /* [num_niovs] */

	/* Entries made for the return at the head of pending, not written yet. */
	struct {
		struct io_uring_zcrx_rqe rqe;
		uint8_t rule; /* + 1; 0 = the valid return itself */
	} staged[ZCRX_FAULT_RULES_MAX * 16 + 1];
	uint32_t staged_count, staged_at;
	uint64_t doubles; /* rules whose copies follow that return, a bit each */
	bool is_staged;

	struct io_uring_zcrx_rqe *history; /* [ZCRX_HISTORY] */
	uint64_t history_count;
	bool keeps_history; /* some rule wants it */
	struct zcrx_early *early; /* [ZCRX_HISTORY], FIFO */
	uint64_t early_head, early_tail;
	uint64_t hoarded;
	uint32_t tail_ahead; /* entries to publish unwritten behind this batch */
	uint8_t tail_rule;
};

/* 0, -ENOMEM, or what zcrx_fault_compile() says. The queue outlives it. */
int zcrx_returns_init(struct zcrx_returns *returns, struct zcrx_queue *queue,
		      const struct zcrx_consumer_params *params,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_returns_destroy(struct zcrx_returns *returns);

/* A fragment was delivered: check bytes and ownership, and hold it. */
void zcrx_returns_received(struct zcrx_returns *returns, const struct zcrx_held *held);
/* It may go back (the hold window permitting). */
void zcrx_returns_give(struct zcrx_returns *returns, struct zcrx_held held);
/* Write and publish what there is room for; how many returns still wait. */
uint64_t zcrx_returns_flush(struct zcrx_returns *returns);
/* For the flight recorder: a batch of completions, and an error of which each batch shows the first. */
void zcrx_returns_record_taken(struct zcrx_returns *returns, uint32_t count, uint32_t head);
void zcrx_returns_record_error(struct zcrx_returns *returns, enum zcrx_event_error error,
			       uint64_t b, uint64_t c);
/* Tell a provider that starves, if anything was published since it was last told. */
void zcrx_returns_ring_provider(struct zcrx_returns *returns);

#endif /* ZCRX_RETURNS_H */
