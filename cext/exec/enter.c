/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "calls.h"
#include "request.h"
#include "settings.h"
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

static int read_time(struct space *space, const struct io_uring_getevents_arg *arg, uint32_t flags,
		     struct wait_limits *limits)
{
	struct io_uring_timespec time;
	uint64_t ns;

	if (arg->min_wait_usec)
		limits->patience = now_ns() + (uint64_t)arg->min_wait_usec * 1000;
	if (arg->ts == 0)
		return 0;
	if (space_read(space, &time, arg->ts, sizeof(time)))
		return -EFAULT;
	ns = ns_of(&time);
	limits->deadline = flags & IORING_ENTER_ABS_TIMER ? ns : now_ns() + ns;
	return 0;
}

/* How the call says that it waits. 0 or -errno. */
static int read_limits(const struct kernel *kernel, uint32_t flags, struct wait_limits *limits)
{
	const struct call *call = kernel->call;
	struct space *space = kernel->task->space;
	struct io_uring_getevents_arg arg = {.sigmask = call->args[4]};
	int error;

	arg.sigmask_sz = (uint32_t)call->args[5];
	if (flags & IORING_ENTER_EXT_ARG) {
		if (call->args[5] != sizeof(arg))
			return -EINVAL;
		if (space_read(space, &arg, call->args[4], sizeof(arg)))
			return -EFAULT;
	}
	error = read_time(space, &arg, flags, limits);
	if (error || arg.sigmask == 0)
		return error;
	if (arg.sigmask_sz != sizeof(limits->blocked))
		return -EINVAL;
	return space_read(space, &limits->blocked, arg.sigmask, sizeof(limits->blocked));
}

/* May this thread submit, or work on what was deferred? */
static int check_owner(const struct ring *ring)
{
	return ring->owner && ring->owner != ring->kernel->task->tid ? -EEXIST : 0;
}

static int check(const struct ring *ring, uint32_t flags, uint32_t to_submit)
{
	if (flags & ~ENTER_FLAGS)
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
	struct wait_limits limits = {.least = (uint32_t)kernel->call->args[2], .deadline = NEVER};
	int error = read_limits(kernel, flags, &limits);

	if (limits.least > ring->params.cq_entries)
		limits.least = ring->params.cq_entries;
	if (!error) {
		zcrx_emu_step(ring->emu); /* completions that waited for room */
		requests_run(ring);
		error = wait_start(ring, &limits, submitted);
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
	ring_enter(ring);
	error = check(ring, flags, to_submit);
	if (!error && to_submit) {
		submitted = submit(ring, to_submit);
		settings_tell(ring, true);
	}
	if (!error && flags & IORING_ENTER_GETEVENTS && submitted == to_submit)
		wait_for_events(ring, submitted, flags);
	else
		notify_answer(kernel->listener, call, error ? error : (int64_t)submitted);
}
