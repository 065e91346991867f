/* SPDX-License-Identifier: MIT */
/*
 * A whole memory provider in its plainest form: one entry after the other, no
 * short cuts. It needs zcrx_provider.h and nothing else:
 *
 *	cc -std=gnu11 -g -O2 -fPIC -shared -Icext -o plain.so docs/examples/plain_provider.c
 *
 * It keeps nothing to itself: all its state lies in the memory of the queue.
 */
#include "zcrx_provider.h"

#include <errno.h>

#define AREA_SHIFT 48U /* an offset's upper bits: the area's id */
#define OFFSET_MASK ((UINT64_C(1) << AREA_SHIFT) - 1)

/*
 * Take one user reference back. Tested and lowered in one step: a scrub may
 * set the counter to 0 between a test and a change of it, and then the buffer
 * would come home twice.
 */
static bool take_user_ref(struct zcrx_provider_queue *queue, uint32_t niov)
{
	uint32_t *refs = &queue->niovs[niov].user_refs;
	uint32_t seen = zcrx_read_u32(queue, ZCRX_PROVIDER_USER_REF, refs);

	while (seen > 0) {
		if (zcrx_cas_u32(queue, ZCRX_PROVIDER_USER_REF, refs, &seen, seen - 1))
			return true;
	}
	return false;
}

/*
 * What an RQE earns. `rqe` is our own copy: the user can change the slot only.
 * `index` is the buffer that it names before the kernel cuts it to 32 bits; if
 * that loses bits, and what is left names a buffer, the entry is an alias.
 */
static enum zcrx_provider_verdict judge(struct zcrx_provider_queue *queue, uint32_t pool,
					const struct zcrx_provider_rqe *rqe, uint64_t index,
					bool *alias)
{
	const struct zcrx_provider_services *host = queue->services;
	uint32_t niov = (uint32_t)index;

	/* The bytes first, in this order … */
	if (rqe->pad)
		return ZCRX_PROVIDER_BAD_PAD;
	if (rqe->off >> AREA_SHIFT)
		return ZCRX_PROVIDER_BAD_AREA;
	if (niov >= queue->num_niovs)
		return ZCRX_PROVIDER_BAD_INDEX;
	*alias = index != niov;
	if (*alias && queue->strict_alias)
		return ZCRX_PROVIDER_BAD_INDEX;
	/* … then the references, the user's before the page pool's. */
	if (!take_user_ref(queue, niov))
		return ZCRX_PROVIDER_NO_USER_REF;
	if (!host->pp_ref_put(queue, niov, 1))
		return ZCRX_PROVIDER_STILL_REFERENCED;
	if (__atomic_load_n(&queue->niovs[niov].pool, __ATOMIC_RELAXED) != pool + 1) {
		host->return_niov(queue, niov);
		return ZCRX_PROVIDER_OTHER_POOL;
	}
	host->cache_push(queue, pool, niov);
	return ZCRX_PROVIDER_ACCEPTED;
}

/* Copy an entry, each word once: later reads could find something else. */
static struct zcrx_provider_rqe copy_rqe(struct zcrx_provider_queue *queue, uint32_t index)
{
	const struct zcrx_provider_rqe *slot = &queue->rqes[index & (queue->rq_entries - 1)];

	return (struct zcrx_provider_rqe){
		.off = zcrx_read_u64(queue, ZCRX_PROVIDER_RQE_LOAD, &slot->off),
		.len = zcrx_read_u32(queue, ZCRX_PROVIDER_RQE_LOAD, &slot->len),
		.pad = zcrx_read_u32(queue, ZCRX_PROVIDER_RQE_LOAD, &slot->pad),
	};
}

static void refill_from_ring(struct zcrx_provider_queue *queue, uint32_t pool)
{
	const struct zcrx_provider_services *host = queue->services;
	/* The acquire: slots below the tail hold what the user stored before moving it. */
	uint32_t tail = zcrx_read_acquire_u32(queue, ZCRX_PROVIDER_TAIL_LOAD, queue->rq_tail);
	uint32_t head = *queue->cached_rq_head;
	uint32_t count = tail - head; /* runs freely: wraps at 2^32 */
	uint32_t room = ZCRX_PROVIDER_REFILL - host->cache_count(queue, pool);

	if (count > queue->rq_entries) /* the tail is the user's word */
		count = queue->rq_entries;
	if (count > room)
		count = room;
	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++, head++) {
		struct zcrx_provider_rqe rqe = copy_rqe(queue, head);
		uint64_t index = (rqe.off & OFFSET_MASK) >> queue->niov_shift;
		bool alias = false;
		enum zcrx_provider_verdict verdict = judge(queue, pool, &rqe, index, &alias);

		/* A rejected entry is consumed as well: it must not block the ring. */
		host->judged(queue, head, verdict, (uint32_t)index, alias);
	}
	*queue->cached_rq_head = head;
	/* Once, after the last entry was read: from here on the user may overwrite them. */
	zcrx_write_release_u32(queue, ZCRX_PROVIDER_HEAD_STORE, queue->rq_head, head);
}

static void refill_from_freelist(struct zcrx_provider_queue *queue, uint32_t pool)
{
	uint32_t niovs[ZCRX_PROVIDER_REFILL];
	uint32_t count = queue->services->free_pop(queue, niovs, ZCRX_PROVIDER_REFILL);

	for (uint32_t i = 0; i < count; i++) {
		queue->services->bind(queue, pool, niovs[i]);
		queue->services->cache_push(queue, pool, niovs[i]);
	}
}

static bool plain_alloc_netmems(struct zcrx_provider_queue *queue, uint32_t pool)
{
	if (queue->services->rq_lock(queue)) {
		refill_from_ring(queue, pool);
		queue->services->rq_unlock(queue);
	}
	if (queue->services->cache_count(queue, pool) == 0)
		refill_from_freelist(queue, pool);
	return queue->services->cache_count(queue, pool) > 0;
}

static void plain_release_netmem(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov)
{
	queue->services->unbind(queue, pool, niov);
	queue->services->free_push(queue, niov);
}

static int plain_init(struct zcrx_provider_queue *queue, uint32_t pool)
{
	(void)pool;
	queue->services->instance_get(queue);
	return 0;
}

static int plain_destroy(struct zcrx_provider_queue *queue, uint32_t pool)
{
	(void)pool;
	/* Not all home: the reference is kept on purpose, so that the leak can be seen. */
	if (queue->services->free_count(queue) != queue->num_niovs)
		return -EBUSY;
	queue->services->instance_put(queue);
	return 0;
}

/* Without the lock, beside everything else; the exchange decides who has a reference. */
static uint64_t plain_scrub(struct zcrx_provider_queue *queue)
{
	uint64_t taken = 0;

	for (uint32_t niov = 0; niov < queue->num_niovs; niov++) {
		uint32_t refs = zcrx_exchange_u32(queue, ZCRX_PROVIDER_USER_REF,
						  &queue->niovs[niov].user_refs, 0);

		taken += refs;
		if (refs > 0 && queue->services->pp_ref_put(queue, niov, refs))
			queue->services->return_niov(queue, niov);
	}
	return taken;
}

static int64_t plain_copy_buffer(struct zcrx_provider_queue *queue)
{
	uint32_t niov;

	if (queue->services->free_pop(queue, &niov, 1) == 0)
		return -ENOMEM;
	queue->services->take_unbound(queue, niov);
	return niov;
}

const struct zcrx_provider_ops zcrx_provider = {
	.abi = ZCRX_PROVIDER_ABI,
	.size = sizeof(struct zcrx_provider_ops),
	.name = "plain",
	.init = plain_init,
	.alloc_netmems = plain_alloc_netmems,
	.release_netmem = plain_release_netmem,
	.destroy = plain_destroy,
	.scrub = plain_scrub,
	.copy_buffer = plain_copy_buffer,
};
