/* SPDX-License-Identifier: MIT */
/*
 * A core whose processes dawdle at its points: each point has a probability,
 * and now and then the process spins, yields or sleeps there, before the access.
 * What lies between two accesses takes no time at all otherwise, so a race
 * that needs somebody else in between would hardly ever be seen.
 *
 * This is the cost of a point that is passed, so it is inline and short.
 */
#ifndef ZCRX_CHAOS_POINTS_H
#define ZCRX_CHAOS_POINTS_H

/* Private to the process: the C code of each runs in one thread. */
struct zcrx_chaos {
	uint64_t state; /* of the generator, never 0 */
	const uint32_t *probability; /* [ZCRX_POINT_COUNT], of 2^32; NULL: no chaos */
};
extern struct zcrx_chaos zcrx_chaos;

void zcrx_chaos_dawdle(void);

/* xorshift64: a few instructions, and good enough to disturb. */
static inline uint32_t zcrx_chaos_random(void)
{
	uint64_t state = zcrx_chaos.state;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	zcrx_chaos.state = state;
	return (uint32_t)(state >> 32);
}

static inline void zcrx_chaos_at(enum zcrx_point point)
{
	if (zcrx_chaos.probability && zcrx_chaos_random() < zcrx_chaos.probability[point])
		zcrx_chaos_dawdle();
}

#define SHM_AT(point, word) ((void)(word), zcrx_chaos_at(point))

#endif /* ZCRX_CHAOS_POINTS_H */
