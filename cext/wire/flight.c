/* SPDX-License-Identifier: MIT */
/*
 * Why the CPU's counter: a batch may be one fragment, and there the clock would
 * be the dearest thing in it. Where the kernel itself keeps time by that
 * counter, it is the same on all cores and never stops; the control process
 * turns ticks into nanoseconds afterwards.
 */
#include "flight.h"

#include <time.h>

#define CLOCK_TRIES 16

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)
#define HAS_COUNTER true

static inline uint64_t counter(void)
{
	return __builtin_ia32_rdtsc();
}
#elif defined(__aarch64__)
#define HAS_COUNTER true

static inline uint64_t counter(void)
{
	uint64_t ticks;

	__asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
}
#else
#define HAS_COUNTER false

static inline uint64_t counter(void)
{
	return monotonic_ns();
}
#endif

bool zcrx_flight_has_counter(void)
{
	return HAS_COUNTER;
}

static inline uint64_t now_by(uint32_t clock)
{
	return clock == ZCRX_CLOCK_COUNTER ? counter() : monotonic_ns();
}

void zcrx_flight_read_clocks(uint32_t clock, uint64_t *ticks, uint64_t *ns)
{
	uint64_t narrowest = UINT64_MAX;

	for (int i = 0; i < CLOCK_TRIES; i++) {
		uint64_t before = monotonic_ns();
		uint64_t between = now_by(clock);
		uint64_t after = monotonic_ns();

		if (after - before >= narrowest)
			continue;
		narrowest = after - before;
		*ticks = between;
		*ns = before + narrowest / 2;
	}
}

void zcrx_flight_record(struct zcrx_flight *flight, enum zcrx_event_kind kind, uint32_t a,
			uint64_t b, uint64_t c)
{
	struct zcrx_flight_shared *shared = flight->shared;
	struct zcrx_event *event;
	uint64_t count;

	if (!shared)
		return;
	/* Ours alone to write: no order is needed to read it back. */
	count = shm_load_relaxed_u64(&shared->count, POINT_LOG);
	event = &shared->events[count & flight->mask];
	/*
	 * Each pairs with the acquire of the same word in zcrx_flight_copy(): who sees one of these words sees the count that
	 * allowed the event before it to be overwritten.
	 */
	shm_store_release_u64(&event->time, now_by(shm_load_relaxed_u32(&shared->clock, POINT_LOG)),
			      POINT_LOG);
	shm_store_release_u64(&event->kind_a, (uint64_t)kind | (uint64_t)a << 32, POINT_LOG);
	shm_store_release_u64(&event->b, b, POINT_LOG);
	shm_store_release_u64(&event->c, c, POINT_LOG);
	/* Pairs with the first acquire in zcrx_flight_copy(): the event is whole. */
	shm_store_release_u64(&shared->count, count + 1, POINT_LOG);
	flight->last_kind = kind;
}

/*
 * The writer may be at event number `count` while we read: that one replaces
 * event `count - entries`. So of what we copied, everything up to there is
 * suspect once the count has been read again behind the copy.
 */
uint32_t zcrx_flight_copy(const struct zcrx_flight *flight, void *to, uint64_t *first)
{
	const struct zcrx_flight_shared *shared = flight->shared;
	uint64_t entries = flight->mask + 1;
	uint64_t count, start, written, spoilt;
	uint64_t (*copies)[4] = to;

	*first = 0;
	if (!shared)
		return 0;
	/* Pairs with the last release in zcrx_flight_record(). */
	count = shm_load_acquire_u64(&shared->count, POINT_LOG);
	start = count > entries ? count - entries : 0;
	for (uint64_t at = start; at != count; at++) {
		const struct zcrx_event *event = &shared->events[at & flight->mask];
		uint64_t *copy = copies[at - start];

		/* Each pairs with the release of its word in zcrx_flight_record(). */
		copy[0] = shm_load_acquire_u64(&event->time, POINT_LOG);
		copy[1] = shm_load_acquire_u64(&event->kind_a, POINT_LOG);
		copy[2] = shm_load_acquire_u64(&event->b, POINT_LOG);
		copy[3] = shm_load_acquire_u64(&event->c, POINT_LOG);
	}
	/* Relaxed: the acquires above keep it behind them. */
	written = shm_load_relaxed_u64(&shared->count, POINT_LOG);
	spoilt = written >= entries ? written - entries + 1 : 0;
	if (spoilt <= start)
		spoilt = start;
	if (spoilt > count)
		spoilt = count;
	*first = spoilt;
	memmove(copies, copies[spoilt - start], (count - spoilt) * sizeof(*copies));
	return (uint32_t)(count - spoilt);
}
