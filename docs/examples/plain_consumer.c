/* SPDX-License-Identifier: MIT */
/*
 * A whole consumer in its plainest form: it reads completions, adds their bytes up, and gives
 * each fragment back. It needs zcrx_consumer.h and nothing else:
 *
 *	zcrx-emu stress --consumer docs/examples/plain_consumer.c
 */
#include "zcrx_consumer.h"

#include <errno.h>
#include <stdlib.h>

#define WAIT_US 20000U
#define BATCH 64U

/* Completions that wait; never more than the ring has, whatever stands there. */
static uint32_t ready(const struct zcrx_consumer_queue *queue, uint32_t head)
{
	uint32_t count = zcrx_consumer_load(queue->cq_tail) - head;

	return count < queue->cq_entries ? count : queue->cq_entries;
}

/* Entries that fit into the refill ring behind `tail`. */
static uint32_t room(const struct zcrx_consumer_queue *queue, uint32_t tail)
{
	return queue->rq_entries - (tail - zcrx_consumer_load(queue->rq_head));
}

static uint64_t sum_of(const uint8_t *bytes, uint32_t size)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < size; i++)
		sum += bytes[i];
	return sum;
}

/* What was read and has not found room in the refill ring yet. */
struct returns {
	struct zcrx_consumer_rqe *entries;
	size_t count, capacity;
};

static int keep(struct returns *returns, struct zcrx_consumer_rqe entry)
{
	if (returns->count == returns->capacity) {
		size_t capacity = 2 * returns->capacity + BATCH;
		void *entries = realloc(returns->entries, capacity * sizeof(*returns->entries));

		if (!entries)
			return -ENOMEM;
		returns->entries = entries;
		returns->capacity = capacity;
	}
	returns->entries[returns->count++] = entry;
	return 0;
}

/* As many as there is room for, in any order; then one release of the tail for all. */
static void give_back(struct zcrx_consumer_queue *queue, struct returns *returns)
{
	uint32_t tail = *queue->rq_tail; /* ours: nobody else writes it */

	for (uint32_t space = room(queue, tail); space && returns->count; space--)
		queue->rqes[tail++ & (queue->rq_entries - 1)] = returns->entries[--returns->count];
	zcrx_consumer_store(queue->rq_tail, tail);
}

/*
 * Read up to a batch of completions; how many there were, or -ENOMEM. It never waits for room in
 * the refill ring: the provider may have buffers enough, and then it does not look there.
 */
static int consume(struct zcrx_consumer_queue *queue, struct returns *returns, uint64_t *sum)
{
	uint32_t head = *queue->cq_head;
	uint32_t count = ready(queue, head);

	if (count > BATCH)
		count = BATCH;
	for (uint32_t i = 0; i < count; i++) {
		const struct zcrx_consumer_cqe *cqe =
			&queue->cqes[(head + i) & (queue->cq_entries - 1)];
		struct zcrx_consumer_rqe entry = {.off = cqe->off, .len = (uint32_t)cqe->res};

		if (!(cqe->flags & ZCRX_CONSUMER_CQE_MORE))
			continue; /* the end of a flow: it has no buffer */
		*sum += sum_of(zcrx_consumer_bytes(queue, cqe->off), (uint32_t)cqe->res);
		if (keep(returns, entry))
			return -ENOMEM;
	}
	/* Once all of them were read: their slots may be written again. */
	zcrx_consumer_store(queue->cq_head, head + count);
	give_back(queue, returns);
	return (int)count;
}

static int run(struct zcrx_consumer_queue *queue)
{
	struct returns returns = {0};
	bool goes_on = true;
	uint64_t sum = 0;
	int count;

	if (queue->size < sizeof(*queue))
		return -EINVAL;
	do {
		/* Asked first, then looked once more: nothing can have come in between. */
		while ((count = consume(queue, &returns, &sum)) > 0)
			;
		if (!goes_on)
			break;
		goes_on = queue->services->enter(queue, WAIT_US);
	} while (count == 0);
	free(returns.entries);
	return count;
}

const struct zcrx_consumer_ops zcrx_consumer = {
	.abi = ZCRX_CONSUMER_ABI,
	.size = sizeof(zcrx_consumer),
	.name = "plain",
	.run = run,
};
