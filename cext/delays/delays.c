/* SPDX-License-Identifier: MIT */
/*
 * Dawdling on purpose. The settings, and the count of what was done, are in a
 * file that all processes of a run map; its name is in ZCRX_DELAYS. It is no
 * memory of the instance, and nothing of the core depends on it.
 */
#include "wire/shm.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DELAYS_POINTS_MAX 64

_Static_assert(ZCRX_POINT_COUNT <= DELAYS_POINTS_MAX, "each point has its probability");

/* emu/race/delays.py has the same layout. */
struct delays_file {
	uint64_t seed; /* another one for each run */
	shm_u64 spins, yields, sleeps; /* by all processes */
	uint32_t yield_share, sleep_share; /* of 2^32; the rest spins */
	uint32_t probability[DELAYS_POINTS_MAX];
};

_Static_assert(sizeof(struct delays_file) == 40 + 4 * DELAYS_POINTS_MAX, "no padding");

struct zcrx_delays zcrx_delays = {.state = 1};
static struct delays_file *file;
static uint64_t seed;
static pid_t sower; /* a process may have been forked from one that had sown */

/* Processes of one run differ by their pid, runs of one process by the seed. */
static void sow(void)
{
	seed = file->seed;
	sower = getpid();
	zcrx_delays.state = (seed ^ (uint64_t)sower << 32) * 0x9e3779b97f4a7c15ULL | 1;
}

__attribute__((constructor)) static void map_settings(void)
{
	const char *name = getenv("ZCRX_DELAYS");
	int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	file = map;
	sow();
	zcrx_delays.probability = file->probability;
}

/* Not through the accessors of shm.h: they would come back to us. */
static void count(shm_u64 *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void zcrx_delays_dawdle(void)
{
	uint32_t kind = zcrx_delays_random();
	uint32_t length = zcrx_delays_random();

	if (file->seed != seed || getpid() != sower)
		sow();
	if (kind < file->sleep_share) {
		/* 50 to 200 us: others run, even on the same core. */
		struct timespec time = {.tv_nsec = 50000 + length % 150000};

		nanosleep(&time, NULL);
		count(&file->sleeps);
	} else if (kind - file->sleep_share < file->yield_share) {
		sched_yield();
		count(&file->yields);
	} else {
		/* Some hundred nanoseconds to some microseconds. */
		for (uint32_t i = 0; i < 4 + length % 64; i++)
			shm_pause();
		count(&file->spins);
	}
}
