/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "briefly.h"
#include "fixed.h"
#include "space.h"

#define OPTION_MAX 4096U

/* ---- names -------------------------------------------------------------------------------------- */

static int prepare_bind(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->len || sqe->buf_index || sqe->op_flags || sqe->file_index ? -EINVAL : 0;
}

static int64_t attempt_bind(struct request *request)
{
	struct sockaddr_storage address;
	uint64_t size = request->sqe.off;

	if (size > sizeof(address))
		return -EINVAL;
	if (space_read(request->space, &address, request->sqe.addr, size))
		return -EFAULT;
	return bind(request->watch.fd, (struct sockaddr *)&address, (socklen_t)size) ? -errno : 0;
}

static int prepare_listen(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->addr || sqe->off || sqe->buf_index || sqe->op_flags || sqe->file_index ?
		       -EINVAL :
		       0;
}

static int64_t attempt_listen(struct request *request)
{
	return listen(request->watch.fd, (int)request->sqe.len) ? -errno : 0;
}

/* ---- options ------------------------------------------------------------------------------------ */

static int prepare_command(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->off >> 32 || sqe->op_flags ? -EINVAL : 0;
}

static int64_t count_bytes(int fd, unsigned long which)
{
	int count = 0;

	return ioctl(fd, which, &count) ? -errno : count;
}

/* Where the option is, is in the place of an address: its level, and behind it its name. */
static int64_t get_option(const struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	uint8_t value[OPTION_MAX];
	socklen_t size = sqe->file_index;

	if ((uint32_t)sqe->addr != SOL_SOCKET)
		return -EOPNOTSUPP;
	if (size > OPTION_MAX)
		size = OPTION_MAX;
	if (getsockopt(request->watch.fd, SOL_SOCKET, (int)(sqe->addr >> 32), value, &size))
		return -errno;
	return space_write(request->space, sqe->addr3, value, size) ? -EFAULT : (int64_t)size;
}

static int64_t set_option(const struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	uint8_t value[OPTION_MAX];
	uint32_t size = sqe->file_index;

	if (size > OPTION_MAX)
		return -EINVAL;
	if (space_read(request->space, value, sqe->addr3, size))
		return -EFAULT;
	return setsockopt(request->watch.fd, (int)(uint32_t)sqe->addr, (int)(sqe->addr >> 32),
			  value, size) ?
		       -errno :
		       0;
}

static int64_t attempt_command(struct request *request)
{
	int fd = request->watch.fd;
	struct stat status;

	if (fstat(fd, &status) || !S_ISSOCK(status.st_mode))
		return -EOPNOTSUPP;
	switch ((uint32_t)request->sqe.off) {
	case SOCKET_URING_OP_SIOCINQ:
		return count_bytes(fd, SIOCINQ);
	case SOCKET_URING_OP_SIOCOUTQ:
		return count_bytes(fd, SIOCOUTQ);
	case SOCKET_URING_OP_GETSOCKOPT:
		return get_option(request);
	case SOCKET_URING_OP_SETSOCKOPT:
		return set_option(request);
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- sets of descriptors -------------------------------------------------------------------------- */

static int prepare_epoll_ctl(struct request *request)
{
	return request->sqe.buf_index || request->sqe.file_index ? -EINVAL : 0;
}

/*
 * A set knows a file by its number, too, which has to be the program's: a child has descriptors
 * of its own, where another one may stand under it. -errno or 0.
 */
static int control_as(int queue, int operation, int fd, int number, struct epoll_event *event)
{
	int status = 0;
	pid_t child = vfork();

	if (child == 0) {
		int aside = fcntl(queue, F_DUPFD, number + 1);
		int error = 0;

		if (aside < 0 || (fd != number && dup2(fd, number) < 0) ||
		    epoll_ctl(aside, operation, number, event))
			error = errno;
		_exit(error);
	}
	if (child < 0)
		return -errno;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EAGAIN;
}

static int64_t attempt_epoll_ctl(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const struct task *task = request->ring->kernel->task;
	int number = (int)sqe->off, fd, result;
	struct epoll_event event = {0};

	if (sqe->len != EPOLL_CTL_DEL &&
	    space_read(request->space, &event, sqe->addr, sizeof(event)))
		return -EFAULT;
	fd = task ? task_fetch(task, number) : -EBADF;
	if (fd < 0)
		return fd;
	result = control_as(request->watch.fd, (int)sqe->len, fd, number, &event);
	briefly_close(fd);
	return result;
}

/* ---- pipes -------------------------------------------------------------------------------------- */

static int prepare_pipe(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint32_t known = O_CLOEXEC | O_NONBLOCK | O_DIRECT;

	if (sqe->fd || sqe->off || sqe->addr3 || sqe->op_flags & ~known)
		return -EINVAL;
	return fixed_check(request, sqe->op_flags);
}

/* Two slots that follow each other, if it is slots. */
static int64_t attempt_pipe(struct request *request)
{
	int flags = (int)request->sqe.op_flags;
	int64_t ends[2];
	int fds[2], numbers[2];

	if (pipe2(fds, flags | O_CLOEXEC))
		return -errno;
	for (int i = 0; i < 2; i++) {
		uint32_t slot = request->sqe.file_index;

		ends[i] = fixed_give(request, fds[i], flags & O_CLOEXEC);
		numbers[i] = (int)(slot && slot != IORING_FILE_INDEX_ALLOC ? slot - 1 : ends[i]);
		if (slot && slot != IORING_FILE_INDEX_ALLOC)
			request->sqe.file_index++;
		if (ends[i] < 0) {
			if (i == 0)
				close(fds[1]);
			return ends[i];
		}
	}
	return space_write(request->space, request->sqe.addr, numbers, sizeof(numbers)) ? -EFAULT :
											  0;
}

const struct operation op_bind = {
	.name = "BIND",
	.has_fd = true,
	.prepare = prepare_bind,
	.attempt = attempt_bind,
};
const struct operation op_listen = {
	.name = "LISTEN",
	.has_fd = true,
	.prepare = prepare_listen,
	.attempt = attempt_listen,
};
const struct operation op_uring_cmd = {
	.name = "URING_CMD",
	.has_fd = true,
	.prepare = prepare_command,
	.attempt = attempt_command,
};
const struct operation op_epoll_ctl = {
	.name = "EPOLL_CTL",
	.has_fd = true,
	.prepare = prepare_epoll_ctl,
	.attempt = attempt_epoll_ctl,
};
const struct operation op_pipe = {
	.name = "PIPE",
	.gives_fd = true,
	.prepare = prepare_pipe,
	.attempt = attempt_pipe,
};
