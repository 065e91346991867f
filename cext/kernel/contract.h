/* SPDX-License-Identifier: MIT */
/*
 * The contract: which kernel's provider is played, and where it deviates from that
 * on purpose. One value, a part of each queue's shape, so that whoever acts by it
 * and whoever judges by it have the same one.
 *
 * The value is everybody's. What a level means is said in these rows for the core
 * alone: whoever is there to find its mistakes says it in words of his own.
 */
#ifndef ZCRX_CONTRACT_H
#define ZCRX_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Oldest first: "from that level on" is a comparison. */
enum zcrx_kernel_level {
	ZCRX_LEVEL_SEED, /* the first version of Linux (6.15), with its known bugs fixed */
	ZCRX_LEVEL_6_15,
	ZCRX_LEVEL_6_18,
	ZCRX_LEVEL_7_1,
	ZCRX_LEVEL_7_2,
	ZCRX_LEVEL_7_3,
	ZCRX_LEVELS,
};

/* Deviations. */
#define ZCRX_CONTRACT_STRICT_ALIAS 1U /* reject an index whose upper bits would vanish */
#define ZCRX_CONTRACT_REFS_CACHE 2U /* experimental, of the newest level: see handoff.h */

struct zcrx_contract {
	uint32_t level; /* enum zcrx_kernel_level */
	uint32_t deviations; /* a set of the above */
};

#define ZCRX_AREAS_MAX 1024U /* of an instance */

/* How the provider empties the refill ring. */
enum zcrx_refill_kind {
	ZCRX_REFILL_TOPS_UP, /* as much as the alloc cache has room for under 64 */
	ZCRX_REFILL_OF_EMPTY, /* 64; a cache that is not empty is the caller's mistake: nothing */
	ZCRX_REFILL_BY_RUNS, /* the same for up to 64 buffers: see refill_by_runs() */
};

/* What of a level the core has as data. */
struct zcrx_level {
	const char *name;
	uint32_t refill; /* enum zcrx_refill_kind */
	uint32_t tail_at, rqes_at; /* from the ring's head, in bytes; 0: as this project likes it */
	bool checks_destroy; /* a pool that goes wants every buffer of the area to be home */
	bool has_flush; /* the user may have the refill ring judged: FLUSH_RQ */
	bool has_areas; /* the user may add areas: ADD_AREA */
};

/* NULL if there is no such level. */
static inline const struct zcrx_level *zcrx_level_of(uint32_t level)
{
	static const struct zcrx_level rows[ZCRX_LEVELS] = {
		[ZCRX_LEVEL_SEED] = {.name = "seed", .checks_destroy = true},
		[ZCRX_LEVEL_6_15] = {.name = "6.15",
				     .tail_at = 4,
				     .rqes_at = 8,
				     .checks_destroy = true},
		[ZCRX_LEVEL_6_18] = {.name = "6.18", .tail_at = 4, .rqes_at = 64},
		[ZCRX_LEVEL_7_1] = {.name = "7.1",
				    .refill = ZCRX_REFILL_OF_EMPTY,
				    .tail_at = 4,
				    .rqes_at = 64,
				    .has_flush = true},
		[ZCRX_LEVEL_7_2] = {.name = "7.2",
				    .refill = ZCRX_REFILL_OF_EMPTY,
				    .tail_at = 4,
				    .rqes_at = 64,
				    .has_flush = true},
		[ZCRX_LEVEL_7_3] = {.name = "7.3",
				    .refill = ZCRX_REFILL_BY_RUNS,
				    .tail_at = 64,
				    .rqes_at = 128,
				    .has_flush = true,
				    .has_areas = true},
	};

	return level < ZCRX_LEVELS ? &rows[level] : NULL;
}

/* Are user references handed over, and cached where the refill is? */
static inline bool zcrx_contract_hands_over(struct zcrx_contract contract)
{
	return (contract.deviations & ZCRX_CONTRACT_REFS_CACHE) != 0;
}

static inline bool zcrx_contract_is_possible(struct zcrx_contract contract)
{
	const uint32_t known = ZCRX_CONTRACT_STRICT_ALIAS | ZCRX_CONTRACT_REFS_CACHE;

	return zcrx_level_of(contract.level) && (contract.deviations & ~known) == 0 &&
	       (!zcrx_contract_hands_over(contract) || contract.level == ZCRX_LEVEL_7_3);
}

/*
 * Are entries in a row that name the same buffer taken together, all or none? Where a fault
 * stands beside a good return, that one goes the same way.
 */
static inline bool zcrx_contract_goes_by_runs(struct zcrx_contract contract)
{
	return contract.level >= ZCRX_LEVEL_7_3;
}

/* About aliases. */
static inline bool zcrx_contract_is_strict(struct zcrx_contract contract)
{
	return (contract.deviations & ZCRX_CONTRACT_STRICT_ALIAS) != 0;
}

#endif /* ZCRX_CONTRACT_H */
