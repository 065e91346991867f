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
 * Where two threads meet, twice a round, to start into each other as closely as
 * can be: both spin, and yield only when the other is long in coming. One leads
 * and says when it is enough, the other follows.
 *
 *	while (meeting_lead(m, rounds)) {	while (meeting_follow(m)) {
 *		act against the other			act against the other
 *		if (!meeting_part(m))			if (!meeting_part(m))
 *			break;					break;
 *		look at what came of it		}
 *	}
 */
struct meeting {
	atomic_uint arrived;
	atomic_bool over;
	struct budget budget;
	uint32_t led;
};

#define MEETING_SPINS 2000U

/* False, with a failed check, when the other does not come. */
static inline bool meeting_arrive(struct meeting *meeting)
{
	struct patience patience = {0};
	uint32_t both = (atomic_fetch_add(&meeting->arrived, 1) | 1) + 1;
	uint32_t spins = 0;

	while ((int32_t)(atomic_load(&meeting->arrived) - both) < 0) {
		if (++spins > MEETING_SPINS && !wait_more(&patience))
			return false;
	}
	return true;
}

static inline bool meeting_lead(struct meeting *meeting, uint32_t rounds)
{
	if (meeting->led++ == rounds || !in_budget(&meeting->budget))
		atomic_store(&meeting->over, true);
	return meeting_arrive(meeting) && !atomic_load(&meeting->over);
}

static inline bool meeting_follow(struct meeting *meeting)
{
	return meeting_arrive(meeting) && !atomic_load(&meeting->over);
}

static inline bool meeting_part(struct meeting *meeting)
{
	return meeting_arrive(meeting);
}

#endif /* THREADS_H */
