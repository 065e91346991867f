/* SPDX-License-Identifier: MIT */
/* What lies at a shared offset, in names and numbers: emu/race/sentences.py has the words. */
#ifndef ZCRX_SIM_WORDS_H
#define ZCRX_SIM_WORDS_H

#include "world.h"

/* X(NAME, NUMBERS): how many numbers belong to it. */
#define WORDS(X)               \
	X(NONE, 0)             \
	X(OFFSET, 1)           \
	X(RQ_HEAD, 0)          \
	X(RQ_TAIL, 0)          \
	X(CQ_HEAD, 0)          \
	X(CQ_TAIL, 0)          \
	X(NIOV_USER_REFS, 1)   \
	X(NIOV_PP_REFS, 1)     \
	X(NIOV_POOL, 1)        \
	X(NIOV_DELIVERED, 1)   \
	X(FREE_COUNT, 0)       \
	X(FREELIST_LOCK, 0)    \
	X(RQ_LOCK, 0)          \
	X(CURRENT_POOL, 0)     \
	X(CONSUMED, 0)         \
	X(GRANT_INDICES, 0)    \
	X(NIC_COUNTERS, 0)     \
	X(IFQ_COUNTERS, 0)     \
	X(USER_COUNTERS, 0)    \
	X(FLOW, 0)             \
	X(PROVIDER_BELL, 0)    \
	X(NIC_BELL, 0)         \
	X(USER_BELL, 0)        \
	X(PTR_RING_SLOT, 2)    \
	X(POOL_PHASE, 1)       \
	X(POOL_CACHE_COUNT, 1) \
	X(POOL_HOLD_COUNT, 1)  \
	X(POOL_RING_HEAD, 1)   \
	X(POOL_CACHE, 1)       \
	X(POOL_LOCK, 1)        \
	X(POOL_RING_TAIL, 1)   \
	X(POOL_REFUSALS, 1)    \
	X(POOL_RELEASES, 1)    \
	X(POOL_COUNTERS, 1)    \
	X(HANDOFF_INDICES, 0)  \
	X(HANDOFF_COUNT, 1)

/* X(NAME): of several alike: its index, unless there is one alone; and 1 if not at its beginning. */
#define WORDS_ENTRIES(X) \
	X(RQE)           \
	X(CQE)           \
	X(FREELIST)      \
	X(GRANT_SLOT)    \
	X(LEDGER)        \
	X(HANDOFF_SLOT)

enum words_name {
#define WORDS_ENUM(name, numbers) WORD_##name,
	WORDS(WORDS_ENUM)
#undef WORDS_ENUM
#define WORDS_ENUM(name) WORD_##name,
		WORDS_ENTRIES(WORDS_ENUM)
#undef WORDS_ENUM
};

struct words_word {
	enum words_name name;
	uint32_t numbers[2], count;
};

/* UINT32_MAX: of no word. */
struct words_word words_at(const struct world *world, uint32_t offset);
/* As a value of a record: NAME N N. */
void words_print(FILE *to, struct words_word word);

#endif /* ZCRX_SIM_WORDS_H */
