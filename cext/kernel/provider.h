/* SPDX-License-Identifier: MIT */
/*
 * The memory provider of io_uring zero-copy receive, and the interface queue
 * (ifq) it serves: it decides which buffer may be filled next and what to
 * believe of each entry that the user wrote into the refill ring.
 *
 * Behaviour: Linux's io_uring/zcrx.c, of the level that the contract names; that is
 * the first version (6.15) with its known bugs fixed, unless it says otherwise.
 */
#ifndef ZCRX_PROVIDER_H
#define ZCRX_PROVIDER_H

#include "wire/flight.h"
#include "handoff.h"
#include "page_pool.h"
#include "wire/ring.h"
#include "wire/witness.h"

#define ZCRX_POOLS_MAX 8U

/* What one RQE earned. Order and names are shared with Python's emu.spec.state.Verdict. */
enum zcrx_verdict {
	ZCRX_ACCEPTED = 0,
	ZCRX_STILL_REFERENCED = 1,
	ZCRX_OTHER_POOL = 2,
	ZCRX_BAD_PAD = 3,
	ZCRX_BAD_AREA = 4,
	ZCRX_BAD_INDEX = 5,
	ZCRX_NO_USER_REF = 6,
};
#define ZCRX_VERDICT_COUNT 7U
#define ZCRX_LOG_ALIAS 0x80U /* set in a verdict-log byte beside the verdict */

/* One judged entry, for whoever wants each of them (stepping, fuzzing). */
struct zcrx_judgement {
	uint32_t index; /* absolute ring index */
	/* Of a BAD_INDEX the index in its area, truncated; meaningless for BAD_PAD and BAD_AREA. */
	uint32_t niov;
	uint8_t verdict;
	uint8_t alias;
};

struct zcrx_trace {
	struct zcrx_judgement *entries;
	uint32_t capacity;
	uint32_t count;
	uint32_t lost; /* entries that found no room */
};

/* Entries that one call of the provider judges, at most, of whatever level. */
#define ZCRX_REFILL_ENTRIES_MAX 512U

/* What one call of the provider has judged, or a part of it: entries in a row. */
struct zcrx_batch {
	uint32_t niovs[ZCRX_PP_REFILL]; /* see struct zcrx_judgement */
	uint32_t verdicts[ZCRX_PP_REFILL]; /* as logged: enum zcrx_verdict | ZCRX_LOG_ALIAS */
};

/* Kernel-side shared state of an ifq. The provider process is its one writer. */
struct zcrx_ifq_shared {
	_Alignas(SHM_CACHE_LINE) struct zcrx_lock rq_lock;
	shm_u32 freelist_hidden; /* a fault: so many more calls find the freelist empty */
	shm_u32 refs; /* instance references: 1, and one for each pool */
	shm_u32 current_pool; /* slot + 1, 0 = none */
	shm_u32 cached_rq_head; /* copy for inspection */
	_Alignas(SHM_CACHE_LINE) shm_u64 consumed; /* RQEs ever taken: covers the verdict log */
	shm_u64 verdicts[ZCRX_VERDICT_COUNT];
	shm_u64 aliases;
	shm_u64 alloc_failures;
	shm_u64 destroy_warnings;
	shm_u64 ring_refills; /* calls that took at least one RQE */
	shm_u64 restarts; /* pools made after the first */
	shm_u64 warnings_due; /* pools gone after a restart while another one had buffers */
	struct zcrx_pp_counters replaced; /* of pools whose slot holds another one by now */
	_Alignas(SHM_CACHE_LINE) shm_u64 checked; /* verdicts looked at; the control process */
};

struct zcrx_ifq;

/* What of an ifq is the provider's to decide, beside what it does behind a page pool. */
struct zcrx_ifq_ops {
	uint32_t (*refill_ring)(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool);
	uint64_t (*scrub)(struct zcrx_ifq *ifq, uint64_t *buffers);
	int64_t (*take_copy_buffer)(struct zcrx_ifq *ifq);
};

struct zcrx_ifq {
	const struct zcrx_ifq_ops *ops;
	struct zcrx_ifq_shared *shared;
	struct zcrx_area *area;
	struct zcrx_rq rq;
	struct zcrx_handoff handoff; /* of a contract that hands references over */
	struct zcrx_page_pool pools[ZCRX_POOLS_MAX];
	uint8_t *verdict_log; /* [log_mask + 1] bytes, slot = consumed & mask */
	uint16_t *niov_log; /* the same: account of the buffer that the entry named; NULL: none */
	uint64_t log_mask;
	struct zcrx_trace *trace; /* or NULL */
	struct zcrx_flight *flight; /* the provider's recorder, or NULL */
	const struct zcrx_witness *witness; /* each entry is noted there as it was read; or NULL */
	struct zcrx_plugin *plugin; /* a provider in the place of this one, or NULL */
	uint32_t device;
	uint32_t dying; /* private to the provider process: bit s = slot s may hold a dying pool */
	bool detached; /* the ring has no user: it is not read */
	bool has_no_device; /* no page pool can be made: all that comes is copied */
	bool is_checked; /* somebody looks at the verdict log and says how far it has come */
};

extern const struct zcrx_mp_ops zcrx_mp_ops;

/*
 * Have it all done by this provider; pointers of shared, area, rq and pools[] rings are set
 * already, and the area's contract.
 */
void zcrx_ifq_setup(struct zcrx_ifq *ifq);

/* Give the ifq its first state. Once, by the creating process, after zcrx_area_format(). */
void zcrx_ifq_format(struct zcrx_ifq *ifq);

/* The pool that serves the queue, or NULL. */
static inline struct zcrx_page_pool *zcrx_ifq_pool(struct zcrx_ifq *ifq)
{
	/* Pairs with the release in zcrx_ifq_restart(). */
	uint32_t slot = shm_load_acquire_u32(&ifq->shared->current_pool, POINT_POOL_COUNT);

	return slot ? &ifq->pools[slot - 1] : NULL;
}

/*
 * Restart the queue: a new page pool serves it from now on, the old one is
 * torn down and lingers until its buffers are home. The new slot, or -ENOSPC
 * when all slots hold lingering pools, or what the provider's init answered.
 */
int zcrx_ifq_restart(struct zcrx_ifq *ifq);

/* Look at each dying pool again: see zcrx_ifq_retry_release(). */
void zcrx_ifq_retry_dying(struct zcrx_ifq *ifq);

/*
 * The delayed worker of page pools that a restart left behind: what has come
 * back to them meanwhile goes to the freelist, and a pool without buffers in
 * flight is gone. The destroy check covers the whole area, so that it warns
 * while any other pool has a buffer; how often it must is counted.
 */
static inline void zcrx_ifq_retry_release(struct zcrx_ifq *ifq)
{
	if (ifq->dying)
		zcrx_ifq_retry_dying(ifq);
}

/*
 * Tear the queue down and check that every buffer is home: 0, -EBUSY when
 * buffers are missing (counted as a warning; the pool keeps its instance
 * reference), -ENOENT without a pool.
 */
int zcrx_ifq_teardown(struct zcrx_ifq *ifq);

/*
 * Judge what waits in the refill ring, at most as much as fits under
 * ZCRX_PP_REFILL in the pool's cache; how many RQEs were consumed.
 */
uint32_t zcrx_ifq_refill_ring(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool);

/* How many RQEs the tail claims that could be judged now, the verdict log's room included. */
uint32_t zcrx_ifq_available(const struct zcrx_ifq *ifq);
/* How many there may be at most, whatever the ring holds: 0 without a user, else the log's room. */
uint64_t zcrx_ifq_may_read(const struct zcrx_ifq *ifq);

/* Log and count what `count` entries earned; the first had ring index `index`. */
void zcrx_ifq_record(struct zcrx_ifq *ifq, const struct zcrx_batch *batch, uint32_t count,
		     uint32_t index);

/*
 * Judge all that waits in the refill ring, past what an allocation would take;
 * the buffers go to the freelist, with what the alloc cache held. One ring full at
 * most: a tail that was moved back would make us read stale slots almost for ever.
 * How many RQEs were consumed.
 */
uint32_t zcrx_ifq_flush(struct zcrx_ifq *ifq);

/*
 * The user asks for it (FLUSH_RQ): the ring is judged by batches of 32, each buffer goes home
 * as from outside, and a malformed entry ends it. How many RQEs were consumed, one ring full
 * at most, or -EOPNOTSUPP at a level that has no such thing, or of somebody
 * else's provider.
 */
int64_t zcrx_ifq_flush_rq(struct zcrx_ifq *ifq);

/*
 * The user adds an area of so many buffers (ADD_AREA), beside everything but another such
 * call. Its id, or -errno: see zcrx_area_add(), -EOPNOTSUPP where there is one area for good.
 */
int zcrx_ifq_add_area(struct zcrx_ifq *ifq, uint32_t num_niovs);

/*
 * A fault: the freelist looks empty for `count` calls of the provider; buffers
 * come from the refill ring or not at all, and copies find none meanwhile. Only
 * the provider process; not added to what is left of the last.
 */
void zcrx_ifq_hide_freelist(struct zcrx_ifq *ifq, uint32_t count);
/* One of these calls; false when none is left. Only the provider process. */
bool zcrx_ifq_pass_hidden(struct zcrx_ifq *ifq);

static inline bool zcrx_ifq_is_hidden(const struct zcrx_ifq *ifq)
{
	return shm_load_relaxed_u32(&ifq->shared->freelist_hidden, POINT_FREE_COUNT) != 0;
}

/* The ring has a new user: it finds it empty, whatever the last one left there. */
void zcrx_ifq_reset_ring(struct zcrx_ifq *ifq);

/*
 * Give the user `count` references of a buffer. Only the NIC.
 *
 * Where they are handed over and there is no room for a note they are counted at once, beside
 * zcrx_handoff_fold(): by an addition, not as zcrx_user_ref_give() does.
 */
static inline void zcrx_ifq_give(struct zcrx_ifq *ifq, uint32_t niov, uint32_t count)
{
	if (!ifq->handoff.slots)
		zcrx_user_ref_give(ifq->area, niov, count);
	else if (!zcrx_handoff_put(&ifq->handoff, niov, count))
		/* Pairs with the acquire in zcrx_user_ref_take(), as that function's release. */
		shm_fetch_add_u32(&ifq->area->niovs[niov].user_refs, count, POINT_USER_REF_ADD);
}

/* The user references of a buffer, wherever they are; exact only while nobody moves them. */
static inline uint32_t zcrx_ifq_user_refs(const struct zcrx_ifq *ifq, uint32_t niov)
{
	return shm_load_relaxed_u32(&ifq->area->niovs[niov].user_refs, POINT_USER_REF_LOAD) +
	       zcrx_handoff_held(&ifq->handoff, niov);
}

/*
 * The user is gone: take back every user reference. Any kernel-side process,
 * concurrently with everything else. Returns the references taken back; the
 * number of buffers that came home by it is added to *buffers if not NULL.
 */
uint64_t zcrx_ifq_scrub(struct zcrx_ifq *ifq, uint64_t *buffers);

/*
 * A buffer for a payload that did not land in the area: straight from the
 * freelist, bound to no pool, one reference. -ENOMEM if there is none.
 */
int64_t zcrx_ifq_take_copy_buffer(struct zcrx_ifq *ifq);

/* A buffer whose last reference is gone: to its own pool, or unbound to the freelist. */
void zcrx_ifq_return_niov(struct zcrx_ifq *ifq, uint32_t niov);

/* The stack drops `count` page-pool references of a buffer. */
void zcrx_ifq_drop(struct zcrx_ifq *ifq, uint32_t niov, uint32_t count);

/*
 * The provider's word in a netlink dump: an empty nest that says "served by
 * io_uring". Writes one attribute, returns its size, -EMSGSIZE if it does not fit.
 */
enum zcrx_nl_dump { ZCRX_NL_QUEUE_GET, ZCRX_NL_PAGE_POOL_GET };
int zcrx_nl_fill(enum zcrx_nl_dump dump, uint8_t *to, uint32_t size);

#endif /* ZCRX_PROVIDER_H */
