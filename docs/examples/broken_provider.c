/* SPDX-License-Identifier: MIT */
/*
 * A provider with a mistake in it, to see what finding one looks like. All is
 * plain_provider.c's but the judgement of an entry, which has a "fast path":
 *
 *	A buffer with one page-pool reference left can only be waiting for its
 *	last return, so the user's counter need not be asked.
 *
 * It can: the last reference may be the NIC's, who fills the buffer right now.
 * A user who returns a buffer that it was never given gets it granted twice.
 * Honest traffic hardly shows it: a return that comes behind a scrub may.
 *
 *	cc -std=gnu11 -g -O2 -fPIC -shared -Icext -o broken.so docs/examples/broken_provider.c
 */
#include "zcrx_provider.h"

/* Its operations get another name: the library's own are at the end of this file. */
#define zcrx_provider plain_operations
#include "plain_provider.c"
#undef zcrx_provider

static enum zcrx_provider_verdict hasty_judge(struct zcrx_provider_queue *queue, uint32_t pool,
					      const struct zcrx_provider_rqe *rqe, uint64_t index,
					      bool *alias)
{
	if (!rqe->pad && !(rqe->off >> AREA_SHIFT) && index < queue->num_niovs) {
		struct zcrx_provider_niov *niov = &queue->niovs[index];

		/* The mistake: nobody asks whether user_refs is 0. */
		if (__atomic_load_n(&niov->pp_refs, __ATOMIC_RELAXED) == 1 &&
		    __atomic_load_n(&niov->pool, __ATOMIC_RELAXED) == pool + 1) {
			zcrx_write_u32(queue, ZCRX_PROVIDER_USER_REF, &niov->user_refs, 0);
			queue->services->cache_push(queue, pool, (uint32_t)index);
			return ZCRX_PROVIDER_ACCEPTED;
		}
	}
	return judge(queue, pool, rqe, index, alias);
}

/* refill_from_ring() with the other judge. */
static void hasty_refill(struct zcrx_provider_queue *queue, uint32_t pool)
{
	uint32_t tail = zcrx_read_acquire_u32(queue, ZCRX_PROVIDER_TAIL_LOAD, queue->rq_tail);
	uint32_t head = *queue->cached_rq_head;
	uint32_t count = tail - head;
	uint32_t room = ZCRX_PROVIDER_REFILL - queue->services->cache_count(queue, pool);

	count = count < queue->rq_entries ? count : queue->rq_entries;
	count = count < room ? count : room;
	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++, head++) {
		struct zcrx_provider_rqe rqe = copy_rqe(queue, head);
		uint64_t index = (rqe.off & OFFSET_MASK) >> queue->niov_shift;
		bool alias = false;
		enum zcrx_provider_verdict verdict = hasty_judge(queue, pool, &rqe, index, &alias);

		queue->services->judged(queue, head, verdict, (uint32_t)index, alias);
	}
	*queue->cached_rq_head = head;
	zcrx_write_release_u32(queue, ZCRX_PROVIDER_HEAD_STORE, queue->rq_head, head);
}

static bool hasty_alloc_netmems(struct zcrx_provider_queue *queue, uint32_t pool)
{
	if (queue->services->rq_lock(queue)) {
		hasty_refill(queue, pool);
		queue->services->rq_unlock(queue);
	}
	if (queue->services->cache_count(queue, pool) == 0)
		refill_from_freelist(queue, pool);
	return queue->services->cache_count(queue, pool) > 0;
}

const struct zcrx_provider_ops zcrx_provider = {
	.abi = ZCRX_PROVIDER_ABI,
	.size = sizeof(struct zcrx_provider_ops),
	.name = "broken",
	.init = plain_init,
	.alloc_netmems = hasty_alloc_netmems,
	.release_netmem = plain_release_netmem,
	.destroy = plain_destroy,
	.scrub = plain_scrub,
	.copy_buffer = plain_copy_buffer,
};
