/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: how an idle process sleeps and how it is woken.
 *
 * A wake costs its ringer a system call, and across cores tens of microseconds: a
 * process that has nothing to do therefore stays awake for a while, so that the one
 * that has most to do need not wake it, and rings only who sleeps (`waiting`). Where
 * there is a core for each process it spins; where there is not it yields, for its
 * peers may want this very core. Both end after WAIT_NS, by a sleep on a futex that
 * has a bound, too.
 *
 * Bells lie in memory that users map too. A user who scribbles on one makes
 * somebody wake early or late, never not at all: no sleep exceeds its bound.
 */
#ifndef ZCRX_BELL_H
#define ZCRX_BELL_H

#include "shm.h"

struct zcrx_bell {
	_Alignas(SHM_CACHE_LINE) shm_u32 seq;
	shm_u32 waiting; /* 0, or why its owner sleeps */
	/* A hint for the provider, which makes room for the busiest: see zcrx_placement. */
	_Alignas(SHM_CACHE_LINE) shm_u32 idle; /* looks in vain so far, modulo 2^32 */
	shm_u32 cpu; /* where the last of them was + 1; 0 = nowhere yet */
};

/* Why a process sleeps; a ringer wakes it only for what it can change. */
enum zcrx_bell_reason {
	ZCRX_BELL_NONE = 0,
	ZCRX_BELL_WORK = 1, /* consumer: completions; control: acknowledgements */
	ZCRX_BELL_GRANTS = 2, /* provider: all grant rings are full; NIC: one is empty */
	ZCRX_BELL_ROOM = 4, /* NIC: a completion queue is full */
};

/* Provider: no buffer to grant on that queue, RQEs would help (far queues share a bit). */
static inline uint32_t zcrx_bell_refill(uint32_t queue)
{
	return (uint32_t)1 << (8 + queue % 24);
}

/* How far a waiter has gone from work to sleep. */
struct zcrx_waiter {
	struct zcrx_bell *bell; /* its own */
	uint64_t since; /* when it began to look in vain */
	uint32_t idle; /* looks in vain since the last work */
	uint32_t spins; /* so many of them cost no system call */
	bool is_crowded; /* there is not a core for each process */
	bool is_tired; /* it has stayed awake for long enough */
};

/* `processes`: how many there are in the run that are ever busy. */
void zcrx_waiter_init(struct zcrx_waiter *waiter, struct zcrx_bell *bell, uint32_t processes);

static inline void zcrx_waiter_worked(struct zcrx_waiter *waiter)
{
	waiter->idle = 0;
	waiter->is_tired = false;
}

/*
 * One look in vain. True when the caller should prepare to sleep: call
 * zcrx_bell_prepare(), look for work once more, then zcrx_bell_sleep().
 */
bool zcrx_waiter_idle(struct zcrx_waiter *waiter);

/*
 * Announce the sleep and return the sequence to sleep on.
 *
 * Ordering: the fence pairs with the one in zcrx_bell_ring(). Either the ringer
 * sees `waiting`, or we see what it published when we look once more.
 */
uint32_t zcrx_bell_prepare(struct zcrx_bell *bell, uint32_t reason);
void zcrx_bell_cancel(struct zcrx_bell *bell);
/* Sleep until rung or for timeout_us; clears `waiting`. */
void zcrx_bell_sleep(struct zcrx_bell *bell, uint32_t seq, uint32_t timeout_us);

/* Wake the owner no matter what. */
void zcrx_bell_force(struct zcrx_bell *bell);

/* After publishing: wake the owner if it sleeps for one of `reasons`. */
static inline void zcrx_bell_ring(struct zcrx_bell *bell, uint32_t reasons)
{
	/* Pairs with the fence in zcrx_bell_prepare(). */
	shm_fence_seq_cst();
	if (shm_load_relaxed_u32(&bell->waiting, POINT_BELL_WAITING) & reasons)
		zcrx_bell_force(bell);
}

uint64_t zcrx_now_ns(void);
/* How many cores this process may use. */
uint32_t zcrx_cores_allowed(void);

#endif /* ZCRX_BELL_H */
