/* SPDX-License-Identifier: MIT */
/*
 * A lock in kernel-side shared memory, held for a few instructions.
 *
 * A process that is killed inside leaves it taken. That ends the run, and the
 * run's `aborted` word is how the others learn of it: a waiter then gives up,
 * so that no wait is without an end. Callers must cope with "not taken".
 */
#ifndef ZCRX_LOCK_H
#define ZCRX_LOCK_H

#include <sched.h>

#include "shm.h"

struct zcrx_lock {
	shm_u32 word; /* 0 free, 1 taken */
};

#define ZCRX_LOCK_SPINS 256

/*
 * Take the lock; false only when the run was aborted while it was taken.
 *
 * Ordering: the exchange's acquire pairs with the release in zcrx_unlock():
 * what the last holder wrote under the lock is visible here.
 */
static inline bool zcrx_lock(struct zcrx_lock *lock, const shm_u32 *aborted)
{
	uint32_t spins = 0;

	while (shm_xchg_u32(&lock->word, 1, POINT_LOCK_TAKE) != 0) {
		while (shm_load_relaxed_u32(&lock->word, POINT_LOCK_TAKE) != 0) {
			if (++spins < ZCRX_LOCK_SPINS) {
				shm_pause();
				continue;
			}
			spins = 0;
			/* The holder may have been preempted on this very core. */
			sched_yield();
			if (aborted && shm_load_relaxed_u32(aborted, POINT_RUN_STATE))
				return false;
		}
	}
	return true;
}

/* Ordering: pairs with the acquire in zcrx_lock(). */
static inline void zcrx_unlock(struct zcrx_lock *lock)
{
	shm_store_release_u32(&lock->word, 0, POINT_LOCK_RELEASE);
}

#endif /* ZCRX_LOCK_H */
