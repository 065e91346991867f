/* SPDX-License-Identifier: MIT */
/*
 * A server that adds up the bytes of each connection, received without copies. It is as it
 * should be; with -DMISTAKES=7 it is as its author had it first: see docs/exec-walkthrough.md.
 *
 *	cc server.c $(zcrx-emu config --cflags) -o server
 *	server INTERFACE QUEUE CONNECTIONS
 */
#include <linux/io_uring.h>
#include <zcrx_emu_uapi.h> /* for headers of Linux that have no zcrx yet */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MISTAKES
#define MISTAKES 0
#endif

#define PAGE 4096U
#define BUFFERS 256U
#define ENTRIES 256U
#define COMPLETIONS 64U

static void need(int is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map(size_t size, int flags, int fd, uint64_t offset)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset);

	need(at != MAP_FAILED, "mmap");
	return at;
}

/* ---- the ring ------------------------------------------------------------------------------- */

struct ring {
	int fd;
	struct io_uring_params params;
	uint8_t *rings;
	struct io_uring_sqe *sqes;
	uint32_t sq_tail, cq_head;
};

static _Atomic uint32_t *word(const struct ring *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(ring->rings + offset);
}

static void open_ring(struct ring *ring)
{
	struct io_uring_params *params = &ring->params;
	size_t size;

	params->flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_CQE32 | IORING_SETUP_CQSIZE;
	params->cq_entries = COMPLETIONS;
	ring->fd = (int)syscall(__NR_io_uring_setup, 8, params);
	need(ring->fd >= 0, "io_uring_setup");
	size = params->cq_off.cqes + params->cq_entries * 2 * sizeof(struct io_uring_cqe) +
	       params->sq_entries * sizeof(uint32_t);
	ring->rings = map(size, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = map(params->sq_entries * sizeof(struct io_uring_sqe),
			 MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
}

static int enter(const struct ring *ring, uint32_t to_submit, uint32_t least)
{
	return (int)syscall(__NR_io_uring_enter, ring->fd, to_submit, least, IORING_ENTER_GETEVENTS,
			    NULL, 0);
}

static struct io_uring_sqe *next_sqe(struct ring *ring, uint8_t opcode, int fd)
{
	uint32_t slot = ring->sq_tail & (ring->params.sq_entries - 1);
	struct io_uring_sqe *sqe = &ring->sqes[slot];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	*word(ring, ring->params.sq_off.array + slot * (uint32_t)sizeof(uint32_t)) = slot;
	return sqe;
}

static void submit(struct ring *ring)
{
	atomic_store_explicit(word(ring, ring->params.sq_off.tail), ++ring->sq_tail,
			      memory_order_release);
	need(enter(ring, 1, 0) == 1, "io_uring_enter");
}

/* The oldest completion; it waits for one. */
static struct io_uring_cqe *wait_for_cqe(const struct ring *ring)
{
	uint32_t slot = ring->cq_head & (ring->params.cq_entries - 1);

	while (atomic_load_explicit(word(ring, ring->params.cq_off.tail), memory_order_acquire) ==
	       ring->cq_head)
		need(enter(ring, 0, 1) == 0 || errno == EINTR, "io_uring_enter");
	return (struct io_uring_cqe *)(void *)(ring->rings + ring->params.cq_off.cqes) + 2 * slot;
}

static void seen(struct ring *ring)
{
	atomic_store_explicit(word(ring, ring->params.cq_off.head), ++ring->cq_head,
			      memory_order_release);
}

/* ---- the queue ------------------------------------------------------------------------------- */

struct queue {
	struct ring ring;
	const uint8_t *area;
	uint32_t id, tail;
	_Atomic uint32_t *rq_tail;
	struct io_uring_zcrx_rqe *rqes;
	uint64_t token, last_page;
};

static void register_queue(struct queue *queue, const char *interface, uint32_t rxq)
{
	size_t size = PAGE + ENTRIES * sizeof(struct io_uring_zcrx_rqe);
	uint8_t *region = map(size, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *memory = map(BUFFERS * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_zcrx_area_reg area = {
		.addr = (uintptr_t)memory,
		.len = BUFFERS * PAGE,
	};
	struct io_uring_region_desc ring = {
		.user_addr = (uintptr_t)region,
		.size = size,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = if_nametoindex(interface),
		.if_rxq = rxq,
		.rq_entries = ENTRIES,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&ring,
	};

	need(reg.if_idx != 0, interface);
	need(syscall(__NR_io_uring_register, queue->ring.fd, 32 /* ZCRX_IFQ */, &reg, 1) == 0,
	     "IORING_REGISTER_ZCRX_IFQ");
	queue->area = memory;
	queue->id = reg.zcrx_id;
	queue->token = area.rq_area_token;
#if MISTAKES & 1
	/* Behind the head: so it was in the kernel that this was written for. */
	queue->rq_tail = (_Atomic uint32_t *)(void *)(region + 4);
#else
	queue->rq_tail = (_Atomic uint32_t *)(void *)(region + reg.offsets.tail);
#endif
	queue->rqes = (struct io_uring_zcrx_rqe *)(void *)(region + reg.offsets.rqes);
}

static void give_back(struct queue *queue, uint64_t offset, uint32_t size)
{
	struct io_uring_zcrx_rqe *rqe = &queue->rqes[queue->tail & (ENTRIES - 1)];

#if MISTAKES & 4
	/* "A buffer is given back once." */
	if (offset / PAGE == queue->last_page)
		return;
	queue->last_page = offset / PAGE;
#endif
	rqe->off = (offset & ~IORING_ZCRX_AREA_MASK) | queue->token;
	rqe->len = size;
	rqe->__pad = 0;
	atomic_store_explicit(queue->rq_tail, ++queue->tail, memory_order_release);
}

static void arm(struct queue *queue, int fd)
{
	struct io_uring_sqe *sqe = next_sqe(&queue->ring, 58 /* RECV_ZC */, fd);

#if MISTAKES & 4
	queue->last_page = UINT64_MAX; /* the next one may begin where the last one ended */
#endif
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->file_index = queue->id; /* zcrx_ifq_idx */
	submit(&queue->ring);
}

/* ---- connections ------------------------------------------------------------------------------ */

/* Does the receive go on? It ends when the peer closes, and whenever there is no room for more. */
static int goes_on(const struct io_uring_cqe *cqe)
{
	return cqe->flags & IORING_CQE_F_MORE || cqe->res == -ENOSPC || cqe->res == -ENOMEM;
}

static void serve(struct queue *queue, int fd)
{
	uint64_t bytes = 0, sum = 0;
	int is_over = 0;

	arm(queue, fd);
	while (!is_over) {
		const struct io_uring_cqe *cqe = wait_for_cqe(&queue->ring);
		uint64_t offset = ((const struct io_uring_zcrx_cqe *)(cqe + 1))->off;
		const uint8_t *data = queue->area + (offset & ~IORING_ZCRX_AREA_MASK);
		int is_last = !(cqe->flags & IORING_CQE_F_MORE);
		uint32_t size = is_last ? 0 : (uint32_t)cqe->res;

		for (uint32_t i = 0; i < size; i++)
			sum += data[i];
		bytes += size;
		/* The last completion of a receive has no bytes, and no buffer. */
		if (!is_last || MISTAKES & 2)
			give_back(queue, offset, size);
		is_over = !goes_on(cqe);
		seen(&queue->ring);
		if (is_last && !is_over)
			arm(queue, fd);
	}
	printf("%llu bytes, sum %llu\n", (unsigned long long)bytes, (unsigned long long)sum);
	fflush(stdout);
	close(fd);
}

static int listen_anywhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	need(fd >= 0 && listen(fd, 8) == 0, "listen");
	need(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
	printf("port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	struct queue queue = {.last_page = UINT64_MAX};
	int listener;

	if (argc != 4) {
		fprintf(stderr, "usage: server INTERFACE QUEUE CONNECTIONS\n");
		return 2;
	}
	open_ring(&queue.ring);
	register_queue(&queue, argv[1], (uint32_t)atoi(argv[2]));
	listener = listen_anywhere();
	for (int i = 0; i < atoi(argv[3]); i++)
		serve(&queue, accept(listener, NULL, NULL));
	return 0;
}
