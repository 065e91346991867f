/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "sigbus.h"
#include "shm.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A range is written before its end, and its end is what the handler looks at
 * first: it may run at any moment of watch() and forget(), in any thread.
 */
struct range {
	shm_u64 start, end; /* end 0: unused */
	shm_u32 hurt; /* pages */
};

static struct range ranges[ZCRX_SIGBUS_RANGES];
static struct sigaction before;
static unsigned int users;
static shm_u32 passing; /* to `before`, which has not come back */
static uintptr_t page_size;

static struct range *range_of(uintptr_t address)
{
	for (size_t i = 0; i < ZCRX_SIGBUS_RANGES; i++) {
		/* Pairs with the release in zcrx_sigbus_watch(): the start is there. */
		uint64_t end = shm_load_acquire_u64(&ranges[i].end, POINT_COUNTER);

		if (end && address < end &&
		    address >= shm_load_relaxed_u64(&ranges[i].start, POINT_COUNTER))
			return &ranges[i];
	}
	return NULL;
}

/* Call whoever was there before us; false if nobody was, or if he in turn calls us. */
static bool was_taken(int number, siginfo_t *info, void *context)
{
	if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN)
		return false;
	/* Pairs with that of another thread in was_taken(): one of them passes it on. */
	if (shm_fetch_add_u32(&passing, 1, POINT_COUNTER))
		return false;
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(number, info, context);
	else
		before.sa_handler(number);
	shm_store_relaxed_u32(&passing, 0, POINT_COUNTER);
	return true;
}

/* Whoever was there before us decides; by default the process dies of it. */
static void pass_on(int number, siginfo_t *info, void *context)
{
	if (was_taken(number, info, context))
		return;
	/* Back from here the same access raises it again, with nobody in its way. */
	signal(number, SIG_DFL);
	if (info->si_code <= 0) /* somebody's kill(): it would not come again */
		raise(number);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	uintptr_t address = (uintptr_t)info->si_addr;
	struct range *range = info->si_code > 0 ? range_of(address) : NULL;
	void *page = (void *)(address & ~(page_size - 1));

	if (range && mmap(page, page_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page)
		shm_add_relaxed_u32(&range->hurt, 1, POINT_COUNTER);
	else
		pass_on(number, info, context);
	errno = saved;
}

static bool is_ours(void)
{
	struct sigaction now;

	return sigaction(SIGBUS, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
	       now.sa_sigaction == on_sigbus;
}

int zcrx_sigbus_begin(void)
{
	struct sigaction ours;

	/* It is not where somebody has put a handler over it since, and may still be with no users. */
	if (is_ours()) {
		users++;
		return 0;
	}
	page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	memset(&ours, 0, sizeof(ours));
	ours.sa_sigaction = on_sigbus;
	ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
	sigemptyset(&ours.sa_mask);
	if (sigaction(SIGBUS, &ours, &before))
		return -errno;
	users++;
	return 0;
}

void zcrx_sigbus_end(void)
{
	if (users == 0 || --users)
		return;
	/* Somebody who came after us may pass on to us: then we stay, and pass on. */
	if (is_ours())
		sigaction(SIGBUS, &before, NULL);
}

int zcrx_sigbus_watch(const void *start, size_t size)
{
	for (size_t i = 0; i < ZCRX_SIGBUS_RANGES; i++) {
		if (shm_load_relaxed_u64(&ranges[i].end, POINT_COUNTER))
			continue;
		shm_store_relaxed_u32(&ranges[i].hurt, 0, POINT_COUNTER);
		shm_store_relaxed_u64(&ranges[i].start, (uintptr_t)start, POINT_COUNTER);
		/* Pairs with the acquire in range_of(). */
		shm_store_release_u64(&ranges[i].end, (uintptr_t)start + size, POINT_COUNTER);
		return (int)i;
	}
	return -ENOSPC;
}

void zcrx_sigbus_forget(int number)
{
	if (number >= 0 && (uint32_t)number < ZCRX_SIGBUS_RANGES)
		/* Pairs with the acquire in range_of(): what it names by then is the next one's. */
		shm_store_release_u64(&ranges[number].end, 0, POINT_COUNTER);
}

uint32_t zcrx_sigbus_hurt(int number)
{
	if (number < 0 || (uint32_t)number >= ZCRX_SIGBUS_RANGES)
		return 0;
	return shm_load_relaxed_u32(&ranges[number].hurt, POINT_COUNTER);
}

size_t zcrx_sigbus_watched(void)
{
	size_t watched = 0;

	for (size_t i = 0; i < ZCRX_SIGBUS_RANGES; i++)
		watched += shm_load_relaxed_u64(&ranges[i].end, POINT_COUNTER) != 0;
	return watched;
}
