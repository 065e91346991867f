/* SPDX-License-Identifier: MIT */
/*
 * The writer of the refill ring: puts entries in, notes beside each what it means
 * (intent log) and whose return it is (dues), and publishes them. It charges what it
 * writes to the holdings, and knows of faults only what it is told with an entry.
 */
#ifndef ZCRX_RQ_WRITER_H
#define ZCRX_RQ_WRITER_H

#include "holdings.h"

#include <assert.h>

/* Most entries that are written before something is published. */
#define ZCRX_RETURN_BATCH 64U

/* An entry as it goes into the ring, with what is to be noted of it. */
struct zcrx_entry {
	struct io_uring_zcrx_rqe rqe;
	uint32_t declared; /* the verdicts that a user's own fault says it may earn, if it does */
	uint8_t rule; /* + 1; 0 = a return by the rules */
	uint8_t strays; /* rule + 1 that it is put down to if it names a buffer, or 0 */
	bool is_due; /* it is the one return of a fragment that was delivered */
	bool is_declared;
};

struct zcrx_rq_writer {
	struct zcrx_queue *queue;
	struct zcrx_flight *flight; /* the consumer's recorder */
	struct zcrx_holdings *holdings;
	struct zcrx_rq_user rq;
	uint64_t position; /* RQEs ever written: where the next one stands in the intent log */
	uint64_t noted; /* … of them those that the reconciler may look at */
	uint64_t checked; /* what was reconciled, as last seen */
	uint32_t ring_after; /* returns that are worth waking a starved provider for */
	bool unrung; /* returns were published and nobody was told */
	bool is_withheld; /* nothing is published before withheld_until */
	uint64_t withheld_until;
};

/* `position`: RQEs that the queue's users before this one had consumed. */
void zcrx_rq_writer_init(struct zcrx_rq_writer *writer, struct zcrx_queue *queue,
			 struct zcrx_holdings *holdings, uint64_t position);

/* ---- room ---- */

/* How many intents may be written now without overtaking the reconciler. */
uint64_t zcrx_rq_writer_log_room(struct zcrx_rq_writer *writer, uint64_t wanted);
/* How many RQEs of a batch may be written now: the ring's room, and the intent log's. */
uint64_t zcrx_rq_writer_room(struct zcrx_rq_writer *writer);
/* Where the provider stands, as a position; as last published, so never too far. */
uint64_t zcrx_rq_writer_consumed(struct zcrx_rq_writer *writer);

/* Entries between what we last saw of the provider and our tail. */
static inline uint32_t zcrx_rq_writer_used(const struct zcrx_rq_writer *writer)
{
	return writer->rq.cached_tail - writer->rq.cached_head;
}

/* ---- intents ---- */

/* Where the logs of a queue are: taken once for a run of entries. */
struct zcrx_log {
	shm_u16 *intents;
	shm_u16 *dues;
	uint64_t mask;
};

static inline struct zcrx_log zcrx_rq_writer_log(const struct zcrx_rq_writer *writer)
{
	const struct zcrx_queue *queue = writer->queue;

	return (struct zcrx_log){queue->intents, queue->dues, queue->shape.log_entries - 1};
}

/*
 * Note what the entry at the private tail means, before it is passed. `due`:
 * ZCRX_DUE() of the buffer whose fragment it gives back, or ZCRX_DUE_NONE.
 */
static inline void zcrx_rq_writer_note(struct zcrx_rq_writer *writer, struct zcrx_log log,
				       uint32_t rule, uint32_t legal, uint16_t due)
{
	assert(writer->position - writer->checked <= log.mask); /* see zcrx_rq_writer_log_room() */
	/* Relaxed: published by zcrx_rq_writer_note_written(). */
	shm_store_relaxed_u16(&log.dues[writer->position & log.mask], due, POINT_LOG);
	shm_store_relaxed_u16(&log.intents[writer->position++ & log.mask], ZCRX_INTENT(rule, legal),
			      POINT_LOG);
}

/* Another meaning of an entry that keeps its part in the accounts. */
void zcrx_rq_writer_change(struct zcrx_rq_writer *writer, uint64_t position, uint32_t rule,
			   uint32_t legal);
/* What was noted last of the entry at that position. */
uint16_t zcrx_rq_writer_intent(const struct zcrx_rq_writer *writer, uint64_t position);
/* Let the reconciler look at all intents written so far. */
void zcrx_rq_writer_note_written(struct zcrx_rq_writer *writer);

/* ---- entries ---- */

/* The slot of that ring index. */
static inline struct zcrx_rqe_slot *zcrx_rq_writer_slot(const struct zcrx_rq_writer *writer,
							uint32_t index)
{
	return &writer->rq.rqes[index & writer->rq.mask];
}

static inline struct zcrx_rqe_slot *zcrx_rq_writer_next_slot(const struct zcrx_rq_writer *writer)
{
	return zcrx_rq_writer_slot(writer, writer->rq.cached_tail);
}

/* The quick way of a return whose meaning is known; charging it is the caller's part. */
static inline void zcrx_rq_writer_put_valid(struct zcrx_rq_writer *writer, struct zcrx_log log,
					    const struct zcrx_held *held, uint32_t legal,
					    uint16_t due)
{
	zcrx_rq_writer_note(writer, log, ZCRX_INTENT_VALID, legal, due);
	zcrx_rq_user_put(&writer->rq, held->off, held->len, 0);
}

/* Write an entry where there is room for it, note what it means, and charge it. */
void zcrx_rq_writer_put(struct zcrx_rq_writer *writer, const struct zcrx_entry *entry);
/*
 * Note what the entry at the private tail means, as it stands there, and pass it.
 * Late: it may have been taken before now.
 */
void zcrx_rq_writer_claim(struct zcrx_rq_writer *writer, uint32_t rule, bool late);

/* ---- publication ---- */

/* Publish nothing for so long. */
void zcrx_rq_writer_withhold(struct zcrx_rq_writer *writer, uint32_t us);
/* Publish the tail, unless it is withheld. */
void zcrx_rq_writer_publish(struct zcrx_rq_writer *writer);
/* Tell a provider that starves, if anything was published since it was last told. */
void zcrx_rq_writer_wake_provider(struct zcrx_rq_writer *writer);

#endif /* ZCRX_RQ_WRITER_H */
