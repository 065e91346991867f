/* SPDX-License-Identifier: MIT */
/*
 * liburing's calls for those rings that a test has bound to an instance; every other ring
 * is the kernel's, by the liburing that comes behind us in the search order. Link this
 * library before it. The table is the one thing global, and in this library alone.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "zcrx_emu_liburing.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#define BOUND_MAX 64U
#define REGISTER_QUERY 35U
#define REGISTER_USE_REGISTERED_RING (1U << 31)
#define ANY_RING (-2)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	const void *ring;
	int fd;
	struct zcrx_emu *emu;
} bound[BOUND_MAX];

int zcrx_emu_bind(struct zcrx_emu *emu, const struct io_uring *ring, int fd)
{
	int error = -ENOSPC;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < BOUND_MAX && error; i++) {
		if (bound[i].emu)
			continue;
		bound[i].emu = emu;
		bound[i].ring = ring;
		bound[i].fd = fd;
		error = 0;
	}
	pthread_mutex_unlock(&lock);
	return error;
}

void zcrx_emu_unbind(struct zcrx_emu *emu)
{
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < BOUND_MAX; i++) {
		if (bound[i].emu == emu)
			bound[i].emu = NULL;
	}
	pthread_mutex_unlock(&lock);
}

static bool is_asked_for(uint32_t at, const void *ring, int fd)
{
	if (ring)
		return bound[at].ring == ring;
	return fd == ANY_RING || (fd >= 0 && bound[at].fd == fd);
}

static struct zcrx_emu *find(const void *ring, int fd)
{
	struct zcrx_emu *emu = NULL;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < BOUND_MAX && !emu; i++) {
		if (bound[i].emu && is_asked_for(i, ring, fd))
			emu = bound[i].emu;
	}
	pthread_mutex_unlock(&lock);
	return emu;
}

/* Where the next library has the call, if there is one. */
static void *next_of(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

ZCRX_EMU_API int io_uring_register_ifq(struct io_uring *ring, struct io_uring_zcrx_ifq_reg *reg)
{
	struct zcrx_emu *emu = find(ring, -1);
	int (*next)(struct io_uring *, struct io_uring_zcrx_ifq_reg *);

	if (emu)
		return zcrx_emu_register_ifq(emu, reg);
	*(void **)&next = next_of("io_uring_register_ifq");
	return next ? next(ring, reg) : -EBADF;
}

ZCRX_EMU_API int io_uring_register(unsigned int fd, unsigned int opcode, const void *arg,
				   unsigned int nr_args)
{
	/* A question needs no ring: any that is bound is of the kernel that is asked. */
	bool is_question = opcode == REGISTER_QUERY && (int)fd == -1;
	struct zcrx_emu *emu = find(NULL, is_question ? ANY_RING : (int)fd);
	int (*next)(unsigned int, unsigned int, const void *, unsigned int);

	if (emu)
		return zcrx_emu_register(emu, opcode & ~REGISTER_USE_REGISTERED_RING, (void *)arg,
					 nr_args);
	*(void **)&next = next_of("io_uring_register");
	return next ? next(fd, opcode, arg, nr_args) : -EBADF;
}
