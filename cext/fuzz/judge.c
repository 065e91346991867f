/* SPDX-License-Identifier: MIT */
/* Every function is one sentence of the contract: the shorter, the more believable. */
#include "judge.h"

#include <errno.h>
#include <string.h>

void judge_reset(struct judge *judge, const struct fuzz_shape *shape)
{
	judge->shape = *shape;
	memset(judge->rqes, 0, sizeof(judge->rqes[0]) * shape->rq_entries);
	judge->head = judge->tail = judge->cached_head = shape->initial_index;
	judge->is_detached = false;
	memset(judge->niovs, 0, sizeof(judge->niovs[0]) * shape->num_niovs);
	memset(judge->stack_refs, 0, sizeof(judge->stack_refs[0]) * shape->num_niovs);
	for (uint32_t niov = 0; niov < shape->num_niovs; niov++)
		judge->freelist[niov] = niov;
	judge->free_count = shape->num_niovs;
	judge->hidden = 0;
	for (uint32_t slot = 0; slot < JUDGE_POOLS; slot++)
		judge->pools[slot].phase = JUDGE_UNUSED;
	judge->current = judge->lingering = judge->pools_made = 0;
	judge->instance_refs = 1;
	memset(judge->verdicts, 0, sizeof(judge->verdicts));
	judge->aliases = judge->alloc_failures = judge->destroy_warnings = 0;
	judge->consumed = judge->checked = 0;
	judge->seen = NULL;
	judge_begin(judge);
	judge_restart(judge);
}

void judge_begin(struct judge *judge)
{
	judge->said_count = 0;
	judge->seen_count = judge->seen_at = 0;
	judge->changed_count = judge->changed_pools = 0;
	judge->free_kept = judge->free_count;
}

/* ---- what changes ---------------------------------------------------------------- */

static struct judge_niov *change_niov(struct judge *judge, uint32_t niov)
{
	if (judge->changed_count < JUDGE_CHANGED_MAX)
		judge->changed[judge->changed_count] = niov;
	judge->changed_count++;
	return &judge->niovs[niov];
}

static struct judge_pool *change_pool(struct judge *judge, uint32_t slot)
{
	judge->changed_pools |= 1U << slot;
	return &judge->pools[slot];
}

/* ---- where buffers go ------------------------------------------------------------ */

static uint32_t pop_free(struct judge *judge)
{
	judge->free_count--;
	if (judge->free_kept > judge->free_count)
		judge->free_kept = judge->free_count;
	return judge->freelist[judge->free_count];
}

static void push_free(struct judge *judge, uint32_t niov)
{
	judge->freelist[judge->free_count++] = niov;
}

static void release(struct judge *judge, uint32_t niov)
{
	change_pool(judge, judge->niovs[niov].pool - 1)->bound--;
	change_niov(judge, niov)->pool = 0;
	push_free(judge, niov);
}

/* Home from outside: the ptr ring of its own pool, else the freelist. */
static void go_home(struct judge *judge, uint32_t niov)
{
	struct judge_pool *pool;

	if (judge->niovs[niov].pool == 0) {
		push_free(judge, niov);
		return;
	}
	pool = change_pool(judge, judge->niovs[niov].pool - 1);
	if (pool->ring_count == judge->shape.ptr_ring_size) {
		release(judge, niov);
		return;
	}
	if (pool->refusals) {
		pool->refusals--;
		release(judge, niov);
		return;
	}
	pool->ring[(pool->ring_first + pool->ring_count++) % FUZZ_PTR_RING_MAX] = niov;
}

/* Drop references; with the last one the count is left at 1 for the next owner. */
static bool drop_refs(struct judge *judge, uint32_t niov, uint32_t count)
{
	struct judge_niov *state = change_niov(judge, niov);

	state->pp_refs -= count;
	if (state->pp_refs)
		return false;
	state->pp_refs = 1;
	return true;
}

static uint32_t leave_ring(struct judge_pool *pool)
{
	uint32_t niov = pool->ring[pool->ring_first];

	pool->ring_first = (pool->ring_first + 1) % FUZZ_PTR_RING_MAX;
	pool->ring_count--;
	return niov;
}

static void fill_from_ptr_ring(struct judge_pool *pool)
{
	while (pool->ring_count && pool->cache_count < JUDGE_BATCH)
		pool->cache[pool->cache_count++] = leave_ring(pool);
}

static void fill_from_freelist(struct judge *judge, uint32_t slot)
{
	struct judge_pool *pool = change_pool(judge, slot);

	while (judge->free_count && pool->cache_count < JUDGE_BATCH) {
		uint32_t niov = pop_free(judge);
		struct judge_niov *state = change_niov(judge, niov);

		state->pool = slot + 1;
		state->pp_refs = 1;
		pool->bound++;
		pool->cache[pool->cache_count++] = niov;
	}
}

/* ---- what an entry earns ---------------------------------------------------------- */

/* The entry in a slot as the provider saw it, if the user was writing meanwhile. */
static struct io_uring_zcrx_rqe entry_at(struct judge *judge, uint32_t slot)
{
	struct io_uring_zcrx_rqe rqe = judge->rqes[slot];

	while (judge->seen_at < judge->seen_count && judge->seen[judge->seen_at].slot == slot) {
		const struct judge_seen *seen = &judge->seen[judge->seen_at++];

		if (seen->byte < offsetof(struct io_uring_zcrx_rqe, len))
			rqe.off = seen->rqe.off;
		else if (seen->byte < offsetof(struct io_uring_zcrx_rqe, __pad))
			rqe.len = seen->rqe.len, rqe.__pad = seen->rqe.__pad;
		else
			rqe.__pad = seen->rqe.__pad;
	}
	return rqe;
}

static enum judge_verdict verdict_of(struct judge *judge, uint32_t slot,
				     const struct io_uring_zcrx_rqe *rqe, struct judge_said *said)
{
	struct judge_pool *pool = change_pool(judge, slot);
	uint64_t page = (rqe->off % ((uint64_t)1 << 48)) / 4096;

	said->alias = false;
	said->niov = (uint32_t)page;
	if (rqe->__pad != 0)
		return JUDGE_BAD_PAD;
	if (rqe->off >> 48 != 0)
		return JUDGE_BAD_AREA;
	if (said->niov >= judge->shape.num_niovs)
		return JUDGE_BAD_INDEX;
	said->alias = page != said->niov;
	if (said->alias && zcrx_contract_is_strict(judge->shape.contract))
		return JUDGE_BAD_INDEX;
	if (judge->niovs[said->niov].user_refs == 0)
		return JUDGE_NO_USER_REF;
	judge->niovs[said->niov].user_refs--;
	if (!drop_refs(judge, said->niov, 1))
		return JUDGE_STILL_REFERENCED;
	if (judge->niovs[said->niov].pool != slot + 1) {
		go_home(judge, said->niov);
		return JUDGE_OTHER_POOL;
	}
	pool->cache[pool->cache_count++] = said->niov;
	return JUDGE_ACCEPTED;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t judge_available(const struct judge *judge)
{
	uint32_t count = least(judge->tail - judge->cached_head, judge->shape.rq_entries);

	if (judge->is_detached)
		return 0;
	if (judge->shape.is_checked)
		count = least(count, (uint32_t)(judge->checked + JUDGE_LOG - judge->consumed));
	return count;
}

/* One refill on behalf of a pool; how many entries were consumed. */
static uint32_t consume(struct judge *judge, uint32_t slot)
{
	uint32_t count =
		least(judge_available(judge), JUDGE_BATCH - judge->pools[slot].cache_count);

	if (count == 0)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		struct judge_said *said = &judge->said[judge->said_count++];
		uint32_t at = judge->cached_head % judge->shape.rq_entries;
		struct io_uring_zcrx_rqe rqe = entry_at(judge, at);

		said->index = judge->cached_head++;
		said->verdict = verdict_of(judge, slot, &rqe, said);
		judge->verdicts[said->verdict]++;
		judge->aliases += said->alias;
	}
	judge->consumed += count;
	judge->head = judge->cached_head;
	return count;
}

/* ---- NIC and stack ------------------------------------------------------------------ */

int64_t judge_alloc(struct judge *judge)
{
	uint32_t slot = judge->current - 1;
	struct judge_pool *pool = change_pool(judge, slot);
	uint32_t niov;

	if (pool->cache_count == 0)
		fill_from_ptr_ring(pool);
	if (pool->cache_count == 0) {
		bool hidden = judge->hidden > 0;

		judge->hidden -= hidden;
		consume(judge, slot);
		if (pool->cache_count == 0 && !hidden)
			fill_from_freelist(judge, slot);
	}
	if (pool->cache_count == 0) {
		judge->alloc_failures++;
		return -ENOMEM;
	}
	niov = pool->cache[--pool->cache_count];
	judge->stack_refs[niov] = 1;
	return niov;
}

void judge_deliver(struct judge *judge, uint32_t niov, uint32_t fragments)
{
	struct judge_niov *state = change_niov(judge, niov);

	state->user_refs += fragments;
	state->pp_refs += fragments;
}

void judge_drop(struct judge *judge, uint32_t niov)
{
	judge->stack_refs[niov]--;
	if (drop_refs(judge, niov, 1))
		go_home(judge, niov);
}

int64_t judge_copy(struct judge *judge)
{
	uint32_t niov;

	if (judge->free_count == 0 || judge->hidden)
		return -ENOMEM;
	niov = pop_free(judge);
	change_niov(judge, niov)->pp_refs = 1;
	judge->stack_refs[niov] = 1;
	return niov;
}

/* ---- control ------------------------------------------------------------------------- */

uint64_t judge_scrub(struct judge *judge, uint64_t *buffers)
{
	uint64_t taken = 0;

	*buffers = 0;

	for (uint32_t niov = 0; niov < judge->shape.num_niovs; niov++) {
		uint32_t refs = judge->niovs[niov].user_refs;

		if (refs == 0)
			continue;
		judge->niovs[niov].user_refs = 0;
		taken += refs;
		if (drop_refs(judge, niov, refs)) {
			go_home(judge, niov);
			(*buffers)++;
		}
	}
	return taken;
}

uint32_t judge_refill(struct judge *judge)
{
	return judge->current ? consume(judge, judge->current - 1) : 0;
}

static void empty_cache(struct judge *judge, uint32_t slot)
{
	struct judge_pool *pool = change_pool(judge, slot);

	while (pool->cache_count)
		release(judge, pool->cache[--pool->cache_count]);
}

static void drain(struct judge *judge, uint32_t slot)
{
	empty_cache(judge, slot);
	while (judge->pools[slot].ring_count)
		release(judge, leave_ring(&judge->pools[slot]));
}

uint32_t judge_flush(struct judge *judge)
{
	uint32_t slot = judge->current - 1;
	uint32_t flushed = 0, count;

	if (judge->current == 0)
		return 0;
	do {
		empty_cache(judge, slot);
		count = consume(judge, slot);
		flushed += count;
	} while (count && flushed < judge->shape.rq_entries);
	empty_cache(judge, slot);
	return flushed;
}

/* A pool that nothing is bound to ends; the check covers the whole area. */
static int64_t end_pool(struct judge *judge, uint32_t slot)
{
	change_pool(judge, slot)->phase = JUDGE_UNUSED;
	if (judge->free_count != judge->shape.num_niovs) {
		judge->destroy_warnings++;
		return -EBUSY;
	}
	judge->instance_refs--;
	return 0;
}

bool judge_retry(struct judge *judge, uint32_t slot)
{
	drain(judge, slot);
	if (judge->pools[slot].bound)
		return false;
	end_pool(judge, slot);
	return true;
}

void judge_retry_all(struct judge *judge)
{
	for (uint32_t slot = 0; slot < JUDGE_POOLS; slot++) {
		if (!(judge->lingering & 1U << slot))
			continue;
		if (judge->pools[slot].phase != JUDGE_DYING || judge_retry(judge, slot))
			judge->lingering &= ~(1U << slot);
	}
}

static bool tear_down(struct judge *judge, uint32_t slot, int64_t *result)
{
	drain(judge, slot);
	change_pool(judge, slot)->phase = JUDGE_DYING;
	if (judge->pools[slot].bound)
		return false;
	*result = end_pool(judge, slot);
	return true;
}

int64_t judge_restart(struct judge *judge)
{
	uint32_t former = judge->current;
	struct judge_pool *pool;
	uint32_t slot = 0;
	int64_t result;

	while (slot < JUDGE_POOLS && judge->pools[slot].phase != JUDGE_UNUSED)
		slot++;
	if (slot == JUDGE_POOLS)
		return -ENOSPC;
	pool = change_pool(judge, slot);
	pool->phase = JUDGE_CURRENT;
	pool->cache_count = pool->ring_count = 0;
	pool->bound = pool->refusals = 0;
	judge->instance_refs++;
	judge->current = slot + 1;
	if (judge->pools_made <= slot)
		judge->pools_made = slot + 1;
	if (former && !tear_down(judge, former - 1, &result))
		judge->lingering |= 1U << (former - 1);
	return slot;
}

int64_t judge_destroy(struct judge *judge)
{
	uint32_t slot = judge->current - 1;
	int64_t result;

	judge->current = 0;
	if (tear_down(judge, slot, &result))
		return result;
	judge->destroy_warnings++;
	return -EBUSY;
}
