/* SPDX-License-Identifier: MIT */
/*
 * Nothing that the instance says is used to reach memory: where a number is needed,
 * the judge's is taken.
 */
#include "compare.h"

_Static_assert(sizeof(struct judge_niov) == sizeof(struct zcrx_niov), "compared at once");
_Static_assert(offsetof(struct judge_niov, user_refs) == offsetof(struct zcrx_niov, user_refs) &&
		       offsetof(struct judge_niov, pp_refs) ==
			       offsetof(struct zcrx_niov, pp_refs) &&
		       offsetof(struct judge_niov, pool) == offsetof(struct zcrx_niov, pool),
	       "compared at once");
_Static_assert((int)JUDGE_ACCEPTED == (int)ZCRX_ACCEPTED &&
		       (int)JUDGE_STILL_REFERENCED == (int)ZCRX_STILL_REFERENCED &&
		       (int)JUDGE_OTHER_POOL == (int)ZCRX_OTHER_POOL &&
		       (int)JUDGE_BAD_PAD == (int)ZCRX_BAD_PAD &&
		       (int)JUDGE_BAD_AREA == (int)ZCRX_BAD_AREA &&
		       (int)JUDGE_BAD_INDEX == (int)ZCRX_BAD_INDEX &&
		       (int)JUDGE_NO_USER_REF == (int)ZCRX_NO_USER_REF &&
		       (int)JUDGE_VERDICTS == (int)ZCRX_VERDICT_COUNT,
	       "verdicts");
_Static_assert((int)JUDGE_UNUSED == (int)ZCRX_POOL_UNUSED &&
		       (int)JUDGE_CURRENT == (int)ZCRX_POOL_CURRENT &&
		       (int)JUDGE_DYING == (int)ZCRX_POOL_DYING,
	       "phases");
_Static_assert(JUDGE_POOLS == ZCRX_POOLS_MAX && JUDGE_BATCH == ZCRX_PP_REFILL, "sizes");

/* ---- findings ------------------------------------------------------------------------ */

bool bout_found(struct execution *execution, enum fuzz_wrong what, uint32_t which)
{
	struct fuzz_finding *finding = &execution->runner->finding;

	finding->what = what;
	finding->op = execution->op->kind;
	finding->which = which;
	finding->round = finding->niov = 0;
	finding->expected.count = finding->actual.count = 0;
	return false;
}

static void set_number(struct fuzz_values *values, uint64_t value)
{
	values->count = 1;
	values->values[0] = value;
}

bool bout_same(struct execution *execution, enum fuzz_wrong what, uint32_t which, uint64_t expected,
	       uint64_t actual)
{
	if (expected == actual)
		return true;
	bout_found(execution, what, which);
	set_number(&execution->runner->finding.expected, expected);
	set_number(&execution->runner->finding.actual, actual);
	return false;
}

/* Most lists are short: a call would take longer. */
static bool same_words(const uint32_t *expected, const uint32_t *actual, uint32_t count)
{
	uint32_t difference = 0;

	for (uint32_t i = 0; i < count; i++)
		difference |= expected[i] ^ actual[i];
	return difference == 0;
}

struct niov_list {
	const uint32_t *niovs;
	uint32_t count;
};

/* As much of it as has room. */
static void set_list(struct fuzz_values *values, struct niov_list list)
{
	values->count = list.count < FUZZ_VALUES_MAX ? list.count : FUZZ_VALUES_MAX;
	for (uint32_t i = 0; i < values->count; i++)
		values->values[i] = list.niovs[i];
}

static bool same_list(struct execution *execution, enum fuzz_wrong what, uint32_t which,
		      struct niov_list expected, struct niov_list actual)
{
	if (expected.count == actual.count &&
	    same_words(expected.niovs, actual.niovs, expected.count))
		return true;
	bout_found(execution, what, which);
	set_list(&execution->runner->finding.expected, expected);
	set_list(&execution->runner->finding.actual, actual);
	return false;
}

/* ---- the comparison --------------------------------------------------------------------- */

static bool same_niov(struct execution *execution, uint32_t niov)
{
	const struct judge_niov *expected = &execution->judge->niovs[niov];
	struct judge_niov actual;

	memcpy(&actual, &execution->subject->area.niovs[niov], sizeof(actual));
	if (memcmp(expected, &actual, sizeof(actual)) == 0)
		return true;
	return bout_same(execution, WRONG_USER_REFS, niov, expected->user_refs, actual.user_refs) &&
	       bout_same(execution, WRONG_PP_REFS, niov, expected->pp_refs, actual.pp_refs) &&
	       bout_same(execution, WRONG_BINDING, niov, expected->pool, actual.pool) &&
	       bout_found(execution, WRONG_NIOV_RESERVED, niov);
}

static bool same_niovs(struct execution *execution)
{
	uint32_t count = execution->judge->num_niovs;

	if (memcmp(execution->judge->niovs, execution->subject->area.niovs,
		   sizeof(execution->judge->niovs[0]) * count) == 0)
		return true;
	for (uint32_t niov = 0; niov < count; niov++) {
		if (!same_niov(execution, niov))
			return false;
	}
	return true;
}

static bool same_freelist(struct execution *execution, uint32_t id)
{
	const struct zcrx_area *area = &execution->subject->area;
	const struct judge_area *wanted = &execution->judge->areas[id];
	const uint32_t *expected = execution->judge->freelist + wanted->first;
	const uint32_t *actual = (const uint32_t *)area->freelist + wanted->first;
	uint32_t count = area->extents ? area->extents[id].free_count : area->shared->free_count;

	if (count > wanted->size)
		return bout_same(execution, WRONG_FREE_COUNT, execution->op->queue,
				 wanted->free_count, count);
	if (count == wanted->free_count && same_words(expected, actual, count))
		return true;
	return same_list(execution, WRONG_FREELIST, execution->op->queue,
			 (struct niov_list){expected, wanted->free_count},
			 (struct niov_list){actual, count});
}

static bool same_freelists(struct execution *execution)
{
	for (uint32_t id = 0; id < execution->judge->area_count; id++) {
		if (!same_freelist(execution, id))
			return false;
	}
	return true;
}

/* Its own function, and no part of another: a sanitizer marks a frame of this size at each call. */
static __attribute__((noinline)) bool same_ptr_rings_entries(struct execution *execution,
							     uint32_t slot)
{
	const struct zcrx_page_pool *pool = &execution->subject->ifq.pools[slot];
	const struct judge_pool *wanted = &execution->judge->pools[slot];
	uint32_t expected[FUZZ_PTR_RING_MAX], actual[FUZZ_PTR_RING_MAX];
	uint32_t count = zcrx_pp_ring_snapshot(pool, actual, FUZZ_PTR_RING_MAX);

	for (uint32_t i = 0; i < wanted->ring_count; i++)
		expected[i] = wanted->ring[(wanted->ring_first + i) % FUZZ_PTR_RING_MAX];
	return same_list(execution, WRONG_PTR_RING, slot,
			 (struct niov_list){expected, wanted->ring_count},
			 (struct niov_list){actual, count});
}

static bool same_ptr_ring(struct execution *execution, uint32_t slot, bool at_end)
{
	const struct zcrx_page_pool *pool = &execution->subject->ifq.pools[slot];
	const struct judge_pool *wanted = &execution->judge->pools[slot];
	const uint32_t *ring = (const uint32_t *)pool->ring;
	uint32_t at = shm_load_relaxed_u32(&pool->shared->ring_head, POINT_PTR_RING_INDEX);
	uint32_t count;

	if (at >= pool->ring_size)
		return bout_same(execution, WRONG_PTR_RING_HEAD, slot, pool->ring_size - 1, at);
	/* The usual case first: what should be there is, and nothing behind it. */
	for (count = 0; count < wanted->ring_count; count++) {
		if (ring[at] != wanted->ring[(wanted->ring_first + count) % FUZZ_PTR_RING_MAX] + 1)
			return same_ptr_rings_entries(execution, slot);
		at = at + 1 < pool->ring_size ? at + 1 : 0;
	}
	if (!at_end && (count == pool->ring_size || ring[at] == 0))
		return true;
	return same_ptr_rings_entries(execution, slot);
}

static bool same_pool(struct execution *execution, uint32_t slot, bool at_end)
{
	const struct zcrx_page_pool *pool = &execution->subject->ifq.pools[slot];
	const struct judge_pool *wanted = &execution->judge->pools[slot];
	uint32_t phase = zcrx_pp_phase(pool);

	if (!bout_same(execution, WRONG_PHASE, slot, wanted->phase, phase))
		return false;
	if (phase == ZCRX_POOL_UNUSED)
		return true;
	return same_list(execution, WRONG_CACHE, slot,
			 (struct niov_list){wanted->cache, wanted->cache_count},
			 (struct niov_list){pool->shared->cache, zcrx_pp_cache_count(pool)}) &&
	       same_ptr_ring(execution, slot, at_end) &&
	       bout_same(execution, WRONG_BOUND, slot, wanted->bound, zcrx_pp_inflight(pool)) &&
	       bout_same(execution, WRONG_PRODUCER_LOCK, slot, 0, pool->shared->producer_lock.word);
}

/* X(what, expected, actual): every single number there is. */
#define SCALARS(X)                                                                   \
	X(WRONG_FREELIST_OVERFLOWS, 0, area->freelist_overflows)                     \
	X(WRONG_REF_UNDERFLOWS, 0, area->ref_underflows)                             \
	X(WRONG_FREELIST_LOCK, 0, area->freelist_lock.word)                          \
	X(WRONG_RQ_LOCK, 0, shared->rq_lock.word)                                    \
	X(WRONG_HEAD, judge->head, *rq->head)                                        \
	X(WRONG_OWN_HEAD, judge->cached_head, rq->cached_head)                       \
	X(WRONG_TAIL, judge->tail, *rq->tail)                                        \
	X(WRONG_RQES_CONSUMED, judge->consumed, shared->consumed)                    \
	X(WRONG_ALIASES, judge->aliases, shared->aliases)                            \
	X(WRONG_ALLOC_FAILURES, judge->alloc_failures, shared->alloc_failures)       \
	X(WRONG_DESTROY_WARNINGS, judge->destroy_warnings, shared->destroy_warnings) \
	X(WRONG_INSTANCE_REFS, judge->instance_refs, shared->refs)                   \
	X(WRONG_SHOWN_HEAD, judge->cached_head, shared->cached_rq_head)              \
	X(WRONG_CURRENT_POOL, judge->current, shared->current_pool)

/* All of them at once first: as a rule none differs, and then none needs a name. */
bool compare_scalars(struct execution *execution)
{
	const struct zcrx_area_shared *area = execution->subject->area.shared;
	const struct zcrx_ifq_shared *shared = execution->subject->ifq.shared;
	const struct zcrx_rq *rq = &execution->subject->ifq.rq;
	const struct judge *judge = execution->judge;
	uint64_t difference = 0;

#define SCALAR_DIFFERS(what, expected, actual) difference |= (uint64_t)(expected) ^ (actual);
	SCALARS(SCALAR_DIFFERS)
#undef SCALAR_DIFFERS
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
		difference |= judge->verdicts[verdict] ^ shared->verdicts[verdict];
	if (difference == 0)
		return true;
#define SCALAR_SAME(what, expected, actual)                         \
	if (!bout_same(execution, (what), 0, (expected), (actual))) \
		return false;
	SCALARS(SCALAR_SAME)
#undef SCALAR_SAME
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++) {
		if (!bout_same(execution, WRONG_VERDICTS, verdict, judge->verdicts[verdict],
			       shared->verdicts[verdict]))
			return false;
	}
	return true;
}

static bool same_zones(struct execution *execution, bool at_end)
{
	uint32_t which = 0;
	enum fuzz_wrong zone = subject_broken_zone(execution->subject, at_end, &which);

	return zone == WRONG_NOTHING || bout_found(execution, zone, which);
}

bool compare_state(struct execution *execution, bool at_end)
{
	/* In those behind them there never was a pool. */
	uint32_t slots = at_end ? JUDGE_POOLS : execution->judge->pools_made;

	if (!same_zones(execution, at_end) || !same_niovs(execution) ||
	    !same_freelists(execution) || !compare_scalars(execution))
		return false;
	for (uint32_t slot = 0; slot < slots; slot++) {
		if (!same_pool(execution, slot, at_end))
			return false;
	}
	return true;
}

bool compare_locks(struct execution *execution)
{
	const struct zcrx_ifq *ifq = &execution->subject->ifq;
	uint32_t taken = execution->subject->area.shared->freelist_lock.word |
			 ifq->shared->rq_lock.word;

	for (uint32_t slot = 0; slot < execution->judge->pools_made; slot++)
		taken |= ifq->pools[slot].shared->producer_lock.word;
	return taken == 0 || compare_state(execution, false);
}

/* ---- what entries earned ------------------------------------------------------------------- */

static bool names_niov(uint32_t verdict)
{
	return verdict != JUDGE_BAD_PAD && verdict != JUDGE_BAD_AREA;
}

static bool same_verdict(struct execution *execution, const struct judge_said *expected,
			 uint32_t actual)
{
	uint32_t known = actual < JUDGE_VERDICTS ? actual : JUDGE_VERDICTS;

	if (bout_same(execution, WRONG_VERDICT, expected->index, expected->verdict, known))
		return true;
	execution->runner->finding.niov = expected->niov;
	return false;
}

/* As a rule nothing differs, and then nothing needs a name. */
static bool is_entry_same(const struct judge_said *expected, const struct zcrx_judgement *actual)
{
	uint32_t niovs = names_niov(expected->verdict) ? expected->niov ^ actual->niov : 0;

	return ((expected->index ^ actual->index) | (expected->verdict ^ actual->verdict) | niovs |
		(expected->alias ^ (uint32_t)actual->alias)) == 0;
}

static bool same_entry(struct execution *execution, const struct judge_said *expected,
		       const struct zcrx_judgement *actual)
{
	return bout_same(execution, WRONG_ENTRY_INDEX, 0, expected->index, actual->index) &&
	       same_verdict(execution, expected, actual->verdict) &&
	       (!names_niov(expected->verdict) ||
		bout_same(execution, WRONG_ENTRY_NIOV, expected->index, expected->niov,
			  actual->niov)) &&
	       bout_same(execution, WRONG_ENTRY_ALIAS, expected->index, expected->alias,
			 actual->alias);
}

/* What the log keeps of them: a byte each, by how many were consumed before. */
static bool same_log(struct execution *execution)
{
	const struct judge *judge = execution->judge;
	const uint8_t *log = execution->subject->ifq.verdict_log;

	for (uint32_t back = 1; back <= JUDGE_LOG && back <= judge->said_count; back++) {
		const struct judge_said *said = &judge->said[judge->said_count - back];
		uint8_t expected = said->verdict | (said->alias ? ZCRX_LOG_ALIAS : 0U);
		uint8_t actual = log[(judge->consumed - back) % JUDGE_LOG];

		if (expected != actual)
			return bout_same(execution, WRONG_LOG_BYTE, said->index, expected, actual);
	}
	return true;
}

bool compare_verdicts(struct execution *execution)
{
	const struct judge *judge = execution->judge;
	const struct zcrx_trace *trace = &execution->subject->trace;
	const struct fuzz_watch *watch = &execution->subject->watch;
	uint32_t count = trace->count < judge->said_count ? trace->count : judge->said_count;
	uint32_t offences = watch->unlocked | watch->read_twice | watch->read_late;

	/* Most operations look at no entry. */
	if ((offences | judge->said_count | trace->count | trace->lost) == 0)
		return true;
	if (watch->unlocked)
		return bout_found(execution, watch->unlocked, 0);
	if (watch->read_twice)
		return bout_found(execution, WRONG_READ_TWICE, watch->offence_slot);
	if (watch->read_late)
		return bout_found(execution, WRONG_READ_LATE, watch->offence_slot);
	for (uint32_t i = 0; i < count; i++) {
		if (!is_entry_same(&judge->said[i], &trace->entries[i]) &&
		    !same_entry(execution, &judge->said[i], &trace->entries[i]))
			return false;
	}
	return bout_same(execution, WRONG_ENTRIES, 0, judge->said_count,
			 trace->count + trace->lost) &&
	       same_log(execution);
}
