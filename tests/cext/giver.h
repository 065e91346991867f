/* SPDX-License-Identifier: MIT */
/*
 * A consumer's way back on private memory, with the test in the place of NIC
 * and provider.
 */
#ifndef GIVER_H
#define GIVER_H

#include "wire/crc32c.h"
#include "queue_memory.h"
#include "judge/reconcile.h"
#include "actors/returns.h"
#include "rules.h"

#define BIT(verdict) (1U << (verdict))
#define SUCCEEDS (BIT(ZCRX_ACCEPTED) | BIT(ZCRX_STILL_REFERENCED) | BIT(ZCRX_OTHER_POOL))
#define MAY_FIND_NOTHING (SUCCEEDS | BIT(ZCRX_NO_USER_REF))
#define VALID ZCRX_INTENT_VALID
#define FIRST 1U /* the rules, as intents number them */
#define SECOND 2U

static const struct zcrx_consumer_params plain = {.output_fd = -1};
static const struct zcrx_consumer_params checking = {
	.output_fd = -1,
	.verify = ZCRX_VERIFY_CRC,
	.recheck_every = 1,
};

struct giver {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_returns returns;
	struct zcrx_account *accounts; /* of its reconciler: see reconciler_of() */
};

static inline void giver_init(struct giver *giver, const struct zcrx_shape *shape,
			      const struct zcrx_consumer_params *params,
			      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_rq_user rq;

	memset(giver, 0, sizeof(*giver));
	queue_memory_init(&giver->memory, shape);
	giver->queue = &giver->memory.queue;
	REQUIRE(zcrx_returns_init(&giver->returns, giver->queue, params, rules, rule_count) == 0);
	rq = user_of(giver->queue);
	zcrx_returns_attach(&giver->returns, &rq, giver->queue->cq.head, giver->queue->cq.tail);
	giver->accounts = zeroed(sizeof(*giver->accounts) * shape->num_niovs);
}

/* A fresh one; freed with the giver. */
static inline struct zcrx_reconciler reconciler_of(struct giver *giver)
{
	uint32_t count = giver->queue->shape.num_niovs;

	memset(giver->accounts, 0, sizeof(*giver->accounts) * count);
	return (struct zcrx_reconciler){.accounts = giver->accounts, .account_count = count};
}

static inline void giver_init_small(struct giver *giver, const struct zcrx_consumer_params *params,
				    const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_shape shape = small_shape();

	giver_init(giver, &shape, params, rules, rule_count);
}

static inline void giver_free(struct giver *giver)
{
	zcrx_returns_destroy(&giver->returns);
	free(giver->accounts);
	queue_memory_free(&giver->memory);
}

static inline uint8_t *bytes_of(struct giver *giver, uint32_t niov)
{
	return zcrx_area_niov(&giver->queue->area, niov);
}

/* 64 bytes at the start of a buffer, as they are now. */
static inline struct zcrx_held fragment_of(struct giver *giver, uint32_t niov, uint32_t generation)
{
	return (struct zcrx_held){
		.off = (uint64_t)niov << 12,
		.len = 64,
		.crc = zcrx_crc32c(bytes_of(giver, niov), 64),
		.flow = 2,
		.seq = 100 + generation,
		.generation = generation,
	};
}

static inline struct zcrx_held receive(struct giver *giver, uint32_t niov, uint32_t generation)
{
	struct zcrx_held held = fragment_of(giver, niov, generation);

	zcrx_findings_received(&giver->returns.findings, &held, 0);
	return held;
}

/* A fragment of which not every byte is what was sent. */
static inline struct zcrx_held receive_changed(struct giver *giver, uint32_t niov,
					       uint32_t generation)
{
	struct zcrx_held held = fragment_of(giver, niov, generation);

	held.crc ^= 1;
	zcrx_findings_received(&giver->returns.findings, &held, 0);
	return held;
}

static inline void give(struct giver *giver, struct zcrx_held held)
{
	zcrx_returns_give(&giver->returns, held);
	zcrx_returns_flush(&giver->returns);
}

static inline void receive_and_give(struct giver *giver, uint32_t niov, uint32_t generation)
{
	give(giver, receive(giver, niov, generation));
}

/* The provider takes one RQE. */
static inline struct io_uring_zcrx_rqe taken(struct giver *giver)
{
	struct zcrx_rq *rq = &giver->queue->ifq.rq;
	struct io_uring_zcrx_rqe rqe;

	REQUIRE(zcrx_rq_available(rq) > 0);
	rqe = zcrx_rq_take(rq);
	zcrx_rq_release(rq);
	return rqe;
}

static inline uint32_t written(struct giver *giver)
{
	return zcrx_rq_available(&giver->queue->ifq.rq);
}

static inline void take_all(struct giver *giver)
{
	while (written(giver) > 0)
		taken(giver);
}

#define NOTES(giver, name) count_of(&(giver)->queue->notes->name)
#define CHECK_MEANT(giver, position, rule, legal) \
	CHECK_EQ((giver)->queue->intents[position], ZCRX_INTENT(rule, legal))

/* The stack hands out one fragment of a new buffer, and the user receives it. */
static inline struct zcrx_held deliver_one(struct giver *giver, uint32_t generation)
{
	int64_t niov = zcrx_pp_alloc(zcrx_ifq_pool(&giver->queue->ifq));

	REQUIRE(niov >= 0);
	deliver(giver->queue, (uint32_t)niov, 1);
	return receive(giver, (uint32_t)niov, generation);
}

static inline void provide_and_reconcile(struct giver *giver, struct zcrx_reconciler *reconciler)
{
	struct zcrx_ifq *ifq = &giver->queue->ifq;

	for (uint32_t i = 0; i < 100 && zcrx_ifq_refill_ring(ifq, zcrx_ifq_pool(ifq)); i++)
		;
	zcrx_reconcile(reconciler, giver->queue);
}

#endif /* GIVER_H */
