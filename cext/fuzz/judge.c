/* SPDX-License-Identifier: MIT */
/* Every function is one sentence of the contract: the shorter, the more believable. */
#include "judge.h"

#include <errno.h>
#include <string.h>

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* All buffers of it are free. */
static void append_area(struct judge *judge, uint32_t size)
{
	uint32_t first = judge->num_niovs;

	judge->areas[judge->area_count++] = (struct judge_area){first, size, size};
	judge->num_niovs += size;
	memset(judge->niovs + first, 0, sizeof(judge->niovs[0]) * size);
	memset(judge->stack_refs + first, 0, sizeof(judge->stack_refs[0]) * size);
	for (uint32_t niov = first; niov < first + size; niov++)
		judge->freelist[niov] = niov;
}

void judge_reset(struct judge *judge, const struct fuzz_shape *shape)
{
	judge->shape = *shape;
	memset(judge->rqes, 0, sizeof(judge->rqes[0]) * shape->rq_entries);
	judge->head = judge->tail = judge->cached_head = shape->initial_index;
	judge->claimed = 0;
	judge->is_detached = false;
	judge->area_count = judge->num_niovs = 0;
	judge->stack_held = judge->user_held = 0;
	append_area(judge, shape->num_niovs);
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
	if (!shape->has_no_device)
		judge_restart(judge);
}

void judge_begin(struct judge *judge)
{
	judge->said_count = 0;
	judge->seen_count = judge->seen_at = 0;
}

/* ---- where buffers go ------------------------------------------------------------ */

static uint32_t area_of(const struct judge *judge, uint32_t niov)
{
	uint32_t id = judge->area_count - 1;

	while (niov < judge->areas[id].first)
		id--;
	return id;
}

/* Of the first area that has a free one; false if none has. */
static bool pop_free(struct judge *judge, uint32_t *niov)
{
	for (uint32_t id = 0; id < judge->area_count; id++) {
		struct judge_area *area = &judge->areas[id];

		if (area->free_count == 0)
			continue;
		area->free_count--;
		*niov = judge->freelist[area->first + area->free_count];
		return true;
	}
	return false;
}

static void push_free(struct judge *judge, uint32_t niov)
{
	struct judge_area *area = &judge->areas[area_of(judge, niov)];

	judge->freelist[area->first + area->free_count++] = niov;
}

static void release(struct judge *judge, uint32_t niov)
{
	judge->pools[judge->niovs[niov].pool - 1].bound--;
	judge->niovs[niov].pool = 0;
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
	pool = &judge->pools[judge->niovs[niov].pool - 1];
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
	struct judge_niov *state = &judge->niovs[niov];

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
	struct judge_pool *pool = &judge->pools[slot];
	uint32_t niov;

	while (pool->cache_count < JUDGE_BATCH && pop_free(judge, &niov)) {
		struct judge_niov *state = &judge->niovs[niov];

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

/* What its bytes decide; JUDGE_ACCEPTED: the references have the last word. */
static enum judge_verdict bytes_say(const struct judge *judge, const struct io_uring_zcrx_rqe *rqe,
				    struct judge_said *said)
{
	uint64_t page = (rqe->off % ((uint64_t)1 << 48)) / 4096;
	const struct judge_area *area;

	said->alias = false;
	said->niov = (uint32_t)page;
	if (rqe->__pad != 0)
		return JUDGE_BAD_PAD;
	if (rqe->off >> 48 >= judge->area_count)
		return JUDGE_BAD_AREA;
	area = &judge->areas[rqe->off >> 48];
	if (said->niov >= area->size)
		return JUDGE_BAD_INDEX;
	said->alias = page != said->niov;
	if (said->alias && zcrx_contract_is_strict(judge->shape.contract))
		return JUDGE_BAD_INDEX;
	said->niov += area->first;
	return JUDGE_ACCEPTED;
}

/* For an allocation from a pool, or for JUDGE_POOLS, which is none. */
static enum judge_verdict take_back(struct judge *judge, uint32_t slot, uint32_t niov)
{
	struct judge_pool *pool;

	if (judge->niovs[niov].user_refs == 0)
		return JUDGE_NO_USER_REF;
	judge->niovs[niov].user_refs--;
	judge->user_held--;
	if (!drop_refs(judge, niov, 1))
		return JUDGE_STILL_REFERENCED;
	if (slot == JUDGE_POOLS || judge->niovs[niov].pool != slot + 1) {
		go_home(judge, niov);
		return JUDGE_OTHER_POOL;
	}
	pool = &judge->pools[slot];
	pool->cache[pool->cache_count++] = niov;
	return JUDGE_ACCEPTED;
}

/* The entry at the head is consumed: what its bytes say. */
static struct judge_said *next_entry(struct judge *judge)
{
	struct judge_said *said = &judge->said[judge->said_count++];
	struct io_uring_zcrx_rqe rqe =
		entry_at(judge, judge->cached_head & (judge->shape.rq_entries - 1));

	said->index = judge->cached_head++;
	said->verdict = bytes_say(judge, &rqe, said);
	said->waits = false;
	judge->consumed++;
	return said;
}

static void count(struct judge *judge, const struct judge_said *said)
{
	judge->verdicts[said->verdict]++;
	judge->aliases += said->alias;
}

static uint32_t log_room(const struct judge *judge)
{
	return judge->shape.is_checked ? (uint32_t)(judge->checked + JUDGE_LOG - judge->consumed) :
					 UINT32_MAX;
}

static uint32_t claimed_by_tail(const struct judge *judge)
{
	return least(judge->tail - judge->cached_head, judge->shape.rq_entries);
}

uint32_t judge_available(const struct judge *judge)
{
	return judge->is_detached ? 0 : least(claimed_by_tail(judge), log_room(judge));
}

/* Those that wait all name one buffer: all of them count, or none. */
static void end_run(struct judge *judge, uint32_t slot, uint32_t first)
{
	uint32_t niov = 0, length = 0;
	bool is_enough;

	for (uint32_t i = first; i < judge->said_count; i++) {
		if (judge->said[i].waits)
			niov = judge->said[i].niov, length++;
	}
	is_enough = length && judge->niovs[niov].user_refs >= length;
	for (uint32_t i = first; length && i < judge->said_count; i++) {
		struct judge_said *said = &judge->said[i];

		if (said->waits)
			said->verdict = is_enough ? take_back(judge, slot, niov) :
						    JUDGE_NO_USER_REF;
		said->waits = false;
	}
}

/* One refill of 7.3: until 63 buffers are there, what the tail claimed before it is read again. */
static uint32_t consume_by_runs(struct judge *judge, uint32_t slot)
{
	const struct judge_pool *pool = &judge->pools[slot];
	uint32_t first = judge->said_count, run = first;

	for (uint32_t look = 0; look < 2; look++) {
		uint32_t left;

		if (look && (judge->claimed || pool->cache_count >= JUDGE_BATCH - 1))
			break;
		if (look)
			judge->claimed = claimed_by_tail(judge);
		left = least(least(judge->claimed, JUDGE_LOOK), log_room(judge));
		for (; left && pool->cache_count < JUDGE_BATCH - 1; left--) {
			struct judge_said *said = next_entry(judge);
			bool names = said->verdict == JUDGE_ACCEPTED;

			judge->claimed--;
			if (names && judge->said[run].waits && judge->said[run].niov != said->niov)
				end_run(judge, slot, run);
			if (names && !judge->said[run].waits)
				run = judge->said_count - 1;
			said->waits = names;
		}
	}
	if (judge->said_count > first)
		end_run(judge, slot, run);
	for (uint32_t i = first; i < judge->said_count; i++)
		count(judge, &judge->said[i]);
	judge->head = judge->cached_head;
	return judge->said_count - first;
}

/* One refill on behalf of a pool; how many entries were consumed. */
static uint32_t consume(struct judge *judge, uint32_t slot)
{
	uint32_t cached = judge->pools[slot].cache_count;
	uint32_t entries;

	if (judge->is_detached || (cached && judge->shape.contract.level >= ZCRX_LEVEL_7_1))
		return 0;
	if (judge->shape.contract.level >= ZCRX_LEVEL_7_3)
		return consume_by_runs(judge, slot);
	entries = least(judge_available(judge), JUDGE_BATCH - cached);
	if (entries == 0)
		return 0;
	for (uint32_t i = 0; i < entries; i++) {
		struct judge_said *said = next_entry(judge);

		if (said->verdict == JUDGE_ACCEPTED)
			said->verdict = take_back(judge, slot, said->niov);
		count(judge, said);
	}
	judge->head = judge->cached_head;
	return entries;
}

void judge_attach(struct judge *judge)
{
	judge->head = judge->tail = judge->cached_head;
	judge->claimed = 0;
	judge->is_detached = false;
}

int64_t judge_add_area(struct judge *judge, uint32_t num_niovs)
{
	if (judge->shape.contract.level < ZCRX_LEVEL_7_3)
		return -EOPNOTSUPP;
	if (judge->area_count == FUZZ_AREAS_MAX)
		return -EINVAL;
	append_area(judge, num_niovs);
	return judge->area_count - 1;
}

uint64_t judge_offset(const struct judge *judge, uint32_t niov)
{
	uint32_t id = area_of(judge, niov);

	return ((uint64_t)id << 48) + (uint64_t)(niov - judge->areas[id].first) * 4096;
}

/* ---- NIC and stack ------------------------------------------------------------------ */

static void hand_out(struct judge *judge, uint32_t niov)
{
	judge->stack_refs[niov] = 1;
	judge->stack_held++;
}

int64_t judge_alloc(struct judge *judge)
{
	uint32_t slot = judge->current - 1;
	struct judge_pool *pool = &judge->pools[slot];
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
	hand_out(judge, niov);
	return niov;
}

void judge_deliver(struct judge *judge, uint32_t niov, uint32_t fragments)
{
	struct judge_niov *state = &judge->niovs[niov];

	state->user_refs += fragments;
	judge->user_held += fragments;
	state->pp_refs += fragments;
}

void judge_drop(struct judge *judge, uint32_t niov)
{
	judge->stack_refs[niov]--;
	judge->stack_held--;
	if (drop_refs(judge, niov, 1))
		go_home(judge, niov);
}

int64_t judge_copy(struct judge *judge)
{
	uint32_t niov;

	if (judge->hidden || !pop_free(judge, &niov))
		return -ENOMEM;
	judge->niovs[niov].pp_refs = 1;
	hand_out(judge, niov);
	return niov;
}

/* ---- control ------------------------------------------------------------------------- */

uint64_t judge_scrub(struct judge *judge, uint64_t *buffers)
{
	uint64_t taken = 0;

	*buffers = 0;

	for (uint32_t niov = 0; judge->user_held && niov < judge->num_niovs; niov++) {
		uint32_t refs = judge->niovs[niov].user_refs;

		if (refs == 0)
			continue;
		judge->niovs[niov].user_refs = 0;
		judge->user_held -= refs;
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
	struct judge_pool *pool = &judge->pools[slot];

	while (pool->cache_count)
		release(judge, pool->cache[--pool->cache_count]);
}

static void drain(struct judge *judge, uint32_t slot)
{
	empty_cache(judge, slot);
	while (judge->pools[slot].ring_count)
		release(judge, leave_ring(&judge->pools[slot]));
}

/* By batches of 32, published before the references are looked at; what is malformed ends it. */
static uint32_t flush_by_user(struct judge *judge)
{
	uint32_t begin = judge->said_count;

	while (!judge->is_detached && judge->said_count - begin < judge->shape.rq_entries) {
		uint32_t first = judge->said_count;
		uint32_t most = least(judge_available(judge), 32);
		bool ends = most < 32;

		for (uint32_t i = 0; i < most; i++) {
			if (next_entry(judge)->verdict != JUDGE_ACCEPTED) {
				ends = true;
				break;
			}
		}
		judge->claimed = 0;
		judge->head = judge->cached_head;
		for (uint32_t i = first; i < judge->said_count; i++) {
			struct judge_said *said = &judge->said[i];

			if (said->verdict == JUDGE_ACCEPTED)
				said->verdict = take_back(judge, JUDGE_POOLS, said->niov);
			count(judge, said);
		}
		if (ends)
			break;
	}
	return judge->said_count - begin;
}

uint32_t judge_flush(struct judge *judge)
{
	uint32_t slot = judge->current - 1;
	uint32_t flushed = 0, consumed;

	if (judge->shape.contract.level >= ZCRX_LEVEL_7_1)
		return flush_by_user(judge);
	if (judge->current == 0)
		return 0;
	do {
		empty_cache(judge, slot);
		consumed = consume(judge, slot);
		flushed += consumed;
	} while (consumed && flushed < judge->shape.rq_entries);
	empty_cache(judge, slot);
	return flushed;
}

/* A pool that nothing is bound to ends; the check covers the whole area. */
static int64_t end_pool(struct judge *judge, uint32_t slot)
{
	judge->pools[slot].phase = JUDGE_UNUSED;
	/* 6.16 has given the check up; before that there was one area. */
	if (judge->areas[0].free_count != judge->num_niovs &&
	    judge->shape.contract.level < ZCRX_LEVEL_6_18) {
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
	judge->pools[slot].phase = JUDGE_DYING;
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

	if (judge->shape.has_no_device)
		return -EOPNOTSUPP;
	while (slot < JUDGE_POOLS && judge->pools[slot].phase != JUDGE_UNUSED)
		slot++;
	if (slot == JUDGE_POOLS)
		return -ENOSPC;
	pool = &judge->pools[slot];
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
