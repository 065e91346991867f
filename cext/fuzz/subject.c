/* SPDX-License-Identifier: MIT */
/*
 * Arrays are carved to the size of the shape, not to the largest one, so that
 * one element too many is outside. AddressSanitizer is told of the zones; in a
 * build without it their pattern is looked at after each operation.
 */
#include "subject.h"

#define ZONE_PATTERN 0xa5a5a5a55a5a5a5aU
#define ZONE_WORDS (SUBJECT_ZONE_BYTES / sizeof(uint64_t))

struct fuzz_watch *fuzz_watching;

/* The layout is walked anew for each instance; zones are filled only if they moved. */
struct carver {
	struct fuzz_subject *subject;
	bool moves;
};

static void add_zone(struct carver *carver, const char *behind)
{
	struct fuzz_subject *subject = carver->subject;
	struct fuzz_zone *zone = &subject->zones[subject->zone_count++];

	assert(subject->zone_count <= SUBJECT_ZONES_MAX);
	zone->behind = behind;
	zone->words = (uint64_t *)&subject->memory[subject->used];
	subject->used += SUBJECT_ZONE_BYTES;
	assert(subject->used <= SUBJECT_BYTES);
	if (!carver->moves)
		return;
	for (uint32_t i = 0; i < ZONE_WORDS; i++)
		zone->words[i] = ZONE_PATTERN;
#ifdef HAS_ASAN
	__asan_poison_memory_region(zone->words, SUBJECT_ZONE_BYTES);
#endif
}

/* Memory with a zone behind it; what is left of its last cache line belongs to the zone. */
static void *carve(struct carver *carver, const char *name, uint32_t size)
{
	struct fuzz_subject *subject = carver->subject;
	uint8_t *at = &subject->memory[subject->used];
	uint32_t whole = (size + SHM_CACHE_LINE - 1U) / SHM_CACHE_LINE * SHM_CACHE_LINE;

	assert(subject->used + whole <= SUBJECT_BYTES);
	if (carver->moves) {
		memset(at, 0, whole);
#ifdef HAS_ASAN
		__asan_poison_memory_region(at + size, whole - size);
#endif
	}
	subject->used += whole;
	add_zone(carver, name);
	return at;
}

/* Pools are told apart in a report. */
static const char *const pool_names[ZCRX_POOLS_MAX] = {
	"page pool 0", "page pool 1", "page pool 2", "page pool 3",
	"page pool 4", "page pool 5", "page pool 6", "page pool 7",
};
static const char *const ring_names[ZCRX_POOLS_MAX] = {
	"ptr ring 0", "ptr ring 1", "ptr ring 2", "ptr ring 3",
	"ptr ring 4", "ptr ring 5", "ptr ring 6", "ptr ring 7",
};

static bool is_laid_out(struct fuzz_subject *subject, const struct fuzz_shape *shape)
{
	const struct fuzz_shape *now = &subject->laid_out;

	return now->num_niovs == shape->num_niovs && now->rq_entries == shape->rq_entries &&
	       now->ptr_ring_size == shape->ptr_ring_size && !subject_broken_zone(subject, true);
}

static void lay_out(struct fuzz_subject *subject, const struct fuzz_shape *shape)
{
	struct carver carver = {.subject = subject, .moves = !is_laid_out(subject, shape)};
	struct zcrx_ifq *ifq = &subject->ifq;
	struct zcrx_area *area = &subject->area;

#ifdef HAS_ASAN
	if (carver.moves)
		__asan_unpoison_memory_region(subject->memory, subject->used);
#endif
	subject->laid_out = *shape;
	subject->used = subject->zone_count = 0;
	add_zone(&carver, "what stands before everything");
	ifq->shared = carve(&carver, "ifq", sizeof(*ifq->shared));
	area->shared = carve(&carver, "area", sizeof(*area->shared));
	area->niovs = carve(&carver, "niovs", (uint32_t)sizeof(*area->niovs) * shape->num_niovs);
	area->freelist =
		carve(&carver, "freelist", (uint32_t)sizeof(*area->freelist) * shape->num_niovs);
	area->scrubbed =
		carve(&carver, "scrubbed references",
		      (uint32_t)sizeof(*area->scrubbed) * zcrx_account_count(shape->num_niovs));
	ifq->verdict_log = carve(&carver, "verdict log", JUDGE_LOG);
	ifq->niov_log =
		carve(&carver, "log of buffers", (uint32_t)sizeof(*ifq->niov_log) * JUDGE_LOG);
	ifq->rq.head = carve(&carver, "refill ring's indices", 2 * sizeof(shm_u32));
	ifq->rq.tail = ifq->rq.head + 1;
	ifq->rq.rqes =
		carve(&carver, "refill ring", (uint32_t)sizeof(*ifq->rq.rqes) * shape->rq_entries);
	subject->flight.shared =
		carve(&carver, "flight recorder",
		      (uint32_t)(sizeof(*subject->flight.shared) +
				 SUBJECT_FLIGHT_ENTRIES * sizeof(struct zcrx_event)));
	subject->zones_of_pools = subject->zone_count;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		pool->shared = carve(&carver, pool_names[slot], sizeof(*pool->shared));
		pool->ring = carve(&carver, ring_names[slot],
				   (uint32_t)sizeof(*pool->ring) * shape->ptr_ring_size);
		pool->ring_size = shape->ptr_ring_size;
	}
	subject->zones_of_pools = subject->zone_count - subject->zones_of_pools;
	subject->zones_in_use = subject->zone_count - subject->zones_of_pools;
}

/* What the last program left, so that no program depends on the one before. */
static void clear(struct fuzz_subject *subject, const struct fuzz_shape *shape)
{
	struct zcrx_ifq *ifq = &subject->ifq;

	memset(ifq->shared, 0, sizeof(*ifq->shared));
	memset(subject->area.shared, 0, sizeof(*subject->area.shared));
	memset(subject->area.niovs, 0, sizeof(*subject->area.niovs) * shape->num_niovs);
	memset(ifq->rq.rqes, 0, sizeof(*ifq->rq.rqes) * shape->rq_entries);
	subject->flight.shared->count = 0;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		/*
		 * Most were never made. A pool that had no buffer has little to forget: what
		 * its slot's last one left, if pools that reuse a slot do not clear it.
		 */
		if (pool->shared->hold_count)
			memset(pool->shared, 0, sizeof(*pool->shared));
		pool->shared->ring_head = pool->shared->ring_tail = 0;
		pool->shared->ring_refusals = pool->shared->release_count = 0;
		pool->shared->producer_lock.word = 0;
		pool->shared->cache_count = 0;
	}
}

void subject_format(struct fuzz_subject *subject, const struct fuzz_shape *shape,
		    const struct zcrx_provider_ops *ops, struct judge *judge)
{
	struct zcrx_ifq *ifq = &subject->ifq;
	struct fuzz_watch *watch = &subject->watch;

	memset(ifq, 0, sizeof(*ifq));
	lay_out(subject, shape);
	clear(subject, shape);
	subject->area.aborted = NULL;
	subject->area.bytes = NULL; /* nothing is decided by payloads */
	subject->area.num_niovs = shape->num_niovs;
	subject->area.niov_shift = 12;
	ifq->area = &subject->area;
	ifq->rq.entries = shape->rq_entries;
	ifq->rq.mask = shape->rq_entries - 1;
	ifq->rq.cached_head = shape->initial_index;
	ifq->log_mask = JUDGE_LOG - 1;
	subject->area.contract = shape->contract;
	ifq->is_checked = shape->is_checked;
	subject->flight.mask = SUBJECT_FLIGHT_ENTRIES - 1;
	subject->flight.last_kind = 0;
	ifq->flight = shape->records ? &subject->flight : NULL;
	subject->trace = (struct zcrx_trace){
		.entries = subject->judgements,
		.capacity = JUDGE_SAID_MAX,
	};
	ifq->trace = &subject->trace;
	zcrx_ifq_setup(ifq);
	zcrx_area_format(&subject->area);
	shm_store_relaxed_u32(ifq->rq.head, shape->initial_index, POINT_RQ_HEAD_STORE);
	shm_store_relaxed_u32(ifq->rq.tail, shape->initial_index, POINT_RQ_TAIL_STORE);
	if (ops)
		zcrx_foreign_attach(&subject->foreign, ops, ifq);
	zcrx_ifq_format(ifq);

	watch->ifq = ifq;
	watch->rqes = (const uint8_t *)ifq->rq.rqes;
	watch->rqes_size = (uint32_t)sizeof(*ifq->rq.rqes) * shape->rq_entries;
	watch->judge = judge;
	watch->is_armed = watch->is_noting = false;
}

static bool is_whole(const struct fuzz_zone *zone)
{
	uint64_t difference = 0;

	for (uint32_t i = 0; i < ZONE_WORDS; i++)
		difference |= zone->words[i] ^ ZONE_PATTERN;
	return difference == 0;
}

/* What runs over an array's end begins with its zone's first word: the rest is for the end. */
static bool are_begun(struct fuzz_subject *subject)
{
	uint32_t pools_at = subject->zone_count - subject->zones_of_pools;
	uint64_t difference = 0;

	/* Pools are made in order and their slots reused: those in use are the first ones. */
	while (subject->zones_in_use < subject->zone_count &&
	       zcrx_pp_phase(&subject->ifq.pools[(subject->zones_in_use - pools_at) / 2]) !=
		       ZCRX_POOL_UNUSED)
		subject->zones_in_use += 2;
	for (uint32_t i = 0; i < subject->zones_in_use; i++)
		difference |= subject->zones[i].words[0] ^ ZONE_PATTERN;
	return difference != 0;
}

const char *subject_broken_zone(struct fuzz_subject *subject, bool all)
{
#ifdef HAS_ASAN
	(void)subject, (void)all, (void)is_whole, (void)are_begun; /* nobody wrote there unseen */
#else
	if (!all && !are_begun(subject))
		return NULL;
	for (uint32_t i = 0; i < subject->zone_count; i++) {
		if (!is_whole(&subject->zones[i]))
			return subject->zones[i].behind;
	}
#endif
	return NULL;
}

/* ---- the watch ---------------------------------------------------------------------- */

void subject_enter(struct fuzz_subject *subject)
{
	struct fuzz_watch *watch = &subject->watch;

	watch->read_twice = watch->read_late = false;
	watch->unlocked = NULL;
	watch->has_published = false;
	watch->epoch++;
	watch->is_noting = watch->is_armed;
	watch->seen_count = 0;
	subject->trace.count = subject->trace.lost = 0;
	fuzz_watching = watch;
}

void subject_leave(struct fuzz_subject *subject)
{
	(void)subject;
	fuzz_watching = NULL;
}

static void hold_lock(struct fuzz_watch *watch, const char *what)
{
	if (watch->needs_lock && !watch->unlocked && watch->ifq->shared->rq_lock.word == 0)
		watch->unlocked = what;
}

/* The word that the provider looks at: the host may look at the user's own before. */
static const volatile void *tail_of(const struct zcrx_ifq *ifq)
{
	return ifq->foreign ? (const volatile void *)ifq->foreign->queue.rq_tail :
			      (const volatile void *)ifq->rq.tail;
}

void fuzz_at_tail_load(struct fuzz_watch *watch, const volatile void *word)
{
	if (word == tail_of(watch->ifq))
		hold_lock(watch, "load of tail");
	watch->epoch++;
	watch->has_published = false;
}

void fuzz_at_head_store(struct fuzz_watch *watch, const volatile void *word)
{
	if (word == watch->ifq->rq.head)
		hold_lock(watch, "store of head");
	watch->has_published = true;
}

static void rewrite(struct fuzz_watch *watch, uint32_t slot)
{
	uint32_t at = (slot + watch->slots_ahead) % watch->judge->shape.rq_entries;

	watch->is_armed = false;
	watch->judge->rqes[at] = watch->rewrite;
	memcpy((void *)(uintptr_t)(watch->rqes + at * sizeof(watch->rewrite)), &watch->rewrite,
	       sizeof(watch->rewrite));
}

void fuzz_at_rqe_load(struct fuzz_watch *watch, const volatile void *word)
{
	uint64_t offset = (uint64_t)((const volatile uint8_t *)word - watch->rqes);
	uint32_t slot = (uint32_t)(offset / sizeof(struct io_uring_zcrx_rqe));
	uint32_t *loaded = &watch->loaded[offset / sizeof(uint32_t)];

	if (offset >= watch->rqes_size)
		return; /* not a word of the ring: what is read there is found out elsewhere */
	hold_lock(watch, "load of an entry");
	if (*loaded == watch->epoch && !watch->read_twice) {
		watch->read_twice = true;
		watch->offence_slot = slot;
	}
	*loaded = watch->epoch;
	if (watch->has_published && !watch->read_late) {
		watch->read_late = true;
		watch->offence_slot = slot;
	}
	if (!watch->is_noting)
		return;
	if (watch->is_armed && --watch->loads_left == 0)
		rewrite(watch, slot);
	if (watch->seen_count < SUBJECT_SEEN_MAX)
		watch->seen[watch->seen_count++] = (struct judge_seen){
			.slot = slot,
			.byte = (uint32_t)(offset % sizeof(struct io_uring_zcrx_rqe)),
			.rqe = watch->judge->rqes[slot],
		};
}
