/* SPDX-License-Identifier: MIT */
/* Who chooses: by chance, by priorities, everything there is, or as it was before. */
#ifndef ZCRX_SIM_EXPLORE_H
#define ZCRX_SIM_EXPLORE_H

#include "wire/rng.h"
#include "engine.h"

/* One choice: who, and which value it saw. */
struct explore_step {
	uint8_t actor;
	uint8_t choice;
};

/* ---- by chance --------------------------------------------------------------------- */

/*
 * A coin for each step would hardly ever let one actor go far while another one
 * stands in the middle of something. Each execution therefore draws how long an
 * actor goes on: from one step to hundreds.
 */
struct explore_random {
	struct sim_chooser chooser;
	struct zcrx_rng rng;
	uint32_t patience; /* it goes on with 1 - 1 / patience */
	uint32_t last; /* who went on before */
};

void explore_random_start(struct explore_random *random, uint64_t seed);

/*
 * Probabilistic concurrency testing (Burckhardt et al., 2010): actors have
 * priorities, the highest goes on, and at depth - 1 places it falls behind all
 * others. A bug that takes `depth` ordered events is found by one execution of n
 * actors and k steps with a probability of at least 1 / (n * k^(depth - 1)).
 */
struct explore_pct {
	struct sim_chooser chooser;
	struct zcrx_rng rng;
	uint32_t depth;
	uint32_t steps; /* k: the longest execution so far */
	uint32_t priorities[2 * SIM_ACTORS_MAX];
	uint32_t changes[SIM_ACTORS_MAX]; /* steps, [depth - 1] */
	uint32_t actors, step;
};

#define EXPLORE_DEPTH_MAX SIM_ACTORS_MAX

/* actors as sim_actors() has them. */
void explore_pct_start(struct explore_pct *pct, uint64_t seed, uint32_t depth, uint32_t actors,
		       uint32_t steps);

/* ---- everything ----------------------------------------------------------------------- */

struct explore_all;

/*
 * All executions up to equivalence, by dynamic partial-order reduction
 * with source sets and sleep sets (Abdulla et al., 2014); with a bound on preemptions
 * (UINT32_MAX: none) every execution within it, without the reduction. NULL
 * without memory.
 */
struct explore_all *explore_all_open(uint32_t preemptions_max);
void explore_all_close(struct explore_all *all);
struct sim_chooser *explore_all_chooser(struct explore_all *all);
/* After an execution: is there another one? */
bool explore_all_next(struct explore_all *all);
/* How much of the tree is done, 0 .. 1: a guess from where the search stands. */
double explore_all_share(const struct explore_all *all);

/* ---- as it was before ------------------------------------------------------------------ */

struct explore_replay {
	struct sim_chooser chooser;
	const struct explore_step *steps;
	uint32_t count, at;
	bool does_not_fit; /* an actor was to go on that could not, or a value that there was not */
};

void explore_replay_start(struct explore_replay *replay, const struct explore_step *steps,
			  uint32_t count);

/* The choices of the last execution; how many. */
uint32_t explore_schedule(const struct sim_engine *engine, struct explore_step *steps);
/* Steps at which somebody else went on although the one before could have, or had to. */
uint32_t explore_switches(const struct explore_step *steps, uint32_t count);

#endif /* ZCRX_SIM_EXPLORE_H */
