/* SPDX-License-Identifier: MIT */
/*
 * A program that maps the completion queue apart from the submission queue, as all had to once
 * and many do. It runs as well without `exec`, on a kernel that has io_uring.
 */
#include "ring.h"

int main(void)
{
	struct ring ring;
	uint8_t *together, *apart;

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	apart = mmap(NULL, ring.rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		     ring.fd, IORING_OFF_CQ_RING);
	CHECK(apart != MAP_FAILED);
	CHECK(*(uint32_t *)(void *)(apart + ring.params.cq_off.ring_mask) == 15);
	CHECK(*(uint32_t *)(void *)(apart + ring.params.cq_off.ring_entries) == 16);
	for (uint64_t i = 0; i < 100; i++) {
		together = ring.rings;
		ring_sqe(&ring, IORING_OP_NOP, -1, i);
		CHECK(ring_enter(&ring, 1) == 1);
		ring.rings = apart;
		CHECK(ring_cqe(&ring) && ring_cqe(&ring)->user_data == i);
		ring_seen(&ring);
		ring.rings = together;
	}
	return 0;
}
