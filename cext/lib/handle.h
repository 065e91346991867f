/* SPDX-License-Identifier: MIT */
/*
 * What programs hold pointers to. The memory of one that was destroyed is not given back but
 * used again, long after: so that using it is an error that can be told, and no crash.
 */
#ifndef ZCRX_LIB_HANDLE_H
#define ZCRX_LIB_HANDLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "wire/shm.h"

/* The first member of what it is a handle of. */
struct zcrx_lib_handle {
	struct zcrx_lib_handle *next; /* of those that were destroyed */
	shm_u32 is_alive;
};

/* Those of one kind that were destroyed, the oldest first. */
struct zcrx_lib_handles {
	pthread_mutex_t lock;
	struct zcrx_lib_handle *first, *last;
	uint32_t count;
	size_t size; /* of one */
};

/* One that is all 0 but alive, or NULL. */
void *zcrx_lib_handle_make(struct zcrx_lib_handles *handles);
/* Nothing of it is needed any more. */
void zcrx_lib_handle_end(struct zcrx_lib_handles *handles, struct zcrx_lib_handle *handle);

/* Relaxed: whoever uses what another thread is destroying is wrong, whatever this says. */
static inline bool zcrx_lib_handle_is_alive(const struct zcrx_lib_handle *handle)
{
	return handle && shm_load_relaxed_u32(&handle->is_alive, POINT_RUN_STATE) != 0;
}

#endif /* ZCRX_LIB_HANDLE_H */
