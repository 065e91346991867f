/* SPDX-License-Identifier: MIT */
/*
 * Nothing that the instance says is used to reach memory: where a number is needed,
 * the judge's is taken.
 */
#include "compare.h"

#include <inttypes.h>
#include <stdio.h>

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

#define FINDING_WORD(name, word) word,
const char *const fuzz_finding_words[FUZZ_FINDING_KINDS] = {"nothing", FUZZ_FINDINGS(FINDING_WORD)};

static const char *const verdict_words[JUDGE_VERDICTS] = {
	"accepted", "still_referenced", "other_pool",  "bad_pad",
	"bad_area", "bad_index",	"no_user_ref",
};
static const char *const phase_words[] = {"unused", "current", "dying"};

/* ---- findings ------------------------------------------------------------------------ */

__attribute__((format(printf, 5, 6))) bool bout_found(struct execution *execution,
						      enum fuzz_finding_kind kind,
						      const char *expected, const char *actual,
						      const char *format, ...)
{
	struct fuzz_finding *finding = &execution->runner->finding;
	__builtin_va_list arguments;

	finding->kind = kind;
	__builtin_va_start(arguments, format);
	vsnprintf(finding->what, sizeof(finding->what), format, arguments);
	__builtin_va_end(arguments);
	snprintf(finding->expected, sizeof(finding->expected), "%s", expected);
	snprintf(finding->actual, sizeof(finding->actual), "%s", actual);
	/* A verdict's signature is which for which: numbers differ from program to program. */
	if (kind == FUZZ_FOUND_VERDICT)
		snprintf(finding->signature, sizeof(finding->signature), "%s:%.24s:%.24s",
			 fuzz_finding_words[kind], expected, actual);
	else
		snprintf(finding->signature, sizeof(finding->signature), "%s:%s",
			 fuzz_finding_words[kind], fuzz_words[execution->op->kind]);
	return false;
}

bool bout_same(struct execution *execution, enum fuzz_finding_kind kind, const char *what,
	       uint64_t expected, uint64_t actual)
{
	char words[2][24];

	if (expected == actual)
		return true;
	snprintf(words[0], sizeof(words[0]), "%" PRIu64, expected);
	snprintf(words[1], sizeof(words[1]), "%" PRIu64, actual);
	return bout_found(execution, kind, words[0], words[1], "%s", what);
}

static bool same_of(struct execution *execution, enum fuzz_finding_kind kind, const char *what,
		    uint32_t number, uint64_t expected, uint64_t actual)
{
	char words[64];

	if (expected == actual)
		return true;
	snprintf(words, sizeof(words), "%s %u", what, number);
	return bout_same(execution, kind, words, expected, actual);
}

/* A list of niovs, as much of it as fits. */
static void list_text(const uint32_t *niovs, uint32_t count, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, count ? "" : "empty");

	for (uint32_t i = 0; i < count; i++) {
		if (used + 16 > size) {
			snprintf(text + used, size - used, "…");
			return;
		}
		used += (size_t)snprintf(text + used, size - used, i ? " %u" : "%u", niovs[i]);
	}
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

static bool same_list(struct execution *execution, enum fuzz_finding_kind kind, const char *what,
		      uint32_t number, struct niov_list expected, struct niov_list actual)
{
	char words[2][FUZZ_WORDS];

	if (expected.count == actual.count &&
	    same_words(expected.niovs, actual.niovs, expected.count))
		return true;
	list_text(expected.niovs, expected.count, words[0], sizeof(words[0]));
	list_text(actual.niovs, actual.count, words[1], sizeof(words[1]));
	return bout_found(execution, kind, words[0], words[1], "%s of queue or pool %u", what,
			  number);
}

/* ---- the comparison --------------------------------------------------------------------- */

static bool same_niov(struct execution *execution, uint32_t niov)
{
	const struct judge_niov *expected = &execution->judge->niovs[niov];
	struct judge_niov actual;

	memcpy(&actual, &execution->subject->area.niovs[niov], sizeof(actual));
	if (memcmp(expected, &actual, sizeof(actual)) == 0)
		return true;
	return same_of(execution, FUZZ_FOUND_USER_REFS, "user references of niov", niov,
		       expected->user_refs, actual.user_refs) &&
	       same_of(execution, FUZZ_FOUND_PP_REFS, "page-pool references of niov", niov,
		       expected->pp_refs, actual.pp_refs) &&
	       same_of(execution, FUZZ_FOUND_BINDING, "pool (+ 1) of niov", niov, expected->pool,
		       actual.pool) &&
	       bout_found(execution, FUZZ_FOUND_RED_ZONE, "untouched", "written",
			  "reserved word of a niov");
}

static bool same_niovs(struct execution *execution)
{
	uint32_t count = execution->judge->shape.num_niovs;

	if (memcmp(execution->judge->niovs, execution->subject->area.niovs,
		   sizeof(execution->judge->niovs[0]) * count) == 0)
		return true;
	for (uint32_t niov = 0; niov < count; niov++) {
		if (!same_niov(execution, niov))
			return false;
	}
	return true;
}

/* From `kept` on: what lies below was not touched. */
static bool same_freelist(struct execution *execution, uint32_t kept)
{
	const struct fuzz_subject *subject = execution->subject;
	const struct judge *judge = execution->judge;
	const uint32_t *freelist = (const uint32_t *)subject->area.freelist;
	uint32_t count = zcrx_area_free_count(&subject->area);

	if (count > judge->shape.num_niovs)
		return bout_same(execution, FUZZ_FOUND_FREELIST, "buffers on the freelist",
				 judge->free_count, count);
	if (count == judge->free_count &&
	    same_words(judge->freelist + kept, freelist + kept, count - kept))
		return true;
	return same_list(execution, FUZZ_FOUND_FREELIST, "freelist (top last)",
			 execution->op->queue,
			 (struct niov_list){judge->freelist, judge->free_count},
			 (struct niov_list){freelist, count});
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
	return same_list(execution, FUZZ_FOUND_PTR_RING, "ptr ring (oldest first)", slot,
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
		return same_of(execution, FUZZ_FOUND_PTR_RING, "head of ptr ring", slot,
			       pool->ring_size - 1, at);
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
	char words[32];

	if (phase != wanted->phase) {
		snprintf(words, sizeof(words), "%u", phase);
		return bout_found(execution, FUZZ_FOUND_POOL, phase_words[wanted->phase],
				  phase <= ZCRX_POOL_DYING ? phase_words[phase] : words,
				  "phase of pool %u", slot);
	}
	if (phase == ZCRX_POOL_UNUSED)
		return true;
	return same_list(execution, FUZZ_FOUND_CACHE, "alloc cache (top last)", slot,
			 (struct niov_list){wanted->cache, wanted->cache_count},
			 (struct niov_list){pool->shared->cache, zcrx_pp_cache_count(pool)}) &&
	       same_ptr_ring(execution, slot, at_end) &&
	       same_of(execution, FUZZ_FOUND_POOL, "buffers bound to pool", slot, wanted->bound,
		       zcrx_pp_inflight(pool)) &&
	       same_of(execution, FUZZ_FOUND_LOCK, "producer lock of pool", slot, 0,
		       pool->shared->producer_lock.word);
}

/* X(kind, what, expected, actual): every single number there is. */
#define SCALARS(X)                                                                                 \
	X(FUZZ_FOUND_FREELIST, "pushes on a full freelist", 0, area->freelist_overflows)           \
	X(FUZZ_FOUND_PP_REFS, "page-pool references dropped that nobody held", 0,                  \
	  area->ref_underflows)                                                                    \
	X(FUZZ_FOUND_LOCK, "freelist lock", 0, area->freelist_lock.word)                           \
	X(FUZZ_FOUND_LOCK, "lock of the refill ring", 0, shared->rq_lock.word)                     \
	X(FUZZ_FOUND_HEAD, "published head", judge->head, *rq->head)                               \
	X(FUZZ_FOUND_HEAD, "the provider's own head", judge->cached_head, rq->cached_head)         \
	X(FUZZ_FOUND_HEAD, "tail", judge->tail, *rq->tail)                                         \
	X(FUZZ_FOUND_COUNTER, "RQEs consumed", judge->consumed, shared->consumed)                  \
	X(FUZZ_FOUND_COUNTER, "aliases", judge->aliases, shared->aliases)                          \
	X(FUZZ_FOUND_COUNTER, "failed allocations", judge->alloc_failures, shared->alloc_failures) \
	X(FUZZ_FOUND_COUNTER, "destroy warnings", judge->destroy_warnings,                         \
	  shared->destroy_warnings)                                                                \
	X(FUZZ_FOUND_COUNTER, "references on the instance", judge->instance_refs, shared->refs)    \
	X(FUZZ_FOUND_COUNTER, "head as shown to others", judge->cached_head,                       \
	  shared->cached_rq_head)                                                                  \
	X(FUZZ_FOUND_COUNTER, "current pool (+ 1)", judge->current, shared->current_pool)

/* All of them at once first: as a rule none differs, and then none needs a name. */
bool compare_scalars(struct execution *execution)
{
	const struct zcrx_area_shared *area = execution->subject->area.shared;
	const struct zcrx_ifq_shared *shared = execution->subject->ifq.shared;
	const struct zcrx_rq *rq = &execution->subject->ifq.rq;
	const struct judge *judge = execution->judge;
	uint64_t difference = 0;

#define SCALAR_DIFFERS(kind, what, expected, actual) difference |= (uint64_t)(expected) ^ (actual);
	SCALARS(SCALAR_DIFFERS)
#undef SCALAR_DIFFERS
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
		difference |= judge->verdicts[verdict] ^ shared->verdicts[verdict];
	if (difference == 0)
		return true;
#define SCALAR_SAME(kind, what, expected, actual)                        \
	if (!bout_same(execution, (kind), (what), (expected), (actual))) \
		return false;
	SCALARS(SCALAR_SAME)
#undef SCALAR_SAME
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++) {
		if (!bout_same(execution, FUZZ_FOUND_COUNTER, verdict_words[verdict],
			       judge->verdicts[verdict], shared->verdicts[verdict]))
			return false;
	}
	return true;
}

static bool same_zones(struct execution *execution, bool at_end)
{
	const char *behind = subject_broken_zone(execution->subject, at_end);

	return !behind || bout_found(execution, FUZZ_FOUND_RED_ZONE, "untouched", "written",
				     "memory behind: %s", behind);
}

bool compare_state(struct execution *execution, bool at_end)
{
	if (!same_zones(execution, at_end) || !same_niovs(execution) ||
	    !same_freelist(execution, 0) || !compare_scalars(execution))
		return false;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		if (!same_pool(execution, slot, at_end))
			return false;
	}
	return true;
}

bool compare_changed(struct execution *execution)
{
	const struct judge *judge = execution->judge;

	if (judge->changed_count > JUDGE_CHANGED_MAX) {
		if (!same_niovs(execution))
			return false;
	} else {
		for (uint32_t i = 0; i < judge->changed_count; i++) {
			if (!same_niov(execution, judge->changed[i]))
				return false;
		}
	}
	if (!same_freelist(execution, judge->free_kept) || !compare_scalars(execution))
		return false;
	for (uint32_t slots = judge->changed_pools; slots; slots &= slots - 1) {
		if (!same_pool(execution, (uint32_t)__builtin_ctz(slots), false))
			return false;
	}
	return true;
}

/* ---- what entries earned ------------------------------------------------------------------- */

static bool names_niov(uint32_t verdict)
{
	return verdict != JUDGE_BAD_PAD && verdict != JUDGE_BAD_AREA;
}

static bool same_entry(struct execution *execution, const struct judge_said *expected,
		       const struct zcrx_judgement *actual)
{
	if (expected->index != actual->index)
		return bout_same(execution, FUZZ_FOUND_CONSUMED,
				 "ring index of the next entry judged", expected->index,
				 actual->index);
	if (expected->verdict != actual->verdict)
		return bout_found(
			execution, FUZZ_FOUND_VERDICT, verdict_words[expected->verdict],
			actual->verdict < JUDGE_VERDICTS ? verdict_words[actual->verdict] : "?",
			"verdict of the entry at index %u (niov %u)", expected->index,
			expected->niov);
	if (names_niov(expected->verdict) && expected->niov != actual->niov)
		return same_of(execution, FUZZ_FOUND_NIOV, "niov of the entry at index",
			       expected->index, expected->niov, actual->niov);
	return same_of(execution, FUZZ_FOUND_ALIAS, "alias flag of the entry at index",
		       expected->index, expected->alias, actual->alias);
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
			return same_of(execution, FUZZ_FOUND_LOG, "log byte of the entry at index",
				       said->index, expected, actual);
	}
	return true;
}

bool compare_verdicts(struct execution *execution)
{
	const struct judge *judge = execution->judge;
	const struct zcrx_trace *trace = &execution->subject->trace;
	const struct fuzz_watch *watch = &execution->subject->watch;
	uint32_t count = trace->count < judge->said_count ? trace->count : judge->said_count;

	if (watch->unlocked)
		return bout_found(execution, FUZZ_FOUND_UNLOCKED, "under the refill ring's lock",
				  "without it", "%s", watch->unlocked);
	if (watch->read_twice)
		return bout_found(execution, FUZZ_FOUND_READ_TWICE, "loaded once", "loaded twice",
				  "entry in slot %u", watch->offence_slot);
	if (watch->read_late)
		return bout_found(execution, FUZZ_FOUND_READ_LATE, "read before head was published",
				  "read afterwards", "entry in slot %u", watch->offence_slot);
	for (uint32_t i = 0; i < count; i++) {
		if (!same_entry(execution, &judge->said[i], &trace->entries[i]))
			return false;
	}
	return bout_same(execution, FUZZ_FOUND_CONSUMED, "entries judged", judge->said_count,
			 trace->count + trace->lost) &&
	       same_log(execution);
}
