/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "calls.h"
#include "request.h"
#include "space.h"
#include "submit.h"
#include "wait.h"

#define SECOND_NS 1000000000U

struct ring *call_ring(struct kernel *kernel, uint64_t number, bool is_registered)
{
	struct task *task = kernel->task;

	if (is_registered)
		return number < RING_FDS_MAX ? task->registered[number] : NULL;
	return ring_of_fd(kernel, task, (int)number);
}

/* Nothing that it could say is refused: what is negative is over, and what is long is very long. */
static uint64_t ns_of(const struct io_uring_timespec *time)
{
	if (time->tv_sec < 0 || time->tv_nsec < 0)
		return 0;
	if (time->tv_sec >= INT32_MAX || time->tv_nsec >= INT64_MAX / 2)
		return NEVER / 2;
	return (uint64_t)time->tv_sec * SECOND_NS + (uint64_t)time->tv_nsec;
}

/* How long the call waits at most, as a deadline. 0 or -errno. */
static int read_deadline(const struct kernel *kernel, uint32_t flags, uint64_t *deadline)
{
	const struct call *call = kernel->call;
	struct space *space = kernel->task->space;
	struct io_uring_getevents_arg arg;
	struct io_uring_timespec time;
	uint64_t ns;

	*deadline = NEVER;
	if (!(flags & IORING_ENTER_EXT_ARG))
		return 0;
	if (call->args[5] != sizeof(arg))
		return -EINVAL;
	if (space_read(space, &arg, call->args[4], sizeof(arg)))
		return -EFAULT;
	if (arg.ts == 0)
		return 0;
	if (space_read(space, &time, arg.ts, sizeof(time)))
		return -EFAULT;
	ns = ns_of(&time);
	*deadline = flags & IORING_ENTER_ABS_TIMER ? ns : now_ns() + ns;
	return 0;
}

/* May this thread submit, or work on what was deferred? */
static int check_owner(const struct ring *ring)
{
	return ring->owner && ring->owner != ring->kernel->task->tid ? -EEXIST : 0;
}

static int check(const struct ring *ring, uint32_t flags, uint32_t to_submit)
{
	const uint32_t known = IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP |
			       IORING_ENTER_SQ_WAIT | IORING_ENTER_EXT_ARG |
			       IORING_ENTER_REGISTERED_RING | IORING_ENTER_ABS_TIMER;

	if (flags & ~known)
		return -EINVAL;
	if (ring->is_disabled)
		return -EBADFD;
	return to_submit || (flags & IORING_ENTER_GETEVENTS && ring_defers(ring)) ?
		       check_owner(ring) :
		       0;
}

static void wait_for_events(struct ring *ring, uint32_t submitted, uint32_t flags)
{
	struct kernel *kernel = ring->kernel;
	uint32_t least = (uint32_t)kernel->call->args[2];
	uint64_t deadline;
	int error = read_deadline(kernel, flags, &deadline);

	if (least > ring->params.cq_entries)
		least = ring->params.cq_entries;
	if (!error) {
		zcrx_emu_step(ring->emu); /* completions that waited for room */
		requests_run(ring);
		error = wait_start(ring, least, deadline, submitted);
	}
	if (error)
		notify_answer(kernel->listener, kernel->call, submitted ? (int)submitted : error);
	else
		waits_begin(ring);
}

void call_enter(struct kernel *kernel)
{
	const struct call *call = kernel->call;
	uint32_t to_submit = (uint32_t)call->args[1], flags = (uint32_t)call->args[3];
	struct ring *ring =
		call_ring(kernel, call->args[0], (flags & IORING_ENTER_REGISTERED_RING) != 0);
	uint32_t submitted = 0;
	int error;

	if (!ring) {
		notify_pass(kernel->listener, call);
		return;
	}
	error = check(ring, flags, to_submit);
	if (!error && to_submit)
		submitted = submit(ring, to_submit);
	if (!error && flags & IORING_ENTER_GETEVENTS && submitted == to_submit)
		wait_for_events(ring, submitted, flags);
	else
		notify_answer(kernel->listener, call, error ? error : (int64_t)submitted);
}
