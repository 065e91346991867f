/* SPDX-License-Identifier: MIT */
/* The sleeping half of the doorbells; the header has the protocol. */
#define _GNU_SOURCE
#include "bell.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool zcrx_waiter_idle(struct zcrx_waiter *waiter)
{
	waiter->idle++;
	if (waiter->idle <= waiter->spins) {
		shm_pause();
		return false;
	}
	if (waiter->idle <= waiter->spins + waiter->yields) {
		sched_yield();
		return false;
	}
	return true;
}

uint32_t zcrx_bell_prepare(struct zcrx_bell *bell, uint32_t reason)
{
	uint32_t seq = shm_load_relaxed_u32(&bell->seq, POINT_BELL_SEQ);

	shm_store_relaxed_u32(&bell->waiting, reason, POINT_BELL_WAITING);
	/* Pairs with the fence in zcrx_bell_ring(). */
	shm_fence_seq_cst();
	return seq;
}

void zcrx_bell_cancel(struct zcrx_bell *bell)
{
	shm_store_relaxed_u32(&bell->waiting, ZCRX_BELL_NONE, POINT_BELL_WAITING);
}

void zcrx_bell_sleep(struct zcrx_bell *bell, uint32_t seq, uint32_t timeout_us)
{
	const struct timespec timeout = {
		.tv_sec = timeout_us / 1000000,
		.tv_nsec = (long)(timeout_us % 1000000) * 1000,
	};

	/* Not FUTEX_PRIVATE: the ringers are other processes. Errors mean "look again". */
	syscall(SYS_futex, &bell->seq, FUTEX_WAIT, seq, &timeout, NULL, 0);
	zcrx_bell_cancel(bell);
}

void zcrx_bell_force(struct zcrx_bell *bell)
{
	/* Taken down by the ringer too, so that a busy ringer rings once a sleep. */
	zcrx_bell_cancel(bell);
	/*
	 * Pairs with the fence in zcrx_bell_prepare(): who has read this number already
	 * sees what we published; who has not finds it changed, and does not sleep.
	 */
	shm_fetch_add_u32(&bell->seq, 1, POINT_BELL_SEQ);
	syscall(SYS_futex, &bell->seq, FUTEX_WAKE, 1, NULL, NULL, 0);
}

uint64_t zcrx_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}
