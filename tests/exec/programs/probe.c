/* SPDX-License-Identifier: MIT */
/*
 * Which operations PROBE says there are, by number; each of the others has to be refused. In the
 * last line what a QUERY says of all.
 */
#include "results.h"

#include <stdbool.h>

#define REGISTER_QUERY 35
#define NUMBERS 256U

struct query_hdr {
	uint64_t next_entry, query_data;
	uint32_t query_op, size;
	int32_t result;
	uint32_t resv[3];
};

struct query_opcode {
	uint32_t requests, registers;
	uint64_t features, setup, enter, sqe;
	uint32_t queries, pad;
};

int main(void)
{
	struct {
		struct io_uring_probe head;
		struct io_uring_probe_op ops[NUMBERS];
	} probe = {0};
	struct query_opcode all = {0};
	struct query_hdr question = {.query_data = address_of(&all), .size = sizeof(all)};

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	CHECK(ring_register(IORING_REGISTER_PROBE, &probe, NUMBERS) == 0);
	CHECK(probe.head.last_op + 1 == probe.head.ops_len);
	for (uint32_t op = 0; op < NUMBERS; op++) {
		bool is_there = op < probe.head.ops_len &&
				(probe.ops[op].flags & IO_URING_OP_SUPPORTED) != 0;

		if (is_there)
			printf("%u\n", op);
		else
			CHECK(do_one(ring_sqe(&ring, (uint8_t)op, -1, op)) == -EINVAL);
	}
	CHECK(ring_register(REGISTER_QUERY, &question, 0) == 0 && question.result == 0);
	CHECK(all.requests == probe.head.ops_len && all.features == ring.params.features);
	CHECK(all.queries > 0 && all.sqe == 0x7f);
	ring_close(&ring);
	return 0;
}
