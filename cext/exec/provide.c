/* SPDX-License-Identifier: MIT */
#include "provide.h"

#include <errno.h>

#include "groups.h"

#define BUFFERS_MAX (1 << 16) /* of a group: their numbers have 16 bits */
#define USER_END (1ULL << 47)

static int prepare_provide(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	uint64_t size = (uint64_t)sqe->fd * sqe->len;

	if (sqe->op_flags || sqe->file_index)
		return -EINVAL;
	if (sqe->fd <= 0 || sqe->fd > BUFFERS_MAX)
		return -E2BIG;
	if (sqe->len == 0)
		return -EINVAL;
	if (sqe->addr + size < sqe->addr)
		return -EOVERFLOW;
	if (sqe->addr + size > USER_END || size > UINT32_MAX)
		return -EFAULT;
	if (sqe->off >= BUFFERS_MAX)
		return -E2BIG;
	return sqe->off + (uint64_t)sqe->fd > BUFFERS_MAX ? -EINVAL : 0;
}

static int64_t attempt_provide(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const struct buffer first = {sqe->addr, sqe->len, (uint16_t)sqe->off};

	return groups_provide(request->ring, sqe->buf_index, first, (uint32_t)sqe->fd);
}

static int prepare_remove(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->op_flags || sqe->addr || sqe->len || sqe->off || sqe->file_index)
		return -EINVAL;
	return sqe->fd <= 0 || sqe->fd > BUFFERS_MAX ? -EINVAL : 0;
}

static int64_t attempt_remove(struct request *request)
{
	return groups_remove(request->ring, request->sqe.buf_index, (uint32_t)request->sqe.fd);
}

const struct operation op_provide_buffers = {
	.name = "PROVIDE_BUFFERS",
	.prepare = prepare_provide,
	.attempt = attempt_provide,
};
const struct operation op_remove_buffers = {
	.name = "REMOVE_BUFFERS",
	.prepare = prepare_remove,
	.attempt = attempt_remove,
};
