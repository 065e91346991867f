/* SPDX-License-Identifier: MIT */
/*
 * Reading a socket into the area. The kernel's copy from the socket plays the
 * part of the NIC's DMA; from there on nothing is copied again.
 */
#define _GNU_SOURCE
#include "tcp_source.h"
#include "wire/crc32c.h"
#include "rss.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_BUFFERS 16U
#define EVENTS_MAX 64

struct connection {
	int fd;
	uint32_t flow;
	uint32_t queue;
};

struct zcrx_tcp_source {
	int epoll_fd;
	int listen_fd; /* -1 once enough connections came */
	uint32_t accepted;
	uint32_t connections_max;
	uint32_t flows_max;
};

struct zcrx_tcp_source *zcrx_tcp_source_new(int listen_fd, uint32_t connections_max,
					    uint32_t flows_max)
{
	struct zcrx_tcp_source *source = calloc(1, sizeof(*source));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	if (!source)
		return NULL;
	source->listen_fd = listen_fd;
	source->connections_max = connections_max;
	source->flows_max = flows_max;
	source->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (source->epoll_fd < 0)
		goto out_free;
	if (epoll_ctl(source->epoll_fd, EPOLL_CTL_ADD, listen_fd, &event))
		goto out_close;
	return source;

out_close:
	close(source->epoll_fd);
out_free:
	free(source);
	return NULL;
}

void zcrx_tcp_source_free(struct zcrx_tcp_source *source)
{
	if (!source)
		return;
	/* Sockets of live connections go with the process. */
	close(source->epoll_fd);
	free(source);
}

static uint32_t append_address(const struct sockaddr_storage *address, uint8_t *to, uint16_t *port)
{
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		memcpy(to, &in6->sin6_addr, 16);
		*port = in6->sin6_port;
		return 16;
	}
	memcpy(to, &((const struct sockaddr_in *)address)->sin_addr, 4);
	*port = ((const struct sockaddr_in *)address)->sin_port;
	return 4;
}

/* The queue that the connection's packets would be steered to. */
static uint32_t steer(int fd, uint32_t queue_count)
{
	struct sockaddr_storage peer = {0}, own = {0};
	socklen_t peer_size = sizeof(peer), own_size = sizeof(own);
	uint8_t input[36];
	uint16_t peer_port = 0, own_port = 0;
	uint32_t used;

	getpeername(fd, (struct sockaddr *)&peer, &peer_size);
	getsockname(fd, (struct sockaddr *)&own, &own_size);
	used = append_address(&peer, input, &peer_port);
	used += append_address(&own, input + used, &own_port);
	memcpy(input + used, &peer_port, 2);
	memcpy(input + used + 2, &own_port, 2);
	return zcrx_rss_hash(input, used + 4) % queue_count;
}

static void accept_all(struct zcrx_tcp_source *source, struct zcrx_nic_queue *queues,
		       uint32_t queue_count)
{
	while (source->listen_fd >= 0) {
		int fd = accept4(source->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct connection *connection;
		struct epoll_event event = {.events = EPOLLIN};

		if (fd < 0)
			return;
		connection = malloc(sizeof(*connection));
		if (!connection) {
			close(fd);
			return;
		}
		connection->fd = fd;
		connection->flow = source->accepted++ % source->flows_max;
		connection->queue = steer(fd, queue_count);
		event.data.ptr = connection;
		epoll_ctl(source->epoll_fd, EPOLL_CTL_ADD, fd, &event);
		shm_count(&queues[connection->queue].queue.nic->connections, 1);
		if (source->accepted == source->connections_max) {
			close(source->listen_fd); /* leaves the epoll set by itself */
			source->listen_fd = -1;
		}
	}
}

/* Every other mark goes: those that stay are the ones of twice the step. */
static void thin_marks(struct zcrx_stream_shared *stream)
{
	for (uint32_t i = 0; i < ZCRX_STREAM_MARKS / 2; i++)
		shm_store_relaxed_u32(
			&stream->marks[i],
			shm_load_relaxed_u32(&stream->marks[2 * i + 1], POINT_COUNTER),
			POINT_COUNTER);
	shm_store_relaxed_u32(&stream->mark_count, ZCRX_STREAM_MARKS / 2, POINT_COUNTER);
	shm_store_relaxed_u64(&stream->step, 2 * shm_load_relaxed_u64(&stream->step, POINT_COUNTER),
			      POINT_COUNTER);
}

static void mark(struct zcrx_stream_shared *stream, uint32_t crc)
{
	uint32_t count = shm_load_relaxed_u32(&stream->mark_count, POINT_COUNTER);

	assert(count < ZCRX_STREAM_MARKS);
	shm_store_relaxed_u32(&stream->marks[count], crc, POINT_COUNTER);
	shm_store_relaxed_u32(&stream->mark_count, count + 1, POINT_COUNTER);
	if (count + 1 == ZCRX_STREAM_MARKS)
		thin_marks(stream);
}

/*
 * Take bytes into the account of the stream. Ours alone to write; relaxed, since
 * it is read after the release of `ends`, or when the NIC has come to rest.
 */
static void account(struct zcrx_stream_shared *stream, const uint8_t *data, uint32_t len)
{
	uint64_t bytes = shm_load_relaxed_u64(&stream->bytes, POINT_COUNTER);
	uint32_t crc = shm_load_relaxed_u32(&stream->crc, POINT_COUNTER);

	if (bytes == 0)
		shm_store_relaxed_u64(&stream->step, ZCRX_STREAM_STEP, POINT_COUNTER);
	while (len > 0) {
		uint64_t step = shm_load_relaxed_u64(&stream->step, POINT_COUNTER);
		uint64_t left = step - bytes % step;
		uint32_t piece = len < left ? len : (uint32_t)left;

		crc = zcrx_crc32c_more(crc, data, piece);
		bytes += piece;
		data += piece;
		len -= piece;
		if (piece == left)
			mark(stream, crc);
	}
	shm_store_relaxed_u32(&stream->crc, crc, POINT_COUNTER);
	shm_store_relaxed_u64(&stream->bytes, bytes, POINT_COUNTER);
}

/* Hand out what was received: one fragment a buffer, all but the last one full. */
static void deliver(struct zcrx_nic_queue *nq, uint32_t flow, const uint32_t *niovs,
		    size_t received)
{
	uint32_t size = zcrx_nic_queue_niov_size(nq);

	for (uint32_t i = 0; received > 0; i++) {
		uint32_t len = received < size ? (uint32_t)received : size;
		uint32_t opened = zcrx_nic_queue_open(nq);

		assert(opened == niovs[i]);
		(void)niovs;
		account(&nq->queue.nic->stream, zcrx_area_niov(&nq->queue.area, opened), len);
		zcrx_nic_queue_fragment(nq, flow, len,
					zcrx_crc32c(zcrx_area_niov(&nq->queue.area, opened), len));
		zcrx_nic_queue_close(nq);
		received -= len;
	}
	nq->packets_offered++;
	nq->packets_done++;
	nq->bytes_offered = nq->bytes;
	zcrx_nic_queue_publish(nq);
}

/* The niovs that the next opens will take, without taking them yet. */
static void peek_grants(const struct zcrx_nic_queue *nq, uint32_t *niovs, uint32_t count)
{
	const struct zcrx_grant_ring *grants = &nq->queue.grants;

	for (uint32_t i = 0; i < count; i++)
		niovs[i] = shm_load_relaxed_u32(
			&grants->slots[(grants->cached_head + i) & grants->mask], POINT_GRANT_SLOT);
}

static void end_connection(struct zcrx_nic_queue *nq, struct connection *connection, int32_t res)
{
	struct zcrx_stream_shared *stream = &nq->queue.nic->stream;

	zcrx_nic_queue_end(nq, connection->flow, res);
	zcrx_nic_queue_publish(nq);
	if (res && !shm_load_relaxed_u32(&stream->error, POINT_COUNTER))
		shm_store_relaxed_u32(&stream->error, (uint32_t)-res, POINT_COUNTER);
	/* Pairs with the acquire in zcrx_stream_read(): the account and all completions are there. */
	shm_store_release_u32(&stream->ends, shm_load_relaxed_u32(&stream->ends, POINT_COUNTER) + 1,
			      POINT_COUNTER);
	zcrx_bell_ring(&nq->queue.bells->control, ZCRX_BELL_WORK);
	close(connection->fd);
	free(connection);
}

static bool read_once(struct zcrx_nic_queue *nq, struct connection *connection)
{
	struct zcrx_queue *queue = &nq->queue;
	struct iovec iov[READ_BUFFERS];
	uint32_t niovs[READ_BUFFERS];
	uint32_t count = READ_BUFFERS;
	uint32_t room = zcrx_cq_room(&queue->cq, READ_BUFFERS);
	uint32_t granted = zcrx_grant_available(&queue->grants, READ_BUFFERS);
	ssize_t received;

	if (nq->user == 0) {
		zcrx_nic_queue_blocked(nq,
				       ZCRX_BLOCKED_CQ); /* nobody reads: the sender must wait */
		return false;
	}
	if (room < count)
		count = room;
	if (count == 0) {
		shm_count(&queue->nic->waits_cq_full, 1);
		zcrx_nic_queue_blocked(nq, ZCRX_BLOCKED_CQ);
		return false;
	}
	if (granted < count)
		count = granted;
	if (count == 0) {
		shm_count(&queue->nic->waits_no_buffer, 1);
		zcrx_nic_queue_blocked(nq, ZCRX_BLOCKED_BUFFER);
		return false;
	}
	peek_grants(nq, niovs, count);
	for (uint32_t i = 0; i < count; i++)
		iov[i] = (struct iovec){.iov_base = zcrx_area_niov(&queue->area, niovs[i]),
					.iov_len = zcrx_nic_queue_niov_size(nq)};
	received = readv(connection->fd, iov, (int)count);
	if (received > 0) {
		deliver(nq, connection->flow, niovs, (size_t)received);
		return true;
	}
	if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_connection(nq, connection, received == 0 ? 0 : -errno);
		return true;
	}
	return false;
}

uint32_t zcrx_tcp_source_poll(struct zcrx_tcp_source *source, struct zcrx_nic_queue *queues,
			      uint32_t queue_count)
{
	struct epoll_event events[EVENTS_MAX];
	int ready = epoll_wait(source->epoll_fd, events, EVENTS_MAX, 0);
	uint32_t delivered = 0;

	for (uint32_t i = 0; i < queue_count; i++)
		zcrx_nic_queue_follow_user(&queues[i], NULL);
	for (int i = 0; i < ready; i++) {
		struct connection *connection = events[i].data.ptr;

		if (!connection)
			accept_all(source, queues, queue_count);
		else
			delivered += read_once(&queues[connection->queue], connection);
	}
	return delivered;
}

void zcrx_tcp_source_wait(struct zcrx_tcp_source *source, int timeout_ms)
{
	struct epoll_event event;

	epoll_wait(source->epoll_fd, &event, 1, timeout_ms);
}
