/* SPDX-License-Identifier: MIT */
/*
 * Making programs up, and changing them: operations and numbers, never bytes.
 * What comes out depends on the generator's state and the input alone.
 */
#ifndef ZCRX_FUZZ_MUTATE_H
#define ZCRX_FUZZ_MUTATE_H

#include "wire/rng.h"
#include "program.h"

/* The kernel level that is asked for (ZCRX_FUZZ_KERNEL): that of all programs that are made. */
uint32_t fuzz_level_asked(void);
/* Make it one of that level; one in sixteen has no device, where that can be. */
void fuzz_set_level(struct fuzz_program *program, uint32_t level);

/* A whole program of `count` operations. */
void fuzz_generate(struct fuzz_program *program, uint32_t count, struct zcrx_rng *rng);

/* One to a few changes. */
void fuzz_mutate(struct fuzz_program *program, struct zcrx_rng *rng);

/* Operations of both, in order; the shape is one parent's. `to` is neither parent. */
void fuzz_cross(struct fuzz_program *to, const struct fuzz_program *first,
		const struct fuzz_program *second, struct zcrx_rng *rng);

#endif /* ZCRX_FUZZ_MUTATE_H */
