/* SPDX-License-Identifier: MIT */
#include "timeout.h"

#include <errno.h>
#include <time.h>

#include "space.h"

#define SECOND_NS 1000000000ULL
#define CLOCKS (IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME)

bool timeout_has_one_clock(uint32_t flags)
{
	return (flags & CLOCKS) != CLOCKS;
}

static uint64_t clock_ns(uint32_t flags)
{
	struct timespec now;
	clockid_t clock = flags & IORING_TIMEOUT_BOOTTIME ? CLOCK_BOOTTIME :
			  flags & IORING_TIMEOUT_REALTIME ? CLOCK_REALTIME :
							    CLOCK_MONOTONIC;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

int timeout_read(struct space *space, uint64_t at, uint32_t flags, uint64_t *deadline)
{
	struct io_uring_timespec time;
	uint64_t ns, since = 0;

	if (space_read(space, &time, at, sizeof(time)))
		return -EFAULT;
	if (time.tv_sec < 0 || time.tv_nsec < 0)
		return -EINVAL;
	ns = time.tv_sec < INT32_MAX ?
		     (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec % SECOND_NS :
		     NEVER / 2;
	if (flags & IORING_TIMEOUT_ABS)
		since = clock_ns(flags);
	*deadline = now_ns() + (ns > since ? ns - since : 0);
	return 0;
}

static int prepare(struct request *request, uint32_t known)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->len != 1 || sqe->op_flags & ~known || sqe->buf_index || sqe->file_index)
		return -EINVAL;
	if (sqe->op_flags & IORING_TIMEOUT_MULTISHOT && sqe->op_flags & IORING_TIMEOUT_ABS)
		return -EINVAL;
	return timeout_has_one_clock(sqe->op_flags) ? 0 : -EINVAL;
}

static int prepare_timeout(struct request *request)
{
	return prepare(request, IORING_TIMEOUT_ABS | CLOCKS | IORING_TIMEOUT_ETIME_SUCCESS |
					IORING_TIMEOUT_MULTISHOT);
}

static int prepare_link_timeout(struct request *request)
{
	if (request->sqe.off)
		return -EINVAL;
	return prepare(request, IORING_TIMEOUT_ABS | CLOCKS | IORING_TIMEOUT_ETIME_SUCCESS);
}

static int start(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	int error = timeout_read(request->space, sqe->addr, sqe->op_flags, &request->deadline);

	if (error)
		return error;
	request->is_begun = true;
	request->count = request->deadline - now_ns();
	/* Completions that are given until then end it, too; of one that stays it is how often. */
	if (sqe->off && !(sqe->op_flags & IORING_TIMEOUT_MULTISHOT))
		request->after = request->ring->posted + sqe->off;
	return 0;
}

/* Its time has passed, and will again: false if it was the last one. */
static bool repeat(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (!(sqe->op_flags & IORING_TIMEOUT_MULTISHOT) || ++request->total == sqe->off)
		return false;
	request_post_more(request, -ETIME, 0);
	request->deadline += request->count;
	return true;
}

static int64_t attempt_timeout(struct request *request)
{
	int error = request->is_begun ? 0 : start(request);

	if (error)
		return error;
	if (request->ring->posted >= request->after)
		return 0;
	if (now_ns() < request->deadline || repeat(request))
		return REQUEST_WAITS;
	return -ETIME;
}

/* What it guards was started: see request_start(). */
static int64_t attempt_link_timeout(struct request *request)
{
	struct request *guarded = request->guarded;

	if (!request->is_begun) {
		const struct io_uring_sqe *sqe = &request->sqe;

		request->is_begun = true;
		/* A time that cannot be read ends at once what it guards. */
		if (timeout_read(request->space, sqe->addr, sqe->op_flags, &request->deadline))
			request->deadline = 0;
		return REQUEST_WAITS;
	}
	if (now_ns() < request->deadline)
		return REQUEST_WAITS;
	guarded->linked = request->linked;
	request->linked = request->guarded = NULL;
	request_cancel(guarded, -ECANCELED);
	return -ETIME;
}

const struct operation op_timeout = {
	.name = "TIMEOUT",
	.prepare = prepare_timeout,
	.attempt = attempt_timeout,
};
const struct operation op_link_timeout = {
	.name = "LINK_TIMEOUT",
	.prepare = prepare_link_timeout,
	.attempt = attempt_link_timeout,
};
