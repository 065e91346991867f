/* SPDX-License-Identifier: MIT */
/*
 * A whole provider, and ways to get it wrong: MISTAKE says which one is in, 0 or
 * nothing means none. They were taken from the contract (docs/provider.md), one for
 * each sentence that somebody may overlook, and from what goes wrong in C anywhere;
 * no tool was adjusted to any of them. What each is stands where it is put in, as
 *
 *	MISTAKE n: what is wrong
 *
 * and `python -m tools.broken` reads it from there. A mistake is an ordinary `if`
 * on a constant, so that all of them are compiled and none can rot.
 */
#include "zcrx_provider.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef MISTAKE
#define MISTAKE 0
#endif
#define IS(number) (MISTAKE == (number))

#define AREA_SHIFT 48U
#define OFFSET_MASK ((UINT64_C(1) << AREA_SHIFT) - 1)
#define BATCH ZCRX_PROVIDER_REFILL

typedef struct zcrx_provider_queue queue_t;
typedef enum zcrx_provider_verdict verdict_t;

/* ---- user references ------------------------------------------------------------- */

static bool take_user_ref(queue_t *queue, uint32_t niov)
{
	uint32_t *refs = &queue->niovs[niov].user_refs;
	uint32_t seen = zcrx_read_u32(queue, ZCRX_PROVIDER_USER_REF, refs);

	/* MISTAKE 1: the user reference is read, then lowered, in two steps */
	if (IS(1)) {
		if (seen == 0)
			return false;
		zcrx_write_u32(queue, ZCRX_PROVIDER_USER_REF, refs, seen - 1);
		return true;
	}
	/* MISTAKE 2: user references are counted in eight bits when they are looked at */
	if (IS(2) && (uint8_t)seen == 0)
		return false;
	/* MISTAKE 3: user references are counted in sixteen bits when they are looked at */
	if (IS(3) && (uint16_t)seen == 0)
		return false;
	/* MISTAKE 4: one return uses all user references up */
	if (IS(4) && seen > 0)
		return zcrx_exchange_u32(queue, ZCRX_PROVIDER_USER_REF, refs, 0) > 0;
	/* MISTAKE 5: a user reference is taken without a look at the counter */
	if (IS(5))
		return __atomic_fetch_sub(refs, 1, __ATOMIC_ACQ_REL) != UINT32_MAX;
	/* MISTAKE 6: a counter that somebody else changed meanwhile is given up, not tried again */
	if (IS(6))
		return seen > 0 &&
		       zcrx_cas_u32(queue, ZCRX_PROVIDER_USER_REF, refs, &seen, seen - 1);
	while (seen > 0) {
		if (zcrx_cas_u32(queue, ZCRX_PROVIDER_USER_REF, refs, &seen, seen - 1))
			return true;
	}
	return false;
}

/* ---- what an entry earns ------------------------------------------------------------ */

static uint32_t last_good = UINT32_MAX; /* of MISTAKE 7 */

static verdict_t judge_refs(queue_t *queue, uint32_t pool, uint32_t niov)
{
	const struct zcrx_provider_services *host = queue->services;
	uint32_t bound;

	/* MISTAKE 7: the buffer returned last needs no look at its counter (a static cache) */
	if (IS(7) && niov == last_good) {
		if (zcrx_read_u32(queue, ZCRX_PROVIDER_USER_REF, &queue->niovs[niov].user_refs))
			take_user_ref(queue, niov);
	} else if (!take_user_ref(queue, niov)) {
		return ZCRX_PROVIDER_NO_USER_REF;
	}
	if (IS(7))
		last_good = niov;
	bound = __atomic_load_n(&queue->niovs[niov].pool, __ATOMIC_RELAXED);
	/* MISTAKE 8: a buffer of another pool is sent home before its references are dropped */
	if (IS(8) && bound != pool + 1) {
		host->return_niov(queue, niov);
		return ZCRX_PROVIDER_OTHER_POOL;
	}
	/* MISTAKE 9: what is still referenced keeps its user reference */
	if (!host->pp_ref_put(queue, niov, 1)) {
		if (IS(9))
			__atomic_fetch_add(&queue->niovs[niov].user_refs, 1, __ATOMIC_ACQ_REL);
		return ZCRX_PROVIDER_STILL_REFERENCED;
	}
	/* MISTAKE 10: another pool's buffer is kept by this one */
	/* MISTAKE 11: a buffer that is no pool's is kept by this one */
	if (bound != pool + 1 && !IS(10) && !(IS(11) && bound == 0)) {
		/* MISTAKE 12: another pool's buffer goes to the freelist, not home */
		if (IS(12) && bound) {
			host->unbind(queue, bound - 1, niov);
			host->free_push(queue, niov);
			/* MISTAKE 13: another pool's buffer is lost */
		} else if (!IS(13)) {
			host->return_niov(queue, niov);
		}
		/* MISTAKE 14: another pool's buffer is said to have been accepted */
		return IS(14) ? ZCRX_PROVIDER_ACCEPTED : ZCRX_PROVIDER_OTHER_POOL;
	}
	host->cache_push(queue, pool, niov);
	/* MISTAKE 15: the last buffer that the cache can take is put there twice */
	if (IS(15) && host->cache_count(queue, pool) == BATCH - 1)
		host->cache_push(queue, pool, niov);
	return ZCRX_PROVIDER_ACCEPTED;
}

static verdict_t judge(queue_t *queue, uint32_t pool, const struct zcrx_provider_rqe *rqe,
		       uint64_t index, bool *alias)
{
	uint32_t niov = (uint32_t)index;
	uint32_t pad = rqe->pad;
	uint64_t area = rqe->off >> AREA_SHIFT;

	/* MISTAKE 16: only the lower half of the padding is looked at */
	if (IS(16))
		pad &= 0xffff;
	/* MISTAKE 17: only the lower byte of the area id is looked at */
	if (IS(17))
		area &= 0xff;
	/* MISTAKE 18: the area is judged before the padding */
	if (IS(18) && area)
		return ZCRX_PROVIDER_BAD_AREA;
	if (pad)
		return ZCRX_PROVIDER_BAD_PAD;
	if (area)
		return ZCRX_PROVIDER_BAD_AREA;
	/* MISTAKE 19: the index is kept in sixteen bits */
	if (IS(19))
		niov = (uint16_t)niov;
	/* MISTAKE 20: the index is compared as a signed number */
	if (niov >= queue->num_niovs && !(IS(20) && (int32_t)niov < 0) &&
	    /* MISTAKE 21: the index behind the last one is believed */
	    !(IS(21) && niov == queue->num_niovs))
		return ZCRX_PROVIDER_BAD_INDEX;
	/* MISTAKE 22: the bound is tested before the index is cut to 32 bits */
	if (IS(22) && index >= queue->num_niovs)
		return ZCRX_PROVIDER_BAD_INDEX;
	*alias = index != niov && !IS(19);
	/* MISTAKE 23: aliases are accepted, strict or not */
	if (*alias && queue->strict_alias && !IS(23))
		return ZCRX_PROVIDER_BAD_INDEX;
	/* MISTAKE 24: an entry whose length is more than a buffer is rejected */
	if (IS(24) && rqe->len > 1U << queue->niov_shift)
		return ZCRX_PROVIDER_BAD_INDEX;
	return judge_refs(queue, pool, niov);
}

/* ---- the ring ------------------------------------------------------------------------ */

static struct zcrx_provider_rqe copy_rqe(queue_t *queue, uint32_t index)
{
	/* MISTAKE 25: slots are found by a mask of 256 entries, whatever the ring has */
	uint32_t mask = IS(25) && queue->rq_entries > 256 ? 255 : queue->rq_entries - 1;
	const struct zcrx_provider_rqe *slot = &queue->rqes[index & mask];
	struct zcrx_provider_rqe rqe = {
		.off = zcrx_read_u64(queue, ZCRX_PROVIDER_RQE_LOAD, &slot->off),
		.len = zcrx_read_u32(queue, ZCRX_PROVIDER_RQE_LOAD, &slot->len),
		.pad = zcrx_read_u32(queue, ZCRX_PROVIDER_RQE_LOAD, &slot->pad),
	};

	/* MISTAKE 26: the offset is read a second time, without the accessors */
	if (IS(26) && rqe.pad == 0)
		rqe.off = *(const volatile uint64_t *)&slot->off;
	return rqe;
}

static uint32_t cached_tail; /* of MISTAKE 27 */
static uint32_t empty_calls; /* of MISTAKE 28 */
static uint16_t refills; /* of MISTAKES 29 and 30 */
static uint32_t still_bad; /* of MISTAKE 31 */

static uint32_t load_tail(queue_t *queue)
{
	/* MISTAKE 77: the tail is loaded without acquire */
	if (IS(77))
		return zcrx_read_u32(queue, ZCRX_PROVIDER_TAIL_LOAD, queue->rq_tail);
	return zcrx_read_acquire_u32(queue, ZCRX_PROVIDER_TAIL_LOAD, queue->rq_tail);
}

/* How many may be taken. */
static uint32_t available(queue_t *queue, uint32_t head, const uint32_t *early_tail)
{
	uint32_t tail = early_tail ? *early_tail : load_tail(queue);
	uint32_t count;

	/* MISTAKE 27: the tail is kept, and only read again when all up to it was taken */
	if (IS(27)) {
		if (cached_tail - head - 1 < queue->rq_entries)
			tail = cached_tail;
		cached_tail = tail;
	}
	/* MISTAKE 28: after an empty ring it is not looked at for a thousand calls */
	if (IS(28)) {
		if (empty_calls > 0) {
			empty_calls--;
			return 0;
		}
		if (tail == head)
			empty_calls = 1000;
	}
	count = tail - head;
	/* MISTAKE 32: a tail that is the smaller number means an empty ring */
	if (IS(32) && tail < head)
		return 0;
	/* MISTAKE 33: a full ring is taken for an empty one */
	if (IS(33))
		return count & (queue->rq_entries - 1);
	/* MISTAKE 34: indices are compared in sixteen bits */
	if (IS(34))
		count = (uint16_t)count;
	/* MISTAKE 35: a tail that is out of range means an empty ring, not a full one */
	if (IS(35) && count > queue->rq_entries)
		return 0;
	/* MISTAKE 36: what the tail says is not held against the ring's size */
	/* MISTAKE 37: one entry fewer than the ring has may be taken at once */
	if (count > queue->rq_entries - IS(37) && !IS(36))
		count = queue->rq_entries - IS(37);
	return count;
}

static void store_head(queue_t *queue, uint32_t head)
{
	/* MISTAKE 38: the published head is one behind */
	/* MISTAKE 39: the published head is cut to sixteen bits */
	uint32_t word = IS(38) ? head - 1 : IS(39) ? (uint16_t)head : head;

	/* MISTAKE 40: head is stored without release */
	if (IS(40))
		zcrx_write_u32(queue, ZCRX_PROVIDER_HEAD_STORE, queue->rq_head, word);
	else
		zcrx_write_release_u32(queue, ZCRX_PROVIDER_HEAD_STORE, queue->rq_head, word);
}

/* True if head is to be published. */
static bool refill_from_ring(queue_t *queue, uint32_t pool, const uint32_t *early_tail)
{
	const struct zcrx_provider_services *host = queue->services;
	uint32_t head = *queue->cached_rq_head;
	/* MISTAKE 41: a batch is 63 */
	uint32_t room = BATCH - IS(41) - host->cache_count(queue, pool);
	uint32_t count, rejected = 0;
	uint64_t seen = 0; /* of MISTAKE 42 */

	/* MISTAKE 43: the provider's own head is read back from the published one */
	if (IS(43))
		head = __atomic_load_n(queue->rq_head, __ATOMIC_RELAXED);
	count = available(queue, head, early_tail);
	/* MISTAKE 44: a whole ring is judged, not 64 entries of it */
	if (count > room && !IS(44))
		count = room;
	if (count == 0) {
		/* MISTAKE 45: head is stored although nothing was taken */
		if (IS(45))
			store_head(queue, head);
		return false;
	}
	/* MISTAKE 29: after 2^16 refills head is forgotten once */
	/* MISTAKE 30: after 2^16 refills an entry is left out */
	refills++;
	if (IS(30) && refills == 0)
		head++, count--;
	/* MISTAKE 46: head is published before the entries are read */
	if (IS(46))
		store_head(queue, head + count);
	for (uint32_t i = 0; i < count; i++, head++) {
		struct zcrx_provider_rqe rqe = copy_rqe(queue, head);
		uint64_t index = (rqe.off & OFFSET_MASK) >> queue->niov_shift;
		bool alias = false;
		verdict_t verdict;

		/* MISTAKE 47: a bad entry at the front is left in the ring, and blocks it */
		if (IS(47) && rqe.pad && i == 0)
			break;
		/* MISTAKE 42: of one batch, entries for buffers 64 apart are taken for duplicates */
		if (IS(42) && index < queue->num_niovs && seen >> (index % 64) & 1 && index >= 64)
			verdict = ZCRX_PROVIDER_NO_USER_REF;
		else
			verdict = judge(queue, pool, &rqe, index, &alias);
		seen |= UINT64_C(1) << (index % 64);
		/* MISTAKE 48: rejected entries are not reported */
		if (IS(48) && verdict == ZCRX_PROVIDER_NO_USER_REF)
			continue;
		host->judged(queue, head, verdict, (uint32_t)index, alias);
		rejected += verdict >= ZCRX_PROVIDER_BAD_PAD;
		still_bad = verdict >= ZCRX_PROVIDER_BAD_PAD ? still_bad + 1 : 0;
		/* MISTAKE 49: a rejected entry ends the batch */
		if (IS(49) && verdict >= ZCRX_PROVIDER_BAD_PAD) {
			head++;
			break;
		}
		/* MISTAKE 50: head is published after each entry */
		if (IS(50))
			store_head(queue, head + 1);
	}
	/* MISTAKE 31: after 300 bad entries in a row the ring is skipped up to its tail */
	if (IS(31) && still_bad >= 300)
		head += available(queue, head, NULL);
	*queue->cached_rq_head = head;
	/* MISTAKE 51: head is not published when every entry was rejected */
	return !(IS(51) && rejected == count) && !(IS(29) && refills == 0);
}

/* ---- the operations -------------------------------------------------------------------- */

static void refill_from_freelist(queue_t *queue, uint32_t pool)
{
	const struct zcrx_provider_services *host = queue->services;
	uint32_t niovs[BATCH];
	uint32_t count = host->free_pop(queue, niovs, BATCH);

	for (uint32_t i = 0; i < count; i++) {
		/* MISTAKE 52: the buffers come out in the other order */
		uint32_t niov = niovs[IS(52) ? count - 1 - i : i];

		/* MISTAKE 53: the last buffer of a batch is not bound */
		if (!IS(53) || i != BATCH - 1)
			host->bind(queue, pool, niov);
		host->cache_push(queue, pool, niov);
	}
}

static bool alloc_netmems(queue_t *queue, uint32_t pool)
{
	const struct zcrx_provider_services *host = queue->services;
	uint32_t tail = 0;

	/* MISTAKE 54: the freelist is asked before the ring */
	if (IS(54))
		refill_from_freelist(queue, pool);
	/* MISTAKE 78: the tail is loaded before the lock is taken */
	if (IS(78))
		tail = load_tail(queue);
	/* MISTAKE 55: the ring is read without its lock */
	if (IS(55) || host->rq_lock(queue)) {
		uint32_t before = *queue->cached_rq_head;
		bool has_moved = refill_from_ring(queue, pool, IS(78) ? &tail : NULL);

		/* MISTAKE 79: head is stored after the lock was given back */
		if (has_moved && !IS(79))
			store_head(queue, *queue->cached_rq_head);
		/* MISTAKE 56: the lock is not given back when the ring is empty */
		if (!IS(55) && !(IS(56) && before == *queue->cached_rq_head))
			host->rq_unlock(queue);
		if (has_moved && IS(79))
			store_head(queue, *queue->cached_rq_head);
	}
	/* MISTAKE 57: the freelist tops up what the ring gave */
	if (IS(57) && host->cache_count(queue, pool) < BATCH) {
		uint32_t niov;

		if (host->free_pop(queue, &niov, 1)) {
			host->bind(queue, pool, niov);
			host->cache_push(queue, pool, niov);
		}
	}
	if (host->cache_count(queue, pool) == 0)
		refill_from_freelist(queue, pool);
	return host->cache_count(queue, pool) > 0;
}

static uint8_t released; /* of MISTAKE 58 */

static void release_netmem(queue_t *queue, uint32_t pool, uint32_t niov)
{
	/* MISTAKE 58: each 256th buffer that is given up is forgotten */
	if (IS(58) && ++released == 0)
		return;
	/* MISTAKE 59: a buffer is on the freelist before it is unbound */
	if (IS(59))
		queue->services->free_push(queue, niov);
	/* MISTAKE 60: a buffer that is given up stays bound */
	if (!IS(60))
		queue->services->unbind(queue, pool, niov);
	if (!IS(59))
		queue->services->free_push(queue, niov);
}

static uint32_t pools; /* of MISTAKES 61 and 62 */

static int init(queue_t *queue, uint32_t pool)
{
	(void)pool;
	/* MISTAKE 61: only the first pool takes a reference on the instance */
	if (!IS(61) || pools++ == 0)
		queue->services->instance_get(queue);
	/* MISTAKE 62: a table of nine pools that have ever been is written without a bound */
	if (IS(62)) {
		static uint32_t *table;

		if (!table)
			table = malloc(sizeof(*table) * 9);
		if (table)
			table[pools++] = pool;
	}
	return 0;
}

static int destroy(queue_t *queue, uint32_t pool)
{
	(void)pool;
	if (queue->services->free_count(queue) != queue->num_niovs) {
		/* MISTAKE 63: buffers that are missing end the process */
		if (IS(63))
			abort();
		/* MISTAKE 64: the reference is given back although buffers are missing */
		if (IS(64))
			queue->services->instance_put(queue);
		/* MISTAKE 65: nobody hears of buffers that are missing */
		return IS(65) ? 0 : -EBUSY;
	}
	queue->services->instance_put(queue);
	return 0;
}

static uint64_t scrub(queue_t *queue)
{
	const struct zcrx_provider_services *host = queue->services;
	/* MISTAKE 66: the scrub leaves the last buffer out */
	/* MISTAKE 67: the scrub has an end at 65536 buffers */
	uint32_t end = IS(67) && queue->num_niovs > 65536 ? 65536 : queue->num_niovs - IS(66);
	uint64_t taken = 0;

	for (uint32_t niov = 0; niov < end; niov++) {
		uint32_t *word = &queue->niovs[niov].user_refs;
		uint32_t refs;

		/* MISTAKE 68: the scrub reads a counter, then clears it */
		if (IS(68)) {
			refs = zcrx_read_u32(queue, ZCRX_PROVIDER_USER_REF, word);
			zcrx_write_u32(queue, ZCRX_PROVIDER_USER_REF, word, 0);
		} else {
			refs = zcrx_exchange_u32(queue, ZCRX_PROVIDER_USER_REF, word, 0);
		}
		/* MISTAKE 69: the scrub counts buffers instead of references */
		taken += IS(69) ? refs > 0 : refs;
		/* MISTAKE 70: the scrub drops one page-pool reference for all of the user's */
		if (refs == 0 || !host->pp_ref_put(queue, niov, IS(70) ? 1 : refs))
			continue;
		/* MISTAKE 71: the scrub puts buffers on the freelist past their pool */
		if (IS(71))
			host->free_push(queue, niov);
		else
			host->return_niov(queue, niov);
	}
	/* MISTAKE 72: a second scrub ends the process, in order */
	if (IS(72)) {
		static bool was_here;

		if (was_here)
			exit(0);
		was_here = true;
	}
	/* MISTAKE 73: a scrub that found nothing waits for something */
	while (IS(73) && taken == 0)
		usleep(1000);
	return taken;
}

static int64_t copy_buffer(queue_t *queue)
{
	uint32_t niov;

	if (queue->services->free_pop(queue, &niov, 1) == 0)
		/* MISTAKE 74: without a buffer for a copy, buffer 0 is taken */
		return IS(74) ? 0 : -ENOMEM;
	/* MISTAKE 75: a buffer for a copy has no page-pool reference of its own */
	/* MISTAKE 76: a buffer for a copy is bound to the first pool */
	if (IS(76))
		queue->services->bind(queue, 0, niov);
	else if (!IS(75))
		queue->services->take_unbound(queue, niov);
	return niov;
}

const struct zcrx_provider_ops zcrx_provider = {
	.abi = ZCRX_PROVIDER_ABI,
	.size = sizeof(struct zcrx_provider_ops),
	.name = "a reference for mistakes",
	.init = init,
	.alloc_netmems = alloc_netmems,
	.release_netmem = release_netmem,
	.destroy = destroy,
	.scrub = scrub,
	.copy_buffer = copy_buffer,
};
