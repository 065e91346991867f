/* SPDX-License-Identifier: MIT */
/*
 * COUNT no-operations, BATCH (8) by each call: each completes once, in order; prints the time of
 * one call.
 */
#include "ring.h"

#include <time.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 64;
	struct ring ring;
	uint32_t batch = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 8;
	uint64_t seen = 0;
	double begin;

	CHECK(batch > 0 && ring_open(&ring, batch, 0, 0) == 0);
	begin = now();
	for (uint64_t sent = 0; sent < count; sent += batch) {
		struct io_uring_cqe *cqe;

		for (uint64_t i = 0; i < batch; i++)
			ring_sqe(&ring, IORING_OP_NOP, -1, sent + i);
		CHECK(ring_enter(&ring, batch) == (int)batch);
		while ((cqe = ring_cqe(&ring))) {
			CHECK(cqe->user_data == seen && cqe->res == 0 && cqe->flags == 0);
			seen++;
			ring_seen(&ring);
		}
	}
	CHECK(seen >= count);
	printf("%.2f us a call\n", (now() - begin) * 1e6 / ((double)count / batch));
	ring_close(&ring);
	return 0;
}
