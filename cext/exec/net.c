/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "briefly.h"
#include "fixed.h"
#include "space.h"

#define ACCEPT_FLAGS (IORING_ACCEPT_MULTISHOT | IORING_ACCEPT_DONTWAIT | IORING_ACCEPT_POLL_FIRST)

static int64_t wait_for(struct request *request, uint32_t events)
{
	request->events = events;
	return REQUEST_WAITS;
}

static int64_t result_of(ssize_t result)
{
	return result < 0 ? -errno : result;
}

/* ---- connections ----------------------------------------------------------------------------- */

static int prepare_accept(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->len || sqe->buf_index || sqe->ioprio & ~ACCEPT_FLAGS ||
	    sqe->op_flags & ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	/* One slot is not enough for many. */
	if (sqe->ioprio & IORING_ACCEPT_MULTISHOT && sqe->file_index &&
	    sqe->file_index != IORING_FILE_INDEX_ALLOC)
		return -EINVAL;
	return fixed_check(request, sqe->op_flags);
}

/* Where the program wants to know who it is: `size` is what the address has. */
static int write_address(const struct request *request, const struct sockaddr_storage *address,
			 socklen_t size)
{
	uint64_t size_at = request->sqe.off;
	socklen_t room;

	if (request->sqe.addr == 0)
		return 0;
	if (space_read(request->space, &room, size_at, sizeof(room)))
		return -EFAULT;
	if (room > size)
		room = size;
	if (space_write(request->space, request->sqe.addr, address, room) ||
	    space_write(request->space, size_at, &size, sizeof(size)))
		return -EFAULT;
	return 0;
}

static int64_t accept_one(struct request *request)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	int flags = (int)request->sqe.op_flags;
	int fd, error;

	/* Known before: a connection that was accepted cannot be put back. */
	if (!task_has_room(request->ring->kernel->task))
		return -EMFILE;
	fd = briefly_accept(request->watch.fd, (struct sockaddr *)&address, &size,
			    flags & SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	error = write_address(request, &address, size);
	if (error) {
		briefly_close(fd);
		return error;
	}
	return fixed_give(request, fd, flags & SOCK_CLOEXEC ? O_CLOEXEC : 0);
}

static int64_t attempt_accept(struct request *request)
{
	bool waits = (request->sqe.ioprio & IORING_ACCEPT_POLL_FIRST) != 0;
	int64_t result;

	if (waits && !request->is_begun) {
		request->is_begun = true;
		return wait_for(request, EPOLLIN);
	}
	result = accept_one(request);

	while (result >= 0 && request->sqe.ioprio & IORING_ACCEPT_MULTISHOT) {
		request_post_more(request, (int32_t)result, 0);
		result = accept_one(request);
	}
	if (result == -EAGAIN && !(request->sqe.ioprio & IORING_ACCEPT_DONTWAIT))
		return wait_for(request, EPOLLIN);
	return result;
}

static int prepare_connect(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->len || sqe->buf_index || sqe->op_flags || sqe->file_index ? -EINVAL : 0;
}

static int64_t attempt_connect(struct request *request)
{
	struct sockaddr_storage address;
	socklen_t size = (socklen_t)request->sqe.off;
	int result, error;
	socklen_t error_size = sizeof(error);

	if (request->is_begun) {
		if (getsockopt(request->watch.fd, SOL_SOCKET, SO_ERROR, &error, &error_size))
			return -errno;
		return -error;
	}
	if (size > sizeof(address))
		return -EINVAL;
	if (space_read(request->space, &address, request->sqe.addr, size))
		return -EFAULT;
	request->is_begun = true;
	result = briefly_connect(request->watch.fd, (struct sockaddr *)&address, size);
	return result == -EINPROGRESS ? wait_for(request, EPOLLOUT) : result;
}

static int prepare_shutdown(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->off || sqe->addr || sqe->op_flags || sqe->buf_index || sqe->file_index ?
		       -EINVAL :
		       0;
}

static int64_t attempt_shutdown(struct request *request)
{
	return result_of(shutdown(request->watch.fd, (int)request->sqe.len));
}

static int prepare_socket(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->addr || sqe->op_flags || sqe->buf_index)
		return -EINVAL;
	return fixed_check(request, (uint32_t)sqe->off);
}

static int64_t attempt_socket(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	int type = (int)sqe->off;
	int fd = socket(sqe->fd, type | SOCK_CLOEXEC, (int)sqe->len);

	if (fd < 0)
		return -errno;
	return fixed_give(request, fd, type & SOCK_CLOEXEC ? O_CLOEXEC : 0);
}

/* ---- readiness -------------------------------------------------------------------------------- */

static int prepare_poll(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->buf_index || sqe->off || sqe->addr || sqe->len & ~IORING_POLL_ADD_MULTI)
		return -EINVAL;
	return 0;
}

/* One that stays goes by edges, and the first of them is what is ready already. */
static int64_t attempt_poll_again(struct request *request, uint32_t wanted)
{
	if (request->seen)
		request_post_more(request, (int32_t)request->seen, 0);
	request->seen = 0;
	return wait_for(request, wanted | EPOLLET);
}

static int64_t attempt_poll(struct request *request)
{
	uint32_t wanted = request->sqe.op_flags & ~(uint32_t)(EPOLLONESHOT | EPOLLWAKEUP);
	struct pollfd now = {.fd = request->watch.fd, .events = (short)wanted};

	if (request->sqe.len & IORING_POLL_ADD_MULTI)
		return attempt_poll_again(request, wanted);
	if (poll(&now, 1, 0) > 0 && now.revents)
		return now.revents;
	return wait_for(request, wanted);
}

const struct operation op_accept = {
	.name = "ACCEPT",
	.has_fd = true,
	.has_priority = true,
	.gives_fd = true,
	.prepare = prepare_accept,
	.attempt = attempt_accept,
};
const struct operation op_connect = {
	.name = "CONNECT",
	.has_fd = true,
	.prepare = prepare_connect,
	.attempt = attempt_connect,
};
const struct operation op_shutdown = {
	.name = "SHUTDOWN",
	.has_fd = true,
	.prepare = prepare_shutdown,
	.attempt = attempt_shutdown,
};
const struct operation op_socket = {
	.name = "SOCKET",
	.gives_fd = true,
	.prepare = prepare_socket,
	.attempt = attempt_socket,
};
const struct operation op_poll_add = {
	.name = "POLL_ADD",
	.has_fd = true,
	.prepare = prepare_poll,
	.attempt = attempt_poll,
};
