/* SPDX-License-Identifier: MIT */
/*
 * The consumer: reads completions, checks what it was given, and returns each
 * fragment through the refill ring, in any order, with malformed entries in
 * between if the plan says so. It maps nothing of the kernel side.
 */
#ifndef ZCRX_CONSUMER_H
#define ZCRX_CONSUMER_H

#include "faults/fault.h"
#include "run/layout.h"
#include "poison.h"

enum zcrx_verify {
	ZCRX_VERIFY_NONE = 0,
	ZCRX_VERIFY_TOUCH =
		1, /* read a byte of each cache line's worth: the first of each fragment */
	ZCRX_VERIFY_CRC = 2, /* CRC32C on receipt, and again on return for some */
};

enum zcrx_return_order {
	ZCRX_RETURN_FIFO = 0,
	ZCRX_RETURN_LIFO = 1,
	ZCRX_RETURN_SHUFFLE = 2,
};

struct zcrx_consumer_params {
	uint32_t verify;
	uint32_t return_order;
	uint32_t hold; /* fragments kept before the first goes back */
	uint32_t recheck_every; /* verify every n-th fragment again on return; 0 = none */
	uint32_t stop_at_end; /* finish after that many flows ended; 0 = never */
	int32_t output_fd; /* payload is written here in order; -1 = nowhere */
	uint64_t seed;
	uint64_t position; /* RQEs that the queue's users before this one had consumed */
	uint32_t queues; /* of the run */
};

/* One fragment as delivered. */
struct zcrx_fragment {
	uint64_t off; /* as in the CQE */
	uint64_t user_data; /* the flow */
	int32_t res;
	uint32_t flags;
	uint32_t crc; /* what the NIC sent */
	uint32_t seq;
	uint32_t generation; /* how often its buffer had been granted */
	uint32_t mark; /* rule + 1 of a plan that made its bytes wrong on purpose, or 0 */
};

struct zcrx_consumer;

/* Attach to a mapped queue; NULL without memory. Starts at the indices published in the rings. */
struct zcrx_consumer *zcrx_consumer_new(const struct zcrx_shape *shape, uint32_t index,
					const struct zcrx_mapping *mapping,
					const struct zcrx_consumer_params *params,
					const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_consumer_free(struct zcrx_consumer *consumer);

/*
 * Run for about slice_ms. 0: call again; 1: finished (asked to stop and the
 * completion queue is empty, or stop_at_end reached); -errno: output failed, or
 * -ECANCELED: a fault of the user's own could not be carried out.
 */
int zcrx_consumer_run(struct zcrx_consumer *consumer, uint32_t slice_ms);

/* --- for a consumer of one's own --- */

/* Take up to max completions, checked and counted as the run's own; 0 if none. */
uint32_t zcrx_consumer_take(struct zcrx_consumer *consumer, struct zcrx_fragment *fragments,
			    uint32_t max);
/* Sleep until there may be completions, at most timeout_us. */
void zcrx_consumer_wait(struct zcrx_consumer *consumer, uint32_t timeout_us);
/* Give fragments back (faults of the plan included). Always takes all of them. */
void zcrx_consumer_give_back(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragments,
			     uint32_t count);
/*
 * The same of fragments that are not out: returned already, or made up. The entries
 * are written all the same, and noted as what they are: the user's own strays.
 */
void zcrx_consumer_give_astray(struct zcrx_consumer *consumer,
			       const struct zcrx_fragment *fragments, uint32_t count);
/* What is handed out and given back from now on is opened and poisoned in that view. */
void zcrx_consumer_set_poison(struct zcrx_consumer *consumer, struct zcrx_poison *poison);
/* A fragment was read or written to after its return. */
void zcrx_consumer_note_touches(struct zcrx_consumer *consumer, uint64_t count);
/* Push what waits for room; how many returns still wait. */
uint64_t zcrx_consumer_flush(struct zcrx_consumer *consumer);
bool zcrx_consumer_should_stop(const struct zcrx_consumer *consumer);

/* --- for faults of one's own: see faults/injection.h --- */

struct zcrx_custom_call;
void zcrx_consumer_set_custom(struct zcrx_consumer *consumer,
			      int (*ask)(void *context, struct zcrx_custom_call *call),
			      void *context);
void zcrx_consumer_custom_wrote(struct zcrx_consumer *consumer, const uint8_t *before,
				const uint8_t *after);

#endif /* ZCRX_CONSUMER_H */
