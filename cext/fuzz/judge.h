/* SPDX-License-Identifier: MIT */
/*
 * The contract once more, as one who checks reads it: what each operation must
 * answer, what each RQE must earn, and what the whole state must be afterwards.
 *
 * Small and obvious, alone, and without a line of the provider's: of the project
 * it knows the wire format and the contract's value only, and has its own meaning for
 * that. Its numbers for verdicts and phases are the contract's; compare.c holds them
 * against the core's. Nothing here is shared memory.
 */
#ifndef ZCRX_FUZZ_JUDGE_H
#define ZCRX_FUZZ_JUDGE_H

#include "program.h"

#define JUDGE_POOLS 8U
#define JUDGE_BATCH 64U /* what the alloc cache is filled up to */
#define JUDGE_LOOK 256U /* entries by one look at the tail; 7.3 */
#define JUDGE_LOG 64U /* verdicts that wait to be looked at, at most */
#define JUDGE_SAID_MAX (FUZZ_RQ_ENTRIES_MAX + 512U) /* entries judged in one operation */

enum judge_verdict {
	JUDGE_ACCEPTED,
	JUDGE_STILL_REFERENCED,
	JUDGE_OTHER_POOL,
	JUDGE_BAD_PAD,
	JUDGE_BAD_AREA,
	JUDGE_BAD_INDEX,
	JUDGE_NO_USER_REF,
	JUDGE_VERDICTS,
};

enum judge_phase { JUDGE_UNUSED, JUDGE_CURRENT, JUDGE_DYING };

/* What is known of a buffer, laid out as the core has it so that all are compared at once. */
struct judge_niov {
	uint32_t user_refs;
	uint32_t pp_refs;
	uint32_t pool; /* slot + 1, 0 = none */
	uint32_t reserved;
};

struct judge_pool {
	enum judge_phase phase;
	uint32_t cache[JUDGE_BATCH]; /* a stack */
	uint32_t cache_count;
	uint32_t ring[FUZZ_PTR_RING_MAX]; /* a queue: [first, first + ring_count) */
	uint32_t ring_first, ring_count;
	uint32_t bound;
	uint32_t refusals;
};

/* What one entry must earn. */
struct judge_said {
	uint32_t index;
	uint32_t niov;
	uint8_t verdict;
	uint8_t alias;
	bool waits; /* for the end of its run; 7.3 */
};

/* A load of the ring that the provider made while the user was writing: what it saw. */
struct judge_seen {
	uint32_t slot;
	uint32_t byte; /* of the entry, where the load began */
	struct io_uring_zcrx_rqe rqe; /* as it stood at that moment */
};

struct judge_area {
	uint32_t first; /* its buffers are numbered from here on, behind those of the one before */
	uint32_t size;
	uint32_t free_count; /* of the freelist, from `first` on: a stack */
};

struct judge {
	struct fuzz_shape shape;
	/* The ring: the user's words, and the provider's own head. */
	struct io_uring_zcrx_rqe rqes[FUZZ_RQ_ENTRIES_MAX];
	uint32_t head, tail, cached_head;
	uint32_t claimed; /* of a tail that was read before: entries not taken yet; 7.3 */
	bool is_detached;
	/* The areas. */
	struct judge_area areas[FUZZ_AREAS_MAX];
	uint32_t area_count;
	uint32_t num_niovs; /* of all */
	struct judge_niov niovs[FUZZ_ALL_NIOVS_MAX];
	uint32_t stack_refs[FUZZ_ALL_NIOVS_MAX]; /* those of pp_refs that NIC and stack hold */
	uint64_t stack_held, user_held; /* references of all buffers together */
	uint32_t freelist[FUZZ_ALL_NIOVS_MAX];
	uint32_t hidden;
	/* The pools. */
	struct judge_pool pools[JUDGE_POOLS];
	uint32_t current; /* slot + 1, 0 = none */
	uint32_t pools_made; /* slots that ever had one: the first ones */
	uint32_t lingering; /* bit s: a restart left pool s dying; the delayed worker's list */
	uint32_t instance_refs;
	/* What has been counted. */
	uint64_t verdicts[JUDGE_VERDICTS];
	uint64_t aliases, alloc_failures, destroy_warnings;
	uint64_t consumed, checked;
	/* Of this operation: see judge_begin(). */
	struct judge_said said[JUDGE_SAID_MAX];
	uint32_t said_count;
	const struct judge_seen *seen; /* what was read, in order; else the ring stood still */
	uint32_t seen_count, seen_at;
};

void judge_reset(struct judge *judge, const struct fuzz_shape *shape);

/* Before each operation: nothing is said or seen yet. */
void judge_begin(struct judge *judge);

/* Each answers what the operation of that name must answer. */
int64_t judge_alloc(struct judge *judge);
void judge_deliver(struct judge *judge, uint32_t niov, uint32_t fragments);
void judge_drop(struct judge *judge, uint32_t niov);
int64_t judge_copy(struct judge *judge);
uint64_t judge_scrub(struct judge *judge, uint64_t *buffers); /* how many came home by it */
uint32_t judge_refill(struct judge *judge); /* whatever the cache holds */
uint32_t judge_available(const struct judge *judge);
uint32_t judge_flush(struct judge *judge); /* the provider's own, or from 7.1 on its user's */
void judge_attach(struct judge *judge); /* a new user: its ring is empty */
int64_t judge_add_area(struct judge *judge, uint32_t num_niovs);
uint64_t judge_offset(const struct judge *judge, uint32_t niov); /* what an entry says of it */
int64_t judge_restart(struct judge *judge);
int64_t judge_destroy(struct judge *judge);
bool judge_retry(struct judge *judge, uint32_t slot); /* a dying one; is it gone? */
void judge_retry_all(struct judge *judge); /* the delayed worker */

#endif /* ZCRX_FUZZ_JUDGE_H */
