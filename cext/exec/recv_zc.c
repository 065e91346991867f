/* SPDX-License-Identifier: MIT */
/*
 * A socket keeps its bytes until a completion has been given for them: they are looked at
 * first, delivered, and only what was handed over is taken out of it. So a receive that ends
 * for lack of room loses nothing, and whoever reads the socket next finds the rest.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "recv_zc.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "abandoned.h"
#include "pinned.h"
#include "space.h"

#define PIECE 262144U
#define PIECES_MAX 8 /* of one turn: then it is others' */
#define GATHERED_NS 5000000U
#define STARVED_NS 1000000U /* until the refill ring is looked at again */

static int prepare(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint16_t known = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT;

	if (sqe->off || sqe->addr || sqe->addr3 || sqe->op_flags)
		return -EINVAL;
	return sqe->ioprio & ~known || !(sqe->ioprio & IORING_RECV_MULTISHOT) ? -EINVAL : 0;
}

static int check_socket(int fd)
{
	int protocol;
	socklen_t size = sizeof(protocol);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size))
		return -errno;
	return protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
}

static bool is_armed(const struct request *request)
{
	return zcrx_emu_is_armed(request->ring->emu, request->flow) > 0;
}

/*
 * The flow is called after the descriptor, since that is what a person knows the connection by;
 * a second receive of the same one has a number that no descriptor has.
 */
static uint32_t choose_flow(const struct request *request)
{
	uint32_t flow = (uint32_t)request->sqe.fd;

	while (zcrx_emu_is_armed(request->ring->emu, flow) > 0)
		flow += 1U << 31 | 1;
	return flow;
}

static int begin(struct request *request)
{
	struct zcrx_emu_recv recv = {
		.zcrx_id = request->sqe.file_index,
		.user_data = request->sqe.user_data,
		.limit = request->sqe.len,
	};
	int error = check_socket(request->watch.fd);

	if (error)
		return error;
	abandoned_forget(request);
	request->flow = recv.flow = choose_flow(request);
	request->is_begun = true;
	return zcrx_emu_arm(request->ring->emu, &recv);
}

static void step(struct request *request)
{
	int count = zcrx_emu_step(request->ring->emu);

	if (count > 0)
		request->ring->posted += (uint64_t)count;
}

static struct ring_queue *queue_of(const struct request *request)
{
	uint32_t zcrx_id = request->sqe.file_index;

	return zcrx_id < RING_QUEUES_MAX ? &request->ring->queues[zcrx_id] : NULL;
}

/*
 * There is time for it: what the program has done wrong is told soon. Nobody but the program
 * has the refill ring of a queue without a device looked at.
 */
static void judge_returned(const struct request *request)
{
	const struct ring_queue *queue = queue_of(request);

	if (!(queue && queue->has_no_device) && !request->ring->kernel->is_lazy)
		zcrx_emu_drain(request->ring->emu, request->sqe.file_index);
}

/* The socket has nothing, or an end of its own. */
static int64_t conclude(struct request *request, ssize_t size)
{
	struct zcrx_emu *emu = request->ring->emu;
	int error = errno;

	judge_returned(request);
	if (size == 0) {
		zcrx_emu_end(emu, request->flow);
		step(request);
		return REQUEST_OVER;
	}
	if (error == EAGAIN) {
		request->events = EPOLLIN | EPOLLRDHUP;
		return REQUEST_WAITS;
	}
	zcrx_emu_fail(emu, request->flow, -error);
	return REQUEST_OVER;
}

/* The program has taken its area away, or is another one by now. */
static bool is_gone(const struct request *request)
{
	struct space *space = request->ring->space;
	const struct ring_queue *queue = queue_of(request);

	if (!space_is_alive(space))
		return true;
	if (!queue)
		return false;
	return (queue->area_size && !pinned_is_there(space, queue->area_at)) ||
	       (queue->region_at && !pinned_is_there(space, queue->region_at));
}

/* There is no buffer. Nothing tells when one is returned: it is looked for now and then. */
static int64_t starve(struct request *request)
{
	if (is_gone(request)) {
		/* Who is on his way out, or another program by now, may do so: not who waits for more. */
		if (request->ring->kernel->call && space_is_alive(request->ring->space))
			zcrx_emu_gone(request->ring->emu, request->sqe.file_index, request->flow);
		zcrx_emu_fail(request->ring->emu, request->flow, -EFAULT);
		return REQUEST_OVER;
	}
	request->events = 0;
	request->deadline = now_ns() + STARVED_NS;
	return REQUEST_WAITS;
}

/*
 * `size` bytes stand in the socket. How many of them are the program's now; none either when
 * there is no buffer or no area any more. They are written before a completion can be seen.
 */
static int64_t hand_over(struct request *request, const void *bytes, size_t size)
{
	struct zcrx_emu *emu = request->ring->emu;
	int64_t delivered;

	delivered = zcrx_emu_deliver(emu, request->sqe.file_index, request->flow, bytes, size,
				     &request->ring->kernel->shape);
	step(request);
	/* Its end by a plan was not told yet: that comes late by another one. */
	if (delivered == -EPIPE)
		return 0;
	return delivered < 0 ? delivered : delivered - zcrx_emu_withdraw(emu, request->flow);
}

/*
 * A NIC that is faster than the program brings much at once: until so much stands there nothing
 * is handed over, but not for longer than a moment. `count` is when that is over.
 */
static bool gathers(struct request *request)
{
	uint32_t burst = request->ring->kernel->burst;
	int bytes = 0;

	if (burst == 0 || ioctl(request->watch.fd, SIOCINQ, &bytes) || (uint32_t)bytes >= burst ||
	    (request->count && request->count <= now_ns())) {
		request->count = 0;
		return false;
	}
	if (request->count == 0)
		request->count = now_ns() + GATHERED_NS;
	request->deadline = request->count;
	request->events = 0;
	return true;
}

static int ended_by(const struct request *request)
{
	return zcrx_emu_ended(request->ring->emu, request->flow);
}

/* As by the plan: both sides see it broken (a TCP socket that is connected to nothing resets). */
static void break_connection(int fd)
{
	const struct sockaddr nothing = {.sa_family = AF_UNSPEC};

	(void)connect(fd, &nothing, sizeof(nothing));
}

static int64_t attempt(struct request *request)
{
	static uint8_t bytes[PIECE];
	int fd = request->watch.fd;
	int error = request->is_begun ? 0 : begin(request);

	if (error)
		return error;
	request->deadline = NEVER;
	for (int piece = 0; piece < PIECES_MAX && is_armed(request); piece++) {
		ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
		int64_t taken;

		if (size > 0 && gathers(request))
			return REQUEST_WAITS;
		if (size <= 0)
			return conclude(request, size);
		taken = hand_over(request, bytes, (size_t)size);
		if (taken > 0)
			recv(fd, NULL, (size_t)taken, MSG_TRUNC | MSG_DONTWAIT);
		else if (taken == 0 && is_armed(request))
			return starve(request);
		if (taken < 0)
			return taken;
	}
	if (!is_armed(request)) {
		if (ended_by(request) == -ECONNRESET)
			break_connection(fd);
		return REQUEST_OVER;
	}
	request->is_ready = true;
	return REQUEST_WAITS;
}

static bool cancel(struct request *request, int error)
{
	return request->is_begun && zcrx_emu_fail(request->ring->emu, request->flow, error) > 0;
}

static void release(struct request *request)
{
	int error = request->is_begun ? ended_by(request) : 0;

	if ((error == -ENOSPC || error == -ENOMEM) && abandoned_note(request))
		return;
	if (request->is_begun)
		zcrx_emu_close(request->ring->emu, request->flow);
}

const struct operation op_recv_zc = {
	.name = "RECV_ZC",
	.has_fd = true,
	.has_priority = true,
	.prepare = prepare,
	.attempt = attempt,
	.cancel = cancel,
	.release = release,
};
