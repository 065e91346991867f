/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "transfer.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "briefly.h"
#include "groups.h"
#include "space.h"

#define PIECE 262144U /* that a copy is made of at once */
#define SHOTS_MAX 32 /* of one turn: then it is others' */

/* A file that can be waited for by nothing: it is always ready, though it may have to be fetched. */
static bool is_stored(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 &&
	       (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode) || S_ISDIR(status.st_mode));
}

static bool has_place(int fd)
{
	return lseek(fd, 0, SEEK_CUR) >= 0 || errno != ESPIPE;
}

static int64_t result_of(ssize_t result)
{
	return result < 0 ? -errno : result;
}

/*
 * Now or not at all (-EAGAIN). Of what cannot promise that, a stored file is as fast as its
 * disk, and any other is asked first, and then given a moment.
 */
static int64_t move_now(const struct request *request, briefly_call call, struct iovec piece,
			short events)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	struct pollfd now = {.fd = request->watch.fd, .events = events};
	int flags = (int)sqe->op_flags;
	off_t at = (off_t)(sqe->off + request->count);
	int64_t result;

	if (sqe->off == UINT64_MAX || !has_place(now.fd))
		at = -1;
	result = result_of(call(now.fd, &piece, 1, at, flags | RWF_NOWAIT));
	if (result != -EOPNOTSUPP && result != -EAGAIN)
		return result;
	if (is_stored(now.fd))
		return result_of(call(now.fd, &piece, 1, at, flags));
	if (result == -EAGAIN || poll(&now, 1, 0) == 0)
		return -EAGAIN;
	return briefly_move(call, now.fd, &piece, at, flags);
}

static int64_t read_piece(struct request *request, uint64_t addr, uint32_t size)
{
	static uint8_t bytes[PIECE];
	int64_t result = move_now(request, preadv2, (struct iovec){bytes, size}, POLLIN);

	if (result > 0 && space_write(request->space, addr, bytes, (size_t)result))
		return -EFAULT;
	return result;
}

static int64_t write_piece(struct request *request, uint64_t addr, uint32_t size)
{
	static uint8_t bytes[PIECE];

	if (space_read(request->space, bytes, addr, size))
		return -EFAULT;
	return move_now(request, pwritev2, (struct iovec){bytes, size}, POLLOUT);
}

static int64_t wait_for(struct request *request, uint32_t events)
{
	request->events = events;
	return REQUEST_WAITS;
}

/* Piece by piece, as long as each is moved whole. */
static int64_t move(struct request *request, uint64_t addr, uint32_t size,
		    int64_t (*one)(struct request *, uint64_t, uint32_t))
{
	int64_t moved;
	uint32_t wanted;

	do {
		uint64_t left = size - request->count;

		wanted = left < PIECE ? (uint32_t)left : PIECE;
		moved = one(request, addr + request->count, wanted);
		request->count += moved > 0 ? (uint64_t)moved : 0;
	} while (moved == wanted && request->count < size);
	return request->count ? (int64_t)request->count : moved;
}

/* ---- from a group ------------------------------------------------------------------------------- */

int64_t transfer_read(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	struct buffer buffer;
	uint32_t size;
	int64_t result;

	if (!groups_peek(request->ring, sqe->buf_index, &buffer, 1))
		return -ENOBUFS;
	size = sqe->len && sqe->len < buffer.len ? sqe->len : buffer.len;
	request->count = 0;
	result = move(request, buffer.addr, size, read_piece);
	if (result > 0)
		request->cqe_flags =
			groups_take(request->ring, sqe->buf_index, &buffer, (uint64_t)result);
	return result == -EAGAIN ? wait_for(request, EPOLLIN | EPOLLRDHUP) : result;
}

static int prepare_many(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (!(sqe->flags & IOSQE_BUFFER_SELECT) || sqe->addr || sqe->len)
		return -EINVAL;
	return 0;
}

static int64_t attempt_many(struct request *request)
{
	if (is_stored(request->watch.fd))
		return -EBADFD;
	for (int shot = 0; shot < SHOTS_MAX; shot++) {
		int64_t result = transfer_read(request);

		if (result == REQUEST_WAITS || result <= 0 || !ring_has_room(request->ring))
			return result;
		request_post_more(request, (int32_t)result, request->cqe_flags);
		request->cqe_flags = 0;
	}
	request->events = 0;
	request->is_ready = true;
	return REQUEST_WAITS;
}

/* ---- without the machine's --------------------------------------------------------------------- */

static int64_t attempt_read(struct request *request)
{
	int64_t result;

	if (request->sqe.flags & IOSQE_BUFFER_SELECT)
		return transfer_read(request);
	result = move(request, request->sqe.addr, request->sqe.len, read_piece);
	return result == -EAGAIN ? wait_for(request, EPOLLIN | EPOLLRDHUP) : result;
}

static int64_t attempt_write(struct request *request)
{
	int64_t result = move(request, request->sqe.addr, request->sqe.len, write_piece);

	return result == -EAGAIN ? wait_for(request, EPOLLOUT) : result;
}

const struct operation op_read = {
	.name = "READ",
	.has_fd = true,
	.has_priority = true,
	.selects = true,
	.attempt = attempt_read,
};
const struct operation op_write = {
	.name = "WRITE",
	.has_fd = true,
	.has_priority = true,
	.attempt = attempt_write,
};
const struct operation op_read_multishot = {
	.name = "READ_MULTISHOT",
	.has_fd = true,
	.has_priority = true,
	.selects = true,
	.prepare = prepare_many,
	.attempt = attempt_many,
};
