/* SPDX-License-Identifier: MIT */
/*
 * ringkeeper: a provider that takes an entry apart first, and then settles it.
 *
 *	cc -std=gnu11 -O2 -fPIC -shared $(zcrx-emu config --cflags) -o ringkeeper.so ringkeeper.c
 */
#include "zcrx_provider.h"

#include <errno.h>

/* An entry as it was when it was read; the user may write into the ring at any time. */
struct claim {
	uint64_t area, buffer;
	uint32_t pad;
};

static struct claim read_claim(struct zcrx_provider_queue *q, uint32_t at)
{
	const struct zcrx_provider_rqe *slot = q->rqes + at % q->rq_entries;
	uint64_t off = zcrx_read_u64(q, ZCRX_PROVIDER_RQE_LOAD, &slot->off);

	return (struct claim){
		.area = off >> 48,
		.buffer = (off & 0xffffffffffffULL) >> q->niov_shift,
		.pad = zcrx_read_u32(q, ZCRX_PROVIDER_RQE_LOAD, &slot->pad),
	};
}

/* Is it one of ours at all? ACCEPTED stands for: as far as its bytes tell. */
static enum zcrx_provider_verdict inspect(struct zcrx_provider_queue *q, const struct claim *claim,
					  bool *alias)
{
	if (claim->pad != 0)
		return ZCRX_PROVIDER_BAD_PAD;
	if (claim->area != 0)
		return ZCRX_PROVIDER_BAD_AREA;
	if ((uint32_t)claim->buffer >= q->num_niovs)
		return ZCRX_PROVIDER_BAD_INDEX;
	*alias = claim->buffer > UINT32_MAX;
	return *alias && q->strict_alias ? ZCRX_PROVIDER_BAD_INDEX : ZCRX_PROVIDER_ACCEPTED;
}

/* One user reference less, unless there is none: a scrub may take them all meanwhile. */
static bool spend(struct zcrx_provider_queue *q, uint32_t niov)
{
	uint32_t *refs = &q->niovs[niov].user_refs;
	uint32_t held = zcrx_read_u32(q, ZCRX_PROVIDER_USER_REF, refs);

	do {
		if (held == 0)
			return false;
	} while (!zcrx_cas_u32(q, ZCRX_PROVIDER_USER_REF, refs, &held, held - 1));
	return true;
}

static enum zcrx_provider_verdict settle(struct zcrx_provider_queue *q, uint32_t pool,
					 uint32_t niov)
{
	if (!spend(q, niov))
		return ZCRX_PROVIDER_NO_USER_REF;
	if (!q->services->pp_ref_put(q, niov, 1))
		return ZCRX_PROVIDER_STILL_REFERENCED;
	if (__atomic_load_n(&q->niovs[niov].pool, __ATOMIC_RELAXED) == pool + 1) {
		q->services->cache_push(q, pool, niov);
		return ZCRX_PROVIDER_ACCEPTED;
	}
	q->services->return_niov(q, niov);
	return ZCRX_PROVIDER_OTHER_POOL;
}

static void take_returns(struct zcrx_provider_queue *q, uint32_t pool)
{
	uint32_t head = *q->cached_rq_head;
	uint32_t waiting = zcrx_read_acquire_u32(q, ZCRX_PROVIDER_TAIL_LOAD, q->rq_tail) - head;
	uint32_t room = ZCRX_PROVIDER_REFILL - q->services->cache_count(q, pool);
	uint32_t end;

	if (waiting > q->rq_entries)
		waiting = q->rq_entries;
	end = head + (waiting < room ? waiting : room);
	if (end == head)
		return;
	for (; head != end; head++) {
		struct claim claim = read_claim(q, head);
		uint32_t niov = (uint32_t)claim.buffer;
		bool alias = false;
		enum zcrx_provider_verdict verdict = inspect(q, &claim, &alias);

		if (verdict == ZCRX_PROVIDER_ACCEPTED)
			verdict = settle(q, pool, niov);
		q->services->judged(q, head, verdict, niov, alias);
	}
	*q->cached_rq_head = end;
	zcrx_write_release_u32(q, ZCRX_PROVIDER_HEAD_STORE, q->rq_head, end);
}

static bool keeper_alloc(struct zcrx_provider_queue *q, uint32_t pool)
{
	uint32_t fresh[ZCRX_PROVIDER_REFILL];
	uint32_t count;

	if (q->services->rq_lock(q)) {
		take_returns(q, pool);
		q->services->rq_unlock(q);
	}
	if (q->services->cache_count(q, pool) > 0)
		return true;
	count = q->services->free_pop(q, fresh, ZCRX_PROVIDER_REFILL);
	for (uint32_t i = 0; i < count; i++) {
		q->services->bind(q, pool, fresh[i]);
		q->services->cache_push(q, pool, fresh[i]);
	}
	return count > 0;
}

static void keeper_release(struct zcrx_provider_queue *q, uint32_t pool, uint32_t niov)
{
	q->services->unbind(q, pool, niov);
	q->services->free_push(q, niov);
}

static int keeper_init(struct zcrx_provider_queue *q, uint32_t pool)
{
	(void)pool;
	q->services->instance_get(q);
	return 0;
}

static int keeper_destroy(struct zcrx_provider_queue *q, uint32_t pool)
{
	(void)pool;
	if (q->services->free_count(q) < q->num_niovs)
		return -EBUSY;
	q->services->instance_put(q);
	return 0;
}

static uint64_t keeper_scrub(struct zcrx_provider_queue *q)
{
	uint64_t all = 0;

	for (uint32_t niov = 0; niov < q->num_niovs; niov++) {
		uint32_t *refs = &q->niovs[niov].user_refs;
		uint32_t taken = zcrx_exchange_u32(q, ZCRX_PROVIDER_USER_REF, refs, 0);

		if (taken == 0)
			continue;
		all += taken;
		if (q->services->pp_ref_put(q, niov, taken))
			q->services->return_niov(q, niov);
	}
	return all;
}

static int64_t keeper_copy(struct zcrx_provider_queue *q)
{
	uint32_t niov;

	if (q->services->free_pop(q, &niov, 1) == 0)
		return -ENOMEM;
	q->services->take_unbound(q, niov);
	return niov;
}

const struct zcrx_provider_ops zcrx_provider = {
	.abi = ZCRX_PROVIDER_ABI,
	.size = sizeof(struct zcrx_provider_ops),
	.name = "ringkeeper",
	.init = keeper_init,
	.alloc_netmems = keeper_alloc,
	.release_netmem = keeper_release,
	.destroy = keeper_destroy,
	.scrub = keeper_scrub,
	.copy_buffer = keeper_copy,
};
