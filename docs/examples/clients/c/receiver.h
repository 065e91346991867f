/* SPDX-License-Identifier: MIT */
/*
 * A receiver by io_uring zero-copy receive: its area, its refill ring, and what goes back
 * into that ring. It never calls the kernel by itself, so that a test can stand in for it.
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include <stddef.h>
#include <stdint.h>

#include <zcrx_emu_uapi.h> /* a program has <linux/io_uring.h> */

#define RECEIVER_PAGE 4096U

/* io_uring_register_ifq(), or what stands in for it. */
typedef int receiver_register(void *ring, struct io_uring_zcrx_ifq_reg *reg);

struct receiver {
	uint8_t *area, *region;
	size_t area_size, region_size;
	uint32_t *head, *tail; /* of the refill ring */
	struct io_uring_zcrx_rqe *rqes;
	uint32_t entries, mask;
	uint32_t my_tail;
	struct io_uring_zcrx_rqe *kept; /* returns that wait for room, oldest first */
	uint32_t kept_count, kept_capacity;
};

/* What a completion says. */
enum receiver_next {
	RECEIVER_BYTES, /* there are bytes, to be returned when they are read */
	RECEIVER_AGAIN, /* the receive ended, the connection has not: arm another */
	RECEIVER_END, /* the connection has ended, or failed */
};

/* What the ring must be made with: io_uring_queue_init(…, flags). */
uint32_t receiver_ring_flags(void);
/*
 * Of how many buffers the area must be, for so many to be held: others stand in the NIC's
 * descriptors, in each as many as a packet needs.
 */
uint32_t receiver_buffers(uint32_t held, uint32_t descriptors, uint32_t mtu);
/* 0, or -errno of the registration. */
int receiver_init(struct receiver *receiver, uint32_t buffers, uint32_t entries,
		  receiver_register *register_ifq, void *ring);
void receiver_free(struct receiver *receiver);

enum receiver_next receiver_next(int32_t res);
/* Where a completion's bytes are; yours until they are returned. */
const uint8_t *receiver_bytes(const struct receiver *receiver, uint64_t off);
/* They are read. What has no room in the ring waits. */
void receiver_return(struct receiver *receiver, uint64_t off, uint32_t length);
/* Write into the ring what waits, as much as there is room for. */
void receiver_flush(struct receiver *receiver);

#endif /* RECEIVER_H */
