/* SPDX-License-Identifier: MIT */
/* The sleeping half of the doorbells; the header has the protocol. */
#define _GNU_SOURCE
#include "bell.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* So long nobody has to wake a process that has nothing to do. */
#define WAIT_NS 50000U
/* The first looks cost no system call: most waits are shorter than one. */
#define SPINS 64U
#define CROWDED_SPINS 2U
#define CLOCK_EVERY 16U

uint32_t zcrx_cores_allowed(void)
{
	cpu_set_t allowed;

	return sched_getaffinity(0, sizeof(allowed), &allowed) ? 1 : (uint32_t)CPU_COUNT(&allowed);
}

void zcrx_waiter_init(struct zcrx_waiter *waiter, struct zcrx_bell *bell, uint32_t processes)
{
	*waiter = (struct zcrx_waiter){
		.bell = bell,
		.is_crowded = zcrx_cores_allowed() < processes,
	};
	waiter->spins = waiter->is_crowded ? CROWDED_SPINS : SPINS;
}

/* Relaxed: a hint, and a wrong one only costs time. */
static void tell_where(struct zcrx_bell *bell, uint32_t looks)
{
	int cpu = sched_getcpu();

	shm_store_relaxed_u32(&bell->idle, shm_load_relaxed_u32(&bell->idle, POINT_COUNTER) + looks,
			      POINT_COUNTER);
	shm_store_relaxed_u32(&bell->cpu, cpu < 0 ? 0 : (uint32_t)cpu + 1, POINT_COUNTER);
}

bool zcrx_waiter_idle(struct zcrx_waiter *waiter)
{
	uint64_t now;

	if (waiter->is_tired)
		return true;
	if (++waiter->idle <= waiter->spins) {
		shm_pause();
		return false;
	}
	if (waiter->is_crowded)
		sched_yield();
	else
		shm_pause();
	if ((waiter->idle - waiter->spins) % CLOCK_EVERY != 1)
		return false;
	now = zcrx_now_ns();
	if (waiter->idle == waiter->spins + 1)
		waiter->since = now;
	tell_where(waiter->bell, CLOCK_EVERY);
	waiter->is_tired = now - waiter->since >= WAIT_NS;
	return waiter->is_tired;
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
