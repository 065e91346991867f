/* SPDX-License-Identifier: MIT */
/* A few threads at once on one context: started together, joined together. */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>

#include "check.h"

#define THREADS_MAX 8U

typedef void *(*thread_body)(void *context);

struct threads {
	pthread_t ids[THREADS_MAX];
	uint32_t count;
};

static inline void threads_start(struct threads *threads, thread_body body, void *context)
{
	REQUIRE(threads->count < THREADS_MAX);
	REQUIRE(pthread_create(&threads->ids[threads->count++], NULL, body, context) == 0);
}

static inline void threads_join(struct threads *threads)
{
	while (threads->count > 0)
		REQUIRE(pthread_join(threads->ids[--threads->count], NULL) == 0);
}

/* Run two bodies against each other until both return. */
static inline void run_both(thread_body first, thread_body second, void *context)
{
	struct threads threads = {0};

	threads_start(&threads, first, context);
	threads_start(&threads, second, context);
	threads_join(&threads);
}

/*
 * Where two threads meet, round by round, to start into each other as closely as
 * can be: both spin, and yield only when the other is long in coming.
 */
struct meeting {
	atomic_uint arrived;
};

#define MEETING_SPINS 2000U

/* The `round`-th meeting (from 0) of this thread; false, with a failed check, if it is alone. */
static inline bool meet(struct meeting *meeting, uint32_t round)
{
	struct patience patience = {0};
	uint32_t spins = 0;

	atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_acq_rel);
	while (atomic_load_explicit(&meeting->arrived, memory_order_acquire) < 2 * (round + 1)) {
		if (++spins > MEETING_SPINS && !wait_more(&patience))
			return false;
	}
	return true;
}

#endif /* THREADS_H */
