/* SPDX-License-Identifier: MIT */
/*
 * The area: num_niovs buffers, and the kernel-side bookkeeping of each.
 *
 * A buffer has a user reference count (fragments the user holds), a page-pool
 * reference count (everyone who holds it), and the page pool it is bound to.
 * Free buffers lie on the freelist, a stack under one lock. All of it is
 * shared by provider, NIC and control process; the user maps none of it.
 *
 * From 7.3 on an instance may have several areas. Their buffers are numbered through,
 * area by area, so that a number says all: whoever keeps buffers (alloc cache, rings,
 * logs) need not know of areas. Only what the user reads and writes goes by area and
 * index in it, and each area has a freelist of its own.
 */
#ifndef ZCRX_AREA_H
#define ZCRX_AREA_H

#include <assert.h>

#include "contract.h"
#include "wire/abi.h"
#include "wire/lock.h"
#include "wire/shm.h"

/*
 * User references are accounted for by buffer. Of areas that have more buffers
 * than that, those whose numbers end alike share an account: what holds for each
 * holds for their sum.
 */
#define ZCRX_ACCOUNTS 32768U

static inline uint32_t zcrx_account_of(uint32_t niov)
{
	return niov & (ZCRX_ACCOUNTS - 1);
}

static inline uint32_t zcrx_account_count(uint32_t num_niovs)
{
	return num_niovs < ZCRX_ACCOUNTS ? num_niovs : ZCRX_ACCOUNTS;
}

#define ZCRX_NO_POOL 0U /* value of zcrx_niov.pool; pool slot s is stored as s + 1 */

struct zcrx_area_shared {
	_Alignas(SHM_CACHE_LINE) struct zcrx_lock freelist_lock;
	shm_u32 free_count; /* with extents: see there */
	shm_u32 area_count; /* with extents: so many of them are areas */
	shm_u64 freelist_overflows; /* pushes beyond num_niovs: a finding, always */
	shm_u64 ref_underflows; /* page-pool references dropped that nobody held: a finding */
};

/*
 * What is known of one buffer. NIC and provider touch all of it together and
 * from different cores: one cache line has to travel, not three.
 */
struct zcrx_niov {
	shm_u32 user_refs; /* fragments that the user holds */
	shm_u32 pp_refs; /* page-pool references: 0 only before the first use, then at least 1 */
	shm_u32 pool; /* ZCRX_NO_POOL or slot + 1 */
	shm_u32 delivered; /* user references ever given, modulo 2^32; the NIC's word */
};

/* One of several areas: its buffers are `first` .. `first + num_niovs - 1`. */
struct zcrx_extent {
	shm_u32 first;
	shm_u32 num_niovs;
	shm_u32 free_count; /* of its part of the freelist, which begins at `first` */
};

struct zcrx_area {
	struct zcrx_area_shared *shared;
	struct zcrx_niov *niovs; /* [num_niovs] */
	shm_u32 *freelist; /* [num_niovs] */
	struct zcrx_extent *extents; /* [areas_max], by area id; NULL: there is one area */
	/*
	 * [zcrx_account_count()]: user references ever scrubbed, modulo 2^32. Whoever
	 * scrubs writes it, and a scrub is over before the next begins. NULL: not counted.
	 */
	shm_u32 *scrubbed;
	const shm_u32 *aborted; /* the run's word, or NULL: see lock.h */
	uint8_t *bytes; /* the buffers themselves; NULL in a process that does not map them */
	uint32_t num_niovs; /* with extents: as many as there is room for */
	uint32_t areas_max; /* with extents */
	uint32_t niov_shift;
	struct zcrx_contract contract; /* here, where all of the kernel side finds it */
};

/*
 * Fill the freelist 0 .. num_niovs - 1 and clear all counts; with extents there is no area
 * yet. Before anyone else attaches.
 */
void zcrx_area_format(struct zcrx_area *area);

/*
 * One area more, behind the others. Its id; -EINVAL for one that is empty or beyond 48 bits, and
 * when there are as many areas as there may be; -ENOMEM when there is no room for the buffers; -EOWNERDEAD
 * when the run was aborted. The caller keeps others from adding one, and the refill ring from
 * being judged meanwhile.
 */
int zcrx_area_add(struct zcrx_area *area, uint32_t num_niovs);

/*
 * Pop up to `max` buffers into `niovs`, top first, of one area after the other; how many
 * there were.
 */
uint32_t zcrx_area_pop_free(struct zcrx_area *area, uint32_t *niovs, uint32_t max);

/*
 * Push one buffer. 0, -EOVERFLOW when all buffers of its area are on the list already (a
 * double free: counted, not pushed), or -EOWNERDEAD when the run was aborted.
 */
int zcrx_area_push_free(struct zcrx_area *area, uint32_t niov);

uint32_t zcrx_area_free_count(const struct zcrx_area *area);

/*
 * The free buffers, up to `max`, such that the last one is popped next; exact only while
 * nobody pops or pushes.
 */
uint32_t zcrx_area_free_snapshot(const struct zcrx_area *area, uint32_t *niovs, uint32_t max);

/*
 * How many areas there are. Ordering: the acquire pairs with the release in zcrx_area_add():
 * an area that is counted has its extent, whoever asks, and under whatever lock.
 */
static inline uint32_t zcrx_area_count(const struct zcrx_area *area)
{
	return area->extents ? shm_load_acquire_u32(&area->shared->area_count, POINT_AREA_COUNT) :
			       1;
}

/* The buffers of one of them. */
static inline uint32_t zcrx_area_size(const struct zcrx_area *area, uint32_t id)
{
	return area->extents ?
		       shm_load_relaxed_u32(&area->extents[id].num_niovs, POINT_AREA_EXTENT) :
		       area->num_niovs;
}

/* Those of all. */
uint32_t zcrx_area_niovs(const struct zcrx_area *area);

/* In which area a buffer is. */
uint32_t zcrx_area_id(const struct zcrx_area *area, uint32_t niov);

/* What an RQE says that returns this buffer, a CQE that delivers its first byte. */
uint64_t zcrx_area_offset(const struct zcrx_area *area, uint32_t niov);

static inline uint8_t *zcrx_area_niov(const struct zcrx_area *area, uint32_t niov)
{
	return area->bytes + ((uint64_t)niov << area->niov_shift);
}

/*
 * Give the user `count` references. Only the NIC calls this, so a count that
 * reads 0 stays 0 until we write: the others only ever take away from more
 * than 0, and a plain store loses nothing. Anything else needs the addition.
 *
 * Ordering: the release pairs with the acquire of zcrx_user_ref_take() and
 * zcrx_user_ref_take_all(): the page-pool references that stand behind these
 * (zcrx_pp_ref_get(), called before) are visible to whoever takes them back.
 */
static inline void zcrx_user_ref_give(struct zcrx_area *area, uint32_t niov, uint32_t count)
{
	shm_u32 *refs = &area->niovs[niov].user_refs;

	if (shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD) == 0)
		shm_store_release_u32(refs, count, POINT_USER_REF_STORE);
	else
		shm_fetch_add_u32(refs, count, POINT_USER_REF_ADD);
}

/*
 * Take up to `max` user references back; how many there were to take.
 *
 * Tested and changed in one step: a scrub exchanges the counter with 0 at any
 * time and without the rq lock. Reading first and decrementing later would
 * return the same buffer twice (CVE-2026-43121).
 *
 * Ordering: pairs with the release in zcrx_user_ref_give().
 */
static inline uint32_t zcrx_user_ref_take(struct zcrx_area *area, uint32_t niov, uint32_t max)
{
	shm_u32 *refs = &area->niovs[niov].user_refs;
	uint32_t now = shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD);
	uint32_t count;

	do {
		count = now < max ? now : max;
		if (count == 0)
			return 0;
	} while (!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS));
	return count;
}

/*
 * Take `count` user references back, or none if there are fewer.
 *
 * Ordering: pairs with the release in zcrx_user_ref_give().
 */
static inline bool zcrx_user_ref_take_run(struct zcrx_area *area, uint32_t niov, uint32_t count)
{
	shm_u32 *refs = &area->niovs[niov].user_refs;
	uint32_t now = shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD);

	do {
		if (now < count)
			return false;
	} while (!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS));
	return true;
}

/* Scrub: take all of them. Ordering: pairs with zcrx_user_ref_give(). */
static inline uint32_t zcrx_user_ref_take_all(struct zcrx_area *area, uint32_t niov)
{
	shm_u32 *refs = &area->niovs[niov].user_refs;

	if (shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD) == 0)
		return 0;
	return shm_xchg_u32(refs, 0, POINT_USER_REF_XCHG);
}

/* A scrub took so many references of a buffer. */
static inline void zcrx_area_note_scrubbed(struct zcrx_area *area, uint32_t niov, uint32_t refs)
{
	if (area->scrubbed)
		shm_tally(&area->scrubbed[zcrx_account_of(niov)], refs);
}

/* A buffer gets its (only) first reference: it was bound or taken for a copy. */
static inline void zcrx_pp_ref_init(struct zcrx_area *area, uint32_t niov)
{
	shm_store_relaxed_u32(&area->niovs[niov].pp_refs, 1, POINT_PP_REF_STORE);
}

/* The caller holds one reference already; nothing needs to be ordered. */
static inline void zcrx_pp_ref_get(struct zcrx_area *area, uint32_t niov, uint32_t count)
{
	shm_add_relaxed_u32(&area->niovs[niov].pp_refs, count, POINT_PP_REF_ADD);
}

/*
 * Drop `count` page-pool references; true if they were the last. The count is
 * then left at 1, ready for the next owner.
 *
 * If all that is left is ours, nobody else can be at it, and two plain
 * accesses do. Ordering: the acquire (and that of the subtraction) pairs with
 * the release of the others' subtractions in zcrx_pp_ref_put(): their use of the
 * buffer is over.
 */
static inline bool zcrx_pp_ref_put(struct zcrx_area *area, uint32_t niov, uint32_t count)
{
	shm_u32 *refs = &area->niovs[niov].pp_refs;
	uint32_t before;

	if (shm_load_acquire_u32(refs, POINT_PP_REF_LOAD) == count) {
		if (count != 1)
			shm_store_relaxed_u32(refs, 1, POINT_PP_REF_STORE);
		return true;
	}
	before = shm_fetch_sub_u32(refs, count, POINT_PP_REF_SUB);
	if (before < count) {
		shm_add_relaxed_u64(&area->shared->ref_underflows, 1, POINT_COUNTER);
		shm_add_relaxed_u32(refs, count, POINT_PP_REF_ADD);
		return false;
	}
	if (before != count)
		return false;
	shm_store_relaxed_u32(refs, 1, POINT_PP_REF_STORE);
	return true;
}

#endif /* ZCRX_AREA_H */
