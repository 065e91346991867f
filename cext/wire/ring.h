/* SPDX-License-Identifier: MIT */
/*
 * The rings, inline: no allocation, no system call, one writer a word.
 *
 *   ring         head written by     tail written by     slots written by
 *   refill (RQ)  provider            user (hostile)      user (hostile)
 *   completion   user (hostile)      NIC                 NIC
 *   grant        NIC                 provider            provider; between head and tail the NIC
 *
 * Head and tail run freely over u32 and wrap; a slot is index & mask; counts
 * are unsigned differences. Each side keeps its own index privately and only
 * publishes it: what stands in shared memory is never read back by its owner.
 * The other side's index is loaded once and clamped, so that no value of it
 * can lead out of the ring.
 *
 * Where the ABI leaves it open, head, tail and slots start on cache lines of
 * their own; a user must find them through io_uring_zcrx_offsets.
 */
#ifndef ZCRX_RING_H
#define ZCRX_RING_H

#include <assert.h>

#include "abi.h"
#include "shm.h"

/* An RQE in memory that the user may rewrite while we look: two words. */
struct zcrx_rqe_slot {
	shm_u64 off;
	shm_u64 len_pad; /* len in the low half, __pad in the high half */
};

struct zcrx_cqe_slot {
	shm_u64 user_data;
	shm_u64 res_flags; /* res in the low half, flags in the high half */
	shm_u64 off;
	shm_u64 pad;
};

_Static_assert(sizeof(struct zcrx_rqe_slot) == sizeof(struct io_uring_zcrx_rqe), "rqe slot");
_Static_assert(sizeof(struct zcrx_cqe_slot) == sizeof(struct zcrx_cqe32), "cqe slot");

static inline bool zcrx_is_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/*
 * A line travels between two cores for the time of a hundred instructions. So that
 * many are under way at once, each side asks for those of the entries that come this
 * far behind the one at work. Only for what is published already: a line that is
 * asked for while its writer is at it would only travel twice.
 */
#define ZCRX_RING_AHEAD 64U
#define ZCRX_RQES_A_LINE (SHM_CACHE_LINE / (uint32_t)sizeof(struct zcrx_rqe_slot))
#define ZCRX_CQES_A_LINE (SHM_CACHE_LINE / (uint32_t)sizeof(struct zcrx_cqe_slot))

/* ---- refill ring, provider's side -------------------------------------- */

struct zcrx_rq {
	shm_u32 *head; /* ours to publish */
	shm_u32 *tail; /* the user's: anything may stand there */
	struct zcrx_rqe_slot *rqes;
	uint32_t entries;
	uint32_t mask;
	uint32_t cached_head; /* private: never read back */
	uint32_t
		claimed; /* entries that the tail last read promised, and are not taken yet (7.3) */
};

/*
 * How many RQEs may be taken now: 0 .. rq->entries.
 *
 * A tail that jumped ahead or moved back becomes "full", never an index out of
 * range. Slots that were not really published are judged by what they hold.
 *
 * Ordering: pairs with the release in zcrx_rq_user_publish(): slots below the
 * tail that we saw hold what their writer stored before publishing them.
 *
 * Caller holds the rq lock. Does not move head: zcrx_rq_release() does.
 */
static inline uint32_t zcrx_rq_available(const struct zcrx_rq *rq)
{
	uint32_t tail = shm_load_acquire_u32(rq->tail, POINT_RQ_TAIL_LOAD);
	uint32_t count = tail - rq->cached_head;

	return count < rq->entries ? count : rq->entries;
}

/*
 * Take the entry at the private head: copied once, each word with one load, so
 * that what was checked is what is used whatever the user writes meanwhile.
 *
 * Relaxed is enough: the acquire in zcrx_rq_available() ordered us behind the
 * writer, and a writer that is still at it deserves whatever mixture we see.
 */
static inline struct io_uring_zcrx_rqe zcrx_rq_take(struct zcrx_rq *rq)
{
	struct zcrx_rqe_slot *slot = &rq->rqes[rq->cached_head & rq->mask];
	uint64_t off = shm_load_relaxed_u64(&slot->off, POINT_RQE_LOAD);
	uint64_t len_pad = shm_load_relaxed_u64(&slot->len_pad, POINT_RQE_LOAD);

	rq->cached_head++;
	return (struct io_uring_zcrx_rqe){
		.off = off,
		.len = (uint32_t)len_pad,
		.__pad = (uint32_t)(len_pad >> 32),
	};
}

/* `count` of the `available` entries are taken next: those behind them are soon wanted. */
static inline void zcrx_rq_expect(const struct zcrx_rq *rq, uint32_t available, uint32_t count)
{
	uint32_t end = count + ZCRX_RING_AHEAD < available ? count + ZCRX_RING_AHEAD : available;

	for (uint32_t i = ZCRX_RING_AHEAD; i < end; i += ZCRX_RQES_A_LINE)
		shm_expect_read(&rq->rqes[(rq->cached_head + i) & rq->mask]);
}

/*
 * Publish the private head: the slots behind it are the user's again.
 *
 * Ordering: pairs with the acquire in zcrx_rq_user_room(): our reads of those
 * slots are done before the user may see the room and write there.
 */
static inline void zcrx_rq_release(struct zcrx_rq *rq)
{
	shm_store_release_u32(rq->head, rq->cached_head, POINT_RQ_HEAD_STORE);
}

/* ---- refill ring, user's side ------------------------------------------- */

struct zcrx_rq_user {
	shm_u32 *head;
	shm_u32 *tail;
	struct zcrx_rqe_slot *rqes;
	uint32_t entries;
	uint32_t mask;
	uint32_t cached_head; /* the provider's, as last seen */
	uint32_t cached_tail; /* private; published by zcrx_rq_user_publish() */
};

/*
 * Room for at least `wanted` RQEs, or what there is. The provider's head is
 * loaded only when the last one seen does not offer enough.
 *
 * Ordering: pairs with the release in zcrx_rq_release().
 */
static inline uint32_t zcrx_rq_user_room(struct zcrx_rq_user *rq, uint32_t wanted)
{
	uint32_t used = rq->cached_tail - rq->cached_head;

	if (used + wanted > rq->entries) {
		uint32_t head = shm_load_acquire_u32(rq->head, POINT_RQ_HEAD_LOAD);

		/* A head that we scribbled on ourselves tells nothing: keep the last one. */
		if (head - rq->cached_head <= used)
			rq->cached_head = head;
		used = rq->cached_tail - rq->cached_head;
	}
	return used < rq->entries ? rq->entries - used : 0;
}

/* `count` entries are put next: the slots behind them are soon wanted. */
static inline void zcrx_rq_user_expect(const struct zcrx_rq_user *rq, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += ZCRX_RQES_A_LINE)
		shm_expect_write(&rq->rqes[(rq->cached_tail + ZCRX_RING_AHEAD + i) & rq->mask]);
}

/* Write the next entry in place; nothing is visible before publication. */
static inline void zcrx_rq_user_put(struct zcrx_rq_user *rq, uint64_t off, uint32_t len,
				    uint32_t pad)
{
	struct zcrx_rqe_slot *slot = &rq->rqes[rq->cached_tail & rq->mask];

	shm_store_relaxed_u64(&slot->off, off, POINT_RQE_STORE);
	shm_store_relaxed_u64(&slot->len_pad, (uint64_t)pad << 32 | len, POINT_RQE_STORE);
	rq->cached_tail++;
}

/* Ordering: pairs with the acquire in zcrx_rq_available(). */
static inline void zcrx_rq_user_publish(struct zcrx_rq_user *rq)
{
	shm_store_release_u32(rq->tail, rq->cached_tail, POINT_RQ_TAIL_STORE);
}

/* ---- completion queue, NIC's side ---------------------------------------- */

struct zcrx_cq {
	shm_u32 *head; /* the user's: anything may stand there */
	shm_u32 *tail; /* ours to publish */
	struct zcrx_cqe_slot *cqes;
	uint32_t entries;
	uint32_t mask;
	uint32_t cached_head;
	uint32_t cached_tail; /* private: never read back */
};

/*
 * Room for CQEs: 0 .. entries. A head that is not within one ring behind our
 * tail makes no sense, and is taken as "nothing was read yet": no room.
 *
 * Ordering: pairs with the release in zcrx_cq_user_release(): the user's reads
 * of those CQEs are done before we write there again.
 */
static inline uint32_t zcrx_cq_room(struct zcrx_cq *cq, uint32_t wanted)
{
	uint32_t used = cq->cached_tail - cq->cached_head;

	if (cq->entries - used < wanted) {
		uint32_t head = shm_load_acquire_u32(cq->head, POINT_CQ_HEAD_LOAD);

		if (cq->cached_tail - head > cq->entries)
			return 0;
		cq->cached_head = head;
		used = cq->cached_tail - head;
	}
	return cq->entries - used;
}

static inline void zcrx_cq_put(struct zcrx_cq *cq, uint64_t user_data, int32_t res, uint32_t flags,
			       uint64_t off)
{
	struct zcrx_cqe_slot *slot = &cq->cqes[cq->cached_tail & cq->mask];

	if (cq->cached_tail % ZCRX_CQES_A_LINE == 0)
		shm_expect_write(&cq->cqes[(cq->cached_tail + ZCRX_RING_AHEAD) & cq->mask]);
	shm_store_relaxed_u64(&slot->user_data, user_data, POINT_CQE_STORE);
	shm_store_relaxed_u64(&slot->res_flags, (uint64_t)flags << 32 | (uint32_t)res,
			      POINT_CQE_STORE);
	shm_store_relaxed_u64(&slot->off, off, POINT_CQE_STORE);
	shm_store_relaxed_u64(&slot->pad, 0, POINT_CQE_STORE);
	cq->cached_tail++;
}

/*
 * Ordering: pairs with the acquire in zcrx_cq_user_available(): payload, CQE
 * and user references were all written before the user can see the CQE.
 */
static inline void zcrx_cq_publish(struct zcrx_cq *cq)
{
	shm_store_release_u32(cq->tail, cq->cached_tail, POINT_CQ_TAIL_STORE);
}

/* ---- completion queue, user's side --------------------------------------- */

struct zcrx_cq_user {
	shm_u32 *head;
	shm_u32 *tail;
	struct zcrx_cqe_slot *cqes;
	uint32_t entries;
	uint32_t mask;
	uint32_t cached_head; /* private; published by zcrx_cq_user_release() */
	uint32_t cached_tail;
};

/* Ordering: pairs with the release in zcrx_cq_publish(). */
static inline uint32_t zcrx_cq_user_available(struct zcrx_cq_user *cq)
{
	uint32_t count;

	cq->cached_tail = shm_load_acquire_u32(cq->tail, POINT_CQ_TAIL_LOAD);
	count = cq->cached_tail - cq->cached_head;
	return count < cq->entries ? count : cq->entries;
}

/* `count` of the `available` completions are taken next: see zcrx_rq_expect(). */
static inline void zcrx_cq_user_expect(const struct zcrx_cq_user *cq, uint32_t available,
				       uint32_t count)
{
	uint32_t end = count + ZCRX_RING_AHEAD < available ? count + ZCRX_RING_AHEAD : available;

	for (uint32_t i = ZCRX_RING_AHEAD; i < end; i += ZCRX_CQES_A_LINE)
		shm_expect_read(&cq->cqes[(cq->cached_head + i) & cq->mask]);
}

static inline struct zcrx_cqe32 zcrx_cq_user_take(struct zcrx_cq_user *cq)
{
	struct zcrx_cqe_slot *slot = &cq->cqes[cq->cached_head & cq->mask];
	uint64_t res_flags = shm_load_relaxed_u64(&slot->res_flags, POINT_CQE_LOAD);
	struct zcrx_cqe32 cqe = {
		.cqe.user_data = shm_load_relaxed_u64(&slot->user_data, POINT_CQE_LOAD),
		.cqe.res = (int32_t)(uint32_t)res_flags,
		.cqe.flags = (uint32_t)(res_flags >> 32),
		.zcrx.off = shm_load_relaxed_u64(&slot->off, POINT_CQE_LOAD),
		.zcrx.__pad = shm_load_relaxed_u64(&slot->pad, POINT_CQE_LOAD),
	};

	cq->cached_head++;
	return cqe;
}

/* Ordering: pairs with the acquire in zcrx_cq_room(). */
static inline void zcrx_cq_user_release(struct zcrx_cq_user *cq)
{
	shm_store_release_u32(cq->head, cq->cached_head, POINT_CQ_HEAD_STORE);
}

/* ---- grant ring: niovs from the provider to the NIC ---------------------- */

struct zcrx_grant_shared {
	_Alignas(SHM_CACHE_LINE) shm_u32 head;
	_Alignas(SHM_CACHE_LINE) shm_u32 tail;
	shm_u32 starved; /* the provider has no more: asking it for grants is of no use */
};

struct zcrx_grant_ring {
	struct zcrx_grant_shared *shared;
	shm_u32 *slots;
	uint32_t entries;
	uint32_t mask;
	uint32_t cached_head;
	uint32_t cached_tail;
	bool newest_first; /* NIC: what was granted last is taken next */
};

/* Provider's side. Ordering: pairs with the release in zcrx_grant_release(). */
static inline uint32_t zcrx_grant_room(struct zcrx_grant_ring *ring)
{
	uint32_t used;

	ring->cached_head = shm_load_acquire_u32(&ring->shared->head, POINT_GRANT_HEAD_LOAD);
	used = ring->cached_tail - ring->cached_head;
	return used < ring->entries ? ring->entries - used : 0;
}

static inline void zcrx_grant_put(struct zcrx_grant_ring *ring, uint32_t niov)
{
	shm_store_relaxed_u32(&ring->slots[ring->cached_tail & ring->mask], niov, POINT_GRANT_SLOT);
	ring->cached_tail++;
}

/*
 * Ordering: pairs with the acquire in zcrx_grant_available(): the niov's state
 * (bound to its pool, one page-pool reference) is visible to whoever takes it.
 */
static inline void zcrx_grant_publish(struct zcrx_grant_ring *ring)
{
	shm_store_release_u32(&ring->shared->tail, ring->cached_tail, POINT_GRANT_TAIL_STORE);
}

/* NIC's side: put `count` slots from index `first` on in the opposite order. */
static inline void zcrx_grant_reverse(struct zcrx_grant_ring *ring, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count / 2; i++) {
		shm_u32 *low = &ring->slots[(first + i) & ring->mask];
		shm_u32 *high = &ring->slots[(first + count - 1 - i) & ring->mask];
		uint32_t niov = shm_load_relaxed_u32(low, POINT_GRANT_SLOT);

		shm_store_relaxed_u32(low, shm_load_relaxed_u32(high, POINT_GRANT_SLOT),
				      POINT_GRANT_SLOT);
		shm_store_relaxed_u32(high, niov, POINT_GRANT_SLOT);
	}
}

/*
 * NIC's side: what was granted up to `tail` goes before what was there, newest first. The
 * slots between head and tail are the NIC's: whoever looks for a buffer there finds it,
 * and the ring is taken from its head as ever.
 */
static inline void zcrx_grant_turn(struct zcrx_grant_ring *ring, uint32_t tail)
{
	uint32_t left = ring->cached_tail - ring->cached_head;
	uint32_t count = tail - ring->cached_head;

	assert(count <= ring->entries);
	zcrx_grant_reverse(ring, ring->cached_head, count);
	zcrx_grant_reverse(ring, tail - left, left);
}

/* NIC's side. Ordering: pairs with the release in zcrx_grant_publish(). */
static inline uint32_t zcrx_grant_available(struct zcrx_grant_ring *ring, uint32_t wanted)
{
	uint32_t count = ring->cached_tail - ring->cached_head;

	if (count < wanted) {
		uint32_t tail = shm_load_acquire_u32(&ring->shared->tail, POINT_GRANT_TAIL_LOAD);

		if (ring->newest_first && tail != ring->cached_tail)
			zcrx_grant_turn(ring, tail);
		ring->cached_tail = tail;
		count = ring->cached_tail - ring->cached_head;
	}
	return count < ring->entries ? count : ring->entries;
}

static inline uint32_t zcrx_grant_take(struct zcrx_grant_ring *ring)
{
	return shm_load_relaxed_u32(&ring->slots[ring->cached_head++ & ring->mask],
				    POINT_GRANT_SLOT);
}

/* Ordering: pairs with the acquire in zcrx_grant_room(): slots are reusable. */
static inline void zcrx_grant_release(struct zcrx_grant_ring *ring)
{
	shm_store_release_u32(&ring->shared->head, ring->cached_head, POINT_GRANT_HEAD_STORE);
}

#endif /* ZCRX_RING_H */
