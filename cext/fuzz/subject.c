/* SPDX-License-Identifier: MIT */
/*
 * Arrays are as long as the shape says, not as the largest one, so that one
 * element too many is outside. What is before and behind them stays from program
 * to program, since laying everything out takes as long as many operations.
 * AddressSanitizer is told of the zones; in a
 * build without it their pattern is looked at after each operation.
 */
#include "subject.h"

/* Behind a zero: a provider that reads one element too many is to go on, and be found. */
#define ZONE_WORD 0x5aa5a55aU
#define ZONE_WORDS (SUBJECT_ZONE_BYTES / sizeof(uint32_t))

/* A zone's words as they were made. */
static const uint32_t pattern[ZONE_WORDS] = {
	0,	   ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD,
	ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD,
};

/* As many words before an array, of its room, are looked at like a zone. */
typedef uint32_t lanes __attribute__((vector_size(16), aligned(4), may_alias));
#define ZONE_LANES (SUBJECT_ZONE_BYTES / sizeof(lanes))
#define LANES_OF_ROOM {ZONE_WORD, ZONE_WORD, ZONE_WORD, ZONE_WORD}
static const lanes room_pattern[] = {LANES_OF_ROOM, LANES_OF_ROOM, LANES_OF_ROOM, LANES_OF_ROOM};
_Static_assert(sizeof(room_pattern) == SUBJECT_ZONE_BYTES, "as long as a zone");

struct fuzz_watch *fuzz_watching;

static void add_zone(struct fuzz_subject *subject, enum fuzz_wrong behind, uint32_t slot)
{
	struct fuzz_zone *zone = &subject->zones[subject->zone_count++];

	assert(subject->zone_count <= SUBJECT_ZONES_MAX);
	zone->behind = behind;
	zone->slot = slot;
	zone->words = (uint32_t *)&subject->memory[subject->used];
	subject->used += SUBJECT_ZONE_BYTES;
	assert(subject->used <= SUBJECT_BYTES);
	memcpy(zone->words, pattern, sizeof(pattern));
#ifdef HAS_ASAN
	__asan_poison_memory_region(zone->words, SUBJECT_ZONE_BYTES);
#endif
}

/* Memory with a zone behind it; what is left of its last cache line belongs to the zone. */
static void *carve(struct fuzz_subject *subject, enum fuzz_wrong zone, uint32_t slot, uint32_t size)
{
	uint8_t *at = &subject->memory[subject->used];
	uint32_t whole = (size + SHM_CACHE_LINE - 1U) / SHM_CACHE_LINE * SHM_CACHE_LINE;

	assert(subject->used + whole <= SUBJECT_BYTES);
	memset(at, 0, whole);
#ifdef HAS_ASAN
	__asan_poison_memory_region(at + size, whole - size);
#endif
	subject->used += whole;
	add_zone(subject, zone, slot);
	return at;
}

/* Room for an array of at most so many bytes; it is empty so far. */
static void carve_array(struct fuzz_subject *subject, struct fuzz_array *array,
			enum fuzz_wrong zone, uint32_t slot, uint32_t size)
{
	uint32_t whole = (size + SHM_CACHE_LINE - 1U) / SHM_CACHE_LINE * SHM_CACHE_LINE;

	array->zone = zone;
	array->slot = slot;
	array->room = carve(subject, zone, slot, whole);
	array->start = array->end = array->room + whole;
	for (uint32_t *at = (uint32_t *)array->room; at < (uint32_t *)array->end; at++)
		*at = ZONE_WORD;
#ifdef HAS_ASAN
	__asan_poison_memory_region(array->room, whole);
#endif
}

/* What lies before an array is nobody's. */
static void guard(struct fuzz_array *array, uint8_t *start)
{
#ifdef HAS_ASAN
	if (start < array->start)
		__asan_unpoison_memory_region(start, (size_t)(array->start - start));
	else
		__asan_poison_memory_region(array->start, (size_t)(start - array->start));
#else
	if (start >= array->room + SUBJECT_ZONE_BYTES) {
		lanes *before = (lanes *)(start - SUBJECT_ZONE_BYTES);

		for (uint32_t i = 0; i < ZONE_LANES; i++)
			before[i] = room_pattern[i];
	} else {
		for (uint32_t *at = (uint32_t *)array->room; at < (uint32_t *)start; at++)
			*at = ZONE_WORD;
	}
#endif
}

/* Let an array have so many bytes; zeros, unless nobody wrote there since it was last placed. */
static void *place(struct fuzz_array *array, uint32_t size, bool is_used)
{
	uint8_t *start = array->end - size;

	is_used |= start < array->start;
	if (start != array->start)
		guard(array, start);
	array->start = start;
	if (is_used)
		memset(start, 0, size);
	return start;
}

static uint32_t at_least(uint32_t size)
{
	return size > FUZZ_SMALL_MAX ? size : FUZZ_SMALL_MAX;
}

/* All small instances have the same layout. */
static bool is_laid_out(const struct fuzz_subject *subject, const struct fuzz_shape *room)
{
	const struct fuzz_shape *now = &subject->laid_out;

	return now->num_niovs == room->num_niovs && now->rq_entries == room->rq_entries &&
	       now->ptr_ring_size == room->ptr_ring_size;
}

enum { NIOVS, FREELIST, SCRUBBED, EXTENTS, RQES, RINGS };

static void lay_out(struct fuzz_subject *subject, const struct fuzz_shape *room)
{
	struct zcrx_ifq *ifq = &subject->ifq;
	struct zcrx_area *area = &subject->area;
	struct fuzz_array *arrays = subject->arrays;

#ifdef HAS_ASAN
	__asan_unpoison_memory_region(subject->memory, subject->used);
#endif
	subject->laid_out = *room;
	subject->is_spoiled = false;
	subject->used = subject->zone_count = 0;
	memset(ifq, 0, sizeof(*ifq));
	memset(area, 0, sizeof(*area));
	add_zone(subject, WRONG_ZONE_FIRST, 0);
	ifq->shared = carve(subject, WRONG_ZONE_IFQ, 0, sizeof(*ifq->shared));
	area->shared = carve(subject, WRONG_ZONE_AREA, 0, sizeof(*area->shared));
	carve_array(subject, &arrays[NIOVS], WRONG_ZONE_NIOVS, 0,
		    (uint32_t)sizeof(*area->niovs) * room->num_niovs);
	carve_array(subject, &arrays[FREELIST], WRONG_ZONE_FREELIST, 0,
		    (uint32_t)sizeof(*area->freelist) * room->num_niovs);
	carve_array(subject, &arrays[SCRUBBED], WRONG_ZONE_SCRUBBED, 0,
		    (uint32_t)sizeof(*area->scrubbed) * zcrx_account_count(room->num_niovs));
	carve_array(subject, &arrays[EXTENTS], WRONG_ZONE_EXTENTS, 0,
		    (uint32_t)sizeof(*area->extents) * FUZZ_AREAS_MAX);
	ifq->verdict_log = carve(subject, WRONG_ZONE_VERDICT_LOG, 0, JUDGE_LOG);
	ifq->niov_log = carve(subject, WRONG_ZONE_NIOV_LOG, 0,
			      (uint32_t)sizeof(*ifq->niov_log) * JUDGE_LOG);
	ifq->rq.head = carve(subject, WRONG_ZONE_RQ_INDICES, 0, 2 * sizeof(shm_u32));
	ifq->rq.tail = ifq->rq.head + 1;
	carve_array(subject, &arrays[RQES], WRONG_ZONE_RQES, 0,
		    (uint32_t)sizeof(*ifq->rq.rqes) * room->rq_entries);
	subject->flight.shared =
		carve(subject, WRONG_ZONE_FLIGHT, 0,
		      (uint32_t)(sizeof(*subject->flight.shared) +
				 SUBJECT_FLIGHT_ENTRIES * sizeof(struct zcrx_event)));
	subject->zones_of_pools = subject->zone_count;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		pool->shared = carve(subject, WRONG_ZONE_POOL, slot, sizeof(*pool->shared));
		carve_array(subject, &arrays[RINGS + slot], WRONG_ZONE_PTR_RING, slot,
			    (uint32_t)sizeof(*pool->ring) * room->ptr_ring_size);
	}
	subject->zones_of_pools = subject->zone_count - subject->zones_of_pools;
	area->niov_shift = 12;
	area->bytes = NULL; /* nothing is decided by payloads */
	ifq->area = area;
	ifq->log_mask = JUDGE_LOG - 1;
	ifq->trace = &subject->trace;
	subject->flight.mask = SUBJECT_FLIGHT_ENTRIES - 1;
	subject->trace.entries = subject->judgements;
	subject->trace.capacity = JUDGE_SAID_MAX;
	zcrx_ifq_setup(ifq);
	subject->fresh_ifq = *ifq;
	subject->fresh_area = *area;
}

/* Arrays as long as the shape says, and what the last program left is gone. */
static void clear(struct fuzz_subject *subject, const struct fuzz_shape *shape, uint32_t niovs,
		  uint32_t pools)
{
	struct zcrx_ifq *ifq = &subject->ifq;
	struct zcrx_area *area = &subject->area;
	struct fuzz_array *arrays = subject->arrays;

	*ifq = subject->fresh_ifq;
	*area = subject->fresh_area;
	area->num_niovs = niovs;
	area->niovs = place(&arrays[NIOVS], (uint32_t)sizeof(*area->niovs) * niovs, true);
	area->freelist = place(&arrays[FREELIST], (uint32_t)sizeof(*area->freelist) * niovs, true);
	area->scrubbed = place(&arrays[SCRUBBED],
			       (uint32_t)sizeof(*area->scrubbed) * zcrx_account_count(niovs), true);
	ifq->rq.rqes =
		place(&arrays[RQES], (uint32_t)sizeof(*ifq->rq.rqes) * shape->rq_entries, true);
	memset(ifq->shared, 0, sizeof(*ifq->shared));
	memset(area->shared, 0, sizeof(*area->shared));
	memset(subject->flight.shared, 0, sizeof(*subject->flight.shared));
	subject->flight.last_kind = 0;
	/* No verdict: one that the last program left would pass for a missing one, or the other way. */
	memset(ifq->verdict_log, 0xff, JUDGE_LOG);
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &ifq->pools[slot];

		pool->ring = place(&arrays[RINGS + slot],
				   (uint32_t)sizeof(*pool->ring) * shape->ptr_ring_size,
				   slot < pools);
		pool->ring_size = shape->ptr_ring_size;
		if (slot < pools)
			memset(pool->shared, 0, sizeof(*pool->shared));
	}
	subject->zones_in_use = subject->zone_count - subject->zones_of_pools;
}

void subject_format(struct fuzz_subject *subject, const struct fuzz_shape *shape,
		    uint32_t added_max, const struct zcrx_provider_ops *ops, struct judge *judge)
{
	uint32_t niovs = shape->num_niovs + (FUZZ_AREAS_MAX - 1) * added_max;
	const struct fuzz_shape room = {
		.num_niovs = at_least(shape->num_niovs) + (FUZZ_AREAS_MAX - 1) * FUZZ_ADDED_MAX,
		.rq_entries = at_least(shape->rq_entries),
		.ptr_ring_size = at_least(shape->ptr_ring_size),
	};
	struct zcrx_ifq *ifq = &subject->ifq;
	struct fuzz_watch *watch = &subject->watch;

	if (subject->is_spoiled || !is_laid_out(subject, &room))
		lay_out(subject, &room);
	clear(subject, shape, niovs, judge->pools_made);
	ifq->rq.entries = shape->rq_entries;
	ifq->rq.mask = shape->rq_entries - 1;
	ifq->rq.cached_head = shape->initial_index;
	subject->area.contract = shape->contract;
	if (shape->contract.level != ZCRX_LEVEL_SEED) /* it was made as that */
		zcrx_ifq_setup(ifq);
	ifq->has_no_device = shape->has_no_device;
	ifq->is_checked = shape->is_checked;
	ifq->flight = shape->records ? &subject->flight : NULL;
	if (added_max) {
		subject->area.areas_max = FUZZ_AREAS_MAX;
		subject->area.extents =
			place(&subject->arrays[EXTENTS],
			      (uint32_t)sizeof(*subject->area.extents) * FUZZ_AREAS_MAX, true);
	}
	zcrx_area_format(&subject->area);
	if (added_max)
		zcrx_area_add(&subject->area, shape->num_niovs);
	shm_store_relaxed_u32(ifq->rq.head, shape->initial_index, POINT_RQ_HEAD_STORE);
	shm_store_relaxed_u32(ifq->rq.tail, shape->initial_index, POINT_RQ_TAIL_STORE);
	if (ops)
		zcrx_plugin_attach(&subject->plugin, ops, ifq);
	zcrx_ifq_format(ifq);

	watch->ifq = ifq;
	watch->rqes = (const uint8_t *)ifq->rq.rqes;
	watch->rqes_size = (uint32_t)sizeof(*ifq->rq.rqes) * shape->rq_entries;
	watch->judge = judge;
	watch->is_armed = watch->is_noting = false;
}

/* What runs over an array's end begins with its zone's first word: the rest is for the end. */
static bool are_begun(struct fuzz_subject *subject)
{
	uint32_t pools_at = subject->zone_count - subject->zones_of_pools;
	uint32_t difference = 0;

	/* Pools are made in order and their slots reused: those in use are the first ones. */
	while (subject->zones_in_use < subject->zone_count &&
	       zcrx_pp_phase(&subject->ifq.pools[(subject->zones_in_use - pools_at) / 2]) !=
		       ZCRX_POOL_UNUSED)
		subject->zones_in_use += 2;
	for (uint32_t i = 0; i < subject->zones_in_use; i++)
		difference |= subject->zones[i].words[0];
	return difference != 0;
}

/* What differs in as many words as a zone has. */
static inline lanes difference_to(const uint32_t *words, const lanes *wanted)
{
	const lanes *now = (const lanes *)words;
	lanes difference = now[0] ^ wanted[0];

	for (uint32_t i = 1; i < ZONE_LANES; i++)
		difference |= now[i] ^ wanted[i];
	return difference;
}

static inline bool is_zero(lanes which)
{
	return (which[0] | which[1] | which[2] | which[3]) == 0;
}

/* What of an array's room is next to it is looked at like a zone. */
static bool is_room_whole(const struct fuzz_array *array)
{
	size_t left = (size_t)(array->start - array->room);
	size_t size = left < SUBJECT_ZONE_BYTES ? left : SUBJECT_ZONE_BYTES;
	const uint32_t *words = (const uint32_t *)(array->start - size);
	uint32_t difference = 0;

	for (size_t i = 0; i < size / sizeof(*words); i++)
		difference |= words[i] ^ ZONE_WORD;
	return difference == 0;
}

/* Looked at all together first: as a rule nobody wrote into any. */
static bool are_whole(const struct fuzz_subject *subject)
{
	lanes difference = {0};

	for (uint32_t i = 0; i < subject->zone_count; i++)
		difference |= difference_to(subject->zones[i].words, (const lanes *)pattern);
	for (uint32_t i = 0; i < SUBJECT_ARRAYS; i++) {
		const struct fuzz_array *array = &subject->arrays[i];

		if (array->start >= array->room + SUBJECT_ZONE_BYTES)
			difference |=
				difference_to((const uint32_t *)(array->start - SUBJECT_ZONE_BYTES),
					      room_pattern);
		else if (!is_room_whole(array))
			return false;
	}
	return is_zero(difference);
}

enum fuzz_wrong subject_broken_zone(struct fuzz_subject *subject, bool all, uint32_t *slot)
{
#ifdef HAS_ASAN
	/* Nobody wrote there unseen. */
	(void)subject, (void)all, (void)slot, (void)is_room_whole, (void)are_begun;
	(void)are_whole;
#else
	if (!all && !are_begun(subject))
		return WRONG_NOTHING;
	if (are_whole(subject))
		return WRONG_NOTHING;
	for (uint32_t i = 0; i < subject->zone_count; i++) {
		const struct fuzz_zone *zone = &subject->zones[i];

		*slot = zone->slot;
		if (memcmp(zone->words, pattern, sizeof(pattern)) != 0)
			return zone->behind;
	}
	for (uint32_t i = 0; i < SUBJECT_ARRAYS; i++) {
		*slot = subject->arrays[i].slot;
		if (!is_room_whole(&subject->arrays[i]))
			return subject->arrays[i].zone;
	}
#endif
	return WRONG_NOTHING;
}

/* ---- the watch ---------------------------------------------------------------------- */

void subject_enter(struct fuzz_subject *subject)
{
	struct fuzz_watch *watch = &subject->watch;

	watch->read_twice = watch->read_late = false;
	watch->unlocked = WRONG_NOTHING;
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

static void hold_lock(struct fuzz_watch *watch, enum fuzz_wrong what)
{
	if (watch->needs_lock && !watch->unlocked && watch->ifq->shared->rq_lock.word == 0)
		watch->unlocked = what;
}

/* The word that the provider looks at: the host may look at the user's own before. */
static const volatile void *tail_of(const struct zcrx_ifq *ifq)
{
	return ifq->plugin ? (const volatile void *)ifq->plugin->queue.rq_tail :
			     (const volatile void *)ifq->rq.tail;
}

void fuzz_at_tail_load(struct fuzz_watch *watch, const volatile void *word)
{
	if (word == tail_of(watch->ifq))
		hold_lock(watch, WRONG_TAIL_UNLOCKED);
	watch->epoch++;
	watch->has_published = false;
}

void fuzz_at_head_store(struct fuzz_watch *watch, const volatile void *word)
{
	if (word == watch->ifq->rq.head)
		hold_lock(watch, WRONG_HEAD_UNLOCKED);
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

/* What is not the usual case: something is wrong, or the user writes meanwhile. */
static __attribute__((noinline)) void look_closely(struct fuzz_watch *watch, uint64_t offset)
{
	uint32_t slot = (uint32_t)(offset / sizeof(struct io_uring_zcrx_rqe));
	uint32_t *loaded = &watch->loaded[offset / sizeof(uint32_t)];

	hold_lock(watch, WRONG_ENTRY_UNLOCKED);
	/* A refill of 7.3 may begin without a look at the tail. */
	if (watch->has_published && zcrx_contract_goes_by_runs(watch->ifq->area->contract)) {
		watch->has_published = false;
		watch->epoch++;
	}
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

void fuzz_at_rqe_load(struct fuzz_watch *watch, const volatile void *word)
{
	uint64_t offset = (uint64_t)((const volatile uint8_t *)word - watch->rqes);
	uint32_t *loaded = &watch->loaded[offset / sizeof(uint32_t)];

	if (offset >= watch->rqes_size)
		return; /* not a word of the ring: what is read there is found out elsewhere */
	/* All at once: a branch for each would take longer than all of them do. */
	if ((uint32_t)(*loaded == watch->epoch) | watch->has_published | watch->is_noting |
	    (watch->ifq->shared->rq_lock.word == 0))
		look_closely(watch, offset);
	else
		*loaded = watch->epoch;
}
