/* SPDX-License-Identifier: MIT */
/* A program's side of zero-copy receive: what headers of Linux 6.1 do not have, and a queue. */
#ifndef TEST_ZCRX_H
#define TEST_ZCRX_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "ring.h"

#define PAGE 4096U
#define OP_RECV_ZC 58
#define REGISTER_ZCRX_IFQ 32
#define REGISTER_ZCRX_CTRL 36
#define AREA_MASK (~(0xffffULL << 48))

struct zcrx_rqe {
	uint64_t off;
	uint32_t len, pad;
};
struct zcrx_cqe {
	uint64_t off, pad;
};
struct region_desc {
	uint64_t user_addr, size;
	uint32_t flags, id;
	uint64_t mmap_offset, resv[4];
};
struct area_reg {
	uint64_t addr, len, rq_area_token;
	uint32_t flags, dmabuf_fd;
	uint64_t resv[2];
};
struct ifq_reg {
	uint32_t if_idx, if_rxq, rq_entries, flags;
	uint64_t area_ptr, region_ptr;
	struct {
		uint32_t head, tail, rqes, resv2;
		uint64_t resv[2];
	} offsets;
	uint32_t zcrx_id, rx_buf_len;
	uint64_t resv[3];
};

struct ctrl {
	uint32_t zcrx_id, op;
	uint64_t resv[2];
	uint32_t fd, payload[11];
};

/* An interface queue of 64 buffers, with its refill ring behind its area. */
#define ZC_ENTRIES 64U
#define ZC_AREA_SIZE (ZC_ENTRIES * PAGE)
#define ZC_SIZE (ZC_AREA_SIZE + 2 * PAGE)

struct zc {
	struct ring ring;
	uint8_t *area;
	uint32_t id, tail;
	_Atomic uint32_t *rq_tail;
	struct zcrx_rqe *rqes;
	uint64_t token;
};

/* In a ring that is open. The memory is `ZC_SIZE` bytes, all of them zero. 0 or -errno. */
static inline int zc_register(struct zc *zc, uint8_t *memory, uint32_t if_rxq)
{
	uint8_t *rings = memory + ZC_AREA_SIZE;
	struct region_desc region = {(uint64_t)(uintptr_t)rings, 2 * PAGE, 1, 0, 0, {0}};
	struct area_reg area = {.addr = (uint64_t)(uintptr_t)memory, .len = ZC_AREA_SIZE};
	struct ifq_reg reg = {
		.if_idx = 1,
		.if_rxq = if_rxq,
		.rq_entries = ZC_ENTRIES,
		.area_ptr = (uint64_t)(uintptr_t)&area,
		.region_ptr = (uint64_t)(uintptr_t)&region,
	};

	if (syscall(__NR_io_uring_register, zc->ring.fd, REGISTER_ZCRX_IFQ, &reg, 1))
		return -errno;
	zc->area = memory;
	zc->id = reg.zcrx_id;
	zc->token = area.rq_area_token;
	zc->rq_tail = (_Atomic uint32_t *)(void *)(rings + reg.offsets.tail);
	zc->rqes = (struct zcrx_rqe *)(void *)(rings + reg.offsets.rqes);
	return 0;
}

static inline void zc_open(struct zc *zc, uint32_t if_rxq)
{
	const uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	uint8_t *memory =
		mmap(NULL, ZC_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*zc = (struct zc){0};
	CHECK(memory != MAP_FAILED);
	CHECK(ring_open(&zc->ring, 8, flags | IORING_SETUP_CQE32, 256) == 0);
	CHECK(zc_register(zc, memory, if_rxq) == 0);
}

static inline void zc_close(struct zc *zc)
{
	ring_close(&zc->ring);
	munmap(zc->area, ZC_SIZE);
}

static inline void zc_arm(struct zc *zc, int fd)
{
	struct io_uring_sqe *sqe = ring_sqe(&zc->ring, OP_RECV_ZC, fd, 7);

	sqe->ioprio = 2; /* multishot */
	sqe->splice_fd_in = (int32_t)zc->id;
}

/*
 * Take the oldest completion, which is there: its bytes (a page at most) are copied, and its
 * buffer is returned. How many they are, or how the receive ended: then `is_over`.
 */
static inline int zc_take(struct zc *zc, uint8_t *to, bool *is_over)
{
	const struct io_uring_cqe *cqe = ring_cqe(&zc->ring);
	const struct zcrx_cqe *zcrx = (const struct zcrx_cqe *)(cqe + 1);
	int res;

	CHECK(cqe && cqe->user_data == 7);
	res = cqe->res;
	*is_over = !(cqe->flags & IORING_CQE_F_MORE);
	if (!*is_over) {
		struct zcrx_rqe *rqe = &zc->rqes[zc->tail & (ZC_ENTRIES - 1)];

		memcpy(to, zc->area + (zcrx->off & AREA_MASK), (size_t)res);
		*rqe = (struct zcrx_rqe){(zcrx->off & AREA_MASK) | zc->token, (uint32_t)res, 0};
		atomic_store_explicit(zc->rq_tail, ++zc->tail, memory_order_release);
	}
	ring_seen(&zc->ring);
	return res;
}

/* Two ends of a connection over loopback. */
static inline void zc_connect(int ends[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(ends[1], (struct sockaddr *)&address, size) == 0);
	ends[0] = accept(listener, NULL, NULL);
	CHECK(ends[0] >= 0);
	close(listener);
}

/* What is sent arrives, in one piece or several. */
static inline void zc_receive(struct zc *zc, int sender, const char *text)
{
	size_t size = strlen(text), at = 0;
	uint8_t bytes[2 * PAGE];

	CHECK(size <= PAGE);
	CHECK(send(sender, text, size, MSG_NOSIGNAL) == (ssize_t)size);
	while (at < size) {
		bool is_over;

		CHECK(ring_enter(&zc->ring, 1) >= 0);
		at += (size_t)zc_take(zc, bytes + at, &is_over);
		CHECK(!is_over && at <= size);
	}
	CHECK(memcmp(bytes, text, size) == 0);
}

#endif /* TEST_ZCRX_H */
