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
	ZCRX_LEVELS,
};

/* Deviations. */
#define ZCRX_CONTRACT_STRICT_ALIAS 1U /* reject an index whose upper bits would vanish */

struct zcrx_contract {
	uint32_t level; /* enum zcrx_kernel_level */
	uint32_t deviations; /* a set of the above */
};

/* What of a level the core has as data. */
struct zcrx_level {
	const char *name;
};

/* NULL if there is no such level. */
static inline const struct zcrx_level *zcrx_level_of(uint32_t level)
{
	static const struct zcrx_level rows[ZCRX_LEVELS] = {
		[ZCRX_LEVEL_SEED] = {.name = "seed"},
	};

	return level < ZCRX_LEVELS ? &rows[level] : NULL;
}

static inline bool zcrx_contract_is_possible(struct zcrx_contract contract)
{
	return zcrx_level_of(contract.level) &&
	       (contract.deviations & ~ZCRX_CONTRACT_STRICT_ALIAS) == 0;
}

/* About aliases. */
static inline bool zcrx_contract_is_strict(struct zcrx_contract contract)
{
	return (contract.deviations & ZCRX_CONTRACT_STRICT_ALIAS) != 0;
}

#endif /* ZCRX_CONTRACT_H */
