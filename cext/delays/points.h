/* SPDX-License-Identifier: MIT */
/*
 * A core whose processes dawdle at its points: each point has a probability,
 * and now and then the process spins, yields or sleeps there, before the access.
 * What lies between two accesses takes no time at all otherwise, so a race
 * that needs somebody else in between would hardly ever be seen.
 *
 * This is the cost of a point that is passed, so it is inline and short.
 */
#ifndef ZCRX_DELAYS_POINTS_H
#define ZCRX_DELAYS_POINTS_H

/* Private to the process: the C code of each runs in one thread. */
struct zcrx_delays {
	uint64_t state; /* of the generator, never 0 */
	const uint32_t *probability; /* [ZCRX_POINT_COUNT], of 2^32; NULL: none */
};
extern struct zcrx_delays zcrx_delays;

void zcrx_delays_dawdle(void);

/* xorshift64: a few instructions, and good enough to disturb. */
static inline uint32_t zcrx_delays_random(void)
{
	uint64_t state = zcrx_delays.state;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	zcrx_delays.state = state;
	return (uint32_t)(state >> 32);
}

static inline void zcrx_delays_at(enum zcrx_point point)
{
	if (zcrx_delays.probability && zcrx_delays_random() < zcrx_delays.probability[point])
		zcrx_delays_dawdle();
}

#define SHM_AT(point, word) ((void)(word), zcrx_delays_at(point))

#endif /* ZCRX_DELAYS_POINTS_H */
