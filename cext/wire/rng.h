/* SPDX-License-Identifier: MIT */
/* Seeded randomness for faults and return orders: splitmix64 (Steele et al., 2014). */
#ifndef ZCRX_RNG_H
#define ZCRX_RNG_H

#include <stdint.h>

struct zcrx_rng {
	uint64_t state;
};

static inline uint64_t zcrx_rng_next(struct zcrx_rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15U;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

/* Uniform in 0 .. bound - 1 (bound > 0), by the high half of a product. */
static inline uint32_t zcrx_rng_below(struct zcrx_rng *rng, uint32_t bound)
{
	return (uint32_t)(((zcrx_rng_next(rng) >> 32) * bound) >> 32);
}

/* A stream of its own for each purpose: same seed and lane, same numbers. */
static inline struct zcrx_rng zcrx_rng_for(uint64_t seed, uint64_t lane)
{
	struct zcrx_rng rng = {.state = seed ^ (lane * 0xd1342543de82ef95U)};

	rng.state = zcrx_rng_next(&rng);
	return rng;
}

#endif /* ZCRX_RNG_H */
