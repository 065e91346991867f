/* SPDX-License-Identifier: MIT */
/*
 * plain_consumer.c with three mistakes that are easily made, to see what is said of them:
 *
 *	It writes an entry as two stores, and leaves pad as it was. That is 0 in a new ring,
 *	until something else has been written there: here a count of its own.
 *	What it thinks an optimisation, "the last fragment of a buffer returns the buffer",
 *	gives back whole buffers beside their fragments.
 *	It looks for room in the refill ring once, when it starts.
 *
 *	zcrx-emu stress --consumer docs/examples/broken_consumer.c
 */
#include "zcrx_consumer.h"

#include <errno.h>

#define WAIT_US 20000U
#define PAD_EVERY 1000U

struct counts {
	uint64_t fragments;
	uint32_t last_niov;
};

static void give_back(struct zcrx_consumer_queue *queue, uint32_t *tail, uint64_t off, uint32_t len)
{
	struct zcrx_consumer_rqe *rqe = &queue->rqes[(*tail)++ & (queue->rq_entries - 1)];

	rqe->off = off;
	rqe->len = len; /* the first mistake: pad stays what it was */
}

static bool consume(struct zcrx_consumer_queue *queue, struct counts *counts)
{
	uint32_t head = *queue->cq_head, tail = *queue->rq_tail;
	uint32_t end = zcrx_consumer_load(queue->cq_tail);

	/* The third mistake: nobody asks how far the kernel has read. */
	for (uint32_t at = head; at != end; at++) {
		const struct zcrx_consumer_cqe *cqe = &queue->cqes[at & (queue->cq_entries - 1)];
		uint32_t niov = (uint32_t)(cqe->off >> queue->niov_shift);

		if (!(cqe->flags & ZCRX_CONSUMER_CQE_MORE))
			continue;
		give_back(queue, &tail, cqe->off, (uint32_t)cqe->res);
		/* The second one: another buffer has begun, so the last one is thought to be done. */
		if (counts->fragments++ && niov != counts->last_niov)
			give_back(queue, &tail, (uint64_t)counts->last_niov << queue->niov_shift,
				  0);
		counts->last_niov = niov;
		if (counts->fragments % PAD_EVERY == 0)
			queue->rqes[tail & (queue->rq_entries - 1)].pad =
				(uint32_t)counts->fragments;
	}
	zcrx_consumer_store(queue->cq_head, end);
	zcrx_consumer_store(queue->rq_tail, tail);
	return end != head;
}

static int run(struct zcrx_consumer_queue *queue)
{
	struct counts counts = {0};

	if (queue->size < sizeof(*queue))
		return -EINVAL;
	for (;;) {
		if (consume(queue, &counts))
			continue;
		if (!queue->services->enter(queue, WAIT_US)) {
			while (consume(queue, &counts))
				;
			return 0;
		}
	}
}

const struct zcrx_consumer_ops zcrx_consumer = {
	.abi = ZCRX_CONSUMER_ABI,
	.size = sizeof(zcrx_consumer),
	.name = "broken",
	.run = run,
};
