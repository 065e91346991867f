/* SPDX-License-Identifier: MIT */
/*
 * Reconciliation: what the consumer meant by each RQE (intent log) against what
 * the provider said of it (verdict log), entry by entry, while the run goes on.
 * The control process does it; the consumer may not run further ahead than the
 * logs are long.
 */
#ifndef ZCRX_RECONCILE_H
#define ZCRX_RECONCILE_H

#include "layout.h"

#define ZCRX_MISMATCHES_MAX 64U

struct zcrx_mismatch {
	uint64_t position; /* RQEs before this one since the run began */
	uint32_t index; /* its ring index */
	uint16_t intent; /* rule and legal verdicts: see ZCRX_INTENT() */
	uint16_t verdict; /* log byte: verdict, alias bit */
};

struct zcrx_reconciler {
	uint64_t checked;
	/* From .. until, a valid entry may find its reference scrubbed. */
	uint64_t scrubbed_from, scrubbed_until;
	uint64_t mismatch_count;
	uint64_t after_scrub; /* valid entries that came too late, legally */
	uint64_t aliases;
	uint64_t lost; /* entries whose log bytes were overwritten before they were looked at */
	uint64_t table[ZCRX_RULES_MAX + 1][8]; /* [0 = valid, r + 1 = rule r][verdict] */
	uint64_t wrong[ZCRX_RULES_MAX + 1]; /* mismatches, by the same */
	struct zcrx_mismatch mismatches[ZCRX_MISMATCHES_MAX];
};

/* Compare all that was consumed since the last call; how many entries that were. */
uint64_t zcrx_reconcile(struct zcrx_reconciler *reconciler, struct zcrx_queue *queue);

#endif /* ZCRX_RECONCILE_H */
