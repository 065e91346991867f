/* SPDX-License-Identifier: MIT */
#include "basic.h"

#include <errno.h>
#include <sys/stat.h>

#include "descriptor.h"
#include "files.h"
#include "space.h"

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
const struct operation op_msg_ring = {
	.name = "MSG_RING",
	.has_fd = true,
	.prepare = prepare_msg_ring,
	.attempt = attempt_msg_ring,
};
