/* SPDX-License-Identifier: MIT */
/*
 * The provider's one rule: nothing that the user wrote is believed before it
 * was copied, bounded and matched with a reference that the user really holds.
 * Every entry is consumed and earns exactly one verdict, the bad ones too;
 * otherwise one malformed entry would block the ring for good.
 */
#include "provider.h"

#include <errno.h>

#define NIOV_OFF_MASK (~IORING_ZCRX_AREA_MASK)

/* ---- the judgement -------------------------------------------------------- */

/*
 * What the 16 bytes of one entry decide alone. The order of the tests is part
 * of the contract: it tells which verdict an entry with several faults earns.
 * WELL_FORMED is set when the references have the last word.
 *
 * The kernel keeps the niov index in 32 bits before it tests the bound, so
 * that offset bits 44..47 (for 4 KiB buffers) vanish. An alias is an entry in
 * which they were not zero, and what is left names a buffer.
 */
#define WELL_FORMED 0x100U

static inline uint32_t judge_index(uint64_t index, uint32_t num_niovs,
				   struct zcrx_contract contract)
{
	if ((uint32_t)index >= num_niovs)
		return ZCRX_BAD_INDEX;
	if (index == (uint32_t)index)
		return WELL_FORMED;
	return ZCRX_LOG_ALIAS | (zcrx_contract_is_strict(contract) ? ZCRX_BAD_INDEX : WELL_FORMED);
}

/*
 * The same of an entry that names another area than the first: never a good one where there is
 * but one. Out of line, since it is seldom needed.
 */
static __attribute__((noinline)) uint32_t judge_elsewhere(const struct zcrx_area *area,
							  uint64_t off, uint32_t *niov)
{
	uint64_t id = off >> IORING_ZCRX_AREA_SHIFT;
	uint32_t verdict;

	if (id >= zcrx_area_count(area))
		return ZCRX_BAD_AREA;
	verdict = judge_index((off & NIOV_OFF_MASK) >> area->niov_shift,
			      zcrx_area_size(area, (uint32_t)id), area->contract);
	if (verdict >= WELL_FORMED)
		*niov += shm_load_relaxed_u32(&area->extents[id].first, POINT_AREA_EXTENT);
	return verdict;
}

/* What of an area decides about an entry that names the first: copies, see refill_locked(). */
struct measure {
	const struct zcrx_area *area;
	uint32_t num_niovs;
	uint32_t niov_shift;
	struct zcrx_contract contract;
};

static inline struct measure measure_of(const struct zcrx_area *area)
{
	return (struct measure){
		.area = area,
		.num_niovs = zcrx_area_size(area, 0),
		.niov_shift = area->niov_shift,
		.contract = area->contract,
	};
}

/* The verdict; *niov is what the entry names: a buffer if it is well-formed, else an index. */
static inline uint32_t judge_bytes(struct io_uring_zcrx_rqe rqe, const struct measure *by,
				   uint32_t *niov)
{
	uint64_t index = (rqe.off & NIOV_OFF_MASK) >> by->niov_shift;

	*niov = (uint32_t)index;
	if (rqe.__pad)
		return ZCRX_BAD_PAD;
	if (rqe.off & IORING_ZCRX_AREA_MASK)
		return judge_elsewhere(by->area, rqe.off, niov);
	return judge_index(index, by->num_niovs, by->contract);
}

/* Well-formed entries in a row that name the same buffer, not decided yet. */
struct run {
	uint32_t niov;
	uint32_t count;
	uint32_t *verdicts[ZCRX_PP_REFILL]; /* where theirs go */
};

/*
 * What the references decide, for a run of entries (malformed ones may lie in
 * between). Cut into fragments, a buffer often comes back so, and one exchange
 * then does for all. It is the same as one after the other: the first entries
 * get the user references that there are, and only the last of these can drop
 * the last page-pool reference, since each has one of its own. True if the
 * buffer is the pool's again.
 */
static inline bool judge_run(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool, struct run *run)
{
	struct zcrx_area *area = ifq->area;
	uint32_t taken = zcrx_user_ref_take(area, run->niov, run->count);

	for (uint32_t i = 0; i + 1 < taken; i++)
		*run->verdicts[i] += ZCRX_STILL_REFERENCED;
	for (uint32_t i = taken; i < run->count; i++)
		*run->verdicts[i] += ZCRX_NO_USER_REF;
	if (taken == 0)
		return false;
	if (!zcrx_pp_ref_put(area, run->niov, taken)) {
		*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;
		return false;
	}
	if (shm_load_relaxed_u32(&area->niovs[run->niov].pool, POINT_NIOV_POOL) == pool->slot + 1)
		return true; /* ZCRX_ACCEPTED is 0 */
	*run->verdicts[taken - 1] += ZCRX_OTHER_POOL;
	zcrx_ifq_return_niov(ifq, run->niov);
	return false;
}

static void trace_all(struct zcrx_trace *trace, const struct zcrx_batch *batch, uint32_t count,
		      uint32_t index)
{
	for (uint32_t i = 0; i < count; i++) {
		if (trace->count == trace->capacity) {
			trace->lost++;
			continue;
		}
		trace->entries[trace->count++] = (struct zcrx_judgement){
			.index = index + i,
			.niov = batch->niovs[i],
			.verdict = batch->verdicts[i] & ~ZCRX_LOG_ALIAS,
			.alias = (batch->verdicts[i] & ZCRX_LOG_ALIAS) != 0,
		};
	}
}

/*
 * Which buffers they named, by stretches that do not wrap: so the loop is one of
 * copies. Covered by the release of `consumed`, so no place of its own to switch at.
 */
static inline void log_niovs(struct zcrx_ifq *ifq, const struct zcrx_batch *batch, uint32_t count,
			     uint64_t consumed)
{
	for (uint32_t done = 0; done < count;) {
		uint64_t at = (consumed + done) & ifq->log_mask;
		uint16_t *restrict log = ifq->niov_log + at;
		const uint32_t *niovs = batch->niovs + done;
		uint32_t left = count - done;
		uint32_t stretch =
			left <= ifq->log_mask + 1 - at ? left : (uint32_t)(ifq->log_mask + 1 - at);

		for (uint32_t i = 0; i < stretch; i++)
			log[i] = (uint16_t)zcrx_account_of(niovs[i]);
		done += stretch;
	}
}

/* Log and count a batch whose first entry is the `consumed`-th; how many were rejected. */
static inline uint32_t note_batch(struct zcrx_ifq *ifq, const struct zcrx_batch *batch,
				  uint32_t count, uint32_t index, uint64_t consumed)
{
	struct zcrx_ifq_shared *shared = ifq->shared;
	uint64_t log_mask = ifq->log_mask;
	uint8_t *log = ifq->verdict_log;
	uint32_t aliases = 0, rejected = 0;
	/*
	 * Eight bits for each verdict: a batch has fewer than 256 entries, and
	 * an array of counters would make each entry wait for the one before.
	 */
	uint64_t tallied = 0;

	assert(count <= UINT8_MAX);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t verdict = batch->verdicts[i];

		tallied += (uint64_t)1 << (8 * (verdict & ~ZCRX_LOG_ALIAS));
		aliases += verdict / ZCRX_LOG_ALIAS;
		shm_log_put(log, (consumed + i) & log_mask, (uint8_t)verdict);
	}
	if (ifq->niov_log)
		log_niovs(ifq, batch, count, consumed);
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++, tallied >>= 8) {
		if (tallied & 0xff)
			shm_count(&shared->verdicts[verdict], tallied & 0xff);
		if (verdict >= ZCRX_BAD_PAD)
			rejected += tallied & 0xff;
	}
	if (aliases)
		shm_count(&shared->aliases, aliases);
	if (ifq->trace)
		trace_all(ifq->trace, batch, count, index);
	return rejected;
}

/* What was noted is said to be there: all that one call has judged at once. */
static inline void record(struct zcrx_ifq *ifq, const struct zcrx_batch *batches, uint32_t count,
			  uint32_t index)
{
	struct zcrx_ifq_shared *shared = ifq->shared;
	uint64_t consumed = shm_load_relaxed_u64(&shared->consumed, POINT_LOG);
	uint32_t rejected = 0;

	for (uint32_t done = 0; done < count; done += ZCRX_PP_REFILL) {
		uint32_t left = count - done;

		rejected += note_batch(ifq, batches++,
				       left < ZCRX_PP_REFILL ? left : ZCRX_PP_REFILL, index + done,
				       consumed + done);
	}
	shm_count(&shared->ring_refills, 1);
	shm_store_relaxed_u32(&shared->cached_rq_head, ifq->rq.cached_head, POINT_RQ_HEAD_STORE);
	if (ifq->flight)
		zcrx_flight_record(ifq->flight, ZCRX_EVENT_REFILL, count, consumed,
				   rejected | (uint64_t)index << 32);
	/* Pairs with the acquire in zcrx_reconcile(): the log bytes are there. */
	shm_store_release_u64(&shared->consumed, consumed + count, POINT_LOG);
}

void zcrx_ifq_record(struct zcrx_ifq *ifq, const struct zcrx_batch *batch, uint32_t count,
		     uint32_t index)
{
	record(ifq, batch, count, index);
}

/*
 * How many verdicts fit into the log before those that nobody has looked at yet.
 * A user who keeps to its own log's bounds never gets us there; one that lets us
 * read stale slots over and over (a tail behind the head) does, and waits.
 */
static inline uint64_t log_room(const struct zcrx_ifq *ifq)
{
	uint64_t unchecked;

	if (!ifq->is_checked)
		return UINT64_MAX;
	/* Pairs with the release in zcrx_reconcile(): those log bytes were read. */
	unchecked = shm_load_relaxed_u64(&ifq->shared->consumed, POINT_LOG) -
		    shm_load_acquire_u64(&ifq->shared->checked, POINT_LOG);
	return unchecked <= ifq->log_mask ? ifq->log_mask + 1 - unchecked : 0;
}

uint64_t zcrx_ifq_may_read(const struct zcrx_ifq *ifq)
{
	return ifq->detached ? 0 : log_room(ifq);
}

uint32_t zcrx_ifq_available(const struct zcrx_ifq *ifq)
{
	uint32_t available = ifq->detached ? 0 : zcrx_rq_available(&ifq->rq);
	uint64_t room = log_room(ifq);

	return available < room ? available : (uint32_t)room;
}

/* Somebody judges the user: the entry that this call read as its `done`-th. */
static inline void witness(const struct zcrx_ifq *ifq, uint32_t done, struct io_uring_zcrx_rqe rqe)
{
	if (ifq->witness)
		zcrx_witness_note_entry(ifq->witness,
					shm_load_relaxed_u64(&ifq->shared->consumed, POINT_LOG) +
						done,
					rqe, zcrx_witness_delivered(ifq->witness));
}

/* Twice, since it is asked of each entry: without a witness nothing is left of it. */
static inline __attribute__((always_inline)) uint32_t refill_watched(struct zcrx_ifq *ifq,
								     struct zcrx_page_pool *pool,
								     bool is_watched)
{
	uint32_t cached = zcrx_pp_cache_count(pool);
	uint32_t available = zcrx_ifq_available(ifq);
	uint32_t room = cached < ZCRX_PP_REFILL ? ZCRX_PP_REFILL - cached : 0;
	uint32_t count = available < room ? available : room;
	uint32_t index = ifq->rq.cached_head;
	/* Copies: stores below could change the originals, for all the compiler knows. */
	const struct measure by = measure_of(ifq->area);
	struct zcrx_rq rq = ifq->rq;
	struct zcrx_batch batch;
	struct run run;

	if (count == 0)
		return 0;
	zcrx_rq_expect(&rq, available, count);
	run.count = run.niov = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct io_uring_zcrx_rqe rqe = zcrx_rq_take(&rq);
		uint32_t niov, verdict = judge_bytes(rqe, &by, &niov);

		if (is_watched)
			witness(ifq, i, rqe);
		batch.niovs[i] = niov;
		batch.verdicts[i] = verdict & ~WELL_FORMED;
		if (verdict < WELL_FORMED)
			continue;
		if (run.count && niov != run.niov) {
			if (judge_run(ifq, pool, &run))
				pool->shared->cache[cached++] = run.niov;
			run.count = 0;
		}
		run.niov = niov;
		run.verdicts[run.count++] = &batch.verdicts[i];
	}
	if (run.count && judge_run(ifq, pool, &run))
		pool->shared->cache[cached++] = run.niov;
	/* Once, after the last entry was read: see zcrx_rq_release(). */
	ifq->rq.cached_head = rq.cached_head;
	zcrx_rq_release(&ifq->rq);
	zcrx_pp_cache_set_count(pool, cached);
	record(ifq, &batch, count, index);
	return count;
}

static uint32_t refill_locked(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	return ifq->witness ? refill_watched(ifq, pool, true) : refill_watched(ifq, pool, false);
}

static uint32_t refill_ring(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	uint32_t count;

	if (ifq->detached || !zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted))
		return 0;
	count = refill_locked(ifq, pool);
	zcrx_unlock(&ifq->shared->rq_lock);
	return count;
}

/* From 7.1 on: whoever asks while it has buffers is wrong, and is given nothing. */
static uint32_t refill_ring_of_empty(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	return zcrx_pp_cache_count(pool) ? 0 : refill_ring(ifq, pool);
}

/* ---- the refill by runs (7.3) ----------------------------------------------------- */

#define RUN_CAP (ZCRX_REFILL_ENTRIES_MAX / 2) /* entries by one look at the tail; 4 KiB pages */
#define RUN_BATCHES (ZCRX_REFILL_ENTRIES_MAX / ZCRX_PP_REFILL)

/* Entries that name the same buffer, the first and the last of a stretch; see judge_by_runs(). */
struct stretch {
	uint32_t first, end;
	uint32_t niov;
	uint32_t count; /* 0: there is none */
};

static inline uint32_t *verdict_at(struct zcrx_batch *batches, uint32_t at)
{
	return &batches[at / ZCRX_PP_REFILL].verdicts[at % ZCRX_PP_REFILL];
}

/* After the tail was read, never before: see handoff.h. Caller holds the refill ring's lock. */
static void take_handed_over(struct zcrx_ifq *ifq)
{
	if (ifq->handoff.slots)
		zcrx_handoff_take(&ifq->handoff);
}

/* So many user references, or none; those that were handed over first. Under the same lock. */
static bool take_refs(struct zcrx_ifq *ifq, uint32_t niov, uint32_t count)
{
	uint32_t *handed = ifq->handoff.counts ? &ifq->handoff.counts[niov] : NULL;
	uint32_t own = !handed ? 0 : *handed < count ? *handed : count;

	if (own < count && !zcrx_user_ref_take_run(ifq->area, niov, count - own))
		return false;
	if (own)
		*handed -= own;
	return true;
}

/*
 * All entries of a run, or none: they are taken back by one subtraction, and with fewer
 * references than that not one is. What lies malformed in between has its verdict already,
 * and does not end the run. True if the buffer is the pool's again.
 */
static bool judge_stretch(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool,
			  struct zcrx_batch *batches, struct stretch *run)
{
	struct zcrx_area *area = ifq->area;
	bool taken, last;
	uint32_t *verdict = NULL;

	if (run->count == 0)
		return false;
	taken = take_refs(ifq, run->niov, run->count);
	last = taken && zcrx_pp_ref_put(area, run->niov, run->count);
	run->count = 0;
	for (uint32_t at = run->first; at < run->end; at++) {
		if (!(*verdict_at(batches, at) & WELL_FORMED))
			continue;
		verdict = verdict_at(batches, at);
		*verdict = (*verdict & ~WELL_FORMED) +
			   (taken ? ZCRX_STILL_REFERENCED : ZCRX_NO_USER_REF);
	}
	if (!last)
		return false;
	*verdict -= ZCRX_STILL_REFERENCED; /* ZCRX_ACCEPTED is 0 */
	if (shm_load_relaxed_u32(&area->niovs[run->niov].pool, POINT_NIOV_POOL) == pool->slot + 1)
		return true;
	*verdict += ZCRX_OTHER_POOL;
	zcrx_ifq_return_niov(ifq, run->niov);
	return false;
}

/* Judge up to `count` entries, and no more once 63 buffers are there; how many. */
static uint32_t judge_by_runs(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool,
			      struct zcrx_batch *batches, struct stretch *run, uint32_t done,
			      uint32_t count)
{
	const struct measure by = measure_of(ifq->area);
	uint32_t cached = zcrx_pp_cache_count(pool);
	uint32_t i;

	for (i = done; i < done + count && cached < ZCRX_PP_REFILL - 1; i++) {
		struct io_uring_zcrx_rqe rqe = zcrx_rq_take(&ifq->rq);
		uint32_t niov, verdict = judge_bytes(rqe, &by, &niov);

		witness(ifq, i, rqe);
		batches[i / ZCRX_PP_REFILL].niovs[i % ZCRX_PP_REFILL] = niov;
		*verdict_at(batches, i) = verdict;
		if (verdict < WELL_FORMED)
			continue;
		if (run->count && niov != run->niov) {
			uint32_t before = run->niov;

			if (judge_stretch(ifq, pool, batches, run))
				pool->shared->cache[cached++] = before;
		}
		if (run->count++ == 0) {
			run->niov = niov;
			run->first = i;
		}
		run->end = i + 1;
	}
	zcrx_pp_cache_set_count(pool, cached);
	return i - done;
}

/*
 * What the tail promised when it was last read is taken first, whatever stands there now;
 * only when nothing of that is left is it read again, once. The head is published whether
 * or not there was anything.
 */
static uint32_t refill_by_runs_locked(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	struct zcrx_batch batches[RUN_BATCHES];
	struct stretch run = {.count = 0};
	uint32_t index = ifq->rq.cached_head;
	uint64_t room = log_room(ifq);
	uint32_t done = 0, cached;

	for (uint32_t looks = 0; looks < 2; looks++) {
		uint64_t most = room - done < RUN_CAP ? room - done : RUN_CAP;
		uint32_t count;

		if (looks && (ifq->rq.claimed || zcrx_pp_cache_count(pool) == ZCRX_PP_REFILL - 1))
			break;
		if (looks) {
			ifq->rq.claimed = zcrx_rq_available(&ifq->rq);
			take_handed_over(ifq);
		}
		count = ifq->rq.claimed < most ? ifq->rq.claimed : (uint32_t)most;
		count = judge_by_runs(ifq, pool, batches, &run, done, count);
		ifq->rq.claimed -= count;
		done += count;
	}
	cached = zcrx_pp_cache_count(pool);
	if (judge_stretch(ifq, pool, batches, &run)) {
		pool->shared->cache[cached] = run.niov;
		zcrx_pp_cache_set_count(pool, cached + 1);
	}
	zcrx_rq_release(&ifq->rq);
	if (done)
		record(ifq, batches, done, index);
	return done;
}

static uint32_t refill_by_runs(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	uint32_t count;

	if (zcrx_pp_cache_count(pool) || ifq->detached ||
	    !zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted))
		return 0;
	count = refill_by_runs_locked(ifq, pool);
	zcrx_unlock(&ifq->shared->rq_lock);
	return count;
}

/* ---- all that waits ----------------------------------------------------------------- */

uint32_t zcrx_ifq_refill_ring(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	return ifq->ops->refill_ring(ifq, pool);
}

uint32_t zcrx_ifq_flush(struct zcrx_ifq *ifq)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(ifq);
	uint32_t flushed = 0;

	while (pool && flushed < ifq->rq.entries) {
		uint32_t consumed;

		zcrx_pp_empty_cache(pool);
		consumed = zcrx_ifq_refill_ring(ifq, pool);
		if (consumed == 0)
			break;
		flushed += consumed;
	}
	if (pool)
		zcrx_pp_empty_cache(pool);
	return flushed;
}

#define FLUSH_BATCH 32U

/*
 * Entries of one batch of a flush; how many, the one that ended it included. Published before
 * the references are looked at, as there.
 */
static uint32_t flush_batch(struct zcrx_ifq *ifq, bool *ended)
{
	struct zcrx_area *area = ifq->area;
	const struct measure by = measure_of(area);
	struct zcrx_batch batch;
	uint32_t index = ifq->rq.cached_head;
	uint32_t available = zcrx_ifq_available(ifq);
	uint32_t most = available < FLUSH_BATCH ? available : FLUSH_BATCH;
	uint32_t count = 0;

	take_handed_over(ifq);
	*ended = most < FLUSH_BATCH;
	while (count < most) {
		struct io_uring_zcrx_rqe rqe = zcrx_rq_take(&ifq->rq);

		witness(ifq, count, rqe);
		batch.verdicts[count] = judge_bytes(rqe, &by, &batch.niovs[count]);
		if (batch.verdicts[count++] < WELL_FORMED) {
			*ended = true;
			break;
		}
	}
	ifq->rq.claimed = 0;
	zcrx_rq_release(&ifq->rq);
	for (uint32_t i = 0; i < count; i++) {
		if (batch.verdicts[i] < WELL_FORMED)
			break;
		batch.verdicts[i] &= ~WELL_FORMED;
		if (!take_refs(ifq, batch.niovs[i], 1)) {
			batch.verdicts[i] += ZCRX_NO_USER_REF;
		} else if (!zcrx_pp_ref_put(area, batch.niovs[i], 1)) {
			batch.verdicts[i] += ZCRX_STILL_REFERENCED;
		} else {
			batch.verdicts[i] += ZCRX_OTHER_POOL;
			zcrx_ifq_return_niov(ifq, batch.niovs[i]);
		}
	}
	if (count)
		record(ifq, &batch, count, index);
	return count;
}

int64_t zcrx_ifq_flush_rq(struct zcrx_ifq *ifq)
{
	uint32_t flushed = 0;
	bool ended = false;

	if (!zcrx_level_of(ifq->area->contract.level)->has_flush || ifq->plugin)
		return -EOPNOTSUPP;
	while (!ended && flushed < ifq->rq.entries && !ifq->detached) {
		if (!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted))
			break;
		flushed += flush_batch(ifq, &ended);
		zcrx_unlock(&ifq->shared->rq_lock);
	}
	return flushed;
}

int zcrx_ifq_add_area(struct zcrx_ifq *ifq, uint32_t num_niovs)
{
	int id;

	if (!ifq->area->extents)
		return -EOPNOTSUPP;
	if (!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted))
		return -EOWNERDEAD;
	id = zcrx_area_add(ifq->area, num_niovs);
	zcrx_unlock(&ifq->shared->rq_lock);
	return id;
}

/* The provider process is the one writer; relaxed, since nothing else depends on the word. */
void zcrx_ifq_hide_freelist(struct zcrx_ifq *ifq, uint32_t count)
{
	shm_u32 *hidden = &ifq->shared->freelist_hidden;

	if (shm_load_relaxed_u32(hidden, POINT_FREE_COUNT) < count)
		shm_store_relaxed_u32(hidden, count, POINT_FREE_COUNT);
}

bool zcrx_ifq_pass_hidden(struct zcrx_ifq *ifq)
{
	shm_u32 *hidden = &ifq->shared->freelist_hidden;
	uint32_t left = shm_load_relaxed_u32(hidden, POINT_FREE_COUNT);

	if (left == 0)
		return false;
	shm_store_relaxed_u32(hidden, left - 1, POINT_FREE_COUNT);
	return true;
}

static void refill_freelist(struct zcrx_page_pool *pool)
{
	uint32_t cached = zcrx_pp_cache_count(pool);
	uint32_t count;

	count = zcrx_area_pop_free(pool->area, &pool->shared->cache[cached],
				   ZCRX_PP_REFILL - cached);
	for (uint32_t i = 0; i < count; i++)
		zcrx_pp_bind(pool, pool->shared->cache[cached + i]);
	zcrx_pp_cache_set_count(pool, cached + count);
}

/* ---- the operations behind a page pool ------------------------------------ */

static int64_t mp_alloc_netmems(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;
	bool hidden = zcrx_ifq_pass_hidden(ifq);
	uint32_t cached;

	zcrx_ifq_refill_ring(ifq, pool);
	if (zcrx_pp_cache_count(pool) == 0 && !hidden)
		refill_freelist(pool);
	cached = zcrx_pp_cache_count(pool);
	if (cached == 0) {
		shm_count(&ifq->shared->alloc_failures, 1);
		return -ENOMEM;
	}
	zcrx_pp_cache_set_count(pool, cached - 1);
	return pool->shared->cache[cached - 1];
}

static void mp_release_netmem(struct zcrx_page_pool *pool, void *provider, uint32_t niov)
{
	struct zcrx_ifq *ifq = provider;

	zcrx_pp_unbind(pool, niov);
	zcrx_area_push_free(ifq->area, niov);
}

static int mp_init(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;

	if (!ifq || pool->params.device != ifq->device)
		return -EINVAL;
	if (pool->params.dma_map || pool->params.order != 0)
		return -EOPNOTSUPP;
	shm_add_relaxed_u32(&ifq->shared->refs, 1, POINT_COUNTER);
	return 0;
}

static int mp_destroy(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;

	(void)pool;
	if (zcrx_area_free_count(ifq->area) != ifq->area->num_niovs) {
		/* The reference is kept on purpose: a leak that can be seen. */
		shm_count(&ifq->shared->destroy_warnings, 1);
		return -EBUSY;
	}
	shm_sub_relaxed_u32(&ifq->shared->refs, 1, POINT_COUNTER);
	return 0;
}

/* From 6.16 on: with several pools one may go while another has buffers. */
static int mp_destroy_unchecked(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;

	(void)pool;
	shm_sub_relaxed_u32(&ifq->shared->refs, 1, POINT_COUNTER);
	return 0;
}

static const struct zcrx_mp_ops unchecked_mp_ops = {
	.alloc_netmems = mp_alloc_netmems,
	.release_netmem = mp_release_netmem,
	.init = mp_init,
	.destroy = mp_destroy_unchecked,
};

const struct zcrx_mp_ops zcrx_mp_ops = {
	.alloc_netmems = mp_alloc_netmems,
	.release_netmem = mp_release_netmem,
	.init = mp_init,
	.destroy = mp_destroy,
};

/* ---- the interface queue ---------------------------------------------------- */

void zcrx_ifq_format(struct zcrx_ifq *ifq)
{
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		shm_store_relaxed_u32(&ifq->pools[slot].shared->phase, ZCRX_POOL_UNUSED,
				      POINT_POOL_COUNT);
	shm_store_relaxed_u32(&ifq->shared->current_pool, 0, POINT_POOL_COUNT);
	shm_store_relaxed_u32(&ifq->shared->cached_rq_head, ifq->rq.cached_head,
			      POINT_RQ_HEAD_STORE);
	/* Relaxed, all of it: whoever else has it gets it from its creator afterwards. */
	shm_store_relaxed_u32(&ifq->shared->refs, 1, POINT_COUNTER);
}

static bool is_any_bound(const struct zcrx_area *area)
{
	for (uint32_t niov = 0; niov < area->num_niovs; niov++) {
		if (shm_load_relaxed_u32(&area->niovs[niov].pool, POINT_NIOV_POOL) != ZCRX_NO_POOL)
			return true;
	}
	return false;
}

static bool has_inflight_elsewhere(struct zcrx_ifq *ifq, const struct zcrx_page_pool *pool)
{
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		const struct zcrx_page_pool *other = &ifq->pools[slot];

		if (other != pool && zcrx_pp_phase(other) != ZCRX_POOL_UNUSED &&
		    zcrx_pp_inflight(other) != 0)
			return true;
	}
	return false;
}

/*
 * End a pool that a restart left behind, and count the warning that is due when
 * it is gone while another one has buffers; false while it lingers.
 *
 * Buffers go home meanwhile, but only we bind any: one that is bound afterwards
 * was not home when the destroy check ran, so it must have warned; with all of
 * them on the freelist beforehand it must not. In between it may. (A copied
 * buffer is no pool's, and can make it warn beyond what is counted here.)
 */
static bool end_pool(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool,
		     bool (*end)(struct zcrx_page_pool *pool, int *destroyed))
{
	bool before = has_inflight_elsewhere(ifq, pool);
	int destroyed;

	if (!end(pool, &destroyed))
		return false;
	if (!zcrx_level_of(ifq->area->contract.level)->checks_destroy)
		return true;
	if (is_any_bound(ifq->area) || (before && destroyed))
		shm_count(&ifq->shared->warnings_due, 1);
	return true;
}

void zcrx_ifq_retry_dying(struct zcrx_ifq *ifq)
{
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		if (!(ifq->dying & 1U << slot))
			continue;
		/* Somebody else may have ended it: stepping does so pool by pool. */
		if (zcrx_pp_phase(pool) != ZCRX_POOL_DYING ||
		    end_pool(ifq, pool, zcrx_pp_retry_release))
			ifq->dying &= ~(1U << slot);
	}
}

static void move_counter(shm_u64 *to, shm_u64 *from)
{
	shm_count(to, shm_load_relaxed_u64(from, POINT_COUNTER));
	shm_store_relaxed_u64(from, 0, POINT_COUNTER);
}

/* The slot gets another pool: what the one before counted is kept. */
static void keep_counters(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
#define KEEP_COUNTER(name) move_counter(&ifq->shared->replaced.name, &pool->shared->counters.name);
	ZCRX_PP_COUNTERS(KEEP_COUNTER)
#undef KEEP_COUNTER
}

int zcrx_ifq_restart(struct zcrx_ifq *ifq)
{
	struct zcrx_page_pool *old = zcrx_ifq_pool(ifq);
	uint32_t slot = 0;
	int error;

	while (slot < ZCRX_POOLS_MAX && zcrx_pp_phase(&ifq->pools[slot]) != ZCRX_POOL_UNUSED)
		slot++;
	if (slot == ZCRX_POOLS_MAX)
		return -ENOSPC;
	if (ifq->has_no_device)
		return -EOPNOTSUPP;
	keep_counters(ifq, &ifq->pools[slot]);
	error = zcrx_pp_create(&ifq->pools[slot]);
	if (error)
		return error;
	/* Pairs with the acquire in zcrx_ifq_pool(): the pool is made. */
	shm_store_release_u32(&ifq->shared->current_pool, slot + 1, POINT_POOL_COUNT);
	if (!old)
		return (int)slot;
	shm_count(&ifq->shared->restarts, 1);
	if (!end_pool(ifq, old, zcrx_pp_destroy))
		ifq->dying |= 1U << old->slot;
	return (int)slot;
}

int zcrx_ifq_teardown(struct zcrx_ifq *ifq)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(ifq);
	int destroyed;

	if (!pool)
		return -ENOENT;
	/* Relaxed: there is none, so nothing of it is looked at. */
	shm_store_relaxed_u32(&ifq->shared->current_pool, 0, POINT_POOL_COUNT);
	if (zcrx_pp_destroy(pool, &destroyed))
		return destroyed;
	/* Buffers of this pool are still out: the check fails by that alone. */
	shm_count(&ifq->shared->destroy_warnings, 1);
	return -EBUSY;
}

void zcrx_ifq_reset_ring(struct zcrx_ifq *ifq)
{
	ifq->rq.claimed = 0;
	/* Nobody else writes these words now: the old user is gone, the new one not here yet. */
	shm_store_relaxed_u32(ifq->rq.tail, ifq->rq.cached_head, POINT_RQ_TAIL_STORE);
	/* Pairs with the acquire in attach_rings(): the tail is what it says. */
	shm_store_release_u32(ifq->rq.head, ifq->rq.cached_head, POINT_RQ_HEAD_STORE);
}

void zcrx_ifq_return_niov(struct zcrx_ifq *ifq, uint32_t niov)
{
	uint32_t pool = shm_load_relaxed_u32(&ifq->area->niovs[niov].pool, POINT_NIOV_POOL);

	if (pool == ZCRX_NO_POOL)
		zcrx_area_push_free(ifq->area, niov);
	else
		zcrx_pp_put_unreferenced(&ifq->pools[pool - 1], niov);
}

void zcrx_ifq_drop(struct zcrx_ifq *ifq, uint32_t niov, uint32_t count)
{
	if (zcrx_pp_ref_put(ifq->area, niov, count))
		zcrx_ifq_return_niov(ifq, niov);
}

static uint64_t scrub(struct zcrx_ifq *ifq, uint64_t *buffers)
{
	struct zcrx_area *area = ifq->area;
	uint32_t niovs = zcrx_area_niovs(area);
	uint64_t taken = 0;

	for (uint32_t niov = 0; niov < niovs; niov++) {
		uint32_t refs = zcrx_user_ref_take_all(area, niov);

		if (refs == 0)
			continue;
		taken += refs;
		zcrx_area_note_scrubbed(area, niov, refs);
		if (!zcrx_pp_ref_put(area, niov, refs))
			continue;
		zcrx_ifq_return_niov(ifq, niov);
		if (buffers)
			(*buffers)++;
	}
	return taken;
}

/* What was handed over is scrubbed like the rest, once it is among the rest. */
static uint64_t scrub_handed_over(struct zcrx_ifq *ifq, uint64_t *buffers)
{
	if (zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)) {
		zcrx_handoff_take(&ifq->handoff);
		zcrx_handoff_fold(&ifq->handoff, ifq->area);
		zcrx_unlock(&ifq->shared->rq_lock);
	}
	return scrub(ifq, buffers);
}

static int64_t take_copy_buffer(struct zcrx_ifq *ifq)
{
	uint32_t niov;

	if (zcrx_ifq_is_hidden(ifq) || zcrx_area_pop_free(ifq->area, &niov, 1) == 0)
		return -ENOMEM;
	zcrx_pp_ref_init(ifq->area, niov);
	return niov;
}

static const struct zcrx_ifq_ops ops[] = {
	[ZCRX_REFILL_TOPS_UP] = {refill_ring, scrub, take_copy_buffer},
	[ZCRX_REFILL_OF_EMPTY] = {refill_ring_of_empty, scrub, take_copy_buffer},
	[ZCRX_REFILL_BY_RUNS] = {refill_by_runs, scrub, take_copy_buffer},
};
static const struct zcrx_ifq_ops ops_handed_over = {refill_by_runs, scrub_handed_over,
						    take_copy_buffer};

void zcrx_ifq_setup(struct zcrx_ifq *ifq)
{
	const struct zcrx_level *level = zcrx_level_of(ifq->area->contract.level);

	ifq->ops = zcrx_contract_hands_over(ifq->area->contract) ? &ops_handed_over :
								   &ops[level->refill];
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		pool->area = ifq->area;
		pool->ops = level->checks_destroy ? &zcrx_mp_ops : &unchecked_mp_ops;
		pool->provider = ifq;
		pool->slot = slot;
		pool->params = (struct zcrx_pp_params){.device = ifq->device};
	}
}

uint64_t zcrx_ifq_scrub(struct zcrx_ifq *ifq, uint64_t *buffers)
{
	return ifq->ops->scrub(ifq, buffers);
}

int64_t zcrx_ifq_take_copy_buffer(struct zcrx_ifq *ifq)
{
	return ifq->ops->take_copy_buffer(ifq);
}

/*
 * Attribute numbers of the netdev netlink family: NETDEV_A_QUEUE_IO_URING and
 * NETDEV_A_PAGE_POOL_IO_URING. A nest's type carries NLA_F_NESTED.
 */
int zcrx_nl_fill(enum zcrx_nl_dump dump, uint8_t *to, uint32_t size)
{
	const uint16_t nla_len = 4;
	const uint16_t nla_type = (uint16_t)((dump == ZCRX_NL_QUEUE_GET ? 6U : 8U) | 0x8000U);

	if (size < nla_len)
		return -EMSGSIZE;
	memcpy(to, &nla_len, sizeof(nla_len));
	memcpy(to + sizeof(nla_len), &nla_type, sizeof(nla_type));
	return nla_len;
}
