/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "buffers.h"
#include "groups.h"
#include "space.h"

#define CQE_F_SOCK_NONEMPTY (1U << 2)
#define CQE_F_NOTIF (1U << 3)
#define NOTIF_USAGE_ZC_COPIED (1U << 31)
#define PIECE 262144U /* that a copy is made of at once */
#define BUFFERS_MAX 64U /* that are filled or sent at once */
#define SHOTS_MAX 32 /* of one turn: then it is others' */

/* Where bytes are in the program's memory, one buffer after the other. */
struct span {
	struct buffer buffers[BUFFERS_MAX];
	uint32_t count;
	uint64_t size;
};

/* ---- which buffers ------------------------------------------------------------------------------ */

static bool selects(const struct request *request)
{
	return (request->sqe.flags & IOSQE_BUFFER_SELECT) != 0;
}

static bool is_bundle(const struct request *request)
{
	return (request->sqe.ioprio & IORING_RECVSEND_BUNDLE) != 0;
}

/* Those that the submission names, or the next ones of its group. 0 or -errno. */
static int choose(const struct request *request, struct span *span)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	uint32_t most = is_bundle(request) ? BUFFERS_MAX : 1;

	if (!selects(request)) {
		span->buffers[0] = (struct buffer){.addr = sqe->addr, .len = sqe->len};
		span->count = 1;
		span->size = sqe->len;
		return 0;
	}
	span->count = groups_peek(request->ring, sqe->buf_index, span->buffers, most);
	span->size = 0;
	for (uint32_t i = 0; i < span->count; i++)
		span->size += span->buffers[i].len;
	if (sqe->len && span->size > sqe->len)
		span->size = sqe->len;
	return span->count ? 0 : -ENOBUFS;
}

/* Some bytes are in them: they are the request's. What is missing still has its place there. */
static void keep(struct request *request, const struct span *span)
{
	struct io_uring_sqe *sqe = &request->sqe;

	if (!selects(request) || request->count == 0)
		return;
	request->cqe_flags |=
		groups_take(request->ring, sqe->buf_index, span->buffers, request->count);
	if (is_bundle(request))
		return;
	sqe->flags &= (uint8_t)~IOSQE_BUFFER_SELECT;
	sqe->addr = span->buffers[0].addr;
	sqe->len = (uint32_t)span->size;
}

/* The piece at `offset` of the span that lies in one buffer. */
static uint64_t locate(const struct span *span, uint64_t offset, uint64_t *size)
{
	const struct buffer *buffer = span->buffers;

	while (offset >= buffer->len) {
		offset -= buffer->len;
		buffer++;
	}
	if (*size > buffer->len - offset)
		*size = buffer->len - offset;
	return buffer->addr + offset;
}

static int write_span(struct request *request, const struct span *span, const uint8_t *bytes,
		      uint64_t size)
{
	for (uint64_t done = 0, here; done < size; done += here) {
		uint64_t at;

		here = size - done;
		at = locate(span, request->count + done, &here);
		if (space_write(request->space, at, bytes + done, here))
			return -EFAULT;
	}
	return 0;
}

static int read_span(struct request *request, const struct span *span, uint8_t *bytes,
		     uint64_t size)
{
	for (uint64_t done = 0, here; done < size; done += here) {
		uint64_t at;

		here = size - done;
		at = locate(span, request->count + done, &here);
		if (space_read(request->space, bytes + done, at, here))
			return -EFAULT;
	}
	return 0;
}

/* ---- moving -------------------------------------------------------------------------------------- */

static int64_t receive_piece(struct request *request, const struct span *span, uint32_t size)
{
	static uint8_t bytes[PIECE];
	int flags = (int)request->sqe.op_flags & ~MSG_WAITALL;
	ssize_t count = recv(request->watch.fd, bytes, size, flags | MSG_DONTWAIT);

	if (count < 0)
		return -errno;
	/* A datagram may be told longer than what there is of it. */
	if (write_span(request, span, bytes, count < size ? (uint64_t)count : size))
		return -EFAULT;
	return count;
}

/* To whom, if not to the peer. 0: the peer. -errno: there is no such address. */
static int64_t read_address(const struct request *request, struct sockaddr_storage *address)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	uint16_t size = (uint16_t)sqe->file_index;

	if (sqe->off == 0)
		return 0;
	if (size > sizeof(*address))
		return -EINVAL;
	return space_read(request->space, address, sqe->off, size) ? -EFAULT : size;
}

static int64_t send_piece(struct request *request, const struct span *span, uint32_t size)
{
	static uint8_t bytes[PIECE];
	struct sockaddr_storage address;
	int64_t address_size = read_address(request, &address);
	int flags = (int)request->sqe.op_flags & ~MSG_WAITALL;
	ssize_t count;

	if (address_size < 0)
		return address_size;
	if (read_span(request, span, bytes, size))
		return -EFAULT;
	count = sendto(request->watch.fd, bytes, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL,
		       address_size ? (struct sockaddr *)&address : NULL, (socklen_t)address_size);
	return count < 0 ? -errno : count;
}

/*
 * Piece by piece, as long as each is moved whole; how many bytes, in `count`, too. -EAGAIN: none
 * yet, or all are asked for and some are missing.
 */
static int64_t move(struct request *request, const struct span *span,
		    int64_t (*one)(struct request *, const struct span *, uint32_t))
{
	bool all = (request->sqe.op_flags & MSG_WAITALL) != 0 && !is_bundle(request);
	int64_t count;
	uint32_t wanted;

	do {
		uint64_t left = span->size - request->count;

		wanted = left < PIECE ? (uint32_t)left : PIECE;
		count = one(request, span, wanted);
		if (count > 0)
			request->count += (uint64_t)count;
	} while (count > 0 && (all || count == wanted) && request->count < span->size);
	if (count >= 0)
		return (int64_t)request->count;
	if (count == -EAGAIN && (all || request->count == 0))
		return -EAGAIN;
	return request->count ? (int64_t)request->count : count;
}

static int64_t wait_for(struct request *request, uint32_t events)
{
	if (request->sqe.op_flags & MSG_DONTWAIT)
		return request->count ? (int64_t)request->count : -EAGAIN;
	request->events = events;
	return REQUEST_WAITS;
}

/* Not before its socket is ready: asked for once. */
static bool waits_first(struct request *request)
{
	bool waits = !request->is_begun && request->sqe.ioprio & IORING_RECVSEND_POLL_FIRST;

	request->is_begun = true;
	return waits;
}

/* ---- receiving ------------------------------------------------------------------------------------ */

static bool is_multishot(const struct request *request)
{
	return (request->sqe.ioprio & IORING_RECV_MULTISHOT) != 0;
}

static int prepare_recv(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint16_t known = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT |
			       IORING_RECVSEND_BUNDLE;

	if (sqe->off || sqe->ioprio & ~known)
		return -EINVAL;
	if (!is_multishot(request))
		return sqe->file_index ? -EINVAL : 0;
	return !selects(request) || sqe->op_flags & MSG_WAITALL ? -EINVAL : 0;
}

static int option(int fd, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -1 : value;
}

uint32_t stream_rest(int fd, bool has_ended)
{
	bool is_tcp = option(fd, SO_PROTOCOL) == IPPROTO_TCP;
	int rest = 0;

	if (!is_tcp && (option(fd, SO_DOMAIN) != AF_UNIX || option(fd, SO_TYPE) != SOCK_STREAM))
		return 0;
	if (ioctl(fd, FIONREAD, &rest) == 0 && rest > 0)
		return CQE_F_SOCK_NONEMPTY;
	return is_tcp && has_ended ? CQE_F_SOCK_NONEMPTY : 0;
}

static int64_t receive_once(struct request *request)
{
	struct span span;
	int64_t result = choose(request, &span);

	if (result)
		return result;
	result = move(request, &span, receive_piece);
	keep(request, &span);
	if (result == -EAGAIN)
		return wait_for(request, EPOLLIN | EPOLLRDHUP);
	if (result >= 0)
		request->cqe_flags |= stream_rest(request->watch.fd, result == 0 && span.size);
	return result;
}

/* The next shot: its result, or -errno. Its flags are the request's. */
static int64_t shoot(struct request *request)
{
	struct span span;
	int64_t result = choose(request, &span);

	if (result)
		return result;
	request->count = 0;
	request->cqe_flags = 0;
	result = move(request, &span, receive_piece);
	if (result > 0)
		request->cqe_flags = groups_take(request->ring, request->sqe.buf_index,
						 span.buffers, (uint64_t)result);
	if (result >= 0)
		request->cqe_flags |= stream_rest(request->watch.fd, result == 0 && span.size);
	return result;
}

/* Is it the last one? A limit on all of them is where others have a slot. */
static bool is_last(const struct request *request)
{
	uint32_t limit = request->sqe.file_index;

	return (limit && request->total >= limit) || !ring_has_room(request->ring);
}

static int64_t receive_many(struct request *request)
{
	for (int shot = 0; shot < SHOTS_MAX; shot++) {
		int64_t result = shoot(request);

		request->total += result > 0 ? (uint64_t)result : 0;
		if (result == -EAGAIN)
			return wait_for(request, EPOLLIN | EPOLLRDHUP);
		if (result <= 0 || is_last(request))
			return result;
		request_post_more(request, (int32_t)result, request->cqe_flags);
		request->cqe_flags = 0;
	}
	request->events = 0;
	request->is_ready = true;
	return REQUEST_WAITS;
}

static int64_t attempt_recv(struct request *request)
{
	if (waits_first(request))
		return wait_for(request, EPOLLIN | EPOLLRDHUP);
	return is_multishot(request) ? receive_many(request) : receive_once(request);
}

/* ---- sending -------------------------------------------------------------------------------------- */

static int prepare_send(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint16_t known = IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_BUNDLE;

	return sqe->ioprio & ~known || sqe->file_index >> 16 ? -EINVAL : 0;
}

/* With more buffers in its group a bundle goes on. */
static bool has_more(const struct request *request, int64_t result)
{
	struct buffer next;

	return result > 0 && is_bundle(request) && selects(request) &&
	       groups_peek(request->ring, request->sqe.buf_index, &next, 1) > 0 &&
	       ring_has_room(request->ring);
}

static int64_t send_once(struct request *request)
{
	struct span span;
	int64_t result = choose(request, &span);

	if (result)
		return result;
	result = move(request, &span, send_piece);
	keep(request, &span);
	return result;
}

static int64_t attempt_send(struct request *request)
{
	int64_t result;

	if (waits_first(request))
		return wait_for(request, EPOLLOUT);
	result = send_once(request);
	while (has_more(request, result)) {
		request_post_more(request, (int32_t)result, request->cqe_flags);
		request->cqe_flags = 0;
		request->count = 0;
		result = send_once(request);
	}
	return result == -EAGAIN ? wait_for(request, EPOLLOUT) : result;
}

static int prepare_send_zc(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint16_t known = IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_FIXED_BUF |
			       IORING_SEND_ZC_REPORT_USAGE;

	if (sqe->ioprio & ~known || sqe->file_index >> 16 || sqe->addr3 || sqe->pad2)
		return -EINVAL;
	return sqe->flags & IOSQE_CQE_SKIP_SUCCESS ? -EINVAL : 0;
}

/* The bytes were copied, so that the buffer is the program's again at once: two completions. */
static int64_t attempt_send_zc(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	bool tells = (sqe->ioprio & IORING_SEND_ZC_REPORT_USAGE) != 0;
	bool is_fixed = (sqe->ioprio & IORING_RECVSEND_FIXED_BUF) != 0;
	int64_t result =
		is_fixed ? buffers_check(request->ring, sqe->buf_index, sqe->addr, sqe->len) : 0;

	if (!result)
		result = attempt_send(request);

	if (result == REQUEST_WAITS)
		return result;
	request_post_more(request, (int32_t)result, 0);
	ring_post(request->ring, request->sqe.user_data, tells ? (int32_t)NOTIF_USAGE_ZC_COPIED : 0,
		  CQE_F_NOTIF);
	request->over = (int32_t)result;
	return REQUEST_OVER;
}

const struct operation op_recv = {
	.name = "RECV",
	.has_fd = true,
	.has_priority = true,
	.selects = true,
	.prepare = prepare_recv,
	.attempt = attempt_recv,
};
const struct operation op_send = {
	.name = "SEND",
	.has_fd = true,
	.has_priority = true,
	.selects = true,
	.prepare = prepare_send,
	.attempt = attempt_send,
};
const struct operation op_send_zc = {
	.name = "SEND_ZC",
	.has_fd = true,
	.has_priority = true,
	.prepare = prepare_send_zc,
	.attempt = attempt_send_zc,
};
