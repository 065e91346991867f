/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "space.h"
#include "wire/shm.h"

#define BOUNDED_PER_PROCESSOR 4
#define RESTRICTIONS_MAX 256U

struct settings *settings_create(const struct io_uring_params *params)
{
	struct settings *settings = calloc(1, sizeof(*settings));
	uint32_t processors = BOUNDED_PER_PROCESSOR * (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	struct rlimit limit;

	if (!settings)
		return NULL;
	settings->eventfd = -1;
	settings->workers[0] = params->sq_entries < processors ? params->sq_entries : processors;
	if (getrlimit(RLIMIT_NPROC, &limit) == 0)
		settings->workers[1] = (uint32_t)limit.rlim_cur;
	return settings;
}

void settings_free(struct settings *settings)
{
	if (settings && settings->eventfd >= 0)
		close(settings->eventfd);
	free(settings);
}

/* ---- the eventfd --------------------------------------------------------------------------------- */

void settings_tell(struct ring *ring, bool at_once)
{
	struct settings *settings = ring->settings;
	shm_u32 *flags = (shm_u32 *)(void *)(ring->file.cq + ring->params.cq_off.flags);
	const uint64_t one = 1;
	bool is_news = settings->told != ring->posted;

	settings->told = ring->posted;
	if (!is_news || settings->eventfd < 0 || (at_once && settings->is_async))
		return;
	/* Relaxed: a wish of the program, which is late or not. */
	if (shm_load_relaxed_u32(flags, POINT_COUNTER) & IORING_CQ_EVENTFD_DISABLED)
		return;
	/* Somebody who reads it now and then may have it full: then it is ready anyhow. */
	if (write(settings->eventfd, &one, sizeof(one)) < 0)
		return;
}

static bool is_eventfd(int fd)
{
	static const char kind[] = "anon_inode:[eventfd]";
	char path[32], link[sizeof(kind)] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, link, sizeof(link)) == sizeof(kind) - 1 &&
	       memcmp(link, kind, sizeof(kind) - 1) == 0;
}

static int64_t set_eventfd(struct ring *ring, uint64_t at, uint32_t nr_args, bool is_async)
{
	struct settings *settings = ring->settings;
	int fd;

	if (nr_args != 1)
		return -EINVAL;
	if (settings->eventfd >= 0)
		return -EBUSY;
	if (space_read(ring->kernel->task->space, &fd, at, sizeof(fd)))
		return -EFAULT;
	fd = task_fetch(ring->kernel->task, fd);
	if (fd < 0)
		return fd;
	if (!is_eventfd(fd)) {
		close(fd);
		return -EINVAL;
	}
	settings->eventfd = fd;
	settings->is_async = is_async;
	settings->told = ring->posted;
	return 0;
}

static int64_t unset_eventfd(struct ring *ring)
{
	int fd = ring->settings->eventfd;

	if (fd < 0)
		return -ENXIO;
	close(fd);
	ring->settings->eventfd = -1;
	return 0;
}

/* ---- what is forbidden --------------------------------------------------------------------------- */

static bool has_bit(const uint64_t *words, uint32_t bit)
{
	return (words[bit / 64] >> bit % 64 & 1) != 0;
}

static int allow(struct settings *settings, const struct io_uring_restriction *one)
{
	switch (one->opcode) {
	case IORING_RESTRICTION_REGISTER_OP:
		if (one->what >= 64)
			return -EINVAL;
		settings->register_ops |= 1ULL << one->what;
		return 0;
	case IORING_RESTRICTION_SQE_OP:
		settings->sqe_ops[one->what / 64] |= 1ULL << one->what % 64;
		return 0;
	case IORING_RESTRICTION_SQE_FLAGS_ALLOWED:
		settings->sqe_flags = one->what;
		return 0;
	case IORING_RESTRICTION_SQE_FLAGS_REQUIRED:
		settings->sqe_flags_needed = one->what;
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t forbid(struct ring *ring, uint64_t at, uint32_t count)
{
	struct settings *settings = ring->settings, changed = *settings;
	int error = 0;

	if (!ring->is_disabled)
		return -EBADFD;
	if (settings->has_restrictions)
		return -EBUSY;
	if (!at || count > RESTRICTIONS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; !error && i < count; i++) {
		struct io_uring_restriction one;

		error = space_read(ring->kernel->task->space, &one, at + i * sizeof(one),
				   sizeof(one));
		if (!error)
			error = allow(&changed, &one);
	}
	if (error)
		return error;
	changed.has_restrictions = true;
	*settings = changed;
	return 0;
}

void settings_restrict(struct ring *ring)
{
	ring->settings->is_restricted = ring->settings->has_restrictions;
}

int settings_check_call(const struct ring *ring, uint32_t opcode)
{
	const struct settings *settings = ring->settings;

	if (!settings->is_restricted)
		return 0;
	return opcode < 64 && has_bit(&settings->register_ops, opcode) ? 0 : -EACCES;
}

int settings_check_sqe(const struct ring *ring, const struct io_uring_sqe *sqe)
{
	const struct settings *settings = ring->settings;
	uint8_t needed = settings->sqe_flags_needed;

	if (!settings->is_restricted)
		return 0;
	if (!has_bit(settings->sqe_ops, sqe->opcode) || (sqe->flags & needed) != needed)
		return -EACCES;
	return sqe->flags & ~(settings->sqe_flags | needed) ? -EACCES : 0;
}

/* ---- what is kept -------------------------------------------------------------------------------- */

static int64_t set_workers(struct ring *ring, uint64_t at, uint32_t count)
{
	struct space *space = ring->kernel->task->space;
	uint32_t *workers = ring->settings->workers;
	uint32_t asked[2], before[2] = {workers[0], workers[1]};

	if (!at || count != 2)
		return -EINVAL;
	if (space_read(space, asked, at, sizeof(asked)))
		return -EFAULT;
	for (int i = 0; i < 2; i++) {
		if (asked[i] > INT32_MAX)
			return -EINVAL;
		if (asked[i])
			workers[i] = asked[i];
	}
	return space_write(space, at, before, sizeof(before));
}

static int64_t set_napi(struct ring *ring, uint64_t at, uint32_t nr_args)
{
	struct space *space = ring->kernel->task->space;
	struct io_uring_napi asked, before = ring->settings->napi;

	if (!at || nr_args != 1)
		return -EINVAL;
	if (space_read(space, &asked, at, sizeof(asked)))
		return -EFAULT;
	if (asked.pad[0] || asked.pad[1] || asked.resv || asked.opcode)
		return -EINVAL;
	asked.prefer_busy_poll = !!asked.prefer_busy_poll;
	ring->settings->napi = asked;
	return space_write(space, at, &before, sizeof(before));
}

static int64_t unset_napi(struct ring *ring, uint64_t at, uint32_t nr_args)
{
	struct io_uring_napi before = ring->settings->napi;

	if (nr_args != 1)
		return -EINVAL;
	ring->settings->napi = (struct io_uring_napi){0};
	return at ? space_write(ring->kernel->task->space, at, &before, sizeof(before)) : 0;
}

/* Of both clocks ours is the one that stands still with the machine. */
static int64_t set_clock(const struct ring *ring, uint64_t at, uint32_t nr_args)
{
	uint32_t words[4];

	if (!at || nr_args)
		return -EINVAL;
	if (space_read(ring->kernel->task->space, words, at, sizeof(words)))
		return -EFAULT;
	if (words[1] || words[2] || words[3])
		return -EINVAL;
	return words[0] == CLOCK_MONOTONIC || words[0] == CLOCK_BOOTTIME ? 0 : -EINVAL;
}

int64_t settings_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args)
{
	switch (opcode) {
	case IORING_REGISTER_EVENTFD:
	case IORING_REGISTER_EVENTFD_ASYNC:
		return set_eventfd(ring, at, nr_args, opcode == IORING_REGISTER_EVENTFD_ASYNC);
	case IORING_UNREGISTER_EVENTFD:
		return at || nr_args ? -EINVAL : unset_eventfd(ring);
	case IORING_REGISTER_RESTRICTIONS:
		return forbid(ring, at, nr_args);
	case IORING_REGISTER_IOWQ_AFF:
		return !at || !nr_args ? -EINVAL : 0;
	case IORING_UNREGISTER_IOWQ_AFF:
		return at || nr_args ? -EINVAL : 0;
	case IORING_REGISTER_IOWQ_MAX_WORKERS:
		return set_workers(ring, at, nr_args);
	case IORING_REGISTER_NAPI:
		return set_napi(ring, at, nr_args);
	case IORING_UNREGISTER_NAPI:
		return unset_napi(ring, at, nr_args);
	default:
		return set_clock(ring, at, nr_args);
	}
}
