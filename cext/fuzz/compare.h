/* SPDX-License-Identifier: MIT */
/*
 * One operation's two sides, and whether they agree. Each comparison is true if they
 * do; else the runner has the finding.
 */
#ifndef ZCRX_FUZZ_COMPARE_H
#define ZCRX_FUZZ_COMPARE_H

#include "run.h"

/* The two sides of one queue. */
struct execution {
	struct fuzz_runner *runner;
	struct fuzz_subject *subject;
	struct judge *judge;
	const struct fuzz_op *op;
	uint32_t returns_left; /* of this operation, whatever many buffers have whatever many */
};

/* False, so that a comparison can end with it. */
bool bout_found(struct execution *execution, enum fuzz_wrong what, uint32_t which);
bool bout_same(struct execution *execution, enum fuzz_wrong what, uint32_t which, uint64_t expected,
	       uint64_t actual);

/* What the entries of this operation earned, and how they were read. */
bool compare_verdicts(struct execution *execution);

/* Everything there is; at the end of a program idle pools' rings and zones to their last word, too. */
bool compare_state(struct execution *execution, bool at_end);

/* Every single number there is. */
bool compare_scalars(struct execution *execution);

/* Whether all locks are free: the next operation would wait for one that was kept, for ever. */
bool compare_locks(struct execution *execution);

#endif /* ZCRX_FUZZ_COMPARE_H */
