/* SPDX-License-Identifier: MIT */
/*
 * The journal: which rule of a plan fired at which ordinal. Each actor of a
 * queue has one, in an object that it maps anyway; the control process reads
 * them all when the run is over. Written only when a rule fires.
 */
#ifndef ZCRX_JOURNAL_H
#define ZCRX_JOURNAL_H

#include "shm.h"

#include <assert.h>

#define ZCRX_JOURNAL_MAX 16384U /* firings that are noted; later ones are only counted */
#define ZCRX_JOURNAL_RULE_SHIFT 56U

/* Who writes one. */
enum zcrx_journal_actor {
	ZCRX_JOURNAL_CONSUMER = 0,
	ZCRX_JOURNAL_NIC = 1,
	ZCRX_JOURNAL_PROVIDER = 2,
	ZCRX_JOURNAL_ACTORS = 3,
};

/* One writer at a time: a consumer's successor goes on where it was killed. */
struct zcrx_journal {
	shm_u64 count; /* firings, those that found no room included */
	shm_u64 missing_from; /* ordinal of the first that found none */
	shm_u64 entries[ZCRX_JOURNAL_MAX]; /* rule << 56 | ordinal */
};

static inline void zcrx_journal_note(struct zcrx_journal *journal, uint32_t rule, uint64_t ordinal)
{
	/* Relaxed: our own word, or that of a writer whose death was seen before we were made. */
	uint64_t count = shm_load_relaxed_u64(&journal->count, POINT_LOG);

	assert(rule < UINT8_MAX);
	if (count < ZCRX_JOURNAL_MAX)
		shm_store_relaxed_u64(&journal->entries[count],
				      (uint64_t)rule << ZCRX_JOURNAL_RULE_SHIFT | ordinal,
				      POINT_LOG);
	else if (count == ZCRX_JOURNAL_MAX)
		shm_store_relaxed_u64(&journal->missing_from, ordinal, POINT_LOG);
	/* Pairs with the acquire in zcrx_journal_read(): the entry is there. */
	shm_store_release_u64(&journal->count, count + 1, POINT_LOG);
}

#endif /* ZCRX_JOURNAL_H */
