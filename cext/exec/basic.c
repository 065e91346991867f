/* SPDX-License-Identifier: MIT */
#include "basic.h"

#include <errno.h>
#include <sys/stat.h>

#include "descriptor.h"
#include "files.h"
#include "space.h"

#define SECOND_NS 1000000000U

static int prepare_nop(struct request *request)
{
	return request->sqe.op_flags & ~(IORING_NOP_INJECT_RESULT | IORING_NOP_TW) ? -EINVAL : 0;
}

static int64_t attempt_nop(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->op_flags & IORING_NOP_INJECT_RESULT ? (int32_t)sqe->len : 0;
}

static int prepare_close(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->off || sqe->addr || sqe->len || sqe->op_flags || sqe->buf_index)
		return -EINVAL;
	if (sqe->flags & IOSQE_FIXED_FILE)
		return -EBADF;
	return sqe->file_index && sqe->fd ? -EINVAL : 0;
}

static int64_t attempt_close(struct request *request)
{
	struct kernel *kernel = request->ring->kernel;

	if (request->sqe.file_index)
		return files_remove(request->ring, request->sqe.file_index - 1);
	/* A ring is closed by nobody but close(2). */
	if (ring_of_fd(kernel, kernel->task, request->sqe.fd))
		return -EBADF;
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

#define BY_FILE IORING_ASYNC_CANCEL_FD
#define BY_OTHERS (BY_FILE | IORING_ASYNC_CANCEL_OP)

/* Descriptors of one file are many: it is the number that tells, and where it is one. */
static bool is_same_file(const struct request *cancel, const struct request *other)
{
	bool is_fixed = (cancel->sqe.op_flags & IORING_ASYNC_CANCEL_FD_FIXED) != 0 ||
			(cancel->sqe.flags & IOSQE_FIXED_FILE) != 0;

	return other->operation->has_fd && other->sqe.fd == cancel->sqe.fd &&
	       is_fixed == ((other->sqe.flags & IOSQE_FIXED_FILE) != 0);
}

static bool is_meant(const struct request *cancel, const struct request *other)
{
	const struct io_uring_sqe *sqe = &cancel->sqe;

	if (other == cancel)
		return false;
	if (sqe->op_flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if (sqe->op_flags & BY_FILE && !is_same_file(cancel, other))
		return false;
	if (sqe->op_flags & IORING_ASYNC_CANCEL_OP && other->sqe.opcode != sqe->len)
		return false;
	if (sqe->op_flags & IORING_ASYNC_CANCEL_USERDATA || !(sqe->op_flags & BY_OTHERS))
		return other->sqe.user_data == sqe->addr;
	return true;
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
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint32_t others = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP;
	const uint32_t known = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY | others |
			       IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_USERDATA;

	if (sqe->flags & IOSQE_BUFFER_SELECT || sqe->off || sqe->file_index ||
	    sqe->op_flags & ~known)
		return -EINVAL;
	return sqe->op_flags & IORING_ASYNC_CANCEL_ANY && sqe->op_flags & others ? -EINVAL : 0;
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
	const uint32_t known = IORING_MSG_RING_CQE_SKIP | IORING_MSG_RING_FLAGS_PASS;

	return request->sqe.buf_index || request->sqe.op_flags & ~known ? -EINVAL : 0;
}

static int send_data(const struct request *request, struct ring *other)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	bool passes = (sqe->op_flags & IORING_MSG_RING_FLAGS_PASS) != 0;

	if (sqe->addr3 || sqe->op_flags & ~IORING_MSG_RING_FLAGS_PASS)
		return -EINVAL;
	if (!passes && sqe->file_index)
		return -EINVAL;
	ring_post(other, sqe->off, (int32_t)sqe->len, passes ? sqe->file_index : 0);
	return 0;
}

/* From one ring's table to another one's. */
static int64_t send_file(const struct request *request, struct ring *other)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	int64_t result;
	int fd;

	if (sqe->len || request->ring == other)
		return -EINVAL;
	fd = files_fetch(request->ring, (uint32_t)sqe->addr3);
	if (fd < 0)
		return fd;
	result = files_put(other, sqe->file_index, fd);
	if (result >= 0 && !(sqe->op_flags & IORING_MSG_RING_CQE_SKIP))
		ring_post(other, sqe->off, (int32_t)result, 0);
	return result;
}

static int64_t attempt_msg_ring(struct request *request)
{
	struct ring *other = ring_of_file(request->ring->kernel, request->watch.fd);

	if (!other || other->is_disabled)
		return -EBADFD;
	if (request->sqe.addr == IORING_MSG_DATA)
		return send_data(request, other);
	return request->sqe.addr == IORING_MSG_SEND_FD ? send_file(request, other) : -EINVAL;
}

const struct operation op_nop = {.name = "NOP", .prepare = prepare_nop, .attempt = attempt_nop};
const struct operation op_close = {
	.name = "CLOSE",
	.gives_fd = true,
	.prepare = prepare_close,
	.attempt = attempt_close,
};
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
	.has_fd = true,
	.prepare = prepare_msg_ring,
	.attempt = attempt_msg_ring,
};
