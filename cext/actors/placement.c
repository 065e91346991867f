/* SPDX-License-Identifier: MIT */
/*
 * Why by binding to a core and not by leaving it to the scheduler: to that, a process
 * that yields all the time is as busy as one that copies all the time, so it sees two
 * processes here and one there whatever it does, and moves nobody. Only ourselves are
 * bound; and where somebody else binds us, as a fault does, that stays.
 */
#define _GNU_SOURCE
#include "placement.h"

#include <sched.h>
#include <stdlib.h>

#define EVERY_NS 1000000U
/* Who comes here must have been idle so many times more than who is here already. */
#define MORE 2U

struct zcrx_placement {
	const struct zcrx_bells *bells;
	cpu_set_t allowed;
	uint64_t last_ns;
	uint32_t queues;
	cpu_set_t own; /* what we set last, or found */
	int cpu; /* that we are bound to, or -1 */
	uint32_t idle[1 + ZCRX_QUEUES_MAX]; /* as last seen: the NIC's, and the consumers' */
};

struct zcrx_placement *zcrx_placement_new(const struct zcrx_bells *bells, uint32_t queues)
{
	struct zcrx_placement *placement;
	uint32_t cores = zcrx_cores_allowed();

	if (cores == 1 || cores >= ZCRX_BUSY_PROCESSES(queues))
		return NULL;
	placement = calloc(1, sizeof(*placement));
	if (!placement || sched_getaffinity(0, sizeof(placement->allowed), &placement->allowed)) {
		free(placement);
		return NULL;
	}
	placement->bells = bells;
	placement->queues = queues;
	placement->own = placement->allowed;
	placement->cpu = -1;
	return placement;
}

void zcrx_placement_free(struct zcrx_placement *placement)
{
	free(placement);
}

static const struct zcrx_bell *bell_of(const struct zcrx_placement *placement, uint32_t peer)
{
	return peer == 0 ? &placement->bells->nic : &placement->bells->consumers[peer - 1];
}

/* Relaxed: hints. */
static uint32_t idle_since(struct zcrx_placement *placement, uint32_t peer)
{
	uint32_t now = shm_load_relaxed_u32(&bell_of(placement, peer)->idle, POINT_COUNTER);
	uint32_t since = now - placement->idle[peer];

	placement->idle[peer] = now;
	return since;
}

static int cpu_of(const struct zcrx_placement *placement, uint32_t peer)
{
	uint32_t cpu = shm_load_relaxed_u32(&bell_of(placement, peer)->cpu, POINT_COUNTER);

	if (cpu == 0 || cpu > CPU_SETSIZE || !CPU_ISSET(cpu - 1, &placement->allowed))
		return -1;
	return (int)cpu - 1;
}

/* Has somebody else bound us since? */
static bool is_taken(const struct zcrx_placement *placement)
{
	cpu_set_t now;

	return sched_getaffinity(0, sizeof(now), &now) || !CPU_EQUAL(&now, &placement->own);
}

static void bind_to(struct zcrx_placement *placement, const cpu_set_t *cores, int cpu)
{
	if (is_taken(placement) || sched_setaffinity(0, sizeof(*cores), cores))
		return;
	placement->own = *cores;
	placement->cpu = cpu;
}

/* How idle a core is: as the busiest of those that were last seen there. */
static uint32_t idleness(const struct zcrx_placement *placement, const int *cpus,
			 const uint32_t *idle, int cpu)
{
	uint32_t least = UINT32_MAX;

	for (uint32_t peer = 0; peer <= placement->queues; peer++) {
		if (cpus[peer] == cpu && idle[peer] < least)
			least = idle[peer];
	}
	return least == UINT32_MAX ? 0 : least;
}

void zcrx_placement_follow(struct zcrx_placement *placement)
{
	uint64_t now = zcrx_now_ns();
	uint32_t idle[1 + ZCRX_QUEUES_MAX], most = 0;
	int cpus[1 + ZCRX_QUEUES_MAX], best = -1;

	if (now - placement->last_ns < EVERY_NS)
		return;
	placement->last_ns = now;
	for (uint32_t peer = 0; peer <= placement->queues; peer++) {
		idle[peer] = idle_since(placement, peer);
		cpus[peer] = cpu_of(placement, peer);
	}
	for (uint32_t peer = 0; peer <= placement->queues; peer++) {
		uint32_t least = cpus[peer] < 0 ? 0 : idleness(placement, cpus, idle, cpus[peer]);

		if (least > most) {
			most = least;
			best = cpus[peer];
		}
	}
	if (best >= 0 && best != placement->cpu &&
	    most / MORE >= idleness(placement, cpus, idle, placement->cpu)) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(best, &one);
		bind_to(placement, &one, best);
	}
}

void zcrx_placement_release(struct zcrx_placement *placement)
{
	if (placement->cpu >= 0)
		bind_to(placement, &placement->allowed, -1);
}
