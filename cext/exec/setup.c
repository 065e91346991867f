/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "calls.h"
#include "ring.h"
#include "space.h"

/* What the kernel does last is done first: once the program has the ring nothing may fail. */
static int give(struct ring *ring, uint64_t params_at)
{
	struct kernel *kernel = ring->kernel;
	int number;

	if (space_write(ring->space, params_at, &ring->params, sizeof(ring->params)))
		return -EFAULT;
	number = notify_answer_with(kernel->listener, kernel->call, ring->file.given);
	if (number < 0)
		return number;
	file_give(&ring->file);
	return 0;
}

void call_setup(struct kernel *kernel)
{
	const struct call *call = kernel->call;
	struct io_uring_params params;
	struct ring *ring;
	int error = 0;

	if (space_read(kernel->task->space, &params, call->args[1], sizeof(params)))
		error = -EFAULT;
	params.sq_entries = (uint32_t)call->args[0];
	if (!error)
		error = ring_create(kernel, &params, &ring);
	if (!error && (error = give(ring, call->args[1])))
		ring->is_closed = true;
	if (error)
		notify_answer(kernel->listener, call, error);
}

void call_exit(struct kernel *kernel)
{
	pid_t pid = kernel->rings ? task_process(kernel->call->tid) : 0;

	for (struct ring *ring = kernel->rings; ring; ring = ring->next) {
		if (ring->space->pid == pid && space_is_alive(ring->space))
			ring_finish(ring);
	}
	notify_pass(kernel->listener, kernel->call);
}
