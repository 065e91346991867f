/* SPDX-License-Identifier: MIT */
/*
 * A program's side of io_uring by system calls alone, as little of it as the programs here
 * need. It includes nothing of the project's: what they test is the kernel's interface.
 */
#ifndef TEST_RING_H
#define TEST_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHECK(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: %s (errno %d: %s)\n", __FILE__, __LINE__, \
				#condition, errno, strerror(errno));                      \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

/* What headers of Linux 6.1 do not have. */
#define SETUP_NO_SQARRAY (1U << 16)
#define SETUP_CQE_MIXED (1U << 18)

struct ring {
	int fd;
	struct io_uring_params params;
	uint8_t *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	uint32_t sq_tail; /* as far as entries are written */
	uint32_t submitted; /* as far as the kernel was told */
	uint32_t cq_head;
	uint32_t cqe_size;
};

static inline _Atomic uint32_t *ring_word(const struct ring *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(ring->rings + offset);
}

/* The ring that the descriptor is of, made with these parameters. */
static inline void ring_map(struct ring *ring, int fd, const struct io_uring_params *params)
{
	size_t array, cqes;

	*ring = (struct ring){.fd = fd, .params = *params};
	ring->cqe_size = params->flags & IORING_SETUP_CQE32 ? 32 : 16;
	array = ring->params.sq_off.array + ring->params.sq_entries * sizeof(uint32_t);
	cqes = ring->params.cq_off.cqes + (size_t)ring->params.cq_entries * ring->cqe_size;
	ring->rings_size = array > cqes ? array : cqes;
	ring->rings = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	CHECK(ring->rings != MAP_FAILED);
	ring->sqes = mmap(NULL, ring->params.sq_entries * sizeof(*ring->sqes),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
			  IORING_OFF_SQES);
	CHECK(ring->sqes != MAP_FAILED);
}

/* 0 or -errno. */
static inline int ring_open(struct ring *ring, uint32_t entries, uint32_t flags,
			    uint32_t cq_entries)
{
	struct io_uring_params params = {.cq_entries = cq_entries};
	int fd;

	memset(ring, 0, sizeof(*ring));
	params.flags = flags | (cq_entries ? IORING_SETUP_CQSIZE : 0);
	fd = (int)syscall(__NR_io_uring_setup, entries, &params);
	if (fd < 0)
		return -errno;
	ring_map(ring, fd, &params);
	return 0;
}

static inline void ring_close(struct ring *ring)
{
	munmap(ring->sqes, ring->params.sq_entries * sizeof(*ring->sqes));
	munmap(ring->rings, ring->rings_size);
	close(ring->fd);
}

/* The next entry, all zero; it is published by ring_enter(). */
static inline struct io_uring_sqe *ring_sqe(struct ring *ring, uint8_t opcode, int fd,
					    uint64_t user_data)
{
	uint32_t slot = ring->sq_tail & (ring->params.sq_entries - 1);
	struct io_uring_sqe *sqe = &ring->sqes[slot];

	CHECK(ring->sq_tail - *ring_word(ring, ring->params.sq_off.head) < ring->params.sq_entries);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->user_data = user_data;
	if (!(ring->params.flags & SETUP_NO_SQARRAY))
		*ring_word(ring, ring->params.sq_off.array + slot * 4) = slot;
	ring->sq_tail++;
	return sqe;
}

/* Submit what is new, and wait for `least` completions: the call's result, or -errno. */
static inline int ring_enter_for(struct ring *ring, uint32_t least, struct __kernel_timespec *time)
{
	struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)time};
	uint32_t count = ring->sq_tail - ring->submitted;
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	long result;

	atomic_store_explicit(ring_word(ring, ring->params.sq_off.tail), ring->sq_tail,
			      memory_order_release);
	result = syscall(__NR_io_uring_enter, ring->fd, count, least, flags, &arg, sizeof(arg));
	if (result > 0)
		ring->submitted += (uint32_t)result;
	return result < 0 ? -errno : (int)result;
}

static inline int ring_enter(struct ring *ring, uint32_t least)
{
	return ring_enter_for(ring, least, NULL);
}

/* The oldest completion, or NULL; ring_seen() when it was read. */
static inline struct io_uring_cqe *ring_cqe(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(ring_word(ring, ring->params.cq_off.tail),
					     memory_order_acquire);
	uint32_t slot = ring->cq_head & (ring->params.cq_entries - 1);

	if (tail == ring->cq_head)
		return NULL;
	return (struct io_uring_cqe *)(void *)(ring->rings + ring->params.cq_off.cqes +
					       (size_t)slot * ring->cqe_size);
}

static inline void ring_seen(struct ring *ring)
{
	ring->cq_head++;
	atomic_store_explicit(ring_word(ring, ring->params.cq_off.head), ring->cq_head,
			      memory_order_release);
}

#endif /* TEST_RING_H */
