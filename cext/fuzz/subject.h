/* SPDX-License-Identifier: MIT */
/*
 * The instance under attack: the real ifq, page pools and area on memory of the
 * fuzzer's, with red zones around every array, and a watch on how the ring is read.
 */
#ifndef ZCRX_FUZZ_SUBJECT_H
#define ZCRX_FUZZ_SUBJECT_H

#include "kernel/plugin.h"
#include "finding.h"
#include "judge.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

#define SUBJECT_ZONES_MAX 32U
#define SUBJECT_ZONE_BYTES 64U
#define SUBJECT_BYTES (1U << 22)
#define SUBJECT_ARRAYS (5U + ZCRX_POOLS_MAX)
#define SUBJECT_SEEN_MAX 2048U
#define SUBJECT_FLIGHT_ENTRIES 16U

struct fuzz_zone {
	uint32_t *words; /* SUBJECT_ZONE_BYTES of them, filled with a pattern */
	enum fuzz_wrong behind; /* which array stands before it */
	uint32_t slot; /* of whose pool */
};

/*
 * An array as long as the shape says: it ends where its zone begins, and what of its room is
 * left before it belongs to nobody.
 */
struct fuzz_array {
	enum fuzz_wrong zone;
	uint32_t slot;
	uint8_t *room, *start, *end;
};

/* How the provider reads the ring in one operation, and what the user does meanwhile. */
struct fuzz_watch {
	const uint8_t *rqes; /* of the subject */
	uint32_t rqes_size;
	uint32_t epoch; /* one refill each */
	uint32_t loaded[FUZZ_RQ_ENTRIES_MAX * 4U]; /* by u32: the epoch in which it was loaded */
	bool has_published; /* in this refill */
	bool read_twice, read_late; /* in this operation */
	uint32_t offence_slot;
	/* Whoever takes entries holds the ring's lock, from the load of tail to the store of head. */
	const struct zcrx_ifq *ifq;
	bool needs_lock; /* the operation is one that takes entries */
	enum fuzz_wrong unlocked; /* what was done without it, or WRONG_NOTHING */
	/* A rewrite that waits for its load. */
	bool is_armed;
	uint32_t loads_left;
	uint32_t slots_ahead;
	struct io_uring_zcrx_rqe rewrite;
	struct judge *judge; /* whose ring follows */
	struct judge_seen seen[SUBJECT_SEEN_MAX];
	uint32_t seen_count;
	bool is_noting; /* what was seen is noted: a rewrite was armed when the operation began */
};

struct fuzz_subject {
	struct zcrx_ifq ifq;
	struct zcrx_area area;
	struct zcrx_ifq fresh_ifq; /* as they are before they have a shape */
	struct zcrx_area fresh_area;
	struct zcrx_flight flight;
	struct zcrx_plugin plugin;
	struct zcrx_trace trace;
	struct zcrx_judgement judgements[JUDGE_SAID_MAX];
	struct fuzz_watch watch;
	struct fuzz_zone zones[SUBJECT_ZONES_MAX];
	uint32_t zone_count, zones_of_pools; /* the latter are the last ones, two a pool */
	uint32_t zones_in_use; /* those before are looked at after each operation */
	struct fuzz_array arrays[SUBJECT_ARRAYS];
	uint32_t used;
	struct fuzz_shape laid_out; /* with room for these sizes; none: for nothing yet */
	bool is_spoiled; /* something was found: nobody knows what else was written */
	_Alignas(SHM_CACHE_LINE) uint8_t memory[SUBJECT_BYTES];
};

/*
 * A fresh instance. Areas of up to `added_max` buffers may be added; 0: it has one area. `ops` is
 * NULL for our own provider.
 */
void subject_format(struct fuzz_subject *subject, const struct fuzz_shape *shape,
		    uint32_t added_max, const struct zcrx_provider_ops *ops, struct judge *judge);

/*
 * The zone behind an array in which somebody wrote, and of which pool, or WRONG_NOTHING. Looked
 * at are `all` zones and all of them, or the beginnings of those that can have been in use.
 */
enum fuzz_wrong subject_broken_zone(struct fuzz_subject *subject, bool all, uint32_t *slot);

/* Around each operation of the subject. */
void subject_enter(struct fuzz_subject *subject);
void subject_leave(struct fuzz_subject *subject);

static inline struct zcrx_page_pool *subject_pool(struct fuzz_subject *subject)
{
	return zcrx_ifq_pool(&subject->ifq);
}

#endif /* ZCRX_FUZZ_SUBJECT_H */
