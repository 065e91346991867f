/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fixed.h"

#include <errno.h>
#include <fcntl.h>

#include "descriptor.h"
#include "files.h"

/* No descriptor of the program is made: there is nothing to be closed by exec(). */
int fixed_check(const struct request *request, uint32_t flags)
{
	return request->sqe.file_index && flags & O_CLOEXEC ? -EINVAL : 0;
}

int64_t fixed_give(struct request *request, int fd, int flags)
{
	struct ring *ring = request->ring;

	if (request->sqe.file_index)
		return files_put(ring, request->sqe.file_index, fd);
	return descriptor_give(ring->kernel, fd, flags);
}

static int prepare_files_update(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->flags & (IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT) || sqe->op_flags ||
	    sqe->file_index)
		return -EINVAL;
	return sqe->len ? 0 : -EINVAL;
}

static int64_t attempt_files_update(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	uint32_t slot = (uint32_t)sqe->off;

	if (!request->ring->kernel->task)
		return -EBADF;
	if (slot == IORING_FILE_INDEX_ALLOC)
		return files_update_anywhere(request->ring, sqe->addr, sqe->len);
	return files_update(request->ring, slot, sqe->addr, sqe->len);
}

static int prepare_install(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->off || sqe->addr || sqe->len || sqe->buf_index || sqe->file_index || sqe->addr3)
		return -EINVAL;
	if (!(sqe->flags & IOSQE_FIXED_FILE))
		return -EBADF;
	return sqe->op_flags & ~IORING_FIXED_FD_NO_CLOEXEC ? -EINVAL : 0;
}

static int64_t attempt_install(struct request *request)
{
	int flags = request->sqe.op_flags & IORING_FIXED_FD_NO_CLOEXEC ? 0 : O_CLOEXEC;
	int fd = fcntl(request->watch.fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : descriptor_give(request->ring->kernel, fd, flags);
}

const struct operation op_files_update = {
	.name = "FILES_UPDATE",
	.prepare = prepare_files_update,
	.attempt = attempt_files_update,
};
const struct operation op_fixed_fd_install = {
	.name = "FIXED_FD_INSTALL",
	.has_fd = true,
	.gives_fd = true,
	.prepare = prepare_install,
	.attempt = attempt_install,
};
