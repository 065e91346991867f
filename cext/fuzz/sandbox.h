/* SPDX-License-Identifier: MIT */
/*
 * A program in a process of its own, for what may crash or never end; and the
 * search for the shortest program that still does the same.
 */
#ifndef ZCRX_FUZZ_TRIAL_H
#define ZCRX_FUZZ_TRIAL_H

#include "run.h"

enum fuzz_outcome { FUZZ_CLEAN, FUZZ_FOUND, FUZZ_CRASHED, FUZZ_HUNG };

/* How a child ended that did not come to its end. */
struct fuzz_end {
	uint32_t step; /* the operation that was being done */
	int signal; /* that killed it, or 0 */
	int code; /* with which it ended itself */
	char sanitizer[32]; /* what AddressSanitizer calls it, if it did */
};

struct fuzz_trial {
	enum fuzz_outcome outcome;
	struct fuzz_finding finding; /* FUZZ_FOUND */
	struct fuzz_end end; /* FUZZ_CRASHED and FUZZ_HUNG */
};

/* The operation after which it showed, or in which it ended. */
uint32_t fuzz_trial_step(const struct fuzz_trial *trial);

struct fuzz_sandbox; /* where trials are held */

/* NULL without memory. What the child prints goes to quiet_fd, or nowhere if that is -1. */
struct fuzz_sandbox *fuzz_sandbox_open(const struct zcrx_provider_ops *ops, uint32_t timeout_s,
				       int quiet_fd);
void fuzz_sandbox_close(struct fuzz_sandbox *sandbox);

/*
 * Programs that each trial runs first, in the same process; theirs to change while a
 * search goes on. They stay the caller's.
 */
void fuzz_sandbox_begin_with(struct fuzz_sandbox *sandbox, struct fuzz_program *before,
			     uint32_t count);
/* How many are left of them. */
uint32_t fuzz_sandbox_before(const struct fuzz_sandbox *sandbox);

/* Run it in a child. `after` is called there, after each operation, if not NULL. */
void fuzz_try(struct fuzz_sandbox *sandbox, const struct fuzz_program *program,
	      void (*after)(struct fuzz_runner *runner, const struct fuzz_program *program,
			    uint32_t step),
	      struct fuzz_trial *trial);

/*
 * Make the program as short and its numbers as plain as it can be with the same mistake
 * to show, in at most `trials_max` trials; how many there were. So are those that
 * run before it, and as few of them are left as can be.
 */
uint32_t fuzz_minimise(struct fuzz_sandbox *sandbox, struct fuzz_program *program,
		       const struct fuzz_trial *shown, uint32_t trials_max);

#endif /* ZCRX_FUZZ_TRIAL_H */
