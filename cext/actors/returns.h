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
	uint32_t mark; /* rule + 1 that made its bytes wrong on purpose, or 0 */
	uint32_t astray; /* the user gives back what is not out: its own mistake, nobody's return */
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
	/* Entries before either_end that name it at times: what their slots held, or hold now. */
	uint32_t either_count;
	uint64_t either_end;
	uint64_t overrun; /* the overrun in which its return is written, as position + 1 */
};

#define ZCRX_CUSTOM_ENTRIES_MAX 16U

/* A user's own fault is due: what it is told, and what it answers. */
struct zcrx_custom_call {
	uint32_t rule; /* of the plan */
	uint32_t queue;
	uint64_t ordinal;
	uint64_t position; /* of the next entry in the intent log */
	uint64_t seed; /* of its random numbers: see zcrx_fault_take() */
	struct io_uring_zcrx_rqe valid; /* the return that is due, as other rules left it */
	const struct io_uring_zcrx_rqe *history; /* [ZCRX_HISTORY], returns by number modulo that */
	uint64_t history_count; /* returns so far */
	/* the answer */
	struct io_uring_zcrx_rqe entries[ZCRX_CUSTOM_ENTRIES_MAX];
	uint32_t count;
	uint32_t in_place; /* the entries replace the return instead of standing beside it */
};

/* Carry out one firing. 0, or -1 when that failed: then nothing is written for it. */
typedef int zcrx_custom_ask(void *context, struct zcrx_custom_call *call);

/* An entry made for the return at the head of pending, not written yet. */
struct zcrx_staged {
	struct io_uring_zcrx_rqe rqe;
	uint8_t rule; /* + 1; 0 = the valid return itself */
	uint8_t how; /* enum zcrx_put */
	uint8_t strays; /* the user's fault that it is put down to if it names a buffer, or 0 */
	bool is_due; /* it is the return itself, by whatever bytes */
};

struct zcrx_returns {
	struct zcrx_queue *queue;
	struct zcrx_consumer_params params;
	struct zcrx_rq_user rq;
	shm_u32 *cq_head, *cq_tail; /* the completion queue's, as its header says */
	struct zcrx_fault_plan plan;
	struct zcrx_fault_area fault_area;
	struct zcrx_rng rng;
	struct zcrx_flight *flight; /* the consumer's recorder */
	uint32_t errors_recorded; /* in this batch: bits of enum zcrx_event_error */

	uint64_t position; /* RQEs ever written: where the next one stands in the intent log */
	uint64_t noted; /* … of them those that the reconciler may look at */
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

	struct zcrx_staged staged[ZCRX_FAULT_RULES_MAX * 16 + 1];
	uint32_t staged_count, staged_at;
	uint32_t staged_end; /* once so many are written, the fragment is not held any more */
	bool is_staged;

	struct io_uring_zcrx_rqe *history; /* [ZCRX_HISTORY] */
	uint64_t history_count;
	bool keeps_history; /* some rule wants it */
	struct zcrx_early *early; /* [ZCRX_HISTORY], FIFO */
	uint64_t early_head, early_tail;
	uint64_t hoarded, misdirected;
	bool misdirecting
		[ZCRX_FAULT_RULES_MAX]; /* rules of any queue that send returns elsewhere */

	/* Faults of the ring itself: see ring_faults.h. */
	uint32_t tail_ahead; /* entries to publish unwritten behind this batch */
	uint8_t tail_rule;
	uint32_t over, over_rule; /* returns that ignore a full ring, rule + 1 */
	uint32_t forget, forget_rule; /* returns that are forgotten when it is full, rule + 1 */
	uint32_t lies; /* rule + 1 of a lie about the tail that follows this batch, 0 = none */
	uint32_t lie; /* … the tail itself, or how far it is moved back */
	bool lie_is_absolute;
	uint32_t astray; /* rule + 1 of a lie that the provider may still follow, 0 = none */
	uint32_t scribble; /* what we last wrote into the head */
	bool has_scribbled;
	bool has_scribbled_cq; /* the completion queue's head is to be published again */
	bool is_stalled; /* nothing is published before stalled_until */
	uint64_t stalled_until;
	/* A scrub of a living user: fragments up to this CQ index may have no reference. */
	uint32_t scrubs_seen;
	bool is_tainted;
	uint32_t tainted_until;

	zcrx_custom_ask *ask_custom; /* NULL: users' own faults do nothing */
	void *custom_context;
	const struct zcrx_custom_call *custom_call; /* the one that is being answered */
	bool custom_failed; /* one of them could not be carried out: the consumer must end */
};

/* 0, -ENOMEM, or what zcrx_fault_compile() says. The queue outlives it. */
int zcrx_returns_init(struct zcrx_returns *returns, struct zcrx_queue *queue,
		      const struct zcrx_consumer_params *params,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_returns_destroy(struct zcrx_returns *returns);

/* A fragment was delivered at that CQ index: check bytes and ownership, and hold it. */
void zcrx_returns_received(struct zcrx_returns *returns, const struct zcrx_held *held,
			   uint32_t index);
/* Before completions are read: has a scrub taken what is held? */
void zcrx_returns_look(struct zcrx_returns *returns);
/* Whom to ask when a rule of kind ZCRX_FAULT_CUSTOM fires. */
void zcrx_returns_set_custom(struct zcrx_returns *returns, zcrx_custom_ask *ask, void *context);
/*
 * While a user's fault is asked: it changed its copy of the area from `before`
 * to `after` (both as large as the area). What differs is written into the area
 * itself, and put down to its rule.
 */
void zcrx_returns_custom_wrote(struct zcrx_returns *returns, const uint8_t *before,
			       const uint8_t *after);

/* A fragment that was received came again, or late, on purpose: tell it of `rule` (+ 1). */
void zcrx_returns_found(struct zcrx_returns *returns, const struct zcrx_held *held,
			enum zcrx_consequence_kind kind, uint32_t rule);
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
