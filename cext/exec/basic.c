/* SPDX-License-Identifier: MIT */
#include "basic.h"

#include <errno.h>
#include <sys/stat.h>

#include "descriptor.h"
#include "space.h"

#define SECOND_NS 1000000000U

static int64_t attempt_nop(struct request *request)
{
	(void)request;
	return 0;
}

static int64_t attempt_close(struct request *request)
{
	return descriptor_close(request->ring->kernel, request->sqe.fd);
}

/* ---- time ------------------------------------------------------------------------------------ */

static int prepare_timeout(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint32_t known = IORING_TIMEOUT_ABS | IORING_TIMEOUT_ETIME_SUCCESS;

	return sqe->len != 1 || sqe->op_flags & ~known || sqe->buf_index ? -EINVAL : 0;
}

/* The time that its address says, as a deadline. 0 or -errno. */
static int read_deadline(struct request *request)
{
	struct io_uring_timespec time;
	uint64_t ns;

	if (space_read(request->space, &time, request->sqe.addr, sizeof(time)))
		return -EFAULT;
	if (time.tv_sec < 0 || time.tv_nsec < 0)
		return -EINVAL;
	ns = time.tv_sec < INT32_MAX ?
		     (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec % SECOND_NS :
		     NEVER / 2;
	request->deadline = request->sqe.op_flags & IORING_TIMEOUT_ABS ? ns : now_ns() + ns;
	return 0;
}

static int64_t attempt_timeout(struct request *request)
{

	if (!request->is_begun) {
		int error = read_deadline(request);

		if (error)
			return error;
		request->is_begun = true;
		/* Completions that are given until then end it, too. */
		if (request->sqe.off)
			request->after = request->ring->posted + request->sqe.off;
		return REQUEST_WAITS;
	}
	if (request->ring->posted >= request->after)
		return 0;
	if (now_ns() < request->deadline)
		return REQUEST_WAITS;
	return -ETIME;
}

/* What it guards was started: see request_start(). */
static int64_t attempt_link_timeout(struct request *request)
{
	struct request *guarded = request->guarded;

	if (!request->is_begun) {
		request->is_begun = true;
		/* A time that cannot be read ends at once what it guards. */
		if (read_deadline(request))
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

/* ---- others' requests -------------------------------------------------------------------------- */

static bool is_meant(const struct request *cancel, const struct request *other)
{
	const struct io_uring_sqe *sqe = &cancel->sqe;

	if (other == cancel)
		return false;
	if (sqe->op_flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if (sqe->op_flags & IORING_ASYNC_CANCEL_FD)
		return other->operation->has_fd && other->sqe.fd == sqe->fd;
	return other->sqe.user_data == sqe->addr;
}

static struct request *find_meant(const struct request *cancel)
{
	struct request *other = cancel->ring->requests;

	while (other && !is_meant(cancel, other))
		other = other->next;
	return other;
}

static int prepare_cancel(struct request *request)
{
	const uint32_t known = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD |
			       IORING_ASYNC_CANCEL_ANY;

	return request->sqe.op_flags & ~known ? -EINVAL : 0;
}

static int64_t attempt_cancel(struct request *request)
{
	bool all = (request->sqe.op_flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY)) !=
		   0;
	struct request *other = find_meant(request);
	int64_t count = 0;

	if (!other && !all)
		return -ENOENT;
	while (other && (all || count == 0)) {
		request_cancel(other, -ECANCELED);
		count++;
		other = find_meant(request);
	}
	return all ? count : 0;
}

static int64_t attempt_timeout_remove(struct request *request)
{
	struct request *other = find_meant(request);

	if (!other || other->sqe.opcode != IORING_OP_TIMEOUT)
		return -ENOENT;
	request_cancel(other, -ECANCELED);
	return 0;
}

static int prepare_timeout_remove(struct request *request)
{
	return request->sqe.op_flags || request->sqe.len ? -EINVAL : 0;
}

/* ---- other rings --------------------------------------------------------------------------------- */

static int prepare_msg_ring(struct request *request)
{
	return request->sqe.addr || request->sqe.op_flags ? -EINVAL : 0;
}

static int64_t attempt_msg_ring(struct request *request)
{
	struct kernel *kernel = request->ring->kernel;
	struct ring *other = ring_of_fd(kernel, kernel->task, request->sqe.fd);

	if (!other)
		return -EBADFD;
	if (other->is_disabled)
		return -EBADFD;
	ring_post(other, request->sqe.off, (int32_t)request->sqe.len, 0);
	return 0;
}

const struct operation op_nop = {.name = "NOP", .attempt = attempt_nop};
const struct operation op_close = {.name = "CLOSE", .gives_fd = true, .attempt = attempt_close};
const struct operation op_timeout = {
	.name = "TIMEOUT",
	.prepare = prepare_timeout,
	.attempt = attempt_timeout,
};
const struct operation op_timeout_remove = {
	.name = "TIMEOUT_REMOVE",
	.prepare = prepare_timeout_remove,
	.attempt = attempt_timeout_remove,
};
const struct operation op_link_timeout = {
	.name = "LINK_TIMEOUT",
	.prepare = prepare_timeout,
	.attempt = attempt_link_timeout,
};
const struct operation op_async_cancel = {
	.name = "ASYNC_CANCEL",
	.prepare = prepare_cancel,
	.attempt = attempt_cancel,
};
const struct operation op_msg_ring = {
	.name = "MSG_RING",
	.prepare = prepare_msg_ring,
	.attempt = attempt_msg_ring,
};
