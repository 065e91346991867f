/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "backing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "watch.h"
#include "wire/shm.h"
#include "numbers.h"

#define ENTRIES 64U
#define PROBED 256U

struct backing {
	struct watch watch;
	int queue;
	struct io_uring_params params;
	uint8_t *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	uint32_t sq_tail, cq_head;
	bool has[PROBED];
};

static shm_u32 *word(const struct backing *backing, uint32_t offset)
{
	return (shm_u32 *)(void *)(backing->rings + offset);
}

/*
 * Ordering: these pair with the kernel, which publishes completions as ring_ready() sees a
 * program's, and takes entries behind the head as ring_publish_head() gives ours back.
 */
static void reap(struct backing *backing)
{
	const struct io_cqring_offsets *off = &backing->params.cq_off;
	const struct io_uring_cqe *completions = (const void *)(backing->rings + off->cqes);

	while (backing->cq_head !=
	       shm_load_acquire_u32(word(backing, off->tail), POINT_CQ_TAIL_LOAD)) {
		uint32_t slot = backing->cq_head & (backing->params.cq_entries - 1);
		struct io_uring_cqe one = completions[slot];
		struct job *job = (struct job *)(uintptr_t)one.user_data;

		shm_store_release_u32(word(backing, off->head), ++backing->cq_head, POINT_COUNTER);
		if (job)
			job->done(job, one.res);
	}
}

static void ready(struct watch *watch, uint32_t events)
{
	(void)events;
	reap((struct backing *)(void *)((char *)watch - offsetof(struct backing, watch)));
}

static void *map(const struct backing *backing, size_t size, off_t offset)
{
	void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			    backing->watch.fd, offset);

	return mapped == MAP_FAILED ? NULL : mapped;
}

static int map_all(struct backing *backing)
{
	const struct io_uring_params *params = &backing->params;
	size_t array = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	size_t cqes = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);

	if (!(params->features & IORING_FEAT_SINGLE_MMAP))
		return -ENOSYS;
	backing->rings_size = array > cqes ? array : cqes;
	backing->rings = map(backing, backing->rings_size, 0);
	backing->sqes = map(backing, params->sq_entries * sizeof(*backing->sqes), IORING_OFF_SQES);
	return backing->rings && backing->sqes ? 0 : -ENOMEM;
}

static int probe(struct backing *backing)
{
	struct {
		struct io_uring_probe head;
		struct io_uring_probe_op ops[PROBED];
	} answer = {0};

	if (syscall(SYS_io_uring_register, backing->watch.fd, IORING_REGISTER_PROBE, &answer,
		    PROBED))
		return -errno;
	for (uint32_t op = 0; op < answer.head.ops_len; op++)
		backing->has[op] = (answer.ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
	return 0;
}

static int start(struct backing *backing)
{
	int error;

	backing->watch.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &backing->params);
	if (backing->watch.fd < 0)
		return -errno;
	error = map_all(backing);
	if (!error)
		error = probe(backing);
	return error ? error : watch_add(backing->queue, &backing->watch, EPOLLIN);
}

struct backing *backing_open(int queue)
{
	struct backing *backing = calloc(1, sizeof(*backing));

	if (!backing)
		return NULL;
	backing->queue = queue;
	backing->watch.ready = ready;
	if (start(backing) == 0)
		return backing;
	backing_close(backing);
	return NULL;
}

void backing_close(struct backing *backing)
{
	if (!backing)
		return;
	if (backing->rings)
		munmap(backing->rings, backing->rings_size);
	if (backing->sqes)
		munmap(backing->sqes, backing->params.sq_entries * sizeof(*backing->sqes));
	if (backing->watch.fd >= 0) {
		watch_remove(backing->queue, &backing->watch);
		close(backing->watch.fd);
	}
	free(backing);
}

bool backing_has(const struct backing *backing, uint8_t opcode)
{
	return backing && backing->has[opcode];
}

/* One a call: there is always room. What the kernel takes is not what it completes by. */
static int enter(struct backing *backing, const struct io_uring_sqe *sqe)
{
	const struct io_sqring_offsets *off = &backing->params.sq_off;
	uint32_t slot = backing->sq_tail & (backing->params.sq_entries - 1);
	long taken;

	backing->sqes[slot] = *sqe;
	/* Relaxed: the tail publishes it. */
	shm_store_relaxed_u32(word(backing, off->array + slot * (uint32_t)sizeof(slot)), slot,
			      POINT_COUNTER);
	/* Pairs with the kernel's look for entries, as ring_submissions() has it. */
	shm_store_release_u32(word(backing, off->tail), backing->sq_tail + 1, POINT_COUNTER);
	taken = syscall(SYS_io_uring_enter, backing->watch.fd, 1U, 0U, 0U, NULL, 0);
	if (taken == 1) {
		backing->sq_tail++;
		return 0;
	}
	/* Pairs with the same look as ring_submissions() has: what was not taken is not there. */
	shm_store_release_u32(word(backing, off->tail), backing->sq_tail, POINT_COUNTER);
	return taken < 0 ? -errno : -EAGAIN;
}

int backing_submit(struct backing *backing, const struct io_uring_sqe *sqe, struct job *job)
{
	struct io_uring_sqe own = *sqe;
	int error;

	own.user_data = (uint64_t)(uintptr_t)job;
	error = enter(backing, &own);
	reap(backing);
	return error;
}

void backing_cancel(struct backing *backing, const struct job *job)
{
	const struct io_uring_sqe sqe = {
		.opcode = IORING_OP_ASYNC_CANCEL,
		.addr = (uint64_t)(uintptr_t)job,
	};

	enter(backing, &sqe);
	reap(backing);
}
