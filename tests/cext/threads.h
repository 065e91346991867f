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

#endif /* THREADS_H */
