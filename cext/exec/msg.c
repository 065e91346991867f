/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "msg.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "groups.h"
#include "rights.h"
#include "space.h"
#include "stream.h"

#define CQE_F_NOTIF (1U << 3)
#define PIECE 262144U /* that a copy is made of at once */
#define VECTOR_MAX 1024U
#define CONTROL_MAX 8192U
#define SHOTS_MAX 32 /* of one turn: then it is others' */

/* What stands before each message in a buffer of its group. */
struct recvmsg_out {
	uint32_t namelen, controllen, payloadlen, flags;
};

/* The program's message, read once, and where its bytes are in between. */
struct message {
	struct msghdr theirs;
	struct iovec vector[VECTOR_MAX];
	uint64_t size; /* of all that its buffers hold */
	struct sockaddr_storage name;
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_MAX];
	uint8_t bytes[PIECE];
	struct iovec piece;
	struct msghdr ours;
};

static struct message message; /* one at a time */

static uint64_t address_of(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

static bool is_multishot(const struct request *request)
{
	return (request->sqe.ioprio & IORING_RECV_MULTISHOT) != 0;
}

static bool selects(const struct request *request)
{
	return (request->sqe.flags & IOSQE_BUFFER_SELECT) != 0;
}

/* ---- the program's side ------------------------------------------------------------------------- */

static int read_vector(const struct request *request)
{
	struct msghdr *theirs = &message.theirs;

	if (theirs->msg_iovlen > VECTOR_MAX)
		return -EMSGSIZE;
	if (space_read(request->space, message.vector, address_of(theirs->msg_iov),
		       theirs->msg_iovlen * sizeof(struct iovec)))
		return -EFAULT;
	message.size = 0;
	for (size_t i = 0; i < theirs->msg_iovlen; i++) {
		if (message.vector[i].iov_len > INT32_MAX)
			return -EINVAL;
		message.size += message.vector[i].iov_len;
	}
	return 0;
}

static int read_message(const struct request *request)
{
	struct msghdr *theirs = &message.theirs;

	if (space_read(request->space, theirs, request->sqe.addr, sizeof(*theirs)))
		return -EFAULT;
	if ((int32_t)theirs->msg_namelen < 0)
		return -EINVAL;
	if (theirs->msg_namelen > sizeof(message.name))
		theirs->msg_namelen = sizeof(message.name);
	if (!theirs->msg_name)
		theirs->msg_namelen = 0;
	message.piece = (struct iovec){message.bytes, 0};
	message.ours = (struct msghdr){.msg_iov = &message.piece, .msg_iovlen = 1};
	return read_vector(request);
}

/* From here on in the buffers, one after the other: `size` bytes at `offset` of all. 0 or -errno. */
static int copy(const struct request *request, uint64_t offset, uint64_t size, bool is_out)
{
	uint64_t done = 0;

	for (size_t i = 0; i < message.theirs.msg_iovlen && done < size; i++) {
		uint64_t here = message.vector[i].iov_len, at;

		if (offset >= here) {
			offset -= here;
			continue;
		}
		at = address_of(message.vector[i].iov_base) + offset;
		here = here - offset < size - done ? here - offset : size - done;
		offset = 0;
		if (is_out ? space_write(request->space, at, message.bytes + done, here) :
			     space_read(request->space, message.bytes + done, at, here))
			return -EFAULT;
		done += here;
	}
	return 0;
}

static int64_t wait_for(struct request *request, uint32_t events)
{
	if (request->sqe.op_flags & MSG_DONTWAIT)
		return request->count ? (int64_t)request->count : -EAGAIN;
	request->events = events;
	return REQUEST_WAITS;
}

static bool waits_first(struct request *request)
{
	bool waits = !request->is_begun && request->sqe.ioprio & IORING_RECVSEND_POLL_FIRST;

	request->is_begun = true;
	return waits;
}

/* ---- sending -------------------------------------------------------------------------------------- */

static int prepare_sendmsg(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return sqe->off || sqe->file_index || sqe->ioprio & ~IORING_RECVSEND_POLL_FIRST ? -EINVAL :
											  0;
}

/* With the first bytes of it go its name and its control data. */
static int add_head(const struct request *request, struct rights *rights)
{
	const struct msghdr *theirs = &message.theirs;
	struct msghdr *ours = &message.ours;

	if (theirs->msg_namelen) {
		ours->msg_name = &message.name;
		ours->msg_namelen = theirs->msg_namelen;
		if (space_read(request->space, ours->msg_name, address_of(theirs->msg_name),
			       ours->msg_namelen))
			return -EFAULT;
	}
	if (theirs->msg_controllen == 0)
		return 0;
	if (theirs->msg_controllen > CONTROL_MAX)
		return -ENOBUFS;
	ours->msg_control = message.control;
	ours->msg_controllen = theirs->msg_controllen;
	if (space_read(request->space, ours->msg_control, address_of(theirs->msg_control),
		       ours->msg_controllen))
		return -EFAULT;
	return rights_fetch(rights, request->ring->kernel->task, ours);
}

static int64_t send_piece(struct request *request)
{
	int flags = ((int)request->sqe.op_flags & ~MSG_WAITALL) | MSG_DONTWAIT | MSG_NOSIGNAL;
	struct rights rights = {.count = 0};
	uint64_t left = message.size - request->count;
	int64_t result = 0;

	message.ours.msg_name = message.ours.msg_control = NULL;
	message.ours.msg_namelen = 0;
	message.ours.msg_controllen = 0;
	message.piece.iov_len = left < PIECE ? left : PIECE;
	if (request->count == 0)
		result = add_head(request, &rights);
	if (!result)
		result = copy(request, request->count, message.piece.iov_len, false);
	if (!result) {
		result = sendmsg(request->watch.fd, &message.ours, flags);
		if (result < 0)
			result = -errno;
	}
	rights_drop(&rights);
	return result;
}

static int64_t send_once(struct request *request)
{
	bool all = (request->sqe.op_flags & MSG_WAITALL) != 0;
	int64_t result = read_message(request), sent;

	if (result)
		return result;
	do {
		sent = send_piece(request);
		if (sent > 0)
			request->count += (uint64_t)sent;
	} while (sent > 0 && request->count < message.size &&
		 (all || sent == (int64_t)message.piece.iov_len));
	if (sent == -EAGAIN && (all || request->count == 0))
		return wait_for(request, EPOLLOUT);
	return sent < 0 && request->count == 0 ? sent : (int64_t)request->count;
}

static int64_t attempt_sendmsg(struct request *request)
{
	return waits_first(request) ? wait_for(request, EPOLLOUT) : send_once(request);
}

/* The bytes were copied: see SEND_ZC. */
static int64_t attempt_sendmsg_zc(struct request *request)
{
	int64_t result = attempt_sendmsg(request);

	if (result == REQUEST_WAITS)
		return result;
	request_post_more(request, (int32_t)result, 0);
	ring_post(request->ring, request->sqe.user_data, 0, CQE_F_NOTIF);
	request->over = (int32_t)result;
	return REQUEST_OVER;
}

static int prepare_sendmsg_zc(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->addr3 || sqe->pad2 || sqe->flags & IOSQE_CQE_SKIP_SUCCESS)
		return -EINVAL;
	return prepare_sendmsg(request);
}

/* ---- receiving ------------------------------------------------------------------------------------ */

static int prepare_recvmsg(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint16_t known = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT;

	if (sqe->off || sqe->file_index || sqe->ioprio & ~known)
		return -EINVAL;
	if (!is_multishot(request))
		return 0;
	return !selects(request) || sqe->op_flags & MSG_WAITALL ? -EINVAL : 0;
}

/* One message, of which at most `size` bytes are taken. How long it was, or -errno. */
static int64_t receive(struct request *request, uint64_t size)
{
	struct kernel *kernel = request->ring->kernel;
	const struct msghdr *theirs = &message.theirs;
	struct msghdr *ours = &message.ours;
	int flags = (int)request->sqe.op_flags;
	ssize_t result;

	message.piece.iov_len = size < PIECE ? size : PIECE;
	ours->msg_name = theirs->msg_namelen ? &message.name : NULL;
	ours->msg_namelen = theirs->msg_namelen ? sizeof(message.name) : 0;
	ours->msg_control = theirs->msg_controllen ? message.control : NULL;
	ours->msg_controllen = theirs->msg_controllen < CONTROL_MAX ? theirs->msg_controllen :
								      CONTROL_MAX;
	result = recvmsg(request->watch.fd, ours,
			 (flags & ~MSG_WAITALL) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (result < 0)
		return -errno;
	if (ours->msg_controllen)
		rights_give(kernel, ours, flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0);
	ours->msg_flags &= ~MSG_CMSG_CLOEXEC;
	ours->msg_flags |= flags & MSG_CMSG_CLOEXEC;
	return result;
}

static uint64_t taken(int64_t result)
{
	return (uint64_t)result < message.piece.iov_len ? (uint64_t)result : message.piece.iov_len;
}

/* What the program is told of a message, where it gave its own. */
static int write_head(const struct request *request)
{
	const struct msghdr *theirs = &message.theirs, *ours = &message.ours;
	uint64_t at = request->sqe.addr;
	uint32_t name_size = ours->msg_namelen < theirs->msg_namelen ? ours->msg_namelen :
								       theirs->msg_namelen;

	if (space_write(request->space, address_of(theirs->msg_name), &message.name, name_size) ||
	    space_write(request->space, address_of(theirs->msg_control), message.control,
			ours->msg_controllen))
		return -EFAULT;
	if (theirs->msg_name &&
	    space_write(request->space, at + offsetof(struct msghdr, msg_namelen),
			&ours->msg_namelen, sizeof(ours->msg_namelen)))
		return -EFAULT;
	if (space_write(request->space, at + offsetof(struct msghdr, msg_controllen),
			&ours->msg_controllen, sizeof(ours->msg_controllen)) ||
	    space_write(request->space, at + offsetof(struct msghdr, msg_flags), &ours->msg_flags,
			sizeof(ours->msg_flags)))
		return -EFAULT;
	return 0;
}

/* Of a group the next buffer takes the place of the one that the message names, if it names one. */
static int choose(const struct request *request, struct buffer *buffer)
{
	struct iovec *first = &message.vector[0];

	if (!selects(request))
		return 0;
	if (message.theirs.msg_iovlen > 1)
		return -EINVAL;
	if (!groups_peek(request->ring, request->sqe.buf_index, buffer, 1))
		return -ENOBUFS;
	if (message.theirs.msg_iovlen == 0 || first->iov_len == 0 || first->iov_len > buffer->len ||
	    is_multishot(request))
		first->iov_len = buffer->len;
	first->iov_base = (void *)(uintptr_t)buffer->addr;
	message.theirs.msg_iovlen = 1;
	message.size = first->iov_len;
	return 0;
}

static void take(struct request *request, const struct buffer *buffer, uint64_t size)
{
	if (selects(request) && size > 0)
		request->cqe_flags =
			groups_take(request->ring, request->sqe.buf_index, buffer, size);
}

static int64_t receive_once(struct request *request)
{
	bool all = (request->sqe.op_flags & MSG_WAITALL) != 0 && !selects(request);
	struct buffer buffer;
	int64_t result = choose(request, &buffer);

	if (result)
		return result;
	do {
		result = receive(request, message.size - request->count);
		if (result >= 0 && copy(request, request->count, taken(result), true))
			return -EFAULT;
		if (result >= 0 && write_head(request))
			return -EFAULT;
		request->count += result > 0 ? (uint64_t)result : 0;
	} while (all && result > 0 && request->count < message.size);
	if (result == -EAGAIN && (all || request->count == 0))
		return wait_for(request, EPOLLIN | EPOLLRDHUP);
	take(request, &buffer, request->count);
	if (result < 0 && request->count == 0)
		return result;
	request->cqe_flags |=
		stream_rest(request->watch.fd, request->count == 0 && message.size > 0);
	return (int64_t)request->count;
}

/* A message with all that belongs to it, in one buffer. How much of that is used, or -errno. */
static int64_t write_whole(const struct request *request, const struct buffer *buffer,
			   int64_t result, uint64_t room)
{
	const struct msghdr *theirs = &message.theirs, *ours = &message.ours;
	const struct recvmsg_out out = {
		.namelen = ours->msg_namelen,
		.controllen = (uint32_t)ours->msg_controllen,
		.payloadlen = (uint32_t)result,
		.flags = (uint32_t)ours->msg_flags,
	};
	uint64_t name_at = buffer->addr + sizeof(out);
	uint64_t control_at = name_at + theirs->msg_namelen;
	uint64_t bytes_at = control_at + theirs->msg_controllen;
	uint64_t size = taken(result) < room ? taken(result) : room;

	if (space_write(request->space, buffer->addr, &out, sizeof(out)) ||
	    space_write(request->space, name_at, &message.name,
			ours->msg_namelen < theirs->msg_namelen ? ours->msg_namelen :
								  theirs->msg_namelen) ||
	    space_write(request->space, control_at, message.control, ours->msg_controllen) ||
	    space_write(request->space, bytes_at, message.bytes, size))
		return -EFAULT;
	return (int64_t)(bytes_at - buffer->addr + size);
}

static int64_t shoot(struct request *request)
{
	const struct msghdr *theirs = &message.theirs;
	uint64_t head = sizeof(struct recvmsg_out) + theirs->msg_namelen + theirs->msg_controllen;
	struct buffer buffer;
	int64_t result = choose(request, &buffer);

	request->cqe_flags = 0;
	if (result)
		return result;
	if (head > buffer.len)
		return -EFAULT;
	result = receive(request, buffer.len - head);
	if (result <= 0)
		return result;
	result = write_whole(request, &buffer, result, buffer.len - head);
	take(request, &buffer, result > 0 ? (uint64_t)result : 0);
	return result;
}

static int64_t receive_many(struct request *request)
{
	for (int shot = 0; shot < SHOTS_MAX; shot++) {
		int64_t result = shoot(request);

		if (result == -EAGAIN)
			return wait_for(request, EPOLLIN | EPOLLRDHUP);
		if (result <= 0 || !ring_has_room(request->ring))
			return result;
		request_post_more(request, (int32_t)result, request->cqe_flags);
		request->cqe_flags = 0;
	}
	request->events = 0;
	request->is_ready = true;
	return REQUEST_WAITS;
}

static int64_t attempt_recvmsg(struct request *request)
{
	int64_t result;

	if (waits_first(request))
		return wait_for(request, EPOLLIN | EPOLLRDHUP);
	result = read_message(request);
	if (result)
		return result;
	/* It may bring descriptors: they can be given in a call only. */
	if (message.theirs.msg_controllen && !request->ring->kernel->call) {
		request->needs_call = request->is_ready = true;
		request->events = 0;
		return REQUEST_WAITS;
	}
	return is_multishot(request) ? receive_many(request) : receive_once(request);
}

const struct operation op_sendmsg = {
	.name = "SENDMSG",
	.has_fd = true,
	.has_priority = true,
	.prepare = prepare_sendmsg,
	.attempt = attempt_sendmsg,
};
const struct operation op_sendmsg_zc = {
	.name = "SENDMSG_ZC",
	.has_fd = true,
	.has_priority = true,
	.prepare = prepare_sendmsg_zc,
	.attempt = attempt_sendmsg_zc,
};
const struct operation op_recvmsg = {
	.name = "RECVMSG",
	.has_fd = true,
	.has_priority = true,
	.selects = true,
	.prepare = prepare_recvmsg,
	.attempt = attempt_recvmsg,
};
